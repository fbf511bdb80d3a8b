//! What `make` writes against what illumos' newfs wrote.

mod common;

use kiln_ufs::{FileSystem, MakeOptions, make};
use positioned_io::ReadAt;
use serde_json::Value;

fn options(bytes: u64) -> MakeOptions {
    MakeOptions { bytes, bytes_per_inode: 12248, time: 1_700_000_000, generation_seed: 7 }
}

/// Zeroes the generations of all inodes, the only bytes that newfs draws at random.
fn mask_generations(image: &mut [u8]) {
    let geometry = *FileSystem::open(image.to_vec(), image.len() as u64).unwrap().geometry();
    for ino in 0..geometry.inodes() {
        let at = geometry.inode_offset(ino) as usize + 108;
        assert_ne!(image[at..at + 4], [0; 4], "inode {ino} has a generation");
        image[at..at + 4].fill(0);
    }
}

#[test]
fn every_byte_but_the_generations_is_that_of_newfs() {
    for name in ["empty8m.img.gz", "empty64m.img.gz"] {
        let mut authentic = common::image(name);
        let fs = make(Vec::new(), &options(authentic.len() as u64)).unwrap();
        let mut ours = fs.into_device();
        assert_eq!(ours.len(), authentic.len(), "{name}");
        mask_generations(&mut authentic);
        mask_generations(&mut ours);
        let difference = ours.iter().zip(&authentic).position(|(ours, authentic)| ours != authentic);
        assert_eq!(difference, None, "{name}");
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap()
}

/// Reads a little-endian number of the width of a superblock field.
fn field(device: &impl ReadAt, offset: u64, width: usize) -> i64 {
    let mut bytes = [0; 4];
    device.read_exact_at(offset, &mut bytes[..width]).unwrap();
    if width == 4 { i64::from(i32::from_le_bytes(bytes)) } else { i64::from(bytes[0]) }
}

#[test]
fn larger_file_systems_have_the_recorded_fields() {
    for name in ["empty300m.json", "boot350000k.json", "empty8m.json", "empty64m.json"] {
        let json = std::fs::read(common::fixture(name)).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        let bytes = json["image_bytes"].as_u64().unwrap();
        let fs = make(tempfile::tempfile().unwrap(), &options(bytes)).unwrap();
        let device = fs.into_device();
        assert_eq!(device.metadata().unwrap().len(), bytes);

        let offsets = json["superblock_field_byte_offsets_from_8192"].as_object().unwrap();
        for (key, expected) in json["superblock"].as_object().unwrap() {
            let width =
                if ["fs_fmod", "fs_clean", "fs_ronly", "fs_flags"].contains(&key.as_str()) { 1 } else { 4 };
            let value = field(&device, 8192 + offsets[key].as_u64().unwrap(), width);
            assert_eq!(value, number(expected), "{name}: {key}");
        }
        for group in json["cylinder_groups"].as_array().unwrap() {
            let at = group["cg_byte"].as_u64().unwrap();
            let words = [
                ("cgx", 12),
                ("ndblk", 20),
                ("ndir", 24),
                ("nbfree", 28),
                ("nifree", 32),
                ("nffree", 36),
                ("rotor", 40),
                ("frotor", 44),
                ("irotor", 48),
                ("btotoff", 84),
                ("boff", 88),
                ("iusedoff", 92),
                ("freeoff", 96),
                ("nextfreeoff", 100),
            ];
            for (key, offset) in words {
                assert_eq!(field(&device, at + offset, 4), number(&group[key]), "{name}: cg {key}");
            }
            let frsum: Vec<i64> = (0..8).map(|k| field(&device, at + 52 + 4 * k, 4)).collect();
            let expected: Vec<i64> = group["frsum"].as_array().unwrap().iter().map(number).collect();
            assert_eq!(frsum, expected, "{name}");
            let backup = group["sb_backup_byte"].as_u64().unwrap();
            assert_eq!(field(&device, backup + 1372, 4), 0x11954, "{name}");
        }
    }
}

#[test]
fn sizes_and_densities_out_of_range_are_refused() {
    for (bytes, bytes_per_inode) in [(0, 12248), (3 << 30, 12248), (8 << 20, 0), (8 << 20, 1)] {
        let options = MakeOptions { bytes_per_inode, ..options(bytes) };
        let kind = make(Vec::new(), &options).unwrap_err().kind();
        assert_eq!(kind, kiln_ufs::ErrorKind::InvalidArgument, "{bytes} {bytes_per_inode}");
    }
}

#[test]
fn the_same_options_give_the_same_bytes() {
    let image = |seed| {
        let options = MakeOptions { generation_seed: seed, ..options(2 << 20) };
        make(Vec::new(), &options).unwrap().into_device()
    };
    assert_eq!(image(1), image(1));
    assert_ne!(image(1), image(2));
}

#[test]
fn old_contents_of_the_device_do_not_shine_through() {
    let fs = make(vec![0xff; 2 << 20], &options(2 << 20)).unwrap();
    let device = fs.into_device();
    assert!(device[..8192].iter().all(|&byte| byte == 0), "the boot block is wiped");
    assert!(kiln_ufs::check::check(&device, 2 << 20).unwrap().is_clean());
}
