//! A tar archive as a tree: an index of its headers, and contents read where they are.
//!
//! Unlike [`crate::tarball`], which decides what a build may take from an archive, this shows what is there: devices,
//! links that lead out and odd names too. Nothing is ever unpacked by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use ::tar::{EntryType, Header, PaxExtensions};
use anyhow::{Context, Result, anyhow, bail};
use positioned_io::ReadAt as _;

use super::source::{Source, is_zero};
use super::tree::{self, Kind, Metadata, Node, Tree, components, show};

/// Bytes of a tar block.
const BLOCK: u64 = 512;
/// Most members that an archive is indexed for; platforms have some dozen, a whole file system some 100,000.
const MAX_MEMBERS: usize = 2_000_000;
/// Longest extension record (a long name or a set of pax attributes), in bytes.
const MAX_EXTENSION: u64 = 1 << 20;

/// Number of the member in the index.
pub type Handle = usize;

/// A tar archive, uncompressed.
#[derive(Debug)]
pub struct TarTree {
    source: Source,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    metadata: Metadata,
    /// Where the contents start.
    offset: u64,
    /// What a directory holds; the archive's last member of a name counts.
    children: BTreeMap<Vec<u8>, usize>,
}

impl Member {
    fn directory() -> Member {
        Member { metadata: blank(Kind::Directory), offset: 0, children: BTreeMap::new() }
    }
}

fn blank(kind: Kind) -> Metadata {
    Metadata { kind, mode: None, uid: None, gid: None, size: 0, mtime: None, target: None, device: None }
}

/// Whether bytes begin like a tar archive: a header whose checksum holds.
pub fn is_header(bytes: &[u8]) -> bool {
    let Some(block) = bytes.get(..BLOCK as usize) else { return false };
    !is_zero(block) && checksum_holds(block)
}

fn checksum_holds(block: &[u8]) -> bool {
    let unsigned = |sum: u32, byte: &u8| sum + u32::from(*byte);
    let sum = block[..148].iter().chain(&block[156..]).fold(8 * u32::from(b' '), unsigned);
    Header::from_byte_slice(block).cksum().is_ok_and(|stored| stored == sum)
}

/// What extension records say about the member behind them.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
}

impl TarTree {
    /// Indexes an archive. Reads headers only.
    ///
    /// # Errors
    /// A header is damaged, or the archive ends inside a member.
    pub fn open(source: Source) -> Result<Arc<TarTree>> {
        let mut tree = TarTree { source, members: vec![Member::directory()] };
        let mut extension = Extension::default();
        let mut offset = 0;
        let mut block = [0; BLOCK as usize];
        while offset < tree.source.size() {
            let place = || format!("tar header at byte {offset}");
            tree.source.read_exact_at(offset, &mut block).with_context(place)?;
            if is_zero(&block) {
                break;
            }
            if !checksum_holds(&block) {
                bail!("{}: the checksum is wrong, so the archive is damaged here", place());
            }
            let header = Header::from_byte_slice(&block);
            let contents = offset + BLOCK;
            let kind = header.entry_type();
            let has_contents = !matches!(
                kind,
                EntryType::Link
                    | EntryType::Symlink
                    | EntryType::Char
                    | EntryType::Block
                    | EntryType::Fifo
                    | EntryType::Directory
            );
            let claimed = header.entry_size().with_context(place)?;
            let size = extension.size.filter(|_| !is_extension(kind)).unwrap_or(claimed);
            // A directory may claim a size, which stands for nothing that follows.
            let stored = if has_contents { size } else { 0 };
            if stored > tree.source.size() - contents.min(tree.source.size()) {
                bail!("{}: claims {stored} bytes, more than the archive has left", place());
            }
            if is_extension(kind) {
                if stored > MAX_EXTENSION {
                    bail!("{}: an extension record of {stored} bytes is beyond reason", place());
                }
                let mut data = vec![0; stored as usize];
                tree.source.read_exact_at(contents, &mut data).with_context(place)?;
                extension.take(kind, data).with_context(place)?;
            } else {
                let extension = std::mem::take(&mut extension);
                tree.add(header, extension, contents, stored).with_context(place)?;
            }
            offset = contents + stored.div_ceil(BLOCK) * BLOCK;
        }
        Ok(Arc::new(tree))
    }

