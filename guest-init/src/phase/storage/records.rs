//! What the key remembers: which pool belongs to this guest, and on which disk one is about to be made.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::files;

/// The folder of our files, in the root of the key.
const FOLDER: &str = "guest-init";

/// The file with the [`Record`].
const RECORD: &str = "pool.json";

/// The file with the [`Intent`].
const INTENT: &str = "intent.json";

/// The longest that is read of either, in bytes.
const LONGEST: u64 = 64 << 10;

/// The pool of this guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its identifier.
    pub guid: u64,
    /// Whether everything that a first boot makes in it is there.
    pub complete: bool,
}

/// A pool that is about to be made. It is written before `zpool create` starts, so that what an interrupted one leaves on
/// the disk is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The disk, which was blank then.
    pub disk: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What is found in the place of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It was never written.
    Nothing,
    /// It is there, and makes no sense.
    Damaged,
    /// It is there.
    Is(Record),
}

/// Reads the record of the key in `key`.
pub fn record(key: &Path) -> Result<Recorded> {
    match read(key, RECORD)? {
        None => Ok(Recorded::Nothing),
        Some(bytes) => Ok(parse(&bytes).map_or(Recorded::Damaged, Recorded::Is)),
    }
}

/// Reads the intent. One that makes no sense was being written when the machine stopped, before anything else happened.
pub fn intent(key: &Path) -> Result<Option<Intent>> {
    Ok(read(key, INTENT)?.and_then(|bytes| parse(&bytes)))
}

/// Whether there is an intent, be it one that makes no sense.
pub fn has_intent(key: &Path) -> Result<bool> {
    Ok(read(key, INTENT)?.is_some())
}

/// Writes the record.
pub fn write_record(key: &Path, record: &Record) -> Result<()> {
    write(key, RECORD, record)
}

/// Writes the intent.
pub fn write_intent(key: &Path, intent: &Intent) -> Result<()> {
    write(key, INTENT, intent)
}

/// Removes the intent, once it has come true.
pub fn forget_intent(key: &Path) -> Result<()> {
    let folder = key.join(FOLDER);
    let path = folder.join(INTENT);
    match fs::remove_file(&path) {
        // Or it would be there again after a power failure.
        Ok(()) => files::sync_folder(&folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
    .with_context(|| format!("cannot remove {}", path.display()))
}

fn read(key: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let path = key.join(FOLDER).join(name);
    match files::read(&path, LONGEST) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Too long: whatever it is, we did not write it.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Some(Vec::new())),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn write(key: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let folder = key.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // The folder must not be lost with the power, or the file goes with it.
    files::sync_folder(key).with_context(|| format!("cannot write {}", key.display()))?;
    let path = folder.join(name);
    let bytes = serde_json::to_vec(value).context("cannot write it as JSON")?;
    files::replace(&path, &bytes, files::Owner::none())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let key = tempfile::tempdir().expect("a folder");
        assert_eq!(record(key.path()).expect("read"), Recorded::Nothing);
        assert_eq!(intent(key.path()).expect("read"), None);
        let planned = Intent { disk: "c1t0d0".to_owned(), bytes: 10 << 30 };
        let made = Record { guid: u64::MAX, complete: false };
        write_intent(key.path(), &planned).expect("written");
        write_record(key.path(), &made).expect("written");
        assert_eq!(intent(key.path()).expect("read"), Some(planned));
        assert!(has_intent(key.path()).expect("read"));
        assert_eq!(record(key.path()).expect("read"), Recorded::Is(made));
        forget_intent(key.path()).expect("removed");
        forget_intent(key.path()).expect("already removed");
        assert!(!has_intent(key.path()).expect("read"));
        assert_eq!(intent(key.path()).expect("read"), None);
    }

    #[test]
    fn a_file_without_sense_is_not_a_file_that_is_missing() {
        let key = tempfile::tempdir().expect("a folder");
        fs::create_dir(key.path().join(FOLDER)).expect("made");
        let long = vec![b' '; (LONGEST + 1) as usize];
        for damage in [&b""[..], b"{\"guid\":12", b"\0\0\0\0", &long] {
            fs::write(key.path().join(FOLDER).join(RECORD), damage).expect("written");
            assert_eq!(record(key.path()).expect("read"), Recorded::Damaged);
        }
    }

    /// Set in a process that cannot write a byte to any file.
    #[cfg(target_os = "linux")]
    const FULL: &str = "GUEST_INIT_TEST_FULL_KEY";

    /// It starts itself by way of a shell, which an illumos executable on the shim cannot.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_key_keeps_what_it_says() {
        let old = Record { guid: 1, complete: false };
        if let Some(key) = std::env::var_os(FULL) {
            let key = Path::new(&key);
            write_record(key, &Record { guid: 2, complete: true }).expect_err("there is no room");
            write_intent(key, &Intent { disk: "c1t0d0".to_owned(), bytes: 1 }).expect_err("there is no room");
            return;
        }
        let key = tempfile::tempdir().expect("a folder");
        write_record(key.path(), &old).expect("written");
        // A limit of the shell's is met in the same place as the end of a disk: the file can be made and not be written to.
        let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" --exact \"$1\"";
        let name =
            format!("{}::a_full_key_keeps_what_it_says", module_path!().replacen("guest_init::", "", 1));
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", script])
            .arg(std::env::current_exe().expect("this program"))
            .arg(name)
            .env(FULL, key.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .output()
            .expect("started");
        let said = String::from_utf8_lossy(&status.stdout).into_owned();
        assert!(status.status.success() && said.contains("1 passed"), "{status:?}");
        assert_eq!(record(key.path()).expect("read"), Recorded::Is(old));
        assert_eq!(intent(key.path()).expect("read"), None);
        let left = fs::read_dir(key.path().join(FOLDER)).expect("listed").count();
        assert_eq!(left, 1, "nothing is left beside it");
    }
}
