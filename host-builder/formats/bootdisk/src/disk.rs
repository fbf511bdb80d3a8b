//! Plans a whole disk: partition table, boot area, and a FAT32 volume in partition 1.
//!
//! This goes in two steps, because a loader may hold lists of the sectors its files lie in: [`DiskPlan::new`]
//! places the files, [`DiskPlan::finish`] takes the loader's bytes.

use crate::error::PlanError;
use crate::extent::{Content, DiskLayout, Extent};
use crate::fat32::{Entry, Geometry, NO_LABEL, Placement, Tree, VolumeFrame, VolumePlan, new_boot_record};
use crate::mbr::{CODE_BYTES, KEY_VERSION, Mbr, PARTITION_LBA, Partition, SECTOR, TYPE_FAT32_LBA};

const MIB: u64 = 1 << 20;
/// The largest disk whose sectors 32 bits can number, in MiB.
const LARGEST_MIB: u64 = (u32::MAX as u64 * SECTOR) / MIB;

/// What a new disk is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOptions {
    /// Size in bytes: a multiple of 512 below 2 TiB.
    pub size: u64,
    /// Disk signature in the partition table.
    pub signature: u32,
    /// Serial number of the volume.
    pub serial: u32,
    /// Label of the volume, up to 11 capital letters, digits, blanks, `-` and `_`; empty for none.
    pub label: String,
    /// Date of the label, the root and directories without an entry of their own, in seconds since 1970.
    pub modified: i64,
    /// Room to keep free in the volume for what is written later, in bytes.
    pub reserve: u64,
}

/// The sectors before partition 1, as a loader fills them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootArea {
    /// Boot code of sector 0. The two bytes at [`KEY_VERSION`] are set by [`DiskPlan::finish`].
    pub mbr_code: [u8; CODE_BYTES],
    /// What stands from sector 1 on; it must end before the partition.
    pub gap: Vec<u8>,
}

/// A disk whose files have their places.
pub struct DiskPlan {
    size: u64,
    /// Sector 0, whose code the loader brings.
    sector_0: [u8; SECTOR as usize],
    partition_lba: u32,
    volume: VolumePlan,
}

impl DiskPlan {
    /// Places `entries` on a new disk: partition 1, active, of type 0C, from sector 2048 to the end.
    pub fn new(options: &DiskOptions, entries: &[Entry]) -> Result<DiskPlan, PlanError> {
        let label = label_bytes(&options.label)?;
        let tree = Tree::new(entries, options.modified, label != NO_LABEL)?;
        let sectors = partition_sectors(options.size)?;
        let does_not_fit =
            || PlanError::DoesNotFit { size: options.size, smallest: smallest_for(&tree, options.reserve) };
        let record =
            new_boot_record(PARTITION_LBA, sectors, options.serial, label).ok_or_else(does_not_fit)?;
        let geometry = Geometry::check(&record).expect("a boot record made here passes the check");
        let frame = VolumeFrame {
            record,
            geometry,
            start: PARTITION_LBA.into(),
            label: (label != NO_LABEL).then_some(label),
            reserved: Vec::new(),
        };
        let volume = VolumePlan::new(frame, &tree, options.reserve).ok_or_else(does_not_fit)?;
        let partition = Partition { active: true, kind: TYPE_FAT32_LBA, first_lba: PARTITION_LBA, sectors };
        let mbr = Mbr {
            code: [0; CODE_BYTES],
            signature: options.signature,
            partitions: [Some(partition), None, None, None],
        };
        Ok(DiskPlan::from_parts(options.size, &mbr.to_bytes(), PARTITION_LBA, volume))
    }

    /// A disk with a partition table and a volume that come from elsewhere.
    pub(crate) fn from_parts(
        size: u64,
        sector_0: &[u8; SECTOR as usize],
        partition_lba: u32,
        volume: VolumePlan,
    ) -> DiskPlan {
        DiskPlan { size, sector_0: *sector_0, partition_lba, volume }
    }

    /// All files with their places, sorted by path.
    pub fn placements(&self) -> &[Placement] {
        &self.volume.placements
    }

