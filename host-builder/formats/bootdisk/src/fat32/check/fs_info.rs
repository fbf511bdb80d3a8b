//! Checks the FSInfo sector and its copy against the FAT.

use positioned_io::ReadAt;
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

use super::{Checker, FindingKind};
use crate::fat32::ondisk::{FIRST_CLUSTER, FS_INFO_SIGNATURES, FsInfo};
use crate::fat32::read::ReadError;

/// What the FAT says about free clusters.
pub(super) struct FreeSpace {
    /// How many are free.
    pub free: u32,
    /// The first of them; the one past the end when there is none.
    pub first_free: u32,
    /// Whether a cluster behind the first free one is in use.
    pub has_holes: bool,
}

/// What stands in [`FsInfo`] for a number nobody knows.
const UNKNOWN: u32 = u32::MAX;

impl<R: ReadAt> Checker<'_, R> {
    /// Checks FSInfo, its copy beside the copy of the boot record, and whether they agree with the FAT.
    pub(super) fn check_fs_info(&mut self, space: &FreeSpace) -> Result<(), ReadError> {
        let sector = self.volume.record.fs_info_sector.get();
        if sector == 0 || sector == u16::MAX {
            return Ok(());
        }
        let primary = self.fs_info(FindingKind::FsInfo, "FSInfo", sector.into())?;
        if let Some(info) = &primary {
            self.check_hints(info, space);
        }
        let Some(copy_sector) = self.backup_sector()?.map(|backup| backup + u32::from(sector)) else {
            return Ok(());
        };
        let copy = self.fs_info(FindingKind::BackupFsInfo, "copy of FSInfo", copy_sector)?;
        if let Some(copy) = copy.filter(|copy| primary != Some(*copy)) {
            self.check_copy(&copy);
        }
        Ok(())
    }

    /// Reads an FSInfo sector and checks what does not change. `None` when its numbers are not to be trusted.
    fn fs_info(&mut self, kind: FindingKind, place: &str, sector: u32) -> Result<Option<FsInfo>, ReadError> {
        if sector >= self.volume.geometry().reserved_sectors {
            self.report(kind, place, "lies outside the reserved sectors");
            return Ok(None);
        }
        let mut info = FsInfo::new_zeroed();
        self.volume.read("FSInfo sector", sector.into(), info.as_mut_bytes())?;
        if [info.lead_signature, info.signature, info.trail_signature].map(U32::get) != FS_INFO_SIGNATURES {
            self.report(kind, place, "lacks its signatures");
            return Ok(None);
        }
        if info.reserved.iter().chain(&info.reserved2).any(|&byte| byte != 0) {
            self.report(kind, place, "has bytes other than zero where nothing belongs");
        }
        Ok(Some(info))
    }

    fn check_hints(&mut self, info: &FsInfo, space: &FreeSpace) {
        let (kind, place) = (FindingKind::FsInfo, "FSInfo");
        let (counted, next) = (info.free_clusters.get(), info.next_free.get());
        if counted != UNKNOWN && counted != space.free {
            let detail = format!("counts {counted} free clusters; there are {}", space.free);
            self.report(kind, place, detail);
        }
        if next == UNKNOWN {
            return;
        }
        if !self.can_be_next(next) {
            self.report(kind, place, "names a next free cluster that does not exist");
            return;
        }
        // Some systems name the cluster they took last. Once files have been removed, any hint is as good as
        // another.
        let first = space.first_free;
        if !space.has_holes && !self.has_deleted && next != first && next + 1 != first {
            let detail = format!("names cluster {next} as the next free one, which is {first}");
            self.report(kind, place, detail);
        }
    }

    /// Checks the numbers of a copy that is not like FSInfo itself. Nobody keeps it up to date, so it tells of the time
    /// when the volume was made: everything up to the next free cluster was in use, and nothing behind it.
    fn check_copy(&mut self, copy: &FsInfo) {
        let (free, next) = (copy.free_clusters.get(), copy.next_free.get());
        let unknown = free == UNKNOWN || next == UNKNOWN;
        let end = u64::from(self.volume.geometry().clusters) + u64::from(FIRST_CLUSTER);
        let sum = u64::from(free) + u64::from(next);
        if !unknown && (!self.can_be_next(next) || !(end - 1..=end).contains(&sum)) {
            let detail = format!("counts {free} free clusters from cluster {next} on, which was never true");
            self.report(FindingKind::BackupFsInfo, "copy of FSInfo", detail);
        }
    }

    /// Whether FSInfo may name this cluster. One past the end is what a full volume has.
    fn can_be_next(&self, cluster: u32) -> bool {
        cluster >= FIRST_CLUSTER && cluster - FIRST_CLUSTER <= self.volume.geometry().clusters
    }
}
