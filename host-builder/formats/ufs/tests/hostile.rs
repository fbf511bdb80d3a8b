//! Images that lie: nothing may panic, loop, or write a file system that looks well and is not.

use kiln_ufs::check::check;
use kiln_ufs::layout::FLAG_LARGE_FILES;
use kiln_ufs::{
    Attributes, EditOptions, Editor, Error, ErrorKind, FileSystem, FileType, MakeOptions, Timestamp, make,
};
use positioned_io::ReadAt;
use proptest::prelude::*;

const OPTIONS: EditOptions = EditOptions { time: Timestamp::from_seconds(1_700_000_100), generation_seed: 3 };
const FILE: Attributes = Attributes { mode: 0o644, uid: 0, gid: 0 };

fn small() -> Editor<Vec<u8>> {
    let options =
        MakeOptions { bytes: 2 << 20, bytes_per_inode: 40_000, time: 1_700_000_000, generation_seed: 1 };
    make(Vec::new(), &options).unwrap().edit(OPTIONS)
}

fn put(image: &mut [u8], at: u64, value: u32) {
    image[at as usize..at as usize + 4].copy_from_slice(&value.to_le_bytes());
}

/// The numbers of the superblock decide where groups are sought; the first edit finds out, before it writes.
#[test]
fn nothing_is_written_unless_every_group_is_in_its_place() {
    let make_options =
        MakeOptions { bytes: 16 << 20, bytes_per_inode: 40_000, time: 1_700_000_000, generation_seed: 1 };
    let image = make(Vec::new(), &make_options).unwrap().into_device();
    let len = image.len() as u64;
    let fs = FileSystem::open(image.clone(), len).unwrap();
    let last = fs.geometry().ncg - 1;
    assert!(last > 1);
    let group = fs.geometry().group_offset(last);
    // fs_cgmask as file systems with staggered groups have it, the last group's cg_magic, and its free inodes.
    let cases = [(8192 + 28, 0, 1), (group + 4, 0, last), (group + 32, 1, last)];
    for (at, value, number) in cases {
        let mut damaged = image.clone();
        put(&mut damaged, at, value);
        let mut editor = FileSystem::open(damaged.clone(), len).unwrap().edit(OPTIONS);
        let error = editor.create_file(b"/f", &FILE, b"x".as_slice()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains(&format!("cylinder group {number} ")), "{error}");
        assert!(editor.finish(1_700_000_200).unwrap().into_device() == damaged, "written to at {at}");
    }
}

