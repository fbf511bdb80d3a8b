//! The stream of a retro image is received by real ZFS, old and new, and reads back equal.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kiln_e2e::Lab;
use kiln_e2e::fuse_pool::FusePool;
use kiln_harness::guest::Guest;
use kiln_harness::tools;

const ARCHIVE_KIB: u32 = 16_384;

fn sha256(path: &Path) -> String {
    let said = Command::new("sha256sum").arg(path).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).split_whitespace().next().unwrap().to_owned()
}

/// An image and the SHA-256 of the disk in it.
fn image(lab: &Lab) -> (PathBuf, String) {
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
        set -eo pipefail
        zpool create -o version=28 zones /dev/disk/by-id/virtio-scratch
        gzip -cdfq image.gz | zfs receive zones/image-partial
        zfs list -H -t snapshot -o name -r zones/image-partial
        zfs get -Hp -o value volsize,volblocksize zones/image-partial
        zfs rename zones/image-partial zones/image
        udevadm settle -t 120
        for n in $(seq 300); do [ -e /dev/zvol/zones/image ] && break; sleep .2; done
        sha256sum /dev/zvol/zones/image | cut -d' ' -f1
        zpool scrub zones
        zpool wait -t scrub zones
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
    let Some(zfs) = tools::require("zfs") else { return };
    let Some(pool) = FusePool::create(&lab.join("pool")) else { return };
    let (image, disk) = image(&lab);
    let again = lab.join("again.zvol");
    let script = "set -euo pipefail
        gzip -cdfq \"$1\" | \"$0\" receive \"$2/image\"
        \"$0\" send \"$2/image@final\" > \"$3\"";
    let said = Command::new("bash")
        .args(["-c", script])
        .args([&zfs, &image])
        .arg(pool.name())
        .arg(&again)
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    drop(pool);
    let raw = lab.join("again.raw");
    lab.kiln_ok(&["convert", again.to_str().unwrap(), "--to", "raw", raw.to_str().unwrap()]);
    assert_eq!(sha256(&raw), disk);
}
