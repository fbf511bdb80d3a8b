//! Any tree, as a stream and as the archive of that stream, is the same tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_zstream::fs::tree::{Attributes, Device, Kind as NodeKind, NodeId, Time, Tree as NodeTree};
use kiln_zstream::fs::{self as zfs, FileSystemOptions, Objects, Version};
use proptest::prelude::*;

use super::archive;
use super::files::Losses;
use crate::contents::dataset::{Blocks, Dataset, Keep};
use crate::contents::source::Source;
use crate::contents::tar::TarTree;
use crate::contents::tree::{self, Kind, Metadata, Tree};
use crate::report::Report;

/// Something to be put into a tree.
#[derive(Clone, Debug)]
struct Thing {
    /// Which of the folders so far it is put into, as far as there are so many.
    folder: usize,
    name: Vec<u8>,
    attributes: Attributes,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Folder,
    /// Contents of so many bytes, with others than zeros at these places.
    File(usize, Vec<usize>),
    Symlink(Vec<u8>),
    Device(u32, u32),
    Fifo,
    /// Another name of one of the things so far.
    Link(usize),
    /// An extended attribute of one of the things so far.
    Extended(usize, Vec<u8>),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'a'), Just(b' '), 1..=255_u8].prop_filter("a slash", |byte| *byte != b'/');
    prop_oneof![3 => 1..12_usize, 1 => 90..255_usize]
        .prop_flat_map(move |length| prop::collection::vec(byte.clone(), length))
        .prop_filter("not a name", |name| name != b"." && name != b"..")
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let seconds = prop_oneof![-3..3_i64, Just(1 << 33), Just((1 << 33) - 1), Just(-(1 << 40))];
    let nanoseconds = prop_oneof![Just(0), 0..1_000_000_000_u32];
    let owner = || prop_oneof![0..100_u32, Just(0o777_7777), Just(0o1000_0000), Just(u32::MAX - 1)];
    (0..0o10000_u16, owner(), owner(), seconds, nanoseconds).prop_map(
        |(permissions, uid, gid, seconds, nanoseconds)| {
            let modified = Time { seconds, nanoseconds };
            Attributes { permissions, uid, gid, modified, ..Attributes::default() }
        },
    )
}

fn thing() -> impl Strategy<Value = Thing> {
    let what = prop_oneof![
        2 => Just(What::Folder),
        4 => (0..400_000_usize, prop::collection::vec(0..400_000_usize, 0..4)).prop_map(|(size, places)| What::File(size, places)),
        1 => prop::collection::vec(1..=255_u8, 1..300).prop_map(What::Symlink),
        1 => (any::<u16>(), any::<u32>()).prop_map(|(major, minor)| What::Device(major.into(), minor)),
        1 => Just(What::Fifo),
        2 => (0..40_usize).prop_map(What::Link),
        2 => (0..40_usize, prop::collection::vec(any::<u8>(), 0..2000)).prop_map(|(of, value)| What::Extended(of, value)),
    ];
    (0..8_usize, name(), attributes(), what).prop_map(|(folder, name, attributes, what)| Thing {
        folder,
        name,
        attributes,
        what,
    })
}

fn grown(things: Vec<Thing>) -> NodeTree {
    let mut tree = NodeTree::new(Attributes { permissions: 0o755, ..Attributes::default() });
    let mut folders = vec![tree.root()];
    let mut all: Vec<NodeId> = vec![tree.root()];
    for Thing { folder, name, attributes, what } in things {
        let folder = folders[folder % folders.len()];
        let kind = match what {
            What::Link(of) => {
                // Folders have one name, and other names may be taken.
                let _ = tree.link(folder, &name, all[of % all.len()]);
                continue;
            }
            What::Extended(of, value) => {
                tree.extended_mut(all[of % all.len()]).insert(name, Arc::new(value));
                continue;
            }
            What::Folder => NodeKind::Directory(BTreeMap::new()),
            What::File(size, places) => {
                let mut bytes = vec![0; size];
                places.into_iter().filter(|&place| place < size).for_each(|place| bytes[place] = 7);
                NodeKind::File(Arc::new(bytes))
            }
            What::Symlink(target) => NodeKind::Symlink(target),
            What::Device(major, minor) => NodeKind::BlockDevice(Device { major, minor }),
            What::Fifo => NodeKind::Fifo,
        };
        let is_folder = matches!(kind, NodeKind::Directory(_));
        let Ok(node) = tree.add(folder, &name, attributes, kind) else { continue };
        all.push(node);
        if is_folder {
            folders.push(node);
        }
    }
    tree
}

/// A path with what is known about it, contents and extended attributes.
type Told = (Vec<u8>, Metadata, Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>);

/// Everything in a tree.
fn told(tree: &dyn Tree) -> Vec<Told> {
    let mut all = Vec::new();
    tree::walk(tree, &tree.root().unwrap(), &mut |node| {
        let mut metadata = node.metadata.clone();
        if metadata.kind == Kind::Directory {
            // Each format has a size of its own for them.
            metadata.size = 0;
        }
        let contents = if node.is_file() { tree.contents(node)?.head(usize::MAX)? } else { Vec::new() };
        let extended = tree.extended(node)?;
        let extended =
            extended.into_iter().map(|(name, value)| (name, value.head(usize::MAX).unwrap())).collect();
        all.push((node.path.clone(), metadata, contents, extended));
        Ok(())
    })
    .unwrap();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn archives_hold_what_streams_hold(things in prop::collection::vec(thing(), 0..40)) {
        let options = FileSystemOptions { to_name: "a@final".into(), to_guid: 1, creation_time: 0, version: Version::Five };
        let (stream, _) = zfs::write(Vec::new(), &grown(things), &options).unwrap();
        let mut objects = Objects::new(Blocks::new(tempfile::tempfile().unwrap(), Keep::All));
        let info = objects.apply(&stream[..]).unwrap().clone();
        let dataset = Dataset::new(objects, info, Vec::new(), true);
        prop_assert!(dataset.findings.is_empty(), "{:?}", dataset.findings);
        let system = dataset.tree().unwrap();

        let report = Report::new(false);
        let mut losses = Losses::default();
        let write = |tree: &dyn Tree, losses: &mut Losses| {
            let mut bytes = Vec::new();
            archive::write(tree, &tree.root().unwrap(), &mut bytes, losses, &report.progress("test", 0)).unwrap();
            bytes
        };
        let bytes = write(&*system, &mut losses);
        prop_assert_eq!(losses.count(), 0);
        let size = bytes.len() as u64;
        let archive = TarTree::open(Source::new(bytes.clone(), size)).unwrap();
        prop_assert!(told(&*archive) == told(&*system));
        prop_assert!(write(&*archive, &mut losses) == bytes);
    }
}
