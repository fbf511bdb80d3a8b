//! How much room there is, and how much new files need.

use positioned_io::ReadAt;

use crate::filesystem::FileSystem;
use crate::geometry::Geometry;
use crate::grow::{MAX_LENGTH, grown_geometry};
use crate::layout::{DIR_CHUNK, DIRECT_POINTERS, dir_entry_size};

/// Sizes and free space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes of a block.
    pub block_size: u32,
    /// Bytes of a fragment.
    pub fragment_size: u32,
    /// Bytes of the file system, metadata included.
    pub size_bytes: u64,
    /// Bytes for data, free or not.
    pub data_bytes: u64,
    /// Free bytes, in whole blocks and in fragments.
    pub free_bytes: u64,
    /// Inodes, the two reserved ones included.
    pub inodes: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// Directories.
    pub directories: u32,
    /// Cylinder groups.
    pub groups: u32,
}

/// What new files need, counted before they are written.
///
/// Contents are counted exactly: fragments of tails, whole blocks, indirect blocks. What names add to their directories
/// is an upper estimate. [`FileSystem::fits`] adds a reserve, for tails may find no hole of their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    geometry: Geometry,
    frags: u64,
    inodes: u64,
    name_bytes: u64,
}

impl Demand {
    /// Nothing yet, on a file system of this geometry.
    pub fn new(geometry: &Geometry) -> Self {
        Self { geometry: *geometry, frags: 0, inodes: 0, name_bytes: 0 }
    }

    /// Adds a regular file of `size` bytes: data, indirect blocks and an inode, but not its name.
    pub fn file(&mut self, size: u64) {
        let geometry = &self.geometry;
        let blocks = size.div_ceil(geometry.bsize.into());
        let frag = u64::from(geometry.frag);
        let direct = DIRECT_POINTERS as u64;
        let data =
            if blocks <= direct { size.div_ceil(geometry.fsize.into()) } else { blocks.saturating_mul(frag) };
        // Single indirect blocks, the double ones above them, the triple one on top, each level less what the
        // levels before it reach.
        let n = u64::from(geometry.nindir());
        let leaves = blocks.saturating_sub(direct).div_ceil(n);
        let doubles = leaves.saturating_sub(1).div_ceil(n);
        let triple = u64::from(doubles > 1);
        let indirect = (leaves + doubles + triple).saturating_mul(frag);
        self.frags = self.frags.saturating_add(data).saturating_add(indirect);
        self.inodes = self.inodes.saturating_add(1);
    }

    /// Adds a symbolic link whose target has `len` bytes.
    pub fn symlink(&mut self, len: usize) {
        self.file(len as u64);
    }

    /// Adds a directory, empty.
    pub fn directory(&mut self) {
        self.file(u64::from(DIR_CHUNK));
    }

    /// Adds a device or fifo.
    pub fn node(&mut self) {
        self.file(0);
    }

    /// Adds a name of `len` bytes in some directory: one for each file, and one for each further hard link.
    pub fn name(&mut self, len: usize) {
        self.name_bytes = self.name_bytes.saturating_add(dir_entry_size(len) as u64);
    }

    /// Fragments needed, directory growth included. Entries may fill their chunks badly, but never less than half.
    fn total_frags(&self) -> u64 {
        self.frags.saturating_add(self.name_bytes.saturating_mul(2).div_ceil(self.geometry.fsize.into()))
    }

    /// Bytes needed.
    pub fn bytes(&self) -> u64 {
        self.total_frags().saturating_mul(self.geometry.fsize.into())
    }

    /// Inodes needed.
    pub fn inodes(&self) -> u64 {
        self.inodes
    }
}

impl<D: ReadAt> FileSystem<D> {
    /// Sizes and free space at this moment, unfinished edits included.
    pub fn statistics(&self) -> Statistics {
        let geometry = &self.geometry;
        let sum = |count: fn(&crate::layout::Csum) -> i32| -> u64 {
            self.summaries.iter().map(|csum| u64::from(count(csum).unsigned_abs())).sum()
        };
        let frags = sum(|csum| csum.nbfree.get()) * u64::from(geometry.frag) + sum(|csum| csum.nffree.get());
        Statistics {
            block_size: geometry.bsize,
            fragment_size: geometry.fsize,
            size_bytes: geometry.bytes(),
            data_bytes: u64::from(self.superblock.dsize.get().unsigned_abs()) * u64::from(geometry.fsize),
            free_bytes: frags * u64::from(geometry.fsize),
            inodes: geometry.inodes(),
            free_inodes: sum(|csum| csum.nifree.get()) as u32,
            directories: sum(|csum| csum.ndir.get()) as u32,
            groups: geometry.ncg,
        }
    }

    /// Whether new files will fit, with a reserve of one part in 64 and 16 KiB for tails that find no fitting hole.
    pub fn fits(&self, demand: &Demand) -> bool {
        let statistics = self.statistics();
        with_reserve(demand.bytes()) <= statistics.free_bytes
            && demand.inodes() <= statistics.free_inodes.into()
    }

    /// The device length, a multiple of 1 MiB, to which [`Editor::grow`](crate::Editor::grow) must bring the file
    /// system for new files to fit; the present length if they do already, and `None` when even 2 GiB are not enough.
    pub fn length_for(&self, demand: &Demand) -> Option<u64> {
        const STEP: u64 = 1 << 20;
        if self.fits(demand) {
            return Some(self.device.len());
        }
        let statistics = self.statistics();
        let first = self.device.len() / STEP + 1;
        (first..=MAX_LENGTH / STEP).map(|step| step * STEP).find(|&length| {
            let Ok(grown) = grown_geometry(&self.geometry, length) else { return false };
            let data: u64 = (0..grown.ncg).map(|group| u64::from(grown.group_data_frags(group))).sum();
            let free =
                (data * u64::from(grown.fsize) + statistics.free_bytes).saturating_sub(statistics.data_bytes);
            let inodes = u64::from(grown.inodes() - statistics.inodes) + u64::from(statistics.free_inodes);
            with_reserve(demand.bytes()) <= free && demand.inodes() <= inodes
        })
    }
}

/// Bytes with the reserve for tails that find no fitting hole.
fn with_reserve(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 64).saturating_add(16 << 10)
}
