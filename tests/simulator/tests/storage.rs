//! Pools, datasets and mounts, by the program as the guest calls it.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use kiln_harness::scratch;
use kiln_simulator::storage::{Condition, Layout, PoolState};
use kiln_simulator::{Era, Hardware, Machine, Output};
use tempfile::TempDir;

/// A machine of the usual kind, and its folder.
fn machine(era: &str) -> (Machine, TempDir) {
    let folder = scratch::folder("simulator");
    (Machine::new(folder.path(), &Hardware::usual(era)).unwrap(), folder)
}

/// Types command lines; words are separated by single blanks.
fn typed(machine: &Machine, lines: &[&str]) -> Vec<Output> {
    let words: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    let words: Vec<&[&str]> = words.iter().map(Vec::as_slice).collect();
    machine.commands(&words).unwrap()
}

fn ok(output: &Output) -> &str {
    assert_eq!((output.status, output.stderr.as_str()), (Some(0), ""), "{output:?}");
    &output.stdout
}

fn failed(output: &Output, status: i32) -> &str {
    assert_eq!((output.status, output.stdout.as_str()), (Some(status), ""), "{output:?}");
    &output.stderr
}

#[test]
fn a_pool_is_created_on_a_blank_disk_and_found_again() {
    for era in Era::ALL {
        let (machine, _folder) = machine(era);
        let first = typed(
            &machine,
            &[
                "/usr/sbin/zpool create zones c2t0d0",
                "/usr/sbin/devfsadm -c disk",
                "/usr/sbin/zpool import",
                "/usr/sbin/zpool list",
                "/usr/sbin/zpool list -H -o name",
                "/usr/sbin/zpool create zones c2t0d0",
                "/usr/sbin/zpool list -H -o name,health",
                "/usr/sbin/zpool create zones c2t0d0",
            ],
        );
        assert_eq!(
            failed(&first[0], 1),
            "cannot open 'c2t0d0': no such device in /dev/dsk\nmust be a full path or shorthand device name\n"
        );
        assert_eq!(first[2].stderr, "no pools available to import\n");
        assert_eq!((first[2].status, first[2].stdout.as_str()), (Some(0), ""));
        assert_eq!(ok(&first[3]), "no pools available\n");
        assert_eq!(ok(&first[4]), "");
        assert_eq!(ok(&first[5]), "");
        assert_eq!(ok(&first[6]), "zones\tONLINE\n");
        assert!(
            failed(&first[7], 1)
                .contains("/dev/dsk/c2t0d0s0 is part of active ZFS pool zones. Please see zpool(")
        );
        let guid = machine.pools().unwrap()[0].guid;
        let second = typed(
            &machine,
            &[
                "/usr/sbin/devfsadm -c disk",
                "/usr/sbin/zpool list -H",
                "/usr/sbin/zpool import",
                "/usr/sbin/zpool create other c2t0d0",
                "/usr/sbin/zpool import zones",
                &format!("/usr/sbin/zpool import -f -N -o cachefile=none {guid}"),
                "/usr/sbin/zpool list -H -o name,guid,health",
                "/usr/sbin/zpool import",
            ],
        );
        assert_eq!(ok(&second[1]), "");
        assert_eq!(
            ok(&second[2]),
            format!(
                "   pool: zones\n     id: {guid}\n  state: ONLINE\n status: The pool was last accessed by another \
                 system.\n action: The pool can be imported using its name or numeric identifier and\n\tthe '-f' \
                 flag.\n   see: http://illumos.org/msg/ZFS-8000-EY\n config:\n\n\tzones       ONLINE\n\t  c2t0d0    \
                 ONLINE\n"
            )
        );
        let refused = failed(&second[3], 1);
        assert!(
            refused.starts_with("invalid vdev specification\nuse '-f' to override the following errors:\n")
        );
        assert!(refused.contains("is part of exported or potentially active ZFS pool zones. Please see"));
        assert!(failed(&second[4], 1).contains("it was last accessed by unknown (hostid: 0x"), "{era}");
        assert_eq!(ok(&second[5]), "");
        assert_eq!(ok(&second[6]), format!("zones\t{guid}\tONLINE\n"));
        assert_eq!(second[7].stderr, "no pools available to import\n");
    }
}

