//! The datasets of the pool.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::journal::{self, Reached};
use super::records::{self, Record, Recorded};
use super::{key, rescue, sizes};
use crate::command::zfs::{self, Dataset, Datasets};
use crate::command::{mount, zpool};
use crate::engine::{Finding, Guest, OnFailure, Step};
use crate::state::Pool;
use crate::system;

/// Without these no boot can use the pool.
pub const ESSENTIAL: [&str; 3] = ["config", "opt", VAR];

/// The one that begins as a copy.
const VAR: &str = "var";

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
        datasets.insert(name.to_owned(), Dataset::new(mountpoint));
    }
}

/// Mounts the root dataset of the pool.
pub struct Root;

impl Step for Root {
    fn name(&self) -> &'static str {
        "pool-root"
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::End(rescue::enter)
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
        mount_root(guest)
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
        let (reached, missing) = match missing(guest, &pool) {
            Ok(found) => found,
            Err(error) => return Ok(Finding::Needed(format!("rescue mode: {error:#}"))),
        };
        let is_new = guest.state.storage.new_disk.is_some();
        if reached < Reached::Complete && !is_new {
            let step = reached.word();
            guest.log.console(&format!(
                "the first boot is not complete, step '{step}' was its last: it is gone on with"
            ));
        }
        Ok(match missing.is_empty() {
            false => Finding::Needed(format!("datasets are made: {}", missing.join(", "))),
            true if reached < Reached::Datasets => {
                Finding::Needed("the journal has yet to say that the datasets are there".to_owned())
            }
            true => Finding::Done,
        })
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(()) };
        let mut failed = Vec::new();
        let missing = missing(guest, &pool);
        let (reached, missing) = rescue::unless_done(guest, missing)?;
        for name in missing {
            let made = make(guest, &pool, name).with_context(|| format!("dataset {name}"));
            if ESSENTIAL.contains(&name) {
                rescue::unless_done(guest, made)?;
            } else if let Err(error) = made {
                guest.state.storage.is_incomplete = true;
                failed.push(format!("{error:#}"));
            }
        }
        if reached < Reached::Datasets
            && let Err(error) = journal::note(guest, &pool, Reached::Datasets)
        {
            failed.push(format!("{error:#}"));
        }
        if !failed.is_empty() {
            bail!(failed.join("; "));
        }
        Ok(())
    }

    /// Each was made by a command that succeeded; devices that would be too small were left out.
    fn verify(&self, _guest: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}

/// How far the first boot has come, and the datasets that are missing but for `var`.
///
/// # Errors
/// When one is missing that was there: somebody renamed it, or it was lost. An empty one must not take its place.
fn missing(guest: &mut Guest<'_>, pool: &Pool) -> Result<(Reached, Vec<&'static str>)> {
    let reached = journal::reached(guest, pool)?;
    let datasets = of(guest, pool)?;
    let has = |name: &str| datasets.contains_key(&format!("{}/{name}", pool.name));
    if let Some(lost) = lost(&pool.name, datasets, reached) {
        bail!("dataset {}/{lost} is gone", pool.name);
    }
    // What was too small when everything else was made, or was removed since, is not made again.
    let is_complete = reached == Reached::Complete;
    let wanted = ["config", "opt", CORES, "swap", "dump"];
    Ok((reached, wanted.into_iter().filter(|name| !is_complete && !has(name)).collect()))
}

/// The dataset that every boot needs, that was there when the first boot had come so far, and that is not among these. A copy
/// of `/var` that is still growing is not lost.
pub fn lost(pool: &str, datasets: &Datasets, reached: Reached) -> Option<&'static str> {
    let has = |name: &str| datasets.contains_key(&format!("{pool}/{name}"));
    // `var` is made after the others.
    let others_were_there = reached >= Reached::Datasets || has(VAR);
    ESSENTIAL.into_iter().find(|&name| match name {
        VAR => reached >= Reached::Var && !has(VAR) && !has("var.new"),
        _ => others_were_there && !has(name),
    })
}

/// The size of the disk on which the pool was made, by this boot or by an earlier one that did not come to its end: the devices
/// are to have the same sizes in both cases.
fn new_disk(guest: &Guest<'_>) -> Result<Option<u64>> {
    if let (None, Some(key)) = (guest.state.storage.new_disk, &guest.state.key) {
        return Ok(records::intent(Path::new(&key.folder))?.map(|intent| intent.bytes));
    }
    Ok(guest.state.storage.new_disk)
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

/// Records that everything is there that a first boot makes, in the pool and on the key; or how far it came, if a later one
/// owes a part.
pub struct Complete;

impl Step for Complete {
    fn name(&self) -> &'static str {
        "complete"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(Finding::Done) };
        let step = of(guest, &pool)?.get(&pool.name).map(|root| Reached::by_word(&root.step));
        if guest.state.storage.is_incomplete {
            guest.log.line("the pool is not complete: the next boot makes what is missing");
            if step < Some(Reached::Var) {
                return Ok(Finding::Needed("it is recorded how far this boot came".to_owned()));
            }
            return Ok(Finding::Done);
        }
        if step == Some(Reached::Complete) && is_recorded(guest, &pool)? {
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
        if guest.state.storage.is_incomplete {
            return journal::note(guest, &pool, Reached::Var);
        }
        journal::note(guest, &pool, Reached::Complete)?;
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
