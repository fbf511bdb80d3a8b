//! Reads a FAT32 volume, ours or foreign. Nothing on it is trusted: chains are followed with loop detection,
//! directories and walks are bounded, and names that could climb out of a tree are defused.

use std::collections::HashSet;
use std::io::{self, Read};

use positioned_io::ReadAt;
use thiserror::Error;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::geometry::Geometry;
use super::names;
use super::ondisk::{
    ATTR_DIRECTORY, ATTR_LABEL, BootRecord, DIR_ENTRY, FAT_END, FAT_MASK, FIRST_CLUSTER, MAX_DIRECTORY,
};
use super::slots::{Slot, Slots};
use super::tree::normalise;
use super::write::NO_LABEL;
use crate::mbr::SECTOR;

/// [`Volume::walk`] gives up behind this many entries, or this many bytes of paths.
const MAX_WALK: (usize, usize) = (1 << 18, 64 << 20);
/// How often the entries of a walk may claim the clusters of the volume, all together.
const MAX_OVERLAP: u64 = 64;
/// Bytes of the FAT read at a time.
const FAT_WINDOW: usize = 4096;

/// Why a volume cannot be read. Offsets are in bytes from the start of the device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The device failed, or ends too early.
    #[error("cannot read the {structure} at byte {offset}")]
    Io {
        /// What was being read.
        structure: &'static str,
        /// Where.
        offset: u64,
        /// The device's words.
        #[source]
        source: io::Error,
    },
    /// There is no FAT32 volume.
    #[error("no FAT32 volume at byte {offset}: {reason}")]
    NotFat32 {
        /// Where it was looked for.
        offset: u64,
        /// What is missing.
        reason: &'static str,
    },
    /// A chain of clusters is broken.
    #[error("the clusters of {path:?} {reason} (at cluster {cluster})")]
    BadChain {
        /// The file or directory.
        path: String,
        /// The cluster at which the chain breaks.
        cluster: u32,
        /// What is wrong.
        reason: &'static str,
    },
    /// More entries than any sensible volume has, or directories that contain themselves.
    #[error("the directory tree at {path:?} {reason}")]
    BadTree {
        /// Where the walk stopped.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// No such file or directory.
    #[error("{path:?} does not exist on the FAT volume")]
    NotFound {
        /// The path asked for.
        path: String,
    },
    /// A file where a directory is needed.
    #[error("{path:?} is not a directory")]
    NotADirectory {
        /// The path asked for.
        path: String,
    },
    /// A directory where a file is needed.
    #[error("{path:?} is a directory")]
    IsADirectory {
        /// The path asked for.
        path: String,
    },
}

/// A file or directory as its directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The long name, or the short one where there is none. Never empty, `.` or `..`, and without slashes or
    /// control characters.
    pub name: String,
    /// The 8.3 name, `NAME.EXT`.
    pub short_name: String,
    /// Attribute bits: 1 read-only, 2 hidden, 4 system, 0x10 directory, 0x20 archive.
    pub attributes: u8,
    /// Time of the last change, in seconds since 1970.
    pub modified: i64,
    /// Size in bytes; 0 for directories.
    pub size: u32,
    /// First cluster; 0 for an empty file and for the root.
    pub first_cluster: u32,
}

impl DirEntry {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.attributes & ATTR_DIRECTORY != 0
    }
}

/// One step of [`Volume::walk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkItem {
    /// Path with a leading `/`.
    pub path: String,
    /// What is there.
    pub entry: DirEntry,
}

/// What there is to say about a volume as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Name of the maker in the boot record.
    pub oem: String,
    /// Label: the root directory's, else the boot record's; empty when there is none.
    pub label: String,
    /// Serial number.
    pub serial: u32,
    /// Sectors that the boot record says lie before the volume.
    pub hidden_sectors: u32,
    /// Areas and sizes.
    pub geometry: Geometry,
    /// Clusters that the FAT marks as free.
    pub free_clusters: u32,
}

/// Clusters in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub first: u32,
    pub count: u32,
}

/// A FAT32 volume on a device.
pub struct Volume<R> {
    device: R,
    /// Offset of the volume on the device, in bytes.
    offset: u64,
    pub(crate) record: BootRecord,
    geometry: Geometry,
}

