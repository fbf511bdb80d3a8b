//! From the blocks of a file to the fragments that hold them: direct pointers and up to three levels of indirection.

use positioned_io::ReadAt;
use zerocopy::little_endian::I32;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::inode::FileType;
use crate::layout::{DIRECT_POINTERS, INODE_FALLOCATED, Inode};

/// Where a block of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mapped {
    /// Nowhere: it reads as zeros.
    Hole,
    /// At this fragment, reserved but never written: it reads as zeros too.
    Reserved(u32),
    /// At this fragment.
    At(u32),
}

/// The way to a block: a direct pointer, or a top indirect pointer and the index to follow in each block below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Direct(usize),
    /// `level` 0, 1, 2 for single, double, triple; of `indices` the first `level + 1` count, top one first.
    Indirect {
        level: usize,
        indices: [u32; 3],
    },
}

/// The route to block `lbn`, or `None` when no pointer reaches it.
pub(crate) fn route(geometry: &Geometry, lbn: u64) -> Option<Route> {
    let direct = DIRECT_POINTERS as u64;
    if lbn < direct {
        return Some(Route::Direct(lbn as usize));
    }
    let n = u64::from(geometry.nindir());
    let rest = lbn - direct;
    let index = |value: u64| (value % n) as u32;
    if rest < n {
        return Some(Route::Indirect { level: 0, indices: [index(rest), 0, 0] });
    }
    let rest = rest - n;
    if rest < n * n {
        return Some(Route::Indirect { level: 1, indices: [index(rest / n), index(rest), 0] });
    }
    let rest = rest - n * n;
    (rest < n * n * n)
        .then(|| Route::Indirect { level: 2, indices: [index(rest / n / n), index(rest / n), index(rest)] })
}

/// Interprets a pointer to `frags` fragments; a direct pointer's block may be a tail of fewer than a block.
fn interpret(geometry: &Geometry, inode: &Inode, pointer: i32, frags: u32) -> Result<Mapped> {
    let wild = || Error::corrupt("block pointer", 0, format!("{pointer} is outside the data area"));
    if pointer == 0 || (pointer == -1 && inode.flags.get() & INODE_FALLOCATED != 0) {
        return Ok(Mapped::Hole);
    }
    let address = pointer.unsigned_abs();
    if !geometry.is_data(address, frags) {
        return Err(wild());
    }
    if pointer > 0 {
        Ok(Mapped::At(address))
    } else if inode.flags.get() & INODE_FALLOCATED != 0 {
        Ok(Mapped::Reserved(address))
    } else {
        Err(wild())
    }
}

/// Finds block `lbn` of a file.
pub(crate) fn find<D: ReadAt>(
    device: &Device<D>,
    geometry: &Geometry,
    inode: &Inode,
    lbn: u64,
) -> Result<Mapped> {
    let Some(route) = route(geometry, lbn) else { return Ok(Mapped::Hole) };
    let (level, indices) = match route {
        Route::Direct(slot) => {
            // A tail never crosses a block, so its size decides whether the pointer is in range.
            let frags = geometry.block_frags(inode.size.get(), lbn).max(1);
            return interpret(geometry, inode, inode.direct[slot].get(), frags);
        }
        Route::Indirect { level, indices } => (level, indices),
    };
    let mut pointer = inode.indirect[level].get();
    for &index in &indices[..=level] {
        let Mapped::At(block) = interpret(geometry, inode, pointer, geometry.frag)? else {
            return Ok(Mapped::Hole);
        };
        let offset = geometry.frag_offset(block) + u64::from(index) * 4;
        pointer = device.read_struct::<I32>("indirect block", offset)?.get();
    }
    interpret(geometry, inode, pointer, geometry.frag)
}

/// One place a file keeps something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First fragment.
    pub frag: u32,
    /// Fragments, all in one block.
    pub count: u32,
    /// Where the pointer to it is.
    pub pointer: Pointer,
    /// Whether the pointer is negative, as for reserved blocks.
    pub negative: bool,
    /// Whether it is an indirect block.
    pub indirect: bool,
}

/// Where a pointer is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pointer {
    /// `ic_db` of the inode.
    Direct(usize),
    /// `ic_ib` of the inode.
    Indirect(usize),
    /// An indirect block; the byte offset on the device.
    Block(u64),
}

/// Lists all a file holds: every data block, and every indirect block before what hangs below it.
///
/// More than the file system has blocks, and the file is corrupt: pointers that form a cycle end there.
pub(crate) fn for_each<D: ReadAt>(
    device: &Device<D>,
    geometry: &Geometry,
    inode: &Inode,
    visit: &mut dyn FnMut(Extent) -> Result<()>,
) -> Result<()> {
    if !FileType::of(inode).has_blocks() {
        return Ok(());
    }
    let mut visitor = Visitor { device, geometry, inode, budget: u64::from(geometry.size), visit };
    for (slot, pointer) in inode.direct.iter().enumerate() {
        let frags = geometry.block_frags(inode.size.get(), slot as u64).max(1);
        visitor.data(pointer.get(), frags, Pointer::Direct(slot))?;
    }
    for (level, pointer) in inode.indirect.iter().enumerate() {
        visitor.tree(pointer.get(), level, Pointer::Indirect(level))?;
    }
    Ok(())
}

struct Visitor<'a, D> {
    device: &'a Device<D>,
    geometry: &'a Geometry,
    inode: &'a Inode,
    budget: u64,
    visit: &'a mut dyn FnMut(Extent) -> Result<()>,
}

impl<D: ReadAt> Visitor<'_, D> {
    fn spend(&mut self, count: u32) -> Result<()> {
        self.budget = self.budget.checked_sub(u64::from(count)).ok_or_else(|| {
            Error::corrupt("block map", 0, "a file holds more blocks than the file system has")
        })?;
        Ok(())
    }

    fn data(&mut self, pointer: i32, count: u32, place: Pointer) -> Result<()> {
        let (frag, negative) = match interpret(self.geometry, self.inode, pointer, count)? {
            Mapped::Hole => return Ok(()),
            Mapped::At(frag) => (frag, false),
            Mapped::Reserved(frag) => (frag, true),
        };
        self.spend(count)?;
        (self.visit)(Extent { frag, count, pointer: place, negative, indirect: false })
    }

    /// An indirect block whose pointers lead to data (`level` 0) or to further indirect blocks.
    fn tree(&mut self, pointer: i32, level: usize, place: Pointer) -> Result<()> {
        let Mapped::At(frag) = interpret(self.geometry, self.inode, pointer, self.geometry.frag)? else {
            return Ok(());
        };
        self.spend(self.geometry.frag)?;
        let mut block = vec![0; self.geometry.bsize as usize];
        let offset = self.geometry.frag_offset(frag);
        self.device.read("indirect block", offset, &mut block)?;
        let count = self.geometry.frag;
        (self.visit)(Extent { frag, count, pointer: place, negative: false, indirect: true })?;
        for (index, bytes) in block.as_chunks::<4>().0.iter().enumerate() {
            let place = Pointer::Block(offset + index as u64 * 4);
            match level {
                0 => self.data(i32::from_le_bytes(*bytes), self.geometry.frag, place)?,
                _ => self.tree(i32::from_le_bytes(*bytes), level - 1, place)?,
            }
        }
        Ok(())
    }
}
