//! The GUID of a snapshot, derived from everything in its image.
//!
//! It stands in every record of a stream and so has to be known before the first byte is written. It has 64 bits, and anybody may
//! give any other: what it must do is to differ between images that differ.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use kiln_zstream::fs::tree::{Attributes, Content, Device, Kind, Node, NodeId, Time, Tree};
use kiln_zstream::fs::{Ace, Blocks, FileSystemOptions, Version};
use twox_hash::XxHash64;

use super::image::{Snapshot, explained};
use super::sum::{self, Sum};
use crate::report::{Progress, Report};

/// Files that a thread takes at once: neighbours, so that what is read stays nearly in order.
const AT_ONCE: usize = 16;

/// What tells the images of one kiln from those of another, beside [what its writer makes](writer).
const MAKER: &str = concat!("kiln ", env!("CARGO_PKG_VERSION"));

/// The GUID of an image of this tree on an origin of that GUID, 0 for none: of a digest of all that the tree says and of the snapshot
/// but for its GUID, the digests of all files, and what this kiln makes of trees.
///
/// Contents whose digests are not [known](sum::known) are read once, by `jobs` threads.
///
/// # Errors
/// Contents cannot be read.
pub fn derive(
    tree: &Tree,
    origin: u64,
    snapshot: &Snapshot,
    jobs: NonZeroUsize,
    report: &Report,
) -> Result<u64> {
    let mut outline = Outline::new(origin, snapshot)?;
    let files = outline.take(tree)?;
    let mut sum = outline.sum;

    let bytes = files.iter().map(|(_, contents)| unknown(*contents)).fold(0, u64::saturating_add);
    let progress = report.progress("derive-guid", bytes);
    for (_, digest) in digests(tree, &files, jobs, &progress)? {
        sum.write(&digest.to_le_bytes());
    }
    Ok(sum.finish().max(1))
}

/// The digest of the stream of a small tree that has something of everything. A writer that numbers objects or keeps attributes in another
/// way makes other images of the same trees, and an increment on one of them would ruin the other if they had the same GUID.
fn writer(version: Version) -> Result<u64> {
    let time = Time { seconds: 1, nanoseconds: 2 };
    let any = Attributes {
        permissions: 0o640,
        uid: 3,
        gid: 4,
        accessed: time,
        modified: time,
        ..Attributes::default()
    };
    let mut tree = Tree::new(any);
    let root = tree.root();
    let folder = tree.add(root, b"folder", any, Kind::Directory(BTreeMap::new()))?;
    let mut contents = vec![5; 300_000];
    contents[131_072..262_144].fill(0);
    let file = tree.add(folder, b"file", any, Kind::File(Arc::new(contents)))?;
    tree.link(root, b"again", file)?;
    tree.extended_mut(file).insert(b"attribute".to_vec(), Arc::new(b"value".to_vec()));
    *tree.acl_mut(file) = Some(vec![Ace { kind: 0, flags: 0x40, mask: 1, who: Some(6), object: None }]);
    // A name that only a table of the large kind takes.
    tree.add(folder, &[b'n'; 60], any, Kind::Fifo)?;
    tree.add(folder, b"device", any, Kind::CharacterDevice(Device { major: 7, minor: 8 }))?;
    tree.add(folder, b"near", any, Kind::Symlink(b"file".to_vec()))?;
    tree.add(folder, b"far", any, Kind::Symlink(vec![b't'; 1000]))?;
    let options =
        FileSystemOptions { to_name: "kiln/writer@final".to_owned(), to_guid: 1, creation_time: 1, version };
    let (Digesting(sum), _) = kiln_zstream::fs::write(Digesting(XxHash64::default()), &tree, &options)?;
    Ok(sum.finish())
}

/// The digest of all that is written to it.
struct Digesting(XxHash64);

impl Write for Digesting {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of all that is no file's contents. Texts have their lengths before them, so that none can pass for another.
struct Outline {
    sum: XxHash64,
    /// What is to be digested next.
    bytes: Vec<u8>,
    /// Memory for the digests of extended attributes.
    blocks: Blocks,
}

impl Outline {
    fn new(origin: u64, snapshot: &Snapshot) -> Result<Outline> {
        let Snapshot { name, creation_time, guid: _, version } = snapshot;
        let mut outline = Outline { sum: XxHash64::default(), bytes: Vec::new(), blocks: Blocks::default() };
        outline.text(MAKER.as_bytes());
        outline.text(name.as_bytes());
        outline.number(*creation_time);
        outline.number(origin);
        // The version of a file system on an origin is that of the origin.
        if origin == 0 {
            outline.number(writer(*version)?);
        }
        Ok(outline)
    }

