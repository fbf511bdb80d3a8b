//! Growing, against what illumos' growfs made of the same image, and beyond what it is known to do.

mod common;

use std::io::Read;

use kiln_ufs::check::check;
use kiln_ufs::{
    Attributes, Demand, EditOptions, Editor, ErrorKind, FileSystem, MakeOptions, Timestamp, make,
};
use positioned_io::ReadAt;

const OPTIONS: EditOptions = EditOptions { time: Timestamp::from_seconds(1_700_000_100), generation_seed: 3 };
const FILE: Attributes = Attributes { mode: 0o644, uid: 0, gid: 0 };

/// Every path with what is there and, for files, the contents.
fn tree<D: ReadAt>(fs: &FileSystem<D>) -> Vec<(Vec<u8>, u16, u64, Vec<u8>)> {
    let entries = fs.walk(b"/").unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let mut contents = vec![0; entry.metadata.size as usize];
            if entry.metadata.kind == kiln_ufs::FileType::Regular {
                fs.read_at(entry.metadata.ino, 0, &mut contents).unwrap();
            }
            (entry.path, entry.metadata.mode, entry.metadata.size, contents)
        })
        .collect()
}

fn assert_clean<D: ReadAt>(device: &D, len: u64) {
    let report = check(device, len).unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[test]
fn growing_is_what_growfs_does() {
    let authentic = common::image("populated16m-grown40m.img.gz");
    let image = common::image("populated16m.img.gz");
    let len = image.len() as u64;
    let fs = FileSystem::open(image, len).unwrap();
    let before = tree(&fs);
    let mut editor = fs.edit(OPTIONS);
    editor.grow(authentic.len() as u64).unwrap();
    let fs = editor.finish(1_700_000_100).unwrap();
    assert_eq!(tree(&fs), before);
    let geometry = *fs.geometry();
    let ours = fs.into_device();
    assert_clean(&ours, ours.len() as u64);
    let theirs = FileSystem::open(authentic.as_slice(), authentic.len() as u64).unwrap();
    assert_eq!(&geometry, theirs.geometry());

    // Superblock and group headers, but for times (32, 132), the clean flag's neighbours and in-core pointers.
    let masked = |image: &[u8], at: u64, len: u32, holes: &[std::ops::Range<usize>]| {
        let mut bytes = image[at as usize..][..len as usize].to_vec();
        for hole in holes {
            bytes[hole.clone()].fill(0);
        }
        bytes
    };
    let same = |what: &str, at: u64, len: u32, holes: &[std::ops::Range<usize>]| {
        let (ours, theirs) = (masked(&ours, at, len, holes), masked(&authentic, at, len, holes));
        let differing: Vec<usize> = (0..len as usize).filter(|&i| ours[i] != theirs[i]).collect();
        assert!(differing.is_empty(), "{what}: {differing:?}");
    };
    same("superblock", 8192, geometry.sbsize, &[32..36, 132..136]);
    same("summary area", geometry.csum_offset(0), geometry.cssize, &[]);
    for group in 0..geometry.ncg {
        // The rotors (40..52) are hints that each writer leaves where it pleases.
        same(&format!("group {group}"), geometry.group_offset(group), geometry.cgsize, &[8..12, 40..52]);
        same("backup", geometry.backup_offset(group), geometry.sbsize, &[32..36, 132..136, 192..212]);
    }
}

/// A file system of 64 groups, so that the summary area fills its fragment to the last byte.
fn sixty_four_groups() -> Editor<std::fs::File> {
    let options =
        MakeOptions { bytes: 300 << 20, bytes_per_inode: 12248, time: 1_700_000_000, generation_seed: 1 };
    let fs = make(tempfile::tempfile().unwrap(), &options).unwrap();
    assert_eq!(fs.geometry().ncg, 64);
    fs.edit(OPTIONS)
}

/// A pointer in the inode at a path: the word at 40 is the first block, that at 88 the indirect one.
fn pointer(fs: &FileSystem<std::fs::File>, path: &[u8], at: u64) -> u32 {
    let inode = fs.geometry().inode_offset(fs.metadata(path).unwrap().ino);
    let mut word = [0; 4];
    fs.device().read_exact_at(inode + at, &mut word).unwrap();
    u32::from_le_bytes(word)
}

#[test]
fn what_is_behind_the_summary_area_moves() {
    let mut editor = sixty_four_groups();
    // Fragments 77 to 79 lie right behind the summary area: a tail of three fragments takes them, a tail of one and
    // one of two do the same after it is gone.
    editor.create_file(b"/three", &FILE, &[3; 3000][..]).unwrap();
    editor.create_file(b"/more", &FILE, vec![4; 100_000].as_slice()).unwrap();
    let before = tree(&editor);
    assert_eq!(pointer(&editor, b"/three", 40), 77);
    editor.grow(310 << 20).unwrap();
    assert_ne!(pointer(&editor, b"/three", 40), 77);
    assert_eq!(editor.geometry().cssize, 2048);
    assert_eq!(tree(&editor), before);
    let fs = editor.finish(1_700_000_200).unwrap();
    let device = fs.into_device();
    assert_clean(&device, 310 << 20);
    let fs = FileSystem::open(device, 310 << 20).unwrap();
    assert_eq!(tree(&fs), before);
}

#[test]
fn whole_blocks_move_too() {
    // Up to 2 GiB the summary area takes seven fragments: what is in the next two blocks has to go.
    let mut editor = sixty_four_groups();
    editor.remove_dir(b"/lost+found").unwrap();
    editor.create_file(b"/a", &FILE, &[1; 4096][..]).unwrap();
    assert_eq!(pointer(&editor, b"/a", 40), 80, "the freed block of lost+found is the first there is");
    let before = tree(&editor);
    editor.grow(2 << 30).unwrap();
    assert_eq!(editor.geometry().cssize, 7168);
    let device = editor.finish(1_700_000_200).unwrap().into_device();
    assert_clean(&device, 2 << 30);
    let fs = FileSystem::open(device, 2 << 30).unwrap();
    assert_eq!(tree(&fs), before);
}

#[test]
fn indirect_blocks_move_even_when_all_is_full() {
    let mut editor = sixty_four_groups();
    editor.create_file(b"/gap", &FILE, &[1; 4096][..]).unwrap();
    editor.create_file(b"/b", &FILE, vec![2; 12 * 4096].as_slice()).unwrap();
    editor.create_file(b"/fill", &FILE, std::io::empty()).unwrap();
    for step in [64 << 20, 4 << 20, 256 << 10, 4096] {
        while editor.append(b"/fill", std::io::repeat(3).take(step)).is_ok() {}
    }
    editor.remove_file(b"/gap").unwrap();
    editor.remove_dir(b"/lost+found").unwrap();
    editor.append(b"/b", &[4; 4096][..]).unwrap();
    assert_eq!(pointer(&editor, b"/b", 88), 80, "the only block in front of the gap");
    let contents = editor.read(b"/b", 1 << 20).unwrap();
    editor.grow(2 << 30).unwrap();
    assert_ne!(pointer(&editor, b"/b", 88), 80);
    assert_eq!(editor.read(b"/b", 1 << 20).unwrap(), contents);
    let device = editor.finish(1_700_000_200).unwrap().into_device();
    assert_clean(&device, 2 << 30);
}

#[test]
fn any_step_is_clean() {
    let options =
        MakeOptions { bytes: 4 << 20, bytes_per_inode: 12248, time: 1_700_000_000, generation_seed: 1 };
    let mut editor = make(Vec::new(), &options).unwrap().edit(OPTIONS);
    editor.create_file(b"/f", &FILE, vec![9; 70_000].as_slice()).unwrap();
    let before = tree(&editor);
    let mut len = 4 << 20;
    for step in [512, 1024, 4096, 30_000, 61_440, 1 << 20, 2_468_864, 7_000_064] {
        len += step / 512 * 512;
        editor.grow(len).unwrap();
        editor.flush(1_700_000_200).unwrap();
        assert_eq!(tree(&editor), before);
        assert_clean(editor.device(), len);
    }
    assert_eq!(editor.grow(len - 512).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(editor.grow((2 << 30) + 512).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn the_length_for_a_demand_is_enough() {
    let options =
        MakeOptions { bytes: 8 << 20, bytes_per_inode: 12248, time: 1_700_000_000, generation_seed: 1 };
    let mut editor = make(tempfile::tempfile().unwrap(), &options).unwrap().edit(OPTIONS);
    let mut demand = Demand::new(editor.geometry());
    let sizes: Vec<usize> = (0..600).map(|n| n * 137).chain([5_000_000, 9_999_999]).collect();
    for (n, size) in sizes.iter().enumerate() {
        demand.file(*size as u64);
        demand.name(format!("file-{n}").len());
    }
    assert!(!editor.fits(&demand));
    let len = editor.length_for(&demand).unwrap();
    editor.grow(len).unwrap();
    assert!(editor.fits(&demand));
    for (n, size) in sizes.iter().enumerate() {
        editor.create_file(format!("/file-{n}").as_bytes(), &FILE, vec![7; *size].as_slice()).unwrap();
    }
    let free = editor.statistics().free_bytes;
    assert!(free < len / 8, "the estimate is not wasteful: {free} of {len} bytes are left");
    let device = editor.finish(1_700_000_200).unwrap().into_device();
    assert_clean(&device, len);
}
