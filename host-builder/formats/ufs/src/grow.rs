//! Growing a file system, as illumos' growfs does, and beyond it: the summary area may grow too.

use std::ops::Range;

use positioned_io::{ReadAt, WriteAt};
use zerocopy::little_endian::I32;

use crate::alloc;
use crate::blockmap::{self, Extent, Pointer};
use crate::editor::Editor;
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Geometry;
use crate::group::Group;
use crate::inode;
use crate::layout::ROOT_INODE;
use crate::make::{data_frags, write_backups, write_group};
use crate::superblock;

/// Longest device a file system is made or grown on: 2 GiB.
pub(crate) const MAX_LENGTH: u64 = 2 << 30;

/// The geometry after growing onto a device of `device_len` bytes; the present one if there is nothing to gain.
pub(crate) fn grown_geometry(geometry: &Geometry, device_len: u64) -> Result<Geometry> {
    if device_len > MAX_LENGTH || device_len < geometry.bytes() {
        let detail = format!("growing to {device_len} bytes");
        return Err(Error::new(ErrorKind::InvalidArgument, detail));
    }
    let mut grown = *geometry;
    grown.size = (device_len / u64::from(geometry.fsize)) as u32;
    grown.ncyl = (grown.size * geometry.nspf()).div_ceil(geometry.spc);
    grown.ncg = grown.ncyl.div_ceil(geometry.cpg);
    let last = grown.ncg - 1;
    if last > 0 && grown.group_start(last) + grown.dblkno > grown.size {
        // A last group without room for its own metadata is dropped.
        grown.ncg = last;
        grown.ncyl = last * geometry.cpg;
        grown.size = last * geometry.fpg;
    }
    grown.cssize = (grown.ncg * 16).next_multiple_of(geometry.fsize);
    if grown.size <= geometry.size {
        return Ok(*geometry);
    }
    let last_shift = grown.group_start(grown.ncg - 1) - grown.group_base(grown.ncg - 1);
    if grown.metadata(0).end > grown.group_frags(0) || last_shift + grown.dblkno > grown.fpg {
        return Err(Error::new(ErrorKind::InvalidArgument, "the groups are too small for so many of them"));
    }
    Ok(grown)
}

