//! Arithmetic of file systems that no fixture shows.

use zerocopy::FromBytes;

use super::super::finding::Findings;
use super::super::geometry::Geometry;
use super::image::{Image, SUPERBLOCK};
use crate::layout::SuperBlock;

fn geometry(image: &Image) -> Geometry {
    let (fields, _) = SuperBlock::read_from_prefix(&image.bytes[SUPERBLOCK..]).unwrap();
    let mut findings = Findings::default();
    let geometry = Geometry::read(&fields, image.bytes.len() as u64, &mut findings);
    assert!(findings.listed.is_empty(), "{:?}", findings.listed);
    geometry.unwrap()
}

#[test]
fn metadata_shifts_from_group_to_group_on_disks_of_several_tracks() {
    // Two tracks of half the length: the mask has one zero bit, so every odd group is shifted.
    let mut image = Image::populated();
    let sectors = image.u32(SUPERBLOCK + 168);
    let groups = image.groups();
    image.put_u32(SUPERBLOCK + 164, 2);
    image.put_u32(SUPERBLOCK + 168, sectors / 2);
    image.put_u32(SUPERBLOCK + 28, !1);
    let geometry = geometry(&image);
    let offset = image.u32(SUPERBLOCK + 24);
    assert_ne!(offset, 0);
    for group in 0..groups as u32 {
        let base = group * geometry.fpg;
        let shift = group % 2 * offset;
        assert_eq!(geometry.group_offset(group, geometry.cblkno), u64::from(base + shift + 24) * 1024);
        assert_eq!(geometry.inode_offset(group * 384 + 33), u64::from(base + shift + 28 + 4) * 1024 + 128);
        let metadata = geometry.metadata(group);
        assert_eq!(metadata.end, if group == 0 { 77 } else { shift + 76 });
        assert_eq!(metadata.start, if group == 0 { 0 } else { shift + 16 });
    }
}

#[test]
fn blocks_of_files() {
    let geometry = geometry(&Image::populated());
    for (size, lbn, frags) in [
        (1, 0, 1),
        (1024, 0, 1),
        (1025, 0, 2),
        (4096, 0, 4),
        (4097, 0, 4),
        (4097, 1, 1),
        (49151, 11, 4),
        (47 * 1024, 11, 3),
        (49153, 12, 4),
    ] {
        assert_eq!(geometry.block_frags(size, lbn), frags, "block {lbn} of {size} bytes");
    }
    assert_eq!(geometry.file_blocks(), 12 + 1024 + 1024 * 1024 + 1024 * 1024 * 1024);
}
