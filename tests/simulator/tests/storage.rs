//! Pools, datasets and mounts, by the program as the guest calls it.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use kiln_harness::scratch;
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
