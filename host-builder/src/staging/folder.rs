//! The folder that results are written to.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};

use super::file::{StagedFile, refuse_existing, scratch};
use super::{interrupt, publish};
use crate::report::Hint;

/// How often a folder that another build removes is made again. Once is the rule; the limit ends a fight with a
/// program that removes it for ever.
const ATTEMPTS: u32 = 16;

const CHOOSE_ANOTHER: &str = "choose a folder that you may write to with --output";

/// A folder that results are written to. When no result came, the folders that were made for it go again.
///
/// Another build may have made the folder, and removes it when it fails; then this one makes it again.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    made: Mutex<Vec<PathBuf>>,
}

impl OutputFolder {
    /// Opens the folder, making it and its parents when they are missing, and proves that files can be written there.
    ///
    /// # Errors
    /// The path is no folder, or nothing can be written in it.
    pub fn open(path: &Path) -> Result<OutputFolder> {
        let folder = OutputFolder { path: without_detours(path), made: Mutex::default() };
        folder.scratch().map(drop)?;
        Ok(folder)
    }

    /// Where the folder is: the path it was opened with, less what leads through folders that do not exist.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A nameless temporary file in this folder for work that is never published.
    ///
    /// # Errors
    /// Nothing can be written in the folder.
    pub fn scratch(&self) -> Result<File> {
        self.write(|| scratch(&self.path))
    }

    /// Bytes that an ordinary user may still write to the file system of this folder.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn free_bytes(&self) -> Result<u64> {
        self.make()?;
        let space = rustix::fs::statvfs(&self.path)
            .with_context(|| format!("cannot ask for the free space of {}", self.path.display()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Starts a result that will be called `name` when it is published.
    ///
    /// # Errors
    /// The name is taken and `replace` is false, so that no work is done in vain, or nothing can be written here.
    pub fn stage(&self, name: impl AsRef<Path>, replace: bool) -> Result<StagedFile> {
        let target = self.path.join(name);
        refuse_existing(&target, replace)?;
        self.write(|| StagedFile::open(&target))
    }

    /// Publishes finished files that belong together, the one that speaks for the others last; when one cannot be
    /// published, all is as it was before.
    ///
    /// # Errors
    /// A file of that name exists and `replace` is false, or the folder refuses.
    pub fn publish(&self, files: Vec<StagedFile>, replace: bool) -> Result<()> {
        publish::publish(&self.path, files, replace, || self.make())?;
        let made = std::mem::take(&mut *self.made());
        for folder in &made {
            interrupt::forget(folder);
        }
        publish::sync_parents(&made)
    }

    /// Does `work` in the folder, again when another build removed the folder under it.
    fn write<T>(&self, work: impl Fn() -> io::Result<T>) -> Result<T> {
        let mut attempt = 1;
        loop {
            self.make()?;
            match work() {
                Err(error) if error.kind() == ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
                outcome => {
                    return outcome
                        .with_context(|| format!("cannot write in the output folder {}", self.path.display()))
                        .hint(CHOOSE_ANOTHER);
                }
            }
        }
    }

    /// Makes what is missing of the folder and its parents.
    fn make(&self) -> Result<()> {
        let cannot = || format!("cannot make the output folder {}", self.path.display());
        let _held = interrupt::defer();
        for _ in 0..ATTEMPTS {
            let ancestors = self.path.ancestors().filter(|path| !path.as_os_str().is_empty());
            let missing: Vec<&Path> = ancestors.take_while(|path| fs::metadata(path).is_err()).collect();
            let mut result = Ok(());
            for &folder in missing.iter().rev() {
                result = fs::create_dir(folder);
                match &result {
                    Ok(()) => {
                        interrupt::remember_folder(folder);
                        self.made().push(folder.to_owned());
                    }
                    // Another build made it at the same time.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {
                        result = Ok(());
                    }
                    Err(_) => break,
                }
            }
            match result {
                Ok(()) if self.path.is_dir() => return Ok(()),
                Ok(()) if self.path.exists() => {
                    return Err(anyhow!("{} is a file: the output needs a folder", self.path.display()))
                        .hint(CHOOSE_ANOTHER);
                }
                // A parent that was there a moment ago is not any more: another build took its folders back.
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(in_the_way(&missing, error)).with_context(cannot).hint(CHOOSE_ANOTHER);
                }
            }
        }
        Err(anyhow!("it does not stay where it is made")).with_context(cannot).hint(CHOOSE_ANOTHER)
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        for folder in self.made().drain(..).rev() {
            interrupt::remove_unused(&folder);
            interrupt::forget(&folder);
        }
    }
}

