//! The datasets of the pool.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::records::{self, Record, Recorded};
use super::{key, rescue, sizes};
use crate::command::zfs::{self, Dataset, Datasets};
use crate::command::{mount, zpool};
use crate::engine::{Finding, Guest, OnFailure, Step};
use crate::state::Pool;
use crate::system;

/// Without these no boot can use the pool.
pub const ESSENTIAL: [&str; 3] = ["config", "opt", "var"];

/// Where programs of the global zone leave their cores.
pub const CORES: &str = "cores/global";

/// The datasets of `pool`, from the pool or from memory.
pub fn of<'a>(guest: &'a mut Guest<'_>, pool: &Pool) -> Result<&'a mut Datasets> {
    if guest.state.storage.datasets.is_none() {
        guest.state.storage.datasets = Some(zfs::list(guest.commands, &pool.name)?);
    }
    guest.state.storage.datasets.as_mut().context("the datasets are not known")
}

/// Remembers a dataset that was made.
pub fn remember(guest: &mut Guest<'_>, name: &str, mountpoint: &str) {
    if let Some(datasets) = &mut guest.state.storage.datasets {
        let checksum = "on".to_owned();
        let mountpoint = mountpoint.to_owned();
        datasets
            .insert(name.to_owned(), Dataset { mountpoint, checksum, complete: false, factory_reset: false });
    }
}

/// Mounts the root dataset of the pool.
pub struct Root;

impl Step for Root {
    fn name(&self) -> &'static str {
        "pool-root"
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::EndPhase
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(Finding::Done) };
        let folder = format!("/{}", pool.name);
        let table = mount::table()?;
        if mount::at(&table, &folder).is_some_and(|mounted| mounted.special == pool.name) {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed(format!("{} is mounted on {folder}", pool.name)))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let done = mount_root(guest);
        rescue::unless_done(guest, done)
    }
}

fn mount_root(guest: &mut Guest<'_>) -> Result<()> {
    let Some(pool) = guest.state.pool.clone() else { return Ok(()) };
    let mountpoint = of(guest, &pool)?.get(&pool.name).map(|root| root.mountpoint.clone());
    if mountpoint.as_deref() != Some(&format!("/{}", pool.name)) {
        bail!("pool {} would be mounted on {}", pool.name, mountpoint.unwrap_or_default());
    }
    mount::by_property(guest, &pool.name, &format!("/{}", pool.name))
}

/// Makes the datasets that are missing, but for `var`.
pub struct MakeDatasets;

impl Step for MakeDatasets {
    fn name(&self) -> &'static str {
        "datasets"
    }

    fn limit(&self) -> Duration {
        Duration::from_mins(10)
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(Finding::Done) };
        Ok(match missing(guest, &pool) {
            Ok(missing) if missing.is_empty() => Finding::Done,
            Ok(missing) => Finding::Needed(format!("datasets are made: {}", missing.join(", "))),
            Err(error) => Finding::Needed(format!("rescue mode: {error:#}")),
        })
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(()) };
        let mut failed = Vec::new();
        let missing = missing(guest, &pool);
        for name in rescue::unless_done(guest, missing)? {
            let made = make(guest, &pool, name).with_context(|| format!("dataset {name}"));
            if ESSENTIAL.contains(&name) {
                rescue::unless_done(guest, made)?;
            } else if let Err(error) = made {
                failed.push(format!("{error:#}"));
            }
        }
        if !failed.is_empty() {
            guest.state.storage.is_incomplete = true;
            bail!(failed.join("; "));
        }
        Ok(())
    }

    /// Each was made by a command that succeeded; devices that would be too small were left out.
    fn verify(&self, _guest: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}

/// The datasets that are missing.
///
/// # Errors
/// When one is missing that was there: somebody renamed it, or it was lost. An empty one must not take its place.
fn missing(guest: &mut Guest<'_>, pool: &Pool) -> Result<Vec<&'static str>> {
    let was_complete = was_complete(guest, pool)?;
    let datasets = of(guest, pool)?;
    let has = |name: &str| datasets.contains_key(&format!("{}/{name}", pool.name));
    if was_complete && let Some(lost) = lost(&pool.name, datasets) {
        bail!("dataset {}/{lost} is gone", pool.name);
    }
    let wanted = ["config", "opt", CORES, "swap", "dump"];
    // What was too small when everything else was made, or was removed since, is not made again.
    Ok(wanted.into_iter().filter(|name| !has(name) && !was_complete).collect())
}

/// The dataset that every boot needs and that is not among these. A copy of `/var` that is still growing is not lost.
pub fn lost(pool: &str, datasets: &Datasets) -> Option<&'static str> {
    let has = |name: &str| datasets.contains_key(&format!("{pool}/{name}"));
    ESSENTIAL.into_iter().find(|&name| !(has(name) || name == "var" && has("var.new")))
}

