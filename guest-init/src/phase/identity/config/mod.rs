//! `/usbkey/config`: what the platform's own services read about network and names.
//!
//! Those services are shell scripts that *evaluate* the file: every line is put into a command line and run, as root. So
//! nothing that a shell could make anything of is ever written here; [`format::Line`] cannot hold it.

pub mod decide;
pub mod format;
pub mod generate;
pub mod step;

pub use format::{Config, Line};
