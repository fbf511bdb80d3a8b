//! `/var`: a dataset that begins as a copy of what the boot archive has there.
//!
//! The copy grows in a dataset of another name. When it is whole, that dataset loses its mount point, which marks it as
//! whole, and then gets its name. Whenever the machine stops, the next boot goes on from where it was; a dataset `var` is
//! never a part of one.
//!
//! Unless it was made by something else. One with nothing in it is filled in the same way. Of one that has something in it only
//! the folders that are missing at its top are made: without `/var/run`, most services fail.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{copy, datasets, rescue};
use crate::command::{mount, zfs};
use crate::engine::{Finding, Guest, OnFailure, Step};
use crate::state::Pool;

/// Where it is mounted.
pub const VAR: &str = "/var";

/// Makes the dataset.
pub struct MakeVar;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Nothing,
    Filling,
    Filled,
    Done,
}

impl Step for MakeVar {
    fn name(&self) -> &'static str {
        "var"
    }

    fn limit(&self) -> Duration {
        Duration::from_mins(15)
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::End(rescue::enter)
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(Finding::Done) };
        Ok(match progress(guest, &pool)? {
            Progress::Done => Finding::Done,
            Progress::Nothing => {
                Finding::Needed("/var of the boot archive is copied into a dataset".to_owned())
            }
            Progress::Filling => Finding::Needed("copying /var is taken up again".to_owned()),
            Progress::Filled => Finding::Needed("the copy of /var gets its name".to_owned()),
        })
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(()) };
        make(guest, &pool)
    }
}

fn progress(guest: &mut Guest<'_>, pool: &Pool) -> Result<Progress> {
    let datasets = datasets::of(guest, pool)?;
    if datasets.contains_key(&format!("{}/var", pool.name)) {
        return Ok(Progress::Done);
    }
    Ok(match datasets.get(&format!("{}/var.new", pool.name)) {
        None => Progress::Nothing,
        Some(dataset) if dataset.mountpoint == "legacy" => Progress::Filled,
        Some(dataset) if dataset.mountpoint == place_of_copy(&pool.name) => Progress::Filling,
        Some(dataset) => bail!("{}/var.new would be mounted on {}", pool.name, dataset.mountpoint),
    })
}

/// Where the copy grows.
pub fn place_of_copy(pool: &str) -> String {
    format!("/{pool}/.var.new")
}

fn make(guest: &mut Guest<'_>, pool: &Pool) -> Result<()> {
    let new = format!("{}/var.new", pool.name);
    let folder = place_of_copy(&pool.name);
    let progress = progress(guest, pool)?;
    if progress == Progress::Nothing {
        zfs::create(guest.commands, &new, &[&format!("mountpoint={folder}")])?;
        datasets::remember(guest, &new, &folder);
    }
    if progress != Progress::Filled {
        let table = mount::table()?;
        if mount::at(&table, &folder).is_none_or(|mounted| mounted.special != new) {
            mount::by_property(guest, &new, &folder)?;
        }
        let skipped = copy::tree(Path::new(VAR), Path::new(&folder)).context("/var cannot be copied")?;
        for path in skipped {
            guest.log.line(&format!(
                "{} is not copied: it is neither file, folder, link nor device",
                path.display()
            ));
        }
        rustix::fs::sync();
        // It also takes it out of the way.
        zfs::set(guest.commands, &new, "mountpoint", "legacy")?;
        datasets::remember(guest, &new, "legacy");
    }
    let var = format!("{}/var", pool.name);
    zfs::rename(guest.commands, &new, &var)?;
    datasets::of(guest, pool)?.remove(&new);
    datasets::remember(guest, &var, "legacy");
    Ok(())
}

