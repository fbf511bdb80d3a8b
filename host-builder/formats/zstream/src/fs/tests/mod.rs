//! Trees are written and read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

mod checking;
mod passing;
mod reading;

use super::objects::{DeviceStore, Objects};
use super::tree::{Attributes, Content, Device, Kind, Node, NodeId, Time, Tree};
use super::*;

const OPTIONS: FileSystemOptions = FileSystemOptions {
    to_name: String::new(),
    to_guid: 0x1234,
    creation_time: 1_400_000_000,
    version: Version::Five,
};

fn options(version: Version) -> FileSystemOptions {
    FileSystemOptions { to_name: "zones/zone@final".into(), version, ..OPTIONS }
}

/// All that a node has: attributes, kind and contents in words, extended attributes.
type Described = (Attributes, String, Vec<(Vec<u8>, Vec<u8>)>);

/// All that a tree has, by path.
fn contents(tree: &Tree) -> BTreeMap<Vec<u8>, Described> {
    let bytes = |content: &Arc<dyn Content>| {
        let mut bytes = vec![0; content.size() as usize];
        content
            .give(&mut |offset, piece| {
                bytes[offset as usize..][..piece.len()].copy_from_slice(piece);
                Ok(())
            })
            .unwrap();
        bytes
    };
    let mut path: Vec<&[u8]> = Vec::new();
    let mut first: BTreeMap<NodeId, Vec<u8>> = BTreeMap::new();
    let mut describe = |node: &Node, id: NodeId, at: &[u8]| {
        let same = first.entry(id).or_insert_with(|| at.to_vec()).clone();
        let kind = match &node.kind {
            Kind::File(content) => format!("file {:?}", bytes(content)),
            Kind::Symlink(target) => format!("link {target:?}"),
            Kind::CharacterDevice(device) | Kind::BlockDevice(device) => format!("{device:?}"),
            _ => String::new(),
        };
        let extended = node.extended.iter().map(|(name, value)| (name.clone(), bytes(value))).collect();
        (node.attributes, format!("{} {kind}, as {same:?}", node.kind.code()), extended)
    };
    let mut all = BTreeMap::from([(b"/".to_vec(), describe(tree.node(tree.root()), tree.root(), b"/"))]);
    for step in tree.walk() {
        path.truncate(step.depth);
        path.push(step.name);
        let at = path.join(&b'/');
        let described = describe(tree.node(step.node), step.node, &at);
        all.insert(at, described);
    }
    all
}

fn written(tree: &Tree, version: Version) -> Vec<u8> {
    let (stream, summary) = write(Vec::new(), tree, &options(version)).unwrap();
    assert_eq!(summary.stream_bytes, stream.len() as u64);
    stream
}

fn read_back(stream: &[u8]) -> FileSystem<DeviceStore<Vec<u8>>> {
    let mut objects = Objects::new(DeviceStore::new(Vec::new()));
    objects.apply(stream).unwrap();
    reader::read(objects).unwrap()
}

fn attributes(permissions: u16) -> Attributes {
    let time = |seconds| Time { seconds, nanoseconds: 123_456_789 };
    Attributes {
        permissions,
        uid: 60_001,
        gid: 7,
        accessed: time(1),
        modified: time(-2),
        changed: time(3),
        created: time(4),
    }
}

