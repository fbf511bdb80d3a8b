//! Editing in place.
//!
//! Data, inodes and directories reach the device as they change; cylinder groups and summaries at [`Editor::flush`],
//! and the superblock last. From the first edit to that moment the superblock says that a writer is active, so a
//! device whose editor went away half-way is recognised and refused.

mod contents;
mod names;

use std::ops::Deref;

use positioned_io::{ReadAt, WriteAt};
use zerocopy::FromZeros;
use zerocopy::little_endian::{I16, I32, U16};

use crate::alloc::{self, Allocator};
use crate::error::{Error, ErrorKind, Result};
use crate::filesystem::FileSystem;
use crate::inode::{self, FileType, Timestamp};
use crate::layout::{Inode, MODE_TYPE};
use crate::superblock;

/// What edits take from the outside world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditOptions {
    /// The time edits leave in inodes and group headers.
    pub time: Timestamp,
    /// Seed for the generations of inodes that never had one.
    pub generation_seed: u64,
}

/// Mode and owner of something new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions, set-id and sticky bits: 0..=0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Refuses a mode with bits of a type.
fn check_mode(mode: u16) -> Result<()> {
    if mode & MODE_TYPE == 0 {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::InvalidArgument, format!("mode {mode:o}")))
    }
}

impl Attributes {
    fn check(&self) -> Result<()> {
        check_mode(self.mode)
    }
}

/// A special file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// Named pipe.
    Fifo,
    /// Character device: major (0..=16,383) and minor (0..=262,143) in illumos' numbering.
    Character(u32, u32),
    /// Block device, with the same numbers.
    Block(u32, u32),
}

/// A file system being edited. Reading works on it as on the [`FileSystem`] it came from.
///
/// An edit that fails for want of space, of inodes, or because of the caller's reader leaves everything as it was
/// before. After an error of the device itself or a finding of corruption the editor should be given up: the file
/// system stays marked as active.
#[derive(Debug)]
pub struct Editor<D> {
    pub(crate) fs: FileSystem<D>,
    pub(crate) alloc: Allocator,
    pub(crate) options: EditOptions,
    active: bool,
}

impl<D> Deref for Editor<D> {
    type Target = FileSystem<D>;

    fn deref(&self) -> &FileSystem<D> {
        &self.fs
    }
}

impl<D: ReadAt + WriteAt> FileSystem<D> {
    /// Begins to edit. Nothing is written before the first change.
    pub fn edit(self, options: EditOptions) -> Editor<D> {
        Editor { fs: self, alloc: Allocator::default(), options, active: false }
    }
}

impl<D: ReadAt + WriteAt> Editor<D> {
    /// Sets the time that the edits from now on leave behind.
    pub fn set_time(&mut self, time: Timestamp) {
        self.options.time = time;
    }

    /// Writes everything out and marks the file system as closed well at `time`, in seconds since 1970. Without
    /// changes since the last time there is nothing to write, and nothing is.
    pub fn flush(&mut self, time: i32) -> Result<()> {
        if !self.active {
            return Ok(());
        }
        self.alloc.store(&mut self.fs, self.options.time.seconds)?;
        let fs = &mut self.fs;
        fs.superblock.cstotal = alloc::total(&fs.summaries).ok_or_else(|| {
            Error::corrupt("summary area", fs.geometry.csum_offset(0), "the counts overflow")
        })?;
        superblock::set_clean(&mut fs.superblock, time);
        superblock::write(&mut fs.device, &fs.superblock)?;
        fs.device.flush()?;
        self.active = false;
        Ok(())
    }

    /// [`Editor::flush`], and back to reading.
    pub fn finish(mut self, time: i32) -> Result<FileSystem<D>> {
        self.flush(time)?;
        Ok(self.fs)
    }

    /// Marks the file system as active on the device, and keeps the groups in memory few.
    pub(crate) fn begin(&mut self) -> Result<()> {
        if !self.active {
            // Numbers of the superblock may be possible and yet not be those of this file system. Writing by them
            // would hit files, so nothing is written before every group was found in its place.
            self.alloc.prove(&self.fs)?;
            superblock::set_active(&mut self.fs.superblock);
            superblock::write(&mut self.fs.device, &self.fs.superblock)?;
            self.active = true;
        }
        self.alloc.trim(&mut self.fs, self.options.time.seconds)
    }

