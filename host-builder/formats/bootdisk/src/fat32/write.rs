//! Plans a volume: places directories, then files, each in one piece and in the order of their paths, and
//! makes the bytes of everything that is not a file.

use zerocopy::{FromZeros, IntoBytes};

use super::geometry::Geometry;
use super::names;
use super::ondisk::{
    ATTR_ARCHIVE, ATTR_DIRECTORY, ATTR_LABEL, ATTR_LONG_NAME, BootRecord, FAT_END_MARK, FAT_MASK,
    FIRST_CLUSTER, FS_INFO_SIGNATURES, FsInfo, LONG_UNITS, LongEntry, ShortEntry,
};
use super::time::FatTime;
use super::tree::{Child, Tree};
use crate::extent::{Content, Extent};
use crate::mbr::SECTOR;

/// Where a file lies on the disk: always in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Path from the root with a leading `/`, in the case it is stored with.
    pub path: String,
    /// First sector, counted from the start of the disk; 0 for an empty file.
    pub lba: u64,
    /// Length in bytes.
    pub length: u64,
}

/// A planned volume.
pub(crate) struct VolumePlan {
    /// Every file, sorted by path.
    pub placements: Vec<Placement>,
    /// Metadata and files, at offsets on the disk.
    pub extents: Vec<Extent>,
    /// Bytes in clusters nobody uses.
    pub free_bytes: u64,
}

/// What a volume's files are put into.
pub(crate) struct VolumeFrame {
    /// The boot record, with the root directory in the first cluster.
    pub record: BootRecord,
    /// What the record's check found.
    pub geometry: Geometry,
    /// First sector of the volume on the disk.
    pub start: u64,
    /// Label to enter in the root directory.
    pub label: Option<[u8; 11]>,
    /// The sectors before the first FAT as far as they are to be kept; boot record and FSInfo are put over
    /// them.
    pub reserved: Vec<u8>,
}

impl VolumePlan {
    /// Lays `tree` out; `None` when it does not fit with `reserve` bytes to spare.
    pub fn new(frame: VolumeFrame, tree: &Tree, reserve: u64) -> Option<VolumePlan> {
        let VolumeFrame { record, geometry, start, label, reserved } = frame;
        let used = tree.clusters(&geometry);
        let free = u64::from(geometry.clusters).checked_sub(used)?;
        if free < geometry.clusters_for(reserve) {
            return None;
        }
        let mut layout = Layout { geometry: &geometry, start, next: FIRST_CLUSTER, fat: Vec::new() };
        // Entries 0 and 1 hold the media descriptor and the marks of a clean volume.
        layout.fat.extend([FAT_MASK & !0xFF | u32::from(record.media), FAT_END_MARK]);
        let directories: Vec<u32> = tree.directories.iter().map(|d| layout.place(d.bytes())).collect();
        let files: Vec<u32> = tree.files.iter().map(|f| layout.place(f.size)).collect();

        let mut extents = layout.metadata(&record, reserved, free as u32);
        for (number, &cluster) in directories.iter().enumerate() {
            let label = label.filter(|_| number == 0);
            let bytes = directory_bytes(tree, number, label, &directories, &files);
            extents.push(bytes_extent(layout.offset(cluster), bytes));
        }
        let mut placements = Vec::with_capacity(files.len());
        for (file, &cluster) in tree.files.iter().zip(&files) {
            let mut offset = layout.offset(cluster);
            placements.push(Placement { path: file.path.clone(), lba: offset / SECTOR, length: file.size });
            for (length, content) in file.content {
                extents.push(Extent { offset, length: *length, content: content.clone() });
                offset += length;
            }
        }
        Some(VolumePlan { placements, extents, free_bytes: free * geometry.cluster_bytes() })
    }
}

/// The state of placing: clusters are handed out in order, so that the FAT grows like a log.
struct Layout<'a> {
    geometry: &'a Geometry,
    /// First sector of the volume.
    start: u64,
    /// The next free cluster.
    next: u32,
    /// The FAT so far; what follows is free.
    fat: Vec<u32>,
}

