//! Names: creating, linking, renaming and removing.

use std::io::Read;

use positioned_io::{ReadAt, WriteAt};
use zerocopy::little_endian::{I16, I32, U32, U64};

use super::{Attributes, Editor, Node};
use crate::directory;
use crate::error::{Error, ErrorKind, Result};
use crate::inode::FileType;
use crate::layout::{
    Inode, LINK_MAX, MODE_ATTRIBUTE_DIRECTORY, MODE_BLOCK, MODE_CHARACTER, MODE_DIRECTORY, MODE_FIFO,
    MODE_REGULAR, MODE_SYMLINK, MODE_TYPE, ROOT_INODE, SYMLINK_MAX, encode_device,
};

/// The directory a new name goes into.
struct Parent<'p> {
    ino: u32,
    inode: Inode,
    name: &'p [u8],
}

impl<D: ReadAt + WriteAt> Editor<D> {
    /// Creates a regular file with the contents of a source.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`]; [`ErrorKind::NoSpace`], [`ErrorKind::NoInodes`] and [`ErrorKind::Source`], which
    /// leave nothing behind.
    pub fn create_file(
        &mut self,
        path: &[u8],
        attributes: &Attributes,
        mut contents: impl Read,
    ) -> Result<()> {
        self.create(path, MODE_REGULAR, attributes, &mut contents, |_| {})
    }

    /// Creates a symbolic link. The mode is commonly 0o777.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a target that is empty, longer than 1,023 bytes or has a NUL.
    pub fn symlink(&mut self, path: &[u8], target: &[u8], attributes: &Attributes) -> Result<()> {
        if target.is_empty() || target.len() > SYMLINK_MAX || target.contains(&0) {
            return Err(Error::new(ErrorKind::InvalidArgument, "target of a symbolic link").or_path(path));
        }
        self.create(path, MODE_SYMLINK, attributes, &mut &target[..], |_| {})
    }

    /// Creates a device or a fifo.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a device number the inode cannot hold.
    pub fn create_node(&mut self, path: &[u8], node: Node, attributes: &Attributes) -> Result<()> {
        let (kind, word) = match node {
            Node::Fifo => (MODE_FIFO, Some(0)),
            Node::Character(major, minor) => (MODE_CHARACTER, encode_device(major, minor)),
            Node::Block(major, minor) => (MODE_BLOCK, encode_device(major, minor)),
        };
        let Some(word) = word else {
            return Err(Error::new(ErrorKind::InvalidArgument, "device number").or_path(path));
        };
        self.create(path, kind, attributes, &mut std::io::empty(), |inode| {
            inode.direct[1] = I32::new(word as i32);
        })
    }

    /// Creates an inode with contents, then gives it a name.
    fn create(
        &mut self,
        path: &[u8],
        kind: u16,
        attributes: &Attributes,
        contents: &mut dyn Read,
        prepare: impl FnOnce(&mut Inode),
    ) -> Result<()> {
        let mut parent = self.vacant(path)?;
        self.begin()?;
        let make = || {
            let (ino, mut inode) = self.new_inode(parent.ino, kind, attributes)?;
            prepare(&mut inode);
            let named = self
                .extend(ino, &mut inode, contents)
                .and_then(|()| self.write_inode(ino, &inode))
                .and_then(|()| self.add_name(&mut parent, ino));
            named.or_else(|error| {
                self.discard(ino, &inode)?;
                Err(error)
            })
        };
        make().map_err(|error| error.or_path(path))
    }

