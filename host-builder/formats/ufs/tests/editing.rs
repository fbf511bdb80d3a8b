//! Editing: what each operation leaves behind, on the disk and in the tree.

mod common;

use std::io::{self, Read};

use kiln_ufs::check::check;
use kiln_ufs::layout::INODE_SIZE;
use kiln_ufs::{
    Attributes, Demand, EditOptions, Editor, ErrorKind, FileSystem, FileType, MakeOptions, Metadata, Node,
    Timestamp, make,
};

const NOW: Timestamp = Timestamp { seconds: 1_700_000_100, microseconds: 250_000 };
const OPTIONS: EditOptions = EditOptions { time: NOW, generation_seed: 11 };
const FILE: Attributes = Attributes { mode: 0o644, uid: 0, gid: 0 };
const DIR: Attributes = Attributes { mode: 0o755, uid: 0, gid: 0 };

type Image = Vec<u8>;

fn empty(bytes: u64) -> Editor<Image> {
    let options = MakeOptions { bytes, bytes_per_inode: 12248, time: 1_700_000_000, generation_seed: 1 };
    make(Vec::new(), &options).unwrap().edit(OPTIONS)
}

fn populated() -> Editor<Image> {
    let image = common::image("populated16m.img.gz");
    let len = image.len() as u64;
    FileSystem::open(image, len).unwrap().edit(OPTIONS)
}

