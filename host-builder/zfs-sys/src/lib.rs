//! Snapshots and send streams of the host's own ZFS: the few calls of libzfs_core that kiln makes, as safe functions.
//!
//! The crate is empty without its feature `bindings`. With it, bindgen declares the functions anew for each machine that
//! builds, from the headers there, since their types differ from one release of ZFS to the next.
//!
//! # Where it works
//! * Linux with OpenZFS 2.1 or later: Debian's `libzfslinux-dev` (contrib) has the headers. The unit tests, which ask
//!   the library but no kernel, run there.
//! * illumos since July 2013, where [`Zfs::hold`] and [`Zfs::release`] came to libzfs_core: the functions and their meanings
//!   are the same, and the headers and libraries (`libzfs_core.so.1`, `libnvpair.so.1`) belong to the system. There the
//!   device of a [`Lease`] must be opened exclusively, or all leases would be one (source: illumos-gate,
//!   usr/src/uts/common/fs/zfs/zfs_ioctl.c, `zfsdev_open`); OpenZFS on Linux makes no difference. Users other than root need
//!   what `zfs allow` gives on both; on illumos the privilege `sys_mount` besides, to destroy a snapshot that is mounted.
//!   This was not run.
//!
//! libzfs_core promises to keep its interface, to be safe to call from several threads, and to print nothing (source:
//! OpenZFS, lib/libzfs_core/libzfs_core.c, its first comment).

#![cfg(feature = "bindings")]

mod error;
mod nvlist;
mod zfs;

pub use error::{Action, Error, Reason};
pub use zfs::{Lease, Zfs};

/// The declarations that bindgen made: C's names and types, and nothing checked.
#[allow(missing_docs, non_camel_case_types, non_upper_case_globals, clippy::all, clippy::pedantic)]
pub mod ffi {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
