//! Which pool this guest uses: one that is there, a new one, or none.
//!
//! Everything that is decided about disks is decided here, from facts, without doing anything. The rules are few. A pool is
//! this guest's if the key says so. If the key says nothing, a single healthy pool of the right name may be it, which is
//! then looked at without writing. A pool is made only where it is certain that nothing is lost. A disk that the key tells of
//! and that is not there may come late, and is waited for a while. In every other case a person has to decide, and the guest
//! comes up in rescue mode.

use super::content::Content;
use super::records::{Intent, Recorded};
use crate::command::zpool::{Active, Create, Importable, Searched};
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
    /// The disk that the owner named for a pool in the configuration, or why that is not known.
    pub named_disk: Result<Option<String>, String>,
    /// The pools that are imported, or why that is not known.
    pub active: Result<Vec<Active>, String>,
}

/// A disk that could take a pool: one that stays in the machine and is not the key.
#[derive(Debug, Clone)]
pub struct DataDisk {
    /// Its name, such as `c1t0d0`.
    pub name: String,
    /// Its size in bytes, or why that is not known.
    pub bytes: Result<u64, String>,
}

impl DataDisk {
    /// Whether this is the disk on which a pool was about to be made.
    fn is_intended(&self, intent: &Intent) -> bool {
        self.name == intent.disk && self.bytes == Ok(intent.bytes)
    }
}

