//! Checks a whole volume for consistency.
//!
//! The work is bounded by the size of the volume: each cluster is followed once, because a chain that enters
//! clusters somebody owns already is reported and left.

mod fs_info;

use std::collections::HashSet;
use std::fmt;

use positioned_io::ReadAt;
use zerocopy::{FromZeros, IntoBytes};

use self::fs_info::FreeSpace;
use super::geometry::{BACKUP_SECTOR, new_boot_record};
use super::names;
use super::ondisk::{
    ATTR_LABEL, BootRecord, DELETED, DIR_ENTRY, FAT_BAD, FAT_END, FAT_MASK, FAT1_CLEAN, FIRST_CLUSTER,
    MAX_DIRECTORY,
};
use super::read::{DirEntry, FatCursor, ReadError, Run, Volume};
use super::slots::{Slot, Slots};
use crate::mbr::SECTOR;

/// Behind this many findings the check stops telling.
const MAX_FINDINGS: usize = 1000;
/// Bytes of the paths of directories still to be checked. Real volumes stay far below; damaged ones can name
/// directories within directories without end.
const MAX_WAITING: usize = 64 << 20;
/// Longest path that is followed, in bytes.
const MAX_PATH: usize = 4096;
/// Bytes of the FATs compared at a time.
const COMPARE: usize = 64 << 10;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is wrong.
    Info,
    /// Systems cope, but it is not as it should be.
    Warning,
    /// Data is lost or in danger.
    Error,
}

/// What a finding is about. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The copies of the FAT differ.
    FatCopies,
    /// FAT entries 0 or 1 are wrong, or say that the volume was not unmounted cleanly.
    FatHead,
    /// The FSInfo sector is damaged or out of date.
    FsInfo,
    /// The copy of the FSInfo sector is damaged.
    BackupFsInfo,
    /// The copy of the boot record differs.
    BackupBootRecord,
    /// Two chains share a cluster.
    CrossLink,
    /// Clusters are in use that no file owns.
    LostClusters,
    /// A chain is longer or shorter than its file.
    ChainLength,
    /// A chain leads to a cluster that is free, bad or does not exist.
    BrokenChain,
    /// A chain leads back into itself.
    Loop,
    /// A name is not allowed, damaged, or used twice in its directory.
    BadName,
    /// `.` and `..` are missing or point to the wrong place.
    DotEntries,
    /// A directory is larger than allowed.
    DirectorySize,
    /// A file lies in more than one piece.
    Fragmented,
    /// The volume and its partition differ in size or start.
    VolumeSize,
    /// There are more findings than are told.
    More,
}

impl FindingKind {
    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            FindingKind::Fragmented => Severity::Info,
            FindingKind::FsInfo
            | FindingKind::BackupFsInfo
            | FindingKind::FatHead
            | FindingKind::LostClusters
            | FindingKind::VolumeSize
            | FindingKind::BackupBootRecord => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

/// Something the check noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// Path of the file or directory, or name of the structure.
    pub place: String,
    /// What is wrong there.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.detail)
    }
}

/// Where a chain stopped.
enum End {
    Mark,
    Broken(u32),
    Loop(u32),
    CrossLink(u32),
}

struct Checker<'a, R> {
    volume: &'a Volume<R>,
    cursor: FatCursor,
    /// One bit for each cluster that a chain owns.
    owned: Vec<u64>,
    /// Whether a directory has the traces of entries that were removed.
    has_deleted: bool,
    findings: Vec<Finding>,
}

impl<R: ReadAt> Volume<R> {
    /// Looks for everything that is wrong. `partition` is the first sector and the number of sectors of the
    /// partition that the volume lies in, when there is one. An error means that the volume could not be
    /// read, not that something is wrong with it.
    pub fn check(&self, partition: Option<(u32, u32)>) -> Result<Vec<Finding>, ReadError> {
        let words = (self.geometry().clusters as usize + FIRST_CLUSTER as usize).div_ceil(64);
        let mut checker = Checker {
            volume: self,
            cursor: FatCursor::new(),
            owned: vec![0; words],
            has_deleted: false,
            findings: Vec::new(),
        };
        if let Some((start, sectors)) = partition {
            checker.check_partition(start, sectors);
        }
        checker.check_backup()?;
        checker.check_fat_copies()?;
        checker.check_fat_head()?;
        checker.check_tree()?;
        checker.check_free()?;
        Ok(checker.findings)
    }

