//! Pools and datasets: what `pools/GUID/pool.json` has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::labels::{self, Label};
use crate::world::{read_json, write_json};
use crate::{Era, World};

/// A pool. Whether a disk belongs to it is only on the disk, in its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its number, which never changes.
    pub guid: u64,
    /// Its name, which import can change.
    pub name: String,
    /// How it was left.
    pub state: PoolState,
    /// How its data is.
    #[serde(default)]
    pub condition: Condition,
    /// How its devices are joined.
    pub layout: Layout,
    /// Number and usable bytes of each device.
    pub devices: Vec<(u64, u64)>,
    /// Properties that were set.
    pub properties: BTreeMap<String, String>,
    /// The features that are enabled or active.
    pub features: BTreeMap<String, String>,
    /// Its datasets by their names below the pool's, the root's name being empty.
    pub datasets: BTreeMap<String, Dataset>,
    /// The last folder number that was given out.
    pub folders: u64,
    /// The number of the host that had it last.
    pub hostid: u32,
    /// The name of the host that had it last.
    pub hostname: String,
    /// The transaction group.
    pub txg: u64,
}

/// How a pool was left: POOL_STATE_* of sys/fs/zfs.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolState {
    /// In use, or never exported.
    Active,
    /// Exported.
    Exported,
    /// Destroyed.
    Destroyed,
}

/// How a pool's data is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// As it should be.
    #[default]
    Healthy,
    /// The labels are good and the data is not.
    Corrupted,
    /// It uses features that the platform does not know; they are named. Readable without them or not.
    NewFeatures {
        /// The features' names.
        names: Vec<String>,
        /// Whether the platform could read it.
        readable: bool,
    },
    /// It has a version that the platform does not know.
    NewVersion,
    /// Another host has it imported now, and the pool is so set that one can tell (multihost, 2019-03).
    InUseElsewhere,
}

/// How devices are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Data is spread over them.
    Stripe,
    /// Each has all data.
    Mirror,
}

/// A file system or volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Which of both.
    #[serde(flatten)]
    pub kind: Kind,
    /// Its number.
    pub guid: u64,
    /// The folder below `datasets` that has its files. It stays when the dataset is renamed.
    pub folder: u64,
    /// Properties that were set on it, native and the user's.
    pub properties: BTreeMap<String, Setting>,
    /// Seconds since 1970.
    pub created: u64,
}

/// What a dataset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Kind {
    /// A file system.
    Filesystem,
    /// A volume.
    Volume {
        /// Its size.
        bytes: u64,
    },
}

/// A property that was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its value.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// Where the value of a property came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Set here.
    Local,
    /// Came with a stream.
    Received,
}

/// The features by the date of the platforms that enable them in new pools: usr/src/common/zfs/zfeature_common.c and its
/// history.
const FEATURES: [(&str, &str); 26] = [
    ("async_destroy", "20120521"),
    ("empty_bpobj", "20120801"),
    ("lz4_compress", "20130118"),
    ("multi_vdev_crash_dump", "20130806"),
    ("spacemap_histogram", "20131008"),
    ("enabled_txg", "20131220"),
    ("hole_birth", "20131220"),
    ("extensible_dataset", "20131220"),
    ("bookmarks", "20131220"),
    ("filesystem_limits", "20140412"),
    ("embedded_data", "20140605"),
    ("large_blocks", "20141107"),
    ("sha512", "20150929"),
    ("skein", "20150929"),
    ("edonr", "20150929"),
    ("device_removal", "20180118"),
    ("obsolete_counts", "20180118"),
    ("zpool_checkpoint", "20180329"),
    ("spacemap_v2", "20180612"),
    ("large_dnode", "20181001"),
    ("allocation_classes", "20190101"),
    ("resilver_defer", "20190301"),
    ("encryption", "20190619"),
    ("userobj_accounting", "20190619"),
    ("log_spacemap", "20190901"),
    ("bookmark_v2", "20190619"),
];

/// The features that a platform enables in a pool that it creates.
pub fn features(era: &Era) -> impl Iterator<Item = &'static str> + '_ {
    FEATURES.iter().filter(|(_, date)| era.since(date)).map(|&(name, _)| name)
}

impl Dataset {
    /// The value that was set, if one was.
    pub fn set(&self, property: &str) -> Option<&str> {
        self.properties.get(property).map(|setting| setting.value.as_str())
    }

    /// A number that was set; 0 when none was.
    pub fn number(&self, property: &str) -> u64 {
        self.set(property).and_then(crate::commands::options::bytes).unwrap_or(0)
    }

    /// Sets a property here.
    pub fn set_local(&mut self, property: &str, value: &str) {
        let setting = Setting { value: value.to_owned(), source: Source::Local };
        self.properties.insert(property.to_owned(), setting);
    }
}

