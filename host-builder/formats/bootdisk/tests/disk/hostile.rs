//! Damaged and malicious volumes: every damage is found, and nothing panics, hangs or eats memory.

use kiln_bootdisk::fat32::{FindingKind, ReadError, Volume};
use positioned_io::ReadAt;
use proptest::prelude::*;

use crate::support::{Files, MIB, effort, plan, sample};

/// A disk with some of its bytes replaced.
struct Damaged<'a> {
    disk: &'a dyn ReadAt,
    changes: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Damaged<'_> {
    fn read_at(&self, pos: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        let read = self.disk.read_at(pos, buf)?;
        for (offset, bytes) in &self.changes {
            for (index, byte) in bytes.iter().enumerate() {
                if let Some(at) = (offset + index as u64).checked_sub(pos).filter(|&at| at < read as u64) {
                    buf[at as usize] = *byte;
                }
            }
        }
        Ok(read)
    }
}

/// Offsets on the 258 MiB sample disk.
struct Places {
    fat: [u64; 2],
    root: u64,
    geometry: kiln_bootdisk::fat32::Geometry,
}

fn with_damage(
    find: impl FnOnce(&Volume<&dyn ReadAt>, &Places) -> Vec<(u64, Vec<u8>)>,
    test: impl FnOnce(Volume<Damaged>),
) {
    let files = sample();
    files.with(&plan(&files, 258 * MIB), |disk| {
        let volume = Volume::open(disk, MIB).unwrap();
        let geometry = *volume.geometry();
        let fat = MIB + u64::from(geometry.reserved_sectors) * 512;
        let length = u64::from(geometry.sectors_per_fat) * 512;
        let places = Places { fat: [fat, fat + length], root: fat + 2 * length, geometry };
        let changes = find(&volume, &places);
        test(Volume::open(Damaged { disk, changes }, MIB).unwrap());
    });
}

/// Sets FAT entries in both copies.
fn fat(places: &Places, entries: &[(u32, u32)]) -> Vec<(u64, Vec<u8>)> {
    let one = |&(cluster, value): &(u32, u32)| {
        places.fat.map(|fat| (fat + u64::from(cluster) * 4, value.to_le_bytes().to_vec()))
    };
    entries.iter().flat_map(one).collect()
}