impl<R: ReadAt> Volume<R> {
    /// Opens the volume that starts `offset` bytes into the device, by the rules of illumos pcfs.
    pub fn open(device: R, offset: u64) -> Result<Volume<R>, ReadError> {
        let mut record = BootRecord::new_zeroed();
        let structure = "FAT boot record";
        device.read_exact_at(offset, record.as_mut_bytes()).map_err(|source| ReadError::Io {
            structure,
            offset,
            source,
        })?;
        let geometry = Geometry::check(&record).map_err(|reason| ReadError::NotFat32 { offset, reason })?;
        if offset.checked_add((u64::from(geometry.total_sectors) + 1) * SECTOR).is_none() {
            return Err(ReadError::NotFat32 { offset, reason: "it ends behind any possible device" });
        }
        Ok(Volume { device, offset, record, geometry })
    }

    /// Areas and sizes.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Label, sizes and free space. Reads the whole FAT.
    pub fn summary(&self) -> Result<Summary, ReadError> {
        let mut free_clusters = 0;
        self.scan_fat(&mut |_, value| free_clusters += u32::from(value == 0))?;
        Ok(Summary {
            oem: String::from_utf8_lossy(&self.record.oem).trim_end_matches([' ', '\0']).to_owned(),
            label: self.label()?,
            serial: self.record.serial.get(),
            hidden_sectors: self.record.hidden_sectors.get(),
            geometry: self.geometry,
            free_clusters,
        })
    }

    /// The label: the root directory's, else the boot record's; empty when there is none.
    pub fn label(&self) -> Result<String, ReadError> {
        let label = match self.root_label()? {
            Some(label) => label,
            None if self.record.extended_signature == 0x29 && self.record.label != NO_LABEL => {
                self.record.label
            }
            None => [b' '; 11],
        };
        Ok(label.iter().map(|&b| char::from(b)).collect::<String>().trim_end().to_owned())
    }

    /// The label as the root directory has it.
    pub(crate) fn root_label(&self) -> Result<Option<[u8; 11]>, ReadError> {
        let root = self.directory_bytes(self.geometry.root_cluster, "/")?;
        let label = Slots::new(&root).find(|slot| slot.short.attributes & ATTR_LABEL != 0);
        Ok(label.map(|slot| slot.short.name))
    }

    /// The root directory.
    pub fn root(&self) -> DirEntry {
        DirEntry {
            name: "/".to_owned(),
            short_name: "/".to_owned(),
            attributes: ATTR_DIRECTORY,
            modified: 0,
            size: 0,
            first_cluster: 0,
        }
    }

    /// What a directory holds, in the order stored, without the label and the dot entries.
    pub fn list(&self, directory: &DirEntry) -> Result<Vec<DirEntry>, ReadError> {
        self.list_at(directory, &directory.name)
    }

    fn list_at(&self, directory: &DirEntry, path: &str) -> Result<Vec<DirEntry>, ReadError> {
        if !directory.is_directory() {
            return Err(ReadError::NotADirectory { path: path.to_owned() });
        }
        Ok(entries_in(&self.directory_bytes(self.directory_cluster(directory), path)?))
    }

    /// The first cluster of a directory; the root's is written as 0 in entries.
    pub(crate) fn directory_cluster(&self, directory: &DirEntry) -> u32 {
        if directory.first_cluster == 0 { self.geometry.root_cluster } else { directory.first_cluster }
    }

    /// Everything below the root, directories before what they hold.
    pub fn walk(&self) -> Result<Vec<WalkItem>, ReadError> {
        let mut items: Vec<WalkItem> = Vec::new();
        let mut path_bytes = 0;
        // Files and directories of a sound volume share no clusters. Damage may break that a little; a tree that claims
        // the volume many times over was made to keep its readers busy.
        let mut claimed = 0;
        let mut seen = HashSet::from([self.geometry.root_cluster]);
        // Directories still to be listed; the last is listed next, so that the order is that of a depth-first
        // walk.
        let mut waiting = vec![(String::new(), self.root())];
        while let Some((path, directory)) = waiting.pop() {
            let mut below = Vec::new();
            let shown = if path.is_empty() { "/" } else { &path };
            let bytes = self.directory_bytes(self.directory_cluster(&directory), shown)?;
            claimed += self.geometry.clusters_for(bytes.len() as u64);
            for entry in entries_in(&bytes) {
                let path = format!("{path}/{}", entry.name);
                path_bytes += path.len();
                if items.len() >= MAX_WALK.0 || path_bytes > MAX_WALK.1 {
                    return Err(ReadError::BadTree { path, reason: "has too many entries" });
                }
                claimed += self.geometry.clusters_for(entry.size.into());
                if entry.is_directory() {
                    if !seen.insert(self.directory_cluster(&entry)) {
                        return Err(ReadError::BadTree { path, reason: "leads back into itself" });
                    }
                    below.push((path.clone(), entry.clone()));
                }
                items.push(WalkItem { path, entry });
            }
            if claimed > u64::from(self.geometry.clusters) * MAX_OVERLAP {
                let reason = "claims far more clusters than there are";
                return Err(ReadError::BadTree { path: shown.to_owned(), reason });
            }
            waiting.extend(below.into_iter().rev());
        }
        Ok(items)
    }

