#![forbid(unsafe_code)]
//! Gzip by several threads, with output that does not depend on how many, and the matching reader.
//!
//! The input is cut into members of a fixed size, each a complete gzip file; RFC 1952 (2.2) makes a concatenation of
//! those a gzip file, and `gzip -cdfq`, the command SmartOS's `imgadm` expands images with, reads it as one. The
//! bytes that come out depend on the input, the level, the member size and the version of libdeflate, and on nothing
//! else: not the machine, the number of threads or the sizes of the writes.

mod error;
mod header;
mod members;
mod reader;
mod writer;

pub use error::{Error, ErrorKind};
pub use header::looks_like_gzip;
pub use members::{Members, MembersReader};
pub use reader::Reader;
pub use writer::{Options, Totals, Writer};