fn kinds(volume: &Volume<Damaged>) -> Vec<FindingKind> {
    let mut kinds: Vec<FindingKind> =
        volume.check(None).unwrap().iter().map(|finding| finding.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

const UNIX: &str = "os/20141030T081701Z/platform/i86pc/kernel/amd64/unix";

#[test]
fn loops_are_found() {
    let mut first = 0;
    with_damage(
        |volume, places| {
            first = volume.lookup(UNIX).unwrap().first_cluster;
            fat(places, &[(first + 3, first + 1)])
        },
        |volume| {
            let file = volume.lookup(UNIX).unwrap();
            assert!(matches!(volume.extents(&file), Err(ReadError::BadChain { reason: "form a loop", .. })));
            assert_eq!(kinds(&volume), [FindingKind::LostClusters, FindingKind::Loop]);
        },
    );
}

#[test]
fn chains_that_end_early_or_late_are_found() {
    with_damage(
        |volume, places| {
            let first = volume.lookup(UNIX).unwrap().first_cluster;
            fat(places, &[(first + 3, 0x0FFF_FFFF)])
        },
        |volume| {
            let file = volume.lookup(UNIX).unwrap();
            assert!(matches!(volume.extents(&file), Err(ReadError::BadChain { .. })));
            assert_eq!(kinds(&volume), [FindingKind::LostClusters, FindingKind::ChainLength]);
        },
    );
    with_damage(
        |volume, places| {
            let first = volume.lookup(UNIX).unwrap().first_cluster;
            fat(places, &[(first + 3, 0)])
        },
        |volume| {
            let found = kinds(&volume);
            assert_eq!(found, [FindingKind::FsInfo, FindingKind::LostClusters, FindingKind::BrokenChain]);
        },
    );
}

#[test]
fn shared_and_lost_clusters_are_found() {
    with_damage(
        |volume, places| {
            let (a, b) = (volume.lookup("custom.tgz").unwrap(), volume.lookup(UNIX).unwrap());
            fat(places, &[(a.first_cluster, b.first_cluster + 5)])
        },
        |volume| {
            // custom.tgz has taken the rest of the kernel before the kernel is looked at.
            use FindingKind::{ChainLength, CrossLink, Fragmented, LostClusters};
            assert_eq!(kinds(&volume), [CrossLink, LostClusters, ChainLength, Fragmented]);
        },
    );
    with_damage(
        |_, places| fat(places, &[(places.geometry.clusters + 1, 0x0FFF_FFFF)]),
        |volume| assert_eq!(kinds(&volume), [FindingKind::FsInfo, FindingKind::LostClusters]),
    );
}

#[test]
fn damaged_administration_is_found() {
    with_damage(|_, p| vec![(p.fat[1] + 1000, vec![9])], |v| assert_eq!(kinds(&v), [FindingKind::FatCopies]));
    with_damage(
        |_, p| vec![(p.fat[0] + 7, vec![7]), (p.fat[1] + 7, vec![7])],
        |v| {
            assert_eq!(kinds(&v), [FindingKind::FatHead]);
        },
    );
    with_damage(
        |_, p| vec![(p.fat[0], vec![0xF0]), (p.fat[1], vec![0xF0])],
        |v| {
            assert_eq!(kinds(&v), [FindingKind::FatHead]);
        },
    );
}

/// Bytes 484, 488 and 492 are the second signature, the count of free clusters and the next free one; 48 is where the
/// boot record names its FSInfo, and 50 its copy.
#[test]
fn every_sector_of_hints_and_copies_is_checked() {
    const FS_INFO: u64 = MIB + 512;
    const COPY: u64 = MIB + 6 * 512;
    const FS_INFO_COPY: u64 = MIB + 7 * 512;
    use FindingKind::{BackupBootRecord, BackupFsInfo, FsInfo};
    let cases: [(u64, &[u8], &[FindingKind], &str); 19] = [
        (FS_INFO, b"r", &[FsInfo], "lacks its signatures"),
        (FS_INFO + 484, b"R", &[FsInfo], "lacks its signatures"),
        (FS_INFO + 510, b"\0", &[FsInfo], "lacks its signatures"),
        (FS_INFO + 100, b"\x01", &[FsInfo], "other than zero"),
        (FS_INFO + 500, b"\x01", &[FsInfo], "other than zero"),
        (FS_INFO + 490, b"\x07", &[FsInfo], "free clusters; there are"),
        (FS_INFO + 492, &[0; 4], &[FsInfo], "does not exist"),
        (FS_INFO + 492, &[0xFE; 4], &[FsInfo], "does not exist"),
        (FS_INFO + 492, &[3, 0, 0, 0], &[FsInfo], "names cluster 3 as the next free one"),
        (FS_INFO_COPY, b"r", &[BackupFsInfo], "lacks its signatures"),
        (FS_INFO_COPY + 484, b"R", &[BackupFsInfo], "lacks its signatures"),
        (FS_INFO_COPY + 100, b"\x01", &[BackupFsInfo], "other than zero"),
        (FS_INFO_COPY + 490, b"\x07", &[BackupFsInfo], "was never true"),
        (FS_INFO_COPY + 492, &[3, 0, 0, 0], &[BackupFsInfo], "was never true"),
        (COPY + 3, b"X", &[BackupBootRecord], "differs from its copy in sector 6"),
        (MIB + 3, b"X", &[BackupBootRecord], "differs from its copy in sector 6"),
        (MIB + 50, &[0, 0], &[BackupBootRecord], "differs from its copy in sector 6"),
        (MIB + 50, &[32, 0], &[BackupFsInfo, BackupBootRecord], "outside the reserved sectors"),
        (MIB + 48, &[32, 0], &[FsInfo, BackupFsInfo, BackupBootRecord], "outside the reserved sectors"),
    ];
    for (offset, bytes, expected, words) in cases {
        with_damage(
            |_, _| vec![(offset, bytes.to_vec())],
            |v| {
                assert_eq!(kinds(&v), expected, "{bytes:?} at byte {}", offset - MIB);
                let said = v.check(None).unwrap();
                assert!(said.iter().any(|finding| finding.detail.contains(words)), "{said:?}");
                assert!(v.has_own_layout().unwrap());
            },
        );
    }
    // Hints that somebody leaves who has written to the volume since.
    with_damage(
        |volume, places| {
            let info = |at: u64, number: u32| (FS_INFO + at, number.to_le_bytes().to_vec());
            let free = volume.summary().unwrap().free_clusters;
            let first = places.geometry.clusters + 2 - free;
            let mut changes = fat(places, &[(first, 0x0FFF_FFFF)]);
            changes.extend([info(488, free - 1), info(492, first)]);
            changes
        },
        |v| assert_eq!(kinds(&v), [FindingKind::LostClusters]),
    );
    with_damage(
        |_, places| vec![(FS_INFO + 492, vec![3, 0, 0, 0]), (places.root + 32, vec![0xE5])],
        |v| assert!(!kinds(&v).contains(&FsInfo)),
    );
    // With both boot records changed, it is no volume of ours any more.
    with_damage(
        |_, _| vec![(COPY + 3, b"X".to_vec()), (MIB + 3, b"X".to_vec())],
        |v| {
            assert!(kinds(&v).is_empty());
            assert!(!v.has_own_layout().unwrap());
        },
    );
}

#[test]
fn damaged_directories_are_found() {
    // The first cluster after the root's is that of /boot.
    with_damage(
        |_, p| vec![(p.root + 4096, vec![b'x'])],
        |v| {
            assert!(kinds(&v).contains(&FindingKind::DotEntries));
        },
    );
    with_damage(
        |_, p| vec![(p.root + 4096 + 26, vec![9])],
        |v| assert_eq!(kinds(&v), [FindingKind::DotEntries]),
    );
    // The checksum of the first long name.
    with_damage(|_, p| vec![(p.root + 32 + 13, vec![0])], |v| assert_eq!(kinds(&v), [FindingKind::BadName]));
    // A slash in a long name: the reader falls back to the short one.
    with_damage(
        |_, p| vec![(p.root + 32 + 1, vec![b'/'])],
        |v| {
            assert_eq!(v.list(&v.root()).unwrap()[0].name, "JOYLIV~1");
            assert_eq!(kinds(&v), [FindingKind::BadName]);
        },
    );
}

#[test]
fn directories_within_themselves_end() {
    with_damage(
        |volume, places| {
            // /boot/grub, the only entry of /boot behind the dots, becomes /boot: short entry 3, long entry
            // 2.
            let boot = volume.lookup("boot").unwrap().first_cluster;
            vec![(places.root + 4096 + 3 * 32 + 26, (boot as u16).to_le_bytes().to_vec())]
        },
        |volume| {
            assert!(matches!(volume.walk(), Err(ReadError::BadTree { .. })));
            assert!(kinds(&volume).contains(&FindingKind::CrossLink));
        },
    );
}

#[test]
fn a_tree_that_claims_the_volume_many_times_over_ends() {
    let claim = |count: u64| {
        move |volume: &Volume<&dyn ReadAt>, places: &Places| {
            let many = volume.lookup("many").unwrap().first_cluster;
            let start = places.root + u64::from(many - 2) * 4096;
            // Behind the two dots, each file takes three long entries and a short one.
            (0..count).map(|n| (start + (5 + 4 * n) * 32 + 28, vec![0xFF; 4])).collect::<Vec<_>>()
        }
    };
    with_damage(claim(1), |volume| {
        let file = volume.walk().unwrap().into_iter().find(|item| item.entry.size == u32::MAX).unwrap();
        assert!(matches!(volume.open_file(&file.entry), Err(ReadError::BadChain { .. })));
    });
    with_damage(claim(5), |volume| assert!(matches!(volume.walk(), Err(ReadError::BadTree { .. }))));
}

#[test]
fn a_short_device_is_an_error() {
    let files = Files::default();
    let mut head = vec![0; (MIB + 40 * 512) as usize];
    files.with(&plan(&files, 258 * MIB), |disk| disk.read_exact_at(0, &mut head).unwrap());
    let volume = Volume::open(&head, MIB).unwrap();
    assert!(matches!(volume.walk(), Err(ReadError::Io { .. })));
    assert!(matches!(volume.check(None), Err(ReadError::Io { .. })));
    assert!(matches!(Volume::open(&head[..100], 0), Err(ReadError::Io { .. })));
    assert!(matches!(Volume::open(&head, 0), Err(ReadError::NotFat32 { .. })));
}

proptest! {
    #![proptest_config(effort())]
    #[test]
    fn random_damage_is_survived(
        changes in prop::collection::vec((0..40u64 * 4096, 0..4usize, any::<[u8; 4]>()), 1..60)
    ) {
        with_damage(
            |_, places| {
                // Boot record and FSInfo are left alone here, so that the damage reaches FATs and
                // directories.
                let starts = [places.fat[0], places.fat[1], places.root, places.root];
                let place = |(at, area, bytes): (u64, usize, [u8; 4])| {
                    (starts[area] + at % 8192 + at / 8192, bytes.to_vec())
                };
                changes.into_iter().map(place).collect()
            },
            |volume| {
                let _ = volume.check(None);
                let _ = volume.summary();
                for item in volume.walk().unwrap_or_default() {
                    assert!(!item.entry.name.contains('/') && item.entry.name != "..");
                    if let Ok(file) = volume.open_file(&item.entry) {
                        let _ = file.read_at(0, &mut [0; 100]);
                    }
                }
            },
        );
    }
}
