//! Finished files appear under their names at once or not at all.
//!
//! Everything that a command writes goes to files without a name first (`O_TMPFILE`), in the folder where the result
//! will be. A killed build leaves nothing behind then, because the kernel drops a file that has no name when its last
//! descriptor closes. File systems that cannot do that get a named temporary file instead, which is removed by its
//! owner's drop and by the interrupt handler.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::report::Hint;

/// Named temporary files and created folders that the interrupt handler still has to remove.
static LEFTOVERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A folder that results are written to; when this value made it and no result came, it goes again.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    created: Vec<PathBuf>,
}

impl OutputFolder {
    /// Opens the folder, making it and its parents when they are missing, and proves that files can be written there.
    ///
    /// # Errors
    /// The path is no folder, or nothing can be written in it.
    pub fn open(path: &Path) -> Result<OutputFolder> {
        let mut created = Vec::new();
        let mut missing: Vec<&Path> =
            path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
        while let Some(folder) = missing.pop() {
            fs::create_dir(folder)
                .with_context(|| format!("cannot make the output folder {}", folder.display()))
                .hint("choose a folder that you may write to with --output")?;
            created.push(folder.to_owned());
            remember(folder);
        }
        let folder = OutputFolder { path: path.to_owned(), created };
        if !fs::metadata(path)
            .with_context(|| format!("cannot use the output folder {}", path.display()))?
            .is_dir()
        {
            bail!("{} is a file: the output needs a folder", path.display());
        }
        folder.scratch().map(drop)?;
        Ok(folder)
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A nameless temporary file in this folder for work that is never published.
    pub fn scratch(&self) -> Result<File> {
        tempfile::tempfile_in(&self.path)
            .with_context(|| format!("cannot write in the output folder {}", self.path.display()))
            .hint("choose a folder that you may write to with --output")
    }

    /// Bytes that an ordinary user may still write to the file system of this folder.
    pub fn free_bytes(&self) -> Result<u64> {
        let space = rustix::fs::statvfs(&self.path)
            .with_context(|| format!("cannot ask for the free space of {}", self.path.display()))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Starts a result that will be called `name` when it is published.
    pub fn stage(&self, name: &str) -> Result<StagedFile> {
        StagedFile::create(&self.path.join(name))
    }

    /// Publishes several finished files; when one cannot be, none of them stays.
    ///
    /// # Errors
    /// A file of that name exists and `replace` is false, or the folder refuses.
    pub fn publish(&mut self, files: Vec<StagedFile>, replace: bool) -> Result<()> {
        for file in &files {
            // Known before the first name is given, so that no old file is replaced for nothing.
            if file.target.is_dir() {
                bail!("{} is a folder: a result cannot replace it", file.target.display());
            }
        }
        let mut done: Vec<PathBuf> = Vec::new();
        for file in files {
            let target = file.target.clone();
            if let Err(error) = file.publish(replace) {
                // A file that took the place of an old one stays: without it the user would have neither.
                for path in done.iter().filter(|_| !replace) {
                    // What cannot be removed now was named in full, so the user sees a whole file, never a half one.
                    let _ = fs::remove_file(path);
                    forget(path);
                }
                return Err(error);
            }
            if !replace {
                // Until all have their names, an interruption takes back those that have.
                remember(&target);
            }
            done.push(target);
        }
        for path in &done {
            forget(path);
        }
        self.created.drain(..).for_each(|folder| forget(&folder));
        Ok(())
    }
}

impl Drop for OutputFolder {
    fn drop(&mut self) {
        // Only empty folders go: remove_dir refuses when anything, ours or not, is in them.
        for folder in self.created.iter().rev() {
            let _ = fs::remove_dir(folder);
            forget(folder);
        }
    }
}

/// Refuses, before any work is done, to write over a file that exists.
///
/// # Errors
/// `path` exists and `replace` is false.
pub fn refuse_existing(path: &Path, replace: bool) -> Result<()> {
    if !replace && path.symlink_metadata().is_ok() {
        return Err(anyhow::anyhow!("{} exists already", path.display())).hint("add --force to replace it");
    }
    Ok(())
}

/// A file in the making.
#[derive(Debug)]
pub struct StagedFile {
    file: File,
    /// The name it has while it is not finished; `None` for a file without a name.
    temporary: Option<PathBuf>,
    target: PathBuf,
}

impl StagedFile {
    /// Starts a file that will be called `target`, in the folder where that is.
    pub fn create(target: &Path) -> Result<StagedFile> {
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mode = Mode::from_raw_mode(0o644);
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let staged = match rustix::fs::open(folder, flags, mode) {
            Ok(descriptor) => {
                StagedFile { file: File::from(descriptor), temporary: None, target: target.to_owned() }
            }
            Err(error) if nameless_files_are_impossible(error) => Self::create_named(folder, target)?,
            Err(error) => {
                return Err(io::Error::from(error))
                    .with_context(|| format!("cannot write in the folder {}", folder.display()))
                    .hint("choose a folder that you may write to");
            }
        };
        Ok(staged)
    }

    fn create_named(folder: &Path, target: &Path) -> Result<StagedFile> {
        let (file, path) = tempfile::Builder::new()
            .prefix(".kiln-")
            .tempfile_in(folder)
            .with_context(|| format!("cannot write in the folder {}", folder.display()))?
            .keep()
            .context("cannot keep a temporary file")?;
        remember(&path);
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
    pub fn publish(mut self, replace: bool) -> Result<()> {
        let target = self.target.clone();
        let cannot = || format!("cannot give {} its name", target.display());
        self.file.sync_all().with_context(cannot)?;
        // Modes never depend on the umask: results are plain files that everybody may read.
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(0o644)).with_context(cannot)?;
        refuse_existing(&target, replace)?;
        if self.temporary.is_none() {
            let link = |to: &Path| {
                let from = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, from.as_str(), CWD, to, AtFlags::SYMLINK_FOLLOW)
            };
            if !replace || target.symlink_metadata().is_err() {
                return link(&target).map_err(io::Error::from).with_context(cannot);
            }
            // A link never replaces; give it a passing name, and let the rename below replace at once.
            let passing = target.with_file_name(format!(".kiln-{}.new", std::process::id()));
            link(&passing).map_err(io::Error::from).with_context(cannot)?;
            remember(&passing);
            self.temporary = Some(passing);
        }
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &target).with_context(cannot)?;
            forget(temporary);
            self.temporary = None;
        }
        Ok(())
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        if let Some(path) = self.temporary.take() {
            let _ = fs::remove_file(&path);
            forget(&path);
        }
    }
}

