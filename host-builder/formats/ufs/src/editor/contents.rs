//! The contents of files: appending, replacing, giving back.

use std::io::Read;

use positioned_io::{ReadAt, WriteAt};
use zerocopy::FromZeros;
use zerocopy::little_endian::{I32, U32, U64};

use super::{Attributes, Editor};
use crate::blockmap::{self, Mapped, Route};
use crate::error::{Error, ErrorKind, Result};
use crate::inode::FileType;
use crate::layout::{DIRECT_POINTERS, FLAG_LARGE_FILES, INODE_FALLOCATED, Inode, MODE_TYPE};

/// Bytes taken from a source at once. What fits is laid out in one run if the device has one, so larger is more
/// contiguous; a multiple of every block size.
const BUFFER: usize = 1 << 20;

/// Fills a buffer's tail from a source until the buffer is full or the source ends; says whether it ended.
fn fill(source: &mut dyn Read, buffer: &mut Vec<u8>) -> Result<bool> {
    let room = BUFFER - buffer.len();
    source.take(room as u64).read_to_end(buffer).map_err(Error::source_reader)?;
    Ok(buffer.len() < BUFFER)
}

impl<D: ReadAt + WriteAt> Editor<D> {
    /// Appends a source to the contents an inode maps. If it fails, the contents are as they were, though their tail
    /// may have moved: the caller writes the inode in either case.
    pub(super) fn extend(&mut self, ino: u32, inode: &mut Inode, source: &mut dyn Read) -> Result<()> {
        let old_size = inode.size.get();
        let result = self.extend_open_ended(ino, inode, source);
        if result.is_err() {
            self.shrink(inode, old_size)?;
        } else if inode.size.get() > i32::MAX as u64 {
            self.fs.superblock.flags |= FLAG_LARGE_FILES;
        }
        result
    }

    fn extend_open_ended(&mut self, ino: u32, inode: &mut Inode, source: &mut dyn Read) -> Result<()> {
        let geometry = self.fs.geometry;
        let limit = geometry.max_blocks() * u64::from(geometry.bsize);
        let mut position = inode.size.get() / u64::from(geometry.bsize) * u64::from(geometry.bsize);
        let mut buffer = vec![0; (inode.size.get() - position) as usize];
        self.fs.read_contents(inode, position, &mut buffer)?;
        loop {
            let old = buffer.len();
            let ended = fill(source, &mut buffer)?;
            if buffer.len() == old {
                return Ok(());
            }
            let end = position + buffer.len() as u64;
            if end > limit {
                return Err(Error::new(ErrorKind::FileTooLarge, ""));
            }
            self.store(ino, inode, position, &buffer)?;
            position = end;
            buffer.clear();
            if ended {
                return Ok(());
            }
        }
    }