    /// Takes a tree, and gives its files in the order of their first names, each once.
    fn take<'tree>(&mut self, tree: &'tree Tree) -> Result<Vec<(NodeId, &'tree dyn Content)>> {
        // Nodes by the order in which they are met, which shows in the numbers of objects.
        let mut met = vec![None; tree.len()];
        let (mut count, mut files) = (0_u64, Vec::new());
        self.node(tree, tree.root())?;
        for step in tree.walk() {
            self.number(step.depth as u64);
            self.text(step.name);
            let first = &mut met[step.node.index()];
            if let Some(first) = *first {
                self.number(first);
            } else {
                count += 1;
                *first = Some(count);
                self.number(0);
                self.node(tree, step.node)?;
                if let Kind::File(contents) = &tree.node(step.node).kind {
                    files.push((step.node, &**contents));
                }
            }
            self.digest();
        }
        self.digest();
        Ok(files)
    }

    fn node(&mut self, tree: &Tree, id: NodeId) -> Result<()> {
        let Node { attributes, kind, extended, acl } = tree.node(id);
        self.number(kind.code().into());
        match kind {
            // What they hold are steps of the walk.
            Kind::Directory(_) | Kind::Fifo | Kind::Socket | Kind::Door => {}
            Kind::File(contents) => self.number(contents.size()),
            Kind::Symlink(target) => self.text(target),
            Kind::CharacterDevice(Device { major, minor }) | Kind::BlockDevice(Device { major, minor }) => {
                self.number((*major).into());
                self.number((*minor).into());
            }
        }
        let Attributes { permissions, uid, gid, accessed, modified, changed, created } = *attributes;
        for number in [permissions.into(), uid, gid] {
            self.number(number.into());
        }
        for Time { seconds, nanoseconds } in [accessed, modified, changed, created] {
            self.number(seconds as u64);
            self.number(nanoseconds.into());
        }
        self.number(extended.len() as u64);
        for (name, value) in extended {
            self.text(name);
            self.number(value.size());
            let digest = sum::of(&**value, &mut self.blocks).map_err(|error| unreadable(tree, id, error))?;
            self.number(digest);
        }
        self.number(acl.as_ref().map_or(0, |list| list.len() as u64 + 1));
        for entry in acl.iter().flatten() {
            let Ace { kind, flags, mask, who, object } = *entry;
            for number in [kind.into(), flags.into(), mask] {
                self.number(number.into());
            }
            self.text(who.map(u64::to_le_bytes).as_ref().map_or(&[], |who| who));
            self.text(object.as_ref().map_or(&[], |object| object));
        }
        Ok(())
    }

    fn digest(&mut self) {
        self.sum.write(&self.bytes);
        self.bytes.clear();
    }

    fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text);
    }
}

/// Contents that cannot be read, with their path.
fn unreadable(tree: &Tree, node: NodeId, error: io::Error) -> anyhow::Error {
    let path = tree.path(node);
    let error = anyhow::Error::new(error);
    explained(error.context(format!("cannot read {}", String::from_utf8_lossy(&path))))
}

/// How many bytes of contents have to be read for their digest.
fn unknown(contents: &dyn Content) -> u64 {
    if sum::known(contents).is_some() { 0 } else { contents.size() }
}