    /// Creates a directory.
    ///
    /// # Errors
    /// As [`Editor::create_file`], and [`ErrorKind::TooManyLinks`] when the parent holds 32,765 others.
    pub fn create_dir(&mut self, path: &[u8], attributes: &Attributes) -> Result<()> {
        let mut parent = self.vacant(path)?;
        if parent.inode.nlink.get() == LINK_MAX {
            return Err(Error::path(ErrorKind::TooManyLinks, path));
        }
        self.begin()?;
        let mut make = || {
            let (ino, mut inode) = self.new_inode(parent.ino, MODE_DIRECTORY, attributes)?;
            inode.nlink = I16::new(2);
            let chunk = directory::first_chunk(ino, parent.ino);
            Self::add_link(&mut parent.inode, 1);
            let named = self
                .extend(ino, &mut inode, &mut &chunk[..])
                .and_then(|()| self.write_inode(ino, &inode))
                .and_then(|()| self.add_name(&mut parent, ino));
            named.or_else(|error| {
                Self::add_link(&mut parent.inode, -1);
                self.write_inode(parent.ino, &parent.inode)?;
                self.discard(ino, &inode)?;
                Err(error)
            })
        };
        make().map_err(|error| error.or_path(path))
    }

    /// Creates a directory and those above it that are missing, all with the same attributes. Directories that exist
    /// stay as they are.
    pub fn create_dir_all(&mut self, path: &[u8], attributes: &Attributes) -> Result<()> {
        match self.fs.resolve(path, true) {
            Ok((_, inode)) if FileType::of(&inode) == FileType::Directory => return Ok(()),
            Ok(_) => return Err(Error::path(ErrorKind::NotADirectory, path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (parent, _) = crate::path::split(path)?;
        // A path is at most 4 KiB long, which bounds this recursion.
        self.create_dir_all(parent, attributes)?;
        self.create_dir(path, attributes)
    }

    /// Gives an existing file (not a directory) another name. A symbolic link is linked itself.
    pub fn hard_link(&mut self, existing: &[u8], new: &[u8]) -> Result<()> {
        let (ino, mut inode) = self.fs.resolve(existing, false)?;
        if FileType::of(&inode) == FileType::Directory {
            return Err(Error::path(ErrorKind::IsADirectory, existing));
        }
        if inode.nlink.get() == LINK_MAX {
            return Err(Error::path(ErrorKind::TooManyLinks, existing));
        }
        let mut parent = self.vacant(new)?;
        self.begin()?;
        self.add_name(&mut parent, ino).map_err(|error| error.or_path(new))?;
        Self::add_link(&mut inode, 1);
        inode.ctime = self.options.time.into();
        self.write_inode(ino, &inode)
    }

    /// Removes the name of anything but a directory, and what it names when that was the last name.
    pub fn remove_file(&mut self, path: &[u8]) -> Result<()> {
        let (parent, ino, inode) = self.named(path)?;
        if FileType::of(&inode) == FileType::Directory {
            return Err(Error::path(ErrorKind::IsADirectory, path));
        }
        self.begin()?;
        self.remove_name(parent, 0)?;
        self.drop_link(ino, inode)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&mut self, path: &[u8]) -> Result<()> {
        let (parent, ino, inode) = self.named(path)?;
        if FileType::of(&inode) != FileType::Directory {
            return Err(Error::path(ErrorKind::NotADirectory, path));
        }
        if !self.fs.list(ino, &inode)?.is_empty() {
            return Err(Error::path(ErrorKind::NotEmpty, path));
        }
        self.begin()?;
        self.remove_name(parent, -1)?;
        self.release(ino, &inode)
    }

    /// Removes a file, or a directory with everything below it. Symbolic links are removed, not followed.
    pub fn remove_all(&mut self, path: &[u8]) -> Result<()> {
        let (_, _, inode) = self.named(path)?;
        if FileType::of(&inode) != FileType::Directory {
            return self.remove_file(path);
        }
        let mut below = Vec::new();
        for entry in self.fs.walk(path)? {
            let entry = entry?;
            below.push((entry.path, entry.metadata.kind));
        }
        for (path, kind) in below.iter().rev() {
            match kind {
                FileType::Directory => self.remove_dir(path)?,
                _ => self.remove_file(path)?,
            }
        }
        self.remove_dir(path)
    }

    /// Renames a file or directory, also into another directory. A file may replace another file; a directory replaces
    /// nothing. Symbolic links in last place are renamed or replaced themselves.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when `to` exists and either of the two is a directory;
    /// [`ErrorKind::InvalidArgument`] when a directory would end below itself.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let (source, ino, mut inode) = self.named(from)?;
        let (target_ino, target_inode, name) = self.fs.resolve_parent(to)?;
        let is_directory = FileType::of(&inode) == FileType::Directory;
        let existing = self.fs.find_entry(target_ino, &target_inode, name)?;
        if existing == Some(ino) {
            return Ok(());
        }
        let moves = target_ino != source.ino;
        if is_directory && moves {
            self.check_not_below(ino, target_ino, to)?;
            if target_inode.nlink.get() == LINK_MAX {
                return Err(Error::path(ErrorKind::TooManyLinks, to));
            }
        }
        let mut target = Parent { ino: target_ino, inode: target_inode, name };
        if let Some(old) = existing {
            let old_inode = self.fs.inode(old)?;
            if is_directory || FileType::of(&old_inode) == FileType::Directory {
                return Err(Error::path(ErrorKind::AlreadyExists, to));
            }
            self.begin()?;
            self.edit_chunk(&target, |chunk| directory::repoint(chunk, name, ino))?;
            self.touch(&mut target.inode);
            self.write_inode(target.ino, &target.inode)?;
            self.drop_link(old, old_inode)?;
        } else {
            self.begin()?;
            let gains = i16::from(is_directory && moves);
            Self::add_link(&mut target.inode, gains);
            if let Err(error) = self.add_name(&mut target, ino) {
                Self::add_link(&mut target.inode, -gains);
                self.write_inode(target.ino, &target.inode)?;
                return Err(error.or_path(to));
            }
        }
        // Naming the target may have changed the very directory the source is in.
        let source = Parent { inode: self.fs.inode(source.ino)?, ..source };
        self.remove_name(source, -i16::from(is_directory && moves))?;
        if is_directory && moves {
            let itself = Parent { ino, inode, name: b".." };
            self.edit_chunk(&itself, |chunk| directory::repoint(chunk, b"..", target_ino))?;
        }
        inode.ctime = self.options.time.into();
        self.write_inode(ino, &inode)
    }

    /// Refuses a target directory that is the directory itself or lies below it.
    fn check_not_below(&self, directory: u32, target: u32, to: &[u8]) -> Result<()> {
        let mut at = target;
        // No chain of parents is longer than there are inodes.
        for _ in 0..self.fs.geometry.inodes() {
            if at == directory {
                return Err(Error::path(ErrorKind::InvalidArgument, to));
            }
            if at == ROOT_INODE {
                return Ok(());
            }
            let inode = self.fs.inode(at)?;
            let parent = self.fs.find_entry(at, &inode, b"..")?;
            at = parent.ok_or_else(|| Error::corrupt(format!("directory {at}"), 0, "no `..`"))?;
        }
        Err(Error::corrupt(format!("directory {target}"), 0, "its parents form a cycle"))
    }

    /// The directory for a new name, which must be free.
    fn vacant<'p>(&self, path: &'p [u8]) -> Result<Parent<'p>> {
        let (ino, inode, name) = self.fs.resolve_parent(path)?;
        if inode.nlink.get() <= 0 {
            return Err(Error::corrupt(format!("inode {ino}"), 0, "a directory without links"));
        }
        match self.fs.find_entry(ino, &inode, name)? {
            Some(_) => Err(Error::path(ErrorKind::AlreadyExists, path)),
            None => Ok(Parent { ino, inode, name }),
        }
    }