/// Finishes, checks, and opens again.
fn finished(editor: Editor<Image>) -> FileSystem<Image> {
    let image = editor.finish(1_700_000_200).unwrap().into_device();
    let len = image.len() as u64;
    let report = check(&image, len).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
    FileSystem::open(image, len).unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// The inode as stored.
fn raw_inode(fs: &FileSystem<Image>, metadata: &Metadata) -> [u8; INODE_SIZE as usize] {
    let at = fs.geometry().inode_offset(metadata.ino) as usize;
    fs.device()[at..][..INODE_SIZE as usize].try_into().unwrap()
}

fn word(inode: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(inode[at..at + 4].try_into().unwrap())
}

/// Sizes around every boundary of the format.
const SIZES: [usize; 17] = [
    0, 1, 1023, 1024, 1025, 3000, 3072, 3073, 4096, 4097, 49_151, 49_152, 49_153, 60_000, 1_048_576,
    4_243_456, 4_300_001,
];

#[test]
fn files_of_every_shape_come_back() {
    let mut editor = empty(32 << 20);
    for size in SIZES {
        let path = format!("/f{size}");
        editor.create_file(path.as_bytes(), &FILE, pattern(size).as_slice()).unwrap();
    }
    let fs = finished(editor);
    for size in SIZES {
        let path = format!("/f{size}");
        assert!(fs.read(path.as_bytes(), 1 << 23).unwrap() == pattern(size), "{size}");
        let metadata = fs.metadata(path.as_bytes()).unwrap();
        assert_eq!((metadata.modified, metadata.changed, metadata.nlink), (NOW, NOW, 1));
    }
    let sectors = |size: usize| fs.metadata(format!("/f{size}").as_bytes()).unwrap().sectors;
    assert_eq!(sectors(3000), 6, "three fragments");
    assert_eq!(sectors(3073), 8, "a whole block");
    assert_eq!(sectors(49_153), 8 * 14, "13 full blocks and an indirect one");
    // 1036 blocks fill the single indirect block; one more needs two levels.
    assert_eq!(sectors(4_243_456), 8 * 1037);
    assert_eq!(sectors(4_300_001), 8 * (1050 + 3));
}

#[test]
fn a_demand_counts_what_files_take() {
    let mut editor = empty(32 << 20);
    for size in SIZES {
        let mut demand = Demand::new(editor.geometry());
        demand.file(size as u64);
        editor.put_file(b"/f", &FILE, pattern(size).as_slice()).unwrap();
        assert_eq!(demand.bytes(), u64::from(editor.metadata(b"/f").unwrap().sectors) * 512, "{size}");
        assert_eq!(demand.inodes(), 1);
    }
    let mut beyond = Demand::new(editor.geometry());
    beyond.file(u64::MAX);
    beyond.file(u64::MAX);
    assert!(!editor.fits(&beyond));
    assert_eq!(editor.length_for(&beyond), None);
}

#[test]
fn new_files_are_contiguous() {
    let mut editor = empty(16 << 20);
    editor.create_file(b"/f", &FILE, pattern(1_000_000).as_slice()).unwrap();
    let fs = finished(editor);
    let inode = raw_inode(&fs, &fs.metadata(b"/f").unwrap());
    let first = word(&inode, 40);
    let direct: Vec<u32> = (0..12).map(|n| word(&inode, 40 + 4 * n)).collect();
    assert_eq!(direct, (0..12).map(|n| first + 4 * n).collect::<Vec<_>>());
    let indirect = word(&inode, 88);
    assert_eq!(indirect, first + 48, "the indirect block comes where its data begin");
    let table = &fs.device()[indirect as usize * 1024..];
    assert_eq!(word(table, 0), indirect + 4);
    assert_eq!(word(table, 4 * 232), indirect + 4 + 4 * 232);
}

#[test]
fn appending_in_any_steps_equals_writing_at_once() {
    for step in [1, 500, 1024, 4096, 5000, 50_000] {
        let mut editor = empty(8 << 20);
        let whole = pattern(if step < 500 { 3000 } else { 120_000 });
        editor.create_file(b"/a", &FILE, io::empty()).unwrap();
        for (n, piece) in whole.chunks(step).enumerate() {
            editor.append(b"/a", piece).unwrap();
            // A neighbour now and then keeps tails from growing in place.
            if n % 5 == 0 && n < 50 {
                editor.create_file(format!("/n{n}").as_bytes(), &FILE, &[1; 700][..]).unwrap();
            }
        }
        let fs = finished(editor);
        assert!(fs.read(b"/a", 1 << 20).unwrap() == whole, "steps of {step}");
    }
}

#[test]
fn replacing_keeps_inode_generation_mode_and_owner() {
    let mut editor = populated();
    let before = editor.metadata(b"/d/f511").unwrap();
    let free = editor.statistics().free_bytes;
    editor.replace_file(b"/d/f511", pattern(100_000).as_slice()).unwrap();
    let after = editor.metadata(b"/d/f511").unwrap();
    let expected = Metadata { size: 100_000, modified: NOW, changed: NOW, sectors: 8 * 26, ..before.clone() };
    assert_eq!(after, expected);
    editor.replace_file(b"/d/f511", &b"short"[..]).unwrap();
    assert_eq!(editor.statistics().free_bytes, free);
    let fs = finished(editor);
    assert_eq!(fs.read(b"/d/f511", 10).unwrap(), b"short");
    assert_eq!((before.uid, before.gid), (70_000, 80_000));
}

#[test]
fn every_kind_of_inode_is_stored_as_the_format_says() {
    let mut editor = empty(4 << 20);
    editor.create_dir_all(b"/devices/pseudo", &DIR).unwrap();
    editor.create_node(b"/devices/old", Node::Character(13, 2), &FILE).unwrap();
    editor.create_node(b"/devices/new", Node::Block(300, 70_000), &FILE).unwrap();
    editor.create_node(b"/pipe", Node::Fifo, &Attributes { mode: 0o600, uid: 70_000, gid: 65_535 }).unwrap();
    editor.symlink(b"/short", b"devices", &Attributes { mode: 0o777, ..FILE }).unwrap();
    editor.symlink(b"/long", &[b'x'; 1023], &Attributes { mode: 0o777, ..FILE }).unwrap();
    let fs = finished(editor);
    let device = |path: &[u8]| fs.metadata(path).unwrap();
    assert_eq!(device(b"/devices/old").device, Some((13, 2)));
    assert_eq!(device(b"/devices/new").device, Some((300, 70_000)));
    assert_eq!(word(&raw_inode(&fs, &device(b"/devices/old")), 44), 13 << 8 | 2);
    assert_eq!(word(&raw_inode(&fs, &device(b"/devices/new")), 44), (300 << 18) + 70_000);
    assert_eq!(device(b"/devices").nlink, 3);
    assert_eq!(fs.metadata(b"/").unwrap().nlink, 4);

    let pipe = fs.metadata(b"/pipe").unwrap();
    assert_eq!((pipe.kind, pipe.uid, pipe.gid), (FileType::Fifo, 70_000, 65_535));
    assert_eq!(raw_inode(&fs, &pipe)[4..8], [0xff; 4], "both short ids send readers to the long ones");

    let link = fs.symlink_metadata(b"/short").unwrap();
    let target = word(&raw_inode(&fs, &link), 40) as usize * 1024;
    assert_eq!(&fs.device()[target..target + 8], b"devices\0", "never inline");
    assert!(fs.device()[target + 8..target + 1024].iter().all(|&byte| byte == 0));
    assert_eq!(fs.metadata(b"/short/old").unwrap().device, Some((13, 2)));
}

#[test]
fn removing_gives_everything_back() {
    let mut editor = populated();
    let empty = empty(16 << 20).statistics();
    for entry in editor.read_dir(b"/").unwrap() {
        if entry.name != b"lost+found" {
            editor.remove_all(&[b"/", entry.name.as_slice()].concat()).unwrap();
        }
    }
    assert_eq!(editor.statistics(), empty);
    let fs = finished(editor);
    assert_eq!(fs.read_dir(b"/").unwrap().len(), 1);
    assert_eq!(fs.metadata(b"/").unwrap().nlink, 3);
}

#[test]
fn a_generation_survives_the_file() {
    let mut editor = empty(4 << 20);
    editor.create_file(b"/a", &FILE, io::empty()).unwrap();
    let first = editor.metadata(b"/a").unwrap();
    editor.remove_file(b"/a").unwrap();
    editor.create_file(b"/b", &FILE, io::empty()).unwrap();
    let second = editor.metadata(b"/b").unwrap();
    assert_eq!((first.ino, first.generation), (second.ino, second.generation));
    finished(editor);
}

#[test]
fn hard_links_share_and_are_counted() {
    let mut editor = empty(4 << 20);
    editor.create_dir(b"/d", &DIR).unwrap();
    editor.create_file(b"/a", &FILE, &b"shared"[..]).unwrap();
    editor.hard_link(b"/a", b"/d/b").unwrap();
    assert_eq!(editor.hard_link(b"/d", b"/e").unwrap_err().kind(), ErrorKind::IsADirectory);
    editor.append(b"/d/b", &b" contents"[..]).unwrap();
    assert_eq!(editor.metadata(b"/a").unwrap().nlink, 2);
    editor.remove_file(b"/a").unwrap();
    assert_eq!(editor.read(b"/d/b", 100).unwrap(), b"shared contents");
    let fs = finished(editor);
    assert_eq!(fs.metadata(b"/d/b").unwrap().nlink, 1);
}

#[test]
fn renaming_moves_replaces_and_refuses() {
    let mut editor = empty(4 << 20);
    for dir in [&b"/a"[..], b"/a/b", b"/c"] {
        editor.create_dir(dir, &DIR).unwrap();
    }
    editor.create_file(b"/a/f", &FILE, &b"one"[..]).unwrap();
    editor.create_file(b"/c/g", &FILE, &b"two"[..]).unwrap();
    let free = editor.statistics();
    editor.rename(b"/a/f", b"/c/g").unwrap();
    assert_eq!(editor.read(b"/c/g", 10).unwrap(), b"one");
    assert_eq!(editor.metadata(b"/a/f").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(editor.statistics().free_inodes, free.free_inodes + 1);
    editor.rename(b"/a/b", b"/c/much-longer-name").unwrap();
    assert_eq!(editor.metadata(b"/c/much-longer-name/..").unwrap().ino, editor.metadata(b"/c").unwrap().ino);
    assert_eq!((editor.metadata(b"/a").unwrap().nlink, editor.metadata(b"/c").unwrap().nlink), (2, 3));
    editor.rename(b"/c", b"/d").unwrap();
    let kind =
        |editor: &mut Editor<Image>, from: &[u8], to: &[u8]| editor.rename(from, to).unwrap_err().kind();
    assert_eq!(kind(&mut editor, b"/d", b"/d/much-longer-name/x"), ErrorKind::InvalidArgument);
    assert_eq!(kind(&mut editor, b"/a", b"/d"), ErrorKind::AlreadyExists);
    assert_eq!(kind(&mut editor, b"/d/g", b"/a"), ErrorKind::AlreadyExists);
    assert_eq!(kind(&mut editor, b"/none", b"/x"), ErrorKind::NotFound);
    assert_eq!(kind(&mut editor, b"/", b"/x"), ErrorKind::InvalidPath);
    finished(editor);
}

#[test]
fn attributes_are_set() {
    let mut editor = populated();
    let (accessed, modified) = (Timestamp::from_seconds(-5), Timestamp { seconds: 9, microseconds: 1 });
    editor.set_mode(b"/d", 0o1777).unwrap();
    editor.set_owner(b"/d", 0, 4_000_000_000).unwrap();
    editor.set_times(b"/d", accessed, modified).unwrap();
    editor.set_owner(b"/link", 1, 2).unwrap();
    assert_eq!(editor.set_mode(b"/d", 0o10_000).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let fs = finished(editor);
    let dir = fs.metadata(b"/d").unwrap();
    assert_eq!((dir.kind, dir.mode, dir.uid, dir.gid), (FileType::Directory, 0o1777, 0, 4_000_000_000));
    assert_eq!((dir.accessed, dir.modified, dir.changed), (accessed, modified, NOW));
    let link = fs.symlink_metadata(b"/link").unwrap();
    assert_eq!((link.uid, link.gid), (1, 2));
}

#[test]
fn putting_creates_or_replaces() {
    let mut editor = empty(4 << 20);
    editor.put_file(b"/etc", &FILE, &b"first"[..]).unwrap();
    let first = editor.metadata(b"/etc").unwrap();
    editor.put_file(b"/etc", &Attributes { mode: 0o400, uid: 5, gid: 6 }, &b"second"[..]).unwrap();
    let second = editor.metadata(b"/etc").unwrap();
    assert_eq!((second.ino, second.mode, second.uid, second.gid), (first.ino, 0o400, 5, 6));
    assert_eq!(editor.read(b"/etc", 10).unwrap(), b"second");
    finished(editor);
}

/// A reader that fails after some bytes.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the source is gone"));
        }
        let count = buffer.len().min(self.0);
        buffer[..count].fill(0x5a);
        self.0 -= count;
        Ok(count)
    }
}

