//! Files compressed for lofi, illumos' loopback file driver: how a SmartOS boot archive carries `/usr` (`usr.lgz`).
//!
//! Such a file is cut into segments of one size, each compressed by itself, so that any of them can be read alone:
//!
//! | bytes | what |
//! |---|---|
//! | 24 | name of the algorithm, NUL padded |
//! | 4 | bytes of a segment before compression, a power of two |
//! | 4 | entries of the index, one more than there are segments |
//! | 4 | bytes of the last segment before compression |
//! | 8 each | the index: where each segment begins, counted from the end of the index, and where the last one ends |
//! | | the segments: a byte that tells whether compressed, and the data |
//!
//! All numbers are big-endian (sources: illumos `usr/src/uts/common/sys/lofi.h`, `uts/common/io/lofi.c`, `cmd/lofiadm/main.c`).
//!
//! [`Reader`] shows what was compressed as something with positioned reads, in memory that does not grow with it. [`write()`]
//! compresses.
//!
//! ```
//! use kiln_lofi::{Reader, WriteOptions, write};
//! use positioned_io::ReadAt;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let plain = vec![7; 300_000];
//! let mut packed = std::io::Cursor::new(Vec::new());
//! write(&plain[..], plain.len() as u64, &WriteOptions::default(), &mut packed)?;
//!
//! let packed = packed.into_inner();
//! let length = packed.len() as u64;
//! let reader = Reader::open(packed, length)?;
//! let mut bytes = [0; 4];
//! reader.read_exact_at(299_996, &mut bytes)?;
//! assert_eq!((bytes, reader.len()), ([7; 4], 300_000));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod cache;
mod error;
mod header;
mod reader;
mod segment;
mod writer;

pub use error::{Error, ErrorKind};
pub use header::{Algorithm, MAX_SEGMENT, looks_like_lofi};
pub use reader::Reader;
pub use writer::{WriteOptions, write};
