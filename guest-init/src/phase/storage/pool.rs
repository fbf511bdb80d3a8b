//! The pool: found, imported or made, as [`decision`](super::decision) says.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::decision::{self, Boot, DataDisk, Decision, Known, Look, POOL};
use super::records::{self, Intent, Record, Recorded};
use super::{datasets, disks, key, rescue};
use crate::command::zfs::{self, Dataset, Datasets};
use crate::command::zpool::{self, Active, Create, Importable, Search};
use crate::command::{Commands, bootparams};
use crate::engine::{Finding, Guest, OnFailure, Step};
use crate::files;
use crate::state::Pool;

/// Finds the pool of this guest, or makes it.
pub struct FindPool;

impl Step for FindPool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn limit(&self) -> Duration {
        Duration::from_mins(45)
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::EndPhase
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let (decision, search) = look(guest);
        guest.state.storage.search = search;
        guest.state.storage.decision = Some(decision.clone());
        Ok(match decision {
            Decision::Use(pool) if guest.state.pool.as_ref() == Some(&pool) && is_recorded(guest, &pool)? => {
                Finding::Done
            }
            Decision::Use(pool) => Finding::Needed(format!("pool {} is imported and to be used", pool.name)),
            Decision::Import(pool) => {
                Finding::Needed(format!("pool {} ({}) is imported", pool.name, pool.guid))
            }
            Decision::Adopt { pool, .. } => Finding::Needed(format!(
                "pool {} ({}) is imported if it is this guest's, of which there is no record",
                pool.name, pool.guid
            )),
            Decision::Make { intent, .. } => Finding::Needed(format!(
                "a pool is made on disk {} of {} MiB, which is blank",
                intent.disk,
                intent.bytes >> 20
            )),
            Decision::Rescue(reason) => Finding::Needed(format!("rescue mode: {reason}")),
        })
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(decision) = guest.state.storage.decision.clone() else { bail!("nothing was decided") };
        let done = act(guest, decision);
        rescue::unless_done(guest, done)
    }

    /// The pool was seen in the list of imported pools after what was done.
    fn verify(&self, guest: &mut Guest<'_>) -> Result<()> {
        guest.state.pool.as_ref().map(drop).context("there is no pool")
    }
}

fn is_recorded(guest: &Guest<'_>, pool: &Pool) -> Result<bool> {
    let Some(key) = &guest.state.key else { return Ok(false) };
    let recorded = records::record(Path::new(&key.folder))?;
    Ok(matches!(recorded, Recorded::Is(record) if record.guid == pool.guid))
}

/// Gathers facts and decides. The text is what `zpool import` wrote.
fn look(guest: &mut Guest<'_>) -> (Decision, String) {
    let known = match know(guest) {
        Ok(known) => known,
        Err(error) => return (Decision::Rescue(format!("{error:#}")), String::new()),
    };
    let key = guest.state.key.as_ref().map(|key| key.disk.clone());
    let mut machine = Machine { commands: guest.commands, key, search: String::new() };
    let decision = decision::decide(&known, &mut machine);
    (decision, machine.search)
}

fn know(guest: &mut Guest<'_>) -> Result<Known> {
    let mut known = Known {
        boot: Boot::read(|name| bootparams::property(guest, name))?,
        key_trouble: None,
        recorded: Recorded::Nothing,
        intent: None,
        named_disk: None,
        active: Ok(Vec::new()),
    };
    let Some(key) = &guest.state.key else {
        let trouble = guest.state.storage.key_trouble.clone();
        known.key_trouble =
            Some(trouble.unwrap_or_else(|| "the disk with the boot files is not mounted".to_owned()));
        return Ok(known);
    };
    let folder = Path::new(&key.folder);
    known.recorded = records::record(folder)?;
    known.intent = records::intent(folder)?;
    known.named_disk = named_disk(folder);
    known.active = zpool::list(guest.commands).map_err(|error| format!("{error:#}"));
    Ok(known)
}

/// The longest configuration that is read, in bytes.
const LONGEST_CONFIG: u64 = 1 << 20;

/// The disk that `pool_disk=` in the configuration names; the last such line counts.
fn named_disk(key: &Path) -> Option<String> {
    let bytes = files::read(&key.join("config"), LONGEST_CONFIG).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let name = text.lines().rev().find_map(|line| line.trim().strip_prefix("pool_disk="))?;
    let name = name.trim().trim_matches(['"', '\'']);
    (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| name.to_owned())
}

