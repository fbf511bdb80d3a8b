//! Power loss: what programs have changed in certain folders and not brought to disk is lost.
//!
//! [`begin`] makes a log for a machine; with [`crate::Settings::power`] the shim records in it how each change to a name, a
//! file's contents or its attributes is undone, and what was synchronised. After a kill, [`cut`] does to the folders what a
//! power failure at that moment may have done.
//!
//! Each folder is a file system, of one of two [`Kind`]s. A simulated command that makes a file system durable says so by
//! [`checkpoint`] or [`unmounted`]: in any language, by a line at the end of the log.
//!
//! # The log
//!
//! Lines, some with bytes after them; the numbers at their end say how many, and a line feed follows the bytes. FOLDER is the
//! number of a folder, from 0. ID is a file's number and its time of birth, in hexadecimal with a point between.
//!
//! ```text
//! root HOSTPATH                                          the folder that programs see as /
//! folder KIND PATH                                       pcfs or zfs, and the path as programs see it
//! entry FOLDER DIRECTORY OLD NEW LENGTH                  + name; OLD and NEW are IDs or -
//! moved FOLDER ID                                        the next two or three records are one rename
//! rmdir FOLDER ID MODE UID GID                           the directory is gone
//! data FOLDER ID OFFSET OLDSIZE NEWSIZE LENGTH           + the bytes that were there
//! mode FOLDER ID MODE UID GID                            the attributes that it had
//! sync FOLDER ID                                         fsync of a file or directory
//! sync-all                                               sync
//! durable zfs | durable PATH                             all folders of ZFS, or that folder
//! ```
//!
//! Beside the log, in the folder `LOG.kept`, removed files lie under their IDs.
//!
//! Folders may be bind mounts, between which the host moves no files. Whoever mounts them then keeps the file `LOG.mounts`:
//! a line for each mount, in the order in which they were made, with the path as programs see it, a tab, and the host's path
//! of the folder that is shown there, on the mount that also has the root folder.

mod apply;
mod log;
mod pending;

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use log::Log;

/// How a file system behaves when power fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// FAT: names, contents and sizes reach the disk in any order. `fsync` of a file brings its contents and attributes to
    /// disk, and `fsync` of a directory its names.
    Pcfs,
    /// ZFS: changes reach the disk in order. `fsync` of anything brings all changes to names made so far, and the contents
    /// and attributes of that file, by the intent log; a file that was renamed has its contents in there
    /// (usr/src/uts/common/fs/zfs/zil.c, `zil_itx_assign` and `zil_commit`).
    Zfs,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Pcfs => "pcfs",
            Self::Zfs => "zfs",
        }
    }
}

/// Which of the things that a power failure may do happens to changes that were not synchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// All of them reached the disk.
    Keep,
    /// None did.
    Drop,
    /// FAT: names did, contents did not: a file ends where its unsynchronised part begins. ZFS: as [`Self::Drop`].
    Empty,
    /// FAT: names did, and half of the contents. ZFS: the first half of the changes did.
    Half,
    /// FAT: all did but the last rename, which stopped between removing its target and entering the new name. ZFS: as
    /// [`Self::Keep`].
    Torn,
}

impl Policy {
    /// All policies.
    pub const ALL: [Self; 5] = [Self::Keep, Self::Drop, Self::Empty, Self::Half, Self::Torn];
}

/// Starts a log for a machine whose programs see the folder `root` as `/`: the empty file `log`, and the folder `LOG.kept`,
/// which must be on one file system with `root`. Without a root folder of its own, `root` is `/`.
///
/// The folders are paths in the root, with no symbolic links in them. Where one lies in another, the longer path counts.
///
/// # Errors
/// When a file cannot be made, or a path is not absolute or has a line feed.
pub fn begin(log: &Path, root: &Path, folders: &[(Kind, &str)]) -> Result<()> {
    let root = root.canonicalize().with_context(|| format!("{}", root.display()))?;
    let root = root.to_str().context("the root folder's path is no text")?;
    ensure!(!root.contains('\n'), "{root:?}: a line feed");
    let mut text = format!("root {root}\n");
    for (kind, path) in folders {
        ensure!(path.starts_with('/') && !path.contains('\n'), "{path:?} is no path for a log");
        let path = if *path == "/" { path } else { path.trim_end_matches('/') };
        writeln!(text, "folder {} {path}", kind.word()).expect("a string takes all");
    }
    fs::create_dir_all(kept(log)).with_context(|| format!("{}", kept(log).display()))?;
    fs::write(log, text).with_context(|| format!("{}: cannot make the log", log.display()))
}

/// Cuts the power, after all processes of the machine are gone: changes the folders by `policy`, and empties the log for the
/// next boot. Gives how many changes had not been synchronised.
///
/// # Errors
/// When the log is damaged or a file cannot be changed.
pub fn cut(log: &Path, policy: Policy) -> Result<usize> {
    let Log { root, folders, header, records } = Log::read(log)?;
    let mounts = read_mounts(log)?;
    let (plan, count) = pending::plan(&folders, &records, policy);
    let folders: Vec<PathBuf> = folders.iter().flat_map(|(_, path)| places(&root, path, &mounts)).collect();
    apply::apply(&plan, &folders, &kept(log)).context("cutting the power")?;
    for file in fs::read_dir(kept(log))? {
        let path = file?.path();
        let removed = if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("{}", path.display()))?;
    }
    fs::write(log, header).with_context(|| format!("{}", log.display()))?;
    Ok(count)
}

/// Says that everything so far is on disk in all folders of ZFS: what a command does that changes a pool.
///
/// # Errors
/// When the log cannot be written.
pub fn checkpoint(log: &Path) -> Result<()> {
    durable(log, "zfs")
}

/// Says that everything so far is on disk in one folder, by its path of [`begin`]: what unmounting does.
///
/// # Errors
/// When the log cannot be written.
pub fn unmounted(log: &Path, folder: &str) -> Result<()> {
    durable(log, folder)
}

fn durable(log: &Path, what: &str) -> Result<()> {
    let file = OpenOptions::new().append(true).open(log);
    file.and_then(|mut file| file.write_all(format!("durable {what}\n").as_bytes()))
        .with_context(|| format!("{}: cannot write to the log", log.display()))
}

/// Where removed files are kept.
fn kept(log: &Path) -> PathBuf {
    beside(log, ".kept")
}

fn beside(log: &Path, suffix: &str) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The lines of `LOG.mounts`; none without the file.
fn read_mounts(log: &Path) -> Result<Vec<(String, PathBuf)>> {
    let text = match fs::read_to_string(beside(log, ".mounts")) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.with_context(|| format!("{}: cannot read its mounts", log.display()))?,
    };
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    Ok(lines.map(|(dir, source)| (dir.to_owned(), PathBuf::from(source))).collect())
}

/// Where the files of a folder are, and those of what is mounted below it: what is seen by several paths is best reached by the
/// last one.
fn places(root: &Path, folder: &str, mounts: &[(String, PathBuf)]) -> Vec<PathBuf> {
    let holds = |folder: &str, path: &str| Path::new(path).starts_with(folder);
    let shown = mounts.iter().rev().find(|(dir, _)| holds(dir, folder));
    let own = shown.map_or_else(
        || below(root, folder),
        |(dir, source)| below(source, folder.strip_prefix(dir.as_str()).unwrap_or_default()),
    );
    let inner = mounts.iter().filter(|(dir, _)| dir != folder && holds(folder, dir));
    [own].into_iter().chain(inner.map(|(_, source)| source.clone())).collect()
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
