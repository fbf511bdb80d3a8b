# Read by every login shell of the Bourne family. The image's own programs come first: an old platform's mdata-get does not work.
PATH=/opt/custom/bin:/usr/bin:/usr/sbin:/sbin:/smartdc/bin:/opt/smartdc/bin:/opt/local/bin:/opt/local/sbin
MANPATH=/usr/share/man:/smartdc/man:/opt/smartdc/man:/opt/custom/man:/opt/local/man
PAGER=less
EDITOR=vim
export PATH MANPATH PAGER EDITOR

# Terminals that platforms of their age never heard of are treated as the nearest they know.
case ${TERM:-} in
    '' | dumb | unknown | sun-color) ;;
    *)
        if ! /usr/bin/tput -T "$TERM" cols >/dev/null 2>&1; then
            TERM=xterm
            export TERM
        fi
        ;;
esac