/// Facts that cost time, and are asked for only when the others do not decide. A reason stands for what is not known.
pub trait Look {
    /// The pools on disks that are not imported.
    fn importable(&mut self) -> Result<Searched, String>;
    /// Those that were destroyed.
    fn destroyed(&mut self) -> Result<Searched, String>;
    /// The disks for data.
    fn disks(&mut self) -> Result<Vec<DataDisk>, String>;
    /// What is on one of them.
    fn content(&mut self, disk: &str) -> Result<Content, String>;
    /// The disk that the host names for a pool.
    fn named_by_host(&mut self) -> Option<String>;
    /// Waits for disks that come late, and looks which are there. Tells whether it is worth to look again: not when they have
    /// been waited for long enough.
    fn wait(&mut self) -> bool;
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

/// Why there is no pool to use.
#[derive(Debug)]
struct Refusal {
    reason: String,
    /// Whether it is for want of a disk that the key tells of, and which may come late.
    is_for_want_of_a_disk: bool,
}

impl Refusal {
    fn for_want_of_a_disk(reason: String) -> Self {
        Self { reason, is_for_want_of_a_disk: true }
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, is_for_want_of_a_disk: false }
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

/// Decides.
pub fn decide(known: &Known, look: &mut dyn Look) -> Decision {
    loop {
        match try_to_decide(known, look) {
            Ok(decision) => return decision,
            Err(refusal) if refusal.is_for_want_of_a_disk && look.wait() => {}
            Err(refusal) => return Decision::Rescue(refusal.reason),
        }
    }
}

fn try_to_decide(known: &Known, look: &mut dyn Look) -> Result<Decision, Refusal> {
    if known.boot.noimport {
        return Err("boot property noimport=true".into());
    }
    if let Some(trouble) = &known.key_trouble {
        return Err(trouble.clone().into());
    }
    let active = known.active.as_ref().map_err(|reason| format!("the pools are not known: {reason}"))?;
    let recorded = match &known.recorded {
        Recorded::Is(record) => Some(record.guid),
        Recorded::Nothing | Recorded::Damaged => None,
    };
    if let Some(decision) = of_active(active, recorded)? {
        return Ok(decision);
    }
    let found =
        look.importable().map_err(|reason| format!("the pools on the disks are not known: {reason}"))?;
    if let Some(guid) = recorded {
        let pool = recorded_pool(&found.pools, guid)?;
        allowed(&known.boot, &pool.name)?;
        return Ok(Decision::Import(pool));
    }
    allowed(&known.boot, POOL)?;
    match found.pools.iter().filter(|pool| pool.name == POOL).collect::<Vec<_>>()[..] {
        [] => make(known, &found, look),
        [pool] => adopt(known, pool, look),
        [..] => Err(format!(
            "there are several pools named {POOL}, and the key does not say which is this guest's"
        )
        .into()),
    }
}

/// The decision if an imported pool makes it. Nothing but this phase imports pools before it is done, unless a person did.
fn of_active(active: &[Active], recorded: Option<u64>) -> Result<Option<Decision>, String> {
    let usable = |pool: &Active| match pool.health.as_str() {
        // By somebody who looked into it, or by this phase if it was stopped while it did.
        _ if pool.read_only => {
            Err(format!("pool {} is imported read-only; zpool export {} lets go of it", pool.name, pool.name))
        }
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

fn recorded_pool(importable: &[Importable], guid: u64) -> Result<Pool, Refusal> {
    match importable.iter().filter(|pool| pool.guid == guid).collect::<Vec<_>>()[..] {
        [] => Err(Refusal::for_want_of_a_disk(format!("this guest's pool ({guid}) is on none of the disks"))),
        [pool] => match pool.obstacle() {
            None => Ok(Pool { name: pool.name.clone(), guid }),
            Some(obstacle) => Err(Refusal {
                reason: format!("this guest's pool, {} ({guid}), cannot be imported: {obstacle}", pool.name),
                is_for_want_of_a_disk: pool.lacks_devices(),
            }),
        },
        [..] => Err(format!("this guest's pool ({guid}) is there more than once").into()),
    }
}

fn allowed(boot: &Boot, name: &str) -> Result<(), String> {
    if boot.pools.is_empty() || boot.pools.iter().any(|pool| pool == name) {
        return Ok(());
    }
    Err(format!("the boot properties name pools, and {name} is none of them"))
}

/// A pool of the right name, of which the key says nothing.
fn adopt(known: &Known, pool: &Importable, look: &mut dyn Look) -> Result<Decision, Refusal> {
    let obstacle =
        pool.obstacle().or_else(|| (pool.state != "ONLINE").then(|| format!("it is {}", pool.state)));
    if let Some(obstacle) = obstacle {
        return Err(format!("pool {POOL} ({}) cannot be imported: {obstacle}", pool.guid).into());
    }
    let unfinished = match &known.intent {
        Some(intent) if pool.is_on(&intent.disk) => {
            // A disk of another size has taken its name meanwhile.
            look.disks()
                .map_err(|reason| format!("the disks are not known: {reason}"))?
                .iter()
                .any(|disk| disk.is_intended(intent))
        }
        _ => false,
    };
    Ok(Decision::Adopt { pool: Pool { name: pool.name.clone(), guid: pool.guid }, unfinished })
}

/// A new pool, if nothing is lost by it. That a command failed never counts as a sign that there is nothing.
fn make(known: &Known, found: &Searched, look: &mut dyn Look) -> Result<Decision, Refusal> {
    if known.recorded != Recorded::Nothing {
        let reason = "the key's record of the pool is damaged, and there is no pool; none is made";
        return Err(Refusal::for_want_of_a_disk(reason.to_owned()));
    }
    let destroyed = look
        .destroyed()
        .map_err(|reason| format!("the destroyed pools on the disks are not known: {reason}"))?;
    if let Some(complaint) = found.complaint.as_ref().or(destroyed.complaint.as_ref()) {
        return Err(format!("the pools on the disks are not all known: {complaint}").into());
    }
    let disks = look.disks().map_err(|reason| format!("the disks are not known: {reason}"))?;
    let disk = choose(known, &disks, look)?;
    let name = &disk.name;
    if let Some(pool) = found.pools.iter().chain(&destroyed.pools).find(|pool| pool.is_on(name)) {
        return Err(format!("disk {name} belongs to pool {} ({})", pool.name, pool.guid).into());
    }
    if let Some(pool) = destroyed.pools.iter().find(|pool| pool.name == POOL) {
        return Err(
            format!("pool {POOL} ({}) was destroyed; zpool import -D can bring it back", pool.guid).into()
        );
    }
    let unreadable = |reason| format!("disk {name} cannot be read: {reason}");
    let bytes = disk.bytes.clone().map_err(unreadable)?;
    if bytes < SMALLEST {
        return Err(format!("disk {name} is smaller than {} MiB", SMALLEST >> 20).into());
    }
    let intent = Intent { disk: name.clone(), bytes };
    match look.content(name).map_err(unreadable)? {
        Content::Blank => Ok(Decision::Make { intent, create: Create::IfEmpty }),
        Content::Unfinished if known.intent.as_ref() == Some(&intent) => {
            Ok(Decision::Make { intent, create: Create::Again })
        }
        Content::Unfinished => {
            Err(format!("disk {name} is not blank: it has the label of a pool without one").into())
        }
        Content::Something(what) => Err(format!("disk {name} is not blank: {what}").into()),
    }
}

/// The one disk that may take the pool.
///
/// Where one was about to be made, it may be there, whole, although nothing of it can be seen as long as its disk is missing: no
/// other disk takes that one's place unless the owner says so.
fn choose<'a>(known: &Known, disks: &'a [DataDisk], look: &mut dyn Look) -> Result<&'a DataDisk, Refusal> {
    let named = known
        .named_disk
        .clone()
        .map_err(|reason| format!("nobody knows whether pool_disk names a disk: {reason}"))?;
    if let Some(name) = named.or_else(|| look.named_by_host()) {
        return disks.iter().find(|disk| disk.name == name).ok_or_else(|| {
            format!("there is no disk {} for data, which pool_disk names", name.escape_debug()).into()
        });
    }
    if let Some(intent) = &known.intent {
        return disks.iter().find(|disk| disk.is_intended(intent)).ok_or_else(|| {
            Refusal::for_want_of_a_disk(format!(
                "disk {} of {} MiB is not there, on which a pool was about to be made",
                intent.disk.escape_debug(),
                intent.bytes >> 20
            ))
        });
    }
    match disks {
        [] => Err("there is no disk for data".into()),
        [disk] => Ok(disk),
        [..] => {
            let names: Vec<_> = disks.iter().map(|disk| disk.name.as_str()).collect();
            Err(format!(
                "there are several disks for data ({}); pool_disk=NAME chooses one, in /usbkey/config or as metadata \
                 key guest-init:pool_disk",
                names.join(", ")
            )
            .into())
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
