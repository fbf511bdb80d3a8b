//! What the first boot does to disks, decided by the shipped executable, done by real ZFS.
//!
//! The executable for illumos runs under the ABI shim in the guest of ring 3, with the simulator's commands around it, whose
//! `zpool`, `zfs` and `mount` are that guest's own. It meets blank disks, disks of other systems and pools in every state; a digest
//! of every disk before and after tells which of them were written to.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod images;
mod rig;

use std::panic::{self, AssertUnwindSafe};
use std::time::Duration;

use kiln_harness::guest::Guest;
use kiln_harness::tools;
use rig::{Disks, Played, Rig, STAMP};

/// A name and what is done under it.
type Case = (&'static str, fn(&mut Rig));

/// Those that leave every disk as it is need no key of their own.
const KEY: &str = "key";

fn disks() -> Disks {
    let mut disks = Disks::new();
    let os = format!("os/{STAMP}");
    let intent = format!("{{\"disk\":\"c2t0d0\",\"bytes\":{}}}", images::DATA);
    disks.add("key-intends", |path| {
        images::fat(path, &["os", &os, "guest-init"], &[("guest-init/intent.json", &intent)]);
    });
    for key in [KEY, "key-blank", "key-adopts", "key-adopts-2", "key-named", "key-again"] {
        let config = if key == "key-named" { &[("config", "pool_disk=c4t0d0\n")][..] } else { &[] };
        disks.add(key, |path| images::fat(path, &["os", &os], config));
    }
    disks.add("no-key", |path| images::fat(path, &["photos"], &[("photos/one", "x")]));
    for blank in
        ["blank", "blank-2", "copy", "copy-2", "foreign", "foreign-2", "mirror", "mirror-lost", "stripe-lost"]
    {
        disks.add(blank, |path| images::disk(path, images::DATA, &[]));
    }
    disks.add("ext4", |path| {
        images::disk(path, images::DATA, &[]);
        images::run("mkfs.ext4", &["-q", path.to_str().expect("a plain name")]);
    });
    // The beginnings of superblocks and headers, by their formats on disk: "XFSB" and the block size, big-endian; the label of
    // LVM in sector 1 and the header of its text area; the header of LUKS 1; the boot sector of NTFS and its copy at the end.
    disks.add("xfs", |path| images::disk(path, images::DATA, &[(0, b"XFSB\0\0\x10\0")]));
    disks.add("lvm", |path| {
        let label = b"LABELONE\x01\0\0\0\0\0\0\0\x2a\x2a\x2a\x2a\x20\0\0\0LVM2 001";
        images::disk(path, images::DATA, &[(512, label), (4100, b" LVM2 x[5A%r0N*>")]);
    });
    disks.add("luks", |path| images::disk(path, images::DATA, &[(0, b"LUKS\xba\xbe\0\x01aes\0")]));
    let boot = b"\xeb\x52\x90NTFS    \0\x02\x08";
    disks.add("ntfs", |path| images::disk(path, images::DATA, &[(0, boot), (images::DATA - 512, boot)]));
    disks.add("mbr", |path| images::partitioned(path, "dos"));
    disks.add("gpt", |path| images::partitioned(path, "gpt"));
    let noise: Vec<u8> = (0..4_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    disks.add("raw", |path| images::disk(path, images::DATA, &[(images::DATA / 2, &noise)]));
    disks.add("last", |path| images::disk(path, images::DATA, &[(images::DATA - 1, b"\x01")]));
    disks
}

/// What is typed behind the phase.
const LIST: &str = "/usr/sbin/zfs list -H -o name,type,mountpoint -r zones";
const STATUS: &str = "/usr/sbin/zpool status zones";

/// What a first boot makes, as [`LIST`] shows it.
const OURS: &str = "zones\tfilesystem\t/zones
zones/config\tfilesystem\tlegacy
zones/cores\tfilesystem\t/zones/cores
zones/cores/global\tfilesystem\t/zones/global/cores
zones/dump\tvolume\t-
zones/opt\tfilesystem\tlegacy
zones/swap\tvolume\t-
zones/var\tfilesystem\tlegacy
";

/// Asserts that the machine went on without a pool, says why, and wrote to no disk.
fn rescued(rig: &mut Rig, played: &Played, reason: &str) {
    assert!(played.failed.as_ref().is_some_and(|text| text.contains(reason)), "{:?}", played.failed);
    assert!(played.console.contains("RESCUE MODE"), "{}", played.console);
    assert_eq!(played.changed, [""; 0], "no disk was written to");
    assert!(!played.called("zpool create"));
    assert_eq!(rig.run("zpool list -H"), "", "nothing is imported");
}

#[test]
fn real_zfs_and_foreign_disks_are_safe() {
    let Some(guest) = Guest::find() else { return };
    for tool in ["mkfs.vfat", "mkfs.ext4", "sfdisk", "mmd", "mcopy", "mtype", "tar", "base64"] {
        if tools::require(tool).is_none() {
            return;
        }
    }
    let mut rig = Rig::start(disks(), guest.zfs().deadline(Duration::from_mins(20)));
    rig.seal();
    let mut failed = Vec::new();
    for (name, case) in CASES {
        println!("=== {name}");
        let done = panic::catch_unwind(AssertUnwindSafe(|| case(&mut rig)));
        if done.is_err() {
            failed.push(*name);
        }
        // Whatever it left must not be met by the next one.
        rig.export();
    }
    rig.end();
    assert!(failed.is_empty(), "{failed:?}");
}

const CASES: &[Case] = &[
    ("what other systems left is not touched", |rig| {
        for (disk, reason) in [
            ("ext4", "an ext file system"),
            ("xfs", "an XFS file system"),
            ("lvm", "an LVM volume"),
            ("luks", "a LUKS volume"),
            ("ntfs", "an NTFS file system"),
            ("mbr", "a boot record or partition table"),
            ("gpt", "a GPT"),
            ("raw", "data at byte"),
            ("last", "data at byte"),
        ] {
            println!("--- {disk}");
            let played = rig.boot(&[("c1t0d0", KEY), ("c2t0d0", disk)], &[]);
            rescued(rig, &played, &format!("disk c2t0d0 is not blank: {reason}"));
        }
    }),
    ("a blank disk gets a pool, and later boots find it", |rig| {
        let first = rig.boot(&[("c1t0d0", "key-blank"), ("c2t0d0", "blank")], &[LIST, STATUS]);
        assert_eq!(first.changed, ["blank", "key-blank"]);
        assert_eq!(first.failed, None);
        assert_eq!(first.typed(0), OURS);
        assert!(first.typed(1).contains("  c2t0d0"), "{}", first.typed(1));
        assert_eq!(rig.record("key-blank"), (rig.guid(), true));
        assert_eq!(images::fat_file(&rig.disks.path("key-blank"), "guest-init/intent.json"), None);
        assert_eq!(first.swap, ["/dev/zvol/dsk/zones/swap"]);
        assert_eq!(first.dump.as_deref(), Some("/dev/zvol/dsk/zones/dump"));
        assert_eq!(rig.run("zpool status -x"), "all pools are healthy\n");

        // Power fails: the pool is not exported, and the next boot is another host.
        let (guid, before) = (rig.guid(), rig.properties());
        rig.copy("blank", "copy");
        rig.copy("key-blank", "key-again");
        rig.export();
        let second = rig.boot(&[("c1t0d0", "key-again"), ("c2t0d0", "copy")], &[LIST]);
        assert_eq!(second.typed(0), OURS);
        assert!(second.said().contains("last accessed by another system"), "{second:?}");
        assert_eq!((second.failed.as_ref(), rig.guid()), (None, guid));
        assert_eq!(second.changed, ["copy"], "the key is as it was");
        assert_eq!(rig.properties(), before);
        assert!(!second.called("zfs create") && !second.called("zfs set"));

        // A clean end, and once more.
        rig.export();
        let third = rig.boot(&[("c1t0d0", "key-again"), ("c2t0d0", "copy")], &[LIST]);
        assert_eq!((third.typed(0), third.failed.as_ref(), rig.guid()), (OURS, None, guid));
        assert_eq!(third.changed, ["copy"]);
        assert_eq!(rig.properties(), before);
    }),
    ("a pool of this guest is adopted by a key that knows nothing, exported or not", |rig| {
        // As the first boot left it when power failed, then as it is when it was exported.
        for (pool, key) in [("blank", "key-adopts"), ("copy", "key-adopts-2")] {
            if pool == "blank" {
                rig.run("zpool import -N -R /mnt -d {blank}1 zones");
                rig.copy("blank", "copy-2");
                rig.export();
            } else {
                rig.copy("copy", "copy-2");
            }
            rig.seal();
            let played = rig.boot(&[("c1t0d0", key), ("c2t0d0", "copy-2")], &[LIST]);
            assert_eq!((played.typed(0), played.failed.as_ref()), (OURS, None));
            assert_eq!(played.changed, ["copy-2", key]);
            assert_eq!(rig.record(key), (rig.guid(), true));
            assert!(!played.called("zpool create"));
            rig.export();
        }
    }),
    ("the key is found wherever it is", |rig| {
        rig.copy("copy", "copy-2");
        rig.seal();
        for (key, decoy, pool) in [("c2t0d0", "c3t0d0", "c1t0d0"), ("c10t0d0", "c1t0d0", "c2t0d0")] {
            let played = rig.boot(&[(key, "key-again"), (decoy, "no-key"), (pool, "copy-2")], &[LIST]);
            assert_eq!((played.typed(0), played.failed.as_ref()), (OURS, None));
            assert_eq!(played.changed, ["copy-2"]);
            rig.export();
        }
    }),
    ("of several blank disks none is taken, unless it is named", |rig| {
        let played = rig.boot(&[("c1t0d0", KEY), ("c2t0d0", "blank-2"), ("c4t0d0", "foreign")], &[]);
        rescued(rig, &played, "several disks for data (c2t0d0, c4t0d0)");
        let machine = [
            ("c1t0d0", "key-named"),
            ("c2t0d0", "foreign"),
            ("c3t0d0", "ext4"),
            ("c4t0d0", "blank-2"),
            ("c5t0d0", "raw"),
        ];
        let played = rig.boot(&machine, &[LIST, STATUS]);
        assert_eq!(played.changed, ["blank-2", "key-named"]);
        assert_eq!((played.typed(0), played.failed.as_ref()), (OURS, None));
        assert!(played.typed(1).contains("  c4t0d0"), "{}", played.typed(1));
    }),
    ("a foreign pool is left alone, whatever its name", |rig| {
        for (name, reason) in [("zones", "may be somebody else's"), ("tank", "belongs to pool tank")] {
            rig.run(&format!("zpool create -f -R /mnt {name} {{foreign}}; zfs create {name}/data"));
            rig.export();
            let played = rig.boot(&[("c1t0d0", KEY), ("c2t0d0", "foreign")], &[]);
            rescued(rig, &played, reason);
        }
        // The same, not exported.
        rig.run("zpool create -f -R /mnt zones {foreign-2}; zfs create zones/data; zpool sync");
        rig.copy("foreign-2", "foreign");
        rig.export();
        let played = rig.boot(&[("c1t0d0", KEY), ("c2t0d0", "foreign")], &[]);
        rescued(rig, &played, "may be somebody else's");
        assert!(played.said().contains("last accessed by another system"));
    }),
    ("a pool that would cover the platform is not even imported for writing", |rig| {
        for (root, var) in [("/usr", "legacy"), ("/zones", "/var")] {
            rig.run(&format!(
                "zpool create -f -R /mnt -m {root} zones {{foreign}}
                zfs create -o mountpoint={var} zones/var
                for name in opt config; do zfs create -o mountpoint=legacy zones/$name; done"
            ));
            rig.export();
            let played = rig.boot(&[("c1t0d0", KEY), ("c2t0d0", "foreign")], &[]);
            rescued(rig, &played, "would be mounted on");
        }
    }),
    ("a pool that was being made when power failed is finished", |rig| {
        rig.run("zpool create -f -R /mnt -m /zones zones {foreign}; zpool sync");
        rig.copy("foreign", "copy-2");
        rig.export();
        let played = rig.boot(&[("c1t0d0", "key-intends"), ("c2t0d0", "copy-2")], &[LIST]);
        assert_eq!((played.typed(0), played.failed.as_ref()), (OURS, None));
        assert_eq!(played.changed, ["copy-2", "key-intends"]);
        assert_eq!(rig.record("key-intends"), (rig.guid(), true));
    }),
    ("a pool that was destroyed stays what it is", |rig| {
        for (name, reason) in [("zones", "zones"), ("tank", "tank")] {
            rig.run(&format!(
                "zpool create -f -R /mnt {name} {{foreign}}; zpool destroy {name}; udevadm settle"
            ));
            rig.seal();
            let played = rig.boot(&[("c1t0d0", KEY), ("c2t0d0", "foreign")], &[]);
            rescued(rig, &played, reason);
            assert!(
                rig.run("zpool import -D -d {foreign}1").contains("(DESTROYED)"),
                "it can be brought back"
            );
        }
    }),
    ("damaged labels are no reason for another pool", |rig| {
        // As long as one label is whole the pool is, too.
        rig.copy("copy", "copy-2");
        rig.damage("copy-2", &[0, 1]);
        rig.seal();
        let played = rig.boot(&[("c1t0d0", "key-again"), ("c2t0d0", "copy-2")], &[LIST]);
        assert_eq!((played.typed(0), played.failed.as_ref()), (OURS, None));
        rig.export();
        rig.damage("copy-2", &[0, 1, 2, 3]);
        rig.seal();
        let machine = [("c1t0d0", "key-again"), ("c2t0d0", "copy-2")];
        let played = rig.boot(&machine, &[]);
        rescued(rig, &played, "is on none of the disks");
        let played = rig.boot(&[("c1t0d0", KEY), ("c2t0d0", "copy-2")], &[]);
        rescued(rig, &played, "c2t0d0 is not blank");
    }),
    ("of two pools of one name the recorded one is imported, and none without a record", |rig| {
        rig.run(
            "zpool create -f -R /mnt zones {foreign}
            for name in var opt config; do zfs create -o mountpoint=legacy zones/$name; done",
        );
        rig.export();
        rig.copy("copy", "copy-2");
        rig.seal();
        let played = rig.boot(&[("c1t0d0", KEY), ("c2t0d0", "foreign"), ("c3t0d0", "copy-2")], &[]);
        rescued(rig, &played, "several pools named zones");
        let machine = [("c1t0d0", "key-again"), ("c2t0d0", "foreign"), ("c3t0d0", "copy-2")];
        let played = rig.boot(&machine, &[LIST]);
        assert_eq!((played.typed(0), played.failed.as_ref()), (OURS, None));
        assert_eq!(played.changed, ["copy-2"]);
        assert_eq!(rig.record("key-again").0, rig.guid());
        rig.export();
        // And when the recorded one is not there, its namesake does not take its place.
        let played = rig.boot(&[("c1t0d0", "key-again"), ("c2t0d0", "foreign")], &[]);
        rescued(rig, &played, "is on none of the disks");
    }),
    ("half a mirror is imported if it is recorded, a part of a stripe never", |rig| {
        rig.copy("copy", "mirror");
        rig.run(
            "zpool import -N -R /mnt -d {mirror}1 zones
            zpool attach -w zones {mirror} {mirror-lost}",
        );
        rig.export();
        rig.take_out("mirror-lost");
        let played = rig.boot(&[("c1t0d0", KEY), ("c2t0d0", "mirror")], &[]);
        rescued(rig, &played, "it is DEGRADED");
        let played = rig.boot(&[("c1t0d0", "key-again"), ("c2t0d0", "mirror")], &[LIST]);
        assert_eq!((played.typed(0), played.failed.as_ref()), (OURS, None));
        assert_eq!(played.changed, ["mirror"]);
        assert!(played.console.contains("is DEGRADED"), "{}", played.console);
        rig.export();
        rig.run("zpool create -f -R /mnt zones {mirror} {stripe-lost}");
        rig.export();
        rig.take_out("stripe-lost");
        let played = rig.boot(&[("c1t0d0", KEY), ("c2t0d0", "mirror")], &[]);
        rescued(rig, &played, "its state is UNAVAIL");
    }),
];
