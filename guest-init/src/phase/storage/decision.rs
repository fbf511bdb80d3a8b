//! Which pool this guest uses: one that is there, a new one, or none.
//!
//! Everything that is decided about disks is decided here, from facts, without doing anything. The rules are few. A pool is
//! this guest's if the key says so. If the key says nothing, a single healthy pool of the right name may be it, which is
//! then looked at without writing. A pool is made only where it is certain that nothing is lost. In every other case a
//! person has to decide, and the guest comes up in rescue mode.

use super::content::Content;
use super::records::{Intent, Recorded};
use crate::command::zpool::{Active, Create, Importable};
use crate::state::Pool;

/// The name of a guest's pool.
pub const POOL: &str = "zones";

/// The smallest disk that a pool is made on, in bytes.
pub const SMALLEST: u64 = 512 << 20;

/// What the boot menu says about pools. `destroy_zpools` is none of it, whatever its value.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Whether no pool is to be touched.
    pub noimport: bool,
    /// The pools that may be imported; all when empty.
    pub pools: Vec<String>,
}

impl Boot {
    /// From the boot properties, which `value` looks up.
    pub fn read<E>(mut value: impl FnMut(&str) -> Result<Option<String>, E>) -> Result<Self, E> {
        let noimport = value("noimport")?.is_some_and(|value| value == "true");
        let pools = value("zpools")?.or(value("zpool")?).unwrap_or_default();
        let pools = pools.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(Self { noimport, pools: pools.map(str::to_owned).collect() })
    }
}

/// What is known before anything is looked for on the disks.
#[derive(Debug, Clone)]
pub struct Known {
    /// How the kernel was started.
    pub boot: Boot,
    /// What was wrong with the key, if there is none.
    pub key_trouble: Option<String>,
    /// What the key says about the pool.
    pub recorded: Recorded,
    /// What the key says about one that is being made.
    pub intent: Option<Intent>,
    /// The disk that the owner named for a pool.
    pub named_disk: Option<String>,
    /// The pools that are imported, or why that is not known.
    pub active: Result<Vec<Active>, String>,
}

/// A disk that could take a pool: one that stays in the machine and is not the key.
#[derive(Debug, Clone)]
pub struct DataDisk {
    /// Its name, such as `c1t0d0`.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// What is on it, or why that is not known.
    pub content: Result<Content, String>,
}

/// Facts that cost time, and are asked for only when the others do not decide. A reason stands for what is not known.
pub trait Look {
    /// The pools on disks that are not imported.
    fn importable(&mut self) -> Result<Vec<Importable>, String>;
    /// Those that were destroyed.
    fn destroyed(&mut self) -> Result<Vec<Importable>, String>;
    /// The disks for data.
    fn disks(&mut self) -> Result<Vec<DataDisk>, String>;
}

/// What to do about the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is imported.
    Use(Pool),
    /// Import it; it is this guest's.
    Import(Pool),
    /// Look into it without writing; if it [is one of ours](is_ours), import it.
    Adopt {
        /// The pool.
        pool: Pool,
        /// Whether it is the one that was being made when the machine stopped, which need not have its datasets yet.
        unfinished: bool,
    },
    /// Make one.
    Make {
        /// The disk.
        intent: Intent,
        /// Whether something is left of an interrupted attempt on it.
        create: Create,
    },
    /// Go without a pool, for this reason.
    Rescue(String),
}

/// Decides.
pub fn decide(known: &Known, look: &mut dyn Look) -> Decision {
    match try_to_decide(known, look) {
        Ok(decision) => decision,
        Err(reason) => Decision::Rescue(reason),
    }
}

fn try_to_decide(known: &Known, look: &mut dyn Look) -> Result<Decision, String> {
    if known.boot.noimport {
        return Err("boot property noimport=true".to_owned());
    }
    if let Some(trouble) = &known.key_trouble {
        return Err(trouble.clone());
    }
    let active = known.active.as_ref().map_err(|reason| format!("the pools are not known: {reason}"))?;
    let recorded = match &known.recorded {
        Recorded::Is(record) => Some(record.guid),
        Recorded::Nothing | Recorded::Damaged => None,
    };
    if let Some(decision) = of_active(active, recorded)? {
        return Ok(decision);
    }
    let importable =
        look.importable().map_err(|reason| format!("the pools on the disks are not known: {reason}"))?;
    if let Some(guid) = recorded {
        let pool = recorded_pool(&importable, guid)?;
        return allowed(&known.boot, &pool.name).map(|()| Decision::Import(pool));
    }
    allowed(&known.boot, POOL)?;
    match importable.iter().filter(|pool| pool.name == POOL).collect::<Vec<_>>()[..] {
        [] => make(known, &importable, look),
        [pool] => adopt(known, pool),
        [..] => Err(format!(
            "there are several pools named {POOL}, and the key does not say which is this guest's"
        )),
    }
}

/// The decision if an imported pool makes it. Nothing but this phase imports pools before it is done, unless a person did.
fn of_active(active: &[Active], recorded: Option<u64>) -> Result<Option<Decision>, String> {
    let usable = |pool: &Active| match pool.health.as_str() {
        "ONLINE" | "DEGRADED" => Ok(Some(Decision::Use(Pool { name: pool.name.clone(), guid: pool.guid }))),
        health => Err(format!("pool {} is {health}", pool.name)),
    };
    let named = active.iter().find(|pool| pool.name == POOL);
    match (recorded, named) {
        (Some(guid), _) if active.iter().any(|pool| pool.guid == guid) => {
            active.iter().find(|pool| pool.guid == guid).map_or(Ok(None), usable)
        }
        (Some(guid), Some(pool)) => Err(format!(
            "a pool named {POOL} is imported ({}), but this guest's is another ({guid})",
            pool.guid
        )),
        (None, Some(pool)) => usable(pool),
        (_, None) => Ok(None),
    }
}

