//! Directories: their records, the tree they form, and link counts.

use super::super::FindingKind as Kind;
use super::image::{Image, SUPERBLOCK, damage, damage_at_inodes, field};

#[test]
fn link_counts() {
    for path in ["/d", "/d/e", "/d/f1", "/link", "/lost+found"] {
        for difference in [1, -1, 1000] {
            let mut image = Image::populated();
            image.add_u16(image.inode_of(path) + field::NLINK, difference);
            assert_eq!(image.kinds(), [Kind::LinkCount], "{path}");
            let finding = &image.check().findings[0];
            assert_eq!(finding.location.path.as_deref(), Some(path.as_bytes()));
        }
    }
    assert_eq!(damage(|image| image.add_u16(image.inode(2) + field::NLINK, 1)), [Kind::LinkCount]);
}

#[test]
fn findings_read_as_a_sentence() {
    let mut image = Image::populated();
    let (number, at) = (image.lookup("/d/f1"), image.inode_of("/d/f1"));
    image.put_u16(at + field::NLINK, 3);
    let finding = image.check().findings[0].to_string();
    let expected = format!("/d/f1, inode {number}, byte {at}: wrong link count (ic_nlink is 3, not 1)");
    assert_eq!(finding, expected);
}

#[test]
fn record_lengths() {
    // Zero, no multiple of four, shorter than the name, over the chunk's end.
    for path in ["/d", "/d/e", "/d/e/name-110-xxxxxxxxxxx"] {
        for reclen in [0, 8, 13, 1024, 0xfffc] {
            let mut image = Image::populated();
            let entry = image.entry(path);
            image.put_u16(entry + 4, reclen);
            let report = image.check();
            assert_eq!(report.count(Kind::DirectoryRecord), 1, "{path}: {reclen}");
            assert_eq!(report.findings[0].location.offset, Some(entry as u64));
        }
    }
    // The last record of a chunk must end with it: the bytes that remain are a record without length.
    let mut image = Image::populated();
    let start = image.contents("/lost+found") + 512;
    assert_eq!(image.u16(start + 4), 512);
    image.put_u16(start + 4, 508);
    assert_eq!(image.kinds(), [Kind::DirectoryRecord]);
}

#[test]
fn name_lengths() {
    for namlen in [0, 256, 0xffff] {
        let kinds = damage(|image| image.put_u16(image.entry("/link") + 6, namlen));
        assert!(kinds.contains(&Kind::DirectoryRecord), "{namlen}");
    }
}

#[test]
fn names() {
    for byte in [0, b'/'] {
        assert_eq!(
            damage(|image| {
                let entry = image.entry("/link");
                image.bytes[entry + 9] = byte;
            }),
            [Kind::DirectoryName]
        );
    }
    // No NUL behind the name.
    assert_eq!(
        damage(|image| {
            let entry = image.entry("/link");
            image.bytes[entry + 8 + 4] = b'x';
        }),
        [Kind::DirectoryName]
    );
    // A byte behind that NUL.
    let mut image = Image::populated();
    let entry = image.entry("/link");
    image.bytes[entry + 8 + 5] = b'x';
    assert_eq!(image.kinds(), [Kind::DirectoryPadding]);
    assert!(image.check().is_clean());
    assert_eq!(damage(|image| image.put(image.entry("/link") + 8, b"long")), [Kind::DuplicateName]);
}

#[test]
fn bytes_behind_a_directory() {
    let mut image = Image::populated();
    let at = Image::frag(image.u32(image.inode(2) + field::DIRECT)) + 512;
    image.bytes[at + 20] = 1;
    assert_eq!(image.kinds(), [Kind::DirectoryTail]);
    assert!(image.check().is_clean());
}

#[test]
fn dot() {
    let start = Image::populated().contents("/d/e");
    // Another inode, another name, a longer record that swallows `..`, no record.
    let another = damage(|image| image.put_u32(start, 2));
    assert_eq!(another, [Kind::DotEntry]);
    assert_eq!(damage(|image| image.put_u32(start, 0)), [Kind::DotEntry]);
    assert_eq!(
        damage(|image| {
            image.put_u16(start + 4, 24);
        }),
        [Kind::DotEntry, Kind::DotDotEntry]
    );
    // A second one, elsewhere.
    let kinds = damage_at_inodes(|image| {
        let entry = image.entry("/d/e/name-1-xx");
        image.put_u16(entry + 6, 1);
        image.put(entry + 8, b".\0\0\0\0\0\0\0\0");
    });
    assert!(kinds.contains(&Kind::DotEntry) && kinds.contains(&Kind::DuplicateName));
}

