//! File systems that real ZFS sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_zstream::fs::objects::DeviceStore;
use kiln_zstream::fs::tree::{Content, Kind, Tree};
use kiln_zstream::fs::{self, FileSystem, FileSystemOptions, Objects, Version};

use crate::common::{fixture, sha256};

pub type Stored = FileSystem<DeviceStore<Vec<u8>>>;

/// The file system of streams, each on top of the one before.
fn read(names: &[&str]) -> Stored {
    let mut objects = Objects::new(DeviceStore::new(Vec::new()));
    for name in names {
        objects.apply(&fixture(name)[..]).unwrap();
    }
    fs::read(objects).unwrap()
}

fn bytes(content: &Arc<dyn Content>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(content.size()).unwrap()];
    content
        .give(&mut |offset, piece| {
            bytes[usize::try_from(offset).unwrap()..][..piece.len()].copy_from_slice(piece);
            Ok(())
        })
        .unwrap();
    bytes
}

/// The lines of `find -printf '%i %y %m %n %U %G %s %p %l'` and of `sha256sum`, as they would be of a tree. Some of what `find` says comes
/// from the objects: their numbers, and the sizes of folders.
fn listed(system: &Stored) -> (Vec<String>, Vec<String>) {
    let tree = &system.tree;
    let mut names = BTreeMap::new();
    for step in tree.walk() {
        *names.entry(step.node).or_insert(0) += 1;
    }
    let (mut lines, mut sums) = (Vec::new(), Vec::new());
    let mut path = Vec::new();
    let mut line = |id, path: &str| {
        let node = tree.node(id);
        let folders =
            tree.entries(id).filter(|(_, entry)| matches!(tree.node(*entry).kind, Kind::Directory(_)));
        let (kind, links, size, target) = match &node.kind {
            Kind::Directory(entries) => ('d', 2 + folders.count(), entries.len() as u64 + 2, String::new()),
            Kind::File(content) => {
                sums.push(format!("{}  {path}", sha256(&bytes(content))));
                ('f', names[&id], content.size(), String::new())
            }
            Kind::Symlink(target) => {
                ('l', names[&id], target.len() as u64, String::from_utf8(target.clone()).unwrap())
            }
            Kind::CharacterDevice(_) => ('c', names[&id], 0, String::new()),
            Kind::Fifo => ('p', names[&id], 0, String::new()),
            _ => panic!("nothing else is in the fixture"),
        };
        let object = system.object_of(id);
        let attributes = node.attributes;
        let (mode, uid, gid) = (attributes.permissions, attributes.uid, attributes.gid);
        lines.push(format!("{object} {kind} {mode:o} {links} {uid} {gid} {size} {path} {target}"));
    };
    line(tree.root(), ".");
    for step in tree.walk() {
        path.truncate(step.depth);
        path.push(String::from_utf8(step.name.to_vec()).unwrap());
        line(step.node, &format!("./{}", path.join("/")));
    }
    lines.sort();
    sums.sort();
    (lines, sums)
}

/// All that the streams say of a tree.
pub fn described(system: &Stored) -> impl PartialEq + use<> {
    let node = |id| {
        let node = system.tree.node(id);
        let kind = match &node.kind {
            Kind::CharacterDevice(device) | Kind::BlockDevice(device) => Some(*device),
            _ => None,
        };
        let extended: Vec<_> =
            node.extended.iter().map(|(name, value)| (name.clone(), bytes(value))).collect();
        (node.attributes, kind, extended, node.acl.clone())
    };
    let nodes: Vec<_> = system.tree.walk().map(|step| node(step.node)).collect();
    (node(system.tree.root()), nodes, listed(system), paths(&system.tree))
}

fn lines(fixture_name: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        String::from_utf8(fixture(fixture_name)).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_tree_is_the_one_that_was_sent() {
    let (listed, sums) = listed(&read(&["fs5-full.zs.gz"]));
    assert_eq!(listed, lines("fs5-full.list.txt.gz"));
    assert_eq!(sums, lines("fs5-full.sha256.txt.gz"));
}

#[test]
fn nothing_is_found_in_what_real_zfs_sent() {
    for names in [
        &["fs5-full.zs.gz"][..],
        &["fs5-full.zs.gz", "fs5-inc.zs.gz"],
        &["fs5-tiny.zs.gz"],
        &["fs4-tiny.zs.gz"],
        &["fuse-fs4-full.zs.gz"],
        &["fuse-fs4-full.zs.gz", "fuse-fs4-inc.zs.gz"],
    ] {
        let system = read(names);
        assert_eq!(fs::check(&system.objects), [], "{names:?}");
        assert_eq!(system.objects.info().unwrap().snapshots, 1);
        assert!(system.tree.walk().all(|step| system.tree.node(step.node).acl.is_none()), "{names:?}");
    }
}

#[test]
fn extended_attributes_are_read() {
    let system = read(&["fs5-full.zs.gz"]);
    let with: Vec<_> = system
        .tree
        .walk()
        .flat_map(|step| system.tree.node(step.node).extended.iter())
        .map(|(name, value)| (String::from_utf8(name.clone()).unwrap(), bytes(value).len()))
        .collect();
    assert!(!with.is_empty());
}

/// Paths with what they are: enough to see what an increment did.
fn paths(tree: &Tree) -> BTreeMap<String, (u8, Vec<u8>)> {
    let mut path = Vec::new();
    tree.walk()
        .map(|step| {
            path.truncate(step.depth);
            path.push(String::from_utf8(step.name.to_vec()).unwrap());
            let kind = &tree.node(step.node).kind;
            let contents = match kind {
                Kind::File(content) => bytes(content),
                Kind::Symlink(target) => target.clone(),
                _ => Vec::new(),
            };
            (path.join("/"), (kind.code(), contents))
        })
        .collect()
}

#[test]
fn an_increment_goes_on_top_of_its_origin() {
    for (full, increment) in
        [("fs5-full.zs.gz", "fs5-inc.zs.gz"), ("fuse-fs4-full.zs.gz", "fuse-fs4-inc.zs.gz")]
    {
        let (before, after) = (paths(&read(&[full]).tree), paths(&read(&[full, increment]).tree));
        assert_ne!(before, after, "{increment}");
        let added: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
        let removed: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
        println!("{increment}: {added:?} {removed:?}");
        assert!(!added.is_empty() && !removed.is_empty(), "{increment}");
    }
}

#[test]
fn what_zfs_sent_is_the_same_once_written_here() {
    for names in [
        &["fs5-full.zs.gz", "fs5-inc.zs.gz"][..],
        &["fuse-fs4-full.zs.gz"],
        &["fs5-tiny.zs.gz"],
        &["fs4-tiny.zs.gz"],
    ] {
        let tree = read(names).tree;
        for version in [Version::Four, Version::Five] {
            let options =
                FileSystemOptions { to_name: "a@final".into(), to_guid: 1, creation_time: 0, version };
            let (stream, _) = fs::write(Vec::new(), &tree, &options).unwrap();
            let mut objects = Objects::new(DeviceStore::new(Vec::new()));
            objects.apply(&stream[..]).unwrap();
            let again = fs::read(objects).unwrap().tree;
            assert!(paths(&again) == paths(&tree), "{names:?}");
        }
    }
}
