//! What the writer promises, seen through the reader.

use kiln_bootdisk::PlanError;
use kiln_bootdisk::disk::{BootArea, DiskPlan, smallest_disk_size};
use kiln_bootdisk::extent::FileId;
use kiln_bootdisk::fat32::{Entry, Volume};
use kiln_bootdisk::mbr::{Mbr, TYPE_FAT32_LBA};
use positioned_io::ReadAt;
use sha1::{Digest, Sha1};

use crate::support::{DATE, MIB, NO_CODE, expected, options, plan, read_all, sample};

#[test]
fn a_disk_reads_back_and_has_nothing_to_complain_about() {
    let files = sample();
    files.with(&plan(&files, 300 * MIB), |disk| {
        assert_eq!(read_all(disk), expected(&files));
        let mbr = Mbr::read(disk).unwrap();
        let partition = mbr.partitions[0].unwrap();
        assert!(partition.active && partition.kind == TYPE_FAT32_LBA && partition.first_lba == 2048);
        assert_eq!(u64::from(partition.sectors), 300 * 2048 - 2048);
        assert_eq!((mbr.signature, &mbr.code[0x3E..0x40]), (0x4B49_4C4E, &[3, 2][..]));
        let volume = Volume::open(disk, MIB).unwrap();
        assert_eq!(volume.check(Some((2048, partition.sectors))).unwrap(), []);
        assert!(volume.has_own_layout().unwrap());
        let summary = volume.summary().unwrap();
        assert_eq!(
            (summary.label.as_str(), summary.serial, summary.hidden_sectors),
            ("HEADNODE", 0xC9F7_537B, 2048)
        );
        let entry = volume.lookup("/OS/20141030t081701z/Platform").unwrap();
        assert_eq!((entry.name.as_str(), entry.modified), ("platform", DATE & !1));
        assert_eq!(volume.lookup("readme~1.txt").unwrap().name, "Read Me First, please.txt");
        assert_eq!(volume.lookup("").unwrap(), volume.root());
    });
}

#[test]
fn files_lie_where_the_plan_says_in_order_and_in_one_piece() {
    let files = sample();
    let plan = DiskPlan::new(&options(300 * MIB), &files.entries()).unwrap();
    let placements = plan.placements().to_vec();
    assert!(placements.is_sorted_by(|a, b| a.path < b.path));
    let used: Vec<_> = placements.iter().filter(|placement| placement.length > 0).collect();
    for pair in used.windows(2) {
        assert_eq!(pair[0].lba + pair[0].length.div_ceil(4096) * 8, pair[1].lba, "{}", pair[1].path);
    }
    assert_eq!(plan.placement("/.joyliveusb").unwrap().lba, 0);
    assert!(plan.placement("/OS").is_none());
    let free = plan.free_bytes();
    files.with(&plan.finish(&NO_CODE).unwrap(), |disk| {
        let volume = Volume::open(disk, MIB).unwrap();
        assert_eq!(u64::from(volume.summary().unwrap().free_clusters) * 4096, free);
        for placement in placements {
            let entry = volume.lookup(&placement.path).unwrap();
            let extents = volume.extents(&entry).unwrap();
            let planned =
                Vec::from_iter((placement.length > 0).then_some((placement.lba * 512, placement.length)));
            assert_eq!(extents, planned, "{}", placement.path);
            let mut end = [0; 8];
            let read = volume
                .open_file(&entry)
                .unwrap()
                .read_at(placement.length.saturating_sub(3), &mut end)
                .unwrap();
            assert_eq!(read as u64, placement.length.min(3));
        }
    });
}

/// The bytes of every image follow from these; a change here is a change of what kiln promises.
#[test]
fn the_bytes_are_stable_whatever_the_order_of_the_files() {
    let digest = |disk: &dyn ReadAt| {
        let mut bytes = vec![0; 16 << 20];
        disk.read_exact_at(0, &mut bytes).unwrap();
        u32::from_be_bytes(*Sha1::digest(&bytes).first_chunk().unwrap())
    };
    let mut files = sample();
    let first = files.with(&plan(&files, 258 * MIB), digest);
    files.0.reverse();
    let second = files.with(&plan(&files, 258 * MIB), digest);
    assert_eq!(first, second);
    assert_eq!(first, 0xB411_3C82);
}

