//! A ZFS file system from streams, as a tree.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use kiln_zstream::fs::objects::{DeviceStore, Object, Store, StreamInfo};
use kiln_zstream::fs::tree::{Device, Kind as NodeKind, NodeId};
use kiln_zstream::fs::{self, FileSystem, Finding, Objects};
use positioned_io::ReadAt;
use serde::Serialize;

use super::source::Source;
use super::tree::{self, Kind, Metadata, Node, Tree};
use crate::report::Hint;

/// The folder of a zone's dataset that the zone sees as `/` (source: smartos-live, src/vm).
pub const ZONE_ROOT: &[u8] = b"root";

/// Number of the node.
pub type Handle = NodeId;

/// Largest block in bytes that is kept when the contents of large files are of no interest. A file of that size has no
/// other.
const SMALL: usize = 1024;

/// Whose contents are kept while a stream is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Those of all files.
    #[default]
    All,
    /// Those of files of up to 1 KiB, as are those that say what an image is. Reading others is an error.
    Small,
}

/// The blocks of files, in a temporary file.
#[derive(Debug)]
pub struct Blocks {
    device: DeviceStore<File>,
    largest: usize,
}

impl Blocks {
    /// No blocks yet, and an empty file for them.
    pub fn new(file: File, keep: Keep) -> Blocks {
        let largest = match keep {
            Keep::All => usize::MAX,
            Keep::Small => SMALL,
        };
        Blocks { device: DeviceStore::new(file), largest }
    }
}

impl Store for Blocks {
    fn keep(&mut self, block: &[u8]) -> io::Result<Option<u64>> {
        if block.len() > self.largest {
            return Ok(None);
        }
        // Place 0 stands for blocks that are not there.
        Ok(self.device.keep(block)?.map(|place| place + 1))
    }

    fn fetch(&self, at: u64, block: &mut [u8]) -> io::Result<()> {
        match at.checked_sub(1) {
            Some(place) => self.device.fetch(place, block),
            None => Err(io::Error::other("the contents of this file were not kept")),
        }
    }
}

/// The image of a snapshot on which another builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file that was named.
    pub path: PathBuf,
    /// GUID of its snapshot.
    pub guid: u64,
}

/// A file system as streams made it.
pub struct Dataset {
    /// What the last stream says about itself.
    pub info: StreamInfo,
    /// What is under it, the oldest first.
    pub origins: Vec<Origin>,
    /// What a receiver would take and then die of or stumble over; empty unless it was asked for.
    pub findings: Vec<Finding>,
    tree: Result<Arc<DatasetTree>, fs::ReadError>,
}

impl Dataset {
    /// The file system that these objects are, `info` being what the last stream said. With `check`, its defects are
    /// listed.
    pub fn new(objects: Objects<Blocks>, info: StreamInfo, origins: Vec<Origin>, check: bool) -> Dataset {
        let findings = if check { fs::check(&objects) } else { Vec::new() };
        Dataset {
            info,
            origins,
            findings,
            tree: fs::read(objects).map(|system| Arc::new(DatasetTree::new(system))),
        }
    }

    /// Its files.
    ///
    /// # Errors
    /// The file system is damaged.
    pub fn tree(&self) -> Result<Arc<DatasetTree>> {
        let tree = self.tree.as_ref().map(Arc::clone).map_err(Clone::clone);
        tree.context("the file system in the stream is damaged")
            .hint("`kiln verify` lists what is wrong with it")
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("info", &self.info)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}

/// What a file system amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Objects, those that are no files included.
    pub objects: u64,
    /// Regular files, each counted once however many names it has.
    pub files: u64,
    /// Folders, the top one included.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices, pipes, sockets and doors.
    pub specials: u64,
    /// Names beyond the first of what is no folder.
    pub further_names: u64,
    /// Things that have extended attributes.
    pub with_attributes: u64,
    /// Bytes in all files.
    pub bytes: u64,
    /// Of these, bytes in blocks that are not stored because they are zero.
    #[serde(rename = "hole_bytes")]
    pub holes: u64,
}