fn recorded_pool(importable: &[Importable], guid: u64) -> Result<Pool, String> {
    match importable.iter().filter(|pool| pool.guid == guid).collect::<Vec<_>>()[..] {
        [] => Err(format!("this guest's pool ({guid}) is on none of the disks")),
        [pool] => match pool.obstacle() {
            None => Ok(Pool { name: pool.name.clone(), guid }),
            Some(obstacle) => {
                Err(format!("this guest's pool, {} ({guid}), cannot be imported: {obstacle}", pool.name))
            }
        },
        [..] => Err(format!("this guest's pool ({guid}) is there more than once")),
    }
}

fn allowed(boot: &Boot, name: &str) -> Result<(), String> {
    if boot.pools.is_empty() || boot.pools.iter().any(|pool| pool == name) {
        return Ok(());
    }
    Err(format!("the boot properties name pools, and {name} is none of them"))
}

/// A pool of the right name, of which the key says nothing.
fn adopt(known: &Known, pool: &Importable) -> Result<Decision, String> {
    let obstacle =
        pool.obstacle().or_else(|| (pool.state != "ONLINE").then(|| format!("it is {}", pool.state)));
    if let Some(obstacle) = obstacle {
        return Err(format!("pool {POOL} ({}) cannot be imported: {obstacle}", pool.guid));
    }
    let unfinished = known.intent.as_ref().is_some_and(|intent| pool.is_on(&intent.disk));
    Ok(Decision::Adopt { pool: Pool { name: pool.name.clone(), guid: pool.guid }, unfinished })
}

/// A new pool, if nothing is lost by it. That a command failed never counts as a sign that there is nothing.
fn make(known: &Known, importable: &[Importable], look: &mut dyn Look) -> Result<Decision, String> {
    if known.recorded != Recorded::Nothing {
        return Err("the key's record of the pool is damaged, and there is no pool; none is made".to_owned());
    }
    let destroyed = look
        .destroyed()
        .map_err(|reason| format!("the destroyed pools on the disks are not known: {reason}"))?;
    let disks = look.disks().map_err(|reason| format!("the disks are not known: {reason}"))?;
    let disk = choose(known, &disks)?;
    let name = &disk.name;
    if let Some(pool) = importable.iter().chain(&destroyed).find(|pool| pool.is_on(name)) {
        return Err(format!("disk {name} belongs to pool {} ({})", pool.name, pool.guid));
    }
    if let Some(pool) = destroyed.iter().find(|pool| pool.name == POOL) {
        return Err(format!("pool {POOL} ({}) was destroyed; zpool import -D can bring it back", pool.guid));
    }
    if disk.bytes < SMALLEST {
        return Err(format!("disk {name} is smaller than {} MiB", SMALLEST >> 20));
    }
    let intent = Intent { disk: name.clone(), bytes: disk.bytes };
    match &disk.content {
        Ok(Content::Blank) => Ok(Decision::Make { intent, create: Create::IfEmpty }),
        Ok(Content::Unfinished) if known.intent.as_ref() == Some(&intent) => {
            Ok(Decision::Make { intent, create: Create::Again })
        }
        Ok(Content::Unfinished) => {
            Err(format!("disk {name} is not blank: it has the label of a pool without one"))
        }
        Ok(Content::Something(what)) => Err(format!("disk {name} is not blank: {what}")),
        Err(reason) => Err(format!("disk {name} cannot be read: {reason}")),
    }
}

/// The one disk that may take the pool.
fn choose<'a>(known: &Known, disks: &'a [DataDisk]) -> Result<&'a DataDisk, String> {
    if let Some(name) = &known.named_disk {
        return disks
            .iter()
            .find(|disk| disk.name == *name)
            .ok_or_else(|| format!("there is no disk {name}, which pool_disk names"));
    }
    match disks {
        [] => Err("there is no disk for data".to_owned()),
        [disk] => Ok(disk),
        [..] => {
            let intended = |intent: &Intent| {
                disks.iter().find(|disk| disk.name == intent.disk && disk.bytes == intent.bytes)
            };
            known.intent.as_ref().and_then(intended).ok_or_else(|| {
                let names: Vec<_> = disks.iter().map(|disk| disk.name.as_str()).collect();
                format!(
                    "there are several disks for data ({}); pool_disk=NAME in /usbkey/config chooses one",
                    names.join(", ")
                )
            })
        }
    }
}

/// The datasets that a pool of ours has, below the pool.
const OURS: [&str; 9] =
    ["config", "cores", "cores/global", "opt", "var", "var.new", "swap", "dump", "usbkey"];

/// Whether a pool without a record is one of ours, by its datasets: it has those that every boot needs, or else it is the
/// one that was being made and has nothing that we would not have made.
pub fn is_ours(pool: &str, datasets: &[&str], unfinished: bool) -> bool {
    let below = |name: &str| {
        let rest = name.strip_prefix(pool).and_then(|rest| rest.strip_prefix('/'));
        rest.unwrap_or_default().to_owned()
    };
    let has = |wanted: &str| datasets.iter().any(|name| below(name) == wanted);
    let all_ours = || datasets.iter().all(|name| *name == pool || OURS.contains(&below(name).as_str()));
    ["var", "opt", "config"].into_iter().all(has) || (unfinished && all_ours())
}

#[cfg(test)]
mod tests;