    /// Whether this is a volume as [`DiskPlan::new`](crate::disk::DiskPlan::new) lays it out, by its boot record or
    /// the copy of it. On such a volume every finding above [`Severity::Info`] is damage, or somebody's later work;
    /// others may have been made a little odd.
    pub fn has_own_layout(&self) -> Result<bool, ReadError> {
        Ok(is_own(&self.record) || self.own_copy()?)
    }

    /// Whether the copy of the boot record is where kiln puts it, and one of ours.
    fn own_copy(&self) -> Result<bool, ReadError> {
        if u32::from(BACKUP_SECTOR) >= self.geometry().reserved_sectors {
            return Ok(false);
        }
        Ok(is_own(&self.boot_record_at(BACKUP_SECTOR.into())?))
    }

    fn boot_record_at(&self, sector: u32) -> Result<BootRecord, ReadError> {
        let mut record = BootRecord::new_zeroed();
        self.read("copy of the FAT boot record", sector.into(), record.as_mut_bytes())?;
        Ok(record)
    }
}

/// Whether kiln writes this very boot record for a volume of its place and size.
fn is_own(record: &BootRecord) -> bool {
    let (hidden, total) = (record.hidden_sectors.get(), record.total_sectors.get());
    new_boot_record(hidden, total, record.serial.get(), record.label).as_ref() == Some(record)
}

