//! Cylinder group headers, their maps, counts and tables, and the summaries.

use super::super::FindingKind as Kind;
use super::image::{Image, SUPERBLOCK, damage, field};

/// Damages a 32-bit word of each group's header in turn, and asserts what is found, and where.
fn each_header(at: usize, difference: i32, kind: Kind) {
    for group in 0..Image::populated().groups() {
        let mut image = Image::populated();
        let at = image.header(group) + at;
        image.add_u32(at, difference);
        assert_eq!(image.kinds(), [kind], "group {group}, byte {at}");
        let report = image.check();
        assert_eq!(report.total(), 1);
        assert_eq!(report.findings[0].location.group, Some(group as u32));
    }
}

#[test]
fn magic_and_offsets() {
    each_header(4, 1, Kind::GroupMagic);
    for field in [12, 16, 20, 84, 88, 92, 96, 100] {
        each_header(field, 1, Kind::GroupHeader);
    }
    // cg_niblk, in the upper half of the word at 16.
    each_header(16, 1 << 16, Kind::GroupHeader);
}

#[test]
fn rotors() {
    for field in [40, 44, 48] {
        assert_eq!(
            damage(|image| image.put_u32(image.header(1) + field, 0xffff_ffff)),
            [Kind::GroupRotor],
            "negative"
        );
        assert_eq!(damage(|image| image.put_u32(image.header(1) + field, 1 << 20)), [Kind::GroupRotor]);
        assert_eq!(damage(|image| image.put_u32(image.header(1) + field, 383)), []);
    }
}

#[test]
fn fragment_map() {
    let map = |image: &Image, group| image.map(group, 96);
    // The root directory's fragment, 84; a fragment of the summary area, 76.
    for frag in [84, 76, 0] {
        let mut image = Image::populated();
        let at = map(&image, 0) + frag / 8;
        image.bytes[at] |= 1 << (frag % 8);
        assert_eq!(image.kinds(), [Kind::FragmentMarkedFree]);
        let report = image.check();
        assert_eq!(report.findings[0].detail, format!("fragments {frag} to {frag}"));
        assert_eq!(report.findings[0].location.offset, Some(at as u64));
    }
    // The last block of the next to last group is free: one finding for four fragments.
    let mut image = Image::populated();
    let group = image.groups() - 2;
    let frags = image.u32(SUPERBLOCK + 188) as usize;
    let at = map(&image, group) + (frags - 1) / 8;
    assert_eq!(image.bytes[at] & 0xf0, 0xf0);
    image.bytes[at] &= 0x0f;
    assert_eq!(image.kinds(), [Kind::FragmentMarkedUsed]);
    assert_eq!(image.check().total(), 1);
    // A bit behind the last fragment of the last group.
    let mut image = Image::populated();
    let group = image.groups() - 1;
    let frags = image.u32(image.header(group) + 20) as usize;
    let at = map(&image, group) + (frags + 8) / 8;
    image.bytes[at] |= 0x80;
    assert_eq!(image.kinds(), [Kind::FragmentMarkedFree]);
}

#[test]
fn inode_map() {
    let map = |image: &Image| image.map(0, 92);
    for inode in [0, 2] {
        let mut image = Image::populated();
        let at = map(&image);
        image.bytes[at] &= !(1 << inode);
        assert_eq!(image.kinds(), [Kind::InodeMarkedFree]);
        assert_eq!(image.check().findings[0].location.inode, Some(inode));
    }
    let mut image = Image::populated();
    let free = image.free_inode();
    let at = map(&image) + free as usize / 8;
    image.bytes[at] |= 1 << (free % 8);
    assert_eq!(image.kinds(), [Kind::InodeMarkedUsed]);
    assert_eq!(image.check().findings[0].location.inode, Some(free));
}

#[test]
fn three_copies_of_the_counts() {
    for count in 0..4 {
        each_header(24 + 4 * count, 1, Kind::GroupSummary);
        assert_eq!(damage(|image| image.add_u32(SUPERBLOCK + 192 + 4 * count, -1)), [Kind::SummaryTotal]);
        let mut image = Image::populated();
        let area = Image::frag(image.u32(SUPERBLOCK + 152));
        image.add_u32(area + 16 + 4 * count, 1);
        assert_eq!(image.kinds(), [Kind::SummaryArea]);
        assert_eq!(image.check().findings[0].location.group, Some(1));
    }
}

#[test]
fn free_blocks_by_cylinder_and_position() {
    for cylinder in [0, 3, 15] {
        each_header(168 + 4 * cylinder, 1, Kind::CylinderCounts);
    }
    let positions = 168 + 4 * 16;
    for entry in [0, 9, 126] {
        each_header(positions + 2 * entry, 1, Kind::RotationalCounts);
    }
}

#[test]
fn free_fragment_runs() {
    for run in 1..4 {
        each_header(52 + 4 * run, 1, Kind::FragmentRuns);
    }
    // Elements that no run of fragments can have are not used.
    assert_eq!(damage(|image| image.add_u32(image.header(0) + 52, 1)), []);
}

#[test]
fn directories_are_counted_in_their_group() {
    // A directory that turns into a file is one directory fewer in all three copies, and its entries are gone.
    let kinds = damage(|image| {
        let inode = image.inode_of("/lost+found");
        image.put_u16(inode + field::MODE, 0o100_600);
    });
    assert_eq!(
        kinds,
        [Kind::GroupSummary, Kind::SummaryArea, Kind::SummaryTotal, Kind::LinkCount],
        "also the links of the directory and its parent"
    );
}
