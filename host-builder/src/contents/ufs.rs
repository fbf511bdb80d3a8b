//! A UFS as a tree.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use kiln_ufs::{ErrorKind, FileSystem, FileType, Statistics};
use positioned_io::ReadAt;

use super::source::Source;
use super::tree::{self, Kind, Metadata, Node, Tree, by_name, show};
use crate::report::Hint;

/// Number of the inode.
pub type Handle = u32;

type Shared = Arc<Mutex<FileSystem<Source>>>;

/// A UFS, read only.
#[derive(Debug)]
pub struct UfsTree {
    system: Shared,
}

impl UfsTree {
    /// Opens the file system that starts at byte 0 of `source`.
    ///
    /// # Errors
    /// It is damaged, dirty, or of a kind that SmartOS does not use.
    pub fn open(source: Source) -> Result<Arc<UfsTree>> {
        let size = source.size();
        let system = FileSystem::open(source, size).map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::Dirty | ErrorKind::Logging | ErrorKind::StaleSummary => {
                    "let fsck of a SmartOS machine repair it, or take the archive from the platform again"
                }
                ErrorKind::BigEndian => "SPARC archives cannot be used; SmartOS platforms are little-endian",
                _ => "`kiln verify` lists what is wrong with it",
            };
            Err::<(), _>(error).hint(remedy).unwrap_err()
        })?;
        Ok(Arc::new(UfsTree { system: Arc::new(Mutex::new(system)) }))
    }

    /// Sizes and free space.
    pub fn statistics(&self) -> Statistics {
        self.lock().statistics()
    }

    fn lock(&self) -> MutexGuard<'_, FileSystem<Source>> {
        lock(&self.system)
    }

    fn node(&self, path: Vec<u8>) -> Result<Node> {
        let system = self.lock();
        let inner: &[u8] = if path.is_empty() { b"/" } else { &path };
        let found = system.symlink_metadata(inner).hint("`kiln verify` lists what is wrong with it")?;
        let kind = match found.kind {
            FileType::Regular => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::BlockDevice => Kind::Block,
            FileType::CharacterDevice => Kind::Character,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => Kind::Socket,
            _ => Kind::Other,
        };
        let target = match kind {
            Kind::Symlink => Some(system.read_link(inner)?),
            _ => None,
        };
        let metadata = Metadata {
            kind,
            mode: Some(found.mode.into()),
            uid: Some(found.uid),
            gid: Some(found.gid),
            size: found.size,
            mtime: Some(found.modified.seconds.into()),
            nanoseconds: u32::try_from(found.modified.microseconds).map_or(0, |micro| micro * 1000),
            target,
            device: found.device,
            links: (kind != Kind::Directory).then_some(found.nlink),
        };
        Ok(Node { path, metadata, handle: tree::Handle::Ufs(found.ino) })
    }
}

/// A panic elsewhere cannot have left anything half done in a file system that is only read.
fn lock(system: &Mutex<FileSystem<Source>>) -> MutexGuard<'_, FileSystem<Source>> {
    system.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tree for UfsTree {
    fn root(&self) -> Result<Node> {
        self.node(Vec::new())
    }

    fn children(&self, directory: &Node) -> Result<Vec<Node>> {
        let inner: &[u8] = if directory.path.is_empty() { b"/" } else { &directory.path };
        let entries = self.lock().read_dir(inner)?;
        let child = |name: &[u8]| {
            self.node(directory.join(name))
                .with_context(|| format!("cannot read {}", show(&directory.join(name))))
        };
        let mut nodes = entries.iter().map(|entry| child(&entry.name)).collect::<Result<Vec<_>>>()?;
        nodes.sort_by(by_name);
        Ok(nodes)
    }

    fn child(&self, directory: &Node, name: &[u8]) -> Result<Option<Node>> {
        let path = directory.join(name);
        let absent =
            matches!(self.lock().symlink_metadata(&path), Err(error) if error.kind() == ErrorKind::NotFound);
        if absent { Ok(None) } else { self.node(path).map(Some) }
    }

    fn contents(&self, file: &Node) -> Result<Source> {
        let tree::Handle::Ufs(inode) = file.handle else {
            return Err(anyhow!("{} is not in this file system", file.shown()));
        };
        if !file.is_file() {
            bail!("{} is a {}, not a file", file.shown(), file.metadata.kind.name());
        }
        Ok(Source::new(Contents { system: Arc::clone(&self.system), inode }, file.metadata.size))
    }
}

/// A file of the file system, read in place.
struct Contents {
    system: Shared,
    inode: u32,
}

impl ReadAt for Contents {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(lock(&self.system).read_at(self.inode, offset, buffer)?)
    }
}
