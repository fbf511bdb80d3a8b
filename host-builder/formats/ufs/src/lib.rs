//! Solaris x86 UFS, the file system of SmartOS boot archives: read, edit in place, make, grow and check.
//!
//! A file system lives on anything with positioned reads and writes ([`positioned_io`]) and is never held in memory
//! as a whole. Nothing here reads a clock or a source of randomness: times and generation seeds are arguments, so the
//! same edits give the same bytes.
//!
//! ```
//! use kiln_ufs::{Attributes, EditOptions, MakeOptions, Timestamp, make};
//!
//! # fn main() -> kiln_ufs::Result<()> {
//! let time = 1_400_000_000;
//! let options = MakeOptions { bytes: 8 << 20, bytes_per_inode: 12248, time, generation_seed: 1 };
//! let fs = make(Vec::new(), &options)?;
//!
//! let mut editor = fs.edit(EditOptions { time: Timestamp::from_seconds(time), generation_seed: 1 });
//! let directory = Attributes { mode: 0o755, uid: 0, gid: 3 };
//! editor.create_dir_all(b"/etc/svc", &directory)?;
//! editor.put_file(b"/etc/issue", &Attributes { mode: 0o644, uid: 0, gid: 3 }, &b"welcome\n"[..])?;
//! editor.grow(16 << 20)?;
//! let fs = editor.finish(time)?;
//!
//! assert_eq!(fs.read(b"/etc/issue", 1024)?, b"welcome\n");
//! let image = fs.into_device();
//! assert!(kiln_ufs::check::check(&image, 16 << 20)?.is_clean());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod alloc;
mod blockmap;
pub mod check;
mod device;
mod directory;
mod editor;
mod error;
mod filesystem;
mod geometry;
mod group;
mod grow;
mod inode;
pub mod layout;
mod make;
mod path;
mod space;
mod superblock;

pub use editor::{Attributes, EditOptions, Editor, Node};
pub use error::{Error, ErrorKind, Place, Result};
pub use filesystem::{DirEntry, FileReader, FileSystem, Walk, WalkEntry};
pub use geometry::{Geometry, check_magic};
pub use inode::{FileType, Metadata, Timestamp};
pub use make::{MakeOptions, make};
pub use space::{Demand, Statistics};