impl<D: ReadAt + WriteAt> Editor<D> {
    /// Grows the file system to fill the first `device_len` bytes of its device, at most 2 GiB. A file is made longer
    /// as needed. What stands behind the summary area moves when that must grow, and every backup superblock is
    /// rewritten.
    ///
    /// A device that is longer by less than a new group's metadata leaves the file system as it is.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when `device_len` is beyond 2 GiB or below the present length;
    /// [`ErrorKind::NoSpace`], before anything has changed, when there is no room for what must move.
    pub fn grow(&mut self, device_len: u64) -> Result<()> {
        if device_len < self.fs.device.len() {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("shrinking to {device_len} bytes")));
        }
        let old = self.fs.geometry;
        let new = grown_geometry(&old, device_len)?;
        let claimed = old.metadata(0).end..new.metadata(0).end;
        self.check_room(&old, &new, &claimed)?;
        self.begin()?;
        if device_len > self.fs.device.len() {
            self.fs.device.extend(device_len)?;
        }
        if new == old {
            return Ok(());
        }
        // From here on the groups in memory count; none may lag behind in an old geometry.
        self.alloc.store(&mut self.fs, self.options.time.seconds)?;
        // The summary area keeps its size until its new fragments are claimed.
        self.fs.geometry = Geometry { cssize: old.cssize, ..new };
        self.add_groups(&old)?;
        self.claim(&claimed)?;
        self.fs.geometry = new;
        self.alloc.store(&mut self.fs, self.options.time.seconds)?;
        self.write_superblocks()
    }

    /// Refuses to begin what could not be finished: each claimed fragment may belong to another block that has to move.
    fn check_room(&self, old: &Geometry, new: &Geometry, claimed: &Range<u32>) -> Result<()> {
        let free: i64 = self.fs.summaries.iter().map(|csum| i64::from(csum.nbfree.get())).sum();
        let added: i64 = (old.ncg..new.ncg)
            .map(|group| i64::from(new.group_data_frags(group) / new.frag) - 2)
            .map(|blocks| blocks.max(0))
            .sum();
        // A claimed fragment may lie in a free block, too, which it takes out of the count.
        let needed = 2 * claimed.len() as i64;
        if needed > 0 && free + added < needed {
            return Err(Error::new(ErrorKind::NoSpace, "to move what is behind the summary area"));
        }
        Ok(())
    }

    /// Lengthens the last group and lays out the new ones.
    fn add_groups(&mut self, old: &Geometry) -> Result<()> {
        let new = self.fs.geometry;
        self.alloc.lengthen(&mut self.fs, old)?;
        for number in old.ncg..new.ncg {
            let group = Group::empty(&new, number, self.options.time.seconds);
            write_group(&mut self.fs.device, &new, number, &group, self.options.generation_seed)?;
            self.fs.summaries.push(group.counts());
        }
        Ok(())
    }

    /// Takes fragments for the summary area, moving what is in them.
    fn claim(&mut self, claimed: &Range<u32>) -> Result<()> {
        // First those that are free, so that nothing moves into them.
        let mut occupied = 0;
        for frag in claimed.clone() {
            occupied += u32::from(!self.alloc.take_exactly(&mut self.fs, frag, 1)?);
        }
        let mut ino = ROOT_INODE;
        while occupied > 0 && ino < self.fs.geometry.inodes() {
            match self.find_claimed(ino, claimed)? {
                Some(extent) => occupied = occupied.saturating_sub(self.move_out(ino, extent, claimed)?),
                None => ino += 1,
            }
        }
        if occupied > 0 {
            let offset = self.fs.geometry.frag_offset(claimed.start);
            return Err(Error::corrupt("fragments behind the summary area", offset, "in use by no inode"));
        }
        Ok(())
    }

    /// The first run of an inode that reaches into claimed fragments.
    fn find_claimed(&self, ino: u32, claimed: &Range<u32>) -> Result<Option<Extent>> {
        let inode = inode::read_any(&self.fs.device, &self.fs.geometry, ino)?;
        let mut found = None;
        if inode.mode.get() != 0 {
            blockmap::for_each(&self.fs.device, &self.fs.geometry, &inode, &mut |extent| {
                let end = extent.frag + extent.count;
                if found.is_none() && extent.frag < claimed.end && end > claimed.start {
                    found = Some(extent);
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Moves a run to another place and its pointer with it. The claimed fragments stay taken; says how many.
    fn move_out(&mut self, ino: u32, extent: Extent, claimed: &Range<u32>) -> Result<u32> {
        let geometry = self.fs.geometry;
        let prefer = claimed.end;
        let target = if extent.count == geometry.frag {
            self.alloc.take_blocks(&mut self.fs, prefer, 1)?.0
        } else {
            self.alloc.take_frags(&mut self.fs, prefer, extent.count)?
        };
        let mut contents = vec![0; (extent.count * geometry.fsize) as usize];
        let (from, to) = (geometry.frag_offset(extent.frag), geometry.frag_offset(target));
        self.fs.device.read_contents("block to move", from, &mut contents)?;
        self.fs.device.write("block to move", to, &contents)?;

        let pointer = I32::new(if extent.negative { -(target as i32) } else { target as i32 });
        let mut inode = inode::read_any(&self.fs.device, &geometry, ino)?;
        match extent.pointer {
            Pointer::Direct(slot) => inode.direct[slot] = pointer,
            Pointer::Indirect(level) => inode.indirect[level] = pointer,
            Pointer::Block(offset) => {
                self.fs.device.write("indirect block", offset, &pointer.to_bytes())?;
            }
        }
        self.write_inode(ino, &inode)?;
        let mut kept = 0;
        for frag in extent.frag..extent.frag + extent.count {
            if claimed.contains(&frag) {
                kept += 1;
            } else {
                self.alloc.free_frags(&mut self.fs, frag, 1)?;
            }
        }
        Ok(kept)
    }

    /// Takes the new geometry over into the primary superblock and all backups.
    fn write_superblocks(&mut self) -> Result<()> {
        let time = self.options.time.seconds;
        let fs = &mut self.fs;
        let sb = &mut fs.superblock;
        sb.size = I32::new(fs.geometry.size as i32);
        sb.dsize = data_frags(&fs.geometry);
        sb.ncg = I32::new(fs.geometry.ncg as i32);
        sb.ncyl = I32::new(fs.geometry.ncyl as i32);
        sb.cssize = I32::new(fs.geometry.cssize as i32);
        sb.cstotal = alloc::total(&fs.summaries).ok_or_else(|| {
            Error::corrupt("summary area", fs.geometry.csum_offset(0), "the counts overflow")
        })?;
        superblock::write(&mut fs.device, sb)?;
        // Backups are never active: they are for the time after a disaster.
        let mut backup = sb.clone();
        superblock::set_clean(&mut backup, time);
        write_backups(&mut fs.device, &fs.geometry, &backup)
    }
}
