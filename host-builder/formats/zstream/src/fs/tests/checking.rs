//! What kills a receiver is found, each defect by itself.

use super::passing::*;
use super::*;
use crate::finding::Finding;
use crate::record::Features;
use crate::zap;

/// What is damaged, what is found for it, and where.
type Case = (fn(&mut Vec<Passing>), u64, Harm, &'static str);

fn findings(stream: &[u8]) -> Vec<Finding> {
    check(&objects(stream))
}

/// A table of layouts.
fn layouts(layouts: &[(&str, &[u64])]) -> zap::Table {
    let mut table = zap::Table::new();
    for (number, attributes) in layouts {
        table.insert_value(number.as_bytes(), zap::Value::Integers(2, attributes.to_vec())).unwrap();
    }
    table
}

/// The layouts of the small tree: plain, link, link in a spill block, device.
const PLAIN: [u64; 14] = [5, 6, 4, 12, 13, 7, 11, 0, 1, 2, 3, 8, 16, 19];

fn small_layouts(number_of_plain: &str, plain: &[u64], next: [&str; 3]) -> zap::Table {
    let link = [&PLAIN[..], &[17]].concat();
    let device = [5, 6, 4, 12, 13, 7, 11, 0, 1, 2, 3, 8, 10, 16, 19];
    layouts(&[(number_of_plain, plain), (next[0], &link), (next[1], &[17]), (next[2], &device)])
}

#[test]
fn nothing_is_found_in_what_is_written_here() {
    for tree in [small(), menagerie()] {
        for version in [Version::Five, Version::Four] {
            assert_eq!(findings(&written(&tree, version)), []);
            assert_eq!(findings(&damaged(&tree, version, |_| {})), []);
        }
    }
    let origin = read_back(&written(&menagerie(), Version::Five));
    let (stream, _) = increment(&origin, &edited());
    assert_eq!(check(&read_on_top(&written(&menagerie(), Version::Five), &stream).objects), []);
}

#[test]
fn what_kills_a_receiver_is_found() {
    let cases: &[Case] = &[
        (|at| of(at, FILE).set(GENERATION, 0), FILE, Harm::Lost, "generation"),
        (|at| of(at, FILE).bonus[0] = 0, FILE, Harm::Panic, "magic number"),
        (|at| of(at, FILE).bonus[4] = 99, FILE, Harm::Panic, "layout 99"),
        (|at| of(at, FILE).bonus.truncate(80), FILE, Harm::Panic, "longer than their place"),
        (|at| of(at, FILE).bonus.clear(), FILE, Harm::Panic, "longer than their place"),
        (|at| of(at, FILE).header.bonus_type = 0, FILE, Harm::Refused, "no type"),
        (|at| of(at, FILE).set(MODE, 0o030_644), FILE, Harm::Lost, "of no kind"),
        (|at| of(at, FILE).set(MODE, 0o040_755), FILE, Harm::Panic, "object of type 19"),
        (|at| of(at, LINK).set(SIZE + 8, 7), LINK, Harm::Lost, "its size is 7"),
        (|at| of(at, LONG_LINK).spill = None, LONG_LINK, Harm::Lost, "without a target"),
        (|at| of(at, LONG_LINK).bonus.resize(200, 0), LONG_LINK, Harm::Panic, "beside a spill block"),
        (|at| of(at, FILE).bonus.resize(328, 0), FILE, Harm::Refused, "room for 320"),
        (|at| of(at, 1).spill = Some(vec![0; 512]), 1, Harm::Refused, "no system attributes"),
        (
            |at| of(at, LONG_LINK).spill.as_mut().unwrap().resize(1000, 0),
            LONG_LINK,
            Harm::Refused,
            "1000 bytes",
        ),
        (|at| of(at, FILE).header.dnode_slots = 2, FILE, Harm::Refused, "2 slots"),
        (|at| of(at, FILE).header.object_type = 0, FILE, Harm::Refused, "no type"),
        (|at| of(at, FILE).set(ENTRIES, 4), FILE, Harm::Lost, "list is not all there"),
        (|at| of(at, FILE).set(ENTRIES, 2), FILE, Harm::Lost, "longer than its entries"),
        (|at| of(at, FILE).set(OWNER, (5 << 32) + 1001), FILE, Harm::Unread, "number 1001 of domain 5"),
        (
            |at| {
                let file = of(at, FILE);
                file.header.block_size = 1536;
                file.blocks = vec![(0, vec![1; 1536]), (1536, vec![1; 1536])];
            },
            FILE,
            Harm::Panic,
            "no power of two",
        ),
        (
            |at| {
                let file = of(at, FILE);
                file.header.block_size = 1536;
                file.blocks = vec![(0, vec![1; 1536])];
                file.set(SIZE, 1537);
            },
            FILE,
            Harm::Panic,
            "1537 bytes in blocks of 1536",
        ),
        (
            |at| {
                let file = of(at, FILE);
                file.header.block_size = 256 << 10;
                file.blocks = vec![(0, vec![1; 256 << 10])];
            },
            FILE,
            Harm::Panic,
            "does not announce",
        ),
        (|at| of(at, FILE).set(LINKS, 2), FILE, Harm::Lost, "has 2 names, and has 1"),
        (|at| of(at, FOLDER).set(LINKS, 3), FOLDER, Harm::Lost, "linked 3 times"),
        (|at| of(at, FOLDER).set(SIZE, 3), FOLDER, Harm::Lost, "a folder of 1 names, and it has 0"),
        (|at| of(at, FOLDER).set(PARENT, FILE), ROOT, Harm::Lost, "it is in object 7"),
        (|at| of(at, FILE).gone = true, ROOT, Harm::Lost, "object 7, which is not there"),
        (|at| of(at, ROOT).gone = true, ROOT, Harm::Unmountable, "top folder"),
        (|at| of(at, 3).gone = true, 3, Harm::Unmountable, "not there"),
    ];
    run(cases);
}

#[test]
fn tables_that_are_wrong_are_found() {
    let cases: &[Case] = &[
        // The second name becomes the first.
        (|at| of(at, ROOT).blocks[0].1.copy_within(64..128, 128), ROOT, Harm::Panic, "the same"),
        (|at| of(at, ROOT).blocks[0].1[8..16].fill(0), ROOT, Harm::Panic, "salt"),
        (|at| of(at, ROOT).blocks[0].1[0] = 9, ROOT, Harm::Lost, "no name table"),
        (|at| rename(of(at, ROOT), "file", b"f/le"), ROOT, Harm::Lost, "no file can have"),
        (|at| point(of(at, ROOT), "file", FILE | 4 << 60), ROOT, Harm::Lost, "object 7 has type 8"),
        (|at| point(of(at, ROOT), "file", FOLDER | 4 << 60), ROOT, Harm::Lost, "a second name of the folder"),
        (|at| point(of(at, ROOT), "folder", ROOT | 4 << 60), ROOT, Harm::Lost, "a second name of the folder"),
        (|at| rename(of(at, 1), "SA_ATTRS", b"XA_ATTRS"), 1, Harm::Unmountable, "SA_ATTRS"),
        (|at| rename(of(at, 1), "VERSION", b"XERSION"), 1, Harm::Unmountable, "VERSION"),
        (|at| rename(of(at, 1), "ROOT", b"XOOT"), 1, Harm::Unmountable, "ROOT"),
        (|at| rename(of(at, 1), "DELETE_QUEUE", b"XELETE_QUEUE"), 1, Harm::Unmountable, "DELETE_QUEUE"),
        (|at| point(of(at, 1), "VERSION", 6), 1, Harm::Unmountable, "version 6"),
        (|at| of(at, LAYOUTS).gone = true, LAYOUTS, Harm::Unmountable, "not there"),
        (
            |at| of(at, LAYOUTS).table(&small_layouts("2", &PLAIN, ["3", "4", "7"]), true),
            2,
            Harm::Panic,
            "no number 5",
        ),
        (
            |at| {
                let accounted = [&[6, 5][..], &PLAIN[2..]].concat();
                of(at, LAYOUTS).table(&small_layouts("2", &accounted, ["3", "4", "5"]), true);
            },
            FILE,
            Harm::Lost,
            "counted for its owner",
        ),
        (
            |at| of(at, LAYOUTS).table(&small_layouts("2", &PLAIN[..13], ["3", "4", "5"]), true),
            FILE,
            Harm::Lost,
            "no access control list",
        ),
        (
            |at| {
                // The number stands where the device has its own, and means a folder of extended attributes.
                let link = [&PLAIN[..], &[17]].concat();
                let device = [&PLAIN[..12], &[9, 16, 19]].concat();
                let table = layouts(&[("2", &PLAIN), ("3", &link), ("4", &[17]), ("5", &device)]);
                of(at, LAYOUTS).table(&table, true);
            },
            NULL,
            Harm::Panic,
            "without the numbers",
        ),
        (
            |at| of(at, LAYOUTS).table(&layouts(&[("two", &[5])]), true),
            2,
            Harm::Unmountable,
            "a layout has no number",
        ),
        // A leaf of the layouts with the hash of a name that is another.
        (
            |at| {
                let leaf = &mut of(at, LAYOUTS).blocks[1].1;
                let chunk = (1072..leaf.len()).step_by(24).find(|at| leaf[*at] == 252).unwrap();
                leaf[chunk + 23] ^= 0x10;
            },
            LAYOUTS,
            Harm::Lost,
            "where nobody looks",
        ),
    ];
    run(cases);
}

fn run(cases: &[Case]) {
    for (number, (damage, object, harm, words)) in cases.iter().enumerate() {
        let findings = findings(&damaged(&small(), Version::Five, damage));
        let found = |finding: &Finding| {
            finding.object == *object && finding.harm == *harm && finding.detail.contains(words)
        };
        assert!(findings.iter().any(found), "case {number}, {words}: {findings:#?}");
    }
}

/// Gives an entry of a table of one block another name of the same length.
fn rename(table: &mut Passing, name: &str, other: &[u8]) {
    let slot = table.slot(name);
    table.blocks[0].1[slot + 14..][..other.len()].copy_from_slice(other);
}

/// Gives an entry of a table of one block another number.
fn point(table: &mut Passing, name: &str, number: u64) {
    let slot = table.slot(name);
    table.blocks[0].1[slot..slot + 8].copy_from_slice(&number.to_le_bytes());
}

#[test]
fn extended_attributes_that_are_not_there_are_found() {
    let mut tree = small();
    let file = tree.find([&b"file"[..]]).unwrap();
    tree.extended_mut(file).insert(b"user.note".to_vec(), Arc::new(b"a note".to_vec()));
    let stream = damaged(&tree, Version::Five, |at| {
        let folder = at.iter().position(|one| one.header.object_type == 20 && one.number > ROOT).unwrap();
        at[folder].gone = true;
    });
    assert!(
        findings(&stream).iter().any(|finding| finding.detail.contains("extended attributes is not there"))
    );
}

#[test]
fn old_links_and_old_lists_are_looked_at() {
    // The target of a long link is its contents in version 4, where the first node has object 4.
    const LONG: u64 = 7;
    let stream = damaged(&small(), Version::Four, |at| of(at, LONG).blocks.clear());
    let found = findings(&stream);
    assert!(
        found.iter().any(|finding| finding.object == LONG && finding.detail.contains("without a target")),
        "{found:?}"
    );
    let stream = damaged(&small(), Version::Four, |at| of(at, 4).bonus.truncate(200));
    assert!(findings(&stream).iter().any(|finding| finding.object == 4 && finding.harm == Harm::Panic));
}

#[test]
fn what_a_stream_says_of_its_snapshot_is_looked_at() {
    let stream = |features| passed(&passing(&written(&small(), Version::Five)), &begin(features));
    assert_eq!(findings(&stream(Features::SA_SPILL)), []);
    // An increment on itself.
    let mut all = objects(&stream(Features::SA_SPILL));
    let mut options = begin(Features::SA_SPILL);
    options.from_guid = 1;
    all.apply(&passed(&[], &options)[..]).unwrap();
    let found = check(&all);
    assert!(
        found.iter().any(|finding| finding.object == 0 && finding.detail.contains("same GUID")),
        "{found:?}"
    );
    assert!(found[0].to_string().starts_with("the stream: "));
}
