//! The pool: found, imported or made, as [`decision`](super::decision) says.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, bail};
use guest_mdata::Clock;

use super::content::Content;
use super::decision::{self, Boot, DataDisk, Decision, Known, Look, POOL};
use super::devices::Devices;
use super::disks::{self, Disk};
use super::journal::Reached;
use super::records::{self, Intent, Record, Recorded};
use super::{datasets, key, marks, rescue, var};
use crate::command::zfs::{self, Dataset, Datasets};
use crate::command::zpool::{self, Active, Create, Search, Searched};
use crate::command::{Commands, bootparams, devfsadm};
use crate::engine::{Finding, Guest, Log, OnFailure, Step};
use crate::files;
use crate::phase::identity::metadata::Metadata;
use crate::phase::identity::settings;
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
        OnFailure::End(rescue::enter)
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
                Finding::Needed(format!("pool {} ({}) is imported if it can be used", pool.name, pool.guid))
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
        act(guest, decision)
    }

    /// The pool was seen in the list of imported pools after what was done.
    fn verify(&self, guest: &mut Guest<'_>) -> Result<()> {
        guest.state.pool.as_ref().map(drop).context("there is no pool")
    }
}

fn is_recorded(guest: &Guest<'_>, pool: &Pool) -> Result<bool> {
    Ok(recorded(guest, pool)?.is_some())
}

fn is_recorded_complete(guest: &Guest<'_>, pool: &Pool) -> Result<bool> {
    Ok(recorded(guest, pool)?.is_some_and(|record| record.complete))
}

/// What the key says about a pool.
fn recorded(guest: &Guest<'_>, pool: &Pool) -> Result<Option<Record>> {
    let Some(key) = &guest.state.key else { return Ok(None) };
    Ok(match records::record(Path::new(&key.folder))? {
        Recorded::Is(record) => Some(record).filter(|record| record.guid == pool.guid),
        Recorded::Nothing | Recorded::Damaged => None,
    })
}

/// Gathers facts and decides. The text is what `zpool import` wrote.
fn look(guest: &mut Guest<'_>) -> (Decision, String) {
    let known = match know(guest) {
        Ok(known) => known,
        Err(error) => return (Decision::Rescue(format!("{error:#}")), String::new()),
    };
    let mut machine = Machine {
        commands: guest.commands,
        clock: guest.clock,
        metadata: guest.metadata,
        log: guest.log,
        key: guest.state.key.as_ref().map(|key| key.disk.clone()),
        search: String::new(),
        disks: Vec::new(),
        waits: 0,
    };
    let decision = decision::decide(&known, &mut machine);
    (decision, machine.search)
}

