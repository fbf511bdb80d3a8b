//! Files that are there whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Mode and owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The permissions.
    pub mode: u32,
    /// User and group; none on file systems that keep none, such as FAT.
    pub ids: Option<(u32, u32)>,
}

impl Owner {
    /// Owned by root.
    pub fn root(mode: u32) -> Self {
        Self { mode, ids: Some((0, 0)) }
    }

    /// On a file system without owners and modes.
    pub fn none() -> Self {
        Self { mode: 0o644, ids: None }
    }
}

/// Reads a regular file of at most `longest` bytes.
///
/// # Errors
/// Those of reading; a longer file is one, too, and so is anything else of that name: a pipe would be waited for, and for
/// ever.
pub fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(longest.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {longest} bytes")));
    }
    Ok(bytes)
}

/// Gives a file these contents. Whenever the machine stops, afterwards there are the old contents or the new ones under its
/// name, and once this returns, the new ones.
///
/// A symbolic link of that name is replaced, not followed.
pub fn replace(path: &Path, contents: &[u8], owner: Owner) -> io::Result<()> {
    let temporary = beside(path)?;
    let written = write_new(&temporary, contents, owner).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // What is left of it would be in the way of nothing, and the next attempt replaces it.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder_of(path)
}

/// As [`replace`], but leaves the file alone when it has these contents, mode and owner. Tells whether it was written.
pub fn keep(path: &Path, contents: &[u8], owner: Owner) -> io::Result<bool> {
    if is(path, contents, owner)? {
        return Ok(false);
    }
    replace(path, contents, owner)?;
    Ok(true)
}

/// Whether the path is a regular file with these contents, mode and owner.
pub fn is(path: &Path, contents: &[u8], owner: Owner) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let right_owner =
        owner.ids.is_none_or(|ids| ids == (found.uid(), found.gid()) && found.mode() & 0o7777 == owner.mode);
    Ok(found.is_file()
        && right_owner
        && found.len() == contents.len() as u64
        && read(path, contents.len() as u64)? == contents)
}

fn write_new(path: &Path, contents: &[u8], owner: Owner) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nobody else can open it before it has its owner.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(contents)?;
    if let Some((user, group)) = owner.ids {
        fchown(&file, Some(user), Some(group))?;
        file.set_permissions(fs::Permissions::from_mode(owner.mode))?;
    }
    file.sync_all()
}

/// Makes the names in the folder of `path` durable.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(folder)
}

/// Makes the names in a folder durable. File systems that cannot do that for a folder alone (pcfs refuses with EINVAL) write
/// names in order with everything else, and there is nothing more to ask for.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// The name under which a file is written before it takes its place: the same each time, so that attempts that were cut
/// short do not pile up.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no name"));
    };
    let mut temporary = OsString::from(name);
    temporary.push(".new");
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn own(mode: u32) -> Owner {
        Owner { mode, ids: Some((rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())) }
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config");
        assert!(keep(&path, b"one", own(0o640)).expect("written"));
        assert!(!keep(&path, b"one", own(0o640)).expect("kept"));
        assert!(keep(&path, b"one", own(0o600)).expect("another mode"));
        assert!(keep(&path, b"two", own(0o600)).expect("other contents"));
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("target");
        fs::write(&target, "precious").expect("written");
        let path = folder.path().join("link");
        symlink(&target, &path).expect("linked");
        assert!(keep(&path, b"precious", own(0o600)).expect("written"));
        assert!(fs::symlink_metadata(&path).expect("there").is_file());
        replace(&path, b"new", own(0o600)).expect("written");
        assert_eq!(fs::read(&target).expect("read"), b"precious");
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("long");
        fs::write(&path, "12345").expect("written");
        assert_eq!(read(&path, 5).expect("read"), b"12345");
        assert_eq!(read(&path, 4).expect_err("too long").kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("started");
        assert!(made.success());
        for path in [&*path, folder.path()] {
            assert_eq!(read(path, 5).expect_err("no file").kind(), io::ErrorKind::InvalidInput);
        }
    }
}
