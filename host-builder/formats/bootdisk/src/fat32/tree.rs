//! The files of a new volume as a tree: checked, sorted, and with the size of every directory known.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::sync::Arc;

use super::geometry::Geometry;
use super::names;
use super::ondisk::{DIR_ENTRY, LONG_UNITS, MAX_DIRECTORY};
use crate::error::PlanError;
use crate::extent::{Content, FileId};

/// A file or directory to put on a new volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path from the root, parts separated by `/`, with or without a leading one. Directories need no entry
    /// of their own unless they are empty or their time matters.
    pub path: String,
    /// Time of the last change, in seconds since 1970; FAT holds 1980 to 2107, so others are clamped.
    pub modified: i64,
    /// File or directory.
    pub kind: EntryKind,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// Size in bytes, below 4 GiB.
        size: u64,
        /// Where its bytes come from: consecutive pieces, each with its length, that add up to `size`.
        content: Vec<(u64, Content)>,
    },
}

impl Entry {
    /// A file of `size` bytes that the caller provides.
    pub fn file(path: impl Into<String>, size: u64, modified: i64, file: FileId) -> Entry {
        let content = vec![(size, Content::File { file, offset: 0 })];
        Entry { path: path.into(), modified, kind: EntryKind::File { size, content } }
    }

    /// A file with these bytes.
    pub fn bytes(path: impl Into<String>, bytes: impl Into<Arc<[u8]>>, modified: i64) -> Entry {
        let bytes = bytes.into();
        let size = bytes.len() as u64;
        let content = vec![(size, Content::Bytes(bytes))];
        Entry { path: path.into(), modified, kind: EntryKind::File { size, content } }
    }

    /// A directory.
    pub fn directory(path: impl Into<String>, modified: i64) -> Entry {
        Entry { path: path.into(), modified, kind: EntryKind::Directory }
    }
}

/// A directory of the tree.
pub(crate) struct Directory {
    /// Path with a leading `/`; empty for the root.
    pub path: String,
    /// Index of the parent; the root is its own.
    pub parent: usize,
    /// Time of the last change, in seconds since 1970.
    pub modified: i64,
    /// What it holds, by name.
    pub children: BTreeMap<String, Child>,
    /// 32-byte entries it takes.
    pub slots: u64,
}

/// What a name in a directory stands for.
#[derive(Clone, Copy)]
pub(crate) enum Child {
    /// Index into [`Tree::directories`].
    Directory(usize),
    /// Index into [`Tree::files`].
    File(usize),
}

/// A file of the tree.
pub(crate) struct File<'a> {
    /// Path with a leading `/`.
    pub path: String,
    /// The caller's description.
    pub entry: &'a Entry,
    /// Size in bytes.
    pub size: u64,
    /// Pieces of its content, each with its length.
    pub content: &'a [(u64, Content)],
}

/// All files and directories of a new volume, each list sorted by path; the root is directory 0.
pub(crate) struct Tree<'a> {
    pub directories: Vec<Directory>,
    pub files: Vec<File<'a>>,
}