impl Layout<'_> {
    /// Takes clusters for `bytes`, one chain in a row; returns the first, or 0 when there are none.
    fn place(&mut self, bytes: u64) -> u32 {
        let clusters = self.geometry.clusters_for(bytes) as u32;
        if clusters == 0 {
            return 0;
        }
        let first = self.next;
        self.next += clusters;
        self.fat.extend(first + 1..self.next);
        self.fat.push(FAT_END_MARK);
        first
    }

    /// Offset of a cluster on the disk in bytes; 0 for cluster 0, which stands for no cluster.
    fn offset(&self, cluster: u32) -> u64 {
        if cluster == 0 { 0 } else { (self.start + self.geometry.cluster_sector(cluster)) * SECTOR }
    }

    /// Reserved sectors and FATs.
    fn metadata(&self, record: &BootRecord, mut reserved: Vec<u8>, free: u32) -> Vec<Extent> {
        let mut info = FsInfo::new_zeroed();
        info.lead_signature = FS_INFO_SIGNATURES[0].into();
        info.signature = FS_INFO_SIGNATURES[1].into();
        info.free_clusters = free.into();
        info.next_free = self.next.into();
        info.trail_signature = FS_INFO_SIGNATURES[2].into();

        let sectors = self.geometry.reserved_sectors as usize;
        reserved.resize(sectors * SECTOR as usize, 0);
        let mut put = |sector: usize, bytes: &[u8]| {
            let at = sector * SECTOR as usize;
            if let Some(target) = reserved.get_mut(at..at + bytes.len()) {
                target.copy_from_slice(bytes);
            }
        };
        put(0, record.as_bytes());
        let (info_sector, backup) = (record.fs_info_sector.get(), record.backup_boot_sector.get());
        let exists = |sector: u16| sector != 0 && sector != u16::MAX;
        if exists(backup) {
            put(usize::from(backup), record.as_bytes());
        }
        if exists(info_sector) {
            put(usize::from(info_sector), info.as_bytes());
            if exists(backup) {
                put(usize::from(backup) + usize::from(info_sector), info.as_bytes());
            }
        }

        let mut fat: Vec<u8> = self.fat.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        fat.resize(fat.len().next_multiple_of(SECTOR as usize), 0);
        let fat: std::sync::Arc<[u8]> = fat.into();
        let mut extents = vec![bytes_extent(self.start * SECTOR, reserved)];
        extents.extend((0..self.geometry.fats).map(|index| Extent {
            offset: (self.start + self.geometry.fat_sector(index)) * SECTOR,
            length: fat.len() as u64,
            content: Content::Bytes(fat.clone()),
        }));
        extents
    }
}

fn bytes_extent(offset: u64, bytes: Vec<u8>) -> Extent {
    Extent { offset, length: bytes.len() as u64, content: Content::Bytes(bytes.into()) }
}

/// The entries of one directory.
fn directory_bytes(
    tree: &Tree,
    number: usize,
    label: Option<[u8; 11]>,
    directories: &[u32],
    files: &[u32],
) -> Vec<u8> {
    let directory = &tree.directories[number];
    let mut bytes = Vec::new();
    let mut push = |entry: ShortEntry| bytes.extend_from_slice(entry.as_bytes());
    if let Some(label) = label {
        push(short_entry(label, ATTR_LABEL, directory.modified, 0, 0));
    }
    if number != 0 {
        let here = directories[number];
        // The root is called cluster 0 here, wherever it lies.
        let up = if directory.parent == 0 { 0 } else { directories[directory.parent] };
        push(short_entry(*b".          ", ATTR_DIRECTORY, directory.modified, here, 0));
        let above = tree.directories[directory.parent].modified;
        push(short_entry(*b"..         ", ATTR_DIRECTORY, above, up, 0));
    }
    let names: Vec<&str> = directory.children.keys().map(String::as_str).collect();
    for ((name, child), alias) in directory.children.iter().zip(names::aliases(&names)) {
        if names::display_short(&alias) != *name {
            push_long_entries(&mut bytes, name, &alias);
        }
        let short = match *child {
            Child::Directory(index) => {
                let modified = tree.directories[index].modified;
                short_entry(alias, ATTR_DIRECTORY, modified, directories[index], 0)
            }
            Child::File(index) => {
                let file = &tree.files[index];
                short_entry(alias, ATTR_ARCHIVE, file.entry.modified, files[index], file.size as u32)
            }
        };
        bytes.extend_from_slice(short.as_bytes());
    }
    if bytes.is_empty() {
        // An empty root still owns a cluster; one entry that marks the end stands for it.
        bytes.resize(size_of::<ShortEntry>(), 0);
    }
    bytes
}

/// What the boot record holds when there is no label.
pub(crate) const NO_LABEL: [u8; 11] = *b"NO NAME    ";

fn short_entry(name: [u8; 11], attributes: u8, modified: i64, cluster: u32, size: u32) -> ShortEntry {
    let time = FatTime::from_unix(modified);
    ShortEntry {
        name,
        attributes,
        case: 0,
        created_hundredths: time.hundredths,
        created_time: time.time.into(),
        created_date: time.date.into(),
        accessed_date: time.date.into(),
        cluster_high: ((cluster >> 16) as u16).into(),
        modified_time: time.time.into(),
        modified_date: time.date.into(),
        cluster_low: (cluster as u16).into(),
        size: size.into(),
    }
}

/// Long entries stand last piece first. The last piece ends with a 0 and is filled up with FFFF.
fn push_long_entries(bytes: &mut Vec<u8>, name: &str, alias: &[u8; 11]) {
    let units: Vec<u16> = name.encode_utf16().collect();
    let checksum = names::checksum(alias);
    let pieces = units.chunks(LONG_UNITS).count();
    for (index, piece) in units.chunks(LONG_UNITS).enumerate().rev() {
        let unit = |at: usize| -> zerocopy::little_endian::U16 {
            match at.cmp(&piece.len()) {
                std::cmp::Ordering::Less => piece[at],
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Greater => 0xFFFF,
            }
            .into()
        };
        let last = if index + 1 == pieces { 0x40 } else { 0 };
        let entry = LongEntry {
            order: (index + 1) as u8 | last,
            name1: std::array::from_fn(unit),
            attributes: ATTR_LONG_NAME,
            kind: 0,
            checksum,
            name2: std::array::from_fn(|at| unit(at + 5)),
            cluster: 0.into(),
            name3: std::array::from_fn(|at| unit(at + 11)),
        };
        bytes.extend_from_slice(entry.as_bytes());
    }
}
