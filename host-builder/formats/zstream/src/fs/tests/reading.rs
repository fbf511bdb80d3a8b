//! What other systems put into their streams is read, and kept by increments.

use super::passing::*;
use super::*;
use crate::finding::Finding;
use crate::fs::{packed, sa};
use crate::zap::Value;

type Stored = FileSystem<DeviceStore<Vec<u8>>>;
/// Extended attributes: names and values.
type Values = Vec<(Vec<u8>, Vec<u8>)>;

const DXATTR: u64 = 20;

/// The small tree as a newer system keeps it: the file has extended attributes among its own.
fn with_packed(values: &[(&[u8], &[u8])]) -> Vec<u8> {
    let before = read_back(&written(&small(), Version::Five));
    let schema = before.schema.as_ref().unwrap();
    damaged(&small(), Version::Five, |at| {
        let mut znode = before.places[before.tree.find([&b"file"[..]]).unwrap().index()].znode.clone();
        znode.packed = Some(packed::encode(values));
        let (bonus, spill) = znode.layouts();
        let used: Vec<_> = [bonus].into_iter().chain(spill).collect();
        let (numbering, table) = schema.numbering(&used);
        of(at, LAYOUTS).table(&table.expect("no file has had such attributes yet"), true);
        let mut registry = sa::registry();
        registry.insert(b"ZPL_DXATTR", 3 << 16 | DXATTR).unwrap();
        of(at, 5).table(&registry, false);
        let encoded = znode.to_attributes(&numbering);
        let file = of(at, FILE);
        (file.bonus, file.spill) = (encoded.bonus, encoded.spill);
    })
}

fn file(system: &Stored) -> &Node {
    system.tree.node(system.tree.find([&b"file"[..]]).unwrap())
}

/// The extended attributes of a file, and whether it has any among its own.
fn extended(system: &Stored) -> (Values, bool) {
    let node = system.tree.find([&b"file"[..]]).unwrap();
    let (_, _, values) = contents(&system.tree)[&b"file"[..]].clone();
    (values, system.places[node.index()].znode.packed.is_some())
}

fn no_findings(system: &Stored) {
    assert_eq!(check(&system.objects), Vec::<Finding>::new());
}

#[test]
fn extended_attributes_among_a_files_own_are_read_and_kept() {
    let long = vec![7; 3000];
    for value in [&b"short"[..], &long] {
        let stream = with_packed(&[(b"user.one", value), (b"user.two", b"2")]);
        let origin = read_back(&stream);
        no_findings(&origin);
        let both = vec![(b"user.one".to_vec(), value.to_vec()), (b"user.two".to_vec(), b"2".to_vec())];
        assert_eq!(extended(&origin), (both.clone(), true));
        assert_eq!(file(&origin).attributes, attributes(0o644));
        let node = origin.tree.find([&b"file"[..]]).unwrap();

        // What is the same is not sent.
        let (_, summary) = increment(&origin, &origin.tree);
        assert_eq!(summary.objects, 0);

        // They stay where they are when something else changes.
        let mut tree = origin.tree.clone();
        tree.attributes_mut(node).permissions = 0o600;
        let (increment_of_mode, _) = increment(&origin, &tree);
        let read = read_on_top(&stream, &increment_of_mode);
        assert_eq!((extended(&read), file(&read).attributes.permissions), ((both.clone(), true), 0o600));
        no_findings(&read);

        // One more has a folder, beside them.
        let mut tree = origin.tree.clone();
        tree.extended_mut(node).insert(b"user.new".to_vec(), Arc::new(b"3".to_vec()));
        let read = read_on_top(&stream, &increment(&origin, &tree).0);
        let three = [(b"user.new".to_vec(), b"3".to_vec())].into_iter().chain(both.clone()).collect();
        assert_eq!(extended(&read), (three, true));
        no_findings(&read);

        // As soon as one of them changes, all get a folder, and the old ones are gone.
        for removed in [true, false] {
            let mut tree = origin.tree.clone();
            let one = tree.extended_mut(node).remove(&b"user.one"[..]).unwrap();
            let mut expected = both[1..].to_vec();
            if !removed {
                tree.extended_mut(node).insert(b"user.one".to_vec(), Arc::new(vec![8; one.size() as usize]));
                expected.insert(0, (b"user.one".to_vec(), vec![8; value.len()]));
            }
            let read = read_on_top(&stream, &increment(&origin, &tree).0);
            assert_eq!(extended(&read), (expected, false));
            no_findings(&read);
            let holder = read.objects.get(FILE).unwrap();
            assert!(!holder.bonus.windows(8).any(|bytes| bytes == b"user.one"));
            assert!(
                !holder.spill.iter().flat_map(|spill| spill.windows(8)).any(|bytes| bytes == b"user.one")
            );
        }
        // A new file system has them in folders, too.
        let again = read_back(&written(&origin.tree, Version::Five));
        assert_eq!(extended(&again), (both, false));
    }
    let damaged = with_packed(&[]);
    assert_eq!(extended(&read_back(&damaged)), (Vec::new(), true));
}

