//! Disks, pools, mounts, swap and dump.

mod labels;
mod mounts;
mod nvlist;
mod pool;
mod properties;

pub use labels::{Label, known_file_system, read as read_label, write as write_label, write_efi};
pub use mounts::{Mount, MountError};
pub use pool::{Condition, Dataset, Kind, Layout, Pool, PoolState, Setting, Source, features};
pub use properties::{Native, Scope, Shown, applying, native};

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::World;

/// The state of storage since the machine was switched on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// The disks that /dev has names for.
    pub visible: BTreeSet<String>,
    /// How often devfsadm looked for disks.
    pub looks: u32,
    /// The numbers of the pools that are imported.
    pub imported: Vec<u64>,
    /// The numbers of those that are imported read-only.
    pub read_only: Vec<u64>,
    /// What is mounted, in the order in which it was; above what was there before.
    pub mounts: Vec<Mount>,
    /// Paths of swap devices.
    pub swap: Vec<String>,
    /// The path of the dump device.
    pub dump: Option<String>,
    /// The number of this boot's host: a live image makes one up at each boot.
    pub hostid: u32,
}

impl World {
    /// The disk's file.
    pub fn disk_file(&self, name: &str) -> PathBuf {
        self.machine.join("disks").join(name)
    }

    /// What a disk is called in an argument: `c1t0d0`, `c1t0d0s0`, `/dev/dsk/c1t0d0`. None when /dev has no such name.
    pub fn visible_disk<'a>(&self, argument: &'a str) -> Option<&'a str> {
        let name = argument
            .strip_prefix("/dev/dsk/")
            .or_else(|| argument.strip_prefix("/dev/rdsk/"))
            .unwrap_or(argument);
        let known = |name: &str| self.runtime.storage.visible.contains(name);
        if known(name) {
            return Some(name);
        }
        name.rsplit_once('s').map(|(disk, _)| disk).filter(|disk| known(disk))
    }

    /// An imported pool, by name.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name && self.runtime.storage.imported.contains(&pool.guid))
    }

    /// An imported pool, by name.
    pub fn pool_mut(&mut self, name: &str) -> Option<&mut Pool> {
        let imported = &self.runtime.storage.imported;
        self.pools.iter_mut().find(|pool| pool.name == name && imported.contains(&pool.guid))
    }

    /// A dataset of an imported pool, by its full name.
    pub fn dataset(&self, name: &str) -> Option<(&Pool, &Dataset)> {
        let (pool, rest) = split(name);
        let pool = self.pool(pool)?;
        pool.datasets.get(rest).map(|dataset| (pool, dataset))
    }

    /// A dataset of an imported pool, by its full name.
    pub fn dataset_mut(&mut self, name: &str) -> Option<&mut Dataset> {
        let (pool, rest) = split(name);
        self.pool_mut(pool)?.datasets.get_mut(rest)
    }

    /// The full names of a dataset and those below it, parents first; in the order of zfs list.
    pub fn family(&self, name: &str) -> Vec<String> {
        let (pool_name, rest) = split(name);
        let below = format!("{rest}/");
        let Some(pool) = self.pool(pool_name) else { return Vec::new() };
        pool.datasets
            .keys()
            .filter(|key| rest.is_empty() || *key == rest || key.starts_with(&below))
            .map(|key| if key.is_empty() { pool_name.to_owned() } else { format!("{pool_name}/{key}") })
            .collect()
    }

    /// Makes the names of disks, as devfsadm does: of every disk that is there, save those that come late.
    pub fn find_disks(&mut self) {
        self.runtime.storage.looks += 1;
        let looks = self.runtime.storage.looks;
        let found: Vec<(usize, String)> = self
            .hardware
            .disks
            .iter()
            .enumerate()
            .filter(|(_, disk)| !disk.late || looks > 2)
            .map(|(at, disk)| (at, disk.name.clone()))
            .collect();
        for (at, name) in found {
            if self.runtime.storage.visible.insert(name.clone()) {
                self.link_disk(at, &name);
            }
        }
        self.write_disk_table();
    }

    /// Tells the shim which disks programs can open: the whole ones, by p0, and by the bare name if they have an EFI label.
    fn write_disk_table(&self) {
        if !self.in_files() {
            return;
        }
        let mut table = String::new();
        for name in &self.runtime.storage.visible {
            let removable = self.hardware.disk(name).is_some_and(|disk| disk.removable);
            let removable = if removable { " removable" } else { "" };
            let host = &self.runtime.host.machine;
            let device = self.hardware.disk(name).and_then(|disk| disk.device.clone());
            let path = device.unwrap_or_else(|| format!("{host}/disks/{name}"));
            table += &format!("{name}p0 {path} block=512{removable}\n");
        }
        // Without it the disks could not be opened, which shows.
        let _ = std::fs::write(self.machine.join("boot/disks"), table);
    }

    /// The names in /dev/dsk and /dev/rdsk: symbolic links to what is in /devices. On x86 there are p0 to p4 and s0 to s15
    /// under both kinds of label, and for disks with an EFI label a bare name.
    fn link_disk(&self, at: usize, name: &str) {
        if !self.in_files() {
            return;
        }
        let mut nodes: Vec<(String, char)> =
            (0..5).map(|p| (format!("p{p}"), char::from(b'q' + p))).collect();
        nodes.extend((0..16).map(|s| (format!("s{s}"), char::from(b'a' + s))));
        for (folder, raw) in [("/dev/dsk", ""), ("/dev/rdsk", ",raw")] {
            let folder = self.path(folder);
            let made = std::fs::create_dir_all(&folder);
            for (suffix, letter) in &nodes {
                let target = format!("../../devices/{}:{letter}{raw}", crate::hardware::device_node(at));
                // A name that is there is right already.
                let _ = made
                    .as_ref()
                    .map(|()| std::os::unix::fs::symlink(target, folder.join(format!("{name}{suffix}"))));
            }
        }
    }

    /// Makes /dev/zvol have the volumes of the imported pools and nothing else.
    pub fn show_volumes(&self) {
        if !self.in_files() {
            return;
        }
        for base in ["/dev/zvol/dsk", "/dev/zvol/rdsk"] {
            let base = self.path(base);
            // /dev is the simulator's own: failures would show as missing devices.
            let _ = std::fs::remove_dir_all(&base);
            for pool in self.pools.iter().filter(|pool| self.runtime.storage.imported.contains(&pool.guid)) {
                for (name, dataset) in &pool.datasets {
                    if let Kind::Volume { bytes } = dataset.kind {
                        let path = base.join(&pool.name).join(name);
                        let _ = path.parent().map(std::fs::create_dir_all);
                        let _ = std::fs::File::create(path).and_then(|file| file.set_len(bytes));
                    }
                }
            }
        }
    }
}

/// The pool's name and the rest of a dataset's.
pub fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or((name, ""))
}