    /// Finds a file or directory by its long or short names, ignoring case.
    pub fn lookup(&self, path: &str) -> Result<DirEntry, ReadError> {
        let path = normalise(path);
        let mut found = self.root();
        let mut so_far = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let folded = names::fold(part);
            let matches = |entry: &DirEntry| {
                names::fold(&entry.name) == folded || names::fold(&entry.short_name) == folded
            };
            let entries = self.list_at(&found, if so_far.is_empty() { "/" } else { &so_far })?;
            so_far = format!("{so_far}/{part}");
            found = match entries.into_iter().find(matches) {
                Some(entry) => entry,
                None => return Err(ReadError::NotFound { path: so_far }),
            };
        }
        Ok(found)
    }

    /// Where a file's bytes lie: pieces (offset on the device, length), both in bytes, in file order.
    pub fn extents(&self, file: &DirEntry) -> Result<Vec<(u64, u64)>, ReadError> {
        if file.is_directory() {
            return Err(ReadError::IsADirectory { path: file.name.clone() });
        }
        let size = u64::from(file.size);
        let clusters = self.geometry.clusters_for(size) as u32;
        let (runs, _) = self.chain(file.first_cluster, clusters, &file.name)?;
        let mut left = size;
        let mut extents = Vec::with_capacity(runs.len());
        for run in runs {
            let length = (u64::from(run.count) * self.geometry.cluster_bytes()).min(left);
            extents.push((self.cluster_offset(run.first), length));
            left -= length;
        }
        if left > 0 {
            let reason = "end before its size is reached";
            return Err(ReadError::BadChain { path: file.name.clone(), cluster: file.first_cluster, reason });
        }
        Ok(extents)
    }

    /// Opens a file for reading.
    pub fn open_file(&self, file: &DirEntry) -> Result<FileReader<&R>, ReadError> {
        Ok(FileReader::new(&self.device, self.extents(file)?))
    }

    /// Offset of a valid cluster on the device.
    pub(crate) fn cluster_offset(&self, cluster: u32) -> u64 {
        self.offset + self.geometry.cluster_sector(cluster) * SECTOR
    }

    /// Reads `buf` from the volume's sector `sector` on.
    pub(crate) fn read(&self, structure: &'static str, sector: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let offset = self.offset + sector * SECTOR;
        self.device.read_exact_at(offset, buf).map_err(|source| ReadError::Io { structure, offset, source })
    }

    /// Number of the FAT that is in use.
    pub(crate) fn active_fat(&self) -> u32 {
        let flags = u32::from(self.record.fat_flags.get());
        if flags & 0x80 != 0 && flags & 0xF < self.geometry.fats { flags & 0xF } else { 0 }
    }

    /// Calls `visit` with each cluster and its FAT entry.
    pub(crate) fn scan_fat(&self, visit: &mut dyn FnMut(u32, u32)) -> Result<(), ReadError> {
        let mut cursor = FatCursor::new();
        for cluster in FIRST_CLUSTER..FIRST_CLUSTER + self.geometry.clusters {
            visit(cluster, self.fat_entry(&mut cursor, cluster)?);
        }
        Ok(())
    }

    /// The FAT entry of a valid cluster.
    pub(crate) fn fat_entry(&self, cursor: &mut FatCursor, cluster: u32) -> Result<u32, ReadError> {
        let at = u64::from(cluster) * 4;
        let window = at / FAT_WINDOW as u64;
        if cursor.window != Some(window) {
            // The last window may reach past the FAT; whole sectors up to its end are enough.
            let sector = window * (FAT_WINDOW as u64 / SECTOR);
            let sectors = (u64::from(self.geometry.sectors_per_fat) - sector).min(FAT_WINDOW as u64 / SECTOR);
            let length = (sectors * SECTOR) as usize;
            cursor.window = None;
            let first = self.geometry.fat_sector(self.active_fat());
            self.read("file allocation table", first + sector, &mut cursor.bytes[..length])?;
            cursor.window = Some(window);
        }
        let at = (at % FAT_WINDOW as u64) as usize;
        let entry = u32::read_from_bytes(&cursor.bytes[at..at + 4]).expect("four bytes make an entry");
        Ok(u32::from_le(entry) & FAT_MASK)
    }

    /// Follows a chain for at most `limit` clusters; also says whether it went on behind them. Brent's
    /// algorithm finds loops without memory: a marker stays put while the walk doubles its distance from it.
    pub(crate) fn chain(&self, first: u32, limit: u32, path: &str) -> Result<(Vec<Run>, bool), ReadError> {
        let bad = |cluster, reason| ReadError::BadChain { path: path.to_owned(), cluster, reason };
        let mut cursor = FatCursor::new();
        let mut runs: Vec<Run> = Vec::new();
        let (mut marker, mut steps, mut until_moved) = (0, 0u32, 1u32);
        let mut cluster = first;
        if limit == 0 {
            return Ok((runs, first != 0));
        }
        for _ in 0..limit {
            if cluster == 0 && runs.is_empty() {
                return Ok((runs, false));
            }
            if !self.geometry.contains(cluster) {
                return Err(bad(cluster, "lead to one that is free, bad or does not exist"));
            }
            if cluster == marker {
                return Err(bad(cluster, "form a loop"));
            }
            match runs.last_mut() {
                Some(run) if run.first + run.count == cluster => run.count += 1,
                _ => runs.push(Run { first: cluster, count: 1 }),
            }
            steps += 1;
            if steps == until_moved {
                (marker, steps, until_moved) = (cluster, 0, until_moved.saturating_mul(2));
            }
            cluster = self.fat_entry(&mut cursor, cluster)?;
            if cluster >= FAT_END {
                return Ok((runs, false));
            }
        }
        Ok((runs, true))
    }

    /// All entries of a directory.
    pub(crate) fn directory_bytes(&self, first: u32, path: &str) -> Result<Vec<u8>, ReadError> {
        let cluster_bytes = self.geometry.cluster_bytes();
        let limit = (MAX_DIRECTORY / cluster_bytes).max(1) as u32;
        let (runs, longer) = self.chain(first, limit, path)?;
        if longer {
            return Err(ReadError::BadTree { path: path.to_owned(), reason: "has too large a directory" });
        }
        let mut bytes = Vec::new();
        for run in runs {
            let start = bytes.len();
            bytes.resize(start + run.count as usize * cluster_bytes as usize, 0);
            self.read("directory", self.geometry.cluster_sector(run.first), &mut bytes[start..])?;
        }
        bytes.truncate(bytes.len() / DIR_ENTRY * DIR_ENTRY);
        Ok(bytes)
    }
}