#[test]
fn failures_leave_nothing_half_made() {
    let mut editor = empty(4 << 20);
    editor.create_file(b"/keep", &FILE, pattern(2500).as_slice()).unwrap();
    let before = editor.statistics();
    let too_much = || io::repeat(1).take(8 << 20);
    assert_eq!(editor.create_file(b"/f", &FILE, too_much()).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(editor.statistics(), before);
    assert_eq!(editor.append(b"/keep", too_much()).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(editor.statistics(), before);
    assert_eq!(editor.replace_file(b"/keep", too_much()).unwrap_err().kind(), ErrorKind::NoSpace);
    let late = Failing(2_000_000);
    assert_eq!(editor.create_file(b"/f", &FILE, late).unwrap_err().kind(), ErrorKind::Source);
    assert_eq!(editor.append(b"/keep", Failing(2_000_000)).unwrap_err().kind(), ErrorKind::Source);
    assert_eq!(editor.statistics(), before);
    assert_eq!(editor.read(b"/keep", 3000).unwrap(), pattern(2500));
    let fs = finished(editor);
    assert_eq!(fs.read_dir(b"/").unwrap().len(), 2);
    assert_eq!(fs.read(b"/keep", 3000).unwrap(), pattern(2500));
}

#[test]
fn running_out_of_inodes_or_directory_room_is_clean() {
    let mut editor = empty(4 << 20);
    let free = editor.statistics().free_inodes;
    for n in 0..free {
        editor.create_node(format!("/n{n}").as_bytes(), Node::Fifo, &FILE).unwrap();
    }
    assert_eq!(editor.create_dir(b"/d", &DIR).unwrap_err().kind(), ErrorKind::NoInodes);
    editor.remove_file(b"/n0").unwrap();
    editor.create_file(b"/fill", &FILE, io::empty()).unwrap();
    // To the last fragment, and then names until the root has to grow.
    while editor.append(b"/fill", &[1; 1024][..]).is_ok() {}
    let mut names = 0;
    let error = loop {
        match editor.hard_link(b"/fill", format!("/{names:0>200}").as_bytes()) {
            Ok(()) => names += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(editor.metadata(b"/fill").unwrap().nlink, names + 1);
    finished(editor);
}

#[test]
fn an_interrupted_edit_is_seen() {
    let mut editor = empty(4 << 20);
    editor.flush(1).unwrap();
    let untouched = editor.device().clone();
    assert!(FileSystem::open(untouched, 4 << 20).is_ok(), "opening to edit changes nothing");
    editor.create_file(b"/f", &FILE, &b"x"[..]).unwrap();
    let interrupted = editor.device().clone();
    assert_eq!(FileSystem::open(interrupted, 4 << 20).unwrap_err().kind(), ErrorKind::Dirty);
    editor.flush(1_700_000_300).unwrap();
    let fs = FileSystem::open(editor.device().clone(), 4 << 20).unwrap();
    assert_eq!(fs.superblock().time.get(), 1_700_000_300);
    editor.remove_file(b"/f").unwrap();
    assert_eq!(FileSystem::open(editor.device().clone(), 4 << 20).unwrap_err().kind(), ErrorKind::Dirty);
}

#[test]
fn the_same_edits_give_the_same_bytes() {
    let image = || {
        let mut editor = populated();
        editor.create_file(b"/new", &FILE, pattern(70_000).as_slice()).unwrap();
        editor.remove_all(b"/d/e").unwrap();
        editor.rename(b"/new", b"/d/new").unwrap();
        editor.finish(5).unwrap().into_device()
    };
    assert!(image() == image());
}

#[test]
fn only_the_primary_superblock_changes_in_ordinary_edits() {
    let before = common::image("populated16m.img.gz");
    let mut editor = populated();
    editor.create_file(b"/new", &FILE, pattern(70_000).as_slice()).unwrap();
    let fs = finished(editor);
    for group in 0..fs.geometry().ncg {
        let at = fs.geometry().backup_offset(group) as usize;
        assert!(fs.device()[at..at + 8192] == before[at..at + 8192], "backup {group}");
    }
    let differing: Vec<usize> = (8192..16384).filter(|&at| fs.device()[at] != before[at]).collect();
    let known = |at: &usize| [32..36, 132..136, 192..208].iter().any(|field| field.contains(&(at - 8192)));
    assert!(differing.iter().all(known), "{differing:?}");
}