/// The files of a file system.
pub struct DatasetTree {
    system: Arc<FileSystem<Blocks>>,
    /// How many names each node has, by its number.
    links: Vec<u32>,
}

impl DatasetTree {
    fn new(system: FileSystem<Blocks>) -> DatasetTree {
        let mut links = vec![0; system.tree.len()];
        for step in system.tree.walk() {
            links[step.node.index()] += 1;
        }
        DatasetTree { system: Arc::new(system), links }
    }

    /// The version of the file system, 1 to 5.
    pub fn version(&self) -> u64 {
        self.system.version
    }

    /// Counts what there is.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            objects: self.system.objects.iter().count() as u64,
            directories: 1,
            ..Totals::default()
        };
        let mut met = vec![false; self.links.len()];
        for step in self.system.tree.walk() {
            if std::mem::replace(&mut met[step.node.index()], true) {
                totals.further_names += 1;
                continue;
            }
            let node = self.system.tree.node(step.node);
            totals.with_attributes += u64::from(!node.extended.is_empty());
            match &node.kind {
                NodeKind::Directory(_) => totals.directories += 1,
                NodeKind::Symlink(_) => totals.symlinks += 1,
                NodeKind::File(content) => {
                    totals.files += 1;
                    totals.bytes = totals.bytes.saturating_add(content.size());
                    let stored = self.object(step.node).map_or(0, |object| stored(object, content.size()));
                    totals.holes = totals.holes.saturating_add(content.size() - stored);
                }
                _ => totals.specials += 1,
            }
        }
        totals
    }

    fn node(&self, path: Vec<u8>, id: NodeId) -> Node {
        let node = self.system.tree.node(id);
        let attributes = &node.attributes;
        let numbers = |device: &Device| Some((device.major, device.minor));
        let (kind, size, target, device) = match &node.kind {
            // As illumos counts: with the two entries that are not stored.
            NodeKind::Directory(entries) => (Kind::Directory, entries.len() as u64 + 2, None, None),
            NodeKind::File(content) => (Kind::File, content.size(), None, None),
            NodeKind::Symlink(target) => (Kind::Symlink, target.len() as u64, Some(target.clone()), None),
            NodeKind::CharacterDevice(device) => (Kind::Character, 0, None, numbers(device)),
            NodeKind::BlockDevice(device) => (Kind::Block, 0, None, numbers(device)),
            NodeKind::Fifo => (Kind::Fifo, 0, None, None),
            NodeKind::Socket => (Kind::Socket, 0, None, None),
            NodeKind::Door => (Kind::Door, 0, None, None),
        };
        let metadata = Metadata {
            kind,
            mode: Some(attributes.permissions.into()),
            uid: Some(attributes.uid),
            gid: Some(attributes.gid),
            size,
            mtime: Some(attributes.modified.seconds),
            nanoseconds: attributes.modified.nanoseconds,
            target,
            device,
            links: (kind != Kind::Directory).then(|| self.links[id.index()]),
        };
        Node { path, metadata, handle: tree::Handle::Dataset(id) }
    }

    fn object(&self, id: NodeId) -> Option<&Object> {
        self.system.objects.get(self.system.object_of(id))
    }
}

/// The node of this tree that a node is.
fn id_of(node: &Node) -> Result<NodeId> {
    match node.handle {
        tree::Handle::Dataset(id) => Ok(id),
        _ => Err(anyhow!("{} is not in this file system", node.shown())),
    }
}

/// How many of the first `size` bytes are in blocks that are stored.
fn stored(object: &Object, size: u64) -> u64 {
    let block = u64::from(object.block_size);
    object.offsets().take_while(|&offset| offset < size).map(|offset| block.min(size - offset)).sum()
}

