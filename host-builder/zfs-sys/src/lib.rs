//! Snapshots and send streams of the host's own ZFS: the few calls of libzfs_core that kiln makes, as safe functions.
//!
//! The crate is empty without its feature `bindings`. With it, bindgen declares the functions anew for each machine that
//! builds, from the headers there, since their types differ from one release of ZFS to the next.
//!
//! # Where it works
//! Linux with OpenZFS 2.1 or later: Debian's `libzfslinux-dev` (contrib) has the headers. illumos has the same functions since July
//! 2013, but what [`Zfs::send`] does about descriptors is Linux' own way.
//!
//! libzfs_core promises to keep its interface, to be safe to call from several threads, and to print nothing (source:
//! OpenZFS, lib/libzfs_core/libzfs_core.c, its first comment).

#![cfg(feature = "bindings")]

mod apart;
mod error;
mod nvlist;
mod zfs;

pub use error::{Action, Error, Reason};
pub use zfs::{Lease, Sending, Zfs};

/// The declarations that bindgen made: C's names and types, and nothing checked.
#[allow(missing_docs, non_camel_case_types, non_upper_case_globals, clippy::all, clippy::pedantic)]
pub mod ffi {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
