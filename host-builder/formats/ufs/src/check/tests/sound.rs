//! What is sound gives no finding, and the totals are those that illumos' fsck counted.

use super::super::{FindingKind, Totals};
use super::image::Image;

#[test]
fn sound_file_systems_give_no_finding() {
    for name in ["empty8m", "empty64m", "populated16m", "populated16m-grown40m"] {
        let report = Image::fixture(name).check();
        let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert_eq!(lines, [""; 0], "{name}");
        assert!(report.is_clean() && report.complete, "{name}");
        assert_eq!(report.total(), 0, "{name}");
    }
}

#[test]
fn totals_are_those_of_fsck() {
    // 16 MiB: populated16m.fsck.txt; the kinds of files are those of populated16m.list and the root.
    let expected = Totals {
        bytes: 16362 * 1024,
        inodes_used: 171,
        directories: 4,
        regular_files: 165,
        symlinks: 2,
        devices: 0,
        others: 0,
        large_files: 0,
        fragments_used: 4751,
        free_blocks: 2838,
        free_fragments: 2,
    };
    assert_eq!(Image::populated().check().totals, expected);
}

#[test]
fn a_length_off_the_page_is_a_notice_only() {
    let mut image = Image::populated();
    image.bytes.extend([0; 512]);
    assert_eq!(image.kinds(), [FindingKind::DeviceLength]);
    assert!(image.check().is_clean());
}
