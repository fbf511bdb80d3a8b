//! The walk over an inode's block pointers, which claims every fragment that the inode holds.

use positioned_io::ReadAt;

use super::bitmap::Bitmap;
use super::device::Device;
use super::finding::{FindingKind, Findings, Location};
use super::geometry::Geometry;
use crate::error::Result;
use crate::layout::{DIRECT_POINTERS, INDIRECT_POINTERS, INODE_FALLOCATED, Inode};

/// Consecutive fragments that hold one block of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Block of the file.
    pub(super) lbn: u32,
    /// First fragment.
    pub(super) frag: u32,
    /// Fragments, at most a block.
    pub(super) frags: u32,
}

/// What the walk claims from and reports to.
pub(super) struct Ledger<'a, D> {
    pub(super) device: &'a Device<'a, D>,
    pub(super) geometry: &'a Geometry,
    /// Fragments in use.
    pub(super) used: &'a mut Bitmap,
    pub(super) findings: &'a mut Findings,
}

/// What the walk found out about an inode.
#[derive(Debug, Default)]
pub(super) struct Extent {
    /// Sectors in data and indirect blocks.
    pub(super) sectors: u64,
    /// Blocks of the file that are mapped.
    pub(super) mapped: u64,
    /// Whether the last block of the file is mapped.
    pub(super) last_mapped: bool,
    /// Whether a subtree could not be followed, so that the numbers above are too small.
    pub(super) partial: bool,
    /// The blocks, in the order of the file, if asked for; only those that no other inode claimed before.
    pub(super) runs: Vec<Run>,
}

/// Names of the pointers by the levels of indirection below them.
const LEVELS: [&str; 4] = ["data", "single indirect", "double indirect", "triple indirect"];

/// One walk.
struct Walk<'l, 'a, D> {
    ledger: &'l mut Ledger<'a, D>,
    number: u32,
    size: u64,
    /// Blocks up to the end of the file.
    blocks: u64,
    fallocated: bool,
    keep_runs: bool,
    extent: Extent,
}

/// Walks all pointers of inode `number`. Every indirect block is read at most once in the whole check: one that is
/// claimed already is not followed, so hostile pointers cannot make the walk longer than the file system is large.
pub(super) fn walk<D: ReadAt>(
    ledger: &mut Ledger<'_, D>,
    number: u32,
    inode: &Inode,
    keep_runs: bool,
) -> Result<Extent> {
    let geometry = ledger.geometry;
    let size = inode.size.get();
    let blocks = size.div_ceil(u64::from(geometry.bsize)).min(geometry.file_blocks());
    let fallocated = inode.flags.get() & INODE_FALLOCATED != 0;
    let mut walk = Walk { ledger, number, size, blocks, fallocated, keep_runs, extent: Extent::default() };
    for (lbn, pointer) in (0..DIRECT_POINTERS as u64).zip(inode.direct) {
        walk.data(pointer.get(), lbn);
    }
    let mut lbn = DIRECT_POINTERS as u64;
    for (level, pointer) in (1..=INDIRECT_POINTERS as u32).zip(inode.indirect) {
        walk.indirect(pointer.get(), level, lbn)?;
        lbn += geometry.reach(level);
    }
    Ok(walk.extent)
}

impl<D: ReadAt> Walk<'_, '_, D> {
    fn report(&mut self, kind: FindingKind, detail: std::fmt::Arguments<'_>) {
        self.ledger.findings.add(kind, Location::inode(self.number), detail);
    }

    /// The pointer to block `lbn` of the file.
    fn data(&mut self, pointer: i32, lbn: u64) {
        // A reserved but unwritten block has a negative address; -1 stands for a hole among such.
        let hole = pointer == 0 || (self.fallocated && pointer == -1);
        if hole {
            return;
        }
        if lbn >= self.blocks {
            let size = self.size;
            let detail = format_args!("block {lbn} of a file of {size} bytes is at {pointer}");
            self.report(FindingKind::BlocksPastSize, detail);
            return;
        }
        let frags = self.ledger.geometry.block_frags(self.size, lbn);
        self.extent.mapped += 1;
        self.extent.last_mapped |= lbn + 1 == self.blocks;
        let address = if self.fallocated { i64::from(pointer).abs() } else { i64::from(pointer) };
        if let Some(frag) = self.claim(address, frags, 0, lbn)
            && self.keep_runs
        {
            self.extent.runs.push(Run { lbn: lbn as u32, frag, frags });
        }
    }

    /// The pointer to an indirect block `level` levels above the data, of which the first is block `first` of the
    /// file.
    fn indirect(&mut self, pointer: i32, level: u32, first: u64) -> Result<()> {
        if pointer == 0 {
            return Ok(());
        }
        if first >= self.blocks {
            let (name, size) = (LEVELS[level as usize], self.size);
            let detail = format_args!("{name} block {pointer} in a file of {size} bytes");
            self.report(FindingKind::BlocksPastSize, detail);
            return Ok(());
        }
        let geometry = self.ledger.geometry;
        let Some(frag) = self.claim(i64::from(pointer), geometry.frag, level, first) else {
            self.extent.partial = true;
            return Ok(());
        };
        let mut block = vec![0; geometry.bsize as usize];
        self.ledger.device.read("indirect block", geometry.frag_offset(frag), &mut block)?;
        let step = geometry.reach(level - 1);
        let mut lbn = first;
        for bytes in block.chunks_exact(4) {
            let pointer = i32::from_le_bytes(bytes.try_into().expect("chunks of four bytes"));
            if level == 1 {
                self.data(pointer, lbn);
            } else {
                self.indirect(pointer, level - 1, lbn)?;
            }
            lbn += step;
        }
        Ok(())
    }

    /// Claims `frags` fragments for this inode; the first of them, unless the address is wrong or something claimed
    /// one of them before. Either way they count as held, as the pointer occupies its place.
    fn claim(&mut self, address: i64, frags: u32, level: u32, lbn: u64) -> Option<u32> {
        let geometry = self.ledger.geometry;
        self.extent.sectors += u64::from(frags * geometry.nspf);
        let what = LEVELS[level as usize];
        let Some(frag) = u32::try_from(address).ok().filter(|&frag| frag < geometry.size) else {
            let end = geometry.size;
            let detail = format_args!("{what} block of block {lbn} is at fragment {address} of {end}");
            self.report(FindingKind::BlockOutOfRange, detail);
            return None;
        };
        if frag % geometry.frag + frags > geometry.frag {
            let detail =
                format_args!("{what} block of block {lbn}: {frags} fragments at {frag} cross a block");
            self.report(FindingKind::BlockMisaligned, detail);
            return None;
        }
        let metadata = geometry.metadata(frag / geometry.fpg);
        let local = frag % geometry.fpg;
        if frag + frags > geometry.size || (local < metadata.end && local + frags > metadata.start) {
            let detail = format_args!("{what} block of block {lbn}: {frags} fragments at {frag} are no data");
            self.report(FindingKind::BlockOutOfRange, detail);
            return None;
        }
        let mut fresh = true;
        for frag in frag..frag + frags {
            fresh &= self.ledger.used.insert(frag);
        }
        if !fresh {
            let detail =
                format_args!("{what} block of block {lbn}: {frags} fragments at {frag} have an owner");
            self.report(FindingKind::BlockDuplicate, detail);
            return None;
        }
        Some(frag)
    }
}
