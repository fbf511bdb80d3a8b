# What every csh begins with.

set path = ( @IMAGE_CSHPATH@ )
setenv MANPATH @IMAGE_MANDIRS@
