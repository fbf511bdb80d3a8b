//! Giving finished files their names.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, anyhow};
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::file::{StagedFile, refuse_existing};
use super::interrupt;

/// How often the folder is looked for again when it is removed between being found and being locked.
const ATTEMPTS: u32 = 16;

/// Publishes `files`, all in the folder `path`, the one that speaks for the others last. The steps and what each moment
/// leaves are described in the parent module. `make` makes the folder if it is not there (any more).
///
/// # Errors
/// A name is taken and `replace` is false, or the system refuses something; all is as it was before then.
pub fn publish(
    path: &Path,
    mut files: Vec<StagedFile>,
    replace: bool,
    make: impl Fn() -> Result<()>,
) -> Result<()> {
    // This takes longest, so an interruption may still come.
    for file in &files {
        file.settle().with_context(|| format!("cannot write {}", file.target().display()))?;
    }
    let folder = lock(path, make)?;
    let _held = interrupt::defer();
    let mut publication = Publication { folder: &folder, path, count: 0, undo: Vec::new() };
    match publication.run(&mut files, replace) {
        Ok(()) => {
            publication.remove_old();
            interrupt::finished(files.iter().map(|file| file.target().to_owned()));
            // The names are given and stay; only that they would survive a power cut is not sure.
            sync(&folder).with_context(|| format!("cannot write the folder {} to the disk", path.display()))
        }
        Err(error) => {
            publication.take_back();
            Err(error)
        }
    }
}

/// Makes folders that were made for results outlast a power cut.
///
/// # Errors
/// The system cannot write a folder's parent to the disk.
pub fn sync_parents(made: &[PathBuf]) -> Result<()> {
    for folder in made {
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        // A folder that may be searched but not read cannot be opened, and cannot be synchronised.
        if let Ok(opened) = File::open(parent) {
            sync(&opened)
                .with_context(|| format!("cannot write the folder {} to the disk", parent.display()))?;
        }
    }
    Ok(())
}

/// Opens and locks the folder, which is at `path` when this returns.
fn lock(path: &Path, make: impl Fn() -> Result<()>) -> Result<File> {
    let cannot = || format!("cannot lock the folder {}", path.display());
    for _ in 0..ATTEMPTS {
        make()?;
        let folder = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            opened => opened.with_context(cannot)?,
        };
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                tracing::warn!("another program holds the lock of {}: waiting for it", path.display());
                folder.lock().with_context(cannot)?;
            }
            // Some network file systems lock no folders. The names are still given in the safe order, but two builds
            // of the same names at the same time are then up to the user.
            Err(TryLockError::Error(error)) => tracing::debug!("{}: {error}", cannot()),
        }
        // Between opening and locking, another build may have removed the folder.
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        if fs::metadata(path).is_ok_and(|now| folder.metadata().is_ok_and(|then| id(now) == id(then))) {
            return Ok(folder);
        }
    }
    Err(anyhow!("it does not stay where it is made")).with_context(cannot)
}