    pub(crate) fn write_inode(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        inode::write(&mut self.fs.device, &self.fs.geometry, ino, inode)
    }

    /// Stamps a change of the contents, and thereby of the inode.
    fn touch(&self, inode: &mut Inode) {
        inode.mtime = self.options.time.into();
        inode.ctime = self.options.time.into();
    }

    /// Takes an inode near a directory and fills in what every kind has in common. It is not written yet.
    fn new_inode(&mut self, near: u32, kind: u16, attributes: &Attributes) -> Result<(u32, Inode)> {
        attributes.check()?;
        let directory = kind == crate::layout::MODE_DIRECTORY;
        let group = near / self.fs.geometry.ipg;
        let ino = self.alloc.take_inode(&mut self.fs, group, directory)?;
        let old = inode::read_any(&self.fs.device, &self.fs.geometry, ino)?;
        if old.mode.get() != 0 {
            let offset = self.fs.geometry.inode_offset(ino);
            return Err(Error::corrupt(format!("inode {ino}"), offset, "in use, but marked free"));
        }
        let mut inode = Inode::new_zeroed();
        inode.mode = U16::new(kind | attributes.mode);
        inode.nlink = I16::new(1);
        inode::set_owner(&mut inode, attributes.uid, attributes.gid);
        inode.atime = self.options.time.into();
        self.touch(&mut inode);
        inode.generation = match old.generation.get() {
            0 => inode::generation(self.options.generation_seed, ino),
            _ => old.generation,
        };
        Ok((ino, inode))
    }

    /// Gives an inode without blocks back, keeping its generation.
    fn free_inode(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        let mut free = Inode::new_zeroed();
        free.generation = inode.generation;
        self.write_inode(ino, &free)?;
        let directory = FileType::of(inode) == FileType::Directory
            || inode.mode.get() & MODE_TYPE == crate::layout::MODE_ATTRIBUTE_DIRECTORY;
        self.alloc.free_inode(&mut self.fs, ino, directory)
    }

    /// Changes an inode's own fields.
    fn change(&mut self, path: &[u8], change: impl FnOnce(&mut Inode)) -> Result<()> {
        let (ino, mut inode) = self.fs.resolve(path, false)?;
        self.begin()?;
        change(&mut inode);
        inode.ctime = self.options.time.into();
        self.write_inode(ino, &inode)
    }

    /// Sets permissions, set-id and sticky bits (0..=0o7777). A symbolic link in last place is not followed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for other bits.
    pub fn set_mode(&mut self, path: &[u8], mode: u16) -> Result<()> {
        check_mode(mode).map_err(|error| error.or_path(path))?;
        self.change(path, |inode| inode.mode = U16::new(inode.mode.get() & MODE_TYPE | mode))
    }

    /// Sets owner and group. A symbolic link in last place is not followed.
    pub fn set_owner(&mut self, path: &[u8], uid: u32, gid: u32) -> Result<()> {
        self.change(path, |inode| inode::set_owner(inode, uid, gid))
    }

    /// Sets the times of last access and last change of the contents. A symbolic link in last place is not followed.
    pub fn set_times(&mut self, path: &[u8], accessed: Timestamp, modified: Timestamp) -> Result<()> {
        self.change(path, |inode| {
            inode.atime = accessed.into();
            inode.mtime = modified.into();
        })
    }

    /// Adds to an inode's count of sectors; fragments given back count negative.
    fn charge(&self, inode: &mut Inode, frags: i64) {
        let sectors = i64::from(inode.blocks.get()) + frags * i64::from(self.fs.geometry.nspf());
        inode.blocks.set(u32::try_from(sectors).unwrap_or(0));
    }

    fn add_link(inode: &mut Inode, delta: i16) {
        inode.nlink = I16::new(inode.nlink.get().saturating_add(delta));
    }

    /// The pointer form of a fragment number; geometry keeps those below 2^31.
    fn pointer(frag: u32) -> I32 {
        I32::new(frag as i32)
    }
}
