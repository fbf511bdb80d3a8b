//! Trees that are laid over others: the built-in pieces, and what `--overlay` and `--custom` name.
//!
//! A [`Layer`] comes from one place, a [`Tree`] is several of them on top of each other. Contents come from the folder,
//! but modes and owners never do (see [`crate::ownership`]), so a checkout means the same whoever made it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use crate::ownership::{Attributes, Ownership, Type};
use crate::report::Hint;

/// Most entries of one folder tree; far more than an image holds, it only ends runaway walks.
const ENTRY_LIMIT: usize = 1_000_000;

/// What to do about a part of an overlay that is closed to the user.
const UNREADABLE: &str = "every file and folder of an overlay must be readable for you";

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub enum Contents {
    /// Here.
    Bytes(Cow<'static, [u8]>),
    /// In a file of the host, with its length when the tree was read.
    Host {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
}

impl Contents {
    /// Length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            Contents::Bytes(bytes) => bytes.len() as u64,
            Contents::Host { length, .. } => *length,
        }
    }

    /// A reader of exactly [`Contents::length`] bytes.
    ///
    /// # Errors
    /// Those of opening a file; the reader fails when the file has become shorter.
    pub fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Contents::Bytes(bytes) => Box::new(&bytes[..]),
            Contents::Host { path, length } => Box::new(Whole { inner: File::open(path)?, left: *length }),
        })
    }
}

/// Reads as many bytes as were promised; an end before that is an error, and what came later is left.
struct Whole<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file became shorter while it was read",
            ));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// What an entry is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory. `implied` ones stand there only because something lies below them, and nothing was said about them:
    /// where the tree beneath has such a directory already, it keeps its mode and owner.
    Directory {
        /// Whether nothing was said about it.
        implied: bool,
    },
    /// A regular file.
    File(Contents),
    /// A symbolic link and where it leads.
    Symlink(Vec<u8>),
}

impl Kind {
    fn noun(&self) -> &'static str {
        match self {
            Kind::Directory { .. } => "directory",
            Kind::File(_) => "file",
            Kind::Symlink(_) => "symbolic link",
        }
    }

    fn type_(&self) -> Type {
        match self {
            Kind::Directory { .. } => Type::Directory,
            Kind::File(_) => Type::File,
            Kind::Symlink(_) => Type::Symlink,
        }
    }
}

/// One file, directory or symbolic link.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Mode and owner in the guest. Symbolic links always have mode 0777.
    pub attributes: Attributes,
    /// Which layer it comes from, for messages.
    pub origin: Arc<str>,
}

/// A tree from one place. Paths are relative, in bytes, without `.` or `..`.
#[derive(Clone, Debug)]
pub struct Layer {
    origin: Arc<str>,
    ownership: Ownership,
    entries: BTreeMap<Vec<u8>, Entry>,
}

impl Layer {
    /// A layer of nothing yet; `origin` names it in messages.
    pub fn new(origin: &str, ownership: Ownership) -> Layer {
        Layer { origin: origin.into(), ownership, entries: BTreeMap::new() }
    }

    /// Adds an entry with the mode and owner that the manifest gives it, and the directories above it.
    pub fn add(&mut self, path: &[u8], kind: Kind) {
        for (at, _) in path.iter().enumerate().filter(|&(_, &byte)| byte == b'/') {
            self.insert(&path[..at], Kind::Directory { implied: true });
        }
        self.insert(path, kind);
    }

    fn insert(&mut self, path: &[u8], kind: Kind) {
        let given = self.ownership.get(path).cloned().unwrap_or_default();
        let (kind, mode) = match kind {
            Kind::Directory { .. } => {
                let silent = given.mode.is_none() && given.uid.is_none() && given.gid.is_none();
                (Kind::Directory { implied: silent }, None)
            }
            Kind::Symlink(target) => (Kind::Symlink(target), Some(0o777)),
            file @ Kind::File(_) => (file, None),
        };
        let mut attributes = given.attributes(matches!(kind, Kind::Directory { .. }));
        attributes.mode = mode.unwrap_or(attributes.mode);
        self.entries.insert(path.to_owned(), Entry { kind, attributes, origin: Arc::clone(&self.origin) });
    }

    /// Reads a folder of the host and the manifest `DIR.mtree` beside it, where DIR is the folder's name as it was
    /// given: of a symbolic link to a folder, the link's.
    ///
    /// The manifest may name directories and symbolic links that the folder lacks, because not every way of handing a
    /// folder on keeps empty directories and links; they are made. It may not name missing files.
    ///
    /// # Errors
    /// What cannot be read; devices, sockets and pipes; a manifest that does not fit the folder.
    pub fn read(folder: &Path) -> Result<Layer> {
        let origin = folder.display().to_string();
        let whole = fs::canonicalize(folder)
            .with_context(|| format!("the folder {origin} cannot be read"))
            .hint("name a folder that exists with --overlay or --custom")?;
        if !whole.is_dir() {
            return Err(anyhow!("{origin} is not a folder")).hint("name the folder that holds the tree");
        }
        // `.` and `..` are names only once it is known what they stand for.
        let named = if folder.file_name().is_some() { folder } else { &whole };
        let mut name = named.file_name().unwrap_or_default().to_owned();
        name.push(".mtree");
        let manifest = named.with_file_name(name);
        let ownership = Ownership::read(&manifest).hint(
            "each line is ./PATH and then mode=, uid=, gid=, type= or link=, as in mtree(5); remove the file to go by \
             the defaults",
        )?;
        let mut layer = Layer::new(&origin, ownership);
        layer.walk(&whole)?;
        layer.complete(&manifest)?;
        Ok(layer)
    }

