//! File systems: what the objects of a ZPL dataset mean (illumos `uts/common/fs/zfs/zfs_znode.c`, `zfs_sa.c`, `zfs_acl.c`).

mod acl;
mod blocks;
mod check;
mod describe;
mod image;
mod increment;
pub mod objects;
mod packed;
mod plan;
mod reader;
mod sa;
pub mod tree;
mod writer;
mod znode;

pub use crate::finding::{Finding, Harm};
pub use acl::Ace;
pub use blocks::Blocks;
pub use check::check;
pub use describe::{Describer, Facts, More, Spilled};
pub use increment::{IncrementOptions, write_increment};
pub use objects::Objects;
pub use reader::{FileSystem, ReadError, read};
pub use tree::Tree;
pub use writer::{FileSystemOptions, Summary, Version, write};

#[cfg(test)]
mod tests;
