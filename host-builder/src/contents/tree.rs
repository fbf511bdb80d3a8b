//! Files in folders, wherever they are: one view of FAT, UFS, tar and ZFS file systems.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;

use anyhow::{Result, anyhow};

use super::source::Source;
use super::{dataset, fat, tar, ufs};
use crate::report::Hint;

/// Most symbolic links that one lookup follows, as in illumos (`MAXSYMLINKS`, 20) and Linux (40).
const MAX_LINKS: usize = 40;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Block,
    /// A character device.
    Character,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A door of illumos.
    Door,
    /// Something else that has neither contents nor children.
    Other,
}

impl Kind {
    /// The letter that `ls -l` shows.
    pub fn letter(self) -> char {
        match self {
            Kind::File => '-',
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            Kind::Block => 'b',
            Kind::Character => 'c',
            Kind::Fifo => 'p',
            Kind::Socket => 's',
            Kind::Door => 'D',
            Kind::Other => '?',
        }
    }

    /// The name in words.
    pub fn name(self) -> &'static str {
        match self {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symlink",
            Kind::Block => "block device",
            Kind::Character => "character device",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::Door => "door",
            Kind::Other => "special file",
        }
    }
}

/// What is known about a node beside its contents. FAT knows neither modes nor owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits, 12 bits.
    pub mode: Option<u32>,
    /// Owner's number.
    pub uid: Option<u32>,
    /// Group's number.
    pub gid: Option<u32>,
    /// Size of the contents in bytes; of links the length of the target.
    pub size: u64,
    /// Last modification, seconds since 1970.
    pub mtime: Option<i64>,
    /// Nanoseconds after that, below 1,000,000,000; 0 where only seconds are known.
    pub nanoseconds: u32,
    /// Target of a symbolic link.
    pub target: Option<Vec<u8>>,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// How many names it has, when it is no directory.
    pub links: Option<u32>,
}

impl Metadata {
    /// What is known about something of which only the kind is known.
    pub fn blank(kind: Kind) -> Metadata {
        Metadata {
            kind,
            mode: None,
            uid: None,
            gid: None,
            size: 0,
            mtime: None,
            nanoseconds: 0,
            target: None,
            device: None,
            links: None,
        }
    }
}

/// How a tree finds its node again.
#[derive(Clone, Debug)]
pub enum Handle {
    /// A node of a FAT volume.
    Fat(fat::Handle),
    /// A node of a UFS.
    Ufs(ufs::Handle),
    /// A member of a tar archive.
    Tar(tar::Handle),
    /// A node of a ZFS file system.
    Dataset(dataset::Handle),
}

impl Handle {
    /// A number that names of the same thing share, and directories never do.
    pub fn identity(&self) -> u64 {
        match self {
            Handle::Fat(entry) => u64::from(entry.first_cluster),
            Handle::Ufs(inode) => u64::from(*inode),
            Handle::Tar(index) => *index as u64,
            Handle::Dataset(node) => node.index() as u64,
        }
    }
}

/// A file, directory or other thing in a tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// Path from the tree's root, `/` between names, empty for the root itself. Bytes, because names may be anything.
    pub path: Vec<u8>,
    /// What is known about it.
    pub metadata: Metadata,
    /// How its tree finds it again.
    pub handle: Handle,
}

impl Node {
    /// The last component of the path; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
    }

    /// The path of something called `name` in this directory.
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        [self.path.as_slice(), b"/", name].concat()
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.metadata.kind == Kind::Directory
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.metadata.kind == Kind::File
    }

    /// The path for people, with `/` for the root.
    pub fn shown(&self) -> String {
        if self.path.is_empty() { "/".to_owned() } else { show(&self.path) }
    }
}

/// Files in folders.
pub trait Tree: Send + Sync {
    /// The directory that holds everything.
    ///
    /// # Errors
    /// It cannot be read.
    fn root(&self) -> Result<Node>;

    /// What is in a directory, sorted by the bytes of the names.
    ///
    /// # Errors
    /// The directory cannot be read, or the node is none.
    fn children(&self, directory: &Node) -> Result<Vec<Node>>;

    /// The one thing of that name in a directory.
    ///
    /// # Errors
    /// As of [`children`](Self::children).
    fn child(&self, directory: &Node, name: &[u8]) -> Result<Option<Node>> {
        Ok(self.children(directory)?.into_iter().find(|node| node.name() == name))
    }

