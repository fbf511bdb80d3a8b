//! FAT32: a one-shot writer that plans a volume without its files' contents, and a reader that trusts nothing.

mod geometry;
mod names;
mod ondisk;
mod time;
mod tree;
mod write;

pub use geometry::Geometry;
pub use tree::{Entry, EntryKind};
pub use write::Placement;

pub(crate) use geometry::new_boot_record;
pub(crate) use tree::Tree;
pub(crate) use write::{NO_LABEL, VolumePlan};
