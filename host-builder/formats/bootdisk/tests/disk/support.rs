//! Disks made of files in memory.

use std::fs::File;
use std::path::{Path, PathBuf};

use kiln_bootdisk::disk::{BootArea, DiskOptions, DiskPlan};
use kiln_bootdisk::extent::{DiskLayout, FileId};
use kiln_bootdisk::fat32::{Entry, Volume};
use kiln_bootdisk::mbr::Mbr;
use positioned_io::{ReadAt, WriteAt};
use proptest::test_runner::{Config, RngSeed};

/// 2014-10-30T08:17:01Z
pub const DATE: i64 = 1_414_657_021;
pub const MIB: u64 = 1 << 20;
pub const NO_CODE: BootArea = BootArea { mbr_code: [0; 440], gap: Vec::new() };

/// Files with their contents and times.
#[derive(Debug, Clone, Default)]
pub struct Files(pub Vec<(String, Vec<u8>, i64)>);

impl Files {
    pub fn entries(&self) -> Vec<Entry> {
        let entry = |(number, (path, bytes, modified)): (usize, &(String, Vec<u8>, i64))| {
            Entry::file(path.as_str(), bytes.len() as u64, *modified, FileId(number as u32))
        };
        self.0.iter().enumerate().map(entry).collect()
    }

    pub fn with<T>(&self, layout: &DiskLayout, work: impl FnOnce(&dyn ReadAt) -> T) -> T {
        let slices: Vec<&[u8]> = self.0.iter().map(|(_, bytes, _)| bytes.as_slice()).collect();
        let open = |id: FileId| slices.get(id.0 as usize).map(|slice| slice as &dyn ReadAt);
        // The view borrows both for as long as the work takes.
        let view = layout.view(open);
        work(&view)
    }

    /// Writes the disk as a sparse file.
    pub fn write(&self, layout: &DiskLayout, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        self.with(layout, |disk| write_from(disk, layout, 0, &path));
        path
    }
}

/// Writes a disk, or what stands from byte `start` on, as a sparse file.
pub fn write_from(disk: &dyn ReadAt, layout: &DiskLayout, start: u64, path: &Path) {
    let mut file = File::create_new(path).unwrap();
    file.set_len(layout.size() - start).unwrap();
    for extent in layout.extents().iter().filter(|extent| extent.offset >= start) {
        let mut bytes = vec![0; extent.length as usize];
        disk.read_exact_at(extent.offset, &mut bytes).unwrap();
        file.write_all_at(extent.offset - start, &bytes).unwrap();
    }
}

/// A few files of the kinds a retro image has, and some that are hard to name.
pub fn sample() -> Files {
    let noise = |length: usize, seed: u32| -> Vec<u8> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(next).collect()
    };
    let platform = "os/20141030T081701Z/platform/i86pc";
    let mut files = vec![
        ("custom.tgz".to_owned(), noise(70_000, 1), DATE),
        (".joyliveusb".to_owned(), Vec::new(), DATE),
        (format!("{platform}/kernel/amd64/unix"), noise(1_800_001, 2), DATE),
        (format!("{platform}/amd64/boot_archive"), noise(3 << 20, 3), DATE),
        (format!("{platform}/amd64/boot_archive.hash"), noise(41, 4), DATE),
        ("boot/grub/menu.lst".to_owned(), b"default 0\n".to_vec(), DATE),
        ("Read Me First, please.txt".to_owned(), noise(4096, 5), 0),
        ("UPPER.TXT".to_owned(), noise(4097, 6), i64::MAX),
        ("日本/größe.データ".to_owned(), noise(9, 7), DATE + 1),
    ];
    // Enough long names for a directory of several clusters, with tails of two digits.
    files.extend(
        (0..120).map(|n| (format!("many/a rather long name number {n}"), noise(n, 8), DATE + n as i64)),
    );
    Files(files)
}

pub fn options(size: u64) -> DiskOptions {
    DiskOptions {
        size,
        signature: 0x4B49_4C4E,
        serial: 0xC9F7_537B,
        label: "HEADNODE".to_owned(),
        modified: DATE,
        reserve: MIB,
    }
}

pub fn plan(files: &Files, size: u64) -> DiskLayout {
    DiskPlan::new(&options(size), &files.entries()).unwrap().finish(&NO_CODE).unwrap()
}

/// Every file of the volume in partition 1 with its contents and time, sorted by path.
pub fn read_all(disk: &dyn ReadAt) -> Vec<(String, Vec<u8>, i64)> {
    let partition = Mbr::read(disk).unwrap().partitions[0].unwrap();
    let volume = Volume::open(disk, partition.offset()).unwrap();
    let mut found = Vec::new();
    for item in volume.walk().unwrap() {
        if !item.entry.is_directory() {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut volume.open_file(&item.entry).unwrap(), &mut bytes).unwrap();
            found.push((item.path, bytes, item.entry.modified));
        }
    }
    found.sort();
    found
}

/// What [`read_all`] should find: times clamped and even.
pub fn expected(files: &Files) -> Vec<(String, Vec<u8>, i64)> {
    let mut all: Vec<_> = files
        .0
        .iter()
        .map(|(path, bytes, modified)| {
            (format!("/{path}"), bytes.clone(), (*modified).clamp(315_532_800, 4_354_819_199) & !1)
        })
        .collect();
    all.sort();
    all
}

/// How hard property tests try: a few fixed cases, or with `KILN_LONG_TESTS` as many random ones as
/// `PROPTEST_CASES` says.
pub fn effort() -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("KILN_LONG_TESTS").is_some() {
        return config;
    }
    Config { cases: 48, rng_seed: RngSeed::Fixed(0x4B49_4C4E), ..config }
}