fn user(who: u64) -> Ace {
    Ace { kind: 0, flags: 0, mask: 0x12_0089, who: Some(who), object: None }
}

/// Lists of so many entries about users.
fn listed(entries: u64) -> Tree {
    let mut tree = small();
    let nodes: Vec<NodeId> = tree.walk().map(|step| step.node).chain([tree.root()]).collect();
    for node in nodes {
        *tree.acl_mut(node) = Some((0..entries).map(user).collect());
    }
    let file = tree.find([&b"file"[..]]).unwrap();
    tree.extended_mut(file).insert(b"user.note".to_vec(), Arc::new(b"a note".to_vec()));
    tree
}

/// The lists of a tree by path.
fn lists(tree: &Tree) -> Vec<Option<Vec<Ace>>> {
    let top = [tree.root()].into_iter();
    top.chain(tree.walk().map(|step| step.node)).map(|node| tree.node(node).acl.clone()).collect()
}

#[test]
fn access_control_lists_are_kept() {
    for (version, entries) in
        [(Version::Four, 4), (Version::Five, 4), (Version::Five, 11), (Version::Five, 1024)]
    {
        let tree = listed(entries);
        let full = written(&tree, version);
        let read = read_back(&full);
        no_findings(&read);
        assert_eq!(lists(&read.tree), lists(&tree), "{version:?} {entries}");
        assert!(contents(&read.tree) == contents(&tree), "{version:?} {entries}");
        let flags = read.places[read.tree.root().index()].znode.flags;
        assert_eq!(flags & 0x104, 0, "neither trivial nor free to all");

        // A list that changes is a change, to one that says no more than the mode as well.
        let mut changed = tree.clone();
        let file = changed.find([&b"file"[..]]).unwrap();
        *changed.acl_mut(file) = None;
        *changed.acl_mut(tree.root()) = Some(vec![user(7)]);
        let (stream, summary) = increment(&read, &changed);
        // The two, and the folder of extended attributes with its file. A spill block that was there for the list has something else
        // now, for which there is no layout yet.
        assert_eq!(summary.objects, 2 + 2 + u64::from(entries > 4));
        let read = read_on_top(&full, &stream);
        no_findings(&read);
        assert_eq!(lists(&read.tree), lists(&changed));
    }
}