    /// The place of one file, by its path as stored, with a leading `/`.
    pub fn placement(&self, path: &str) -> Option<&Placement> {
        let index = self.placements().binary_search_by(|placement| placement.path.as_str().cmp(path)).ok()?;
        self.placements().get(index)
    }

    /// First sector of partition 1; a loader has the sectors from 1 up to it.
    pub fn partition_lba(&self) -> u32 {
        self.partition_lba
    }

    /// Bytes of the volume that no file or directory uses.
    pub fn free_bytes(&self) -> u64 {
        self.volume.free_bytes
    }

    /// Puts the loader in front and returns the whole disk.
    pub fn finish(mut self, boot: &BootArea) -> Result<DiskLayout, PlanError> {
        let (needed, available) = (boot.gap.len() as u64, (u64::from(self.partition_lba) - 1) * SECTOR);
        if needed > available {
            return Err(PlanError::BootAreaTooLong { needed, available });
        }
        self.sector_0[..CODE_BYTES].copy_from_slice(&boot.mbr_code);
        let (at, version) = KEY_VERSION;
        self.sector_0[at..at + version.len()].copy_from_slice(&version);
        let mut extents = self.volume.extents;
        let mut bytes = |offset: u64, bytes: &[u8]| {
            extents.push(Extent {
                offset,
                length: bytes.len() as u64,
                content: Content::Bytes(bytes.into()),
            });
        };
        bytes(0, &self.sector_0);
        bytes(SECTOR, &boot.gap);
        Ok(DiskLayout::new(self.size, extents)?)
    }
}

/// Size in bytes, a whole number of MiB, of the smallest disk that holds `entries` with `reserve` bytes to
/// spare.
pub fn smallest_disk_size(entries: &[Entry], reserve: u64) -> Result<u64, PlanError> {
    let tree = Tree::new(entries, 0, true)?;
    smallest_for(&tree, reserve).ok_or(PlanError::DoesNotFit { size: LARGEST_MIB * MIB, smallest: None })
}

/// Whether a disk of `mib` MiB holds the tree and the reserve.
fn fits(tree: &Tree, reserve: u64, mib: u64) -> bool {
    let Ok(sectors) = partition_sectors(mib * MIB) else { return false };
    let Some(record) = new_boot_record(PARTITION_LBA, sectors, 0, NO_LABEL) else { return false };
    Geometry::check(&record).is_ok_and(|geometry| {
        let needed = tree.clusters(&geometry).saturating_add(geometry.clusters_for(reserve));
        needed <= u64::from(geometry.clusters)
    })
}

/// Within one cluster size, more room is never worse, so the smallest is found by halving. From one cluster
/// size to the next that does not hold, so they are tried in turn.
fn smallest_for(tree: &Tree, reserve: u64) -> Option<u64> {
    // Partitions of up to 8, 16 and 32 GiB, and the rest.
    let ends = [8 << 10, 16 << 10, 32 << 10].map(|gib_in_mib: u64| gib_in_mib + 1);
    let mut low = 1;
    for end in ends.into_iter().chain([LARGEST_MIB]) {
        if fits(tree, reserve, end) {
            let mut high = end;
            while low < high {
                let middle = low + (high - low) / 2;
                if fits(tree, reserve, middle) { high = middle } else { low = middle + 1 }
            }
            return Some(high * MIB);
        }
        low = end + 1;
    }
    None
}

/// Sectors of a partition from [`PARTITION_LBA`] to the end of a disk of `size` bytes; 0 when the disk ends
/// before.
fn partition_sectors(size: u64) -> Result<u32, PlanError> {
    match u32::try_from(size / SECTOR) {
        Ok(sectors) if size.is_multiple_of(SECTOR) => Ok(sectors.saturating_sub(PARTITION_LBA)),
        _ => Err(PlanError::BadSize { size }),
    }
}

fn label_bytes(label: &str) -> Result<[u8; 11], PlanError> {
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b" -_".contains(&b);
    if label.is_empty() {
        return Ok(NO_LABEL);
    }
    if label.len() > 11 || label.trim() != label || !label.bytes().all(allowed) {
        return Err(PlanError::BadLabel { label: label.to_owned() });
    }
    let mut bytes = [b' '; 11];
    bytes[..label.len()].copy_from_slice(label.as_bytes());
    Ok(bytes)
}
