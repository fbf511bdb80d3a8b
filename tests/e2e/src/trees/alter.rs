//! Random changes to a folder, made by the system that has it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{
    FileExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown, symlink,
};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, XattrFlags};
use rustix::io::Errno;

use super::dice::Dice;

/// How many changes are made to what is picked at random.
const CHANGES: usize = 100;
/// Of a folder with more names than this only some are picked.
const FEW: usize = 40;
/// Names that are added to the folder with the most, and about how many are removed from it.
const NAMES: usize = 300;

/// Changes much of what is below `root`, the same each time for the same folder and seed.
///
/// # Errors
/// What the system says against a change, except for what it does not have at all.
pub fn alter(root: &Path, seed: u64) -> io::Result<()> {
    let mut dice = Dice::new(seed);
    let mut found = Found { paths: Vec::new(), busiest: (0, root.to_owned()) };
    found.collect(root)?;
    crowd(&found.busiest.1, &mut dice)?;
    let mut made = 0;
    for number in 0..CHANGES {
        let path = dice.pick(&found.paths).clone();
        // An earlier change may have taken it away.
        if let Ok(status) = fs::symlink_metadata(&path) {
            change(&path, &status, number, &mut dice)?;
            made += 1;
        }
    }
    if made < CHANGES / 4 { Err(io::Error::other("there is hardly anything to change")) } else { Ok(()) }
}

struct Found {
    paths: Vec<PathBuf>,
    /// The folder with the most names.
    busiest: (usize, PathBuf),
}

impl Found {
    fn collect(&mut self, folder: &Path) -> io::Result<()> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort();
        if names.len() > self.busiest.0 {
            self.busiest = (names.len(), folder.to_owned());
        }
        let step = names.len().div_ceil(FEW).max(1);
        for path in names.into_iter().step_by(step) {
            if fs::symlink_metadata(&path)?.is_dir() {
                self.collect(&path)?;
            }
            self.paths.push(path);
        }
        Ok(())
    }
}

/// Adds names to a folder, and removes others.
fn crowd(folder: &Path, dice: &mut Dice) -> io::Result<()> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    for _ in 0..NAMES.min(names.len() / 2) {
        let path = dice.pick(&names);
        match fs::symlink_metadata(path) {
            Ok(status) if !status.is_dir() => fs::remove_file(path)?,
            _ => {}
        }
    }
    for number in 0..NAMES {
        fs::write(folder.join(format!("crowd {number}")), number.to_string())?;
    }
    Ok(())
}

fn change(path: &Path, status: &fs::Metadata, number: usize, dice: &mut Dice) -> io::Result<()> {
    let beside = |name: &str| path.with_file_name(format!("{name} {number}"));
    match dice.below(8) {
        0 => fs::rename(path, beside("renamed")),
        1 => lchown(path, Some(dice.below(1 << 31) as u32), Some(dice.below(70_000) as u32)),
        2 if !status.is_symlink() => {
            fs::set_permissions(path, Permissions::from_mode(dice.below(0o10000) as u32))
        }
        3 => {
            let kind = status.file_type();
            let name = if kind.is_dir() || kind.is_file() { "user" } else { "trusted" };
            let length = *dice.pick(&[0, 1, 100, 3000]);
            let value = dice.bytes(length);
            let done = rustix::fs::lsetxattr(path, format!("{name}.altered"), &value, XattrFlags::empty());
            unless_missing(done)
        }
        4 if status.is_dir() => {
            let inner = beside("folder");
            fs::create_dir(&inner)?;
            symlink("nowhere ".repeat(dice.below(60) as usize + 1), inner.join("link"))?;
            fs::write(inner.join("file"), dice.bytes(1000))
        }
        4 => fs::hard_link(path, beside("linked")),
        5 if status.is_dir() => match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other,
        },
        5 if dice.below(2) == 0 => fs::remove_file(path),
        _ if status.is_file() => contents(path, status.size(), dice),
        _ if status.is_dir() => {
            let length = dice.below(300_000) as usize;
            fs::write(path.join(format!("new {number}")), dice.bytes(length))
        }
        _ if status.file_type().is_fifo() => fs::remove_file(path),
        _ => Ok(()),
    }
}

fn contents(path: &Path, size: u64, dice: &mut Dice) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let somewhere = dice.below(size + 1);
    let length = dice.below(300_000);
    match dice.below(6) {
        0 => file.write_all_at(&dice.bytes(length as usize), size),
        1 => file.set_len(somewhere),
        2 => file.set_len(size + 2 * length),
        3 => file.set_len(0),
        4 => file.write_all_at(&dice.bytes(length as usize), somewhere),
        _ => punch(&file, somewhere, length + 1),
    }
}

/// Makes a hole.
fn punch(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    unless_missing(rustix::fs::fallocate(file, flags, offset, length))
}

/// ZFS of 2010 under FUSE has no such thing.
fn unless_missing(done: Result<(), Errno>) -> io::Result<()> {
    match done {
        Err(Errno::NOTSUP | Errno::NOSYS) => Ok(()),
        other => Ok(other?),
    }
}
