//! Inodes by themselves: owners, types, sizes, block pointers at every level, devices and symbolic links.

use super::super::FindingKind as Kind;
use super::image::{Image, SUPERBLOCK, damage, damage_at_inodes, field};

/// A file of 1050 blocks: 12 direct, 1024 behind a single and 14 behind a double indirect block.
const BIG: &str = "/d/f4300000";

/// Byte offset of the pointer to the first block of each kind of a big file: data directly, behind one and behind
/// two indirect blocks; the single indirect block, the double one, and the first single one behind that.
fn pointers(image: &Image) -> [(&'static str, usize); 6] {
    let inode = image.inode_of(BIG);
    let (single, double) = (inode + field::INDIRECT, inode + field::INDIRECT + 4);
    let behind_single = Image::frag(image.u32(single));
    let behind_double = Image::frag(image.u32(double));
    let behind_both = Image::frag(image.u32(behind_double));
    [
        ("direct", inode + field::DIRECT),
        ("data behind single", behind_single),
        ("data behind double", behind_both),
        ("single", single),
        ("double", double),
        ("single behind double", behind_double),
    ]
}

#[test]
fn pointers_out_of_range_at_every_level() {
    let image = Image::populated();
    let (size, group) = (image.u32(SUPERBLOCK + 36), image.u32(SUPERBLOCK + 188));
    let wrong = [size, size.next_multiple_of(4), 0x7fff_fffc, -8_i32 as u32, 1 << 31, 16, 76, group + 24];
    for (what, at) in pointers(&image) {
        for value in wrong {
            let kinds = damage_at_inodes(|image| image.put_u32(at, value));
            assert_eq!(kinds.len(), 1, "{what} at {value:#x}");
            assert!(
                kinds == [Kind::BlockOutOfRange] || (value == size && kinds == [Kind::BlockMisaligned]),
                "{what} at {value:#x}: {kinds:?}"
            );
        }
    }
}

#[test]
fn a_triple_indirect_pointer() {
    // Only a file of more than 4 GiB has one.
    let mut image = Image::populated();
    let inode = image.inode_of(BIG);
    image.put_u64(inode + field::SIZE, (12 + 1024 + 1024 * 1024 + 1) * 4096);
    image.put_u32(inode + field::INDIRECT + 8, 0x7fff_fff0);
    assert_eq!(image.kinds(), [Kind::LargeFiles, Kind::BlockOutOfRange]);
    // Behind one that leads to a block of itself, nothing is followed twice.
    image.put_u32(inode + field::INDIRECT + 8, image.u32(inode + field::INDIRECT));
    assert_eq!(image.inode_kinds(), [Kind::BlockDuplicate]);
}

#[test]
fn duplicates_at_every_level() {
    let image = Image::populated();
    // A block of a file that comes earlier, and one that comes later in the inode table, or is the file's own.
    let own = image.u32(image.inode_of(BIG) + field::DIRECT + 4);
    for (what, at) in pointers(&image) {
        assert_eq!(
            damage_at_inodes(|image| image.put_u32(at, own)),
            [Kind::BlockDuplicate],
            "{what} at fragment {own}"
        );
    }
    let tail = image.u32(image.inode_of("/d/f1") + field::DIRECT);
    let at = image.inode_of("/d/f1023") + field::DIRECT;
    let kinds = damage(|image| image.put_u32(at, tail));
    assert!(kinds.contains(&Kind::BlockDuplicate) && kinds.contains(&Kind::FragmentMarkedUsed));
}

#[test]
fn misaligned_blocks() {
    for (what, at) in pointers(&Image::populated()) {
        assert_eq!(damage_at_inodes(|image| image.add_u32(at, 1)), [Kind::BlockMisaligned], "{what}");
    }
    // Three fragments that begin in the third of a block.
    let at = Image::populated().inode_of("/d/f3072") + field::DIRECT;
    let kinds = damage_at_inodes(|image| image.put_u32(at, (image.u32(at) & !3) + 2));
    assert_eq!(kinds, [Kind::BlockMisaligned]);
}

#[test]
fn block_counts() {
    for path in ["/d/f0", "/d/f1", BIG, "/d", "/link"] {
        let mut image = Image::populated();
        let at = image.inode_of(path) + field::BLOCKS;
        image.add_u32(at, 2);
        assert_eq!(image.kinds(), [Kind::BlockCount], "{path}");
        assert_eq!(image.check().findings[0].location.path.as_deref(), Some(path.as_bytes()));
    }
}

#[test]
fn sizes_and_mapped_blocks() {
    let beyond = damage(|image| {
        let inode = image.inode_of("/d/f4096");
        image.put_u64(inode + field::SIZE, 3 * 4096);
    });
    assert_eq!(beyond, [Kind::SizeBeyondBlocks]);
    let past = damage(|image| {
        let inode = image.inode_of("/d/f4096");
        image.put_u32(inode + field::DIRECT + 4, 6000);
    });
    assert_eq!(past, [Kind::BlocksPastSize]);
    let past = damage(|image| {
        let inode = image.inode_of("/d/f4096");
        image.put_u32(inode + field::INDIRECT + 8, 6000);
    });
    assert_eq!(past, [Kind::BlocksPastSize]);
    // The second pointer of the indirect block of a file with 13 blocks.
    let past = damage(|image| {
        let inode = image.inode_of("/d/f49153");
        let at = Image::frag(image.u32(inode + field::INDIRECT)) + 4;
        image.put_u32(at, 6000);
    });
    assert_eq!(past, [Kind::BlocksPastSize]);
    for size in [1 << 43, 1 << 63, u64::MAX] {
        let kinds = damage(|image| {
            let inode = image.inode_of(BIG);
            image.put_u64(inode + field::SIZE, size);
        });
        assert_eq!(kinds, [Kind::LargeFiles, Kind::FileSize], "{size}");
    }
}

#[test]
fn holes_are_no_fault_of_files() {
    // A hole releases its block: only the maps and counts still know it.
    let mut image = Image::populated();
    let inode = image.inode_of(BIG);
    image.put_u32(inode + field::DIRECT + 8, 0);
    image.add_u32(inode + field::BLOCKS, -8);
    assert_eq!(image.inode_kinds(), []);
}

#[test]
fn reserved_blocks_have_negative_addresses() {
    let mut image = Image::populated();
    let inode = image.inode_of("/d/f200000");
    let at = inode + field::DIRECT + 4;
    image.put_u32(at, image.u32(at).wrapping_neg());
    assert_eq!(image.inode_kinds(), [Kind::BlockOutOfRange]);
    image.put_u32(inode + field::FLAGS, 2);
    assert_eq!(image.kinds(), []);
    // -1 stands for a hole there.
    image.put_u32(at, u32::MAX);
    image.add_u32(inode + field::BLOCKS, -8);
    assert_eq!(image.inode_kinds(), []);
}

#[test]
fn owners() {
    for (at, value) in [(field::SHORT_UID, 1), (field::UID, 1), (field::GID, 70_000)] {
        let kinds = damage(|image| {
            let inode = image.inode_of("/d/f1");
            image.put_u16(inode + at, value as u16);
            if at != field::SHORT_UID {
                image.put_u32(inode + at, value);
            }
        });
        assert_eq!(kinds, [Kind::OwnerFields], "byte {at}");
    }
    // The owner above 65,535 of the fixture, with its short field cut off instead of 65,535.
    let kinds = damage(|image| {
        let inode = image.inode_of("/d/f511");
        assert_eq!(image.u16(inode + field::SHORT_UID), u16::MAX);
        image.put_u16(inode + field::SHORT_UID, 70_000_u32 as u16);
    });
    assert_eq!(kinds, [Kind::OwnerFields]);
}

#[test]
fn types() {
    for mode_type in [0x0000, 0x3000, 0x5000, 0x7000, 0x9000, 0xd000, 0xf000] {
        let kinds = damage(|image| {
            let inode = image.inode_of("/d/f4097");
            image.put_u16(inode + field::MODE, mode_type | 0o644);
        });
        assert_eq!(kinds, [Kind::InodeType], "{mode_type:#x}");
    }
}

#[test]
fn free_and_reserved_inodes() {
    for (at, value) in
        [(field::SIZE, 1), (field::DIRECT, 6000), (field::INDIRECT + 8, 6000), (field::NLINK, 1)]
    {
        let mut image = Image::populated();
        let free = image.free_inode();
        let at = image.inode(free) + at;
        image.put_u16(at, value);
        assert_eq!(image.kinds(), [Kind::PartlyAllocated]);
        assert_eq!(image.check().findings[0].location.inode, Some(free));
    }
    // Generation, times and owners survive.
    assert_eq!(damage(|image| image.put_u32(image.inode(image.free_inode()) + 108, 99)), []);
    assert_eq!(damage(|image| image.put_u16(image.inode(1), 0o100_644)), [Kind::ReservedInode]);
    let kinds = damage(|image| image.put_u16(image.inode(2) + field::NLINK, 0));
    assert_eq!(kinds, [Kind::RootInode, Kind::LinkCount]);
    assert!(damage(|image| image.put_u16(image.inode(2), 0o100_755)).contains(&Kind::RootInode));
}

#[test]
fn devices_fifos_and_sockets() {
    for (mode, kind, pointer) in [
        (0o020_600, Kind::DeviceNode, 0),
        (0o060_600, Kind::DeviceNode, 2),
        (0o010_600, Kind::SpecialFile, 1),
        (0o140_600, Kind::SpecialFile, 0),
    ] {
        let mut image = Image::populated();
        let inode = image.inode_of("/d/f0");
        image.put_u16(inode + field::MODE, mode);
        if kind == Kind::DeviceNode {
            image.put_u32(inode + field::DIRECT + 4, 13 << 8 | 2);
        }
        assert_eq!(image.kinds(), [], "{mode:#o}");
        for (at, value) in
            [(field::SIZE, 1), (field::DIRECT + 4 * pointer, 7), (field::INDIRECT, 7), (field::BLOCKS, 2)]
        {
            let mut image = image.clone();
            image.put_u32(inode + at, value);
            assert_eq!(image.kinds(), [kind], "{mode:#o}, byte {at}");
        }
    }
}

#[test]
fn symbolic_links() {
    for path in ["/link", "/long"] {
        let mut image = Image::populated();
        let inode = image.inode_of(path);
        let (contents, size) = (image.contents(path), image.u64(inode + field::SIZE) as usize);
        for at in [size, 1023] {
            let mut image = image.clone();
            image.bytes[contents + at] = b'x';
            assert_eq!(image.kinds(), [Kind::SymlinkTail], "{path}, byte {at}");
        }
        image.bytes[contents + 1] = 0;
        assert_eq!(image.kinds(), [Kind::SymlinkTarget]);
    }
    for size in [0, 1024, 4096] {
        let kinds = damage_at_inodes(|image| {
            let inode = image.inode_of("/link");
            image.put_u64(inode + field::SIZE, size);
        });
        assert!(kinds.contains(&Kind::SymlinkTarget), "{size}");
    }
    // As BSD and Linux store a short one.
    let mut image = Image::populated();
    let inode = image.inode_of("/link");
    image.put(inode + field::DIRECT, b"d/f1");
    image.put_u32(inode + field::BLOCKS, 0);
    assert_eq!(image.inode_kinds(), [Kind::SymlinkInline]);
}

#[test]
fn references_to_acls() {
    for target in [u32::MAX, 5_000_000, 2, Image::populated().free_inode()] {
        let kinds = damage(|image| {
            let inode = image.inode_of("/d/f1");
            image.put_u32(inode + field::SHADOW, target);
        });
        assert_eq!(kinds, [Kind::ShadowReference], "{target}");
        let kinds = damage(|image| {
            let inode = image.inode_of("/d/f1");
            image.put_u32(inode + field::ATTRIBUTES, target);
        });
        assert_eq!(kinds, [Kind::AttributeReference], "{target}");
    }
    // A file taken out of its directory serves as the ACL of two others.
    let mut image = Image::populated();
    let (entry, shadow) = (image.entry("/d/f1"), image.lookup("/d/f1"));
    let inode = image.inode(shadow);
    image.put_u32(entry, 0);
    image.put_u16(inode + field::MODE, 0o130_000);
    image.put_u16(inode + field::NLINK, 2);
    assert_eq!(image.kinds(), [Kind::OrphanInode]);
    for path in ["/d/f0", "/d/e"] {
        let owner = image.inode_of(path);
        image.put_u32(owner + field::SHADOW, shadow);
    }
    assert_eq!(image.kinds(), []);
    image.put_u32(image.inode_of("/d/f0") + field::SHADOW, 0);
    assert_eq!(image.kinds(), [Kind::LinkCount]);
    image.put_u32(entry, shadow);
    assert!(image.kinds().contains(&Kind::EntryType));
}

#[test]
fn attribute_directories() {
    let mut image = Image::populated();
    let (entry, parent, directory) = (image.entry("/d/e"), image.inode_of("/d"), image.lookup("/d/e"));
    let inode = image.inode(directory);
    image.put_u32(entry, 0);
    image.add_u16(parent + field::NLINK, -1);
    image.put_u16(inode + field::MODE, 0o160_755);
    assert_eq!(image.kinds(), [Kind::OrphanDirectory]);
    let owner = image.inode_of("/d/f1");
    image.put_u32(owner + field::ATTRIBUTES, directory);
    assert_eq!(image.kinds(), []);
    image.put_u16(inode + field::NLINK, 3);
    assert_eq!(image.kinds(), [Kind::LinkCount]);
}
