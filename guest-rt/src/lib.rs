//! What an illumos executable needs to link on Linux and start on a 2013 platform. It is not written yet: this
//! crate is empty until its own issue.