/// What a directory's bytes hold but for the label and the dot entries.
fn entries_in(bytes: &[u8]) -> Vec<DirEntry> {
    let shown = |slot: &Slot| slot.short.attributes & ATTR_LABEL == 0 && !slot.is_dot();
    Slots::new(bytes).filter(shown).map(|slot| slot.to_entry()).collect()
}

/// A window into the FAT, so that following a chain does not read a sector for every entry.
pub(crate) struct FatCursor {
    window: Option<u64>,
    bytes: Box<[u8; FAT_WINDOW]>,
}

impl FatCursor {
    pub fn new() -> FatCursor {
        FatCursor { window: None, bytes: Box::new([0; FAT_WINDOW]) }
    }
}

/// A file's bytes, wherever they lie on the device: for positioned reads, and from front to back.
pub struct FileReader<R> {
    device: R,
    /// Start in the file, offset on the device and length of each piece.
    pieces: Vec<(u64, u64, u64)>,
    size: u64,
    position: u64,
}

impl<R: ReadAt> FileReader<R> {
    /// Reads the pieces (offset, length) of `device` as one file; [`Volume::extents`] finds them.
    pub fn new(device: R, extents: Vec<(u64, u64)>) -> FileReader<R> {
        let mut size = 0;
        let pieces = extents
            .into_iter()
            .map(|(offset, length)| {
                let piece = (size, offset, length);
                size += length;
                piece
            })
            .collect();
        FileReader { device, pieces, size, position: 0 }
    }

    /// Length of the file in bytes.
    pub fn len(&self) -> u64 {
        self.size
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.size == 0
    }
}

impl<R: ReadAt> ReadAt for FileReader<R> {
    fn read_at(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        let index = self.pieces.partition_point(|&(start, _, length)| start + length <= pos);
        let Some(&(start, offset, length)) = self.pieces.get(index) else { return Ok(0) };
        let skip = pos - start;
        let wanted = usize::try_from(length - skip).unwrap_or(usize::MAX).min(buf.len());
        match self.device.read_at(offset + skip, &mut buf[..wanted])? {
            0 if wanted > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

impl<R> positioned_io::Size for FileReader<R> {
    fn size(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.size))
    }
}

impl<R: ReadAt> Read for FileReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.read_at(self.position, buf)?;
        self.position += read as u64;
        Ok(read)
    }
}