fn nameless_files_are_impossible(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    [Errno::OPNOTSUPP, Errno::ISDIR, Errno::NOENT, Errno::INVAL].contains(&error)
}

fn remember(path: &Path) {
    if let Ok(mut leftovers) = LEFTOVERS.lock() {
        leftovers.push(path.to_owned());
    }
}

fn forget(path: &Path) {
    if let Ok(mut leftovers) = LEFTOVERS.lock() {
        leftovers.retain(|known| known != path);
    }
}

/// Makes SIGINT, SIGTERM and SIGHUP remove what an unfinished command has named so far, say so, and end the program
/// with the customary status (128 + the signal's number).
///
/// # Errors
/// The system refuses to install the handler.
pub fn clean_up_when_interrupted() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .context("cannot install the interrupt handler")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            if let Ok(leftovers) = LEFTOVERS.lock() {
                for path in leftovers.iter().rev() {
                    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
                }
            }
            eprintln!("kiln: interrupted; nothing unfinished was left behind");
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_appear_when_published_and_not_before() {
        let home = tempfile::tempdir().unwrap();
        let mut folder = OutputFolder::open(&home.path().join("a/b")).unwrap();
        let mut staged = folder.stage("result").unwrap();
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
        let staged = folder.stage("result").unwrap();
        drop(staged);
        drop(folder);
        assert_eq!(names(home.path()), [""; 0]);
    }

    #[test]
    fn existing_files_are_replaced_only_when_told() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("result"), "old").unwrap();
        let mut folder = OutputFolder::open(home.path()).unwrap();
        let first = folder.stage("first").unwrap();
        let second = folder.stage("result").unwrap();
        folder.publish(vec![first, second], false).unwrap_err();
        assert_eq!(names(home.path()), ["result"]);

        for named in [false, true] {
            let target = home.path().join("result");
            let mut staged = if named {
                StagedFile::create_named(home.path(), &target).unwrap()
            } else {
                StagedFile::create(&target).unwrap()
            };
            staged.file_mut().write_all(format!("new {named}").as_bytes()).unwrap();
            folder.publish(vec![staged], true).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), format!("new {named}"));
            assert_eq!(names(home.path()), ["result"]);
        }
    }
}
