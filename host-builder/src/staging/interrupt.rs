//! What SIGINT, SIGTERM and SIGHUP do: take back what an unfinished command has named, say so, and end the program.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Held by whoever must not be interrupted.
static GATE: Mutex<()> = Mutex::new(());

/// What an interruption has to take back or to talk about.
static NAMED: Mutex<Named> =
    Mutex::new(Named { files: Vec::new(), folders: Vec::new(), trees: Vec::new(), results: Vec::new() });

struct Named {
    /// Temporary files that have names.
    files: Vec<PathBuf>,
    /// Folders that were made for results.
    folders: Vec<PathBuf>,
    /// Folders in the making, which go with all that is in them.
    trees: Vec<PathBuf>,
    /// Finished results.
    results: Vec<PathBuf>,
}

/// Makes interruptions wait until the returned value is dropped.
///
/// A thread that holds it must not ask for it again.
pub(crate) fn defer() -> MutexGuard<'static, ()> {
    // The gate guards no data, so a panic behind it has broken nothing.
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn named() -> MutexGuard<'static, Named> {
    // Every change is one push or retain, which a panic cannot leave half done.
    NAMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has an interruption remove this file.
pub(super) fn remember_file(path: &Path) {
    named().files.push(path.to_owned());
}

/// Has an interruption remove this folder, if nothing is in it.
pub(super) fn remember_folder(path: &Path) {
    named().folders.push(path.to_owned());
}

/// Has an interruption remove this folder with all that is in it.
pub(super) fn remember_tree(path: &Path) {
    named().trees.push(path.to_owned());
}

/// Keeps interruptions away from a file or folder from now on.
pub(super) fn forget(path: &Path) {
    let mut named = named();
    named.files.retain(|known| known != path);
    named.folders.retain(|known| known != path);
    named.trees.retain(|known| known != path);
}

/// Has an interruption say that these results are whole.
pub(super) fn finished(results: impl IntoIterator<Item = PathBuf>) {
    named().results.extend(results);
}

/// Removes a folder that was made for results, unless something is in it or is about to be.
pub(super) fn remove_unused(folder: &Path) {
    let lock = File::open(folder).map(|opened| {
        let taken = matches!(opened.try_lock(), Err(TryLockError::WouldBlock));
        (opened, taken)
    });
    // The lock belongs to another build that is giving its results their names here.
    if !matches!(lock, Ok((_, true))) {
        // It refuses to remove what is not empty, which is all that has to be asked.
        let _ = fs::remove_dir(folder);
    }
}

/// Takes back what an unfinished command has named, and says in words what became of it.
fn take_back() -> String {
    let named = named();
    let mut stayed = Vec::new();
    for file in &named.files {
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                stayed.push(format!("{} could not be removed: {error}", file.display()));
            }
            _ => {}
        }
    }
    for tree in &named.trees {
        if let Err(error) = super::tree::remove(tree) {
            stayed.push(format!("{} could not be removed: {error}", tree.display()));
        }
    }
    named.folders.iter().rev().for_each(|folder| remove_unused(folder));
    if !stayed.is_empty() {
        return stayed.join("; ");
    }
    if named.results.is_empty() {
        return "nothing unfinished was left behind".to_owned();
    }
    let results: Vec<String> = named.results.iter().map(|path| path.display().to_string()).collect();
    format!("finished before that, and whole: {}", results.join(", "))
}

/// Makes SIGINT, SIGTERM and SIGHUP remove what an unfinished command has named so far, say so, and end the program
/// with the customary status (128 + the signal's number). Signals that the parent wants ignored, as nohup(1) does,
/// stay ignored.
///
/// # Errors
/// The system refuses to install the handler.
pub fn clean_up_when_interrupted() -> Result<()> {
    let ignored = ignored_signals();
    let caught = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(caught).context("cannot install the interrupt handler")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Kept until the end of the program, so that no thread can name anything after this.
            let _held = defer();
            // A terminal that has gone away is no reason to stay.
            let _ = writeln!(std::io::stderr(), "kiln: interrupted; {}", take_back());
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// The signals that the program was started to ignore, bit n - 1 for signal n; none where `/proc` does not tell
/// (source: proc_pid_status(5), `SigIgn`).
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn an_interruption_waits_until_it_may_come() {
        let held = defer();
        let (say, hear) = mpsc::channel();
        let other = std::thread::spawn(move || {
            say.send("waits").unwrap();
            let _held = defer();
            say.send("came").unwrap();
        });
        assert_eq!(hear.recv().unwrap(), "waits");
        // However long one listens, nothing comes; a moment is enough to catch a gate that is open.
        assert!(hear.recv_timeout(Duration::from_millis(20)).is_err());
        drop(held);
        assert_eq!(hear.recv().unwrap(), "came");
        other.join().unwrap();
    }

    #[test]
    fn a_folder_in_use_stays() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("output");
        fs::create_dir(&folder).unwrap();
        let other = File::open(&folder).unwrap();
        other.lock().unwrap();
        remove_unused(&folder);
        assert!(folder.exists());
        drop(other);
        fs::write(folder.join("result"), "").unwrap();
        remove_unused(&folder);
        assert!(folder.exists());
        fs::remove_file(folder.join("result")).unwrap();
        remove_unused(&folder);
        assert!(!folder.exists());
    }
}
