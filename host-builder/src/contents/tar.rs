//! A tar archive as a tree: an index of its headers, and contents read where they are.
//!
//! Unlike [`crate::tarball`], which decides what a build may take from an archive, this shows what is there: devices,
//! links that lead out and odd names too. Nothing is ever unpacked by it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use ::tar::EntryType;
use anyhow::{Context, Result, anyhow, bail};
use positioned_io::ReadAt;

use super::source::{Source, SourceReader};
use super::tree::{self, Kind, Metadata, Node, Tree, components, show};
use crate::tarball::{Entries, Entry, Expanded, Input, Limits, SparseMap};

/// Most things in an archive, counting directories that only paths mention; platforms have some dozen, a whole file
/// system some 100,000.
const MAX_THINGS: usize = 500_000;
/// Largest sum of all their paths and extended attributes in bytes, which bounds what a listing takes.
const MAX_NAMES: usize = 128 << 20;
/// Most stored stretches of all sparse files.
const MAX_STRETCHES: usize = 1 << 20;
/// Sizes are bounded by what a file system can hold: nothing is unpacked here.
const LIMITS: Limits = Limits { file_bytes: 8 << 40, total_bytes: u64::MAX, members: 2_000_000 };

/// Number of the member in the index.
pub type Handle = usize;

/// A tar archive, uncompressed.
#[derive(Debug)]
pub struct TarTree {
    source: Source,
    members: Vec<Member>,
    /// Bytes of all paths and extended attributes, and stretches of all sparse files, so far.
    names: usize,
    stretches: usize,
}

#[derive(Debug)]
struct Member {
    metadata: Metadata,
    contents: Contents,
    /// What a directory holds; the archive's last member of a name counts.
    children: BTreeMap<Vec<u8>, usize>,
    /// Extended attributes.
    extended: BTreeMap<Vec<u8>, Arc<[u8]>>,
}

/// Where the contents of a file are.
#[derive(Clone, Debug, Default)]
struct Contents {
    /// Where the stored bytes start in the archive.
    offset: u64,
    /// How they belong into a file that has holes.
    sparse: Option<Arc<SparseMap>>,
}

impl Member {
    fn directory() -> Member {
        Member {
            metadata: Metadata::blank(Kind::Directory),
            contents: Contents::default(),
            children: BTreeMap::new(),
            extended: BTreeMap::new(),
        }
    }
}

impl Input for SourceReader {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.pass_over(bytes)
    }
}

impl TarTree {
    /// Indexes an archive. Reads headers only.
    ///
    /// # Errors
    /// A header is damaged, the archive ends inside a member, or it claims more than is plausible.
    pub fn open(source: Source) -> Result<Arc<TarTree>> {
        let mut entries = Entries::new(source.reader(), LIMITS);
        let mut tree = TarTree { source, members: vec![Member::directory()], names: 0, stretches: 0 };
        while let Some(entry) = entries.advance()? {
            tree.add(&entry).with_context(|| {
                format!("tar member {} at byte {} ({})", entry.number, entry.offset, show(&entry.name))
            })?;
        }
        Ok(Arc::new(tree))
    }