/// One of each kind, at the limits of their forms.
fn menagerie() -> Tree {
    let mut tree = Tree::new(attributes(0o755));
    let root = tree.root();
    let any = attributes(0o644);
    let file = |bytes: Vec<u8>| Kind::File(Arc::new(bytes));
    let etc = tree.add(root, b"etc", attributes(0o1777), Kind::Directory(BTreeMap::new())).unwrap();
    let motd = tree.add(etc, b"motd", attributes(0o6755), file(b"hello\n".to_vec())).unwrap();
    tree.link(root, b"also motd", motd).unwrap();
    for length in [0usize, 1, 511, 512, 513, 131_071, 131_072, 131_073, 400_000] {
        let bytes = (0..length).map(|n| (n % 251) as u8 + 1).collect();
        tree.add(root, format!("file of {length}").as_bytes(), any, file(bytes)).unwrap();
    }
    let mut sparse = vec![0; 1 << 20];
    sparse[700_000] = 1;
    tree.add(root, b"sparse", any, file(sparse)).unwrap();
    tree.add(root, b"hole", any, file(vec![0; 300_000])).unwrap();
    for length in [1usize, 56, 57, 143, 144, 500, 1023] {
        let name = format!("link of {length}");
        tree.add(root, name.as_bytes(), attributes(0o777), Kind::Symlink(vec![b't'; length])).unwrap();
        // A mode for which the list has six entries.
        tree.add(
            root,
            format!("{name} 421").as_bytes(),
            attributes(0o242),
            Kind::Symlink(vec![b't'; length]),
        )
        .unwrap();
    }
    let device = Device { major: 0x3ffff, minor: 0xfff_ffff };
    tree.add(root, b"character", any, Kind::CharacterDevice(device)).unwrap();
    tree.add(root, b"block", any, Kind::BlockDevice(device)).unwrap();
    tree.add(root, b"fifo", any, Kind::Fifo).unwrap();
    tree.add(root, b"socket", any, Kind::Socket).unwrap();
    tree.add(root, b"door", any, Kind::Door).unwrap();
    tree.add(root, &[0xfe; 255], any, Kind::Fifo).unwrap();
    let large = tree.add(root, b"large", any, Kind::Directory(BTreeMap::new())).unwrap();
    for number in 0..5000 {
        tree.add(large, format!("{number}").as_bytes(), any, Kind::Fifo).unwrap();
    }
    for name in ["etc", "file of 1", "link of 56", "link of 1023", "link of 1023 421", "block", "fifo"] {
        let id = tree.find([name.as_bytes()]).unwrap();
        tree.extended_mut(id).insert(b"user.note".to_vec(), Arc::new(b"a note".to_vec()));
        tree.extended_mut(id).insert(b"user.large".to_vec(), Arc::new(vec![5; 200_000]));
    }
    tree
}

#[test]
fn everything_is_read_back_as_it_was_written() {
    let tree = menagerie();
    for version in [Version::Five, Version::Four] {
        let read = read_back(&written(&tree, version));
        assert_eq!(contents(&read.tree), contents(&tree));
        assert_eq!(read.version, if version == Version::Four { 4 } else { 5 });
    }
}

#[test]
fn the_same_tree_gives_the_same_stream() {
    assert!(written(&menagerie(), Version::Five) == written(&menagerie(), Version::Five));
    let read = read_back(&written(&menagerie(), Version::Five));
    assert!(written(&read.tree, Version::Five) == written(&menagerie(), Version::Five));
}

fn increment(origin: &FileSystem<DeviceStore<Vec<u8>>>, tree: &Tree) -> (Vec<u8>, Summary) {
    let options = IncrementOptions {
        to_name: "zones/next@final".into(),
        to_guid: 0x5678,
        creation_time: 1_400_000_001,
    };
    write_increment(Vec::new(), tree, origin, &options).unwrap()
}

/// The origin with the increment on top.
fn read_on_top(full: &[u8], increment: &[u8]) -> FileSystem<DeviceStore<Vec<u8>>> {
    let mut objects = Objects::new(DeviceStore::new(Vec::new()));
    objects.apply(full).unwrap();
    objects.apply(increment).unwrap();
    reader::read(objects).unwrap()
}

#[test]
fn nothing_is_sent_of_what_is_the_same() {
    for version in [Version::Five, Version::Four] {
        let origin = read_back(&written(&menagerie(), version));
        let (_, summary) = increment(&origin, &menagerie());
        // The folders and files of extended attributes are declared again, as nobody compares them.
        assert_eq!(summary.objects, 7 * 3, "{summary:?}");
    }
}

