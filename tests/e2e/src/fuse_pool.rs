//! A pool of zfs-fuse, the ZFS of 2010, on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use kiln_harness::process::Running;
use kiln_harness::tools;

/// How often it is tried again to destroy a pool that is busy, a tenth of a second apart.
const BUSY_TRIES: u32 = 300;

/// A pool of zfs-fuse in a sparse file of 8 GiB, mounted nowhere. The socket of the daemon and its pools are the machine's, so a daemon
/// that runs already is used and left running, and the pool has a name of its own and goes with this value.
#[derive(Debug)]
pub struct FusePool {
    zpool: PathBuf,
    name: String,
    /// The daemon that this value has started; it ends after the pool has gone.
    daemon: Option<Running>,
}

impl FusePool {
    /// A pool in `file`. `None` after a loud skip when there is no zfs-fuse.
    ///
    /// # Panics
    /// zfs-fuse does not start, or makes no pool.
    pub fn create(file: &Path) -> Option<FusePool> {
        let (daemon, zpool) = (tools::require("zfs-fuse")?, tools::require("zpool")?);
        let mut pool = FusePool { zpool, name: format!("kiln{}", std::process::id()), daemon: None };
        if pool.run(&["list"]).is_err() {
            let mut command = Command::new(daemon);
            command.args(["--no-daemon", "--no-kstat-mount"]);
            // It prints a line for each mount, and nothing else of use.
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut running = Running::start(&mut command).expect("zfs-fuse starts");
            for _ in 0..600 {
                // Each look waits as well, so that the daemon has a minute.
                if let Some(status) = running.wait(Duration::from_millis(100)).expect("it can be waited for")
                {
                    panic!("zfs-fuse ended: {status}");
                }
                if pool.run(&["list"]).is_ok() {
                    break;
                }
            }
            pool.daemon = Some(running);
        }
        fs::File::create(file)
            .and_then(|file| file.set_len(8 << 30))
            .expect("the scratch folder is writable");
        let path = file.to_str().expect("a plain path");
        pool.run(&["create", "-m", "none", &pool.name, path]).expect("zfs-fuse makes a pool");
        Some(pool)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads everything in the pool again and verifies it.
    ///
    /// # Panics
    /// Something is wrong with it.
    pub fn scrub(&self) {
        self.run(&["scrub", &self.name]).expect("a scrub begins");
        loop {
            let said = Command::new(&self.zpool).args(["status", &self.name]).output().expect("zpool starts");
            let said = String::from_utf8_lossy(&said.stdout);
            if !said.contains("scrub in progress") {
                assert!(said.contains("errors: No known data errors"), "{said}");
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs zpool; what it complained of when it fails.
    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let said = Command::new(&self.zpool).args(arguments).output().expect("zpool starts");
        if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
    }
}

impl Drop for FusePool {
    fn drop(&mut self) {
        let mut destroyed = self.run(&["destroy", "-f", &self.name]);
        // The daemon lets go of a mount only when the kernel has told it that nobody uses it, which can take a moment after the
        // last file was closed.
        for _ in 0..BUSY_TRIES {
            if !destroyed.as_ref().is_err_and(|complaint| complaint.contains("busy")) {
                break;
            }
            thread::sleep(Duration::from_millis(100));
            destroyed = self.run(&["destroy", "-f", &self.name]);
        }
        drop(self.daemon.take());
        if !thread::panicking() {
            destroyed.expect("the pool can be destroyed");
        }
    }
}
