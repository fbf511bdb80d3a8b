//! Datasets of the host's own ZFS as streams, for kilns that were built with the feature `native-zfs`.
//!
//! Both sides have the same function: [`open`] gives the stream of a dataset as it is now, or says why not. Without the
//! feature that is always: how to get a kiln that can, and how to do without.

#[cfg(not(feature = "native-zfs"))]
mod absent;
#[cfg(feature = "native-zfs")]
mod sending;

#[cfg(not(feature = "native-zfs"))]
pub use absent::open;
#[cfg(feature = "native-zfs")]
pub use sending::open;