    /// The directory that holds an existing name, and what that names.
    fn named<'p>(&self, path: &'p [u8]) -> Result<(Parent<'p>, u32, Inode)> {
        let (ino, inode, name) = self.fs.resolve_parent(path)?;
        let child =
            self.fs.find_entry(ino, &inode, name)?.ok_or_else(|| Error::path(ErrorKind::NotFound, path))?;
        Ok((Parent { ino, inode, name }, child, self.fs.inode(child)?))
    }

    /// Enters a name into a directory, which grows by a chunk when it has no room, and writes the directory's inode.
    /// When the directory cannot grow it is left as it was.
    fn add_name(&mut self, parent: &mut Parent<'_>, ino: u32) -> Result<()> {
        let name = parent.name;
        if !self.edit_chunk(parent, |chunk| directory::insert(chunk, ino, name))? {
            let mut chunk = directory::empty_chunk();
            directory::insert(&mut chunk, ino, name)
                .map_err(|broken| Error::corrupt(format!("directory {}", parent.ino), 0, broken))?;
            if let Err(error) = self.extend(parent.ino, &mut parent.inode, &mut &chunk[..]) {
                self.write_inode(parent.ino, &parent.inode)?;
                return Err(error);
            }
        }
        self.touch(&mut parent.inode);
        self.write_inode(parent.ino, &parent.inode)
    }

    /// Takes a name out of a directory, whose link count changes by `links`.
    fn remove_name(&mut self, mut parent: Parent<'_>, links: i16) -> Result<()> {
        self.edit_chunk(&parent, |chunk| directory::remove(chunk, parent.name))?;
        Self::add_link(&mut parent.inode, links);
        self.touch(&mut parent.inode);
        self.write_inode(parent.ino, &parent.inode)
    }

    /// Lets `edit` change the chunks of a directory one after the other until it says that it did; then writes that
    /// chunk. Says whether there was one.
    fn edit_chunk(
        &mut self,
        parent: &Parent<'_>,
        edit: impl Fn(&mut [u8]) -> std::result::Result<bool, directory::Broken>,
    ) -> Result<bool> {
        let found = self.fs.find_chunk(parent.ino, &parent.inode, |offset, chunk| {
            let mut chunk = chunk.to_vec();
            Ok(edit(&mut chunk)?.then_some((offset, chunk)))
        })?;
        match found {
            Some((offset, chunk)) => self.fs.device.write("directory", offset, &chunk).map(|()| true),
            None => Ok(false),
        }
    }

    /// Takes one link from an inode that is no directory, and frees it when that was the last.
    fn drop_link(&mut self, ino: u32, mut inode: Inode) -> Result<()> {
        if inode.nlink.get() > 1 {
            Self::add_link(&mut inode, -1);
            inode.ctime = self.options.time.into();
            return self.write_inode(ino, &inode);
        }
        self.release(ino, &inode)
    }

    /// Frees an inode with all it holds: contents, extended attributes, and its share of an access control list.
    fn release(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        self.discard(ino, inode)?;
        let attributes = inode.attributes.get();
        if attributes != 0 {
            let directory = self.fs.inode(attributes)?;
            if directory.mode.get() & MODE_TYPE != MODE_ATTRIBUTE_DIRECTORY {
                return Err(Error::corrupt(format!("inode {attributes}"), 0, "not an attribute directory"));
            }
            for entry in self.fs.list(attributes, &directory)? {
                // Attributes have no attributes of their own, so this goes no deeper.
                let mut attribute = self.fs.inode(entry.ino)?;
                attribute.attributes = U32::ZERO;
                attribute.shadow = U32::ZERO;
                self.drop_link(entry.ino, attribute)?;
            }
            self.discard(attributes, &directory)?;
        }
        let shadow = inode.shadow.get();
        if shadow != 0 {
            let mut acl = self.fs.inode(shadow)?;
            if acl.nlink.get() > 1 {
                Self::add_link(&mut acl, -1);
                self.write_inode(shadow, &acl)?;
            } else {
                self.discard(shadow, &acl)?;
            }
        }
        Ok(())
    }

    /// Frees an inode and its contents.
    fn discard(&mut self, ino: u32, inode: &Inode) -> Result<()> {
        let extents = self.extents(inode)?;
        self.free_extents(&extents)?;
        let mut empty = *inode;
        empty.size = U64::ZERO;
        self.free_inode(ino, &empty)
    }
}
