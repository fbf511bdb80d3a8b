//! Copies a tree with everything that belongs to it: owners, modes, times, symbolic and hard links, devices.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};

/// The most folders that may lie in each other.
const DEEPEST: usize = 64;

/// Copies what is in the folder `from` into the folder `to`, and gives `to` the owner, mode and times of `from`. It stays on the
/// file system of `from`. Where something of a name is there, it is replaced: an interrupted copy can be taken up.
///
/// Tells what was left out: sockets, doors, and other things that live only as long as a process.
pub fn tree(from: &Path, to: &Path) -> Result<Vec<PathBuf>> {
    let root = fs::symlink_metadata(from).with_context(|| format!("cannot look at {}", from.display()))?;
    let mut copy = Copy { file_system: root.dev(), linked: HashMap::new(), skipped: Vec::new() };
    copy.folder(from, to, &root, 0)?;
    Ok(copy.skipped)
}

struct Copy {
    file_system: u64,
    /// Where files with several names have been copied to, by number.
    linked: HashMap<u64, PathBuf>,
    skipped: Vec<PathBuf>,
}

impl Copy {
    fn folder(&mut self, from: &Path, to: &Path, found: &Metadata, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            bail!("{} lies deeper than {DEEPEST} folders", from.display());
        }
        let entries = fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
        for entry in entries {
            let name = entry.with_context(|| format!("cannot list {}", from.display()))?.file_name();
            self.entry(&from.join(&name), &to.join(&name), depth)?;
        }
        // Last, because each entry that was made changed the time.
        finish(to, found).with_context(|| format!("cannot finish {}", to.display()))?;
        crate::files::sync_folder(to).with_context(|| format!("cannot finish {}", to.display()))
    }

    fn entry(&mut self, from: &Path, to: &Path, depth: usize) -> Result<()> {
        let found =
            fs::symlink_metadata(from).with_context(|| format!("cannot look at {}", from.display()))?;
        let kind = found.file_type();
        let failed = || format!("cannot copy {} to {}", from.display(), to.display());
        if kind.is_dir() {
            make_folder(to).with_context(failed)?;
            if found.dev() != self.file_system {
                // Another file system is mounted there; its folder is all that belongs to this tree.
                return finish(to, &found).with_context(failed);
            }
            return self.folder(from, to, &found, depth + 1);
        }
        if kind.is_socket() || !(kind.is_file() || kind.is_symlink() || is_special(&found)) {
            self.skipped.push(from.to_owned());
            return Ok(());
        }
        make_room(to).with_context(failed)?;
        if found.nlink() > 1 {
            if let Some(first) = self.linked.get(&found.ino()) {
                return fs::hard_link(first, to).with_context(failed);
            }
            self.linked.insert(found.ino(), to.to_owned());
        }
        if kind.is_symlink() {
            symlink(fs::read_link(from).with_context(failed)?, to).with_context(failed)?;
        } else if kind.is_file() {
            contents(from, to).with_context(failed)?;
        } else {
            let kind = FileType::from_raw_mode(found.mode() as _);
            mknodat(CWD, to, kind, Mode::from_raw_mode(0o600), found.rdev()).with_context(failed)?;
        }
        finish(to, &found).with_context(failed)
    }
}

fn is_special(found: &Metadata) -> bool {
    let kind = found.file_type();
    kind.is_block_device() || kind.is_char_device() || kind.is_fifo()
}

fn contents(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut source, &mut copy)?;
    copy.sync_all()
}

/// Makes a folder of this name, unless there is one.
fn make_folder(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir(path)
}

