//! Solaris x86 UFS, the file system of SmartOS boot archives: read, edit in place, make, grow and check.
//!
//! A file system lives on anything with positioned reads and writes ([`positioned_io`]) and is never held in memory
//! as a whole. Nothing here reads a clock or a source of randomness: times and generation seeds are arguments, so the
//! same edits give the same bytes.
#![forbid(unsafe_code)]

pub mod check;
mod error;
mod geometry;
pub mod layout;

pub use error::{Error, ErrorKind, Place, Result};
pub use geometry::{Geometry, check_magic};
