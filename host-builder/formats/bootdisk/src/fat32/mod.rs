//! FAT32: a one-shot writer that plans a volume without its files' contents, and a reader that trusts
//! nothing.

mod check;
mod geometry;
mod names;
mod ondisk;
mod read;
mod slots;
mod time;
mod tree;
mod write;

pub use check::{Finding, FindingKind, Severity};
pub use geometry::Geometry;
pub use read::{DirEntry, FileReader, ReadError, Summary, Volume, WalkItem};
pub use tree::{Entry, EntryKind};
pub use write::Placement;

pub(crate) use geometry::new_boot_record;
pub(crate) use names::fold;
pub(crate) use tree::{Tree, normalise};
pub(crate) use write::{NO_LABEL, VolumeFrame, VolumePlan};
