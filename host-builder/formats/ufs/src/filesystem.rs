//! An opened file system: lookups and reading.

use std::io::{self, Read};

use positioned_io::ReadAt;

use crate::alloc::read_summaries;
use crate::blockmap::{self, Mapped};
use crate::device::Device;
use crate::directory::{self, CHUNK};
use crate::error::{Error, ErrorKind, Result};
use crate::geometry::Geometry;
use crate::inode::{self, FileType, Metadata};
use crate::layout::{Csum, Inode, ROOT_INODE, SYMLINK_MAX, SuperBlock};
use crate::path::{self, Components};
use crate::superblock;

/// Most symbolic links one lookup follows (illumos' `MAXSYMLINKS`).
const SYMLINKS_FOLLOWED: u32 = 20;

/// Largest directory this crate reads: about a million entries.
const DIRECTORY_MAX: u64 = 16 << 20;

/// A file system on a device, opened for reading. [`FileSystem::edit`] turns it into an
/// [`Editor`](crate::Editor).
#[derive(Debug)]
pub struct FileSystem<D> {
    pub(crate) device: Device<D>,
    pub(crate) superblock: SuperBlock,
    pub(crate) geometry: Geometry,
    pub(crate) summaries: Vec<Csum>,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without slashes or NULs.
    pub name: Vec<u8>,
    /// The inode it names.
    pub ino: u32,
}

/// Something that [`FileSystem::walk`] came past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkEntry {
    /// Absolute path inside the file system.
    pub path: Vec<u8>,
    /// What is there; symbolic links are not followed.
    pub metadata: Metadata,
}

impl<D> FileSystem<D> {
    /// The geometry.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The primary superblock as it was read or last written.
    pub fn superblock(&self) -> &SuperBlock {
        &self.superblock
    }

    /// The device. Writing to it behind the file system's back makes what is cached wrong.
    pub fn device(&self) -> &D {
        self.device.get_ref()
    }

    /// Gives the device back.
    pub fn into_device(self) -> D {
        self.device.into_inner()
    }
}

impl<D: ReadAt> FileSystem<D> {
    /// Opens the file system on the first `device_len` bytes of a device.
    ///
    /// # Errors
    /// [`ErrorKind::NotUfs`], [`ErrorKind::BigEndian`], [`ErrorKind::MultiTerabyte`],
    /// [`ErrorKind::UnsupportedVersion`], [`ErrorKind::ImpossibleGeometry`], [`ErrorKind::BeyondDevice`] for what
    /// it is; [`ErrorKind::Dirty`], [`ErrorKind::Logging`], [`ErrorKind::StaleSummary`] for the state it is in;
    /// [`ErrorKind::Corrupt`] when its root is not a directory or its totals disagree.
    pub fn open(device: D, device_len: u64) -> Result<Self> {
        let device = Device::new(device, device_len);
        let (superblock, geometry) = superblock::read(&device)?;
        superblock::check_state(&superblock)?;
        let summaries = read_summaries(&device, &geometry)?;
        // The kernel computes the totals anew from the array at each mount, so the array decides; a negative count in
        // it can only be damage.
        let counts = summaries.iter().flat_map(|c| [c.ndir, c.nbfree, c.nifree, c.nffree]);
        if counts.into_iter().any(|count| count.get() < 0) {
            return Err(Error::corrupt("summary area", geometry.csum_offset(0), "a negative count"));
        }
        let fs = Self { device, superblock, geometry, summaries };
        let root = fs.inode(ROOT_INODE)?;
        if FileType::of(&root) != FileType::Directory || root.nlink.get() <= 0 {
            let offset = geometry.inode_offset(ROOT_INODE);
            return Err(Error::corrupt("inode 2", offset, "the root is not a directory"));
        }
        Ok(fs)
    }

    pub(crate) fn inode(&self, ino: u32) -> Result<Inode> {
        inode::read(&self.device, &self.geometry, ino)
    }

    fn inode_error(&self, ino: u32, detail: impl Into<String>) -> Error {
        Error::corrupt(format!("inode {ino}"), self.geometry.inode_offset(ino), detail)
    }