#[test]
fn holes_reservations_and_three_levels_read_as_they_should() {
    // A file of five blocks is turned by hand into a sparse one behind all three indirect levels.
    let mut editor = small();
    editor.create_file(b"/f", &FILE, vec![7; 5 * 4096].as_slice()).unwrap();
    let metadata = editor.metadata(b"/f").unwrap();
    let fs = editor.finish(1_700_000_200).unwrap();
    let (geometry, inode) = (*fs.geometry(), fs.geometry().inode_offset(metadata.ino));
    let mut image = fs.into_device();
    let first = u32::from_le_bytes(image[inode as usize + 40..][..4].try_into().unwrap());
    let block = |n: u32| first + 4 * n;
    let lbn = 12 + 1024 + 1024 * 1024 + 1024 * 2 + 3_u64;
    for n in 0..3 {
        let at = geometry.frag_offset(block(n)) as usize;
        image[at..at + 4096].fill(0);
    }
    put(&mut image, geometry.frag_offset(block(0)), block(1));
    put(&mut image, geometry.frag_offset(block(1)) + 4 * 2, block(2));
    put(&mut image, geometry.frag_offset(block(2)) + 4 * 3, block(3));
    (0..5).for_each(|n| put(&mut image, inode + 40 + 4 * n, 0));
    // A block that is reserved, and has never been written, has a negative address.
    put(&mut image, inode + 40 + 4 * 2, block(4).wrapping_neg());
    put(&mut image, inode + 100, 2);
    put(&mut image, inode + 88 + 8, block(0));
    let size = (lbn + 1) * 4096 - 10;
    image[inode as usize + 8..][..8].copy_from_slice(&size.to_le_bytes());
    image[8192 + 211] |= FLAG_LARGE_FILES;

    assert!(check(&image, 2 << 20).unwrap().is_clean(), "{:?}", check(&image, 2 << 20).unwrap().findings);
    let fs = FileSystem::open(image, 2 << 20).unwrap();
    let read = |offset: u64| {
        let mut buffer = [0xaa; 8192];
        let count = fs.read_at(metadata.ino, offset, &mut buffer).unwrap();
        buffer[..count].to_vec()
    };
    assert_eq!(read(0), [0; 8192], "a hole");
    assert_eq!(read(2 * 4096), [0; 8192], "a reservation");
    assert_eq!(read(lbn * 4096 - 4096), [[0; 4096].as_slice(), &[7; 4086]].concat());
    assert_eq!(read(size - 1), [7]);
    assert_eq!(read(size), [0; 0]);

    let mut editor = fs.edit(OPTIONS);
    assert_eq!(editor.append(b"/f", &b"x"[..]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    editor.remove_file(b"/f").unwrap();
    assert_eq!(editor.statistics(), small().statistics());
    let image = editor.finish(1_700_000_200).unwrap().into_device();
    // The flag for large files outlives the last of them; the rest must be well.
    let mut image = image;
    image[8192 + 211] = 0;
    assert!(check(&image, 2 << 20).unwrap().is_clean());
}

#[test]
fn cycles_of_directories_end_the_walk() {
    let mut editor = small();
    editor.create_dir(b"/a", &FILE).unwrap();
    editor.create_dir(b"/a/b", &FILE).unwrap();
    let (a, b) = (editor.metadata(b"/a").unwrap().ino, editor.metadata(b"/a/b").unwrap().ino);
    let fs = editor.finish(1).unwrap();
    let at = fs.geometry().inode_offset(b) + 40;
    let parent = fs.geometry().inode_offset(a) as usize + 40;
    let mut image = fs.into_device();
    // The inner directory gets the outer one's contents, and so holds itself.
    let pointer = u32::from_le_bytes(image[parent..parent + 4].try_into().unwrap());
    put(&mut image, at, pointer);
    let fs = FileSystem::open(image, 2 << 20).unwrap();
    let errors: Vec<Error> = fs.walk(b"/").unwrap().filter_map(Result::err).collect();
    assert_eq!(errors.iter().map(Error::kind).collect::<Vec<_>>(), [ErrorKind::Corrupt]);
}

#[test]
fn link_loops_end_the_lookup() {
    let mut editor = small();
    editor.symlink(b"/a", b"b", &FILE).unwrap();
    editor.symlink(b"/b", b"/a", &FILE).unwrap();
    assert_eq!(editor.metadata(b"/a").unwrap_err().kind(), ErrorKind::SymlinkLoop);
    assert_eq!(editor.symlink_metadata(b"/a").unwrap().kind, FileType::Symlink);
    assert_eq!(editor.put_file(b"/a", &FILE, &b""[..]).unwrap_err().kind(), ErrorKind::SymlinkLoop);
}

#[test]
fn wrong_counts_of_a_group_are_not_built_upon() {
    let editor = small();
    let at = editor.geometry().group_offset(0) + 28;
    let mut image = editor.device().clone();
    put(&mut image, at, 1);
    let mut editor = FileSystem::open(image, 2 << 20).unwrap().edit(OPTIONS);
    assert_eq!(editor.create_file(b"/f", &FILE, &b"x"[..]).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_wrong_frsum_is_put_right() {
    let mut editor = small();
    let at = editor.geometry().group_offset(0) + 52 + 4;
    editor.create_file(b"/f", &FILE, &[1; 3000][..]).unwrap();
    let mut image = editor.finish(1_700_000_200).unwrap().into_device();
    put(&mut image, at, 77);
    assert!(!check(&image, 2 << 20).unwrap().is_clean());
    let mut editor = FileSystem::open(image, 2 << 20).unwrap().edit(OPTIONS);
    editor.create_file(b"/g", &FILE, &[1; 3000][..]).unwrap();
    let image = editor.finish(1_700_000_200).unwrap().into_device();
    assert!(check(&image, 2 << 20).unwrap().is_clean());
}

/// Reads a little of everything.
fn look<D: ReadAt>(fs: &FileSystem<D>) -> Result<(), Error> {
    let mut buffer = [0; 9000];
    for entry in fs.walk(b"/")? {
        let entry = entry?;
        match entry.metadata.kind {
            FileType::Regular => {
                let size = entry.metadata.size;
                for offset in [0, 40_000, size / 2, size.saturating_sub(5000)] {
                    fs.read_at(entry.metadata.ino, offset, &mut buffer)?;
                }
            }
            FileType::Symlink => drop(fs.read_link(&entry.path)?),
            _ => {}
        }
    }
    Ok(())
}

/// Changes a little of everything, as long as no damage is met.
fn change(fs: FileSystem<Vec<u8>>) -> Result<Vec<u8>, Error> {
    let mut editor = fs.edit(OPTIONS);
    let paths = editor.walk(b"/")?.map(|entry| entry.map(|entry| entry.path));
    let paths = paths.collect::<Result<Vec<_>, Error>>()?;
    let mut results = vec![
        editor.create_file(b"/new", &FILE, vec![1; 60_000].as_slice()),
        editor.create_dir(b"/dir", &FILE),
        editor.grow(3 << 20),
    ];
    for path in &paths {
        results.push(editor.append(path, &[2; 5000][..]));
        results.push(editor.hard_link(path, b"/dir/link"));
        results.push(editor.rename(path, b"/dir/moved"));
        results.push(editor.remove_all(path));
    }
    // Most of these do not apply to every kind of file, and are refused; that is no damage.
    let damage = results.into_iter().filter_map(Result::err).find(|error| error.kind() == ErrorKind::Corrupt);
    match damage {
        Some(error) => Err(error),
        None => editor.finish(1).map(FileSystem::into_device),
    }
}

fn victim() -> (Vec<u8>, Vec<usize>) {
    let mut editor = small();
    editor.create_dir_all(b"/d/e", &FILE).unwrap();
    editor.create_file(b"/d/f", &FILE, vec![1; 60_000].as_slice()).unwrap();
    editor.create_file(b"/d/g", &FILE, &[1; 300][..]).unwrap();
    editor.symlink(b"/d/e/l", b"../f", &FILE).unwrap();
    let fs = editor.finish(1_700_000_200).unwrap();
    let geometry = *fs.geometry();
    // Superblock, header, summaries, the inodes in use, and the first blocks behind them.
    let mut places: Vec<usize> = (8192..8192 + 1376).collect();
    places.extend(geometry.group_offset(0) as usize..geometry.group_offset(0) as usize + 1400);
    places.extend(geometry.inode_offset(2) as usize..geometry.inode_offset(12) as usize);
    let data = geometry.frag_offset(geometry.csaddr) as usize;
    places.extend(data..data + 160 * 1024);
    (fs.into_device(), places)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn damage_never_panics(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (mut image, places) = victim();
        for (place, value) in damage {
            image[*place.get(&places)] = value;
        }
        let len = image.len() as u64;
        let sound = check(&image, len).is_ok_and(|report| report.is_clean());
        if let Ok(fs) = FileSystem::open(image, len) {
            let whole = look(&fs);
            let changed = change(fs);
            // What the check finds nothing wrong with can be read and edited, and stays sound.
            if sound {
                prop_assert!(whole.is_ok(), "{whole:?}");
                let image = changed.unwrap();
                let report = check(&image, image.len() as u64).unwrap();
                prop_assert!(report.is_clean(), "{:#?}", report.findings);
            }
        } else {
            prop_assert!(!sound, "the check accepts what cannot be opened");
        }
    }
}