    /// Stores bytes at a block boundary at or below the end of a file, which then ends behind them. The size follows
    /// each piece stored, so that the inode always describes what it holds.
    fn store(&mut self, ino: u32, inode: &mut Inode, position: u64, bytes: &[u8]) -> Result<()> {
        let geometry = self.fs.geometry;
        let bsize = geometry.bsize as usize;
        let end = position + bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = end - rest.len() as u64;
            let lbn = at / bsize as u64;
            let count = if let Mapped::At(old) = self.mapped(inode, lbn)? {
                let len = rest.len().min(bsize);
                let size = at + len as u64;
                let frag = self.enlarge_tail(inode, lbn, old, size)?;
                self.write_padded(frag, geometry.block_frags(size, lbn), &rest[..len])?;
                len
            } else {
                self.store_new(ino, inode, lbn, rest)?
            };
            rest = &rest[count..];
            inode.size = U64::new(inode.size.get().max(end - rest.len() as u64));
        }
        Ok(())
    }

    /// The block at `lbn`, unless it lies wholly behind the end of the file.
    fn mapped(&self, inode: &Inode, lbn: u64) -> Result<Mapped> {
        if lbn * u64::from(self.fs.geometry.bsize) >= inode.size.get() {
            return Ok(Mapped::Hole);
        }
        blockmap::find(&self.fs.device, &self.fs.geometry, inode, lbn)
    }

    /// Makes the last block of a file, at `old`, large enough for a file of `size` bytes; it may move.
    fn enlarge_tail(&mut self, inode: &mut Inode, lbn: u64, old: u32, size: u64) -> Result<u32> {
        let geometry = self.fs.geometry;
        let held = geometry.block_frags(inode.size.get(), lbn);
        let needed = geometry.block_frags(size, lbn);
        let Some(more) = needed.checked_sub(held).filter(|&more| more > 0) else { return Ok(old) };
        let Some(Route::Direct(slot)) = blockmap::route(&geometry, lbn) else { return Ok(old) };
        // Extend in place when the block has room behind the tail.
        if old % geometry.frag + needed <= geometry.frag
            && self.alloc.take_exactly(&mut self.fs, old + held, more)?
        {
            self.charge(inode, more.into());
            return Ok(old);
        }
        let new = if needed == geometry.frag {
            self.alloc.take_blocks(&mut self.fs, old - old % geometry.frag, 1)?.0
        } else {
            self.alloc.take_frags(&mut self.fs, old, needed)?
        };
        let mut contents = vec![0; (held * geometry.fsize) as usize];
        self.fs.device.read_contents("file tail", geometry.frag_offset(old), &mut contents)?;
        self.write_padded(new, needed, &contents)?;
        self.alloc.free_frags(&mut self.fs, old, held)?;
        inode.direct[slot] = Self::pointer(new);
        self.charge(inode, more.into());
        Ok(new)
    }

    /// Stores the beginning of `bytes` in new blocks from `lbn` on, as many as come in one run. Returns how many
    /// bytes that took.
    fn store_new(&mut self, ino: u32, inode: &mut Inode, lbn: u64, bytes: &[u8]) -> Result<usize> {
        let geometry = self.fs.geometry;
        let bsize = geometry.bsize as usize;
        let route = blockmap::route(&geometry, lbn).ok_or_else(|| Error::new(ErrorKind::FileTooLarge, ""))?;
        let prefer = self.preferred(ino, inode, lbn)?;
        // How many pointers follow in the same place, and where that place is unless it is the inode. An indirect block
        // that has to be made comes in front of its data, so nothing is taken yet if there is no room for it.
        let (slots, leaf) = match route {
            Route::Direct(slot) => (DIRECT_POINTERS - slot, None),
            Route::Indirect { level, indices } => {
                let leaf = self.leaf(inode, level, &indices[..level], prefer)?;
                let index = indices[level];
                ((geometry.nindir() - index) as usize, Some((leaf, index)))
            }
        };
        // Data whose indirect block has just been made goes right behind that.
        let prefer = match leaf {
            Some((leaf, 0)) => leaf + geometry.frag,
            _ => prefer,
        };
        let tail = geometry.frags_for((bytes.len() % bsize) as u32);
        let in_fragments = matches!(route, Route::Direct(_)) && tail < geometry.frag;
        let full = if in_fragments { bytes.len() / bsize } else { bytes.len().div_ceil(bsize) };
        let (frag, count, frags) = if full == 0 {
            let frag = self.alloc.take_frags(&mut self.fs, prefer, tail)?;
            (frag, 1, tail)
        } else {
            let (frag, count) = self.alloc.take_blocks(&mut self.fs, prefer, full.min(slots) as u32)?;
            (frag, count, count * geometry.frag)
        };
        let len = bytes.len().min(count as usize * bsize);
        self.write_padded(frag, frags, &bytes[..len])?;
        let pointers = (0..count).map(|block| frag + block * geometry.frag);
        match (route, leaf) {
            (Route::Direct(slot), _) => {
                for (place, pointer) in inode.direct[slot..].iter_mut().zip(pointers) {
                    *place = Self::pointer(pointer);
                }
            }
            (_, Some((leaf, index))) => {
                let bytes: Vec<u8> = pointers.flat_map(u32::to_le_bytes).collect();
                let offset = geometry.frag_offset(leaf) + u64::from(index) * 4;
                self.fs.device.write("indirect block", offset, &bytes)?;
            }
            (Route::Indirect { .. }, None) => {}
        }
        self.charge(inode, frags.into());
        Ok(len)
    }

    /// Where the block at `lbn` had best be: behind the block before it, or where its inode is.
    fn preferred(&mut self, ino: u32, inode: &Inode, lbn: u64) -> Result<u32> {
        let geometry = self.fs.geometry;
        if let Some(previous) = lbn.checked_sub(1)
            && let Mapped::At(frag) = blockmap::find(&self.fs.device, &geometry, inode, previous)?
        {
            return Ok(frag + geometry.frag);
        }
        self.alloc.preferred_start(&mut self.fs, ino / geometry.ipg)
    }

    /// The indirect block that holds pointers to data, `path` below the top pointer of a level; made if need be.
    fn leaf(&mut self, inode: &mut Inode, level: usize, path: &[u32], prefer: u32) -> Result<u32> {
        let geometry = self.fs.geometry;
        let mut block = inode.indirect[level].get();
        if block == 0 {
            block = self.new_indirect(inode, prefer)?.get();
            inode.indirect[level] = I32::new(block);
        }
        for &index in path {
            let parent = self.check_indirect(block)?;
            let offset = geometry.frag_offset(parent) + u64::from(index) * 4;
            block = self.fs.device.read_struct::<I32>("indirect block", offset)?.get();
            if block == 0 {
                block = self.new_indirect(inode, parent + geometry.frag)?.get();
                self.fs.device.write("indirect block", offset, &block.to_le_bytes())?;
            }
        }
        self.check_indirect(block)
    }

    fn check_indirect(&self, pointer: i32) -> Result<u32> {
        match u32::try_from(pointer) {
            Ok(frag) if self.fs.geometry.is_data(frag, self.fs.geometry.frag) => Ok(frag),
            _ => Err(Error::corrupt("indirect block", 0, format!("pointer {pointer}"))),
        }
    }

    fn new_indirect(&mut self, inode: &mut Inode, prefer: u32) -> Result<I32> {
        let geometry = self.fs.geometry;
        let (frag, _) = self.alloc.take_blocks(&mut self.fs, prefer, 1)?;
        let offset = geometry.frag_offset(frag);
        self.fs.device.write_zeros("indirect block", offset, geometry.bsize.into())?;
        self.charge(inode, geometry.frag.into());
        Ok(Self::pointer(frag))
    }

    /// Writes bytes into a run of `count` fragments, and zeros behind them to the end of the run.
    fn write_padded(&mut self, frag: u32, count: u32, bytes: &[u8]) -> Result<()> {
        let offset = self.fs.geometry.frag_offset(frag);
        self.fs.device.write("file contents", offset, bytes)?;
        let padding = self.fs.geometry.frag_offset(count).saturating_sub(bytes.len() as u64);
        self.fs.device.write_zeros("file contents", offset + bytes.len() as u64, padding)
    }

    /// Cuts a file back to a size it had before, giving back all that was added to it since.
    fn shrink(&mut self, inode: &mut Inode, size: u64) -> Result<()> {
        let geometry = self.fs.geometry;
        let bsize = u64::from(geometry.bsize);
        let old_size = inode.size.get();
        let keep = size.div_ceil(bsize);
        for slot in 0..DIRECT_POINTERS {
            let lbn = slot as u64;
            let held = geometry.block_frags(old_size, lbn);
            let needed = if lbn < keep { geometry.block_frags(size, lbn) } else { 0 };
            let pointer = inode.direct[slot].get();
            if pointer <= 0 || needed >= held {
                continue;
            }
            self.alloc.free_frags(&mut self.fs, pointer as u32 + needed, held - needed)?;
            self.charge(inode, -i64::from(held - needed));
            if needed == 0 {
                inode.direct[slot] = I32::ZERO;
            }
        }
        let mut first = DIRECT_POINTERS as u64;
        let mut span = u64::from(geometry.nindir());
        for level in 0..inode.indirect.len() {
            let kept = keep.saturating_sub(first);
            let pointer = inode.indirect[level].get();
            if pointer != 0 && kept < span && self.shrink_tree(inode, pointer, span, kept)? {
                inode.indirect[level] = I32::ZERO;
            }
            first += span;
            span *= u64::from(geometry.nindir());
        }
        inode.size = U64::new(size);
        // What had been written behind the old end is wiped again.
        if let Some(last) = keep.checked_sub(1)
            && let Mapped::At(frag) = blockmap::find(&self.fs.device, &geometry, inode, last)?
        {
            let held = u64::from(geometry.block_frags(size, last) * geometry.fsize);
            let used = size - last * bsize;
            let offset = geometry.frag_offset(frag) + used;
            self.fs.device.write_zeros("file contents", offset, held - used)?;
        }
        Ok(())
    }

    /// Frees what an indirect block reaching `span` blocks maps from its `keep`th block on; with nothing to keep,
    /// also the indirect block itself, and says so.
    fn shrink_tree(&mut self, inode: &mut Inode, pointer: i32, span: u64, keep: u64) -> Result<bool> {
        let geometry = self.fs.geometry;
        let block = self.check_indirect(pointer)?;
        let child_span = span / u64::from(geometry.nindir());
        for index in 0..u64::from(geometry.nindir()) {
            let kept = keep.saturating_sub(index * child_span);
            if kept >= child_span {
                continue;
            }
            let offset = geometry.frag_offset(block) + index * 4;
            let child = self.fs.device.read_struct::<I32>("indirect block", offset)?.get();
            if child == 0 {
                continue;
            }
            let gone = if child_span == 1 {
                let frag = self.check_indirect(child)?;
                self.alloc.free_frags(&mut self.fs, frag, geometry.frag)?;
                self.charge(inode, -i64::from(geometry.frag));
                true
            } else {
                self.shrink_tree(inode, child, child_span, kept)?
            };
            if gone {
                self.fs.device.write("indirect block", offset, &[0; 4])?;
            }
        }
        if keep > 0 {
            return Ok(false);
        }
        self.alloc.free_frags(&mut self.fs, block, geometry.frag)?;
        self.charge(inode, -i64::from(geometry.frag));
        Ok(true)
    }

    /// All fragment runs a file holds, checked.
    pub(super) fn extents(&self, inode: &Inode) -> Result<Vec<(u32, u32)>> {
        let mut extents = Vec::new();
        blockmap::for_each(&self.fs.device, &self.fs.geometry, inode, &mut |extent| {
            extents.push((extent.frag, extent.count));
            Ok(())
        })?;
        Ok(extents)
    }

    /// Gives fragment runs back.
    pub(super) fn free_extents(&mut self, extents: &[(u32, u32)]) -> Result<()> {
        extents.iter().try_for_each(|&(frag, count)| self.alloc.free_frags(&mut self.fs, frag, count))
    }

    /// Replaces the contents of an inode. The old ones are given back only when the new ones are complete, so for a
    /// while both need space.
    pub(super) fn replace_contents(
        &mut self,
        ino: u32,
        inode: &mut Inode,
        source: &mut dyn Read,
    ) -> Result<()> {
        let old = self.extents(inode)?;
        let mut new = *inode;
        new.size = U64::ZERO;
        new.direct = Inode::new_zeroed().direct;
        new.indirect = Inode::new_zeroed().indirect;
        new.blocks = U32::ZERO;
        new.flags.set(new.flags.get() & !INODE_FALLOCATED);
        self.extend(ino, &mut new, source)?;
        self.touch(&mut new);
        self.free_extents(&old)?;
        *inode = new;
        self.write_inode(ino, inode)
    }

    /// Replaces the contents of the regular file at a path, following symbolic links. The inode keeps its number,
    /// generation, mode and owner. Until the new contents are complete the old ones stay, and both need space.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`], [`ErrorKind::Source`]: the file is as it was.
    pub fn replace_file(&mut self, path: &[u8], mut contents: impl Read) -> Result<()> {
        let (ino, mut inode) = self.regular(path)?;
        self.begin()?;
        self.replace_contents(ino, &mut inode, &mut contents).map_err(|error| error.or_path(path))
    }

    /// Creates a regular file, or replaces the contents, mode and owner of the one that is there (following symbolic
    /// links to it).
    pub fn put_file(&mut self, path: &[u8], attributes: &Attributes, contents: impl Read) -> Result<()> {
        match self.fs.resolve(path, true) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.create_file(path, attributes, contents),
            Err(error) => Err(error),
            Ok(_) => {
                attributes.check()?;
                self.replace_file(path, contents)?;
                let (ino, mut inode) = self.regular(path)?;
                inode.mode.set(inode.mode.get() & MODE_TYPE | attributes.mode);
                crate::inode::set_owner(&mut inode, attributes.uid, attributes.gid);
                self.write_inode(ino, &inode)
            }
        }
    }

    /// Appends to the regular file at a path, following symbolic links.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`], [`ErrorKind::Source`]: the file is as it was. [`ErrorKind::InvalidArgument`] for a
    /// file with preallocated blocks, whose reservations may lie behind its end.
    pub fn append(&mut self, path: &[u8], mut contents: impl Read) -> Result<()> {
        let (ino, mut inode) = self.regular(path)?;
        if inode.flags.get() & INODE_FALLOCATED != 0 {
            return Err(Error::new(ErrorKind::InvalidArgument, "a preallocated file").or_path(path));
        }
        self.begin()?;
        let result = self.extend(ino, &mut inode, &mut contents);
        if result.is_ok() {
            self.touch(&mut inode);
        }
        self.write_inode(ino, &inode)?;
        result.map_err(|error| error.or_path(path))
    }

    /// The regular file at a path.
    fn regular(&self, path: &[u8]) -> Result<(u32, Inode)> {
        let (ino, inode) = self.fs.resolve(path, true)?;
        match FileType::of(&inode) {
            FileType::Regular => Ok((ino, inode)),
            FileType::Directory => Err(Error::path(ErrorKind::IsADirectory, path)),
            _ => Err(Error::path(ErrorKind::NotAFile, path)),
        }
    }
}