    /// What is at a path, following symbolic links.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::NotADirectory`], [`ErrorKind::SymlinkLoop`], [`ErrorKind::InvalidPath`].
    pub fn metadata(&self, path: &[u8]) -> Result<Metadata> {
        let (ino, inode) = self.resolve(path, true)?;
        Ok(Metadata::new(ino, &inode))
    }

    /// What is at a path; a symbolic link in last place is not followed.
    pub fn symlink_metadata(&self, path: &[u8]) -> Result<Metadata> {
        let (ino, inode) = self.resolve(path, false)?;
        Ok(Metadata::new(ino, &inode))
    }

    /// Finds the inode at a path.
    pub(crate) fn resolve(&self, path: &[u8], follow_last: bool) -> Result<(u32, Inode)> {
        path::check(path)?;
        let mut todo = Components::new(path);
        let mut followed = 0;
        // `..` is an entry of every directory on the disk, and so needs no bookkeeping.
        let mut ino = ROOT_INODE;
        let mut inode = self.inode(ino)?;
        while let Some(name) = todo.next() {
            if FileType::of(&inode) != FileType::Directory {
                return Err(Error::path(ErrorKind::NotADirectory, path));
            }
            let child =
                self.find_entry(ino, &inode, &name)?.ok_or_else(|| Error::path(ErrorKind::NotFound, path))?;
            let child_inode = self.inode(child)?;
            if FileType::of(&child_inode) == FileType::Symlink && (follow_last || !todo.is_empty()) {
                followed += 1;
                if followed > SYMLINKS_FOLLOWED {
                    return Err(Error::path(ErrorKind::SymlinkLoop, path));
                }
                let target = self.link_target(child, &child_inode)?;
                if target.first() == Some(&b'/') {
                    ino = ROOT_INODE;
                    inode = self.inode(ino)?;
                }
                todo.put_before(&target);
            } else {
                (ino, inode) = (child, child_inode);
            }
        }
        if todo.wants_directory() && FileType::of(&inode) != FileType::Directory {
            return Err(Error::path(ErrorKind::NotADirectory, path));
        }
        Ok((ino, inode))
    }