/// The digests of files, by their places in the list.
fn digests(
    tree: &Tree,
    files: &[(NodeId, &dyn Content)],
    jobs: NonZeroUsize,
    progress: &Progress<'_>,
) -> Result<Vec<(usize, Sum)>> {
    let next = AtomicUsize::new(0);
    // Machines read along, and what is done has to grow from line to line.
    let progress = Mutex::new(progress);
    let work = || -> Result<Vec<(usize, Sum)>> {
        let (mut done, mut blocks) = (Vec::new(), Blocks::default());
        loop {
            let start = next.fetch_add(AT_ONCE, Ordering::Relaxed).min(files.len());
            let end = files.len().min(start + AT_ONCE);
            if start == end {
                return Ok(done);
            }
            for (number, &(node, contents)) in (start..end).zip(&files[start..end]) {
                let digest = sum::known(contents).map_or_else(|| sum::of(contents, &mut blocks), Ok);
                let digest = digest.map_err(|error| {
                    // The others need not go on.
                    next.store(files.len(), Ordering::Relaxed);
                    unreadable(tree, node, error)
                });
                done.push((number, digest?));
                progress.lock().unwrap_or_else(PoisonError::into_inner).add(unknown(contents));
            }
        }
    };
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.get()).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().ok().context("a thread has panicked")?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let mut digests = parts.concat();
    digests.sort_unstable_by_key(|&(number, _)| number);
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are given in pieces, zeros left out.
    struct Pieces(Vec<u8>);

    impl Content for Pieces {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
            for (number, piece) in
                self.0.chunks(700).enumerate().filter(|(_, piece)| piece.iter().any(|&byte| byte > 0))
            {
                sink(700 * number as u64, piece)?;
            }
            Ok(())
        }
    }

    /// Contents that cannot be read.
    struct Broken;

    impl Content for Broken {
        fn size(&self) -> u64 {
            5
        }

        fn give(&self, _sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
            Err(super::super::image::Unreadable::error("it is gone", "find it"))
        }
    }

    fn tree(files: Vec<Arc<dyn Content>>) -> Tree {
        let mut tree = Tree::new(Attributes::default());
        for (number, contents) in files.into_iter().enumerate() {
            let name = format!("file {number:04}");
            tree.add(tree.root(), name.as_bytes(), Attributes::default(), Kind::File(contents)).unwrap();
        }
        tree
    }

    fn try_guid(tree: &Tree, origin: u64, jobs: usize) -> Result<u64> {
        let snapshot = Snapshot {
            name: "kiln/zone@final".to_owned(),
            creation_time: 1,
            guid: None,
            version: Version::Five,
        };
        derive(tree, origin, &snapshot, NonZeroUsize::new(jobs).unwrap(), &Report::new(false))
    }

    fn guid(tree: &Tree) -> u64 {
        try_guid(tree, 0, 2).unwrap()
    }

    fn bytes() -> Vec<u8> {
        let mut bytes = vec![0; 300_001];
        bytes[0] = 1;
        bytes[150_000..150_100].fill(2);
        bytes
    }

    #[test]
    fn every_difference_shows() {
        let with = |contents: Vec<u8>| tree(vec![Arc::new(contents), Arc::new(b"other".to_vec())]);
        let base = with(bytes());
        let mut guids = vec![guid(&base), try_guid(&base, 7, 1).unwrap()];
        for at in [0, 1, 149_999, 262_144, 300_000] {
            let mut changed = bytes();
            changed[at] ^= 0x80;
            guids.push(guid(&with(changed)));
        }
        let mut moved = bytes();
        moved[131_072..].rotate_right(131_072);
        guids.extend(
            [moved, bytes()[..300_000].to_vec(), [bytes(), vec![0]].concat()].map(|bytes| guid(&with(bytes))),
        );
        let swapped = tree(vec![Arc::new(b"other".to_vec()), Arc::new(bytes())]);
        guids.push(guid(&swapped));
        let mut touched = with(bytes());
        let node = touched.find([&b"file 0001"[..]]).unwrap();
        touched.attributes_mut(node).modified = Time { seconds: 1, nanoseconds: 0 };
        guids.push(guid(&touched));
        guids.extend(attributes_of_all_kinds().iter().map(guid));
        let count = guids.len();
        guids.sort_unstable();
        guids.dedup();
        assert_eq!((guids.len(), guids.contains(&0)), (count, false));
    }

    /// Trees each of which differs from all others in one thing that is no file's contents.
    fn attributes_of_all_kinds() -> Vec<Tree> {
        fn tree(change: impl FnOnce(&mut Tree, NodeId)) -> Tree {
            let mut tree = Tree::new(Attributes::default());
            let root = tree.root();
            let node = tree.add(root, b"node", Attributes::default(), Kind::Fifo).unwrap();
            change(&mut tree, node);
            tree
        }
        fn attribute(change: impl FnOnce(&mut Attributes)) -> Tree {
            tree(|tree, node| change(tree.attributes_mut(node)))
        }
        fn other(name: &[u8], kind: Kind) -> Tree {
            tree(|tree, _| {
                let root = tree.root();
                tree.add(root, name, Attributes::default(), kind).unwrap();
            })
        }
        fn list(change: impl FnOnce(&mut Ace)) -> Tree {
            let mut entry = Ace { kind: 0, flags: 0x40, mask: 1, who: Some(7), object: None };
            change(&mut entry);
            tree(|tree, node| *tree.acl_mut(node) = Some(vec![entry]))
        }
        let numbers = |major, minor| Device { major, minor };
        let second = Time { seconds: 1, nanoseconds: 0 };
        let extended = |name: &'static [u8], value: &'static [u8]| {
            tree(|tree, node| {
                tree.extended_mut(node).insert(name.to_vec(), Arc::new(value.to_vec()));
            })
        };
        vec![
            tree(|_, _| {}),
            tree(|tree, _| tree.attributes_mut(tree.root()).permissions = 0o755),
            attribute(|attributes| attributes.permissions = 1),
            attribute(|attributes| attributes.uid = 1),
            attribute(|attributes| attributes.gid = 1),
            attribute(|attributes| attributes.accessed = second),
            attribute(|attributes| attributes.modified = second),
            attribute(|attributes| attributes.changed = second),
            attribute(|attributes| attributes.created = second),
            attribute(|attributes| attributes.created.nanoseconds = 1),
            tree(|tree, node| tree.link(tree.root(), b"other", node).unwrap()),
            other(b"other", Kind::Fifo),
            other(b"othe", Kind::Fifo),
            other(b"other", Kind::Socket),
            other(b"other", Kind::Door),
            other(b"other", Kind::Directory(BTreeMap::new())),
            other(b"other", Kind::Symlink(b"a".to_vec())),
            other(b"other", Kind::Symlink(b"b".to_vec())),
            other(b"other", Kind::CharacterDevice(numbers(1, 2))),
            other(b"other", Kind::CharacterDevice(numbers(2, 1))),
            other(b"other", Kind::BlockDevice(numbers(1, 2))),
            other(b"other", Kind::File(Arc::new(vec![0; 1]))),
            other(b"other", Kind::File(Arc::new(vec![0; 2]))),
            extended(b"a", b"bc"),
            extended(b"ab", b"c"),
            extended(b"a", b"b"),
            extended(b"a", b""),
            tree(|tree, node| *tree.acl_mut(node) = Some(Vec::new())),
            list(|_| {}),
            list(|entry| entry.kind = 1),
            list(|entry| entry.flags = 0),
            list(|entry| entry.mask = 2),
            list(|entry| entry.who = Some(8)),
            list(|entry| entry.who = None),
            list(|entry| entry.object = Some([1; 32])),
            list(|entry| entry.object = Some([0; 32])),
        ]
    }

    #[test]
    fn how_a_tree_is_written_shows() {
        // Of the same tree with the same words both versions make other streams, and the digest is taken of those.
        assert_ne!(writer(Version::Four).unwrap(), writer(Version::Five).unwrap());
        let tree = tree(Vec::new());
        let guid = |version, origin| {
            let name = "kiln/zone@final".to_owned();
            let snapshot = Snapshot { name, creation_time: 1, guid: None, version };
            derive(&tree, origin, &snapshot, NonZeroUsize::MIN, &Report::new(false)).unwrap()
        };
        assert_ne!(guid(Version::Four, 0), guid(Version::Five, 0));
        // On an origin that one's version counts, whatever is asked for.
        assert_eq!(guid(Version::Four, 7), guid(Version::Five, 7));
    }

    #[test]
    fn where_a_folder_ends_shows() {
        // The same names in the same order, one of them in a folder or beside it.
        let at = |inside: bool| {
            let mut tree = Tree::new(Attributes::default());
            let (root, any) = (tree.root(), Attributes::default());
            let kind = Kind::Directory(BTreeMap::new());
            let folder = tree.add(root, b"a", any, kind).unwrap();
            tree.add(if inside { folder } else { root }, b"b", any, Kind::Fifo).unwrap();
            guid(&tree)
        };
        assert_ne!(at(true), at(false));
    }

    #[test]
    fn the_order_in_which_nodes_were_made_does_not_show() {
        let tree = |names: [&[u8]; 2]| {
            let mut tree = Tree::new(Attributes::default());
            for name in names {
                tree.add(tree.root(), name, Attributes::default(), Kind::File(Arc::new(name.to_vec())))
                    .unwrap();
            }
            guid(&tree)
        };
        assert_eq!(tree([b"a", b"b"]), tree([b"b", b"a"]));
    }

    #[test]
    fn neither_threads_nor_pieces_show() {
        let many = |count: usize| -> Vec<Arc<dyn Content>> {
            (0..count).map(|number| Arc::new(vec![number as u8; number * 37]) as Arc<dyn Content>).collect()
        };
        let whole = tree([many(100), vec![Arc::new(bytes())]].concat());
        let pieces = tree([many(100), vec![Arc::new(Pieces(bytes()))]].concat());
        let expected = guid(&whole);
        for jobs in [1, 3, 8] {
            assert_eq!(try_guid(&pieces, 0, jobs).unwrap(), expected);
        }
    }

    #[test]
    fn digests_that_are_known_are_those_that_would_be_taken() {
        let summed = |contents: Vec<u8>| -> Arc<dyn Content> {
            let sum = sum::of(&contents, &mut Blocks::default()).unwrap();
            Arc::new(sum::Summed::new(contents, sum))
        };
        let other: Arc<dyn Content> = Arc::new(b"other".to_vec());
        let known = tree(vec![summed(bytes()), Arc::clone(&other)]);
        assert_eq!(guid(&known), guid(&tree(vec![Arc::new(bytes()), other])));
        // They are believed: nothing is read again.
        let believed = tree(vec![Arc::new(sum::Summed::new(Broken, 7))]);
        assert!(try_guid(&believed, 0, 1).is_ok());
    }

    #[test]
    fn contents_that_cannot_be_read_are_named() {
        let error = try_guid(&tree(vec![Arc::new(b"1".to_vec()), Arc::new(Broken)]), 0, 2).unwrap_err();
        let words = format!("{error:#}");
        assert!(words.contains("cannot read /file 0001") && words.contains("it is gone"), "{words}");
    }
}