#[test]
fn datasets_properties_and_mounts() {
    let (machine, _folder) = machine(Era::ALL[0]);
    let told = typed(
        &machine,
        &[
            "/usr/sbin/devfsadm -c disk",
            "/usr/sbin/zpool create zones c2t0d0",
            "/usr/sbin/zfs create -o mountpoint=legacy zones/var",
            "/usr/sbin/zfs create zones/var",
            "/usr/sbin/zfs create zones/a/b",
            "/usr/sbin/mount -F zfs zones/var /mnt",
            "/usr/sbin/mount -F zfs zones/var /tmp",
            "/usr/sbin/mount -F zfs zones /opt",
            "/usr/sbin/zfs set kiln:step=3 zones",
            "/usr/sbin/zfs get -Hp -o value,source kiln:step zones/var",
            "/usr/sbin/zfs get -H -o value kiln:none zones",
            "/usr/sbin/zfs get -Hp -o value mountpoint zones/none",
            "/usr/sbin/zfs create -V 1G zones/swap",
            "/usr/sbin/zfs create -V 99G zones/big",
            "/usr/sbin/zfs create -s -V 99G zones/sparse",
            "/usr/sbin/swap -l",
            "/usr/sbin/swap -a /dev/zvol/dsk/zones/swap",
            "/usr/sbin/swap -a /dev/zvol/dsk/zones/swap",
            "/usr/sbin/zfs destroy zones/swap",
            "/usr/sbin/zfs rename zones/var zones/other",
            "/usr/sbin/umount /mnt",
            "/usr/sbin/umount /mnt",
            "/usr/sbin/zfs list -H -o name -t filesystem,volume -r zones",
            "/usr/sbin/mount -F pcfs -o foldcase,ro /dev/dsk/c1t0d0p1 /usbkey",
            "/usr/sbin/mount -F pcfs -o foldcase /dev/dsk/c1t0d0p1 /mnt",
            "/usr/sbin/mount -F pcfs /dev/dsk/c2t0d0p1 /mnt",
            "/usr/sbin/mount -F pcfs /dev/dsk/c9t0d0p1 /mnt",
            "/usr/sbin/zpool export zones",
            "/usr/sbin/zfs set compression=fast zones",
        ],
    );
    let expected: &[(i32, &str, &str)] = &[
        (0, "", ""),
        (0, "", ""),
        (0, "", ""),
        (1, "", "cannot create 'zones/var': dataset already exists\n"),
        (1, "", "cannot create 'zones/a/b': parent does not exist\n"),
        (0, "", ""),
        (1, "", "mount failed: Device busy\n"),
        (
            1,
            "",
            "filesystem 'zones' cannot be mounted using 'mount -F zfs'\nUse 'zfs set mountpoint=/opt' instead.\nIf you \
         must use 'mount -F zfs' or /etc/vfstab, use 'zfs set mountpoint=legacy'.\nSee zfs(1M) for more information.\n",
        ),
        (0, "", ""),
        (0, "3\tinherited from zones\n", ""),
        (0, "-\n", ""),
        (1, "", "cannot open 'zones/none': dataset does not exist\n"),
        (0, "", ""),
        (1, "", "cannot create 'zones/big': out of space\n"),
        (0, "", ""),
        (1, "", "No swap devices configured\n"),
        (0, "", ""),
        (1, "", "\"/dev/zvol/dsk/zones/swap\": Overlapping swap files are not allowed\n"),
        (1, "", "cannot destroy 'zones/swap': dataset is busy\n"),
        (0, "", ""),
        (0, "", ""),
        (1, "", "umount: warning: /mnt not in mnttab\numount: /mnt not mounted\n"),
        (0, "zones\nzones/other\nzones/sparse\nzones/swap\n", ""),
        (0, "", ""),
        (32, "", "mount: /dev/dsk/c1t0d0p1 is already mounted or /mnt is busy\n"),
        (32, "", "mount: No such device or address\n"),
        (32, "", "mount: No such file or directory\n"),
        (1, "", "cannot export 'zones': pool is busy\n"),
        (
            1,
            "",
            "cannot set property for 'zones': 'compression' must be one of 'on | off | lzjb | gzip | gzip-[1-9] | zle \
         | lz4'\n",
        ),
    ];
    for (at, (output, (status, stdout, stderr))) in told.iter().zip(expected).enumerate() {
        assert_eq!(
            (output.status, output.stdout.as_str(), output.stderr.as_str()),
            (Some(*status), *stdout, *stderr),
            "{at}"
        );
    }
    assert_eq!(told.len(), expected.len());
}

