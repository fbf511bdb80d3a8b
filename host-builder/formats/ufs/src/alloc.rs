//! Which group gives an inode, a block or a fragment run.
//!
//! The policy, in the spirit of illumos' `ufs_alloc.c` but tuned for archives that are written once:
//! * an inode comes from the directory's group, or the next group with a free one; directories are not spread;
//! * blocks follow the file's previous block, across groups too; otherwise they come from the first run that is long
//!   enough for what is being written, else from the longest run there is;
//! * a tail of fragments comes from the tightest fitting hole among partly used blocks of the preferred group, then
//!   from a free block of that group, then from the next group.

use std::collections::BTreeMap;

use positioned_io::{ReadAt, WriteAt};
use zerocopy::IntoBytes;
use zerocopy::little_endian::I32;

use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::filesystem::FileSystem;
use crate::geometry::Geometry;
use crate::group::Group;
use crate::layout::Csum;

/// Groups held in memory at once: at most 2 MiB of headers with 4 KiB blocks.
const GROUPS_HELD: usize = 512;

/// The cylinder groups that edits have touched. Their summaries are the file system's.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    groups: BTreeMap<u32, Group>,
}

/// Reads the summary area.
pub(crate) fn read_summaries<D: ReadAt>(device: &Device<D>, geometry: &Geometry) -> Result<Vec<Csum>> {
    // Geometry proved that the area lies inside group 0, so it is no larger than that.
    let mut summaries = vec![Csum::default(); geometry.ncg as usize];
    device.read("summary area", geometry.csum_offset(0), summaries.as_mut_bytes())?;
    Ok(summaries)
}

/// Reads a group, which has to agree with its summary.
fn read_group<D: ReadAt>(fs: &FileSystem<D>, number: u32) -> Result<Group> {
    let mut bytes = vec![0; fs.geometry.cgsize as usize];
    let offset = fs.geometry.group_offset(number);
    fs.device.read("cylinder group", offset, &mut bytes)?;
    let group = Group::parse(&fs.geometry, number, &bytes)?;
    if fs.summaries.get(number as usize) == Some(&group.counts()) {
        Ok(group)
    } else {
        Err(Error::corrupt(format!("cylinder group {number}"), offset, "the summary area disagrees"))
    }
}

/// All groups, from one on and around.
fn groups_from(geometry: &Geometry, first: u32) -> impl Iterator<Item = u32> + use<> {
    (first..geometry.ncg).chain(0..first.min(geometry.ncg))
}

/// The sum of all groups' counts, or `None` if they overflow.
pub(crate) fn total(summaries: &[Csum]) -> Option<Csum> {
    let sum = |field: fn(&Csum) -> I32| {
        let sum: i64 = summaries.iter().map(|csum| i64::from(field(csum).get())).sum();
        i32::try_from(sum).ok().map(I32::new)
    };
    Some(Csum {
        ndir: sum(|c| c.ndir)?,
        nbfree: sum(|c| c.nbfree)?,
        nifree: sum(|c| c.nifree)?,
        nffree: sum(|c| c.nffree)?,
    })
}