#[test]
fn the_smallest_size_is_the_smallest() {
    let sizes = [0, 1, 200 * MIB, 300 * MIB, 3000 * MIB];
    for size in sizes {
        let big = vec![Entry::file("a/big file", size, DATE, FileId(0))];
        let smallest = smallest_disk_size(&big, MIB).unwrap();
        assert_eq!(smallest % MIB, 0);
        assert!(smallest >= 258 * MIB);
        let plan = DiskPlan::new(&options(smallest), &big).unwrap();
        assert!(plan.free_bytes() >= MIB);
        let refused = DiskPlan::new(&options(smallest - MIB), &big).err().unwrap();
        assert_eq!(refused, PlanError::DoesNotFit { size: smallest - MIB, smallest: Some(smallest) });
    }
    let message = DiskPlan::new(&options(MIB), &[]).err().unwrap().to_string();
    assert!(message.ends_with("the smallest that fits has 258 MiB (270532608 bytes)"), "{message}");
    // Across the step from 4 to 8 KiB clusters: many small files take twice the room there.
    let many: Vec<Entry> =
        (0..3).map(|n| Entry::file(format!("f{n}"), u64::from(u32::MAX), DATE, FileId(n))).collect();
    let smallest = smallest_disk_size(&many, 0).unwrap();
    assert!(smallest > 12 << 30 && smallest < 13 << 30, "{smallest}");
    DiskPlan::new(&options(smallest + MIB), &many).unwrap();
}

#[test]
fn what_fat_cannot_hold_is_refused() {
    let refused = |entries: &[(&str, u64)]| {
        let entries: Vec<Entry> =
            entries.iter().map(|(path, size)| Entry::file(*path, *size, DATE, FileId(0))).collect();
        DiskPlan::new(&options(300 * MIB), &entries).err().unwrap()
    };
    assert!(matches!(refused(&[("a/b:c", 1)]), PlanError::BadName { name, .. } if name == "b:c"));
    assert!(matches!(refused(&[("a//c", 1)]), PlanError::BadName { .. }));
    assert!(matches!(refused(&[("a/../c", 1)]), PlanError::BadName { .. }));
    assert!(matches!(refused(&[("", 1)]), PlanError::BadName { .. }));
    assert!(matches!(refused(&[("Unix", 1), ("unix", 1)]), PlanError::Duplicate { .. }));
    assert!(matches!(refused(&[("unix", 1), ("/unix", 1)]), PlanError::Duplicate { .. }));
    assert!(matches!(refused(&[("OS/a", 1), ("os/b", 1)]), PlanError::Duplicate { .. }));
    assert!(matches!(refused(&[("a", 1), ("a/b", 1)]), PlanError::FileAndDirectory { path } if path == "/a"));
    assert!(matches!(refused(&[("big", 1 << 32)]), PlanError::FileTooLarge { size, .. } if size == 1 << 32));
    let crowd: Vec<(String, u64)> = (0..22_000).map(|n| (format!("x/a long file name {n}"), 0)).collect();
    let crowd: Vec<(&str, u64)> = crowd.iter().map(|(path, size)| (path.as_str(), *size)).collect();
    assert!(matches!(refused(&crowd), PlanError::DirectoryTooLarge { path } if path == "/x"));
}

#[test]
fn disks_that_cannot_be_are_refused() {
    let new = |change: &dyn Fn(&mut kiln_bootdisk::disk::DiskOptions)| {
        let mut options = options(300 * MIB);
        change(&mut options);
        DiskPlan::new(&options, &[])
    };
    assert!(matches!(new(&|o| o.size += 1).err(), Some(PlanError::BadSize { .. })));
    assert!(matches!(new(&|o| o.size = 1 << 41).err(), Some(PlanError::BadSize { .. })));
    for label in ["lower", "TWELVE CHARS", " X", "A.B"] {
        assert!(matches!(new(&|o| label.clone_into(&mut o.label)).err(), Some(PlanError::BadLabel { .. })));
    }
    let long = BootArea { mbr_code: [0; 440], gap: vec![1; 2047 * 512 + 1] };
    let refused = new(&|_| {}).unwrap().finish(&long);
    assert_eq!(refused, Err(PlanError::BootAreaTooLong { needed: 2047 * 512 + 1, available: 2047 * 512 }));
}

#[test]
fn an_empty_volume_without_label_is_a_volume() {
    let mut options = options(258 * MIB);
    options.label.clear();
    let layout =
        DiskPlan::new(&options, &[Entry::directory("empty/inner", DATE)]).unwrap().finish(&NO_CODE).unwrap();
    let volume = Volume::open(layout.view(|_| None), MIB).unwrap();
    assert_eq!(volume.label().unwrap(), "");
    let paths: Vec<String> = volume.walk().unwrap().into_iter().map(|item| item.path).collect();
    assert_eq!(paths, ["/empty", "/empty/inner"]);
    assert_eq!(volume.check(None).unwrap(), []);
}
