//! Changing the folders.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Mode, OFlags};

use super::log::{Attributes, Id, Name};
use super::pending::{Contents, Plan};

/// What is there, under the folders and among what is kept.
struct Found {
    /// A path of each thing: any of a file's.
    paths: BTreeMap<Id, PathBuf>,
    /// The directories whose names are in the plan, open, so that they may move.
    directories: BTreeMap<Id, File>,
}

pub fn apply(plan: &Plan, folders: &[PathBuf], kept: &Path) -> Result<()> {
    let mut found = Found { paths: BTreeMap::new(), directories: BTreeMap::new() };
    walk(kept, &mut found.paths)?;
    for folder in folders.iter().filter(|folder| folder.exists()) {
        found.paths.insert(Id::of(folder)?, folder.clone());
        walk(folder, &mut found.paths)?;
    }
    for (id, attributes) in
        plan.removed.iter().filter(|(id, _)| plan.names.values().flatten().any(|old| old == *id))
    {
        let again = kept.join(id.to_string());
        fs::create_dir(&again)?;
        set_attributes(&again, *attributes)?;
        found.paths.insert(*id, again);
    }
    for name in plan.names.keys() {
        if let (Some(path), Entry::Vacant(place)) =
            (found.paths.get(&name.directory), found.directories.entry(name.directory))
        {
            place.insert(open_directory(path)?);
        }
    }

    for (id, contents) in &plan.contents {
        // What something else has removed meanwhile needs no contents.
        if let Some(path) = found.paths.get(id) {
            rewrite(path, contents).with_context(|| format!("{}", path.display()))?;
        }
    }
    for (id, attributes) in &plan.attributes {
        if let Some(path) = found.paths.get(id) {
            set_attributes(path, *attributes)?;
        }
    }
    names(plan, &found, kept)
}

/// Takes away what the names lead to and should not, and then enters what they should.
fn names(plan: &Plan, found: &Found, kept: &Path) -> Result<()> {
    let kept = open_directory(kept)?;
    let mut changed = Vec::new();
    for (name, wanted) in &plan.names {
        let Some(directory) = found.directories.get(&name.directory) else { continue };
        let now = Id::of(&path_of(directory, name)).ok();
        if now != *wanted {
            changed.push((name, directory, now, *wanted));
        }
    }
    for (name, directory, now, _) in &changed {
        if let Some(id) = now {
            take_away(directory, name, *id, &kept).with_context(|| format!("taking {} away", shown(name)))?;
        }
    }
    for (name, directory, _, wanted) in &changed {
        if let Some(id) = wanted {
            enter(directory, name, *id, &kept, found).with_context(|| format!("entering {}", shown(name)))?;
        }
    }
    Ok(())
}

/// Moves what a name leads to among what is kept.
fn take_away(directory: &File, name: &Name, id: Id, kept: &File) -> io::Result<()> {
    let (from, to) = (OsStr::from_bytes(&name.name), id.to_string());
    if is_directory(&path_of(directory, name)) {
        return Ok(rustix::fs::renameat(directory, from, kept, to)?);
    }
    match rustix::fs::linkat(directory, from, kept, to, AtFlags::empty()) {
        Err(error) if error != rustix::io::Errno::EXIST => return Err(error.into()),
        _ => {}
    }
    Ok(rustix::fs::unlinkat(directory, from, AtFlags::empty())?)
}

/// Lets a name lead to a thing: the kept one, or else where it is now. A file gets one more name; a directory has only one,
/// so that one which is there by another name already stays where it is.
fn enter(directory: &File, name: &Name, id: Id, kept: &File, found: &Found) -> io::Result<()> {
    let (to, own) = (OsStr::from_bytes(&name.name), id.to_string());
    let kept_path = proc_path(kept).join(&own);
    if is_directory(&kept_path) {
        return Ok(rustix::fs::renameat(kept, own, directory, to)?);
    }
    let linked = rustix::fs::linkat(kept, own, directory, to, AtFlags::empty());
    match (linked, found.paths.get(&id)) {
        (Err(rustix::io::Errno::NOENT), Some(path)) if path.is_symlink() || path.is_file() => {
            Ok(rustix::fs::linkat(rustix::fs::CWD, path, directory, to, AtFlags::empty())?)
        }
        (Err(rustix::io::Errno::NOENT), _) => Ok(()),
        (linked, _) => Ok(linked?),
    }
}

/// All that is below a folder.
fn walk(folder: &Path, paths: &mut BTreeMap<Id, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let entry = entry?;
        let path = entry.path();
        paths.insert(Id::of(&path)?, path.clone());
        if entry.file_type()?.is_dir() {
            walk(&path, paths)?;
        }
    }
    Ok(())
}

fn rewrite(path: &Path, contents: &Contents) -> io::Result<()> {
    // Its mode may forbid that, and writing takes some bits away.
    let permissions = fs::metadata(path)?.permissions();
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    fs::write(path, contents.after(fs::read(path)?))?;
    fs::set_permissions(path, permissions)
}

fn set_attributes(path: &Path, attributes: Attributes) -> Result<()> {
    let Attributes { mode, uid, gid } = attributes;
    // For anybody else, programs ran in a user namespace: nothing there can be given away, and the owner has another number.
    if rustix::process::geteuid().is_root() {
        lchown(path, Some(uid), Some(gid)).with_context(|| format!("{}", path.display()))?;
    }
    if !path.is_symlink() {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .with_context(|| format!("{}", path.display()))?;
    }
    Ok(())
}

fn open_directory(path: &Path) -> Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened =
        rustix::fs::open(path, flags, Mode::empty()).with_context(|| format!("{}", path.display()))?;
    Ok(File::from(opened))
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// A path that leads into an open directory, wherever it has been moved.
fn proc_path(directory: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

fn path_of(directory: &File, name: &Name) -> PathBuf {
    proc_path(directory).join(OsStr::from_bytes(&name.name))
}

fn shown(name: &Name) -> String {
    String::from_utf8_lossy(&name.name).into_owned()
}
