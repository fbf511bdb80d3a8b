//! Folders in the making, with what is in them.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::file::folder_of;
use super::interrupt;
use crate::report::Hint;

/// How often a folder is removed again into which something was put meanwhile.
const ATTEMPTS: u32 = 100;

/// A folder in the making. Until it is published nobody but its owner can enter it.
#[derive(Debug)]
pub struct StagedTree {
    /// The name it has while it is not finished; `None` once it has its own.
    temporary: Option<PathBuf>,
    target: PathBuf,
}

impl StagedTree {
    /// Starts a folder that will be called `target`.
    ///
    /// # Errors
    /// There is something of that name, or nothing can be made beside it.
    pub fn create(target: &Path) -> Result<StagedTree> {
        if target.file_name().is_none() {
            return Err(anyhow!("{} is no name for a folder", target.display()))
                .hint("name a folder that can be made");
        }
        refuse(target)?;
        let beside = folder_of(target);
        let _held = interrupt::defer();
        let made = tempfile::Builder::new().prefix(".kiln-").tempdir_in(beside);
        let path = made
            .with_context(|| format!("cannot make a folder in {}", beside.display()))
            .hint("choose a folder that exists and that you may write to")?
            .keep();
        interrupt::remember_tree(&path);
        Ok(StagedTree { temporary: Some(path), target: target.to_owned() })
    }

    /// Opens the folder, to put something into it.
    ///
    /// # Errors
    /// It was removed meanwhile.
    pub fn open(&self) -> Result<File> {
        let path = self.temporary.as_ref().unwrap_or(&self.target);
        File::open(path).with_context(|| format!("cannot open {}", path.display()))
    }

    /// Writes everything to the disk and gives the finished folder its name.
    ///
    /// # Errors
    /// Something has that name by now, or the folder above refuses.
    pub fn publish(mut self) -> Result<()> {
        rustix::fs::syncfs(self.open()?).context("cannot write the folder to the disk")?;
        let _held = interrupt::defer();
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let renamed =
            match rustix::fs::renameat_with(CWD, temporary, CWD, &self.target, RenameFlags::NOREPLACE) {
                // File systems that know no such flag (source: rename(2)).
                Err(Errno::INVAL | Errno::NOSYS) => {
                    refuse(&self.target)?;
                    fs::rename(temporary, &self.target).map_err(anyhow::Error::from)
                }
                Err(Errno::EXIST) => refuse(&self.target).and(Err(Errno::EXIST.into())),
                result => result.map_err(anyhow::Error::from),
            };
        renamed.with_context(|| format!("cannot give {} its name", self.target.display()))?;
        interrupt::forget(temporary);
        self.temporary = None;
        interrupt::finished([self.target.clone()]);
        super::publish::sync_parents(std::slice::from_ref(&self.target))
    }
}

impl Drop for StagedTree {
    fn drop(&mut self) {
        if let Some(path) = self.temporary.take() {
            // An interruption that is under way removes it and ends the program.
            let _held = interrupt::defer();
            let _ = remove(&path);
            interrupt::forget(&path);
        }
    }
}

/// Refuses to put a folder where something is.
fn refuse(target: &Path) -> Result<()> {
    if target.symlink_metadata().is_ok() {
        return Err(anyhow!("{} exists already", target.display()))
            .hint("name a folder that does not exist yet: what is in one is never replaced or added to");
    }
    Ok(())
}

/// Removes a folder with all that is in it, links not followed; folders that may not be written to as well, and what somebody puts
/// in meanwhile.
///
/// # Errors
/// Something refuses to be removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let mut attempt = 1;
    loop {
        let result = fs::remove_dir_all(path);
        match &result {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied && attempt < ATTEMPTS => open_up(path),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && attempt < ATTEMPTS => {}
            _ => return result,
        }
        attempt += 1;
    }
}

/// Lets the owner write to all folders of a tree. What fails is left to the next attempt to remove it.
fn open_up(folder: &Path) {
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        // The type of an entry is that of the name itself, so no link is followed.
        pending.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::names;
    use super::*;

    #[test]
    fn a_tree_appears_whole_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("tree");
        let staged = StagedTree::create(&target).unwrap();
        let [name] = names(home.path()).try_into().unwrap();
        assert!(name.starts_with(".kiln-"), "{name}");
        let locked = home.path().join(&name).join("a");
        fs::create_dir_all(locked.join("b")).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
        drop(staged);
        assert_eq!(names(home.path()), [""; 0]);

        let staged = StagedTree::create(&target).unwrap();
        let [name] = names(home.path()).try_into().unwrap();
        fs::write(home.path().join(&name).join("file"), "x").unwrap();
        staged.publish().unwrap();
        assert_eq!(names(home.path()), ["tree"]);
        assert_eq!(names(&target), ["file"]);
        assert!(StagedTree::create(&target).is_err());
    }

    #[test]
    fn what_came_meanwhile_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("tree");
        let staged = StagedTree::create(&target).unwrap();
        fs::create_dir(&target).unwrap();
        assert!(staged.publish().is_err());
        assert_eq!(names(home.path()), ["tree"]);
    }
}