fn know(guest: &mut Guest<'_>) -> Result<Known> {
    let mut known = Known {
        boot: Boot::read(|name| bootparams::property(guest, name))?,
        key_trouble: None,
        recorded: Recorded::Nothing,
        intent: None,
        named_disk: Ok(None),
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

/// The name of the setting that names the disk for a pool.
const POOL_DISK: &str = "pool_disk";

/// The disk that `pool_disk=` in the configuration names; the last such line counts.
fn named_disk(key: &Path) -> Result<Option<String>, String> {
    let path = key.join("config");
    let bytes = match files::read(&path, LONGEST_CONFIG) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let text = String::from_utf8_lossy(&bytes);
    let line = |line: &str| line.trim().strip_prefix(POOL_DISK)?.strip_prefix('=').map(disk_name);
    Ok(text.lines().rev().find_map(line).filter(|name| !name.is_empty()))
}

/// A disk as somebody wrote it. A name that no disk has stays one: whoever wrote it meant some disk, and not any.
fn disk_name(text: &str) -> String {
    let text = text.trim().trim_matches(['"', '\'']);
    let name = ["/dev/dsk/", "/dev/rdsk/"].iter().find_map(|folder| text.strip_prefix(folder));
    name.unwrap_or(text).to_owned()
}

/// How long disks that come late are waited for each time, half a minute together. Each time costs two commands.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(4), Duration::from_secs(8), Duration::from_secs(16)];

/// Finds facts on this machine.
struct Machine<'a> {
    commands: &'a mut dyn Commands,
    clock: &'a dyn Clock,
    metadata: &'a mut Metadata,
    log: &'a mut Log,
    key: Option<String>,
    search: String,
    disks: Vec<Disk>,
    waits: usize,
}

impl Look for Machine<'_> {
    fn importable(&mut self) -> Result<Searched, String> {
        let found = zpool::search(self.commands, Search::Present).map_err(|error| format!("{error:#}"))?;
        self.search.clone_from(&found.text);
        Ok(found)
    }

    fn destroyed(&mut self) -> Result<Searched, String> {
        zpool::search(self.commands, Search::Destroyed).map_err(|error| format!("{error:#}"))
    }

    fn disks(&mut self) -> Result<Vec<DataDisk>, String> {
        if !marks::is_done(Devices.name()) {
            return Err("not all of them may have their names".to_owned());
        }
        self.disks = disks::all().map_err(|error| format!("{error:#}"))?;
        self.disks.retain(|disk| !disk.removable && Some(&disk.name) != self.key.as_ref());
        let data = self.disks.iter().map(|disk| DataDisk {
            name: disk.name.clone(),
            bytes: disk.size.clone().map(|(bytes, _)| bytes),
        });
        Ok(data.collect())
    }

    fn content(&mut self, disk: &str) -> Result<Content, String> {
        let disk = self.disks.iter().find(|known| known.name == disk).ok_or("it is gone")?;
        disk.content()
    }

    fn named_by_host(&mut self) -> Option<String> {
        let value = self.metadata.lookup(&format!("{}{POOL_DISK}", settings::PREFIX)).value()?;
        Some(disk_name(&String::from_utf8_lossy(&value))).filter(|name| !name.is_empty())
    }

    fn wait(&mut self) -> bool {
        let Some(pause) = PAUSES.get(self.waits) else { return false };
        // A plan changes nothing, names of disks included, and does not wait for what it cannot see.
        if let Err(error) = devfsadm::name_disks(self.commands) {
            self.log.line(&format!("disks that come late are not waited for: {error:#}"));
            return false;
        }
        if self.waits == 0 {
            self.log.console("a disk of this guest is not there; it is waited for, half a minute at most");
        }
        self.waits += 1;
        self.clock.sleep(*pause);
        true
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
            let was_complete = is_recorded_complete(guest, &pool)?;
            import(guest, &pool, |pool, datasets| must_be_usable(pool, datasets, was_complete))?
        }
        Decision::Adopt { pool, unfinished } => {
            import(guest, &pool, |pool, datasets| must_be_ours(pool, datasets, unfinished))?
        }
        Decision::Make { intent, create } => make(guest, &intent, create)?,
    };
    // First of all, so that rescue mode lets go of it.
    guest.state.pool = Some(pool.clone());
    record(guest, &pool)
}

/// Writes down that this is the guest's pool, unless it is written already.
fn record(guest: &mut Guest<'_>, pool: &Pool) -> Result<()> {
    if is_recorded(guest, pool)? {
        return Ok(());
    }
    let record = Record { guid: pool.guid, complete: false };
    key::write(guest, |_, folder| records::write_record(folder, &record))
}

/// The pool as it is listed now that it is imported.
fn imported(guest: &mut Guest<'_>, is_it: impl Fn(&Active) -> bool) -> Result<Pool> {
    let active = zpool::list(guest.commands)?;
    let pool = active.into_iter().find(is_it).context("the pool is not among those that are imported")?;
    if pool.health != "ONLINE" {
        guest.log.warn(&format!("pool {} is {}; see zpool status", pool.name, pool.health));
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
    must_be_usable(pool, datasets, false)
}

/// Makes sure that nothing is wrong with a pool that would only be found out after it was written to. Whether it was complete
/// can be known from the key, or from the pool itself.
fn must_be_usable(pool: &Pool, datasets: &Datasets, was_complete: bool) -> Result<()> {
    let Pool { name, guid } = pool;
    if let Some((dataset, mountpoint)) = mounted_elsewhere(name, datasets) {
        bail!("{dataset} would be mounted on {mountpoint}, so pool {name} ({guid}) may be somebody else's");
    }
    let in_pool = datasets.get(name).map_or(Reached::Pool, |root| Reached::by_word(&root.step));
    let reached = if was_complete { Reached::Complete } else { in_pool };
    if let Some(lost) = datasets::lost(name, datasets, reached) {
        bail!("dataset {name}/{lost} is gone");
    }
    Ok(())
}

/// The dataset whose mount point is another than a first boot gives it, and where that is. Such a pool could not be used, and
/// must not be written to only to find that out.
fn mounted_elsewhere<'a>(pool: &str, datasets: &'a Datasets) -> Option<(&'a str, &'a str)> {
    let root = (pool.to_owned(), format!("/{pool}"));
    let essential = datasets::ESSENTIAL.map(|name| (format!("{pool}/{name}"), "legacy".to_owned()));
    let new = format!("{pool}/var.new");
    // It loses its place when it is whole.
    let is_whole = datasets.get(&new).is_some_and(|new| new.mountpoint == "legacy");
    let copy = (!is_whole).then(|| (new, var::place_of_copy(pool)));
    std::iter::once(root).chain(essential).chain(copy).find_map(|(name, wanted)| {
        let (name, dataset) = datasets.get_key_value(&name)?;
        (dataset.mountpoint != wanted).then_some((name.as_str(), dataset.mountpoint.as_str()))
    })
}