    /// Finds the directory that holds the last component of a path, and that component.
    pub(crate) fn resolve_parent<'p>(&self, path: &'p [u8]) -> Result<(u32, Inode, &'p [u8])> {
        let (parent, name) = path::split(path)?;
        let (ino, inode) = self.resolve(parent, true)?;
        if FileType::of(&inode) != FileType::Directory {
            return Err(Error::path(ErrorKind::NotADirectory, parent));
        }
        Ok((ino, inode, name))
    }

    /// Calls `visit` with the device offset and the contents of each chunk of a directory until it returns something.
    pub(crate) fn find_chunk<T>(
        &self,
        ino: u32,
        inode: &Inode,
        mut visit: impl FnMut(u64, &[u8]) -> std::result::Result<Option<T>, directory::Broken>,
    ) -> Result<Option<T>> {
        let size = inode.size.get();
        if size == 0 || !size.is_multiple_of(CHUNK as u64) || size > DIRECTORY_MAX {
            return Err(self.inode_error(ino, format!("a directory of {size} bytes")));
        }
        let mut chunk = [0; CHUNK];
        for position in (0..size).step_by(CHUNK) {
            let offset = self
                .contents_offset(inode, position)?
                .ok_or_else(|| self.inode_error(ino, "a directory with a hole"))?;
            self.device.read("directory", offset, &mut chunk)?;
            let found = visit(offset, &chunk)
                .map_err(|broken| Error::corrupt(format!("directory {ino}"), offset, broken))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Byte offset on the device of a byte of a file, unless it is in a hole.
    pub(crate) fn contents_offset(&self, inode: &Inode, position: u64) -> Result<Option<u64>> {
        let bsize = u64::from(self.geometry.bsize);
        match blockmap::find(&self.device, &self.geometry, inode, position / bsize)? {
            Mapped::At(frag) => Ok(Some(self.geometry.frag_offset(frag) + position % bsize)),
            Mapped::Hole | Mapped::Reserved(_) => Ok(None),
        }
    }

    /// The inode that a name in a directory stands for.
    pub(crate) fn find_entry(&self, ino: u32, inode: &Inode, name: &[u8]) -> Result<Option<u32>> {
        self.find_chunk(ino, inode, |_, chunk| {
            for entry in directory::entries(chunk) {
                let entry = entry?;
                if entry.ino != 0 && entry.name == name {
                    return Ok(Some(entry.ino));
                }
            }
            Ok(None)
        })
    }

    /// The entries of a directory but `.` and `..`, in the order of the disk.
    pub fn read_dir(&self, path: &[u8]) -> Result<Vec<DirEntry>> {
        let (ino, inode) = self.resolve(path, true)?;
        if FileType::of(&inode) != FileType::Directory {
            return Err(Error::path(ErrorKind::NotADirectory, path));
        }
        self.list(ino, &inode)
    }

    pub(crate) fn list(&self, ino: u32, inode: &Inode) -> Result<Vec<DirEntry>> {
        let mut list = Vec::new();
        self.find_chunk(ino, inode, |_, chunk| {
            for entry in directory::entries(chunk) {
                let entry = entry?;
                if entry.ino != 0 && entry.name != b"." && entry.name != b".." {
                    list.push(DirEntry { name: entry.name.to_vec(), ino: entry.ino });
                }
            }
            Ok(None::<()>)
        })?;
        Ok(list)
    }

    /// Reads from a regular file, by its inode number, into `buffer`; holes and reserved blocks read as zeros.
    /// Returns the number of bytes read, 0 at the end.
    ///
    /// # Errors
    /// [`ErrorKind::NotAFile`] for anything but a regular file.
    pub fn read_at(&self, ino: u32, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let inode = self.inode(ino)?;
        if FileType::of(&inode) != FileType::Regular {
            return Err(Error::new(ErrorKind::NotAFile, format!("inode {ino}")));
        }
        self.read_contents(&inode, offset, buffer)
    }

    /// Reads from anything whose pointers are block addresses.
    pub(crate) fn read_contents(&self, inode: &Inode, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let left = inode.size.get().saturating_sub(offset);
        let len = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let bsize = u64::from(self.geometry.bsize);
        let mut done = 0;
        while done < len {
            let start = offset + done as u64;
            let first = self.contents_offset(inode, start)?;
            // Gather the blocks that continue the first one, on the device or as holes, into one read.
            let mut count = (bsize - start % bsize).min((len - done) as u64);
            while (count as usize) < len - done {
                let next = self.contents_offset(inode, start + count)?;
                if next != first.map(|first| first + count) {
                    break;
                }
                count = (count + bsize).min((len - done) as u64);
            }
            let target = &mut buffer[done..done + count as usize];
            match first {
                Some(position) => self.device.read_contents("file contents", position, target)?,
                None => target.fill(0),
            }
            done += count as usize;
        }
        Ok(len)
    }

    /// Opens a regular file for reading from its beginning, following symbolic links.
    pub fn file(&self, path: &[u8]) -> Result<FileReader<'_, D>> {
        let (ino, inode) = self.resolve(path, true)?;
        match FileType::of(&inode) {
            FileType::Regular => Ok(FileReader { fs: self, ino, inode, position: 0 }),
            FileType::Directory => Err(Error::path(ErrorKind::IsADirectory, path)),
            _ => Err(Error::path(ErrorKind::NotAFile, path)),
        }
    }

    /// The whole contents of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::FileTooLarge`] for a larger one.
    pub fn read(&self, path: &[u8], limit: u64) -> Result<Vec<u8>> {
        let file = self.file(path)?;
        let size = file.inode.size.get();
        let len = usize::try_from(size).ok().filter(|_| size <= limit);
        let mut contents = vec![0; len.ok_or_else(|| Error::path(ErrorKind::FileTooLarge, path))?];
        self.read_contents(&file.inode, 0, &mut contents)?;
        Ok(contents)
    }

    /// The target of the symbolic link at a path.
    ///
    /// # Errors
    /// [`ErrorKind::NotASymlink`] for anything else.
    pub fn read_link(&self, path: &[u8]) -> Result<Vec<u8>> {
        let (ino, inode) = self.resolve(path, false)?;
        if FileType::of(&inode) != FileType::Symlink {
            return Err(Error::path(ErrorKind::NotASymlink, path));
        }
        self.link_target(ino, &inode)
    }

    fn link_target(&self, ino: u32, inode: &Inode) -> Result<Vec<u8>> {
        let size = inode.size.get();
        if size == 0 || size > SYMLINK_MAX as u64 {
            return Err(self.inode_error(ino, format!("a symbolic link of {size} bytes")));
        }
        let mut target = vec![0; size as usize];
        self.read_contents(inode, 0, &mut target)?;
        Ok(target)
    }

    /// Everything below the directory at a path, depth first: each directory before what it holds, names in the order
    /// of their bytes. The directory itself is not listed.
    pub fn walk(&self, path: &[u8]) -> Result<Walk<'_, D>> {
        let (ino, inode) = self.resolve(path, true)?;
        if FileType::of(&inode) != FileType::Directory {
            return Err(Error::path(ErrorKind::NotADirectory, path));
        }
        let mut walk = Walk::new(self);
        let mut top = path.to_vec();
        while top.last() == Some(&b'/') {
            top.pop();
        }
        walk.enter(ino, &inode, top)?;
        Ok(walk)
    }
}