    /// The contents of a regular file.
    ///
    /// # Errors
    /// The file cannot be read, or the node is none.
    fn contents(&self, file: &Node) -> Result<Source>;

    /// Where the contents of a regular file are not known to be zero: ranges of bytes, ascending and apart.
    ///
    /// # Errors
    /// As of [`contents`](Self::contents).
    fn stretches(&self, file: &Node) -> Result<Vec<Range<u64>>> {
        Ok(whole(file.metadata.size))
    }

    /// The extended attributes of something, sorted by the bytes of their names.
    ///
    /// # Errors
    /// The node is none of this tree.
    fn extended(&self, _node: &Node) -> Result<Vec<(Vec<u8>, Source)>> {
        Ok(Vec::new())
    }
}

/// The one range of all bytes, or none.
pub fn whole(size: u64) -> Vec<Range<u64>> {
    let all = 0..size;
    (!all.is_empty()).then_some(all).into_iter().collect()
}

/// Sorts nodes by the bytes of their names.
pub fn by_name(a: &Node, b: &Node) -> Ordering {
    a.name().cmp(b.name())
}

/// Finds the node at `path`, following symbolic links on the way and, when `follow` is set, at its end. Absolute links
/// start at the root of the same tree.
///
/// # Errors
/// The tree cannot be read, or too many links follow each other.
pub fn find(tree: &dyn Tree, path: &[u8], follow: bool) -> Result<Option<Node>> {
    let mut ancestors = vec![tree.root()?];
    let mut pending: Vec<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
    pending.reverse();
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == b".." {
            if ancestors.len() > 1 {
                ancestors.pop();
            }
            continue;
        }
        let Some(directory) = ancestors.last().filter(|node| node.is_directory()) else { return Ok(None) };
        let Some(node) = tree.child(directory, &name)? else { return Ok(None) };
        match &node.metadata.target {
            Some(target) if follow || !pending.is_empty() => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(anyhow!("{}: more than {MAX_LINKS} symbolic links", node.shown()))
                        .hint("list the folder with `kiln ls -l` to see where the links lead");
                }
                if target.starts_with(b"/") {
                    ancestors.truncate(1);
                }
                let parts: Vec<&[u8]> = components(target).collect();
                pending.extend(parts.iter().rev().map(|part| part.to_vec()));
            }
            _ => ancestors.push(node),
        }
    }
    Ok(ancestors.pop())
}

/// The names in a path, without empty ones and `.`.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// Keeps a walk from going round in circles in a damaged file system.
#[derive(Debug, Default)]
pub struct Guard {
    entered: HashSet<u64>,
}

impl Guard {
    /// Notes that a directory is entered.
    ///
    /// # Errors
    /// It was entered before, under another name.
    pub fn enter(&mut self, directory: &Node) -> Result<()> {
        if self.entered.insert(directory.handle.identity()) {
            return Ok(());
        }
        Err(anyhow!(
            "the directory {} is the same as another one: the file system is damaged",
            directory.shown()
        ))
        .hint("`kiln verify` lists what is wrong with it")
    }
}

/// Visits a node and everything below it, directories before what is in them. The nodes of a directory come sorted.
///
/// # Errors
/// The tree cannot be read, or the visitor failed.
pub fn walk(tree: &dyn Tree, node: &Node, visit: &mut dyn FnMut(&Node) -> Result<()>) -> Result<()> {
    let mut pending = vec![node.clone()];
    let mut guard = Guard::default();
    while let Some(node) = pending.pop() {
        visit(&node)?;
        if node.is_directory() {
            guard.enter(&node)?;
            let mut children = tree.children(&node)?;
            children.reverse();
            pending.append(&mut children);
        }
    }
    Ok(())
}

/// Bytes of a name for people: UTF-8 as it is, everything that could upset a terminal escaped.
pub fn show(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '\\' {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_upset_a_terminal() {
        assert_eq!(show("añb".as_bytes()), "añb");
        assert_eq!(show(b"a\x1b[1m\n\\\xff"), "a\\u{1b}[1m\\n\\\\\\xff");
    }

    #[test]
    fn paths_are_taken_apart() {
        let parts: Vec<&[u8]> = components(b"//a/./b/../c/").collect();
        assert_eq!(parts, [&b"a"[..], b"b", b"..", b"c"]);
    }
}
