//! The stream of a retro image is received by real ZFS, old and new, and reads back equal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kiln_e2e::Lab;
use kiln_harness::guest::Guest;
use kiln_harness::process::Running;
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

/// A pool of zfs-fuse in a file. The socket of the daemon and its pools are the machine's, so a daemon that runs already
/// is used and left running, and the pool has a name of its own and goes with this value.
struct FusePool {
    zpool: PathBuf,
    name: String,
    /// The daemon that this value has started; it ends after the pool has gone.
    daemon: Option<Running>,
}

impl FusePool {
    /// A pool in `file`. `None` after a loud skip when there is no zfs-fuse.
    fn create(file: &Path) -> Option<FusePool> {
        let (daemon, zpool) = (tools::require("zfs-fuse")?, tools::require("zpool")?);
        let mut pool = FusePool { zpool, name: format!("kiln{}", std::process::id()), daemon: None };
        if pool.run(&["list"]).is_err() {
            let mut command = Command::new(daemon);
            command.args(["--no-daemon", "--no-kstat-mount"]).stdin(Stdio::null());
            let mut running = Running::start(&mut command).unwrap();
            for _ in 0..600 {
                // Each look waits as well, so that the daemon has a minute.
                if let Some(status) = running.wait(Duration::from_millis(100)).unwrap() {
                    panic!("zfs-fuse ended: {status}");
                }
                if pool.run(&["list"]).is_ok() {
                    break;
                }
            }
            pool.daemon = Some(running);
        }
        fs::File::create(file).unwrap().set_len(1 << 30).unwrap();
        pool.run(&["create", "-m", "none", &pool.name, file.to_str().unwrap()]).unwrap();
        Some(pool)
    }

    /// Runs zpool; what it complained of when it fails.
    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let said = Command::new(&self.zpool).args(arguments).output().expect("zpool starts");
        if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
    }
}

impl Drop for FusePool {
    fn drop(&mut self) {
        let destroyed = self.run(&["destroy", &self.name]);
        drop(self.daemon.take());
        if !std::thread::panicking() {
            destroyed.unwrap();
        }
    }
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
        .arg(&pool.name)
        .arg(&again)
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    drop(pool);
    let raw = lab.join("again.raw");
    lab.kiln_ok(&["convert", again.to_str().unwrap(), "--to", "raw", raw.to_str().unwrap()]);
    assert_eq!(sha256(&raw), disk);
}
