//! A tree with one of everything, at the limits of the forms in which ZFS keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_e2e::trees::Dice;
use kiln_zstream::fs::Tree;
use kiln_zstream::fs::tree::{Attributes, Device, Kind, NodeId, Time};

use crate::model::Sparse;

/// How much of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Entries of the largest folder.
    pub names: u32,
    /// Every so manieth of the 4096 modes.
    pub modes: usize,
    /// Length of the largest file, nearly all of it a hole.
    pub sparse: u64,
}

impl Extent {
    /// All there is.
    pub const WHOLE: Self = Self { names: 100_000, modes: 1, sparse: 1 << 40 };
    /// What programs of a small machine copy quickly.
    pub const SMALL: Self = Self { names: 3000, modes: 37, sparse: 64 << 20 };
}

/// A tree in the making.
struct Builder {
    tree: Tree,
    dice: Dice,
}

fn attributes(permissions: u16) -> Attributes {
    let time = |seconds| Time { seconds, nanoseconds: 123_456_789 };
    Attributes {
        permissions,
        uid: 60_001,
        gid: 7,
        accessed: time(1_300_000_001),
        modified: time(1_300_000_002),
        changed: time(1_300_000_003),
        created: time(1_300_000_004),
    }
}

impl Builder {
    fn folder(&mut self, directory: NodeId, name: &str) -> NodeId {
        self.add(directory, name, 0o755, Kind::Directory(BTreeMap::new()))
    }

    fn add(&mut self, directory: NodeId, name: impl AsRef<[u8]>, permissions: u16, kind: Kind) -> NodeId {
        self.with(directory, name, attributes(permissions), kind)
    }

    fn with(
        &mut self,
        directory: NodeId,
        name: impl AsRef<[u8]>,
        attributes: Attributes,
        kind: Kind,
    ) -> NodeId {
        self.tree.add(directory, name.as_ref(), attributes, kind).expect("the tree is legal")
    }

    fn file(&mut self, directory: NodeId, name: impl AsRef<[u8]>, contents: Sparse) -> NodeId {
        self.add(directory, name, 0o644, Kind::File(Arc::new(contents)))
    }

    fn note(&mut self, node: NodeId, name: &str, value: Vec<u8>) {
        self.tree.extended_mut(node).insert(name.as_bytes().to_vec(), Arc::new(value));
    }
}

/// The tree.
pub fn menagerie(extent: Extent) -> Tree {
    let mut builder = Builder { tree: Tree::new(attributes(0o755)), dice: Dice::new(1) };
    let root = builder.tree.root();
    builder.note(root, "user.top", b"of all".to_vec());
    contents(&mut builder, extent);
    names(&mut builder);
    folders(&mut builder, extent);
    links(&mut builder);
    others(&mut builder);
    marks(&mut builder, extent);
    notes(&mut builder);
    builder.tree
}

fn contents(builder: &mut Builder, extent: Extent) {
    let top = builder.tree.root();
    let sizes = builder.folder(top, "sizes");
    for size in [0, 1, 511, 512, 513, 4096, 65_537, 131_071, 131_072, 131_073, 262_144, 5_000_001] {
        let bytes = builder.dice.bytes(size);
        builder.file(sizes, format!("of {size}"), Sparse::full(&bytes));
    }
    let sparse = builder.folder(top, "sparse");
    let mut with = |name: &str, size: u64, places: &[u64]| {
        let mut contents = Sparse::hole(size);
        for &place in places {
            contents.write(place, &builder.dice.bytes(900));
        }
        builder.file(sparse, name, contents);
    };
    with("hole before", 2 << 20, &[(2 << 20) - 900]);
    with("hole between", 3_000_017, &[0, 2_999_000]);
    with("hole after", 3_000_017, &[5]);
    with("only a hole", 10_000_001, &[]);
    with("zeros in one block", 100, &[]);
    with("nearly nothing", extent.sparse, &[7, extent.sparse / 2 + 5, extent.sparse - 900]);
}

fn names(builder: &mut Builder) {
    let top = builder.tree.root();
    let folder = builder.folder(top, "names");
    for length in [1, 48, 49, 50, 51, 255] {
        builder.add(folder, vec![b'n'; length], 0o644, Kind::Fifo);
        // Not UTF-8, and as long.
        builder.add(folder, vec![0xfe; length], 0o644, Kind::Fifo);
    }
    for name in ["a tab\t", "a line\n", "a \\ and a \"", " ", "-rf", "...", "\u{e9} and e\u{301}", "\u{1}"] {
        builder.file(folder, name, Sparse::full(name.as_bytes()));
    }
    let short = builder.folder(top, "short names");
    for byte in (1..=255).filter(|&byte| byte != b'/' && byte != b'.') {
        builder.add(short, [byte], 0o600, Kind::Fifo);
    }
}