impl Tree for DatasetTree {
    fn root(&self) -> Result<Node> {
        Ok(self.node(Vec::new(), self.system.tree.root()))
    }

    fn children(&self, directory: &Node) -> Result<Vec<Node>> {
        let entries = self.system.tree.entries(id_of(directory)?);
        Ok(entries.map(|(name, id)| self.node(directory.join(name), id)).collect())
    }

    fn child(&self, directory: &Node, name: &[u8]) -> Result<Option<Node>> {
        let id = match &self.system.tree.node(id_of(directory)?).kind {
            NodeKind::Directory(entries) => entries.get(name).copied(),
            _ => None,
        };
        Ok(id.map(|id| self.node(directory.join(name), id)))
    }

    fn contents(&self, file: &Node) -> Result<Source> {
        let id = id_of(file)?;
        if !file.is_file() {
            bail!("{} is a {}, not a file", file.shown(), file.metadata.kind.name());
        }
        let contents = Contents {
            system: Arc::clone(&self.system),
            object: self.system.object_of(id),
            last: Mutex::new(Last { offset: None, block: Vec::new() }),
        };
        Ok(Source::new(contents, file.metadata.size))
    }

    fn stretches(&self, file: &Node) -> Result<Vec<Range<u64>>> {
        let size = file.metadata.size;
        let Some(object) = self.object(id_of(file)?) else { return Ok(Vec::new()) };
        let block = u64::from(object.block_size);
        let mut stretches: Vec<Range<u64>> = Vec::new();
        for offset in object.offsets().take_while(|&offset| offset < size) {
            let end = offset.saturating_add(block).min(size);
            match stretches.last_mut() {
                Some(last) if last.end == offset => last.end = end,
                _ => stretches.push(offset..end),
            }
        }
        Ok(stretches)
    }

    fn extended(&self, node: &Node) -> Result<Vec<(Vec<u8>, Source)>> {
        let extended = &self.system.tree.node(id_of(node)?).extended;
        Ok(extended
            .iter()
            .map(|(name, content)| (name.clone(), Source::new(Value(Arc::clone(content)), content.size())))
            .collect())
    }
}

/// A file of the file system, read in place.
struct Contents {
    system: Arc<FileSystem<Blocks>>,
    object: u64,
    /// Small pieces, such as the headers of an archive, are read from one block again and again.
    last: Mutex<Last>,
}

struct Last {
    /// Where the block belongs in the file; `None` before the first and after an error.
    offset: Option<u64>,
    block: Vec<u8>,
}

impl ReadAt for Contents {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let objects = &self.system.objects;
        let gone = || io::Error::other("the file's object is not there");
        let object = objects.get(self.object).ok_or_else(gone)?;
        let size = u64::from(object.block_size);
        let into = offset.checked_rem(size).ok_or_else(gone)?;
        let start = offset - into;
        let length = usize::try_from(size - into).map_or(buffer.len(), |left| left.min(buffer.len()));
        if !object.has(start) {
            buffer[..length].fill(0);
            return Ok(length);
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Last { offset: known, block } = &mut *last;
        if *known != Some(start) {
            *known = None;
            objects.read(object, start, block)?;
            *known = Some(start);
        }
        buffer[..length].copy_from_slice(&block[into as usize..][..length]);
        Ok(length)
    }
}

/// The value of an extended attribute. They are short, and found only through the object that the tree keeps to itself.
struct Value(Arc<dyn fs::tree::Content>);

impl ReadAt for Value {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.0.size().min(offset.saturating_add(buffer.len() as u64));
        let length = end.saturating_sub(offset) as usize;
        buffer[..length].fill(0);
        self.0.give(&mut |at, piece| {
            // What both have of the file.
            let (from, to) = (at.max(offset), (at + piece.len() as u64).min(end));
            if from < to {
                let source = &piece[(from - at) as usize..(to - at) as usize];
                buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
            }
            Ok(())
        })?;
        Ok(length)
    }
}
