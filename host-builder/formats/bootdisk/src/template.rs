//! The user's own template disk, such as the original 1 GB one: its loader, partition table, FAT geometry and
//! files are kept, our files are added.
//!
//! The volume is laid out anew, because that is what makes the same inputs give the same bytes. So the
//! template's loader must find its files by name.

use std::collections::BTreeMap;
use std::io;

use positioned_io::ReadAt;
use thiserror::Error;

use crate::PlanError;
use crate::detect::{Loader, detect};
use crate::disk::{BootArea, DiskPlan};
use crate::extent::{Content, FileId};
use crate::fat32::{
    Entry, EntryKind, Geometry, ReadError, Tree, Volume, VolumeFrame, VolumePlan, fold, normalise,
};
use crate::grub_legacy::STAGE2_PATH;
use crate::mbr::{CODE_BYTES, Mbr, MbrError, Partition, SECTOR};

/// A first partition that starts later than this (in sectors, 32 MiB) is taken for nonsense.
const LATEST_START: u32 = 65_536;

/// Why a disk cannot serve as a template.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The disk has no partition table.
    #[error("the template has no partition table")]
    NoPartitionTable(#[source] MbrError),
    /// Partition 1 is missing or not the only one, or of another kind.
    #[error("the template cannot be used: {reason}")]
    Unsuitable {
        /// What is wrong.
        reason: &'static str,
    },
    /// There is no FAT32 in partition 1, or it is damaged.
    #[error("the template holds no readable FAT32 volume in partition 1")]
    NoVolume(#[source] ReadError),
    /// There is no loader that could start our files.
    #[error("the template needs GRUB legacy that finds its files by name; its boot loader: {found}")]
    NoLoader {
        /// What there is.
        found: Loader,
    },
    /// The loader's second stage is missing.
    #[error("the template's loader needs the file {STAGE2_PATH} in partition 1")]
    NoStage2(#[source] ReadError),
    /// The template ends before something that it must hold.
    #[error("the template is cut short: it ends within the {structure} that begins at byte {offset}")]
    CutShort {
        /// What is not there, or not all of it.
        structure: String,
        /// Where it begins, in bytes from the start of the disk.
        offset: u64,
    },
    /// The template cannot be read.
    #[error("cannot read the template")]
    Io(#[source] io::Error),
    /// The disk to make is smaller than the template describes.
    #[error("the template describes a disk of {needed} bytes, which does not fit one of {size}")]
    DiskTooSmall {
        /// Size of the disk to make.
        size: u64,
        /// The smallest the template allows.
        needed: u64,
    },
    /// The template's volume has no room for the files.
    #[error("the template is too small: its volume has room for {room} bytes, and the files need {needed}")]
    TooSmall {
        /// Bytes in the volume's clusters.
        room: u64,
        /// Bytes that the files, directories and the room to keep free take.
        needed: u64,
    },
    /// The files cannot be put together.
    #[error("the files cannot be added to the template")]
    Plan(#[from] PlanError),
}

/// A template disk.
pub struct Template<R> {
    device: R,
    sector_0: [u8; SECTOR as usize],
    partition: Partition,
    loader: Loader,
}

impl<R: ReadAt> Template<R> {
    /// Opens a template and checks that it has what it takes: one partition with FAT32, a GRUB legacy that
    /// finds its stage 2 by name, and all of every file.
    pub fn open(device: R) -> Result<Template<R>, TemplateError> {
        let unsuitable = |reason| TemplateError::Unsuitable { reason };
        let mbr = Mbr::read(&device).map_err(|error| match error {
            MbrError::Io(source) => io_error("partition table", 0, source),
            other => TemplateError::NoPartitionTable(other),
        })?;
        let [Some(partition), None, None, None] = mbr.partitions else {
            return Err(unsuitable("it must have one primary partition, number 1, and no other"));
        };
        if partition.first_lba > LATEST_START {
            return Err(unsuitable("partition 1 starts later than 32 MiB into the disk"));
        }
        let mut sector_0 = [0; SECTOR as usize];
        device.read_exact_at(0, &mut sector_0).map_err(|source| io_error("partition table", 0, source))?;
        let volume = Volume::open(&device, partition.offset()).map_err(volume_error)?;
        let loader = detect(&device).map_err(TemplateError::Io)?;
        if !matches!(loader, Loader::GrubLegacy { by_name: true, .. }) {
            return Err(TemplateError::NoLoader { found: loader });
        }
        volume.lookup(STAGE2_PATH).and_then(|file| volume.extents(&file)).map_err(|error| match error {
            ReadError::Io { .. } => volume_error(error),
            other => TemplateError::NoStage2(other),
        })?;
        check_files(&device, &volume)?;
        Ok(Template { device, sector_0, partition, loader })
    }

    /// The loader found.
    pub fn loader(&self) -> &Loader {
        &self.loader
    }

    /// What stands before the partition, for [`DiskPlan::finish`].
    pub fn boot_area(&self) -> Result<BootArea, TemplateError> {
        let mbr_code: [u8; CODE_BYTES] =
            *self.sector_0.first_chunk().expect("the code is shorter than a sector");
        let mut gap = vec![0; (self.partition.first_lba as usize - 1) * SECTOR as usize];
        let structure = "space before its partition";
        self.device.read_exact_at(SECTOR, &mut gap).map_err(|source| io_error(structure, SECTOR, source))?;
        Ok(BootArea { mbr_code, gap })
    }

    /// Places the template's files and `entries` on a disk of `size` bytes with the template's geometry.
    /// Files of the same name are replaced by ours; directories take our spelling. `template` is the number
    /// under which the caller will provide the template's own bytes. `modified` dates new directories;
    /// `reserve` bytes stay free.
    pub fn plan(
        &self,
        entries: &[Entry],
        template: FileId,
        size: u64,
        modified: i64,
        reserve: u64,
    ) -> Result<DiskPlan, TemplateError> {
        let volume = self.volume()?;
        let geometry = *volume.geometry();
        let start = self.partition.first_lba;
        let sectors = self.partition.sectors.max(geometry.total_sectors);
        let needed = (u64::from(start) + u64::from(sectors)) * SECTOR;
        if size < needed {
            return Err(TemplateError::DiskTooSmall { size, needed });
        }

        let mut all = template_entries(&volume, entries, template)?;
        all.extend_from_slice(entries);
        let label = volume.root_label().map_err(volume_error)?;
        let tree = Tree::new(&all, modified, label.is_some())?;
        let mut record = volume.record;
        // The new layout starts with the root directory, and keeps all FATs alike.
        record.root_cluster = 2.into();
        record.fat_flags = 0.into();
        let geometry = Geometry { root_cluster: 2, ..geometry };
        let mut reserved = vec![0; geometry.reserved_sectors as usize * SECTOR as usize];
        volume.read("reserved sectors", 0, &mut reserved).map_err(volume_error)?;
        let frame = VolumeFrame { record, geometry, start: start.into(), label, reserved };
        let plan = VolumePlan::new(frame, &tree, reserve).ok_or_else(|| {
            let clusters = tree.clusters(&geometry).saturating_add(geometry.clusters_for(reserve));
            TemplateError::TooSmall {
                room: u64::from(geometry.clusters) * geometry.cluster_bytes(),
                needed: clusters.saturating_mul(geometry.cluster_bytes()),
            }
        })?;
        Ok(DiskPlan::from_parts(size, &self.sector_0, start, plan))
    }

    fn volume(&self) -> Result<Volume<&R>, TemplateError> {
        Volume::open(&self.device, self.partition.offset()).map_err(volume_error)
    }
}

/// The template's files and directories but for those that ours replace, spelt as ours where the names meet.
fn template_entries<R: ReadAt>(
    volume: &Volume<R>,
    ours: &[Entry],
    template: FileId,
) -> Result<Vec<Entry>, TemplateError> {
    // Every path of ours and everything above it, folded; true for files.
    let mut known: BTreeMap<String, (String, bool)> = BTreeMap::new();
    for entry in ours {
        let path = normalise(&entry.path);
        for (at, _) in path.match_indices('/').skip(1) {
            known.entry(fold(&path[..at])).or_insert_with(|| (path[..at].to_owned(), false));
        }
        known.insert(fold(&path), (path, entry.kind != EntryKind::Directory));
    }
    let mut entries = Vec::new();
    for item in volume.walk().map_err(volume_error)? {
        let mut path = String::new();
        let mut replaced = false;
        for part in item.path.split('/').skip(1) {
            path = format!("{path}/{part}");
            if let Some((spelling, is_file)) = known.get(&fold(&path)) {
                spelling.clone_into(&mut path);
                replaced = *is_file;
            }
        }
        let modified = item.entry.modified;
        if item.entry.is_directory() {
            entries.push(Entry::directory(path, modified));
        } else if !replaced {
            let extents = volume.extents(&item.entry).map_err(volume_error)?;
            let piece = |(offset, length)| (length, Content::File { file: template, offset });
            let kind = EntryKind::File {
                size: item.entry.size.into(),
                content: extents.into_iter().map(piece).collect(),
            };
            entries.push(Entry { path, modified, kind });
        }
    }
    Ok(entries)
}

/// Reads the last byte of every file, because the disk is made in one go much later.
fn check_files<R: ReadAt>(device: &R, volume: &Volume<&R>) -> Result<(), TemplateError> {
    for item in volume.walk().map_err(volume_error)?.iter().filter(|item| !item.entry.is_directory()) {
        for (offset, length) in volume.extents(&item.entry).map_err(volume_error)? {
            let last = offset + length.saturating_sub(1);
            device
                .read_exact_at(last, &mut [0])
                .map_err(|source| io_error(&format!("file {}", item.path), offset, source))?;
        }
    }
    Ok(())
}

/// A device that ends too early is a template cut short; everything else is the device's own trouble.
fn io_error(structure: &str, offset: u64, source: io::Error) -> TemplateError {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return TemplateError::CutShort { structure: structure.to_owned(), offset };
    }
    TemplateError::Io(source)
}

fn volume_error(error: ReadError) -> TemplateError {
    match error {
        ReadError::Io { structure, offset, source } => io_error(structure, offset, source),
        other => TemplateError::NoVolume(other),
    }
}