/// Writes the entries of a folder to the disk.
fn sync(folder: &File) -> io::Result<()> {
    match folder.sync_all() {
        // What some file systems say that have nothing to write (source: fsync(2)).
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

/// How to undo one step.
enum Undo {
    /// The name was free before.
    Unname(PathBuf),
    /// The name was that of the file which is called `aside` now.
    Restore { aside: PathBuf, name: PathBuf },
}

struct Publication<'a> {
    /// The folder. All names are relative to it, so that it may be moved meanwhile.
    folder: &'a File,
    path: &'a Path,
    /// Passing names used so far.
    count: u32,
    undo: Vec<Undo>,
}

impl Publication<'_> {
    fn run(&mut self, files: &mut [StagedFile], replace: bool) -> Result<()> {
        for file in files.iter() {
            // Known before the first name is given, so that no old file is moved for nothing.
            refuse_existing(file.target(), replace)?;
            if file.target().is_dir() {
                return Err(anyhow!("{} is a folder: a result cannot replace it", file.target().display()));
            }
        }
        let Some((last, others)) = files.split_last_mut() else { return Ok(()) };
        let cannot = |file: &StagedFile| format!("cannot give {} its name", file.target().display());
        if !others.is_empty() && self.has(name_of(last)) {
            self.set_aside(name_of(last)).with_context(|| cannot(last))?;
            sync(self.folder).with_context(|| cannot(last))?;
        }
        for file in others.iter_mut() {
            self.place(file, replace).with_context(|| cannot(file))?;
        }
        if !others.is_empty() {
            sync(self.folder).with_context(|| cannot(last))?;
        }
        self.place_last(last, replace).with_context(|| cannot(last))
    }

    /// Gives a file its name in a way that can be undone.
    fn place(&mut self, file: &mut StagedFile, replace: bool) -> io::Result<()> {
        if !replace {
            return self.place_new(file);
        }
        let name = name_of(file).to_owned();
        let passing = self.passing_name_of(file)?;
        let swapped =
            rustix::fs::renameat_with(self.folder, &passing, self.folder, &name, RenameFlags::EXCHANGE);
        match swapped {
            Ok(()) => self.undo.push(Undo::Restore { aside: passing, name }),
            Err(error) if error == Errno::NOENT || cannot_rename_so(error) => {
                let taken = self.has(&name);
                if taken {
                    self.set_aside(&name)?;
                }
                rustix::fs::renameat(self.folder, &passing, self.folder, &name)?;
                if !taken {
                    self.undo.push(Undo::Unname(name));
                }
            }
            Err(error) => return Err(error.into()),
        }
        file.named();
        Ok(())
    }

    /// Gives the last file its name. Nothing can go wrong after it, so the old file need not be kept.
    fn place_last(&mut self, file: &mut StagedFile, replace: bool) -> io::Result<()> {
        if !replace {
            return self.place_new(file);
        }
        let passing = self.passing_name_of(file)?;
        rustix::fs::renameat(self.folder, &passing, self.folder, name_of(file))?;
        file.named();
        Ok(())
    }

    /// Gives a file a name that must be free.
    fn place_new(&mut self, file: &mut StagedFile) -> io::Result<()> {
        let name = name_of(file).to_owned();
        match temporary_name_of(file) {
            None => file.link(self.folder, &name)?,
            Some(from) => {
                let flags = RenameFlags::NOREPLACE;
                match rustix::fs::renameat_with(self.folder, from, self.folder, &name, flags) {
                    // The lock keeps other builds away, and the name was free a moment ago.
                    Err(error) if cannot_rename_so(error) => {
                        rustix::fs::renameat(self.folder, from, self.folder, &name)?;
                    }
                    done => done?,
                }
                file.named();
            }
        }
        self.undo.push(Undo::Unname(name));
        Ok(())
    }

    /// The name from which a file is moved to its own: a link never replaces anything, a renaming does.
    fn passing_name_of(&mut self, file: &mut StagedFile) -> io::Result<PathBuf> {
        if let Some(name) = temporary_name_of(file) {
            return Ok(name.to_owned());
        }
        let name = self.passing_name("new");
        file.link(self.folder, &name)?;
        file.temporary = Some(self.path.join(&name));
        Ok(name)
    }

    /// Moves an old file out of the way.
    fn set_aside(&mut self, name: &Path) -> io::Result<()> {
        let aside = self.passing_name("old");
        rustix::fs::renameat(self.folder, name, self.folder, &aside)?;
        self.undo.push(Undo::Restore { aside, name: name.to_owned() });
        Ok(())
    }

    /// A name that nothing in the folder has.
    fn passing_name(&mut self, kind: &str) -> PathBuf {
        loop {
            let name = PathBuf::from(format!(".kiln-{}-{}.{kind}", process::id(), self.count));
            self.count += 1;
            if !self.has(&name) {
                return name;
            }
        }
    }

    fn has(&self, name: &Path) -> bool {
        rustix::fs::statat(self.folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Removes the old files, after all names are given.
    fn remove_old(&mut self) {
        for step in self.undo.drain(..) {
            if let Undo::Restore { aside, .. } = step
                && let Err(error) = rustix::fs::unlinkat(self.folder, &aside, AtFlags::empty())
            {
                let path = self.path.join(aside);
                tracing::warn!("cannot remove the old file {}: {}", path.display(), io::Error::from(error));
            }
        }
    }

    /// Undoes all steps, the last one first.
    fn take_back(&mut self) {
        for step in self.undo.drain(..).rev() {
            let (name, undone) = match &step {
                Undo::Unname(name) => (name, rustix::fs::unlinkat(self.folder, name, AtFlags::empty())),
                Undo::Restore { aside, name } => {
                    (aside, rustix::fs::renameat(self.folder, aside, self.folder, name))
                }
            };
            if let Err(error) = undone {
                let path = self.path.join(name);
                tracing::warn!("{} stays where it is: {}", path.display(), io::Error::from(error));
            }
        }
        // The error that led here is the one to tell.
        let _ = sync(self.folder);
    }
}

/// The name that the file will have in its folder.
fn name_of(file: &StagedFile) -> &Path {
    Path::new(file.target().file_name().unwrap_or(OsStr::new("")))
}

/// The name that the file has in its folder while it is not finished.
fn temporary_name_of(file: &StagedFile) -> Option<&Path> {
    file.temporary.as_deref()?.file_name().map(Path::new)
}

/// Whether a file system, or a kernel too old, does not know the flags of a renaming (source: renameat2(2)).
fn cannot_rename_so(error: Errno) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].contains(&error)
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::names;
    use super::*;
    use std::io::Write as _;

    /// Whether a file has a name while it is not finished.
    type Named = bool;

    fn staged(home: &Path, name: &str, content: &str, named: Named) -> StagedFile {
        let target = home.join(name);
        let staged = if named { StagedFile::open_named(&target) } else { StagedFile::open(&target) };
        let mut staged = staged.unwrap();
        staged.file_mut().write_all(content.as_bytes()).unwrap();
        staged
    }

    fn pair(home: &Path, content: &str, named: Named) -> Vec<StagedFile> {
        ["image", "manifest"].map(|name| staged(home, name, content, named)).into()
    }

    fn publish_at(home: &Path, files: Vec<StagedFile>, replace: bool) -> Result<()> {
        publish(home, files, replace, || Ok(()))
    }

    /// All that is in the folder, with its content.
    fn tree(home: &Path) -> Vec<(String, String)> {
        names(home)
            .into_iter()
            .map(|name| (name.clone(), fs::read_to_string(home.join(name)).unwrap()))
            .collect()
    }

    fn both(content: &str) -> Vec<(String, String)> {
        ["image", "manifest"].map(|name| (name.to_owned(), content.to_owned())).into()
    }

    #[test]
    fn existing_files_are_replaced_only_when_told() {
        for named in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let home = home.path();
            publish_at(home, pair(home, "old", named), false).unwrap();
            assert_eq!(tree(home), both("old"));
            let error = publish_at(home, pair(home, "new", named), false).unwrap_err();
            assert!(format!("{error:#}").ends_with("/image exists already"), "{error:#}");
            assert_eq!(tree(home), both("old"));
            publish_at(home, pair(home, "new", named), true).unwrap();
            assert_eq!(tree(home), both("new"));
            publish_at(home, vec![staged(home, "image", "newer", named)], true).unwrap();
            assert_eq!(fs::read_to_string(home.join("image")).unwrap(), "newer");
            assert_eq!(names(home), ["image", "manifest"]);
        }
    }

    #[test]
    fn half_of_an_old_pair_is_replaced_too() {
        for (named, old) in [(false, "image"), (true, "image"), (false, "manifest"), (true, "manifest")] {
            let home = tempfile::tempdir().unwrap();
            let home = home.path();
            fs::write(home.join(old), "old").unwrap();
            publish_at(home, pair(home, "new", named), false).unwrap_err();
            assert_eq!(tree(home), [(old.to_owned(), "old".to_owned())]);
            publish_at(home, pair(home, "new", named), true).unwrap();
            assert_eq!(tree(home), both("new"));
        }
    }

    #[test]
    fn a_step_that_fails_takes_back_those_before_it() {
        for old in [vec![], vec!["image"], vec!["manifest"], vec!["image", "manifest"]] {
            let home = tempfile::tempdir().unwrap();
            let home = home.path();
            for name in &old {
                fs::write(home.join(name), "old").unwrap();
            }
            let before = tree(home);
            let files = pair(home, "new", true);
            // The manifest cannot be moved to its name: somebody tidied it away.
            fs::remove_file(files[1].temporary.as_ref().unwrap()).unwrap();
            let error = publish_at(home, files, !old.is_empty()).unwrap_err();
            let said = format!("{error:#}");
            assert!(said.contains("manifest its name: No such file"), "{said}");
            assert_eq!(tree(home), before);
        }
    }

    #[test]
    fn folders_and_links_in_the_way() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        fs::write(home.join("image"), "old").unwrap();
        fs::create_dir(home.join("manifest")).unwrap();
        let error = publish_at(home, pair(home, "new", false), true).unwrap_err();
        assert!(format!("{error:#}").contains("manifest is a folder"), "{error:#}");
        assert_eq!(fs::read_to_string(home.join("image")).unwrap(), "old");

        // A link is replaced itself; what it leads to stays.
        fs::remove_dir(home.join("manifest")).unwrap();
        fs::write(home.join("elsewhere"), "theirs").unwrap();
        std::os::unix::fs::symlink("elsewhere", home.join("manifest")).unwrap();
        publish_at(home, pair(home, "new", false), true).unwrap();
        assert!(home.join("manifest").symlink_metadata().unwrap().is_file());
        fs::remove_file(home.join("elsewhere")).unwrap();
        assert_eq!(tree(home), both("new"));
    }

    #[test]
    fn builds_at_the_same_time_end_with_one_pair() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        std::thread::scope(|scope| {
            for builder in 0..8 {
                scope.spawn(move || {
                    for round in 0..8 {
                        let files = pair(home, &format!("{builder} {round}"), builder % 2 == 0);
                        publish_at(home, files, true).unwrap();
                    }
                });
            }
        });
        let tree = tree(home);
        assert_eq!(tree.len(), 2, "{tree:?}");
        assert_eq!(tree[0].1, tree[1].1);
    }
}