impl Pool {
    /// The folder of a pool in the machine's.
    pub fn folder(machine: &Path, guid: u64) -> PathBuf {
        machine.join("pools").join(guid.to_string())
    }

    /// All pools of the machine, also those whose disks are elsewhere now.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read_all(machine: &Path) -> Result<Vec<Self>> {
        let folder = machine.join("pools");
        let mut pools = Vec::new();
        if folder.is_dir() {
            for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
                let file = entry?.path().join("pool.json");
                // A folder without the file is what a power cut left of zpool create: no pool.
                pools.extend(read_json::<Self>(&file)?);
            }
        }
        pools.sort_by_key(|pool| pool.guid);
        Ok(pools)
    }

    /// Writes it to the machine's folder, with a folder for each file system.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, machine: &Path) -> Result<()> {
        let folder = Self::folder(machine, self.guid);
        for dataset in self.datasets.values().filter(|dataset| dataset.kind == Kind::Filesystem) {
            let files = folder.join("datasets").join(dataset.folder.to_string());
            fs::create_dir_all(&files).with_context(|| format!("cannot make {}", files.display()))?;
        }
        write_json(&folder.join("pool.json"), self)
    }

    /// The folder with a file system's files.
    pub fn files(&self, machine: &Path, dataset: &Dataset) -> PathBuf {
        Self::folder(machine, self.guid).join("datasets").join(dataset.folder.to_string())
    }

    /// Adds a dataset; whether it fits is asked before.
    pub fn add(&mut self, name: &str, kind: Kind, created: u64) -> &mut Dataset {
        self.folders += 1;
        let dataset = Dataset {
            kind,
            guid: self.guid.rotate_left(17).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(self.folders),
            folder: self.folders,
            properties: BTreeMap::new(),
            created,
        };
        self.txg += 5;
        self.datasets.entry(name.to_owned()).or_insert(dataset)
    }

    /// The bytes of its devices: SIZE of zpool list.
    pub fn size(&self) -> u64 {
        let sizes = self.devices.iter().map(|&(_, bytes)| bytes);
        match self.layout {
            Layout::Stripe => sizes.sum(),
            Layout::Mirror => sizes.min().unwrap_or(0),
        }
    }

    /// What the file systems below a name hold, and what volumes and reservations keep for themselves.
    pub fn used(&self, machine: &Path, name: &str) -> u64 {
        let below = format!("{name}/");
        self.datasets
            .iter()
            .filter(|(key, _)| name.is_empty() || *key == name || key.starts_with(&below))
            .map(|(_, dataset)| self.referenced(machine, dataset).max(dataset.number("refreservation")))
            .sum()
    }

    /// What a dataset holds itself.
    pub fn referenced(&self, machine: &Path, dataset: &Dataset) -> u64 {
        // An empty file system takes 31 KiB with all copies of its metadata, rounded to blocks.
        31 * 512
            + match dataset.kind {
                Kind::Filesystem => weight(&self.files(machine, dataset), 12),
                Kind::Volume { .. } => 0,
            }
    }

    /// What can still be stored. A part stays free: a 64th, since 2014-07 a 32nd (spa_slop_shift), at least 32 MiB.
    pub fn available(&self, machine: &Path, era: &Era) -> u64 {
        let share = if era.since("20140718") { 32 } else { 64 };
        let kept = (self.size() / share).max(32 << 20);
        self.size().saturating_sub(kept).saturating_sub(self.used(machine, ""))
    }

    /// What its labels say.
    pub fn label(&self, device: u64, path: &str) -> Label {
        Label {
            pool: self.guid,
            name: self.name.clone(),
            state: self.state as u64,
            txg: self.txg,
            hostid: u64::from(self.hostid),
            hostname: self.hostname.clone(),
            device,
            path: path.to_owned(),
        }
    }
}

/// The bytes of the files below a folder, each rounded up to sectors.
fn weight(folder: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() && depth > 0 => 512 + weight(&entry.path(), depth - 1),
            Ok(metadata) => 512 + metadata.len().next_multiple_of(512),
            Err(_) => 0,
        })
        .sum()
}

impl World {
    /// The visible disks that have labels of a pool: name and device number. In the order of names.
    pub fn labelled(&self) -> Vec<(String, Label)> {
        self.runtime
            .storage
            .visible
            .iter()
            .filter_map(|name| Some((name.clone(), labels::read(&self.disk_file(name))?)))
            .collect()
    }

    /// Writes the labels of a pool's disks anew, after its state or name changed.
    pub fn relabel(&self, guid: u64) {
        let Some(pool) = self.pools.iter().find(|pool| pool.guid == guid) else { return };
        for (name, label) in self.labelled() {
            if label.pool == guid {
                let label = pool.label(label.device, &format!("/dev/dsk/{name}s0"));
                // A disk of the simulator that cannot be written would show as a pool of old state.
                let _ = labels::write(&self.disk_file(&name), &label);
            }
        }
    }
}