impl<'a> Tree<'a> {
    /// Sorts the entries into a tree. Directories without an entry of their own are dated `modified`.
    /// `has_label` makes room for a label in the root.
    pub fn new(entries: &'a [Entry], modified: i64, has_label: bool) -> Result<Tree<'a>, PlanError> {
        let mut found = BTreeMap::new();
        let mut spellings: BTreeMap<String, String> = BTreeMap::new();
        let mut sorted: Vec<(String, &Entry)> =
            entries.iter().map(|entry| (normalise(&entry.path), entry)).collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (path, entry) in &sorted {
            let parts: Vec<&str> = path.split('/').skip(1).collect();
            let mut prefix = String::new();
            for (index, part) in parts.iter().enumerate() {
                if let Some(reason) = names::fault(part) {
                    return Err(PlanError::BadName { path: path.clone(), name: (*part).to_owned(), reason });
                }
                prefix.push('/');
                prefix.push_str(part);
                match spellings.entry(names::fold(&prefix)) {
                    MapEntry::Vacant(vacant) => {
                        vacant.insert(prefix.clone());
                    }
                    MapEntry::Occupied(first) if *first.get() != prefix => {
                        return Err(PlanError::Duplicate { first: first.get().clone(), second: prefix });
                    }
                    MapEntry::Occupied(_) => {}
                }
                let explicit = (index + 1 == parts.len()).then_some(*entry);
                record(&mut found, &prefix, explicit)?;
            }
        }
        Tree::link(found, modified, has_label)
    }

    /// Numbers directories and files in the order of their paths and ties them together.
    fn link(
        found: BTreeMap<String, Option<&'a Entry>>,
        modified: i64,
        has_label: bool,
    ) -> Result<Tree<'a>, PlanError> {
        let root =
            Directory { path: String::new(), parent: 0, modified, children: BTreeMap::new(), slots: 0 };
        let mut tree = Tree { directories: vec![root], files: Vec::new() };
        let mut numbers: BTreeMap<String, usize> = BTreeMap::from([(String::new(), 0)]);
        for (path, entry) in found {
            let (parent, name) = path.rsplit_once('/').expect("paths were given a leading slash");
            // A directory's path is a prefix of what it holds, so it sorts first and has its number already.
            let parent = numbers[parent];
            let name = name.to_owned();
            let child = if let Some(entry @ Entry { kind: EntryKind::File { size, content }, .. }) = entry {
                if u32::try_from(*size).is_err() {
                    return Err(PlanError::FileTooLarge { path, size: *size });
                }
                tree.files.push(File { path, entry, size: *size, content });
                Child::File(tree.files.len() - 1)
            } else {
                let number = tree.directories.len();
                numbers.insert(path.clone(), number);
                let modified = entry.map_or(modified, |entry| entry.modified);
                tree.directories.push(Directory {
                    path,
                    parent,
                    modified,
                    children: BTreeMap::new(),
                    slots: 0,
                });
                Child::Directory(number)
            };
            tree.directories[parent].children.insert(name, child);
        }
        for (number, directory) in tree.directories.iter_mut().enumerate() {
            let own = if number == 0 { u64::from(has_label) } else { 2 };
            let names: Vec<&str> = directory.children.keys().map(String::as_str).collect();
            let held = names.iter().zip(names::aliases(&names)).map(|(name, alias)| slots(name, &alias));
            directory.slots = own + held.sum::<u64>();
            if directory.slots * DIR_ENTRY as u64 > MAX_DIRECTORY {
                return Err(PlanError::DirectoryTooLarge { path: directory.path.clone() });
            }
        }
        Ok(tree)
    }

    /// Clusters that all directories and files take.
    pub fn clusters(&self, geometry: &Geometry) -> u64 {
        let directories = self.directories.iter().map(|d| geometry.clusters_for(d.bytes()));
        let files = self.files.iter().map(|f| geometry.clusters_for(f.size));
        directories.chain(files).sum()
    }
}

impl Directory {
    /// Bytes of its entries; never 0, because a directory has at least one cluster.
    pub fn bytes(&self) -> u64 {
        (self.slots * DIR_ENTRY as u64).max(1)
    }
}

/// Notes that `path` exists; `explicit` is the caller's entry for just this path.
fn record<'a>(
    found: &mut BTreeMap<String, Option<&'a Entry>>,
    path: &str,
    explicit: Option<&'a Entry>,
) -> Result<(), PlanError> {
    let is_file = |entry: Option<&Entry>| entry.is_some_and(|e| e.kind != EntryKind::Directory);
    match found.entry(path.to_owned()) {
        MapEntry::Vacant(vacant) => {
            vacant.insert(explicit);
        }
        MapEntry::Occupied(known) if is_file(*known.get()) && is_file(explicit) => {
            return Err(PlanError::Duplicate { first: path.to_owned(), second: path.to_owned() });
        }
        MapEntry::Occupied(known) if is_file(*known.get()) || is_file(explicit) => {
            return Err(PlanError::FileAndDirectory { path: path.to_owned() });
        }
        MapEntry::Occupied(mut known) => {
            if explicit.is_some() {
                known.insert(explicit);
            }
        }
    }
    Ok(())
}

/// A path with exactly one leading slash and none at the end.
pub(crate) fn normalise(path: &str) -> String {
    format!("/{}", path.trim_matches('/'))
}

/// Entries a name takes: the short one, and long ones unless the short one says it all.
fn slots(name: &str, alias: &[u8; 11]) -> u64 {
    if names::display_short(alias) == name {
        return 1;
    }
    1 + name.encode_utf16().count().div_ceil(LONG_UNITS) as u64
}
