//! Carries what the user has in the old tree into the new one.
//!
//! Ours is what the old tree's note lists and nobody changed since: a new image replaces or removes it. Everything else is the
//! user's and is carried over as it is; a file that was delivered and then changed stays as the user wants it. A tree without
//! a note comes from the scripts of old, and nobody knows what was changed in it: there the new files count, and those that
//! they replace are kept beside them, with `.saved` after their name.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::delivered::{Delivered, FILE, Item, Items};

/// The most folders that may lie in each other.
const DEEPEST: usize = 64;

/// What is added to the name of a file that is kept beside the one that takes its place.
const SAVED: &str = ".saved";

/// Carries what is the user's from the tree `old`, into which `before` was delivered, to the tree `new`, into which `now`
/// was. Both are on one file system. `old` stays as it is.
///
/// # Errors
/// Also when somebody has mounted something in `old`: it would go when that is removed.
pub fn carry(old: &Path, before: Option<&Delivered>, new: &Path, now: &Items) -> Result<()> {
    let file_system = fs::symlink_metadata(old)?.dev();
    let carrying = Carrying { old, before, new, now, file_system };
    carrying.folder(Path::new(""), 0)
}

struct Carrying<'a> {
    old: &'a Path,
    before: Option<&'a Delivered>,
    new: &'a Path,
    now: &'a Items,
    file_system: u64,
}

impl Carrying<'_> {
    fn folder(&self, path: &Path, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            bail!("{} lies too deep", path.display());
        }
        let folder = self.old.join(path);
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let name = entry.with_context(|| format!("cannot list {}", folder.display()))?.file_name();
            let path = path.join(name);
            if path == Path::new(FILE) {
                continue;
            }
            self.entry(&path, depth).with_context(|| format!("cannot carry {} over", path.display()))?;
        }
        Ok(())
    }

    fn entry(&self, path: &Path, depth: usize) -> Result<()> {
        let old = self.old.join(path);
        let found = fs::symlink_metadata(&old)?;
        if found.dev() != self.file_system {
            bail!("another file system is mounted there");
        }
        let before = self.before.and_then(|before| before.items.get(path.to_str()?));
        if found.is_dir() {
            // A folder that was delivered comes along when something in it does.
            if before != Some(&Item::Folder) {
                self.make_folder(path)?;
            }
            return self.folder(path, depth + 1);
        }
        if let Some(item) = before
            && item.is_at(&old)?
        {
            return Ok(());
        }
        self.make_parents(path)?;
        let new = self.new.join(path);
        match fs::symlink_metadata(&new) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => link(&old, &found, &new),
            Err(error) => Err(error.into()),
            Ok(taken) if taken.is_dir() => bail!("the image has a folder in its place"),
            Ok(_) if self.before.is_some() => {
                fs::remove_file(&new)?;
                link(&old, &found, &new)
            }
            Ok(_) => {
                let now = path.to_str().and_then(|path| self.now.get(path));
                if now.map_or(Ok(false), |item| item.is_at(&old))? {
                    return Ok(());
                }
                let saved = with_suffix(&new);
                match fs::symlink_metadata(&saved) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => link(&old, &found, &saved),
                    // The user's own file of that name is found in the old tree as well.
                    _ => bail!("{} is taken", saved.display()),
                }
            }
        }
    }

    fn make_parents(&self, path: &Path) -> Result<()> {
        let above: Vec<_> = path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
        above.into_iter().rev().try_for_each(|folder| self.make_folder(folder))
    }

    /// Makes a folder of the old tree in the new one, with its owner and mode, unless the image has it.
    fn make_folder(&self, path: &Path) -> Result<()> {
        let new = self.new.join(path);
        match fs::symlink_metadata(&new) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => bail!("the image has a file in place of folder {}", path.display()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            self.make_folder(above)?;
        }
        let found = fs::symlink_metadata(self.old.join(path))?;
        fs::create_dir(&new)?;
        chown(&new, Some(found.uid()), Some(found.gid()))?;
        Ok(fs::set_permissions(&new, fs::Permissions::from_mode(found.mode() & 0o7777))?)
    }
}

/// Gives something of the old tree a second name in the new one. (On illumos, `link` follows symbolic links.)
fn link(old: &Path, found: &Metadata, new: &Path) -> Result<()> {
    if found.is_symlink() {
        symlink(fs::read_link(old)?, new)?;
        return Ok(lchown(new, Some(found.uid()), Some(found.gid()))?);
    }
    Ok(fs::hard_link(old, new)?)
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(SAVED);
    PathBuf::from(name)
}