#[test]
fn lists_that_cannot_be_written_say_so() {
    let bad = Ace { who: None, ..user(1) };
    for (version, list, words) in [
        (Version::Four, (0..5).map(user).collect::<Vec<_>>(), "take version 5"),
        (Version::Five, (0..1025).map(user).collect(), "more than 1024"),
        (Version::Five, vec![bad], "entries that are none"),
    ] {
        let mut tree = small();
        let file = tree.find([&b"file"[..]]).unwrap();
        *tree.acl_mut(file) = Some(list);
        let error = write(Vec::new(), &tree, &options(version)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("/file: ") && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn lists_in_objects_of_their_own_are_read() {
    const HOLDER: u64 = 100;
    /// The file in version 4, and where its bonus buffer speaks of its list.
    const FILE: u64 = 4;
    const LIST: usize = 176;
    let list: Vec<Ace> = (0..40).map(user).collect();
    let length = 40 * 16_u32;
    let stream = |files: &[u64], length: u32| {
        damaged(&small(), Version::Four, |at| {
            for &file in files {
                let bonus = &mut of(at, file).bonus;
                bonus[LIST..LIST + 8].copy_from_slice(&HOLDER.to_le_bytes());
                bonus[LIST + 8..LIST + 12].copy_from_slice(&length.to_le_bytes());
                bonus[LIST + 14..LIST + 16].copy_from_slice(&40u16.to_le_bytes());
            }
            at.push(list_object(HOLDER, &list));
        })
    };
    let read = read_back(&stream(&[FILE], length));
    no_findings(&read);
    assert_eq!(file(&read).acl, Some(list.clone()));
    for (stream, words) in [
        (stream(&[FILE], length - 1), "not all there"),
        (stream(&[FILE, FILE + 1], length), "something else, too"),
    ] {
        let error = reader::read(objects(&stream)).err().unwrap();
        assert!(error.detail.contains(words), "{error}");
        assert!(!check(&objects(&stream)).is_empty());
    }
}

/// What cannot be read says why and where.
fn refused(stream: &[u8]) -> String {
    let findings = check(&objects(stream));
    assert!(!findings.is_empty(), "what cannot be read is found, too");
    reader::read(objects(stream)).err().unwrap().to_string()
}

#[test]
fn names_of_other_systems_are_named_with_the_path() {
    let stream = damaged(&small(), Version::Five, |at| of(at, FILE).set(OWNER, (5 << 32) + 1001));
    let said = refused(&stream);
    assert!(
        said.contains("its owner is somebody (number 1001 of domain 5)") && said.contains("/file"),
        "{said}"
    );
}

#[test]
fn folders_in_themselves_do_not_make_trees() {
    let entry = |at: &mut Vec<Passing>, number: u64| {
        let root = of(at, ROOT);
        let slot = root.slot("file");
        root.blocks[0].1[slot..slot + 8].copy_from_slice(&(number | 4 << 60).to_le_bytes());
    };
    for (number, words) in [(ROOT, "second name of a folder"), (FOLDER, "second name of a folder")] {
        let said = refused(&damaged(&small(), Version::Five, |at| entry(at, number)));
        assert!(said.contains(words) && said.contains("/f"), "{said}");
    }
}

#[test]
fn folders_may_be_very_deep() {
    const DEPTH: usize = 100_000;
    let mut tree = Tree::new(attributes(0o755));
    let mut at = tree.root();
    for _ in 0..DEPTH {
        at = tree.add(at, b"d", attributes(0o755), Kind::Directory(BTreeMap::new())).unwrap();
    }
    let stream = written(&tree, Version::Five);
    let read = read_back(&stream);
    assert_eq!((read.tree.len(), check(&read.objects)), (DEPTH + 1, vec![]));
    // The deepest has no generation: its path is said, but not all of it.
    let deepest = read.object_of(at);
    let damaged = damaged(&tree, Version::Five, |all| of(all, deepest).set(GENERATION, 0));
    let said = refused(&damaged);
    assert!(said.contains("generation is 0") && said.ends_with("/d/d)") && said.len() < 2000, "{said}");
}

#[test]
fn large_dnodes_keep_their_size() {
    let stream = {
        let mut passing = passing(&written(&small(), Version::Five));
        // Numbers behind a large dnode are part of it.
        of(&mut passing, NULL).header.dnode_slots = 4;
        of(&mut passing, NULL).bonus.resize(1800, 0);
        let features = crate::Features(crate::Features::SA_SPILL.0 | crate::Features::LARGE_DNODE.0);
        passed(&passing, &begin(features))
    };
    let origin = read_back(&stream);
    no_findings(&origin);
    assert_eq!(increment(&origin, &origin.tree).1.objects, 0);
    let mut tree = origin.tree.clone();
    let null = tree.find([&b"null"[..]]).unwrap();
    tree.attributes_mut(null).permissions = 0o600;
    tree.add(tree.root(), b"new", attributes(0o644), Kind::Fifo).unwrap();
    let read = read_on_top(&stream, &increment(&origin, &tree).0);
    no_findings(&read);
    assert!(contents(&read.tree) == contents(&tree));
    assert_eq!(read.objects.get(NULL).unwrap().dnode_slots, 4);
    let new = read.object_of(read.tree.find([&b"new"[..]]).unwrap());
    assert_eq!(new, NULL + 4);
    assert!(read.objects.features().contains(crate::Features::LARGE_DNODE));
}

#[test]
fn what_passes_by_is_described() {
    let stream = written(&small(), Version::Five);
    let all = passing(&stream);
    let mut describer = Describer::new(crate::checksum::ByteOrder::Little);
    let bonus = |describer: &Describer, number: u64| {
        let one = all.iter().find(|one| one.number == number).unwrap();
        describer.bonus(one.header.bonus_type, &one.bonus).unwrap()
    };
    let before = bonus(&describer, FILE);
    assert_eq!((before.mode, before.size, before.uid, before.gid), (0o100_644, 8, 60_001, 7));
    assert_eq!((before.parent, before.generation, before.more), (ROOT, 1, None));
    for table in &all {
        for (offset, block) in &table.blocks {
            describer.note(table.header.object_type, *offset, block);
        }
    }
    let more = bonus(&describer, LINK).more.unwrap();
    assert_eq!((more.links, more.modified.seconds), (1, -2));
    assert_eq!(more.spilled.target, Some(b"target".to_vec()));
    assert_eq!(bonus(&describer, NULL).more.unwrap().device, Some(Device { major: 13, minor: 2 }));
    let long = all.iter().find(|one| one.number == LONG_LINK).unwrap();
    let spilled = describer.spill(long.spill.as_ref().unwrap()).unwrap();
    assert_eq!(spilled, Spilled { target: Some(vec![b't'; 500]), ..Spilled::default() });
    assert_eq!(describer.bonus(0, &[]), None);
    let root = &all.iter().find(|one| one.number == ROOT).unwrap().blocks[0].1;
    let names = crate::zap::read_block(root, crate::checksum::ByteOrder::Little).unwrap();
    let file = names.iter().find(|entry| entry.name == b"file").unwrap();
    assert_eq!(file.value, Value::Number(FILE | 0o10 << 60));
}