    fn add(&mut self, entry: &Entry) -> Result<()> {
        let (header, extensions) = (&entry.header, &entry.extensions);
        let mut metadata = Metadata {
            mode: Some(header.mode()? & 0o7777),
            uid: Some(extensions.uid.map_or_else(|| header.uid().map(|uid| uid as u32), Ok)?),
            gid: Some(extensions.gid.map_or_else(|| header.gid().map(|gid| gid as u32), Ok)?),
            mtime: Some(extensions.mtime.map_or_else(|| header.mtime().map(|time| time as i64), Ok)?),
            nanoseconds: extensions.nanoseconds,
            size: entry.map.size(),
            ..Metadata::blank(Kind::File)
        };
        let mut contents = Contents { offset: entry.contents, sparse: None };
        match entry.kind() {
            EntryType::Directory => metadata.kind = Kind::Directory,
            // Old archives mark a directory by nothing but a slash at the end of its name.
            EntryType::Regular if entry.name.ends_with(b"/") => {
                metadata.kind = Kind::Directory;
                metadata.size = 0;
            }
            EntryType::Regular | EntryType::Continuous if entry.map.is_dense() => {}
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.stretches += entry.map.stretches();
                if self.stretches > MAX_STRETCHES {
                    bail!("the sparse files of the archive have more than {MAX_STRETCHES} pieces");
                }
                contents.sparse = Some(Arc::new(entry.map.clone()));
            }
            EntryType::Symlink => {
                let target = entry.target()?;
                metadata.kind = Kind::Symlink;
                metadata.size = target.len() as u64;
                metadata.target = Some(target);
            }
            EntryType::Link => {
                let target = entry.target()?;
                let known = self.find(&target);
                let known = known.filter(|&index| self.members[index].metadata.kind != Kind::Directory);
                let known = known.with_context(|| {
                    format!("a hard link to {}, which the archive has not shown before", show(&target))
                })?;
                return self.link(&entry.name, known);
            }
            EntryType::Char | EntryType::Block => {
                let character = entry.kind() == EntryType::Char;
                metadata.kind = if character { Kind::Character } else { Kind::Block };
                let without = "a device without numbers";
                // The header has no room for large ones.
                let major = extensions.major.map_or_else(|| header.device_major(), |major| Ok(Some(major)));
                let minor = extensions.minor.map_or_else(|| header.device_minor(), |minor| Ok(Some(minor)));
                metadata.device = Some((major?.context(without)?, minor?.context(without)?));
            }
            EntryType::Fifo => metadata.kind = Kind::Fifo,
            _ => metadata.kind = Kind::Other,
        }
        if metadata.kind != Kind::Directory {
            metadata.links = Some(1);
        }
        let bytes: usize = extensions.extended.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.names += bytes;
        let extended = extensions.extended.iter();
        let extended = extended.map(|(name, value)| (name.clone(), Arc::from(value.as_slice()))).collect();
        self.insert(&entry.name, Member { metadata, contents, extended, children: BTreeMap::new() })
    }

    fn find(&self, path: &[u8]) -> Option<usize> {
        components(path).try_fold(0, |at, name| self.members[at].children.get(name).copied())
    }

    /// Puts a member where its path says. What has that name already is replaced; only a directory keeps what is in it.
    fn insert(&mut self, path: &[u8], member: Member) -> Result<()> {
        let Some((directory, name)) = self.place(path)? else {
            // The archive's own root.
            if member.metadata.kind == Kind::Directory {
                self.members[0].metadata = member.metadata;
                self.members[0].extended = member.extended;
            }
            return Ok(());
        };
        let before = self.members[directory].children.get(&name).copied();
        if let Some(before) = before.map(|index| &mut self.members[index])
            && before.metadata.kind == Kind::Directory
            && member.metadata.kind == Kind::Directory
        {
            before.metadata = member.metadata;
            before.extended = member.extended;
            return Ok(());
        }
        self.unlink(before);
        let index = self.push(member, path.len())?;
        self.members[directory].children.insert(name, index);
        Ok(())
    }

    /// Gives a member another name.
    fn link(&mut self, path: &[u8], member: usize) -> Result<()> {
        let Some((directory, name)) = self.place(path)? else { bail!("a hard link without a name") };
        let before = self.members[directory].children.get(&name).copied();
        if before == Some(member) {
            return Ok(());
        }
        self.unlink(before);
        self.names += path.len();
        if self.names > MAX_NAMES {
            bail!("the archive has more than {MAX_NAMES} bytes of names and attributes");
        }
        self.members[directory].children.insert(name, member);
        if let Some(links) = &mut self.members[member].metadata.links {
            *links += 1;
        }
        Ok(())
    }

    /// Notes that a member lost a name.
    fn unlink(&mut self, member: Option<usize>) {
        if let Some(links) = member.and_then(|index| self.members[index].metadata.links.as_mut()) {
            *links -= 1;
        }
    }

    /// The directory that a path leads to and the name in it; `None` for the archive's own root. Directories on the way
    /// that the archive does not list are made up; `..` is kept as a name, so that a hostile member stays visible and
    /// harmless.
    fn place(&mut self, path: &[u8]) -> Result<Option<(usize, Vec<u8>)>> {
        let mut names: Vec<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
        let Some(last) = names.pop() else { return Ok(None) };
        let mut at = 0;
        let mut length = 0;
        for name in names {
            length += 1 + name.len();
            at = match self.members[at].children.get(&name).copied() {
                Some(index) if self.members[index].metadata.kind == Kind::Directory => index,
                // What was no directory and has something in it now is one.
                before => {
                    self.unlink(before);
                    let index = self.push(Member::directory(), length)?;
                    self.members[at].children.insert(name, index);
                    index
                }
            };
        }
        Ok(Some((at, last)))
    }

    /// Adds a member whose path has so many bytes.
    fn push(&mut self, member: Member, path: usize) -> Result<usize> {
        let index = self.members.len();
        self.names += path;
        if index > MAX_THINGS || self.names > MAX_NAMES {
            bail!(
                "the archive has more than {MAX_THINGS} members or {MAX_NAMES} bytes of names and attributes"
            );
        }
        self.members.push(member);
        Ok(index)
    }

    fn node(&self, path: Vec<u8>, index: usize) -> Node {
        Node { path, metadata: self.members[index].metadata.clone(), handle: tree::Handle::Tar(index) }
    }

    fn member(&self, node: &Node) -> Result<&Member> {
        match node.handle {
            tree::Handle::Tar(index) => self.members.get(index),
            _ => None,
        }
        .ok_or_else(|| anyhow!("{} is not in this archive", node.shown()))
    }
}

