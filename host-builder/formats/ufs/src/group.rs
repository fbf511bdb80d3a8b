//! One cylinder group: its header, its two maps, and counts that always agree with them.

use zerocopy::little_endian::{I16, I32, U32};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::layout::{Csum, GROUP_MAGIC, GROUP_MAPS, GroupHeader};

/// A cylinder group in memory.
///
/// The fragment map is the truth; `nbfree`, `nffree`, `frsum`, `btot` and `b` follow each change of it, by taking
/// away what a block contributed before the change and adding what it contributes after.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    header: GroupHeader,
    /// Free blocks of each cylinder.
    btot: Vec<i32>,
    /// Free blocks of each rotational position of each cylinder.
    rotational: Vec<i16>,
    /// A set bit is an inode in use.
    inode_map: Vec<u8>,
    /// A set bit is a free fragment.
    frag_map: Vec<u8>,
    /// What lies behind the maps in the stored header.
    rest: Vec<u8>,
    geometry: Geometry,
    /// In-group fragments that are never handed out.
    metadata: std::ops::Range<u32>,
    dirty: bool,
}

fn bit(map: &[u8], index: u32) -> bool {
    map.get(index as usize / 8).is_some_and(|byte| byte & (1 << (index % 8)) != 0)
}

fn set_bit(map: &mut [u8], index: u32, value: bool) {
    if let Some(byte) = map.get_mut(index as usize / 8) {
        let mask = 1 << (index % 8);
        *byte = if value { *byte | mask } else { *byte & !mask };
    }
}

fn add(counter: &mut I32, delta: i32) {
    counter.set(counter.get().wrapping_add(delta));
}

impl Group {
    /// An empty group as mkfs makes it: everything free but the metadata.
    pub fn empty(geometry: &Geometry, number: u32, time: i32) -> Self {
        let mut header = GroupHeader::new_zeroed();
        header.magic = U32::new(GROUP_MAGIC);
        header.cgx = I32::new(number as i32);
        header.time = I32::new(time);
        header.cs.nifree = I32::new(geometry.ipg as i32);
        header.btotoff = I32::new(geometry.btot_offset() as i32);
        header.boff = I32::new(geometry.b_offset() as i32);
        header.iusedoff = I32::new(geometry.inode_map_offset() as i32);
        header.freeoff = I32::new(geometry.frag_map_offset() as i32);
        header.nextfreeoff = I32::new(geometry.maps_end() as i32);
        header.niblk = I16::new(geometry.ipg as i16);
        let mut group = Self {
            header,
            btot: Vec::new(),
            rotational: Vec::new(),
            inode_map: vec![0; geometry.ipg.div_ceil(8) as usize],
            frag_map: vec![0; geometry.fpg.div_ceil(8) as usize],
            rest: vec![0; (geometry.cgsize - geometry.maps_end()) as usize],
            geometry: *geometry,
            metadata: geometry.metadata(number),
            dirty: true,
        };
        group.set_extent(geometry, 0);
        group
    }

