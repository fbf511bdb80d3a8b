//! Tar archives of unknown origin.
//!
//! The `tar` crate understands the headers; this module goes from header to header itself ([`Entries`]), because the
//! crate's own iteration reads as much of an extension record into memory as the archive claims. On top of that
//! [`walk`] decides what a build may take from an archive. Commands that only look (`crate::contents::tar`) use
//! [`Entries`] directly and show everything that is there.

mod entries;
mod error;
mod extensions;
mod paths;
mod sparse;
mod walk;

#[cfg(test)]
mod tests;

pub use entries::{Entries, Entry, Input, Stream, is_header};
pub use error::{TarError, TarProblem};
pub use extensions::EXTENDED;
pub use sparse::{Expanded, SparseMap};
pub use walk::{Member, MemberKind, walk};

/// Bytes of a tar block.
pub const BLOCK: u64 = 512;

/// Longest path or link target in bytes: `PATH_MAX` of Linux, four times that of illumos.
pub const PATH_LIMIT: usize = 4096;

/// Bounds on what an archive may claim.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest file in bytes.
    pub file_bytes: u64,
    /// Largest sum of all files in bytes.
    pub total_bytes: u64,
    /// Most headers, extension records included.
    pub members: u64,
}