/// Imports a pool, once it has been looked at without writing and `check` found nothing wrong with it, and once the key says
/// that it is this guest's.
fn import(
    guest: &mut Guest<'_>,
    pool: &Pool,
    check: impl Fn(&Pool, &Datasets) -> Result<()>,
) -> Result<Pool> {
    let folder = format!("/{}", pool.name);
    // A pool can have the name of a folder of the platform.
    if fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("pool {} ({}) would cover {folder}, where something is already", pool.name, pool.guid);
    }
    zpool::import_to_look(guest.commands, pool.guid)?;
    let datasets = zfs::list(guest.commands, &pool.name);
    zpool::export(guest.commands, &pool.name)?;
    let datasets = datasets?;
    check(pool, &datasets)?;
    record(guest, pool)?;
    zpool::import(guest.commands, pool.guid)?;
    guest.state.storage.datasets = Some(datasets);
    imported(guest, |other| other.guid == pool.guid)
}

/// Makes a pool. What is about to be done is on the key before anything is done.
fn make(guest: &mut Guest<'_>, intent: &Intent, create: Create) -> Result<Pool> {
    key::write(guest, |_, folder| records::write_intent(folder, intent))?;
    guest.log.console(&format!("making pool {POOL} on disk {}", intent.disk));
    let journal = format!("{}={}", zfs::STEP, Reached::Pool.word());
    zpool::create(guest.commands, POOL, &intent.disk, create, &journal)?;
    let made = imported(guest, |pool| pool.name == POOL);
    if made.is_err() {
        // It is mounted all the same.
        rescue::uncover(guest, POOL);
    }
    let made = made?;
    let root = Dataset { step: Reached::Pool.word().to_owned(), ..Dataset::new(&format!("/{POOL}")) };
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
            let mut datasets: Datasets = ours
                .iter()
                .map(|(name, mountpoint)| ((*name).to_owned(), Dataset::new(mountpoint)))
                .collect();
            datasets.insert(name.to_owned(), Dataset::new(mountpoint));
            must_be_ours(&Pool { name: "zones".to_owned(), guid: 1 }, &datasets, false).is_ok()
        };
        assert!(judged("zones/data", "/data"), "other datasets are the owner's affair");
        assert!(judged("zones/var.new", "legacy") && judged("zones/var.new", "/zones/.var.new"));
        for (name, mountpoint) in [
            ("zones", "/usr"),
            ("zones", "legacy"),
            ("zones/var", "/var"),
            ("zones/opt", "none"),
            ("zones/config", "-"),
            ("zones/var.new", "/usr"),
        ] {
            assert!(!judged(name, mountpoint), "{name} {mountpoint}");
        }
    }

    #[test]
    fn hazard_04_the_configuration_can_name_the_disk() {
        let key = tempfile::tempdir().expect("a folder");
        assert_eq!(named_disk(key.path()), Ok(None));
        for (text, name) in [
            ("pool_disk=c1t0d0\n", Some("c1t0d0")),
            ("pool_disk='c1t0d0'\r\n", Some("c1t0d0")),
            ("pool_disk=/dev/dsk/c1t0d0\n", Some("c1t0d0")),
            ("pool_disk=c1t0d0\npool_disk=c2t0d0\nadmin_nic=0\n", Some("c2t0d0")),
            ("#pool_disk=c1t0d0\npool_disks=c2t0d0\n", None),
            ("pool_disk=\n", None),
            // It is no disk, and no reason to take any other.
            ("pool_disk=-f\n", Some("-f")),
        ] {
            std::fs::write(key.path().join("config"), text).expect("written");
            assert_eq!(named_disk(key.path()), Ok(name.map(str::to_owned)), "{text}");
        }
        std::fs::remove_file(key.path().join("config")).expect("removed");
        std::fs::create_dir(key.path().join("config")).expect("made");
        named_disk(key.path()).expect_err("nobody knows what it said");
    }
}