/// Finds facts on this machine.
struct Machine<'a> {
    commands: &'a mut dyn Commands,
    key: Option<String>,
    search: String,
}

impl Look for Machine<'_> {
    fn importable(&mut self) -> Result<Vec<Importable>, String> {
        let (pools, text) =
            zpool::search(self.commands, Search::Present).map_err(|error| format!("{error:#}"))?;
        self.search = text;
        Ok(pools)
    }

    fn destroyed(&mut self) -> Result<Vec<Importable>, String> {
        let found = zpool::search(self.commands, Search::Destroyed);
        found.map(|(pools, _)| pools).map_err(|error| format!("{error:#}"))
    }

    fn disks(&mut self) -> Result<Vec<DataDisk>, String> {
        let disks = disks::all().map_err(|error| format!("{error:#}"))?;
        let data = disks.into_iter().filter(|disk| !disk.removable && Some(&disk.name) != self.key.as_ref());
        Ok(data
            .map(|disk| {
                let bytes = disk.size.as_ref().map_or(0, |&(bytes, _)| bytes);
                DataDisk { content: disk.content(), name: disk.name, bytes }
            })
            .collect())
    }
}

fn act(guest: &mut Guest<'_>, decision: Decision) -> Result<()> {
    if !matches!(decision, Decision::Rescue(_)) {
        // Somebody runs this phase again, after an earlier run in this boot ended in rescue mode.
        rescue::leave(guest);
    }
    let pool = match decision {
        Decision::Rescue(reason) => bail!(reason),
        Decision::Use(pool) => {
            make_sure_that_it_is_ours(guest, &pool)?;
            pool
        }
        Decision::Import(pool) => {
            zpool::import(guest.commands, pool.guid)?;
            imported(guest, |other| other.guid == pool.guid)?
        }
        Decision::Adopt { pool, unfinished } => {
            adopt(guest, &pool, unfinished)?;
            imported(guest, |other| other.guid == pool.guid)?
        }
        Decision::Make { intent, create } => make(guest, &intent, create)?,
    };
    if !is_recorded(guest, &pool)? {
        let record = Record { guid: pool.guid, complete: false };
        key::write(guest, |_, folder| records::write_record(folder, &record))?;
    }
    guest.state.pool = Some(pool);
    Ok(())
}

/// The pool as it is listed now that it is imported.
fn imported(guest: &mut Guest<'_>, is_it: impl Fn(&Active) -> bool) -> Result<Pool> {
    let active = zpool::list(guest.commands)?;
    let pool = active.into_iter().find(is_it).context("the pool is not among those that are imported")?;
    if pool.health != "ONLINE" {
        guest.log.console(&format!("WARNING: pool {} is {}; see zpool status", pool.name, pool.health));
    }
    Ok(Pool { name: pool.name, guid: pool.guid })
}

/// A pool that is imported and of which there is no record: somebody imported it by hand, or an earlier run of this phase
/// was stopped before it wrote the record.
fn make_sure_that_it_is_ours(guest: &mut Guest<'_>, pool: &Pool) -> Result<()> {
    let Some(key) = &guest.state.key else { bail!("there is no key") };
    if is_recorded(guest, pool)? {
        return Ok(());
    }
    let unfinished = records::intent(Path::new(&key.folder))?.is_some();
    let datasets = zfs::list(guest.commands, &pool.name)?;
    must_be_ours(pool, &datasets, unfinished)?;
    guest.state.storage.datasets = Some(datasets);
    Ok(())
}

fn must_be_ours(pool: &Pool, datasets: &Datasets, unfinished: bool) -> Result<()> {
    let names: Vec<&str> = datasets.keys().map(String::as_str).collect();
    if !decision::is_ours(&pool.name, &names, unfinished) {
        bail!(
            "pool {} ({}) has not the datasets var, opt and config, so it may be somebody else's",
            pool.name,
            pool.guid
        );
    }
    if let Some((name, mountpoint)) = mounted_elsewhere(&pool.name, datasets) {
        bail!(
            "{name} would be mounted on {mountpoint}, so pool {} ({}) may be somebody else's",
            pool.name,
            pool.guid
        );
    }
    Ok(())
}

