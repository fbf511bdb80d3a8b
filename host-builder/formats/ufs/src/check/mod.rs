//! The full consistency check of a file system.
//!
//! The check is an implementation of its own: it shares the on-disk structures with the rest of the crate and nothing
//! else, so that it can judge what the rest writes. It changes nothing, takes no time from a clock, and works in
//! passes over the superblocks, the inode tables, the directories and the group headers. Contents of regular files
//! are not read. It keeps one bit for each fragment, five bytes for each inode, and the blocks and the name of each
//! directory. As the file system is first proved to fit its device, hostile numbers cannot make it allocate or loop
//! beyond the size of that device: no indirect or directory block is read for two owners.

mod bitmap;
mod blocks;
mod device;
mod directories;
mod finding;
mod geometry;
mod groups;
mod inodes;
mod paths;
mod superblock;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;

use positioned_io::ReadAt;

use self::bitmap::Bitmap;
use self::device::Device;
use self::finding::Findings;
pub use self::finding::{
    FINDINGS_LISTED, FINDINGS_LISTED_PER_KIND, Finding, FindingKind, Location, Severity,
};
use self::geometry::Geometry;
use self::inodes::{Attachment, Directory, InodeTable};
use crate::error::Result;
use crate::layout::SuperBlock;

/// What a check found out.
#[derive(Debug, Clone)]
pub struct Report {
    /// What is wrong, in the order of the passes: at most [`FINDINGS_LISTED`], and [`FINDINGS_LISTED_PER_KIND`] of
    /// one kind. [`Report::count`] knows of all.
    pub findings: Vec<Finding>,
    /// What the file system holds.
    pub totals: Totals,
    /// False when the superblock is so wrong that nothing behind it could be looked at.
    pub complete: bool,
    counts: BTreeMap<FindingKind, u64>,
}

impl Report {
    /// Whether the whole file system was checked and nothing was found but notices.
    pub fn is_clean(&self) -> bool {
        self.complete && self.counts.keys().all(|kind| kind.severity() == Severity::Notice)
    }

    /// How many findings of a kind there are, listed or not.
    pub fn count(&self, kind: FindingKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// The kinds found and how many findings of each there are, listed or not.
    pub fn counts(&self) -> impl Iterator<Item = (FindingKind, u64)> {
        self.counts.iter().map(|(&kind, &count)| (kind, count))
    }

    /// How many findings there are, listed or not.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// What a file system holds, by its inodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of the file system.
    pub bytes: u64,
    /// Allocated inodes.
    pub inodes_used: u64,
    /// Directories, attribute directories excepted.
    pub directories: u64,
    /// Regular files.
    pub regular_files: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Character and block devices.
    pub devices: u64,
    /// Inodes of all other types.
    pub others: u64,
    /// Inodes of 2 GiB and more.
    pub large_files: u64,
    /// Fragments that inodes hold.
    pub fragments_used: u64,
    /// Blocks that are free as a whole.
    pub free_blocks: u64,
    /// Free fragments in partly used blocks.
    pub free_fragments: u64,
}

/// The state of a check between its passes.
struct Checker<'a, D> {
    device: Device<'a, D>,
    superblock: SuperBlock,
    geometry: Geometry,
    findings: Findings,
    /// Fragments that hold metadata or belong to an inode.
    used: Bitmap,
    inodes: InodeTable,
    /// Directories in the order of their inodes.
    directories: Vec<Directory>,
    /// Directories in each group.
    group_directories: Vec<u32>,
    attachments: Vec<Attachment>,
    totals: Totals,
}

/// The multiple of bytes that the length of a boot archive should be: a page.
const DEVICE_UNIT: u64 = 4096;

/// Checks the file system on a device of `device_len` bytes.
///
/// # Errors
/// [`Device`](crate::ErrorKind::Device) when the device fails to read below `device_len`;
/// [`NotUfs`](crate::ErrorKind::NotUfs), [`BigEndian`](crate::ErrorKind::BigEndian),
/// [`MultiTerabyte`](crate::ErrorKind::MultiTerabyte) or
/// [`UnsupportedVersion`](crate::ErrorKind::UnsupportedVersion) when the superblock is none of this format. All else
/// is a finding.
pub fn check<D: ReadAt>(device: &D, device_len: u64) -> Result<Report> {
    let device = Device::new(device);
    let primary = superblock::read(&device, device_len)?;
    let mut findings = Findings::default();
    superblock::check_boot_block(&device, &mut findings)?;
    if !device_len.is_multiple_of(DEVICE_UNIT) {
        let detail = format_args!("{device_len} bytes");
        findings.add(FindingKind::DeviceLength, Location::default(), detail);
    }
    superblock::check_state(&primary.fields, &mut findings);
    let Some(geometry) = Geometry::read(&primary.fields, device_len, &mut findings) else {
        superblock::check_first_backup(&device, device_len, &primary, &mut findings)?;
        let Findings { listed, counts } = findings;
        return Ok(Report { findings: listed, totals: Totals::default(), complete: false, counts });
    };
    superblock::check_backups(&device, &geometry, &primary, &mut findings)?;

    let mut checker = Checker::new(device, primary.fields, geometry, findings);
    checker.check_inodes()?;
    checker.check_directories()?;
    checker.check_tree();
    checker.check_groups()?;
    checker.name_findings()?;
    let Findings { listed, counts } = checker.findings;
    Ok(Report { findings: listed, totals: checker.totals, complete: true, counts })
}

impl<'a, D: ReadAt> Checker<'a, D> {
    fn new(device: Device<'a, D>, superblock: SuperBlock, geometry: Geometry, findings: Findings) -> Self {
        let mut used = Bitmap::new(geometry.size);
        for group in 0..geometry.ncg {
            let base = geometry.group_base(group);
            let local = geometry.metadata(group);
            used.insert_range(base + local.start..base + local.end);
        }
        let totals = Totals { bytes: geometry.frag_offset(geometry.size), ..Totals::default() };
        Self {
            device,
            superblock,
            findings,
            used,
            inodes: InodeTable::new(geometry.inodes()),
            directories: Vec::new(),
            group_directories: vec![0; geometry.ncg as usize],
            attachments: Vec::new(),
            totals,
            geometry,
        }
    }
}
