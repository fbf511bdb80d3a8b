//! Files in the making.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::{interrupt, publish};
use crate::report::Hint;

/// Refuses to write over a file that exists.
///
/// # Errors
/// `path` exists and `replace` is false.
pub fn refuse_existing(path: &Path, replace: bool) -> Result<()> {
    if !replace && path.symlink_metadata().is_ok() {
        return Err(anyhow!("{} exists already", path.display())).hint("add --force to replace it");
    }
    Ok(())
}

/// A file in the making.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    /// The name it has while it is not finished; `None` for a file without a name.
    pub(super) temporary: Option<PathBuf>,
    target: PathBuf,
}

impl StagedFile {
    /// Starts a file that will be called `target`, in the folder where that is.
    ///
    /// # Errors
    /// `target` names no file, or nothing can be written in its folder.
    pub fn create(target: &Path) -> Result<StagedFile> {
        if target.file_name().is_none() {
            return Err(anyhow!("{} is no name for a file", target.display()))
                .hint("name a file that can be made");
        }
        StagedFile::open(target)
            .with_context(|| format!("cannot write in the folder {}", folder_of(target).display()))
            .hint("choose a folder that you may write to")
    }

    pub(super) fn open(target: &Path) -> io::Result<StagedFile> {
        let folder = folder_of(target);
        match nameless(folder) {
            Ok(file) if can_be_named(&file, folder) => {
                Ok(StagedFile { file, temporary: None, target: target.to_owned() })
            }
            Ok(_) => StagedFile::open_named(target),
            Err(error) if nameless_files_are_impossible(error) => StagedFile::open_named(target),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn open_named(target: &Path) -> io::Result<StagedFile> {
        let _held = interrupt::defer();
        let (file, path) = with_name(folder_of(target))?.keep()?;
        interrupt::remember_file(&path);
        Ok(StagedFile { file, temporary: Some(path), target: target.to_owned() })
    }

    /// The open file, for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The open file, for interfaces that want it exclusively.
    pub fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// The name that the file will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Gives the finished file its name.
    ///
    /// # Errors
    /// The name is taken and `replace` is false, or the folder refuses.
    pub fn publish(self, replace: bool) -> Result<()> {
        let folder = folder_of(&self.target).to_owned();
        publish::publish(&folder, vec![self], replace, || Ok(()))
    }

    /// Gives a nameless file the name `name` in `folder`, which nothing may have yet.
    pub(super) fn link(&self, folder: &File, name: &Path) -> rustix::io::Result<()> {
        rustix::fs::linkat(CWD, through_proc(&self.file), folder, name, AtFlags::SYMLINK_FOLLOW)
    }

    /// Takes note that the file has its own name now.
    pub(super) fn named(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            interrupt::forget(&temporary);
        }
    }

    /// Makes the content last, readable for everybody whatever the umask.
    pub(super) fn settle(&self) -> io::Result<()> {
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(0o644))?;
        self.file.sync_all()
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Some(path) = self.temporary.take() {
            let _ = fs::remove_file(&path);
            interrupt::forget(&path);
        }
    }
}

/// The folder that `target` is in.
pub(super) fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file in `folder` that nobody else sees and that is gone when it is closed.
pub(super) fn scratch(folder: &Path) -> io::Result<File> {
    match nameless(folder) {
        Err(error) if nameless_files_are_impossible(error) => {
            // It has a name for a moment.
            let _held = interrupt::defer();
            Ok(with_name(folder)?.into_file())
        }
        made => Ok(made?),
    }
}

fn nameless(folder: &Path) -> rustix::io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::from_raw_mode(0o644)).map(File::from)
}

fn with_name(folder: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".kiln-").tempfile_in(folder)
}

/// The name under which an ordinary process reaches a file that has none (`AT_EMPTY_PATH` needs a privilege).
fn through_proc(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Whether a nameless file could get a name in `folder`. To give it that of the folder itself must fail, and because of
/// that alone: without `/proc` the file is not even found.
fn can_be_named(file: &File, folder: &Path) -> bool {
    let to_itself = folder.join(".");
    rustix::fs::linkat(CWD, through_proc(file), CWD, &to_itself, AtFlags::SYMLINK_FOLLOW) == Err(Errno::EXIST)
}

/// Whether a file system, or a kernel too old, refused `O_TMPFILE` with this error (source: open(2)).
fn nameless_files_are_impossible(error: Errno) -> bool {
    [Errno::OPNOTSUPP, Errno::ISDIR, Errno::NOENT, Errno::INVAL].contains(&error)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What is in a folder, sorted.
    pub fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_unfinished_file_with_a_name_loses_it() {
        let home = tempfile::tempdir().unwrap();
        let staged = StagedFile::open_named(&home.path().join("result")).unwrap();
        let [name] = names(home.path()).try_into().unwrap();
        assert!(name.starts_with(".kiln-"), "{name}");
        drop(staged);
        assert_eq!(names(home.path()), [""; 0]);
    }

    #[test]
    fn paths_that_name_no_file() {
        for path in ["", "/", "..", "x/.."] {
            assert!(StagedFile::create(Path::new(path)).is_err(), "{path}");
        }
    }
}