/// Whether there is nothing in the file system that is mounted on `/var`.
pub fn is_empty() -> Result<bool> {
    let mut entries = fs::read_dir(VAR).with_context(|| format!("cannot list {VAR}"))?;
    // The folder of snapshots can be made visible.
    let first = entries.find(|entry| entry.as_ref().map_or(true, |entry| entry.file_name() != ".zfs"));
    Ok(first.transpose().with_context(|| format!("cannot list {VAR}"))?.is_none())
}

/// Fills a dataset that has nothing in it, and is not mounted, as a first boot fills a new one. It loses its name until it is
/// filled, so that this goes on wherever it is stopped.
pub fn fill(guest: &mut Guest<'_>, pool: &Pool) -> Result<()> {
    let (var, new) = (format!("{}/var", pool.name), format!("{}/var.new", pool.name));
    guest.log.warn(&format!("there is nothing in {var}: it gets what a first boot gives it"));
    zfs::rename(guest.commands, &var, &new)?;
    datasets::of(guest, pool)?.remove(&var);
    datasets::remember(guest, &new, "legacy");
    let folder = place_of_copy(&pool.name);
    // It also mounts it there.
    zfs::set(guest.commands, &new, "mountpoint", &folder)?;
    datasets::remember(guest, &new, &folder);
    make(guest, pool)
}

/// Folders at the top of `/var`, and what there is to know of them.
pub type Folders = Vec<(OsString, Metadata)>;

/// Those that the boot archive has there, as long as nothing is mounted on it.
pub fn folders() -> Result<Folders> {
    folders_in(Path::new(VAR)).with_context(|| format!("cannot list {VAR}"))
}

fn folders_in(folder: &Path) -> io::Result<Folders> {
    let mut folders = Folders::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = fs::symlink_metadata(entry.path())?;
        if found.is_dir() {
            folders.push((entry.file_name(), found));
        }
    }
    Ok(folders)
}

/// Makes those that `/var` lacks now. Whatever has one of their names stays as it is.
pub fn make_missing(guest: &mut Guest<'_>, folders: &Folders) -> Result<()> {
    let made = make_missing_in(Path::new(VAR), folders)?;
    for path in made {
        guest.log.warn(&format!("{} was missing and is made", path.display()));
    }
    Ok(())
}

fn make_missing_in(folder: &Path, wanted: &Folders) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for (name, found) in wanted {
        let path = folder.join(name);
        match fs::create_dir(&path) {
            Ok(()) => {
                copy::finish(&path, found).with_context(|| format!("cannot finish {}", path.display()))?;
                made.push(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn folders_that_are_missing_are_made_and_the_others_stay() {
        let (archive, var) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        for (name, mode) in [("run", 0o755), ("tmp", 0o1777), ("svc", 0o755), ("mail", 0o755)] {
            fs::create_dir(archive.path().join(name)).expect("made");
            fs::set_permissions(archive.path().join(name), fs::Permissions::from_mode(mode)).expect("set");
        }
        fs::write(archive.path().join("file"), "").expect("written");
        fs::create_dir_all(var.path().join("svc/own")).expect("made");
        fs::set_permissions(var.path().join("svc"), fs::Permissions::from_mode(0o700)).expect("set");
        symlink("elsewhere", var.path().join("mail")).expect("linked");
        let folders = folders_in(archive.path()).expect("listed");
        let mut made = make_missing_in(var.path(), &folders).expect("made");
        made.sort();
        assert_eq!(made, ["run", "tmp"].map(|name| var.path().join(name)));
        let mode = |name: &str| {
            fs::symlink_metadata(var.path().join(name)).expect("there").permissions().mode() & 0o7777
        };
        assert_eq!((mode("run"), mode("tmp"), mode("svc")), (0o755, 0o1777, 0o700));
        assert!(var.path().join("svc/own").is_dir() && !var.path().join("file").exists());
        assert_eq!(fs::read_link(var.path().join("mail")).expect("a link"), Path::new("elsewhere"));
        assert_eq!(make_missing_in(var.path(), &folders).expect("looked"), Vec::<PathBuf>::new());
    }
}