/// Removes what an interrupted copy left under a name.
fn make_room(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Gives `path` the owner, mode and times of what was found.
pub fn finish(path: &Path, found: &Metadata) -> io::Result<()> {
    lchown(path, Some(found.uid()), Some(found.gid()))?;
    if !found.file_type().is_symlink() {
        // After the owner: changing that takes set-id bits away.
        fs::set_permissions(path, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    }
    let time = |seconds: i64, nanoseconds: i64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(found.atime(), found.atime_nsec()),
        last_modification: time(found.mtime(), found.mtime_nsec()),
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What there is to know of everything in a tree: path, mode, owners, size, time, link, and the number of names.
    fn listing(root: &Path) -> Vec<String> {
        let mut lines = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("listed") {
                let path = entry.expect("an entry").path();
                let found = fs::symlink_metadata(&path).expect("found");
                let link = fs::read_link(&path).unwrap_or_default();
                let size = if found.is_dir() { 0 } else { found.len() };
                let relative = path.strip_prefix(root).expect("below");
                let names = if found.is_dir() { 0 } else { found.nlink() };
                lines.push(format!(
                    "{} {:o} {}:{} {size} {}.{} {} {names}",
                    relative.display(),
                    found.mode(),
                    found.uid(),
                    found.gid(),
                    found.mtime(),
                    found.mtime_nsec(),
                    link.display(),
                ));
                if found.is_dir() {
                    folders.push(path);
                }
            }
        }
        lines.sort();
        lines
    }

    fn var() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("adm/acct")).expect("made");
        fs::write(at("adm/messages"), "hello\n").expect("written");
        fs::write(at("adm/empty"), "").expect("written");
        fs::hard_link(at("adm/messages"), at("adm/acct/messages")).expect("linked");
        symlink("../nowhere", at("adm/link")).expect("linked");
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("made");
        fs::set_permissions(at("adm/messages"), fs::Permissions::from_mode(0o4750)).expect("set");
        fs::set_permissions(at("adm/acct"), fs::Permissions::from_mode(0o1777)).expect("set");
        let times = Timestamps {
            last_access: Timespec { tv_sec: 1, tv_nsec: 0 },
            last_modification: Timespec { tv_sec: 1_400_000_000, tv_nsec: 5_000_000 },
        };
        for name in ["adm/messages", "adm/link", "adm/acct", "adm", ""] {
            utimensat(CWD, at(name), &times, AtFlags::SYMLINK_NOFOLLOW).expect("set");
        }
        folder
    }

    #[test]
    fn everything_is_copied_as_it_is() {
        let from = var();
        let to = tempfile::tempdir().expect("a folder");
        assert_eq!(tree(from.path(), to.path()).expect("copied"), Vec::<PathBuf>::new());
        assert_eq!(listing(to.path()), listing(from.path()));
        assert_eq!(fs::read(to.path().join("adm/acct/messages")).expect("read"), b"hello\n");
        let root = fs::metadata(to.path()).expect("found");
        assert_eq!(root.mtime(), 1_400_000_000);
    }

    #[test]
    fn hazard_11_a_copy_that_was_interrupted_is_taken_up() {
        let from = var();
        let to = tempfile::tempdir().expect("a folder");
        let at = |name: &str| to.path().join(name);
        // Half a file, a file of another kind, a link where a folder belongs.
        fs::create_dir(at("adm")).expect("made");
        fs::write(at("adm/messages"), "hel").expect("written");
        fs::create_dir(at("adm/link")).expect("made");
        symlink("/etc", at("adm/acct")).expect("linked");
        tree(from.path(), to.path()).expect("copied");
        assert_eq!(listing(to.path()), listing(from.path()));
        tree(from.path(), to.path()).expect("copied once more");
        assert_eq!(listing(to.path()), listing(from.path()));
    }

    #[test]
    fn sockets_are_left_out() {
        let from = var();
        let socket = from.path().join("adm/socket");
        let _listener = UnixListener::bind(&socket).expect("bound");
        let to = tempfile::tempdir().expect("a folder");
        assert_eq!(tree(from.path(), to.path()).expect("copied"), [socket]);
        assert!(!to.path().join("adm/socket").exists());
    }
}
