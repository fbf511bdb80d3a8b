//! The copy of the log that survives. Services log into memory until the pool's `/var` is mounted, and what was written
//! before is hidden beneath it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use crate::files;
use crate::moment::utc;
use crate::state::State;

/// The file.
pub const FILE: &str = "/var/log/guest-init.log";

/// The length, in bytes, from which on it makes room for a new one. The one before is kept, too.
const LONGEST: u64 = 512 << 10;

/// The table of what is mounted: special, mount point, type, options and time, with tabs between (mnttab(5)).
const MOUNTS: &str = "/etc/mnttab";

/// Appends what a phase logged, unless `/var` is not the pool's: in rescue mode nothing is written to any disk.
///
/// # Errors
/// When it cannot be written.
pub fn keep(text: &[u8], now: u64, state: &State) -> Result<()> {
    if state.rescue.is_some() || state.pool.is_none() {
        return Ok(());
    }
    let mounts = files::read(Path::new(MOUNTS), 1 << 20).with_context(|| format!("cannot read {MOUNTS}"))?;
    if !is_on_zfs(&String::from_utf8_lossy(&mounts), "/var") {
        return Ok(());
    }
    append(Path::new(FILE), text, now).with_context(|| format!("cannot write {FILE}"))
}

/// Whether a ZFS file system is what is seen at `folder`, which is a mount point.
fn is_on_zfs(mounts: &str, folder: &str) -> bool {
    let last = mounts
        .lines()
        .rev()
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .find(|fields| fields.get(1) == Some(&folder));
    last.is_some_and(|fields| fields.get(2) == Some(&"zfs"))
}

fn append(path: &Path, text: &[u8], now: u64) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = open(path)?;
    if file.metadata()?.len() > LONGEST {
        fs::rename(path, path.with_extension("log.0"))?;
        file = open(path)?;
    }
    let mut entry = format!("--- {}\n", utc(now)).into_bytes();
    entry.extend_from_slice(text);
    file.write_all(&entry)?;
    file.sync_all()
}

fn open(path: &Path) -> io::Result<fs::File> {
    // A link in its place is not followed.
    let flags = rustix::fs::OFlags::NOFOLLOW;
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags.bits() as i32).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pool_is_written_to() {
        let ramdisk = "/devices/ramdisk:a\t/\tufs\trw\t1\nswap\t/tmp\ttmpfs\txattr\t2\n";
        assert!(!is_on_zfs(ramdisk, "/var"));
        assert!(is_on_zfs(&format!("{ramdisk}zones/var\t/var\tzfs\trw\t3\n"), "/var"));
        assert!(!is_on_zfs(&format!("{ramdisk}zones/var\t/var2\tzfs\trw\t3\n"), "/var"));
        assert!(!is_on_zfs("zones/var\t/var\tzfs\trw\t3\nswap\t/var\ttmpfs\trw\t4\n", "/var"), "covered");
        assert!(!is_on_zfs("\t\n\n/var\n", "/var"));
    }

    #[test]
    fn the_log_grows_and_makes_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log/guest-init.log");
        append(&path, b"one\n", 0).expect("written");
        append(&path, b"two\n", 86_400).expect("written");
        let text = "--- 1970-01-01T00:00:00Z\none\n--- 1970-01-02T00:00:00Z\ntwo\n";
        assert_eq!(fs::read_to_string(&path).expect("read"), text);
        for _ in 0..5 {
            append(&path, &vec![b'x'; 300 << 10], 0).expect("written");
        }
        let lengths = ["guest-init.log", "guest-init.log.0"]
            .map(|name| fs::metadata(path.with_file_name(name)).expect("there").len());
        assert!(lengths.iter().all(|&length| length < LONGEST + (301 << 10)), "{lengths:?}");
        assert_eq!(fs::read_dir(folder.path().join("log")).expect("listed").count(), 2);
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("guest-init.log");
        std::os::unix::fs::symlink(folder.path().join("target"), &path).expect("linked");
        append(&path, b"one\n", 0).expect_err("a link");
        assert!(!folder.path().join("target").exists());
    }
}