impl Allocator {
    /// The group, read if need be.
    fn group<D: ReadAt>(&mut self, fs: &FileSystem<D>, number: u32) -> Result<&mut Group> {
        use std::collections::btree_map::Entry;
        match self.groups.entry(number) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(read_group(fs, number)?)),
        }
    }

    /// Proves that every group is where the superblock's numbers lead, and agrees with the summary area.
    ///
    /// # Errors
    /// Those of reading, and [`ErrorKind::Corrupt`] for the first group that is not as it has to be.
    pub fn prove<D: ReadAt>(&self, fs: &FileSystem<D>) -> Result<()> {
        (0..fs.geometry.ncg)
            .filter(|number| !self.groups.contains_key(number))
            .try_for_each(|number| read_group(fs, number).map(drop))
    }

    /// Lets a change of a group reach its summary.
    fn update<D>(&self, fs: &mut FileSystem<D>, number: u32) {
        if let (Some(group), Some(summary)) =
            (self.groups.get(&number), fs.summaries.get_mut(number as usize))
        {
            *summary = group.counts();
        }
    }

    /// Takes up to `want` contiguous blocks: at the fragment `prefer` if that is free, else as the module's text says.
    /// Returns the first fragment and the number of blocks, at least one.
    pub fn take_blocks<D: ReadAt>(
        &mut self,
        fs: &mut FileSystem<D>,
        prefer: u32,
        want: u32,
    ) -> Result<(u32, u32)> {
        let (fpg, frag) = (fs.geometry.fpg, fs.geometry.frag);
        let prefer = if prefer < fs.geometry.size { prefer } else { 0 };
        let home = prefer / fpg;
        let mut best: Option<(u32, u32, u32)> = None;
        for number in groups_from(&fs.geometry, home) {
            if fs.summaries.get(number as usize).is_none_or(|csum| csum.nbfree.get() <= 0) {
                continue;
            }
            let group = self.group(fs, number)?;
            let start = if number == home { prefer % fpg / frag } else { 0 };
            if number == home && prefer.is_multiple_of(frag) && group.are_free(prefer % fpg, frag) {
                // Following the previous block beats finding a longer run elsewhere.
                best = Some((number, start, group.free_run(start, want)));
                break;
            }
            if let Some((block, len)) = group.find_blocks(start, want) {
                if best.is_none_or(|(_, _, longest)| len > longest) {
                    best = Some((number, block, len));
                }
                if len >= want {
                    break;
                }
            }
        }
        let (number, block, len) = best.ok_or_else(|| Error::new(ErrorKind::NoSpace, ""))?;
        self.group(fs, number)?.take_frags(block * frag, len * frag)?;
        self.update(fs, number);
        Ok((number * fpg + block * frag, len))
    }

    /// Takes a run of `count` fragments, fewer than a block, near a fragment.
    pub fn take_frags<D: ReadAt>(&mut self, fs: &mut FileSystem<D>, prefer: u32, count: u32) -> Result<u32> {
        let (fpg, frag) = (fs.geometry.fpg, fs.geometry.frag);
        let prefer = if prefer < fs.geometry.size { prefer } else { 0 };
        let home = prefer / fpg;
        for number in groups_from(&fs.geometry, home) {
            let summary = fs.summaries.get(number as usize).copied().unwrap_or_default();
            if summary.nffree.get() < count as i32 && summary.nbfree.get() <= 0 {
                continue;
            }
            let group = self.group(fs, number)?;
            let start = if number == home { prefer % fpg / frag } else { 0 };
            let found = group
                .find_frags(count)
                .or_else(|| group.find_blocks(start, 1).map(|(block, _)| block * frag));
            if let Some(local) = found {
                group.take_frags(local, count)?;
                self.update(fs, number);
                return Ok(number * fpg + local);
            }
        }
        Err(Error::new(ErrorKind::NoSpace, ""))
    }

    /// Takes `count` given fragments of one block if they are all free; says whether it did.
    pub fn take_exactly<D: ReadAt>(&mut self, fs: &mut FileSystem<D>, frag: u32, count: u32) -> Result<bool> {
        if !fs.geometry.is_data(frag, count) {
            return Ok(false);
        }
        let (number, local) = (frag / fs.geometry.fpg, frag % fs.geometry.fpg);
        let group = self.group(fs, number)?;
        if !group.are_free(local, count) {
            return Ok(false);
        }
        group.take_frags(local, count)?;
        self.update(fs, number);
        Ok(true)
    }

    /// Frees a run of fragments inside one block.
    pub fn free_frags<D: ReadAt>(&mut self, fs: &mut FileSystem<D>, frag: u32, count: u32) -> Result<()> {
        if !fs.geometry.is_data(frag, count) {
            let offset = fs.geometry.frag_offset(frag);
            return Err(Error::corrupt("block pointer", offset, "outside the data area"));
        }
        let (number, local) = (frag / fs.geometry.fpg, frag % fs.geometry.fpg);
        self.group(fs, number)?.free_frags(local, count)?;
        self.update(fs, number);
        Ok(())
    }

    /// Where the contents of a new file in a group had best begin.
    pub fn preferred_start<D: ReadAt>(&mut self, fs: &mut FileSystem<D>, group: u32) -> Result<u32> {
        let rotor = self.group(fs, group)?.rotor();
        Ok(group * fs.geometry.fpg + rotor)
    }

    /// Takes an inode, in `prefer`'s group if it has one.
    pub fn take_inode<D: ReadAt>(
        &mut self,
        fs: &mut FileSystem<D>,
        prefer: u32,
        directory: bool,
    ) -> Result<u32> {
        for number in groups_from(&fs.geometry, prefer) {
            if fs.summaries.get(number as usize).is_none_or(|csum| csum.nifree.get() <= 0) {
                continue;
            }
            let group = self.group(fs, number)?;
            if let Some(index) = group.take_free_inode(directory) {
                self.update(fs, number);
                return Ok(number * fs.geometry.ipg + index);
            }
        }
        Err(Error::new(ErrorKind::NoInodes, ""))
    }

    /// Frees an inode.
    pub fn free_inode<D: ReadAt>(&mut self, fs: &mut FileSystem<D>, ino: u32, directory: bool) -> Result<()> {
        let (number, index) = (ino / fs.geometry.ipg, ino % fs.geometry.ipg);
        let offset = fs.geometry.group_offset(number);
        let group = self.group(fs, number)?;
        if !group.is_inode_used(index) {
            return Err(Error::corrupt(format!("inode {ino}"), offset, "freeing what is free"));
        }
        group.free_inode(index, directory);
        self.update(fs, number);
        Ok(())
    }

    /// Lets the group that was last in the old geometry fill the file system's present one. Before, no group may be
    /// held in memory.
    pub fn lengthen<D: ReadAt>(&mut self, fs: &mut FileSystem<D>, old: &Geometry) -> Result<()> {
        let last = old.ncg - 1;
        let frags = old.group_frags(last);
        let mut bytes = vec![0; old.cgsize as usize];
        fs.device.read("cylinder group", old.group_offset(last), &mut bytes)?;
        let mut group = Group::parse(old, last, &bytes)?;
        group.set_extent(&fs.geometry, frags);
        self.groups.insert(last, group);
        self.update(fs, last);
        Ok(())
    }

    /// Writes the groups that changed, and forgets all when there are many. The summary area waits for
    /// [`Allocator::store`].
    pub fn trim<D: ReadAt + WriteAt>(&mut self, fs: &mut FileSystem<D>, time: i32) -> Result<()> {
        if self.groups.len() > GROUPS_HELD {
            self.store_groups(fs, time)?;
            self.groups.clear();
        }
        Ok(())
    }

    /// Writes the groups that changed, stamped with `time`, and the summary area; then forgets the groups.
    pub fn store<D: ReadAt + WriteAt>(&mut self, fs: &mut FileSystem<D>, time: i32) -> Result<()> {
        self.store_groups(fs, time)?;
        self.groups.clear();
        let offset = fs.geometry.csum_offset(0);
        fs.device.write("summary area", offset, fs.summaries.as_bytes())
    }

    fn store_groups<D: WriteAt>(&mut self, fs: &mut FileSystem<D>, time: i32) -> Result<()> {
        for (&number, group) in &mut self.groups {
            if group.is_dirty() {
                group.set_time(time);
                let offset = fs.geometry.group_offset(number);
                fs.device.write("cylinder group", offset, &group.to_bytes())?;
                group.set_stored();
            }
        }
        Ok(())
    }
}
