//! `fs-joyent`: the key, the pool, and what is mounted from them.
//!
//! The *key* is the disk that the machine booted from, with a FAT file system that holds the platform, `custom.tgz` and the
//! configuration. The *pool* is on another disk and keeps everything else. Each is found by what it contains and not by
//! where it is.
//!
//! Nothing is ever written to a disk unless [`decision`] says that it is this guest's. When something essential fails, the
//! guest goes on in [rescue mode](rescue): without a pool, with `/var` and `/opt` in memory. What is merely useful (swap,
//! dump device, the tree of `/opt/custom`) fails alone.

pub mod content;
pub mod copy;
pub mod custom;
mod datasets;
pub mod decision;
mod devices;
mod disks;
mod ioctl;
mod journal;
pub mod key;
mod marks;
mod mounts;
mod pool;
mod publish;
pub mod records;
mod rescue;
mod reset;
mod sizes;
mod swap;
mod var;

use crate::command::zfs::Datasets;
use crate::engine::Phase;

/// The phase.
pub const PHASE: Phase = Phase {
    name: "storage",
    methods: &["fs-joyent"],
    is_repeated: false,
    steps: &[
        &devices::Devices,
        &key::FindKey,
        &pool::FindPool,
        &datasets::Root,
        &datasets::MakeDatasets,
        &var::MakeVar,
        &datasets::Complete,
        &reset::FactoryReset,
        &mounts::Mounts,
        &swap::Swap,
        &swap::Dump,
        &custom::Custom,
        &publish::PublishPool,
        &publish::RememberPlatform,
    ],
};

/// What steps of this phase found out for those after them. It is not kept for the phases to come: a phase that is run again
/// looks again.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings {
    /// What was wrong with the key.
    key_trouble: Option<String>,
    /// What to do about the pool.
    decision: Option<decision::Decision>,
    /// What `zpool import` wrote.
    search: String,
    /// The datasets of the pool.
    datasets: Option<Datasets>,
    /// Whether a dataset could not be made that a guest can do without.
    is_incomplete: bool,
    /// The size of the pool's disk, if the pool was made a moment ago.
    new_disk: Option<u64>,
}
