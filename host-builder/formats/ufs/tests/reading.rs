//! Reading images that illumos' own tools made.

mod common;

use std::fmt::Write;
use std::io::Read;

use kiln_ufs::{ErrorKind, FileSystem, FileType};
use positioned_io::ReadAt;
use sha1::{Digest, Sha1};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn mode_type(kind: FileType) -> u32 {
    match kind {
        FileType::Directory => 0o40000,
        FileType::Regular => 0o100_000,
        FileType::Symlink => 0o120_000,
        other => panic!("the fixture has no {other:?}"),
    }
}

/// The tree as `populated16m.list` writes it.
pub fn list<D: ReadAt>(fs: &FileSystem<D>) -> String {
    let mut list = String::new();
    for entry in fs.walk(b"/").unwrap() {
        let entry = entry.unwrap();
        let metadata = &entry.metadata;
        let contents = match metadata.kind {
            FileType::Regular => {
                let mut contents = Vec::new();
                fs.file(&entry.path).unwrap().read_to_end(&mut contents).unwrap();
                Some(contents)
            }
            FileType::Symlink => Some(fs.read_link(&entry.path).unwrap()),
            _ => None,
        };
        let (size, digest) = match &contents {
            Some(contents) => {
                assert_eq!(contents.len() as u64, metadata.size);
                (contents.len().to_string(), hex(&Sha1::digest(contents)))
            }
            None => (String::new(), "-".to_owned()),
        };
        writeln!(
            list,
            "{:o} {} {} {} {} {}",
            mode_type(metadata.kind) | u32::from(metadata.mode),
            metadata.uid,
            metadata.gid,
            size,
            digest,
            String::from_utf8(entry.path).unwrap(),
        )
        .unwrap();
    }
    list
}

/// The lists are sorted by the whole path, a walk by names.
fn sorted(list: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn the_populated_image_and_its_grown_copy_read_as_listed() {
    let expected = std::fs::read_to_string(common::fixture("populated16m.list")).unwrap();
    for name in ["populated16m.img.gz", "populated16m-grown40m.img.gz"] {
        let image = common::image(name);
        let len = image.len() as u64;
        let fs = FileSystem::open(image, len).unwrap();
        assert_eq!(sorted(&list(&fs)), sorted(&expected), "{name}");
    }
}

#[test]
fn statistics_are_those_of_fsck() {
    let image = common::image("populated16m.img.gz");
    let len = image.len() as u64;
    let fs = FileSystem::open(image, len).unwrap();
    let statistics = fs.statistics();
    assert_eq!(statistics.free_bytes, 11354 * 1024);
    assert_eq!(u64::from(statistics.inodes - statistics.free_inodes), 171 + 2, "and the two reserved ones");
    assert_eq!(statistics.data_bytes - statistics.free_bytes, 4751 * 1024);
}

#[test]
fn positioned_reads_agree_with_the_whole() {
    let image = common::image("populated16m.img.gz");
    let len = image.len() as u64;
    let fs = FileSystem::open(image, len).unwrap();
    let whole = fs.read(b"/d/f4300000", 5_000_000).unwrap();
    let ino = fs.metadata(b"/d/f4300000").unwrap().ino;
    for offset in [0, 1, 4095, 49_152, 4_243_455, 4_243_456, 4_299_999, 4_300_000, 5_000_000] {
        let mut buffer = vec![0xaa; 10_000];
        let count = fs.read_at(ino, offset as u64, &mut buffer).unwrap();
        let expected = &whole[offset.min(whole.len())..(offset + 10_000).min(whole.len())];
        assert_eq!(&buffer[..count], expected, "at {offset}");
    }
    assert_eq!(fs.read(b"/d/f4300000", 4_299_999).unwrap_err().kind(), ErrorKind::FileTooLarge);
}

#[test]
fn lookups_follow_links_and_refuse_the_rest() {
    let image = common::image("populated16m.img.gz");
    let len = image.len() as u64;
    let fs = FileSystem::open(image, len).unwrap();
    assert_eq!(fs.symlink_metadata(b"/link").unwrap().kind, FileType::Symlink);
    assert_eq!(fs.metadata(b"/d/./e/../e//name-1-xx").unwrap().size, 2);
    let kind = |path: &[u8]| fs.metadata(path).unwrap_err().kind();
    assert_eq!(kind(b"/nothing"), ErrorKind::NotFound);
    assert_eq!(kind(b"/d/f511/x"), ErrorKind::NotADirectory);
    assert_eq!(kind(b"/d/f511/"), ErrorKind::NotADirectory);
    assert_eq!(kind(b"d"), ErrorKind::InvalidPath);
    assert_eq!(fs.read_link(b"/d").unwrap_err().kind(), ErrorKind::NotASymlink);
    assert_eq!(fs.file(b"/d").unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(fs.read_dir(b"/d/f511").unwrap_err().kind(), ErrorKind::NotADirectory);
}

/// Opens the small empty image after putting bytes at offsets of its superblock.
fn refusal(changes: &[(usize, &[u8])]) -> ErrorKind {
    let mut image = common::image("empty8m.img.gz");
    for (offset, bytes) in changes {
        image[8192 + offset..8192 + offset + bytes.len()].copy_from_slice(bytes);
    }
    let len = image.len() as u64;
    FileSystem::open(image, len).unwrap_err().kind()
}

#[test]
fn what_is_refused_has_a_kind_of_its_own() {
    assert_eq!(refusal(&[(1372, &[0; 4])]), ErrorKind::NotUfs);
    assert_eq!(refusal(&[(1372, &0x0001_1954_u32.to_be_bytes())]), ErrorKind::BigEndian);
    assert_eq!(refusal(&[(1372, &0x00de_cade_u32.to_le_bytes())]), ErrorKind::MultiTerabyte);
    assert_eq!(refusal(&[(1320, &[1])]), ErrorKind::UnsupportedVersion);
    assert_eq!(refusal(&[(209, &[0])]), ErrorKind::Dirty);
    assert_eq!(refusal(&[(132, &[1, 2, 3])]), ErrorKind::Dirty);
    assert_eq!(refusal(&[(209, &[0xfd])]), ErrorKind::Logging);
    assert_eq!(refusal(&[(136, &[1])]), ErrorKind::StaleSummary);
    assert_eq!(FileSystem::open(vec![0; 100], 100).unwrap_err().kind(), ErrorKind::NotUfs);
    let mut image = common::image("empty8m.img.gz");
    image.truncate(8_000_000);
    assert_eq!(FileSystem::open(image, 8_000_000).unwrap_err().kind(), ErrorKind::BeyondDevice);
}

#[test]
fn every_number_of_the_geometry_is_checked() {
    // Field by field: extreme values never open, and never panic.
    let geometry = [
        8, 12, 16, 20, 44, 48, 52, 56, 72, 76, 80, 84, 96, 100, 104, 116, 120, 124, 152, 156, 160, 164, 168,
        172, 176, 180, 184, 188, 1356, 1360,
    ];
    for offset in geometry {
        for value in [-1, 0, i32::MIN, i32::MAX, 0x4000_0000] {
            let kind = refusal(&[(offset, &i32::to_le_bytes(value))]);
            assert_eq!(kind, ErrorKind::ImpossibleGeometry, "field at {offset}, value {value}");
        }
    }
    assert_eq!(refusal(&[(36, &i32::MAX.to_le_bytes())]), ErrorKind::ImpossibleGeometry);
}