impl<R: ReadAt> Checker<'_, R> {
    fn report(&mut self, kind: FindingKind, place: &str, detail: impl Into<String>) {
        match self.findings.len() {
            0..MAX_FINDINGS => {
                self.findings.push(Finding { kind, place: place.to_owned(), detail: detail.into() });
            }
            MAX_FINDINGS => self.findings.push(Finding {
                kind: FindingKind::More,
                place: "volume".to_owned(),
                detail: "has more findings than are listed here".to_owned(),
            }),
            _ => {}
        }
    }

    fn check_partition(&mut self, start: u32, sectors: u32) {
        let total = self.volume.geometry().total_sectors;
        if total > sectors {
            let detail = format!("claims {total} sectors in a partition of {sectors}");
            self.report(FindingKind::VolumeSize, "boot record", detail);
        }
        let hidden = self.volume.record.hidden_sectors.get();
        if hidden != start {
            let detail = format!("says that {hidden} sectors lie before the volume; there are {start}");
            self.report(FindingKind::VolumeSize, "boot record", detail);
        }
    }

    fn check_backup(&mut self) -> Result<(), ReadError> {
        let Some(sector) = self.backup_sector()? else { return Ok(()) };
        if sector >= self.volume.geometry().reserved_sectors {
            self.report(
                FindingKind::BackupBootRecord,
                "boot record",
                "has its copy outside the reserved sectors",
            );
            return Ok(());
        }
        if self.volume.boot_record_at(sector)? != self.volume.record {
            let detail = format!("differs from its copy in sector {sector}");
            self.report(FindingKind::BackupBootRecord, "boot record", detail);
        }
        Ok(())
    }

    /// Sector of the copy of the boot record, if there is to be one.
    fn backup_sector(&self) -> Result<Option<u32>, ReadError> {
        Ok(match self.volume.record.backup_boot_sector.get() {
            // A record of ours that names no copy is damaged when there is one nevertheless.
            0 | u16::MAX => self.volume.own_copy()?.then_some(BACKUP_SECTOR.into()),
            sector => Some(sector.into()),
        })
    }

    fn check_fat_copies(&mut self) -> Result<(), ReadError> {
        let geometry = *self.volume.geometry();
        if self.volume.record.fat_flags.get() & 0x80 != 0 {
            // Mirroring is switched off, so the other copies may be old.
            return Ok(());
        }
        let (mut first, mut other) = (vec![0; COMPARE], vec![0; COMPARE]);
        let step = COMPARE as u64 / SECTOR;
        for copy in 1..geometry.fats {
            let mut sector = 0;
            while sector < u64::from(geometry.sectors_per_fat) {
                let sectors = (u64::from(geometry.sectors_per_fat) - sector).min(step);
                let length = (sectors * SECTOR) as usize;
                let structure = "file allocation table";
                self.volume.read(structure, geometry.fat_sector(0) + sector, &mut first[..length])?;
                self.volume.read(structure, geometry.fat_sector(copy) + sector, &mut other[..length])?;
                let differs = first[..length].iter().zip(&other[..length]).position(|(a, b)| a != b);
                if let Some(at) = differs {
                    let cluster = (sector * SECTOR + at as u64) / 4;
                    let detail = format!("differs from copy {} from cluster {cluster} on", copy + 1);
                    self.report(FindingKind::FatCopies, "FAT", detail);
                    break;
                }
                sector += sectors;
            }
        }
        Ok(())
    }

    fn check_fat_head(&mut self) -> Result<(), ReadError> {
        let media = self.volume.fat_entry(&mut self.cursor, 0)?;
        if media != FAT_MASK & !0xFF | u32::from(self.volume.record.media) {
            self.report(FindingKind::FatHead, "FAT", "does not start with the media descriptor");
        }
        let state = self.volume.fat_entry(&mut self.cursor, 1)?;
        if state & FAT1_CLEAN[0] == 0 {
            self.report(FindingKind::FatHead, "FAT", "is marked as not cleanly unmounted");
        }
        if state & FAT1_CLEAN[1] == 0 {
            self.report(FindingKind::FatHead, "FAT", "is marked as having seen disk errors");
        }
        Ok(())
    }

    /// Walks all directories, each reached once because its clusters can be owned only once.
    fn check_tree(&mut self) -> Result<(), ReadError> {
        let root = self.volume.geometry().root_cluster;
        let mut waiting = vec![("/".to_owned(), root, root)];
        let mut waiting_bytes = 0;
        while let Some((path, cluster, parent)) = waiting.pop() {
            waiting_bytes -= path.len().min(waiting_bytes);
            let (runs, end) = self.own(cluster)?;
            self.report_end(&path, &end);
            let cluster_bytes = self.volume.geometry().cluster_bytes();
            let total: u64 = runs.iter().map(|run| u64::from(run.count) * cluster_bytes).sum();
            if total > MAX_DIRECTORY.max(cluster_bytes) {
                self.report(FindingKind::DirectorySize, &path, "has more than 65536 entries");
                continue;
            }
            let mut bytes = Vec::with_capacity(total as usize);
            for run in runs {
                let start = bytes.len();
                bytes.resize(start + run.count as usize * cluster_bytes as usize, 0);
                let sector = self.volume.geometry().cluster_sector(run.first);
                self.volume.read("directory", sector, &mut bytes[start..])?;
            }
            self.has_deleted |= has_deleted(&bytes);
            if path != "/" {
                self.check_dots(&path, &bytes, cluster, parent);
            }
            let mut names_here = HashSet::new();
            for slot in Slots::new(&bytes) {
                if slot.short.attributes & ATTR_LABEL != 0 || slot.is_dot() {
                    continue;
                }
                let entry = slot.to_entry();
                let below = format!("{}/{}", path.trim_end_matches('/'), entry.name);
                self.check_names(&below, &slot, &entry, &mut names_here);
                if entry.is_directory() {
                    if entry.first_cluster == 0 {
                        self.report(FindingKind::BrokenChain, &below, "is a directory without clusters");
                    } else if self.owns(entry.first_cluster) {
                        let detail = format!("shares cluster {} with another file", entry.first_cluster);
                        self.report(FindingKind::CrossLink, &below, detail);
                    } else if below.len() > MAX_PATH || waiting_bytes > MAX_WAITING {
                        self.report(
                            FindingKind::DirectorySize,
                            &path,
                            "holds too many directories to follow",
                        );
                    } else {
                        waiting_bytes += below.len();
                        waiting.push((below, entry.first_cluster, cluster));
                    }
                } else {
                    self.check_file(&below, &entry)?;
                }
            }
        }
        Ok(())
    }

    fn check_file(&mut self, path: &str, file: &DirEntry) -> Result<(), ReadError> {
        let needed = self.volume.geometry().clusters_for(file.size.into());
        if file.first_cluster == 0 {
            if needed > 0 {
                self.report(
                    FindingKind::ChainLength,
                    path,
                    format!("has {} bytes but no clusters", file.size),
                );
            }
            return Ok(());
        }
        let (runs, end) = self.own(file.first_cluster)?;
        self.report_end(path, &end);
        let clusters: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
        if matches!(end, End::Mark) && clusters != needed {
            let detail = format!("has {clusters} clusters where {} bytes need {needed}", file.size);
            self.report(FindingKind::ChainLength, path, detail);
        }
        if runs.len() > 1 {
            self.report(FindingKind::Fragmented, path, format!("lies in {} pieces", runs.len()));
        }
        Ok(())
    }

    fn check_names(&mut self, path: &str, slot: &Slot, entry: &DirEntry, seen: &mut HashSet<String>) {
        let kind = FindingKind::BadName;
        if slot.orphans {
            self.report(kind, path, "has pieces of a long name before it that are not its own");
        }
        match &slot.long {
            Some(long) if !long.valid => self.report(kind, path, "has a long name that is not UTF-16"),
            Some(long) => {
                if let Some(reason) = names::fault(&long.text) {
                    self.report(kind, path, format!("has a bad long name: {reason}"));
                }
            }
            None => {}
        }
        if !names::is_short(&slot.short.name) {
            self.report(kind, path, format!("has the bad short name {:?}", entry.short_name));
        }
        let (long, short) = (names::fold(&entry.name), names::fold(&entry.short_name));
        let twice = if long == short { !seen.insert(long) } else { !seen.insert(long) | !seen.insert(short) };
        if twice {
            self.report(kind, path, "has a name that its directory uses twice");
        }
    }

    fn check_dots(&mut self, path: &str, bytes: &[u8], cluster: u32, parent: u32) {
        let root = self.volume.geometry().root_cluster;
        let found: Vec<([u8; 11], u32)> =
            Slots::new(bytes).take(2).map(|slot| (slot.short.name, slot.short.first_cluster())).collect();
        let up = if parent == root { 0 } else { parent };
        let expected = [(*b".          ", cluster), (*b"..         ", up)];
        if found != expected {
            self.report(
                FindingKind::DotEntries,
                path,
                "does not start with `.` and `..` that point where they should",
            );
        }
    }

    fn report_end(&mut self, path: &str, end: &End) {
        let (kind, detail) = match end {
            End::Mark => return,
            End::Broken(cluster) => (
                FindingKind::BrokenChain,
                format!("leads to cluster {cluster}, which is free, bad or does not exist"),
            ),
            End::Loop(cluster) => (FindingKind::Loop, format!("leads back to its own cluster {cluster}")),
            End::CrossLink(cluster) => {
                (FindingKind::CrossLink, format!("shares cluster {cluster} with another file"))
            }
        };
        self.report(kind, path, detail);
    }

    fn owns(&self, cluster: u32) -> bool {
        self.owned.get(cluster as usize / 64).is_some_and(|word| word >> (cluster % 64) & 1 != 0)
    }

    /// Takes possession of a chain as far as nobody else has.
    fn own(&mut self, first: u32) -> Result<(Vec<Run>, End), ReadError> {
        let mut runs: Vec<Run> = Vec::new();
        let mut cluster = first;
        loop {
            if !self.volume.geometry().contains(cluster) {
                return Ok((runs, End::Broken(cluster)));
            }
            if self.owns(cluster) {
                let own = runs.iter().any(|run| (run.first..run.first + run.count).contains(&cluster));
                return Ok((runs, if own { End::Loop(cluster) } else { End::CrossLink(cluster) }));
            }
            let next = self.volume.fat_entry(&mut self.cursor, cluster)?;
            if next == 0 || next == FAT_BAD {
                return Ok((runs, End::Broken(cluster)));
            }
            self.owned[cluster as usize / 64] |= 1 << (cluster % 64);
            match runs.last_mut() {
                Some(run) if run.first + run.count == cluster => run.count += 1,
                _ => runs.push(Run { first: cluster, count: 1 }),
            }
            if next >= FAT_END {
                return Ok((runs, End::Mark));
            }
            cluster = next;
        }
    }

    /// Clusters nobody owns, and whether FSInfo tells the truth about the free ones.
    fn check_free(&mut self) -> Result<(), ReadError> {
        let (mut free, mut lost, mut first_lost) = (0u32, 0u32, 0);
        let mut first_free = FIRST_CLUSTER + self.volume.geometry().clusters;
        let mut last_used = 0;
        self.volume.scan_fat(&mut |cluster, value| {
            if value == 0 {
                free += 1;
                first_free = first_free.min(cluster);
                return;
            }
            last_used = cluster;
            if value != FAT_BAD && !self.owns(cluster) {
                if lost == 0 {
                    first_lost = cluster;
                }
                lost += 1;
            }
        })?;
        if lost > 0 {
            let detail = format!("has {lost} clusters in use that no file owns, the first is {first_lost}");
            self.report(FindingKind::LostClusters, "FAT", detail);
        }
        self.check_fs_info(&FreeSpace { free, first_free, has_holes: last_used > first_free })
    }
}

/// Whether a directory remembers an entry that was removed.
fn has_deleted(directory: &[u8]) -> bool {
    let firsts = directory.chunks_exact(DIR_ENTRY).map(|entry| entry[0]);
    firsts.take_while(|&first| first != 0).any(|first| first == DELETED)
}
