//! Solaris x86 UFS, the file system of SmartOS boot archives: read, edit in place, make, grow and check.
//!
//! A file system lives on anything with positioned reads and writes ([`positioned_io`]) and is never held in memory
//! as a whole. Nothing here reads a clock or a source of randomness: times and generation seeds are arguments, so the
//! same edits give the same bytes.
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
