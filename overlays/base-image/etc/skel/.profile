# What login shells of sh, ksh and bash begin with.

PATH=@IMAGE_PATH@
MANPATH=@IMAGE_MANDIRS@
PAGER=less
export PATH MANPATH PAGER

if [ -n "$BASH_VERSION" ] && [ -f "$HOME/.bashrc" ]; then
	. "$HOME/.bashrc"
fi