    fn add(&mut self, header: &Header, extension: Extension, offset: u64, size: u64) -> Result<()> {
        if self.members.len() >= MAX_MEMBERS {
            bail!("the archive has more than {MAX_MEMBERS} members");
        }
        let path = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = || -> Result<Vec<u8>> {
            let link = extension.link.clone().or_else(|| Some(header.link_name_bytes()?.into_owned()));
            link.with_context(|| format!("{}: a link without a target", show(&path)))
        };
        let mut metadata = Metadata {
            mode: Some(header.mode()? & 0o7777),
            uid: Some(extension.uid.map_or_else(|| header.uid().map(|uid| uid as u32), Ok)?),
            gid: Some(extension.gid.map_or_else(|| header.gid().map(|gid| gid as u32), Ok)?),
            mtime: Some(extension.mtime.map_or_else(|| header.mtime().map(|time| time as i64), Ok)?),
            size,
            ..blank(Kind::File)
        };
        let mut contents = offset;
        match header.entry_type() {
            EntryType::Directory => metadata.kind = Kind::Directory,
            // Old archives mark a directory by nothing but a slash at the end of its name.
            EntryType::Regular if path.ends_with(b"/") => metadata.kind = Kind::Directory,
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Symlink => {
                let target = link()?;
                metadata.kind = Kind::Symlink;
                metadata.size = target.len() as u64;
                metadata.target = Some(target);
            }
            EntryType::Link => {
                let target = link()?;
                let known = self.find(&target).map(|index| &self.members[index]);
                let known = known.filter(|member| member.metadata.kind != Kind::Directory);
                let known = known.with_context(|| {
                    format!(
                        "{}: a hard link to {}, which the archive has not shown before",
                        show(&path),
                        show(&target)
                    )
                })?;
                metadata = known.metadata.clone();
                contents = known.offset;
            }
            EntryType::Char | EntryType::Block => {
                let character = header.entry_type() == EntryType::Char;
                metadata.kind = if character { Kind::Character } else { Kind::Block };
                let number = |part: Option<u32>| part.context("a device without numbers");
                metadata.device = Some((number(header.device_major()?)?, number(header.device_minor()?)?));
            }
            EntryType::Fifo => metadata.kind = Kind::Fifo,
            _ => metadata.kind = Kind::Other,
        }
        self.insert(&path, metadata, contents);
        Ok(())
    }

    fn find(&self, path: &[u8]) -> Option<usize> {
        components(path).try_fold(0, |at, name| self.members[at].children.get(name).copied())
    }

    /// Puts a member where its path says. Directories on the way that the archive does not list are made up; `..` is
    /// kept as a name, so that a hostile member stays visible and harmless.
    fn insert(&mut self, path: &[u8], metadata: Metadata, offset: u64) {
        let mut at = 0;
        for name in components(path) {
            let new = self.members.len();
            at = *self.members[at].children.entry(name.to_vec()).or_insert(new);
            if at == new {
                self.members.push(Member::directory());
            }
        }
        // A member that comes again replaces the first, and a directory keeps what is in it.
        let member = &mut self.members[at];
        member.metadata = metadata;
        member.offset = offset;
        if member.metadata.kind != Kind::Directory {
            member.children.clear();
        }
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
    fn format(&self) -> &'static str {
        "tar"
    }

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
        Ok(self.source.slice(member.offset, member.metadata.size))
    }
}

fn is_extension(kind: EntryType) -> bool {
    kind.is_gnu_longname()
        || kind.is_gnu_longlink()
        || kind.is_pax_local_extensions()
        || kind.is_pax_global_extensions()
        // Solaris' own extended headers have the form of pax records.
        || kind.as_byte() == b'X'
}

impl Extension {
    fn take(&mut self, kind: EntryType, mut data: Vec<u8>) -> Result<()> {
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            while data.last() == Some(&0) {
                data.pop();
            }
            let field = if kind.is_gnu_longname() { &mut self.path } else { &mut self.link };
            *field = Some(data);
            return Ok(());
        }
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        for record in PaxExtensions::new(&data) {
            let record = record?;
            let value = record.value_bytes();
            let text = record.value().unwrap_or_default();
            match record.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(text.parse().context("a pax size that is no number")?),
                b"uid" => self.uid = Some(text.parse().context("a pax owner that is no number")?),
                b"gid" => self.gid = Some(text.parse().context("a pax group that is no number")?),
                b"mtime" => {
                    let seconds = text.split('.').next().unwrap_or_default();
                    self.mtime = Some(seconds.parse().context("a pax time that is no number")?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::tar::Builder;

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
        assert!(error.starts_with("tar header at byte 1536: the checksum is wrong"), "{error}");

        let error = format!("{:#}", open(bytes[..1000].to_vec()).unwrap_err());
        assert!(error.contains("claims 700 bytes"), "{error}");
        let huge = header(EntryType::GNULongName, "x", 1 << 60).as_bytes().to_vec();
        assert!(open(huge).is_err());
    }
}