/// What keeps folders from being made, in words: `missing` are those that are not there, the innermost first.
fn in_the_way(missing: &[&Path], error: io::Error) -> anyhow::Error {
    for path in missing.iter().rev() {
        if let Ok(to) = fs::read_link(path) {
            let (path, to) = (path.display(), to.display());
            return anyhow!("{path} is a link to {to}, which does not exist");
        }
    }
    let parent = missing.last().and_then(|path| path.parent());
    match parent {
        Some(parent) if error.kind() == ErrorKind::NotADirectory => {
            anyhow!("{} is a file", parent.display())
        }
        _ => error.into(),
    }
}

/// The path without `x/..` where `x` does not exist: nobody has to make a folder only to leave it again. Where `x`
/// exists it may be a link, and `..` is left to the system.
fn without_detours(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for component in path.components() {
        let leaves_nothing = component == Component::ParentDir
            && matches!(short.components().next_back(), Some(Component::Normal(_)))
            && fs::symlink_metadata(&short).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        if leaves_nothing {
            short.pop();
        } else {
            short.push(component);
        }
    }
    if short.as_os_str().is_empty() { PathBuf::from(".") } else { short }
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::names;
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_appear_when_published_and_not_before() {
        let home = tempfile::tempdir().unwrap();
        let folder = OutputFolder::open(&home.path().join("a/b")).unwrap();
        let mut staged = folder.stage("result", false).unwrap();
        staged.file_mut().write_all(b"whole").unwrap();
        assert_eq!(names(folder.path()), [""; 0]);
        folder.publish(vec![staged], false).unwrap();
        drop(folder);
        assert_eq!(fs::read(home.path().join("a/b/result")).unwrap(), b"whole");
    }

    #[test]
    fn a_folder_made_for_nothing_goes_again() {
        let home = tempfile::tempdir().unwrap();
        let folder = OutputFolder::open(&home.path().join("a/b")).unwrap();
        let staged = folder.stage("result", false).unwrap();
        drop(staged);
        drop(folder);
        assert_eq!(names(home.path()), [""; 0]);
    }

    /// The first build makes the folder and fails; the second notices at each thing that it does there.
    #[test]
    fn a_folder_that_another_build_removes_is_made_again() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        let first = OutputFolder::open(&path).unwrap();
        let second = OutputFolder::open(&path).unwrap();
        drop(first);
        assert_eq!(names(home.path()), [""; 0]);
        second.scratch().unwrap();
        fs::remove_dir(&path).unwrap();
        second.free_bytes().unwrap();
        fs::remove_dir(&path).unwrap();
        let mut staged = second.stage("result", false).unwrap();
        staged.file_mut().write_all(b"whole").unwrap();
        fs::remove_dir_all(home.path().join("a")).unwrap();
        second.publish(vec![staged], false).unwrap();
        drop(second);
        assert_eq!(fs::read(path.join("result")).unwrap(), b"whole");

        // And what was made again for nothing goes again, too.
        let other = home.path().join("c");
        let first = OutputFolder::open(&other).unwrap();
        let second = OutputFolder::open(&other).unwrap();
        drop(first);
        second.scratch().unwrap();
        drop(second);
        assert_eq!(names(home.path()), ["a"]);
    }

    #[test]
    fn detours_through_missing_folders_are_left_out() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        fs::create_dir_all(at("real/inner")).unwrap();
        symlink("real/inner", at("link")).unwrap();
        assert_eq!(without_detours(&at("a/../b")), at("b"));
        assert_eq!(without_detours(&at("a/b/../../c/d/..")), at("c"));
        assert_eq!(without_detours(&at("real/../b")), at("real/../b"));
        // The system's answer here is real/b, not b.
        assert_eq!(without_detours(&at("link/../b")), at("link/../b"));
        assert_eq!(without_detours(Path::new("nowhere/..")), Path::new("."));
        assert_eq!(without_detours(Path::new("../x")), Path::new("../x"));
        assert_eq!(without_detours(Path::new("")), Path::new("."));
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        let refusal = |path: &str| format!("{:#}", OutputFolder::open(&at(path)).unwrap_err());
        fs::write(at("file"), "").unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        assert!(
            refusal("file").ends_with("/file is a file: the output needs a folder"),
            "{}",
            refusal("file")
        );
        assert!(refusal("file/below").ends_with("/file is a file"), "{}", refusal("file/below"));
        for path in ["dangling", "dangling/below"] {
            let said = refusal(path);
            assert!(said.ends_with("/dangling is a link to nowhere, which does not exist"), "{said}");
        }
        assert_eq!(names(home.path()), ["dangling", "file"]);
    }
}