/// The size of the disk on which the pool was made, by this boot or by an earlier one that did not come to its end: the devices
/// are to have the same sizes in both cases.
fn new_disk(guest: &Guest<'_>) -> Result<Option<u64>> {
    if let (None, Some(key)) = (guest.state.storage.new_disk, &guest.state.key) {
        return Ok(records::intent(Path::new(&key.folder))?.map(|intent| intent.bytes));
    }
    Ok(guest.state.storage.new_disk)
}

fn was_complete(guest: &mut Guest<'_>, pool: &Pool) -> Result<bool> {
    let folder = guest.state.key.as_ref().map(|key| key.folder.clone());
    let recorded = folder.map_or(Ok(Recorded::Nothing), |folder| records::record(Path::new(&folder)))?;
    let on_key = matches!(recorded, Recorded::Is(record) if record.guid == pool.guid && record.complete);
    let in_pool = of(guest, pool)?.get(&pool.name).is_some_and(|root| root.complete);
    Ok(on_key || in_pool)
}

fn make(guest: &mut Guest<'_>, pool: &Pool, name: &str) -> Result<()> {
    let dataset = format!("{}/{name}", pool.name);
    let mut mountpoint = "legacy".to_owned();
    match name {
        CORES => {
            mountpoint = format!("/{}/global/cores", pool.name);
            let at = format!("mountpoint={mountpoint}");
            zfs::create_with_parents(guest.commands, &dataset, &["compression=gzip", "quota=10g", &at])?;
        }
        "swap" | "dump" => {
            let bytes = match new_disk(guest)? {
                Some(bytes) => bytes,
                None => zpool::space(guest.commands, &pool.name)?.size,
            };
            let sizes = sizes::of(system::memory(), bytes);
            match (name, sizes.swap, sizes.dump) {
                ("swap", Some((bytes, reserved)), _) => {
                    let reserved = format!("refreservation={reserved}");
                    zfs::create_sparse_volume(guest.commands, &dataset, bytes, &[&reserved])?;
                }
                ("dump", _, Some(bytes)) => {
                    zfs::create_volume(guest.commands, &dataset, bytes, &["checksum=noparity"])?;
                }
                _ => {
                    guest.log.line(&format!("{dataset} is left out: it would be too small"));
                    return Ok(());
                }
            }
            "-".clone_into(&mut mountpoint);
        }
        _ => zfs::create(guest.commands, &dataset, &["mountpoint=legacy"])?,
    }
    remember(guest, &dataset, &mountpoint);
    if name == "dump"
        && let Some(dump) = of(guest, pool)?.get_mut(&dataset)
    {
        "noparity".clone_into(&mut dump.checksum);
    }
    Ok(())
}

/// Records that everything is there that a first boot makes, in the pool and on the key.
pub struct Complete;

impl Step for Complete {
    fn name(&self) -> &'static str {
        "complete"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(Finding::Done) };
        if guest.state.storage.is_incomplete {
            guest
                .log
                .line("it is not recorded that the pool is complete: the next boot makes what is missing");
            return Ok(Finding::Done);
        }
        let in_pool = of(guest, &pool)?.get(&pool.name).is_some_and(|root| root.complete);
        if in_pool && is_recorded(guest, &pool)? {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed("it is recorded that the pool is complete".to_owned()))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(()) };
        let datasets = of(guest, &pool)?;
        if let Some(missing) =
            ESSENTIAL.into_iter().find(|name| !datasets.contains_key(&format!("{}/{name}", pool.name)))
        {
            bail!("dataset {}/{missing} is missing", pool.name);
        }
        if !datasets.get(&pool.name).is_some_and(|root| root.complete) {
            zfs::set(guest.commands, &pool.name, zfs::COMPLETE, "1")?;
            if let Some(root) = of(guest, &pool)?.get_mut(&pool.name) {
                root.complete = true;
            }
        }
        let record = Record { guid: pool.guid, complete: true };
        key::write(guest, |_, folder| {
            records::write_record(folder, &record)?;
            records::forget_intent(folder)
        })
    }
}

/// Whether the key says that the pool is complete, and nothing else.
fn is_recorded(guest: &Guest<'_>, pool: &Pool) -> Result<bool> {
    let Some(key) = &guest.state.key else { return Ok(false) };
    let record = Record { guid: pool.guid, complete: true };
    let folder = Path::new(&key.folder);
    Ok(records::record(folder)? == Recorded::Is(record) && !records::has_intent(folder)?)
}
