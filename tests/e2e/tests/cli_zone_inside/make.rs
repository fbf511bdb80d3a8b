//! Images of zones, as real ZFS sent them and as they are made here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_e2e::{Lab, Said};
use kiln_harness::fixtures;
use kiln_zstream::fs::objects::DeviceStore;
use kiln_zstream::fs::tree::{Attributes, Device, Kind, NodeId, Time, Tree};
use kiln_zstream::fs::{self as zfs, FileSystemOptions, IncrementOptions, Objects, Version};
use serde_json::Value;

/// The full stream among the fixtures that has everything in it, its list, and the digests of its files.
pub const FULL: &str = "zstream/fs5-full.zs.gz";
/// An increment on it.
pub const INCREMENT: &str = "zstream/fs5-inc.zs.gz";

pub fn text(path: &Path) -> &str {
    path.to_str().expect("scratch paths are UTF-8")
}

pub fn json(said: &Said) -> Value {
    serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr))
}

/// The objects, one a line, that kiln printed.
pub fn lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A line of `find -printf '%i %y %m %n %U %G %s %p %l'` where a fixture was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub kind: char,
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// With `/` for the top.
    pub path: String,
    pub target: String,
}

/// What is in [`FULL`], by path.
pub fn listed() -> BTreeMap<String, Listed> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.splitn(9, ' ').collect();
        let path = fields[7].strip_prefix('.').unwrap();
        Listed {
            kind: fields[1].chars().next().unwrap(),
            mode: u32::from_str_radix(fields[2], 8).unwrap(),
            links: fields[3].parse().unwrap(),
            uid: fields[4].parse().unwrap(),
            gid: fields[5].parse().unwrap(),
            size: fields[6].parse().unwrap(),
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            target: fields[8].to_owned(),
        }
    };
    let list = fixtures::text("zstream/fs5-full.list.txt.gz");
    list.lines().map(parse).map(|listed| (listed.path.clone(), listed)).collect()
}

/// The SHA-256 of the files in [`FULL`], by path.
pub fn digests() -> BTreeMap<String, String> {
    let sums = fixtures::text("zstream/fs5-full.sha256.txt.gz");
    let parse = |line: &str| {
        let (sum, path) = line.split_once("  .").unwrap();
        (path.to_owned(), sum.to_owned())
    };
    sums.lines().map(parse).collect()
}

fn time(seconds: i64, nanoseconds: u32) -> Time {
    Time { seconds, nanoseconds }
}

pub fn attributes(permissions: u16, uid: u32, gid: u32) -> Attributes {
    let when = time(1_400_000_000, 123_456_789);
    Attributes { permissions, uid, gid, accessed: when, modified: when, changed: when, created: when }
}

pub fn folder(tree: &mut Tree, above: NodeId, name: &str, permissions: u16) -> NodeId {
    tree.add(above, name.as_bytes(), attributes(permissions, 0, 3), Kind::Directory(BTreeMap::new())).unwrap()
}

pub fn file(tree: &mut Tree, above: NodeId, name: &[u8], permissions: u16, bytes: &[u8]) -> NodeId {
    let contents = Kind::File(Arc::new(bytes.to_vec()));
    tree.add(above, name, attributes(permissions, 0, 0), contents).unwrap()
}

/// The smallest tree of a zone that boots, and one of everything that makes conversions hard.
pub fn zone() -> Tree {
    let mut tree = Tree::new(attributes(0o755, 0, 0));
    let top = tree.root();
    let root = folder(&mut tree, top, "root", 0o755);
    let etc = folder(&mut tree, root, "etc", 0o755);
    let svc = folder(&mut tree, etc, "svc", 0o755);
    file(&mut tree, etc, b"passwd", 0o644, b"root:x:0:0::/root:/bin/sh\n");
    file(&mut tree, etc, b"group", 0o644, b"root::0:\n");
    file(&mut tree, etc, b"shadow", 0o400, b"root:*:::::::\n");
    file(&mut tree, etc, b"product", 0o644, b"Name: Instance\nImage: base-64 22.4.0\nDocumentation: none\n");
    file(&mut tree, svc, b"repository.db", 0o600, &[7; 4096]);
    let var = folder(&mut tree, root, "var", 0o755);
    folder(&mut tree, var, "svc", 0o755);
    folder(&mut tree, root, "tmp", 0o1777);

    let odd = folder(&mut tree, root, "odd", 0o750);
    file(&mut tree, odd, b"bytes \xff\n#=*\\", 0o640, b"of any kind");
    file(&mut tree, odd, &[b'l'; 200], 0o644, b"a long name");
    let su = file(&mut tree, odd, b"su", 0o4755, b"lends rights");
    tree.attributes_mut(su).uid = 3_000_000;
    let old = file(&mut tree, odd, b"old", 0o444, b"before 1970");
    tree.attributes_mut(old).modified = time(-2, 750_000_000);
    let first = file(&mut tree, odd, b"first", 0o644, b"of two names");
    tree.link(root, b"second", first).unwrap();
    tree.extended_mut(first).insert(b"user.note=%".to_vec(), Arc::new(b"binary \0\xff".to_vec()));
    let mut holes = vec![0; 1 << 20];
    holes[300_000..300_100].fill(1);
    holes[900_000..900_001].fill(2);
    file(&mut tree, odd, b"holes", 0o644, &holes);
    file(&mut tree, odd, b"hole", 0o644, &vec![0; 500_000]);
    let any = attributes(0o777, 0, 0);
    tree.add(odd, b"link", any, Kind::Symlink(vec![b't'; 300])).unwrap();
    tree.add(odd, b"out", any, Kind::Symlink(b"/etc/passwd".to_vec())).unwrap();
    let device = Device { major: 13, minor: 3_000_000 };
    tree.add(odd, b"device", attributes(0o666, 0, 3), Kind::CharacterDevice(device)).unwrap();
    tree.add(odd, b"pipe", attributes(0o600, 1, 2), Kind::Fifo).unwrap();
    tree
}

/// A full stream of a tree.
pub fn full(tree: &Tree, guid: u64) -> Vec<u8> {
    let options = FileSystemOptions {
        to_name: "zones/image@final".into(),
        to_guid: guid,
        creation_time: 1_500_000_000,
        version: Version::Five,
    };
    zfs::write(Vec::new(), tree, &options).unwrap().0
}

/// The stream that makes a tree of what the streams before it made.
pub fn increment(before: &[&[u8]], tree: &Tree, guid: u64) -> Vec<u8> {
    let mut objects = Objects::new(DeviceStore::new(Vec::new()));
    for stream in before {
        objects.apply(*stream).unwrap();
    }
    let options =
        IncrementOptions { to_name: "zones/image@final".into(), to_guid: guid, creation_time: 1_600_000_000 };
    zfs::write_increment(Vec::new(), tree, &zfs::read(objects).unwrap(), &options).unwrap().0
}

/// Puts bytes into the lab.
pub fn put(lab: &Lab, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = lab.join(name);
    fs::write(&path, bytes).unwrap();
    path
}