impl Tree for TarTree {
    fn root(&self) -> Result<Node> {
        Ok(self.node(Vec::new(), 0))
    }

    fn children(&self, directory: &Node) -> Result<Vec<Node>> {
        let children = &self.member(directory)?.children;
        Ok(children.iter().map(|(name, &index)| self.node(directory.join(name), index)).collect())
    }

    fn child(&self, directory: &Node, name: &[u8]) -> Result<Option<Node>> {
        let children = &self.member(directory)?.children;
        Ok(children.get(name).map(|&index| self.node(directory.join(name), index)))
    }

    fn contents(&self, file: &Node) -> Result<Source> {
        let member = self.member(file)?;
        if member.metadata.kind != Kind::File {
            bail!("{} is a {}, not a file", file.shown(), member.metadata.kind.name());
        }
        let Contents { offset, sparse } = &member.contents;
        Ok(match sparse {
            None => self.source.slice(*offset, member.metadata.size),
            Some(map) => {
                let stored = self.source.slice(*offset, map.stored());
                Source::new(Expanded::new(SparseMap::clone(map), stored), map.size())
            }
        })
    }

    fn stretches(&self, file: &Node) -> Result<Vec<Range<u64>>> {
        let member = self.member(file)?;
        Ok(match &member.contents.sparse {
            Some(map) => map.ranges().collect(),
            None => tree::whole(member.metadata.size),
        })
    }

    fn extended(&self, node: &Node) -> Result<Vec<(Vec<u8>, Source)>> {
        let extended = self.member(node)?.extended.iter();
        Ok(extended
            .map(|(name, value)| (name.clone(), Source::new(Bytes(Arc::clone(value)), value.len() as u64)))
            .collect())
    }
}

/// Bytes in memory that nodes share.
struct Bytes(Arc<[u8]>);

impl ReadAt for Bytes {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::tar::{Builder, Header};

    fn header(kind: EntryType, path: &str, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_gid(70_000);
        header.set_mtime(1_000);
        header.set_cksum();
        header
    }

