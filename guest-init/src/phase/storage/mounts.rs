//! What is mounted from the pool.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::var::{self, VAR};
use super::{datasets, rescue};
use crate::command::mount;
use crate::engine::{Finding, Guest, OnFailure, Step};
use crate::files::{self, Owner};
use crate::state::Pool;

/// Datasets, and the folders that they are mounted on.
const FOLDERS: [(&str, &str); 3] = [("var", VAR), ("opt", "/opt"), ("config", ZONES)];

/// The configuration of zones.
const ZONES: &str = "/etc/zones";

/// The files there that belong to the platform, and are those of the boot archive at every boot (smartos-live, `fs-joyent`).
const OF_PLATFORM: &str = "SUNWdefault.xml";

/// Where everybody looks for cores.
const CORES: &str = "/cores";

/// How long something that is busy is waited for, and how often.
const PAUSE: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 3;

/// Mounts datasets.
pub struct Mounts;

impl Step for Mounts {
    fn name(&self) -> &'static str {
        "mounts"
    }

    /// It may take a whole copy of `/var`.
    fn limit(&self) -> Duration {
        Duration::from_mins(20)
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::End(rescue::enter)
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(Finding::Done) };
        let missing = missing(&pool)?;
        let cores = missing_cores(guest, &pool)?;
        if missing.is_empty() && !cores && cores_link_is(&pool) {
            return Ok(Finding::Done);
        }
        let mut folders: Vec<_> = missing.iter().map(|(_, folder)| *folder).collect();
        folders.push(CORES);
        Ok(Finding::Needed(format!("datasets are mounted: {}", folders.join(", "))))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(()) };
        mount_all(guest, &pool)?;
        // Cores are a comfort; without them the boot goes on.
        if let Err(error) = mount_cores(guest, &pool) {
            guest.log.warn(&format!("no place for cores: {error:#}"));
        }
        Ok(())
    }

    fn verify(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(pool) = &guest.state.pool else { return Ok(()) };
        match missing(pool)?.first() {
            None => Ok(()),
            Some((dataset, folder)) => bail!("{dataset} is not on {folder}"),
        }
    }
}

/// What is not mounted yet.
fn missing(pool: &Pool) -> Result<Vec<(String, &'static str)>> {
    let table = mount::table()?;
    let named = FOLDERS.iter().map(|(name, folder)| (format!("{}/{name}", pool.name), *folder));
    Ok(named
        .filter(|(dataset, folder)| {
            mount::at(&table, folder).is_none_or(|mounted| mounted.special != *dataset)
        })
        .collect())
}

fn mount_all(guest: &mut Guest<'_>, pool: &Pool) -> Result<()> {
    for (dataset, folder) in missing(pool)? {
        let mountpoint = datasets::of(guest, pool)?.get(&dataset).map(|found| found.mountpoint.clone());
        if mountpoint.as_deref() != Some("legacy") {
            bail!("the mount point of {dataset} is {} and not legacy", mountpoint.unwrap_or_default());
        }
        let of_archive = if folder == ZONES { read_zones(guest)? } else { Vec::new() };
        let folders = if folder == VAR { var::folders()? } else { var::Folders::new() };
        mount_patiently(guest, &dataset, folder)?;
        if folder == VAR && var::is_empty()? {
            mount::remove(guest, folder)?;
            var::fill(guest, pool)?;
            mount_patiently(guest, &dataset, folder)?;
        }
        var::make_missing(guest, &folders)?;
        for (name, contents) in of_archive {
            let path = Path::new(ZONES).join(&name);
            if name == Path::new(OF_PLATFORM) || !path.exists() {
                files::keep(&path, &contents, Owner::root(0o644))
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn mount_patiently(guest: &mut Guest<'_>, dataset: &str, folder: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
    let mut attempt = 1;
    loop {
        match mount::dataset(guest, dataset, folder) {
            Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains("busy") => {
                guest.log.line(&format!("{error:#}"));
                guest.clock.sleep(PAUSE);
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// The largest file of the zones' configuration in the boot archive, in bytes, and the most files.
const LONGEST_ZONE: u64 = 1 << 20;
const MOST_ZONES: usize = 256;

/// The files of the boot archive, which the dataset is about to cover.
fn read_zones(guest: &mut Guest<'_>) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(ZONES) else { return Ok(found) };
    for entry in entries.take(MOST_ZONES) {
        let entry = entry.with_context(|| format!("cannot list {ZONES}"))?;
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        match files::read(&entry.path(), LONGEST_ZONE) {
            Ok(contents) => found.push((PathBuf::from(entry.file_name()), contents)),
            Err(error) => guest.log.warn(&format!("{}: {error}", entry.path().display())),
        }
    }
    Ok(found)
}

/// Whether there is a dataset for cores, with the usual mount point, that is not mounted.
fn missing_cores(guest: &mut Guest<'_>, pool: &Pool) -> Result<bool> {
    let dataset = format!("{}/{}", pool.name, datasets::CORES);
    // One that somebody set to be mounted elsewhere could cover what it should not.
    let is_ours = datasets::of(guest, pool)?
        .get(&dataset)
        .is_some_and(|cores| Path::new(&cores.mountpoint) == cores_folder(pool));
    Ok(is_ours && !mount::table()?.iter().any(|mounted| mounted.special == dataset))
}

fn cores_folder(pool: &Pool) -> PathBuf {
    PathBuf::from(format!("/{}/global/cores", pool.name))
}

fn cores_link_is(pool: &Pool) -> bool {
    fs::read_link(CORES).is_ok_and(|target| target == cores_folder(pool))
}

fn mount_cores(guest: &mut Guest<'_>, pool: &Pool) -> Result<()> {
    if missing_cores(guest, pool)? {
        let dataset = format!("{}/{}", pool.name, datasets::CORES);
        mount::by_property(guest, &dataset, &cores_folder(pool).to_string_lossy())?;
    }
    if cores_link_is(pool) {
        return Ok(());
    }
    if fs::symlink_metadata(CORES).is_ok_and(|found| found.is_symlink()) {
        fs::remove_file(CORES).with_context(|| format!("cannot replace {CORES}"))?;
    }
    symlink(cores_folder(pool), CORES).with_context(|| format!("cannot make {CORES}"))
}
