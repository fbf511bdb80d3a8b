//! `/opt/custom`: the tree that comes with the image, in `custom.tgz` on the key.
//!
//! A new tree grows beside the old one, gets what the user has in the old one, and takes its place by two renames. Whenever the
//! machine stops, there is one whole tree afterwards, under its own name or under one of two others from which the next boot
//! brings it back.

pub mod archive;
pub mod delivered;
mod merge;

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;

use self::delivered::Delivered;
use crate::engine::{Finding, Guest, Step};
use crate::files;
use crate::image::{Image, Tarball};

/// The tarball, in the root of the key.
const TARBALL: &str = "custom.tgz";

/// Brings the tree of the image to `/opt/custom`.
pub struct Custom;

impl Step for Custom {
    fn name(&self) -> &'static str {
        "custom"
    }

    fn limit(&self) -> Duration {
        Duration::from_mins(10)
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        if guest.state.pool.is_none() {
            return Ok(Finding::Done);
        }
        let Some(tarball) = tarball()? else { return Ok(Finding::Done) };
        let place = Place::usual();
        if place.has_leftovers() {
            return Ok(Finding::Needed("replacing /opt/custom is finished".to_owned()));
        }
        if Delivered::read(&place.tree())?.is_none_or(|delivered| delivered.sha256 != tarball.sha256) {
            return Ok(Finding::Needed(format!("/opt/custom becomes that of {TARBALL}")));
        }
        if !place.lax()?.is_empty() {
            return Ok(Finding::Needed("nobody but root may change /opt/custom".to_owned()));
        }
        Ok(Finding::Done)
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(tarball) = tarball()? else { return Ok(()) };
        let place = Place::usual();
        place.recover()?;
        if Delivered::read(&place.tree())?.is_none_or(|delivered| delivered.sha256 != tarball.sha256) {
            let key = guest.state.key.as_ref().context("the key is not mounted")?;
            let path = Path::new(&key.folder).join(TARBALL);
            place
                .replace(&path, &tarball)
                .with_context(|| format!("/opt/custom stays as it is; {}", path.display()))?;
        }
        place.tighten()
    }
}

fn tarball() -> Result<Option<Tarball>> {
    Ok(Image::read()?.and_then(|image| image.custom))
}

/// A folder that holds the tree, and while it is replaced two trees.
struct Place {
    folder: PathBuf,
    owner: (u32, u32),
}

impl Place {
    fn usual() -> Self {
        Self { folder: PathBuf::from("/opt"), owner: (0, 0) }
    }

    /// The tree.
    fn tree(&self) -> PathBuf {
        self.folder.join("custom")
    }

    /// The tree that is going to take its place.
    fn new_tree(&self) -> PathBuf {
        self.folder.join(".custom.guest-init-new")
    }

    /// The tree whose place was taken.
    fn old_tree(&self) -> PathBuf {
        self.folder.join(".custom.guest-init-old")
    }

    fn has_leftovers(&self) -> bool {
        is_there(&self.new_tree()) || is_there(&self.old_tree())
    }

    /// Goes on where an earlier attempt was stopped.
    fn recover(&self) -> Result<()> {
        let (tree, new, old) = (self.tree(), self.new_tree(), self.old_tree());
        if !is_there(&tree) {
            // A tree with its note is complete.
            let whole = if Delivered::read(&new)?.is_some() { &new } else { &old };
            if is_there(whole) {
                fs::rename(whole, &tree).with_context(|| format!("cannot bring {} back", tree.display()))?;
                files::sync_folder(&self.folder)?;
            }
        }
        remove(&new)?;
        // Only what takes its place is named `tree` while there is an old one.
        remove(&old)
    }

    /// Makes the tree that of a tarball.
    fn replace(&self, path: &Path, tarball: &Tarball) -> Result<()> {
        let (tree, new, old) = (self.tree(), self.new_tree(), self.old_tree());
        if fs::symlink_metadata(&tree).is_ok_and(|found| !found.is_dir()) {
            bail!("{} is no folder", tree.display());
        }
        let mut file = File::open(path)?;
        let found = file.metadata()?.len();
        if found != tarball.bytes {
            bail!("it has {found} bytes and not {}", tarball.bytes);
        }
        let sha256 = delivered::digest(&mut (&mut file).take(tarball.bytes))?;
        if sha256 != tarball.sha256 {
            bail!("its SHA-256 is {sha256} and not {}", tarball.sha256);
        }
        file.seek(SeekFrom::Start(0))?;
        fs::create_dir(&new)?;
        let source = MultiGzDecoder::new(BufReader::new(file));
        let items = archive::unpack(source, &new, self.owner)?;
        let is_update = is_there(&tree);
        if is_update {
            let before = Delivered::read(&tree)?;
            merge::carry(&tree, before.as_ref(), &new, &items)?;
        }
        sync_folders(&new)?;
        Delivered { sha256, items }.write(&new, self.owner)?;
        if is_update {
            fs::rename(&tree, &old)?;
        }
        fs::rename(&new, &tree)?;
        files::sync_folder(&self.folder)?;
        remove(&old)
    }

    /// The folders on the way to root's home that somebody else than the owner could change. `sshd` accepts no key below one.
    fn lax(&self) -> Result<Vec<PathBuf>> {
        let tree = self.tree();
        let mut lax = Vec::new();
        for path in [self.folder.clone(), tree.join("root"), tree] {
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {
                    if (found.uid(), found.gid()) != self.owner || found.mode() & 0o022 != 0 {
                        lax.push(path);
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot look at {}", path.display()));
                }
            }
        }
        Ok(lax)
    }

    fn tighten(&self) -> Result<()> {
        for path in self.lax()? {
            let tightened = fs::metadata(&path).and_then(|found| {
                chown(&path, Some(self.owner.0), Some(self.owner.1))?;
                fs::set_permissions(&path, fs::Permissions::from_mode(found.mode() & 0o7755))
            });
            tightened.with_context(|| format!("cannot change owner and mode of {}", path.display()))?;
        }
        Ok(())
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Removes a tree of ours.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Makes the names in a tree durable.
fn sync_folders(tree: &Path) -> Result<()> {
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
        files::sync_folder(&folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