    /// Reads a group from its `cgsize` stored bytes.
    ///
    /// The offsets must be those of the format and the counts of free blocks, fragments and inodes must agree with
    /// the maps. The tables derived from the maps (`frsum`, `btot`, `b`) are rebuilt rather than trusted: no checker
    /// looks at `frsum`, so old images may well carry a wrong one.
    pub fn parse(geometry: &Geometry, number: u32, bytes: &[u8]) -> Result<Self> {
        let offset = geometry.group_offset(number);
        let corrupt =
            |detail: &str| Error::corrupt(format!("cylinder group {number}"), offset, detail.to_owned());
        let (header, _) = GroupHeader::read_from_prefix(bytes).map_err(|_| corrupt("too short"))?;
        if header.magic.get() != GROUP_MAGIC {
            return Err(corrupt("cg_magic"));
        }
        if header.cgx.get() != number as i32 {
            return Err(corrupt("cg_cgx"));
        }
        let frags = geometry.group_frags(number);
        if header.ndblk.get() != frags as i32 || i64::from(header.niblk.get()) != i64::from(geometry.ipg) {
            return Err(corrupt("cg_ndblk or cg_niblk"));
        }
        let offsets = [
            (header.btotoff, geometry.btot_offset()),
            (header.boff, geometry.b_offset()),
            (header.iusedoff, geometry.inode_map_offset()),
            (header.freeoff, geometry.frag_map_offset()),
            (header.nextfreeoff, geometry.maps_end()),
        ];
        if offsets.iter().any(|(stored, expected)| stored.get() != *expected as i32) {
            return Err(corrupt("offsets of the maps"));
        }
        let rotors = [(header.rotor, frags), (header.frotor, frags), (header.irotor, geometry.ipg)];
        if rotors.iter().any(|(rotor, limit)| !(0..*limit as i32).contains(&rotor.get())) {
            return Err(corrupt("rotors"));
        }
        let map = |from: u32, to: u32| {
            bytes.get(from as usize..to as usize).map(<[u8]>::to_vec).ok_or_else(|| corrupt("too short"))
        };
        let stored = header.cs;
        let mut group = Self {
            header,
            btot: Vec::new(),
            rotational: Vec::new(),
            inode_map: map(geometry.inode_map_offset(), geometry.frag_map_offset())?,
            frag_map: map(geometry.frag_map_offset(), geometry.maps_end())?,
            rest: map(geometry.maps_end(), geometry.cgsize)?,
            geometry: *geometry,
            metadata: geometry.metadata(number),
            dirty: false,
        };
        if group.metadata.clone().any(|frag| bit(&group.frag_map, frag)) {
            return Err(corrupt("metadata is marked free"));
        }
        if (frags..geometry.fpg.next_multiple_of(8)).any(|frag| bit(&group.frag_map, frag)) {
            return Err(corrupt("fragments behind the end are marked free"));
        }
        let used: u32 = (0..geometry.ipg).map(|index| u32::from(bit(&group.inode_map, index))).sum();
        group.recount();
        let counted = group.header.cs;
        if stored.nbfree != counted.nbfree
            || stored.nffree != counted.nffree
            || stored.nifree.get() != (geometry.ipg - used) as i32
            || !(0..=used as i32).contains(&stored.ndir.get())
        {
            return Err(corrupt("the counts do not agree with the maps"));
        }
        Ok(group)
    }

