set nocompatible
set backspace=indent,eol,start
set autoindent
set ruler
set showmatch
set incsearch
" Reading a file must not be able to run commands.
set nomodeline
" Many old terminals are taken for dark ones and then show blue on black.
set background=dark