/// Reads a regular file from its beginning.
#[derive(Debug)]
pub struct FileReader<'a, D> {
    fs: &'a FileSystem<D>,
    ino: u32,
    inode: Inode,
    position: u64,
}

impl<D> FileReader<'_, D> {
    /// What the file is.
    pub fn metadata(&self) -> Metadata {
        Metadata::new(self.ino, &self.inode)
    }
}

impl<D: ReadAt> Read for FileReader<'_, D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fs.read_contents(&self.inode, self.position, buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// The iterator of [`FileSystem::walk`]. After an error it ends.
#[derive(Debug)]
pub struct Walk<'a, D> {
    fs: &'a FileSystem<D>,
    /// For each directory on the way down: its path and what is left of its entries, last name first.
    stack: Vec<(Vec<u8>, Vec<DirEntry>)>,
    /// Directories entered; meeting one twice means that the tree is none.
    seen: std::collections::HashSet<u32>,
}

impl<'a, D: ReadAt> Walk<'a, D> {
    fn new(fs: &'a FileSystem<D>) -> Self {
        Self { fs, stack: Vec::new(), seen: std::collections::HashSet::new() }
    }

    fn enter(&mut self, ino: u32, inode: &Inode, path: Vec<u8>) -> Result<()> {
        if !self.seen.insert(ino) {
            return Err(self.fs.inode_error(ino, "a directory with two names"));
        }
        let mut entries = self.fs.list(ino, inode)?;
        entries.sort_unstable_by(|a, b| b.cmp(a));
        self.stack.push((path, entries));
        Ok(())
    }

    fn step(&mut self) -> Result<Option<WalkEntry>> {
        let (path, entry) = loop {
            let Some((path, entries)) = self.stack.last_mut() else { return Ok(None) };
            match entries.pop() {
                Some(entry) => break ([path.as_slice(), b"/", &entry.name].concat(), entry),
                None => drop(self.stack.pop()),
            }
        };
        let inode = self.fs.inode(entry.ino)?;
        if FileType::of(&inode) == FileType::Directory {
            self.enter(entry.ino, &inode, path.clone())?;
        }
        Ok(Some(WalkEntry { path, metadata: Metadata::new(entry.ino, &inode) }))
    }
}

impl<D: ReadAt> Iterator for Walk<'_, D> {
    type Item = Result<WalkEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.stack.clear();
        }
        step.transpose()
    }
}
