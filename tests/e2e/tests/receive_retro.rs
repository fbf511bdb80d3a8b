//! The stream of a retro image is received by real ZFS, old and new, and reads back equal.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kiln_e2e::Lab;
use kiln_harness::guest::Guest;
use kiln_harness::tools;

const ARCHIVE_KIB: u32 = 16_384;

fn sha256(path: &Path) -> String {
    let said = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8_lossy(&said.stdout).split_whitespace().next().unwrap().to_owned()
}

/// An image and the SHA-256 of the disk in it.
fn image(lab: &Lab) -> (std::path::PathBuf, String) {
    lab.platform(ARCHIVE_KIB);
    let (image, _) = lab.retro(&[]);
    let raw = lab.join("disk.raw");
    lab.kiln_ok(&["convert", image.to_str().unwrap(), "--to", "sparse-raw", raw.to_str().unwrap()]);
    (image, sha256(&raw))
}

#[test]
fn openzfs_receives_what_imgadm_pipes_to_it() {
    let Some(lab) = Lab::open() else { return };
    let Some(guest) = Guest::find() else { return };
    let (image, disk) = image(&lab);
    // The pool is one of 2010, version 28, as old receivers have it. Receiving as imgadm does: no flags at all.
    let script = "
        set -e
        zpool create -o version=28 zones /dev/disk/by-id/virtio-scratch
        gzip -cdfq image.gz | zfs receive zones/image-partial
        zfs list -H -t snapshot -o name -r zones/image-partial
        zfs get -Hp -o value volsize,volblocksize zones/image-partial
        zfs rename zones/image-partial zones/image
        for n in $(seq 100); do [ -e /dev/zvol/zones/image ] && break; sleep .2; done
        sha256sum /dev/zvol/zones/image | cut -d' ' -f1
        zpool scrub zones
        while zpool status zones | grep -q 'in progress'; do sleep .5; done
        zpool status zones | grep errors:
    ";
    let said = guest
        .zfs()
        .file("image.gz", &image)
        .scratch_mib(2048)
        .deadline(Duration::from_mins(15))
        .run(script)
        .unwrap()
        .succeeded();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(
        lines,
        ["zones/image-partial@final", "1073741824", "8192", &disk, "errors: No known data errors"],
        "{said}"
    );
}

/// zfs-fuse is ZFS of 2010. It has no volume devices, so what it received is sent again and read by kiln.
#[test]
fn zfs_fuse_receives_it_and_sends_the_same_disk() {
    let Some(lab) = Lab::open() else { return };
    let (Some(daemon), Some(zpool), Some(zfs)) =
        (tools::require("zfs-fuse"), tools::require("zpool"), tools::require("zfs"))
    else {
        return;
    };
    let (image, disk) = image(&lab);
    let (pool_file, again) = (lab.join("pool"), lab.join("again.zvol"));
    fs::File::create(&pool_file).unwrap().set_len(1 << 30).unwrap();
    // The daemon's socket and its pools are the machine's, so the pool has a name of its own and goes again.
    let pool = format!("kiln{}", std::process::id());
    let script = format!(
        "set -e
        started=
        '{zpool}' list >/dev/null 2>&1 || {{ '{daemon}'; started=1; }}
        for n in $(seq 50); do '{zpool}' list >/dev/null 2>&1 && break; sleep .1; done
        '{zpool}' create {pool} '{file}'
        trap \"'{zpool}' destroy {pool}; [ -z \\\"$started\\\" ] || pkill -x zfs-fuse\" EXIT
        gzip -cdfq '{image}' | '{zfs}' receive {pool}/image
        '{zfs}' send {pool}/image@final > '{again}'",
        zpool = zpool.display(),
        zfs = zfs.display(),
        daemon = daemon.display(),
        file = pool_file.display(),
        image = image.display(),
        again = again.display(),
    );
    let said = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let raw = lab.join("again.raw");
    lab.kiln_ok(&["convert", again.to_str().unwrap(), "--to", "raw", raw.to_str().unwrap()]);
    assert_eq!(sha256(&raw), disk);
}
