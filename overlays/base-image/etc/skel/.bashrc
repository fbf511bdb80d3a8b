# What interactive shells of bash begin with.

case $- in
*i*) ;;
*) return ;;
esac

shopt -s checkwinsize
PS1='[\u@\h \w]\$ '
