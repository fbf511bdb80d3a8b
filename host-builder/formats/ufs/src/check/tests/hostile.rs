//! Bytes that somebody chose to break the check: it ends, and says what is wrong.

use proptest::prelude::*;

use super::super::{FINDINGS_LISTED, FINDINGS_LISTED_PER_KIND, FindingKind as Kind, check};
use super::image::{Image, SUPERBLOCK, field};

/// Regions of the populated fixture that the check reads: superblock and first group, second group, directories.
const REGIONS: [(usize, usize); 3] = [(8192, 128 << 10), (4800 << 10, 100 << 10), (8192, 1380)];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        flips in prop::collection::vec((0_usize..3, any::<prop::sample::Index>(), 1_u8..), 1..12),
    ) {
        let mut image = Image::populated();
        for (region, index, mask) in flips {
            let (start, len) = REGIONS[region];
            image.bytes[start + index.index(len)] ^= mask;
        }
        if let Ok(report) = check(&image.bytes, image.bytes.len() as u64) {
            prop_assert!(report.findings.len() <= FINDINGS_LISTED);
            prop_assert!(report.total() >= report.findings.len() as u64);
            for finding in &report.findings {
                prop_assert!(!finding.to_string().is_empty());
            }
        }
    }

    #[test]
    fn directories_of_noise_never_panic(noise in prop::collection::vec(any::<u8>(), 512), mask in any::<u8>()) {
        let mut image = Image::populated();
        let start = image.contents("/d");
        for (byte, noise) in image.bytes[start..].iter_mut().zip(noise) {
            *byte ^= noise & mask;
        }
        prop_assert!(image.check().complete);
    }
}

#[test]
fn findings_are_listed_sparsely_and_counted_all() {
    let mut image = Image::populated();
    for number in 4..384 {
        let at = image.inode(number) + field::UID;
        image.add_u32(at, 7);
    }
    let report = image.check();
    // All but the root and lost+found, which were left alone, and a file whose owner is above 65,535 either way.
    let wrong = report.totals.inodes_used - 3;
    assert_eq!(report.count(Kind::OwnerFields), wrong);
    assert_eq!(report.findings.len() as u64, FINDINGS_LISTED_PER_KIND);
    assert_eq!(report.total(), wrong);
}

#[test]
fn indirect_blocks_that_lead_to_themselves_are_read_once() {
    // All 1024 pointers of a triple indirect block lead back to it, and so do those of the inode.
    let mut image = Image::populated();
    let inode = image.inode_of("/d/f4300000");
    let block = image.u32(inode + field::INDIRECT);
    image.put_u64(inode + field::SIZE, 1 << 42);
    for level in 0..3 {
        image.put_u32(inode + field::INDIRECT + 4 * level, block);
    }
    for pointer in 0..1024 {
        image.put_u32(Image::frag(block) + 4 * pointer, block);
    }
    let report = image.check();
    assert_eq!(report.count(Kind::BlockDuplicate), 1024 + 2);
}

#[test]
fn a_size_that_claims_the_whole_format_costs_nothing() {
    let mut image = Image::populated();
    image.put_u64(image.inode_of("/d/e") + field::SIZE, u64::MAX - 511);
    assert!(image.check().count(Kind::FileSize) == 1);
}

#[test]
fn counts_that_overflow_are_only_wrong() {
    let mut image = Image::populated();
    for count in 0..4 {
        image.put_u32(SUPERBLOCK + 192 + 4 * count, 1 << 31);
    }
    image.put(SUPERBLOCK + 32, &[0xff; 4]);
    assert_eq!(image.kinds(), [Kind::State, Kind::SummaryTotal]);
}