    fn walk(&mut self, folder: &Path) -> Result<()> {
        let mut folders: Vec<Vec<u8>> = vec![Vec::new()];
        while let Some(directory) = folders.pop() {
            let host = folder.join(OsStr::from_bytes(&directory));
            let unreadable = || format!("{} cannot be read", host.display());
            for item in fs::read_dir(&host).with_context(unreadable).hint(UNREADABLE)? {
                let item = item.with_context(unreadable).hint(UNREADABLE)?;
                let mut path = directory.clone();
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(item.file_name().as_bytes());
                let kind = host_kind(&item.path())?;
                if matches!(kind, Kind::Directory { .. }) {
                    folders.push(path.clone());
                }
                self.insert(&path, kind);
                if self.entries.len() > ENTRY_LIMIT {
                    return Err(anyhow!("the folder {} has more than {ENTRY_LIMIT} entries", self.origin))
                        .hint("name the folder of the tree itself, not one above it");
                }
            }
        }
        Ok(())
    }

    /// Holds the manifest against the folder and makes what may be missing there.
    fn complete(&mut self, manifest: &Path) -> Result<()> {
        // A copy, because making entries looks into the layer's own.
        let ownership = self.ownership.clone();
        for (path, given) in ownership.iter().filter(|(path, _)| !path.is_empty()) {
            let shown = path.escape_ascii();
            match (self.entries.get(path), given.type_, &given.link) {
                (Some(entry), Some(type_), _) if entry.kind.type_() != type_ => {
                    let (file, noun) = (manifest.display(), entry.kind.noun());
                    return Err(anyhow!("{file}: {shown} has another type than the {noun} of that name"))
                        .hint("correct the type in the manifest");
                }
                (Some(_), ..) => {}
                (None, Some(Type::Directory), _) => self.add(path, Kind::Directory { implied: false }),
                (None, Some(Type::Symlink), Some(target)) => self.add(path, Kind::Symlink(target.clone())),
                (None, Some(Type::Block | Type::Character | Type::Fifo | Type::Socket), _) => {
                    return Err(anyhow!("{}: {shown} cannot be laid over an image", manifest.display()))
                        .hint(
                            "remove the line from the manifest: overlays have directories, files and links",
                        );
                }
                (None, ..) => {
                    return Err(anyhow!("{}: {shown} is not in the folder", manifest.display()))
                        .hint("add the file, or remove the line from the manifest");
                }
            }
        }
        Ok(())
    }
}

fn host_kind(path: &Path) -> Result<Kind> {
    let unreadable = || format!("{} cannot be read", path.display());
    let metadata = fs::symlink_metadata(path).with_context(unreadable).hint(UNREADABLE)?;
    if metadata.is_dir() {
        Ok(Kind::Directory { implied: false })
    } else if metadata.is_symlink() {
        let target = fs::read_link(path).with_context(unreadable).hint(UNREADABLE)?;
        Ok(Kind::Symlink(target.into_os_string().into_vec()))
    } else if metadata.is_file() {
        // Opened once now, so that a file that cannot be read is found before any work is done.
        File::open(path).with_context(unreadable).hint(UNREADABLE)?;
        Ok(Kind::File(Contents::Host { path: path.to_owned(), length: metadata.len() }))
    } else {
        Err(anyhow!("{} is a device, socket or pipe", path.display()))
            .hint("an overlay holds files, directories and symbolic links; remove it")
    }
}

/// Layers on top of each other.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    top: Option<Attributes>,
    entries: BTreeMap<Vec<u8>, Entry>,
}

impl Tree {
    /// Lays layers on top of each other, the last one uppermost.
    ///
    /// # Errors
    /// A directory where another layer has something else. The message names the path and both layers.
    pub fn stack(layers: impl IntoIterator<Item = Layer>) -> Result<Tree> {
        let mut tree = Tree::default();
        for layer in layers {
            tree.add(layer)?;
        }
        Ok(tree)
    }

    /// Lays a layer over everything else.
    ///
    /// # Errors
    /// As [`Tree::stack`].
    pub fn add(&mut self, layer: Layer) -> Result<()> {
        self.top = layer.ownership.get(b"").map(|given| given.attributes(true)).or(self.top);
        for (path, upper) in layer.entries {
            self.lay(path, upper)?;
        }
        Ok(())
    }

    fn lay(&mut self, path: Vec<u8>, upper: Entry) -> Result<()> {
        if let Some(lower) = self.entries.get(&path) {
            let directory = |entry: &Entry| matches!(entry.kind, Kind::Directory { .. });
            if directory(lower) != directory(&upper) {
                return Err(anyhow!(
                    "{} is a {} in {} and a {} in {}",
                    path.escape_ascii(),
                    upper.kind.noun(),
                    upper.origin,
                    lower.kind.noun(),
                    lower.origin
                ))
                .hint(format!("rename or remove it in {}", upper.origin));
            }
            if matches!(upper.kind, Kind::Directory { implied: true }) {
                return Ok(());
            }
        }
        self.entries.insert(path, upper);
        Ok(())
    }

    /// Mode and owner of the tree's own top, when a manifest gives them (its line `.`).
    pub fn top(&self) -> Option<Attributes> {
        self.top
    }

    /// All entries, sorted by path; what lies in a directory comes after it.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_slice(), entry))
    }
}

#[cfg(test)]
mod tests;
