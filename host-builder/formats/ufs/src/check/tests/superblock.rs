//! The superblock, its backups, its state, the boot block.

use super::super::{FindingKind as Kind, check};
use super::image::{Image, SUPERBLOCK, damage};
use crate::ErrorKind;

#[test]
fn a_static_field_of_the_primary() {
    // fs_rps and a reserved word: of no use to anybody, but fsck compares them.
    for field in [68, 1116, 1332, 1900] {
        let mut image = Image::populated();
        image.put_u32(SUPERBLOCK + field, 0x5a5a);
        let report = image.check();
        assert_eq!(image.kinds(), [Kind::BackupSuperblock], "field {field}");
        assert_eq!(report.total(), 1, "the primary is the odd one");
        assert_eq!(report.findings[0].location.group, None);
    }
}

#[test]
fn a_backup_of_any_group() {
    let groups = Image::populated().groups();
    for group in 0..groups {
        let mut image = Image::populated();
        let at = image.backup(group) + 2047;
        image.bytes[at] ^= 1;
        let report = image.check();
        assert_eq!(image.kinds(), [Kind::BackupSuperblock]);
        assert_eq!(report.findings[0].location.group, Some(group as u32));
        assert_eq!(report.findings[0].location.offset, Some(at as u64));
    }
}

#[test]
fn fields_of_the_primary_that_may_vary() {
    // fs_maxcontig, fs_rotdelay, fs_fsmnt, fs_u.
    for field in [88, 64, 212, 728] {
        assert_eq!(damage(|image| image.put_u32(SUPERBLOCK + field, 7)), [], "field {field}");
    }
}

#[test]
fn derived_fields() {
    for field in [56, 72, 76, 80, 84, 96, 108, 112, 116, 120, 124, 40, 172, 1340, 1344, 1348, 1356] {
        let kinds = damage(|image| image.add_u32(SUPERBLOCK + field, 1));
        assert_eq!(kinds, [Kind::Geometry, Kind::BackupSuperblock], "field {field}");
    }
    // These vary from the backups.
    for (field, value) in [(60, 100), (100, 2), (128, 2)] {
        assert_eq!(damage(|image| image.put_u32(SUPERBLOCK + field, value)), [Kind::Geometry]);
    }
}

#[test]
fn a_geometry_that_cannot_be_walked() {
    for field in [8, 12, 16, 20, 44, 48, 52, 152, 156, 168, 176, 180, 184, 188, 1360] {
        for value in [0, 1, 3, 0x7fff_ffff, 0xffff_ffff] {
            let mut image = Image::populated();
            image.put_u32(SUPERBLOCK + field, value);
            assert!(!image.check().is_clean(), "field {field} is {value}");
        }
    }
    // The first backup is compared even so.
    let mut image = Image::populated();
    image.put_u32(SUPERBLOCK + 188, 0);
    assert!(!image.check().complete);
    assert_eq!(image.kinds(), [Kind::Geometry, Kind::BackupSuperblock]);
}

#[test]
fn a_shorter_device() {
    let mut image = Image::populated();
    image.bytes.truncate(12 << 20);
    assert_eq!(image.kinds(), [Kind::BeyondDevice]);
    assert!(!image.check().complete);
}

#[test]
fn state_and_clean() {
    let fs_state = SUPERBLOCK + 132;
    assert_eq!(damage(|image| image.add_u32(fs_state, 1)), [Kind::State]);
    let fs_clean = SUPERBLOCK + 209;
    for clean in [0, 3, 0xff, 0xfe, 0xfc, 0xfd] {
        assert_eq!(damage(|image| image.bytes[fs_clean] = clean), [Kind::NotClean], "{clean:#x}");
    }
    assert_eq!(damage(|image| image.bytes[fs_clean] = 2), []);
    let mut logging = Image::populated();
    logging.bytes[fs_clean] = 0xfd;
    logging.put_u32(SUPERBLOCK + 1324, 500);
    assert_eq!(logging.kinds(), [Kind::Logging]);
    assert!(logging.check().is_clean());

    assert_eq!(damage(|image| image.put_u32(SUPERBLOCK + 136, 1)), [Kind::StaleSummary]);
    assert_eq!(damage(|image| image.put_u32(SUPERBLOCK + 1328, 1)), [Kind::Reclaim]);
    assert_eq!(damage(|image| image.bytes[SUPERBLOCK + 211] = 1), [Kind::LargeFiles]);
}

#[test]
fn the_boot_block() {
    for at in [0, 511, 8191] {
        let mut image = Image::populated();
        image.bytes[at] = 1;
        assert_eq!(image.kinds(), [Kind::BootBlock]);
        assert_eq!(image.check().findings[0].location.offset, Some(at as u64));
    }
}

#[test]
fn what_is_no_solaris_ufs_is_an_error() {
    let kind = |image: &Image| {
        check(&image.bytes, image.bytes.len() as u64).expect_err("no file system of this format").kind()
    };
    let magic = SUPERBLOCK + 1372;
    let mut image = Image::populated();
    image.put_u32(magic, 0x0001_1955);
    assert_eq!(kind(&image), ErrorKind::NotUfs);
    image.put_u32(magic, 0x5419_0100);
    assert_eq!(kind(&image), ErrorKind::BigEndian);
    image.put_u32(magic, 0x00de_cade);
    assert_eq!(kind(&image), ErrorKind::MultiTerabyte);
    let mut image = Image::populated();
    image.put_u32(SUPERBLOCK + 1320, 1);
    assert_eq!(kind(&image), ErrorKind::UnsupportedVersion);
    image.bytes.truncate(16383);
    assert_eq!(kind(&image), ErrorKind::NotUfs);
    image.bytes.clear();
    assert_eq!(kind(&image), ErrorKind::NotUfs);
}

#[test]
fn a_device_that_ends_early_is_an_error() {
    let image = Image::populated();
    let error =
        check(&&image.bytes[..1 << 20], image.bytes.len() as u64).expect_err("the device ends at 1 MiB");
    assert_eq!(error.kind(), ErrorKind::Device);
}
