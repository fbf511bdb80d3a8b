//! Names in the file system that the server makes and takes away again: its socket, and the link to its terminal.
//!
//! A server that was killed leaves its name behind, and the next one must be able to take it over without ever removing
//! what somebody else put there. So a file beside the name, `NAME.lock`, is locked while the name is in use, and says
//! which inode the name was given to. Only that inode is ever removed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::fs::OFlags;

use crate::report::Hint;

/// A name that belongs to this process. Dropping it removes the name, if it is still ours, and the lock file.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    lock_path: PathBuf,
    lock: File,
}

impl Claim {
    /// Claims a name, removing what an earlier server of ours left there.
    ///
    /// # Errors
    /// Another server uses the name, or something that no server of ours made stands there.
    pub fn take(path: &Path) -> Result<Claim> {
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let mut lock = lock(&lock_path, path)?;
        let Some(ours) = read_identity(&mut lock)? else {
            return Err(anyhow!("{} is there already, and no lock file of kiln", lock_path.display()))
                .hint("choose another name, or remove it yourself if nobody needs it");
        };
        let claim = Claim { path: path.to_owned(), lock_path, lock };
        match identity(path) {
            None => {}
            Some(found) if found == ours => {
                fs::remove_file(path).with_context(|| format!("cannot remove the old {}", path.display()))?;
            }
            Some(_) => {
                let owner = owner(path);
                return Err(anyhow!("{} is there already{owner}", path.display()))
                    .hint("choose another name, or remove it yourself if nobody needs it");
            }
        }
        Ok(claim)
    }

    /// Notes that the name now exists and is this server's.
    pub fn made(&mut self) -> Result<()> {
        let identity = identity(&self.path).with_context(|| format!("{} is gone", self.path.display()))?;
        let words = format!("{}\n{identity}\n", std::process::id());
        let written = self.lock.rewind().and_then(|()| {
            self.lock.set_len(0)?;
            self.lock.write_all(words.as_bytes())
        });
        written.with_context(|| format!("cannot write {}", self.lock_path.display()))
    }

    /// The name.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut words = String::new();
        let read = self.lock.rewind().and_then(|()| self.lock.read_to_string(&mut words));
        // What cannot be removed now stays for the next server, which knows it by its lock file.
        if read.is_ok() && identity(&self.path).is_some_and(|found| words.lines().nth(1) == Some(&found)) {
            let _ = fs::remove_file(&self.path);
        }
        let _ = fs::remove_file(&self.lock_path);
    }
}

/// Opens and locks the lock file of `path`.
fn lock(lock_path: &Path, path: &Path) -> Result<File> {
    loop {
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(lock_path)
            .with_context(|| format!("cannot make the lock file {}", lock_path.display()))
            .hint("choose a name in a folder that you may write to")?;
        ensure!(lock.metadata()?.is_file(), "{} is there already, and no file", lock_path.display());
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let words = fs::read_to_string(lock_path).unwrap_or_default();
                let owner = words.lines().next().map(|pid| format!(" by process {pid}")).unwrap_or_default();
                return Err(anyhow!("{} is in use{owner}", path.display()))
                    .hint("choose another name, or end that server; it takes its name away with it");
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", lock_path.display()));
            }
        }
        // Its last owner may have removed the file between our opening and our locking it.
        let (held, named) = (lock.metadata()?, fs::symlink_metadata(lock_path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
            return Ok(lock);
        }
    }
}

/// What a lock file says that the name was given to, nothing if it says nothing yet, and `None` if it is no lock file.
fn read_identity(lock: &mut File) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    // A lock file is two short lines; whatever is longer is none.
    lock.take(200).read_to_end(&mut bytes).context("cannot read the lock file")?;
    let words = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = words.lines().collect();
    Ok(match lines.as_slice() {
        [] => Some(String::new()),
        [pid, identity] if pid.parse::<u32>().is_ok() => {
            let ours = identity.starts_with("socket ") || identity.starts_with("link ");
            ours.then(|| (*identity).to_owned())
        }
        _ => None,
    })
}

/// What stands at a path: the words by which a lock file knows it again.
fn identity(path: &Path) -> Option<String> {
    let found = fs::symlink_metadata(path).ok()?;
    let kind = if found.file_type().is_socket() {
        "socket"
    } else if found.is_symlink() {
        "link"
    } else {
        "other"
    };
    // The time of birth tells a new file from an old one of the same inode number; a change of mode leaves it alone.
    let born = found.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Some(format!("{kind} {} {} {}", found.dev(), found.ino(), born.as_nanos()))
}

/// Who owns what stands at a path, as far as that can be found out.
fn owner(path: &Path) -> String {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return ", and no server of kiln made it".to_owned();
    }
    match UnixStream::connect(path).and_then(|stream| Ok(rustix::net::sockopt::socket_peercred(&stream)?)) {
        Ok(peer) => {
            let pid = peer.pid.as_raw_nonzero();
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let name = name.trim_end();
            let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
            format!(": process {pid}{name} listens there")
        }
        Err(_) => ": a socket that no server of kiln made, and that nobody listens on".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::Claim;

    fn message(result: anyhow::Result<Claim>) -> String {
        format!("{:#}", result.expect_err("refused"))
    }

    #[test]
    fn a_name_is_one_servers_at_a_time_and_gone_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut claim = Claim::take(&path).unwrap();
        let _listener = UnixListener::bind(&path).unwrap();
        claim.made().unwrap();
        let words = message(Claim::take(&path));
        assert!(words.contains(&format!("is in use by process {}", std::process::id())), "{words}");
        drop(claim);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_server_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut claim = Claim::take(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        claim.made().unwrap();
        // As after SIGKILL: the lock is gone, the files are not.
        let Claim { lock, .. } = &claim;
        lock.unlock().unwrap();
        std::mem::forget(claim);
        let claim = Claim::take(&path).unwrap();
        assert!(!path.exists());
        drop(claim);
    }

    #[test]
    fn what_others_made_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        std::fs::write(&path, "precious").unwrap();
        assert!(message(Claim::take(&path)).contains("no server of kiln made it"));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();

        let listener = UnixListener::bind(&path).unwrap();
        let words = message(Claim::take(&path));
        assert!(words.contains(&format!("process {}", std::process::id())), "{words}");
        drop(listener);
        assert!(message(Claim::take(&path)).contains("nobody listens on"));
        assert!(path.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no lock file stays");
    }

    #[test]
    fn a_file_that_only_has_the_name_of_a_lock_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, lock) = (folder.path().join("socket"), folder.path().join("socket.lock"));
        for words in ["precious\n", "1\n2\n", "1\nother 1 2 3\n", &"9\n".repeat(300)] {
            std::fs::write(&lock, words).unwrap();
            assert!(message(Claim::take(&path)).contains("no lock file of kiln"));
            assert_eq!(std::fs::read_to_string(&lock).unwrap(), words);
        }
        std::fs::remove_file(&lock).unwrap();
        std::fs::create_dir(&lock).unwrap();
        message(Claim::take(&path));
        assert!(lock.is_dir());
    }

    #[test]
    fn a_name_that_changed_hands_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let mut claim = Claim::take(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        claim.made().unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "somebody else's").unwrap();
        drop(claim);
        assert!(path.exists());
    }
}