/// Folders of so many entries, which are names of few things.
fn folders(builder: &mut Builder, extent: Extent) {
    let top = builder.tree.root();
    let folders = builder.folder(top, "folders");
    builder.folder(folders, "empty");
    let things: Vec<NodeId> =
        (0..50).map(|number| builder.add(folders, format!("{number}"), 0o640, Kind::Fifo)).collect();
    let long = "l".repeat(240);
    for (count, prefix) in [
        (1, ""),
        (7, ""),
        (2047, ""),
        (2048, ""),
        (extent.names, ""),
        (300, "a name that is no short one, by far, "),
        (700, &long),
    ] {
        let folder = builder.folder(folders, &format!("of {count}"));
        for number in 0..count {
            let thing = things[number as usize % things.len()];
            builder.tree.link(folder, format!("{prefix}{number}").as_bytes(), thing).expect("it is legal");
        }
    }
    let deep = (0..60).fold(folders, |folder, _| builder.folder(folder, "deeper"));
    builder.file(deep, "bottom", Sparse::full(b"here"));
    let wide = builder.folder(folders, "of folders");
    for number in 0..50 {
        builder.folder(wide, &format!("{number}"));
    }
}

fn links(builder: &mut Builder) {
    let top = builder.tree.root();
    let (one, other) = (builder.folder(top, "one"), builder.folder(top, "other"));
    let file = builder.file(other, "file", Sparse::full(b"of three names\n"));
    let symlink = builder.add(other, "link", 0o777, Kind::Symlink(b"of two names".to_vec()));
    for (folder, name, node) in [(one, "file", file), (other, "again", file), (one, "link", symlink)] {
        builder.tree.link(folder, name.as_bytes(), node).expect("it is legal");
    }
    let folder = builder.folder(top, "symbolic links");
    for length in [1, 55, 56, 57, 143, 144, 145, 500, 1023] {
        let target: Vec<u8> = (0..length).map(|place| b'a' + place as u8 % 26).collect();
        // Modes whose lists have three entries and six, which leave less room.
        for mode in [0o777, 0o242] {
            builder.add(folder, format!("{mode:o} {length}"), mode, Kind::Symlink(target.clone()));
            let noted =
                builder.add(folder, format!("{mode:o} {length} noted"), mode, Kind::Symlink(target.clone()));
            builder.note(noted, "trusted.note", b"a note".to_vec());
        }
    }
}

fn others(builder: &mut Builder) {
    let top = builder.tree.root();
    let folder = builder.folder(top, "others");
    for (number, (major, minor)) in
        [(0, 0), (1, 3), (13, 0xfff_ffff), (0x3ffff, 0xffff_ffff), (255, 1 << 20)].into_iter().enumerate()
    {
        let numbers = Device { major, minor };
        builder.add(folder, format!("character {number}"), 0o666, Kind::CharacterDevice(numbers));
        let block = builder.add(folder, format!("block {number}"), 0o242, Kind::BlockDevice(numbers));
        builder.note(block, "trusted.note", vec![1; 1000]);
    }
    for (name, kind) in [("pipe", Kind::Fifo), ("socket", Kind::Socket)] {
        builder.add(folder, name, 0o600, kind.clone());
        let noted = builder.add(folder, format!("{name} noted"), 0o600, kind);
        builder.note(noted, "trusted.note", b"a note".to_vec());
    }
}

/// Modes, owners and times.
fn marks(builder: &mut Builder, extent: Extent) {
    let top = builder.tree.root();
    let modes = builder.folder(top, "modes");
    for mode in (0..0o10000).step_by(extent.modes) {
        builder.add(modes, format!("{mode:04o}"), mode, Kind::File(Arc::new(Sparse::default())));
    }
    for mode in (0..0o10000).step_by(73) {
        builder.add(modes, format!("folder {mode:04o}"), mode, Kind::Directory(BTreeMap::new()));
    }
    let owners = builder.folder(top, "owners");
    for id in [0, 1, 65_534, 65_535, 65_536, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe] {
        let (by_user, by_group) =
            (Attributes { uid: id, ..attributes(0o600) }, Attributes { gid: id, ..attributes(0o600) });
        builder.with(owners, format!("user {id}"), by_user, Kind::Fifo);
        builder.with(owners, format!("group {id}"), by_group, Kind::Directory(BTreeMap::new()));
    }
    let times = builder.folder(top, "times");
    for seconds in [
        0,
        1,
        -1,
        -2_000_000_000,
        -62_135_596_800,
        i64::from(i32::MAX),
        i64::from(i32::MAX) + 1,
        i64::from(u32::MAX) + 1,
        253_402_300_799,
    ] {
        for nanoseconds in [0, 1, 999_999_999] {
            let time = Time { seconds, nanoseconds };
            let attributes = Attributes {
                accessed: time,
                modified: time,
                changed: time,
                created: time,
                ..attributes(0o600)
            };
            builder.with(times, format!("{seconds} {nanoseconds}"), attributes, Kind::Fifo);
        }
    }
}

/// Extended attributes.
fn notes(builder: &mut Builder) {
    let top = builder.tree.root();
    let folder = builder.folder(top, "notes");
    builder.note(folder, "user.of a folder", b"yes".to_vec());
    let one = builder.file(folder, "one", Sparse::full(b"one"));
    builder.note(one, "user.small", b"small".to_vec());
    let large = builder.file(folder, "large", Sparse::full(b"large"));
    for length in [0, 1, 512, 65_535, 65_536] {
        let value = builder.dice.bytes(length);
        builder.note(large, &format!("user.of {length}"), value);
    }
    let many = builder.file(folder, "many", Sparse::full(b"many"));
    for number in 0..400 {
        builder.note(many, &format!("user.{number}"), number.to_string().into_bytes());
    }
    let named = builder.file(folder, "named", Sparse::full(b"named"));
    builder.note(named, &format!("user.{}", "x".repeat(250)), b"of a long name".to_vec());
}
