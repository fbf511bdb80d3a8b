//! Real ZFS receives the streams of file systems, lists in them what the trees say that they were made of, goes on with them, and
//! sends them again.
//!
//! OpenZFS runs in the guest of ring 3, with a pool of 2010, one without any feature and one with all; zfs-fuse, which is ZFS of
//! 2010 itself and knows file systems up to version 4, on this machine. Streams that are wrong on purpose are not for them: what
//! is wrong in them kills a kernel.

mod everything;
mod fuse;
mod increments;
mod judge;
mod menagerie;
mod model;
mod sent;
