# Only for shells that somebody types into.
case $- in
    *i*) ;;
    *) return ;;
esac

# Screens over a serial line do not say when they are resized; this looks after every command.
shopt -s checkwinsize
shopt -s histappend
HISTCONTROL=ignoredups
HISTSIZE=5000

PS1='[\u@\h \w]# '

alias ll='ls -l'
alias la='ls -la'
alias zl='zoneadm list -cv'
alias vl='vmadm list'