#[test]
fn pools_that_others_left_are_told_apart() {
    let (machine, _folder) = machine(Era::ALL[4]);
    let mut hardware = machine.hardware().unwrap();
    for at in 3..9 {
        let mut disk = hardware.disks[1].clone();
        disk.name = format!("c{at}t0d0");
        hardware.disks.push(disk);
    }
    machine.set_hardware(&hardware).unwrap();
    machine.plant_pool("zones", &["c2t0d0"], &["var"], |pool| pool.state = PoolState::Exported).unwrap();
    machine.plant_pool("zones", &["c3t0d0"], &[], |_| ()).unwrap();
    machine.plant_pool("gone", &["c4t0d0"], &[], |pool| pool.state = PoolState::Destroyed).unwrap();
    machine.plant_pool("bad", &["c5t0d0"], &[], |pool| pool.condition = Condition::Corrupted).unwrap();
    machine.plant_pool("busy", &["c6t0d0"], &[], |pool| pool.condition = Condition::InUseElsewhere).unwrap();
    let half =
        machine.plant_pool("half", &["c7t0d0", "c8t0d0"], &[], |pool| pool.layout = Layout::Mirror).unwrap();
    hardware.disks.retain(|disk| disk.name != "c8t0d0");
    machine.set_hardware(&hardware).unwrap();
    let told = typed(
        &machine,
        &[
            "/usr/sbin/devfsadm -c disk",
            "/usr/sbin/zpool import",
            "/usr/sbin/zpool import -D",
            "/usr/sbin/zpool import zones",
            "/usr/sbin/zpool import -f bad",
            "/usr/sbin/zpool import -f busy",
            &format!("/usr/sbin/zpool import -f -N {half} renamed"),
            "/usr/sbin/zpool list -H -o name,health",
            "/usr/sbin/zpool create new c4t0d0",
        ],
    );
    let text = ok(&told[1]);
    assert_eq!(text.matches("   pool: zones\n").count(), 2);
    assert!(text.contains("  state: FAULTED\n status: The pool metadata is corrupted.\n"));
    assert!(text.contains("  state: UNAVAIL\n status: The pool is currently imported by another system.\n"));
    assert!(text.contains("  state: DEGRADED\n status: One or more devices are missing from the system.\n"));
    assert!(!text.contains("gone") && ok(&told[2]).contains("  state: ONLINE (DESTROYED)\n"));
    assert_eq!(
        failed(&told[3], 1),
        "cannot import 'zones': more than one matching pool\nimport by numeric ID instead\n"
    );
    assert!(failed(&told[4], 1).starts_with("cannot import 'bad': I/O error\n"));
    assert!(failed(&told[5], 1).starts_with("cannot import 'busy': pool is imported on another host\n"));
    ok(&told[6]);
    assert_eq!(ok(&told[7]), "renamed\tDEGRADED\n");
    ok(&told[8]);
}

#[test]
fn a_pool_that_was_looked_at_is_as_it_was_and_can_be_used() {
    let (machine, _folder) = machine(Era::ALL[0]);
    typed(&machine, &["/usr/sbin/devfsadm -c disk", "/usr/sbin/zpool create zones c2t0d0"]);
    let before = machine.pools().unwrap();
    let guid = before[0].guid;
    let look = format!("/usr/sbin/zpool import -f -N -o cachefile=none -o readonly=on {guid}");
    let looked = typed(&machine, &["/usr/sbin/devfsadm -c disk", &look, "/usr/sbin/zpool export zones"]);
    for output in &looked {
        assert_eq!(ok(output), "");
    }
    assert_eq!(machine.pools().unwrap(), before);
    let use_it = format!("/usr/sbin/zpool import -f -N -o cachefile=none {guid}");
    let lines = ["/usr/sbin/devfsadm -c disk", &look, "/usr/sbin/zpool export zones", &use_it];
    let more = ["/usr/sbin/zfs mount zones", "/usr/sbin/zfs create -o mountpoint=/zones/new zones/new"];
    for output in &typed(&machine, &[&lines[..], &more].concat()) {
        assert_eq!(ok(output), "");
    }
}

#[test]
fn what_the_platform_does_not_know_is_refused_and_the_key_is_safe() {
    let (machine, _folder) = machine(Era::ALL[0]);
    let told = typed(
        &machine,
        &[
            "/usr/sbin/devfsadm -c disk",
            "/usr/sbin/zpool labelclear c2t0d0",
            "/usr/sbin/zpool get -H size zones",
            "/usr/sbin/zpool create zones c1t0d0",
            "/usr/sbin/zfs list -Hp",
        ],
    );
    for output in &told[1..] {
        assert_eq!(output.status, Some(250), "{output:?}");
    }
    let complaints = std::fs::read_to_string(machine.folder().join("complaints.log")).unwrap();
    assert!(complaints.contains("20130506T233003Z zfs does not know -p"), "{complaints}");
    assert_eq!(complaints.lines().count(), 4);
}