#[test]
fn dot_dot() {
    let start = Image::populated().contents("/d/e") + 12;
    for inode in [2, 3, 5_000_000, Image::populated().lookup("/d/f1")] {
        assert_eq!(damage(|image| image.put_u32(start, inode)), [Kind::DotDotEntry], "{inode}");
    }
    assert_eq!(damage(|image| image.put_u32(start, 0)), [Kind::DotDotEntry]);
    let root = Image::frag(Image::populated().u32(Image::populated().inode(2) + field::DIRECT)) + 12;
    assert_eq!(damage(|image| image.put_u32(root, 3)), [Kind::DotDotEntry]);
}

#[test]
fn entries_to_nowhere() {
    let free = Image::populated().free_inode();
    let inodes = Image::populated().groups() as u32 * Image::populated().u32(SUPERBLOCK + 184);
    for (inode, kind) in [
        (free, Kind::EntryToFreeInode),
        (inodes - 1, Kind::EntryToFreeInode),
        (inodes, Kind::EntryOutOfRange),
        (u32::MAX, Kind::EntryOutOfRange),
        (1, Kind::EntryOutOfRange),
    ] {
        let kinds = damage(|image| image.put_u32(image.entry("/d/f1"), inode));
        assert_eq!(kinds, [kind, Kind::OrphanInode], "inode {inode}");
    }
    // The other way round: the inode vanishes under its entry, and with it an owner of fragments.
    let mut image = Image::populated();
    let inode = image.inode_of("/d/f1");
    image.put(inode, &[0; 128]);
    assert_eq!(image.inode_kinds(), [Kind::InodeMarkedUsed, Kind::EntryToFreeInode]);
}

#[test]
fn orphans() {
    let mut image = Image::populated();
    let lost = image.lookup("/d/f1");
    image.put_u32(image.entry("/d/f1"), 0);
    assert_eq!(image.kinds(), [Kind::OrphanInode]);
    let finding = image.check().findings[0].clone();
    assert_eq!((finding.location.inode, finding.location.path), (Some(lost), None));

    // What lies in a directory without parent is not lost itself.
    let mut image = Image::populated();
    let lost = image.lookup("/d");
    image.put_u32(image.entry("/d"), 0);
    assert_eq!(image.kinds(), [Kind::OrphanDirectory]);
    assert_eq!(image.check().total(), 1);
    assert_eq!(image.check().findings[0].location.inode, Some(lost));
}

#[test]
fn cycles() {
    // /d is taken out of the root and put into its own child, in place of a file.
    let mut image = Image::populated();
    let d = image.lookup("/d");
    let inside = image.entry("/d/e/name-1-xx");
    let (file, dotdot) = (image.u32(inside), image.contents("/d") + 12);
    let child = image.lookup("/d/e");
    image.put_u32(inside, d);
    image.put_u32(image.entry("/d"), file);
    image.put_u32(dotdot, child);
    let child = image.inode(child);
    image.add_u16(child + field::NLINK, 1);
    image.add_u16(image.inode(2) + field::NLINK, -1);
    assert_eq!(image.kinds(), [Kind::DirectoryCycle]);
    assert_eq!(image.check().findings[0].detail, "2 directories");
}

#[test]
fn two_parents() {
    // A second entry for /d/e: in a directory before and in one behind the right one, and in itself.
    for path in ["/link", "/d/f1", "/d/e/name-1-xx"] {
        let mut image = Image::populated();
        let (child, entry) = (image.lookup("/d/e"), image.entry(path));
        image.put_u32(entry, child);
        assert_eq!(image.kinds(), [Kind::DirectorySecondLink, Kind::OrphanInode], "{path}");
    }
    let mut image = Image::populated();
    image.put_u32(image.entry("/d/f1"), 2);
    assert_eq!(image.kinds(), [Kind::DirectorySecondLink, Kind::OrphanInode], "the root");
}

#[test]
fn directory_sizes_and_holes() {
    for size in [500, 513] {
        let kinds = damage_at_inodes(|image| {
            let inode = image.inode_of("/lost+found");
            image.put_u64(inode + field::SIZE, size);
        });
        assert!(kinds.contains(&Kind::DirectorySize), "{size}");
    }
    let kinds = damage(|image| {
        let inode = image.inode_of("/lost+found");
        image.put_u64(inode + field::SIZE, 8192);
    });
    assert_eq!(kinds, [Kind::SizeBeyondBlocks]);
    let kinds = damage(|image| {
        let inode = image.inode_of("/lost+found");
        image.put_u64(inode + field::SIZE, 0);
    });
    assert!(kinds.contains(&Kind::DirectorySize));
    let kinds = damage_at_inodes(|image| {
        let inode = image.inode_of("/lost+found");
        let block = image.u32(inode + field::DIRECT);
        image.put_u64(inode + field::SIZE, 8192);
        image.put_u32(inode + field::DIRECT + 4, block);
        image.put_u32(inode + field::DIRECT, 0);
    });
    // The block that holds `.` and `..` is now the second.
    assert_eq!(kinds, [Kind::DirectoryHole, Kind::DotEntry, Kind::DotDotEntry]);
}
