//! A FAT32 volume as a tree. Names are found without regard to case, as the guest's own driver does.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use kiln_bootdisk::fat32::{DirEntry, FileReader, Volume};

use super::source::Source;
use super::tree::{self, Kind, Metadata, Node, Tree, by_name};
use crate::report::Hint;

/// What the volume knows about a file or directory.
pub type Handle = DirEntry;

/// A FAT32 volume, read only.
pub struct FatTree {
    volume: Volume<Source>,
    source: Source,
}

impl FatTree {
    /// Opens the volume that starts at byte 0 of `source`.
    ///
    /// # Errors
    /// It is no FAT32, or damaged.
    pub fn open(source: Source) -> Result<Arc<FatTree>> {
        let volume = Volume::open(source.clone(), 0)
            .hint("kiln reads FAT32 alone, which is what SmartOS guests find their files on")?;
        Ok(Arc::new(FatTree { volume, source }))
    }

    /// The volume itself.
    pub fn volume(&self) -> &Volume<Source> {
        &self.volume
    }

    /// Where a file lies: offset from the start of the volume and length of each piece, in bytes.
    ///
    /// # Errors
    /// The node is no file of this volume, or its clusters are damaged.
    pub fn extents(&self, file: &Node) -> Result<Vec<(u64, u64)>> {
        Ok(self.volume.extents(entry_of(file)?)?)
    }
}

fn entry_of(node: &Node) -> Result<&DirEntry> {
    match &node.handle {
        tree::Handle::Fat(entry) => Ok(entry),
        _ => Err(anyhow!("{} is not on this volume", node.shown())),
    }
}

fn node(path: Vec<u8>, entry: DirEntry) -> Node {
    let kind = if entry.is_directory() { Kind::Directory } else { Kind::File };
    // The root has no entry of its own that could hold a time.
    let mtime = (!path.is_empty()).then_some(entry.modified);
    let metadata = Metadata { size: u64::from(entry.size), mtime, ..Metadata::blank(kind) };
    Node { path, metadata, handle: tree::Handle::Fat(entry) }
}

impl Tree for FatTree {
    fn root(&self) -> Result<Node> {
        Ok(node(Vec::new(), self.volume.root()))
    }

    fn children(&self, directory: &Node) -> Result<Vec<Node>> {
        let entries = self.volume.list(entry_of(directory)?)?;
        let mut nodes: Vec<Node> =
            entries.into_iter().map(|entry| node(directory.join(entry.name.as_bytes()), entry)).collect();
        nodes.sort_by(by_name);
        Ok(nodes)
    }

    fn child(&self, directory: &Node, name: &[u8]) -> Result<Option<Node>> {
        let Ok(wanted) = std::str::from_utf8(name) else { return Ok(None) };
        let folded = wanted.to_lowercase();
        let same = |name: &str| name.to_lowercase() == folded;
        let entries = self.volume.list(entry_of(directory)?)?;
        let found = entries
            .iter()
            .find(|entry| entry.name == wanted)
            .or_else(|| entries.iter().find(|entry| same(&entry.name) || same(&entry.short_name)));
        // The path tells the name as it is stored, because boot loaders mind the case.
        Ok(found.map(|entry| node(directory.join(entry.name.as_bytes()), entry.clone())))
    }

    fn contents(&self, file: &Node) -> Result<Source> {
        if !file.is_file() {
            bail!("{} is a directory, not a file", file.shown());
        }
        let extents = self.extents(file)?;
        if let [(offset, length)] = extents[..] {
            return Ok(self.source.slice(offset, length));
        }
        Ok(Source::new(FileReader::new(self.source.clone(), extents), file.metadata.size))
    }
}