/// The dataset whose mount point is another than a first boot gives it, and where that is. Such a pool could not be used, and
/// must not be written to only to find that out.
fn mounted_elsewhere<'a>(pool: &str, datasets: &'a Datasets) -> Option<(&'a str, &'a str)> {
    let root = (pool.to_owned(), format!("/{pool}"));
    let essential = datasets::ESSENTIAL.map(|name| (format!("{pool}/{name}"), "legacy".to_owned()));
    std::iter::once(root).chain(essential).find_map(|(name, wanted)| {
        let (name, dataset) = datasets.get_key_value(&name)?;
        (dataset.mountpoint != wanted).then_some((name.as_str(), dataset.mountpoint.as_str()))
    })
}

/// Imports a pool of which there is no record, if its datasets are those of a guest. It is looked at without writing first.
fn adopt(guest: &mut Guest<'_>, pool: &Pool, unfinished: bool) -> Result<()> {
    zpool::import_to_look(guest.commands, pool.guid)?;
    let datasets = zfs::list(guest.commands, &pool.name);
    zpool::export(guest.commands, &pool.name)?;
    let datasets = datasets?;
    must_be_ours(pool, &datasets, unfinished)?;
    zpool::import(guest.commands, pool.guid)?;
    guest.state.storage.datasets = Some(datasets);
    Ok(())
}

/// Makes a pool. What is about to be done is on the key before anything is done.
fn make(guest: &mut Guest<'_>, intent: &Intent, create: Create) -> Result<Pool> {
    key::write(guest, |_, folder| records::write_intent(folder, intent))?;
    guest.log.console(&format!("making pool {POOL} on disk {}", intent.disk));
    zpool::create(guest.commands, POOL, &intent.disk, create)?;
    let made = imported(guest, |pool| pool.name == POOL)?;
    let root = Dataset {
        mountpoint: format!("/{POOL}"),
        checksum: "on".to_owned(),
        complete: false,
        factory_reset: false,
    };
    guest.state.storage.datasets = Some(Datasets::from([(POOL.to_owned(), root)]));
    guest.state.storage.new_disk = Some(intent.bytes);
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazard_05_a_pool_that_would_be_mounted_elsewhere_is_not_adopted() {
        let ours = [
            ("zones", "/zones"),
            ("zones/config", "legacy"),
            ("zones/opt", "legacy"),
            ("zones/var", "legacy"),
        ];
        let judged = |name: &str, mountpoint: &str| {
            let dataset = |mountpoint: &str| Dataset {
                mountpoint: mountpoint.to_owned(),
                checksum: "on".to_owned(),
                complete: false,
                factory_reset: false,
            };
            let mut datasets: Datasets =
                ours.iter().map(|(name, mountpoint)| ((*name).to_owned(), dataset(mountpoint))).collect();
            datasets.insert(name.to_owned(), dataset(mountpoint));
            must_be_ours(&Pool { name: "zones".to_owned(), guid: 1 }, &datasets, false).is_ok()
        };
        assert!(judged("zones/data", "/data"), "other datasets are the owner's affair");
        for (name, mountpoint) in [
            ("zones", "/usr"),
            ("zones", "legacy"),
            ("zones/var", "/var"),
            ("zones/opt", "none"),
            ("zones/config", "-"),
        ] {
            assert!(!judged(name, mountpoint), "{name} {mountpoint}");
        }
    }

    #[test]
    fn hazard_04_the_configuration_can_name_the_disk() {
        let key = tempfile::tempdir().expect("a folder");
        assert_eq!(named_disk(key.path()), None);
        for (text, name) in [
            ("pool_disk=c1t0d0\n", Some("c1t0d0")),
            ("pool_disk='c1t0d0'\r\n", Some("c1t0d0")),
            ("pool_disk=c1t0d0\npool_disk=c2t0d0\nadmin_nic=0\n", Some("c2t0d0")),
            ("#pool_disk=c1t0d0\n", None),
            ("pool_disk=-f\n", None),
            ("pool_disk=\n", None),
        ] {
            std::fs::write(key.path().join("config"), text).expect("written");
            assert_eq!(named_disk(key.path()).as_deref(), name, "{text}");
        }
    }
}