    fn open(bytes: Vec<u8>) -> Result<Arc<TarTree>> {
        let size = bytes.len() as u64;
        TarTree::open(Source::new(bytes, size))
    }

    fn listing(tree: &TarTree) -> Vec<String> {
        let mut lines = Vec::new();
        tree::walk(tree, &tree.root().unwrap(), &mut |node| {
            lines.push(format!("{} {}", node.metadata.kind.letter(), node.shown()));
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn everything_in_an_archive_is_shown() {
        let mut builder = Builder::new(Vec::new());
        builder.append(&header(EntryType::Regular, "./a/file", 5), &b"hello"[..]).unwrap();
        let mut link = header(EntryType::Symlink, "a/link", 0);
        link.set_link_name_literal("/abs/olute").unwrap();
        link.set_cksum();
        builder.append(&link, &b""[..]).unwrap();
        let mut hard = header(EntryType::Link, "b", 0);
        hard.set_link_name_literal("a/file").unwrap();
        hard.set_cksum();
        builder.append(&hard, &b""[..]).unwrap();
        let mut device = header(EntryType::Char, "../null", 0);
        device.set_device_major(1).unwrap();
        device.set_device_minor(3).unwrap();
        device.set_cksum();
        builder.append(&device, &b""[..]).unwrap();
        let long = format!("dir/{}", "n".repeat(200));
        builder.append_data(&mut header(EntryType::Regular, "x", 3), &long, &b"abc"[..]).unwrap();

        let tree = open(builder.into_inner().unwrap()).unwrap();
        let long_line = format!("- /{long}");
        assert_eq!(
            listing(&tree),
            [
                "d /",
                "d /..",
                "c /../null",
                "d /a",
                "- /a/file",
                "l /a/link",
                "- /b",
                "d /dir",
                long_line.as_str()
            ]
        );
        let file = tree::find(&*tree, b"/b", false).unwrap().unwrap();
        assert_eq!(tree.contents(&file).unwrap().head(10).unwrap(), b"hello");
        let metadata = &file.metadata;
        assert_eq!((metadata.mode, metadata.uid, metadata.gid), (Some(0o640), Some(7), Some(70_000)));
        let link = tree::find(&*tree, b"/a/link", false).unwrap().unwrap();
        assert_eq!(link.metadata.target.as_deref(), Some(&b"/abs/olute"[..]));
        assert!(tree::find(&*tree, b"/a/link", true).unwrap().is_none());
    }

    #[test]
    fn links_that_chase_each_other_end_in_an_error() {
        let mut builder = Builder::new(Vec::new());
        for (name, target) in [("a", "b"), ("b", "./a")] {
            let mut link = header(EntryType::Symlink, name, 0);
            link.set_link_name_literal(target).unwrap();
            link.set_cksum();
            builder.append(&link, &b""[..]).unwrap();
        }
        let tree = open(builder.into_inner().unwrap()).unwrap();
        let error = tree::find(&*tree, b"/a", true).unwrap_err();
        assert!(error.to_string().contains("more than 40 symbolic links"), "{error}");
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let mut builder = Builder::new(Vec::new());
        builder.append(&header(EntryType::Regular, "a", 700), &[1; 700][..]).unwrap();
        builder.append(&header(EntryType::Regular, "b", 0), &b""[..]).unwrap();
        let bytes = builder.into_inner().unwrap();

        let mut flipped = bytes.clone();
        flipped[1536] ^= 1;
        let error = format!("{:#}", open(flipped).unwrap_err());
        assert!(
            error.starts_with("tar member 2 at byte 1536: no tar header here: the checksum is wrong"),
            "{error}"
        );

        let error = format!("{:#}", open(bytes[..1000].to_vec()).unwrap_err());
        assert!(error.contains("the archive ends inside a member"), "{error}");
        let huge = header(EntryType::GNULongName, "x", 1 << 60).as_bytes().to_vec();
        assert!(open(huge).is_err());
    }
}