/// A tree like another, with a byte more in one file, one less in another, a renamed file, and a folder less.
fn edited() -> Tree {
    let old = menagerie();
    let mut tree = Tree::new(attributes(0o755));
    let mut nodes = std::collections::HashMap::from([(old.root(), tree.root())]);
    for step in old.walk() {
        let Some(&directory) = nodes.get(&step.directory) else { continue };
        let node = old.node(step.node);
        let bytes = |length: usize| -> Kind {
            Kind::File(Arc::new((0..length).map(|n| (n % 251) as u8 + 1).collect::<Vec<u8>>()))
        };
        let (mut name, mut kind) = (step.name, node.kind.clone());
        match step.name {
            b"large" => continue,
            b"file of 511" => name = b"renamed",
            b"file of 131072" => kind = bytes(131_073),
            b"file of 400000" => kind = bytes(200_000),
            b"file of 513" => kind = bytes(0),
            b"sparse" => kind = Kind::File(Arc::new(vec![0; 1 << 20])),
            b"hole" => {
                let mut filled = vec![0; 300_000];
                filled[150_000] = 7;
                kind = Kind::File(Arc::new(filled));
            }
            b"fifo" => kind = bytes(3),
            b"link of 144" => kind = Kind::Symlink(b"short".to_vec()),
            _ => {}
        }
        if let Some(&linked) = nodes.get(&step.node) {
            tree.link(directory, name, linked).unwrap();
            continue;
        }
        let new = tree.add(directory, name, node.attributes, kind).unwrap();
        *tree.extended_mut(new) = node.extended.clone();
        nodes.insert(step.node, new);
    }
    tree.extended_mut(tree.root()).insert(b"user.new".to_vec(), Arc::new(b"new".to_vec()));
    let motd = tree.find([&b"etc"[..], b"motd"]).unwrap();
    tree.extended_mut(motd).insert(b"user.new".to_vec(), Arc::new(b"new".to_vec()));
    let plain = tree.find([&b"etc"[..]]).unwrap();
    tree.extended_mut(plain).clear();
    tree
}

#[test]
fn an_increment_makes_the_tree_of_the_origin() {
    for version in [Version::Five, Version::Four] {
        let full = written(&menagerie(), version);
        let origin = read_back(&full);
        let tree = edited();
        let (stream, summary) = increment(&origin, &tree);
        let read = read_on_top(&full, &stream);
        let (found, wanted) = (contents(&read.tree), contents(&tree));
        for (path, wanted) in &wanted {
            assert!(found.get(path) == Some(wanted), "{}", String::from_utf8_lossy(path));
        }
        assert_eq!(found.len(), wanted.len());
        assert!(summary.stream_bytes < 1_800_000, "{summary:?} of {}", full.len());
        assert_eq!(read.objects.info().unwrap().from_guid, 0x1234);
        // What was a file of that name elsewhere has kept its object.
        let (old, new) = (origin.tree.find([&b"file of 511"[..]]), read.tree.find([&b"renamed"[..]]));
        assert_eq!(origin.object_of(old.unwrap()), read.object_of(new.unwrap()));
        assert!(read.objects.iter().count() < origin.objects.iter().count(), "a folder of 5000 is gone");
    }
}

/// What a random node is made of: a kind, a name, a size, and which of the folders made so far it is in.
fn nodes() -> impl Strategy<Value = Vec<(u8, Vec<u8>, usize, prop::sample::Index, u16)>> {
    let name = prop::collection::vec(
        prop::num::u8::ANY.prop_filter("legal", |byte| ![0, b'/', b'.'].contains(byte)),
        1..60,
    );
    prop::collection::vec((0..8u8, name, 0..300_000usize, any::<prop::sample::Index>(), 0..0o10000u16), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn random_trees_are_read_back(nodes in nodes(), version in prop::sample::select(vec![Version::Four, Version::Five])) {
        let mut tree = Tree::new(attributes(0o755));
        let mut folders = vec![tree.root()];
        let mut files = Vec::new();
        for (kind, name, size, place, permissions) in nodes {
            let folder = folders[place.index(folders.len())];
            let kind = match kind {
                0 | 1 => Kind::Directory(BTreeMap::new()),
                2..=4 => Kind::File(Arc::new(vec![b'x'; size])),
                5 => Kind::Symlink(vec![b't'; size % 1023 + 1]),
                6 => Kind::CharacterDevice(Device { major: size as u32, minor: 1 }),
                _ => {
                    if let Some(&file) = files.first() {
                        let _ = tree.link(folder, &name, file);
                    }
                    continue;
                }
            };
            let is_folder = matches!(kind, Kind::Directory(_));
            if let Ok(node) = tree.add(folder, &name, attributes(permissions), kind) {
                if is_folder { folders.push(node) } else { files.push(node) }
            }
        }
        let full = written(&tree, version);
        prop_assert!(contents(&read_back(&full).tree) == contents(&tree));
        // Any tree can be made of any other.
        let origin = written(&menagerie(), version);
        let (stream, _) = increment(&read_back(&origin), &tree);
        prop_assert!(contents(&read_on_top(&origin, &stream).tree) == contents(&tree));
        let (stream, _) = increment(&read_back(&full), &menagerie());
        prop_assert!(contents(&read_on_top(&full, &stream).tree) == contents(&menagerie()));
    }
}
