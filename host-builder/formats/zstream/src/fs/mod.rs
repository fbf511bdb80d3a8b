//! File systems: what the objects of a ZPL dataset mean (illumos `uts/common/fs/zfs/zfs_znode.c`, `zfs_sa.c`, `zfs_acl.c`).

mod acl;
mod sa;
pub mod tree;