    /// The stored form, `cgsize` bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.geometry.cgsize as usize);
        bytes.extend_from_slice(self.header.as_bytes());
        debug_assert_eq!(bytes.len(), GROUP_MAPS as usize);
        bytes.extend(self.btot.iter().flat_map(|count| count.to_le_bytes()));
        bytes.extend(self.rotational.iter().flat_map(|count| count.to_le_bytes()));
        bytes.extend_from_slice(&self.inode_map);
        bytes.extend_from_slice(&self.frag_map);
        bytes.extend_from_slice(&self.rest);
        bytes
    }

    /// The counts of this group.
    pub fn counts(&self) -> Csum {
        self.header.cs
    }

    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub fn set_stored(&mut self) {
        self.dirty = false;
    }

    pub fn set_time(&mut self, time: i32) {
        self.header.time = I32::new(time);
    }

    /// Takes over a geometry in which this group may be longer, and frees the fragments from `old_frags` on that do
    /// not hold metadata.
    pub fn set_extent(&mut self, geometry: &Geometry, old_frags: u32) {
        let number = self.header.cgx.get() as u32;
        let frags = geometry.group_frags(number);
        self.geometry = *geometry;
        self.metadata = geometry.metadata(number);
        self.header.ncyl = I16::new(geometry.group_cylinders(number) as i16);
        self.header.ndblk = I32::new(frags as i32);
        for frag in old_frags..frags {
            if !self.metadata.contains(&frag) {
                set_bit(&mut self.frag_map, frag, true);
            }
        }
        self.recount();
        self.dirty = true;
    }

    /// Recomputes everything that follows from the fragment map.
    fn recount(&mut self) {
        self.header.cs.nbfree = I32::ZERO;
        self.header.cs.nffree = I32::ZERO;
        self.header.frsum = [I32::ZERO; 8];
        self.btot = vec![0; self.geometry.cpg as usize];
        self.rotational = vec![0; (self.geometry.cpg * self.geometry.nrpos) as usize];
        for block in 0..self.blocks() {
            self.account(block, 1);
        }
    }

    /// Blocks of this group, a trailing partial one included.
    fn blocks(&self) -> u32 {
        (self.header.ndblk.get() as u32).div_ceil(self.geometry.frag)
    }

    /// The free bits of a block, lowest fragment in the lowest bit.
    fn block_bits(&self, block: u32) -> u32 {
        // A block is 1, 2, 4 or 8 fragments, so its bits never cross a byte.
        let first = block * self.geometry.frag;
        let byte = self.frag_map.get(first as usize / 8).copied().unwrap_or(0);
        (u32::from(byte) >> (first % 8)) & self.full_block()
    }

    fn full_block(&self) -> u32 {
        (1 << self.geometry.frag) - 1
    }

    /// Adds (`sign` 1) or takes away (-1) what a block contributes to the counts.
    fn account(&mut self, block: u32, sign: i32) {
        let bits = self.block_bits(block);
        if bits == self.full_block() {
            let first = block * self.geometry.frag;
            add(&mut self.header.cs.nbfree, sign);
            let cylinder = self.geometry.cylinder(first);
            let position = cylinder * self.geometry.nrpos + self.geometry.rotational_position(first);
            if let Some(count) = self.btot.get_mut(cylinder as usize) {
                *count += sign;
            }
            if let Some(count) = self.rotational.get_mut(position as usize) {
                *count += sign as i16;
            }
            return;
        }
        add(&mut self.header.cs.nffree, sign * bits.count_ones() as i32);
        for (_, len) in runs(bits) {
            if let Some(count) = self.header.frsum.get_mut(len as usize) {
                add(count, sign);
            }
        }
    }

    /// Whether a whole block, by number, is free.
    fn is_block_free(&self, block: u32) -> bool {
        self.block_bits(block) == self.full_block()
    }

    /// Whether `count` fragments from an in-group fragment on, all in one block, are free.
    pub fn are_free(&self, frag: u32, count: u32) -> bool {
        frag % self.geometry.frag + count <= self.geometry.frag
            && (frag..frag + count).all(|frag| bit(&self.frag_map, frag))
    }

    /// The first run of free blocks, from `start` on (a block number) and then from the beginning, that is `want`
    /// blocks long; failing that, the longest. Returns its first block and its length, at most `want`.
    pub fn find_blocks(&self, start: u32, want: u32) -> Option<(u32, u32)> {
        let blocks = self.blocks();
        let start = if start < blocks { start } else { 0 };
        let mut best: Option<(u32, u32)> = None;
        for range in [start..blocks, 0..start] {
            let mut block = range.start;
            while block < range.end {
                if !self.is_block_free(block) {
                    block += 1;
                    continue;
                }
                let len = self.free_run(block, want);
                if best.is_none_or(|(_, longest)| len > longest) {
                    best = Some((block, len));
                }
                if len >= want {
                    return best;
                }
                block += len;
            }
        }
        best
    }

    /// How many of `want` blocks from a block on are free without a gap.
    pub fn free_run(&self, block: u32, want: u32) -> u32 {
        let limit = self.blocks().min(block.saturating_add(want));
        (block..limit).take_while(|&block| self.is_block_free(block)).count() as u32
    }

    /// A run of `count` free fragments (fewer than a block) in a partly used block: in the shortest run that is long
    /// enough, so that longer ones last. Returns its in-group fragment.
    pub fn find_frags(&self, count: u32) -> Option<u32> {
        let size = (count..self.geometry.frag)
            .find(|&size| self.header.frsum.get(size as usize).is_some_and(|runs| runs.get() > 0))?;
        (0..self.blocks()).find_map(|block| {
            let bits = self.block_bits(block);
            if bits == self.full_block() {
                return None;
            }
            let (first, _) = runs(bits).find(|(_, len)| *len == size)?;
            Some(block * self.geometry.frag + first)
        })
    }

    /// Changes the bits of fragments, all of which must have the opposite value and lie outside the metadata.
    fn set_frags(&mut self, frag: u32, count: u32, free: bool) -> Result<()> {
        let limit = self.header.ndblk.get() as u32;
        let inside = frag.checked_add(count).is_some_and(|end| end <= limit);
        let valid = inside
            && (frag..frag + count)
                .all(|frag| !self.metadata.contains(&frag) && bit(&self.frag_map, frag) != free);
        if !valid {
            let number = self.header.cgx.get() as u32;
            let state = if free { "freeing what is free" } else { "taking what is in use" };
            return Err(Error::corrupt(
                format!("cylinder group {number}"),
                self.geometry.group_offset(number),
                format!("{state}: fragments {frag} to {}", frag.saturating_add(count)),
            ));
        }
        let blocks = frag / self.geometry.frag..(frag + count).div_ceil(self.geometry.frag);
        for block in blocks.clone() {
            self.account(block, -1);
        }
        for frag in frag..frag + count {
            set_bit(&mut self.frag_map, frag, free);
        }
        for block in blocks {
            self.account(block, 1);
        }
        self.dirty = true;
        Ok(())
    }

    /// Takes free fragments, and moves the rotor that belongs to their kind.
    pub fn take_frags(&mut self, frag: u32, count: u32) -> Result<()> {
        self.reserve_frags(frag, count)?;
        let last = I32::new((frag + count - 1) as i32);
        if count.is_multiple_of(self.geometry.frag) {
            self.header.rotor = last;
        } else {
            self.header.frotor = last;
        }
        Ok(())
    }

    /// Takes free fragments, leaving the rotors alone.
    pub fn reserve_frags(&mut self, frag: u32, count: u32) -> Result<()> {
        self.set_frags(frag, count, false)
    }

    /// Frees fragments.
    pub fn free_frags(&mut self, frag: u32, count: u32) -> Result<()> {
        self.set_frags(frag, count, true)
    }

    /// In-group fragment of the last block taken: where a search without a better hint begins.
    pub fn rotor(&self) -> u32 {
        self.header.rotor.get() as u32
    }

    /// Whether an inode, by its index in the group, is in use.
    pub fn is_inode_used(&self, index: u32) -> bool {
        bit(&self.inode_map, index)
    }

    /// Takes the lowest free inode. Returns its index in the group.
    pub fn take_free_inode(&mut self, directory: bool) -> Option<u32> {
        let index = (0..self.geometry.ipg).find(|&index| !bit(&self.inode_map, index))?;
        self.take_inode(index, directory);
        self.header.irotor = I32::new(index as i32);
        Some(index)
    }

    /// Takes a free inode, leaving the rotor alone.
    pub fn take_inode(&mut self, index: u32, directory: bool) {
        set_bit(&mut self.inode_map, index, true);
        add(&mut self.header.cs.nifree, -1);
        add(&mut self.header.cs.ndir, i32::from(directory));
        self.dirty = true;
    }

    /// Frees an inode that is in use; the caller has checked [`Group::is_inode_used`].
    pub fn free_inode(&mut self, index: u32, directory: bool) {
        set_bit(&mut self.inode_map, index, false);
        add(&mut self.header.cs.nifree, 1);
        add(&mut self.header.cs.ndir, -i32::from(directory));
        self.dirty = true;
    }
}

/// The maximal runs of set bits: first bit and length of each.
fn runs(mut bits: u32) -> impl Iterator<Item = (u32, u32)> {
    let mut position = 0;
    std::iter::from_fn(move || {
        if bits == 0 {
            return None;
        }
        let skip = bits.trailing_zeros();
        bits >>= skip;
        let len = bits.trailing_ones();
        bits >>= len;
        let first = position + skip;
        position = first + len;
        Some((first, len))
    })
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn runs_are_maximal() {
        assert_eq!(runs(0b1101_1001).collect::<Vec<_>>(), [(0, 1), (3, 2), (6, 2)]);
        assert_eq!(runs(0).count(), 0);
        assert_eq!(runs(0xff).collect::<Vec<_>>(), [(0, 8)]);
    }
}
