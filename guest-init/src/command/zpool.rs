//! `zpool`: pools, those that are imported and those that could be.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Commands, Invocation};

const PROGRAM: &str = "/usr/sbin/zpool";

/// How long a pool may take to be imported or found: logs are replayed, and each disk is waited for.
const LONG: Duration = Duration::from_mins(10);

/// What `zpool import` says, with status 0, when there is nothing (usr/src/cmd/zpool/zpool_main.c).
const NOTHING: &str = "no pools available to import";

/// A pool that is imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    /// Its name.
    pub name: String,
    /// Its identifier.
    pub guid: u64,
    /// Its health, such as `ONLINE`.
    pub health: String,
    /// Whether it is imported without the right to write to it.
    pub read_only: bool,
}

/// A pool that was found on disks and is not imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Importable {
    /// Its name; two pools may share one.
    pub name: String,
    /// Its identifier.
    pub guid: u64,
    /// Its state, such as `ONLINE` or `UNAVAIL`.
    pub state: String,
    /// Whether it was destroyed.
    pub destroyed: bool,
    /// What is said about it: status and action, on one line.
    pub remarks: String,
    /// What its table lists below its name: disks, and words such as `mirror-0`.
    pub devices: Vec<String>,
}

/// What is said of pools that must not be imported, or cannot be (zpool_main.c, `show_import`): the words, and what they
/// mean.
const OBSTACLES: [(&str, &str); 4] = [
    ("currently imported by another system", "another machine uses it at this moment"),
    ("uses the following feature(s) not supported", "it has features that this platform lacks"),
    ("can only be accessed in read-only mode", "it can only be read on this platform"),
    ("incompatible version", "its version is not one of this platform"),
];

impl Importable {
    /// Why it cannot be imported, if it cannot. That another machine used it last is no reason: the machine that wrote it
    /// was this one under another host number, because nothing exports the pool of a guest that is switched off.
    pub fn obstacle(&self) -> Option<String> {
        if self.destroyed {
            return Some("it was destroyed".to_owned());
        }
        if let Some((_, meaning)) = OBSTACLES.iter().find(|(words, _)| self.remarks.contains(words)) {
            return Some((*meaning).to_owned());
        }
        match self.state.as_str() {
            "ONLINE" | "DEGRADED" => None,
            state => Some(format!("its state is {state}: {}", self.remarks)),
        }
    }

    /// Whether it is not whole because devices are missing, which may come late.
    pub fn lacks_devices(&self) -> bool {
        self.state == "UNAVAIL" && self.remarks.contains("missing from the system")
    }

    /// Whether it has this whole disk, a slice of it, or a partition of it.
    pub fn is_on(&self, disk: &str) -> bool {
        self.devices.iter().any(|device| is_part_of(device, disk))
    }
}

/// Whether a device such as `c1t0d0s0` is a disk such as `c1t0d0` or a part of it.
fn is_part_of(device: &str, disk: &str) -> bool {
    let name = device.rsplit('/').next().unwrap_or(device);
    match name.strip_prefix(disk) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix(['s', 'p'])
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())),
        None => false,
    }
}

/// The pools that are imported.
pub fn list(commands: &mut dyn Commands) -> Result<Vec<Active>> {
    let invocation = Invocation::reads(PROGRAM, ["list", "-H", "-o", "name,guid,health,readonly"]);
    let text = commands.text(&invocation)?;
    parse_list(&text).with_context(|| format!("{invocation} wrote something else than pools"))
}

fn parse_list(text: &str) -> Result<Vec<Active>> {
    text.lines()
        .map(|line| {
            let [name, guid, health, read_only] = line.split('\t').collect::<Vec<_>>()[..] else {
                bail!("'{}' has not four columns", line.escape_debug());
            };
            let guid = guid.parse().with_context(|| format!("'{}' is no identifier", guid.escape_debug()))?;
            // Whatever is not known to be writable is not written to.
            let read_only = read_only != "off";
            Ok(Active { name: name.to_owned(), guid, health: health.to_owned(), read_only })
        })
        .collect()
}

/// The room in a pool, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub size: u64,
    /// What nothing takes.
    pub free: u64,
}

/// How much room there is in a pool.
pub fn space(commands: &mut dyn Commands, pool: &str) -> Result<Space> {
    let invocation = Invocation::reads(PROGRAM, ["list", "-Hp", "-o", "size,free", pool]);
    let text = commands.text(&invocation)?;
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    match (numbers.next().flatten(), numbers.next().flatten(), numbers.next()) {
        (Some(size), Some(free), None) => Ok(Space { size, free }),
        _ => bail!("{invocation} wrote '{}'", text.trim().escape_debug()),
    }
}

/// Which pools to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Those that were not destroyed.
    Present,
    /// Those that were.
    Destroyed,
}

/// What a search came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Searched {
    /// The pools that were found, in whatever state.
    pub pools: Vec<Importable>,
    /// The text that tells of them.
    pub text: String,
    /// What the program complained about although it succeeded: there may be pools that it did not see.
    pub complaint: Option<String>,
}

/// Looks for pools that are on disks and not imported.
///
/// # Errors
/// When the program failed, wrote something that is not understood, or found nothing and complained: then nobody knows what
/// is on the disks.
pub fn search(commands: &mut dyn Commands, search: Search) -> Result<Searched> {
    let arguments: &[&str] = match search {
        Search::Present => &["import"],
        Search::Destroyed => &["import", "-D"],
    };
    let invocation = Invocation::reads(PROGRAM, arguments).within(LONG);
    let output = commands.run(&invocation)?;
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let text = output.text(&invocation)?;
    let pools = parse_search(&text)
        .with_context(|| format!("{invocation} wrote something that is not understood"))?;
    let complaint = (!complaint.is_empty() && complaint != NOTHING)
        .then(|| format!("{invocation} complained: {}", complaint.escape_debug()));
    match complaint {
        Some(complaint) if pools.is_empty() => bail!("nothing was found, and {complaint}"),
        complaint => Ok(Searched { pools, text, complaint }),
    }
}

/// Reads the blocks of `zpool import` (zpool_main.c, `show_import`): lines of a name and a value, continued by lines that
/// begin with a tab, and a table at the end.
fn parse_search(text: &str) -> Result<Vec<Importable>> {
    let mut pools = Vec::new();
    let mut field = "";
    let mut block: Option<Block> = None;
    for line in text.lines() {
        if line.trim().is_empty() {
            continue;
        }
        if line.starts_with('\t') {
            let Some(block) = &mut block else { bail!("it begins in the middle of a pool") };
            block.go_on(field, line.trim());
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            bail!("'{}' is unknown", line.escape_debug());
        };
        field = name.trim();
        let value = value.trim();
        if field == "pool" {
            if let Some(block) = block.replace(Block { name: value.to_owned(), ..Block::default() }) {
                pools.push(block.finish()?);
            }
            continue;
        }
        let Some(block) = &mut block else { bail!("it begins in the middle of a pool") };
        match field {
            "id" => block.guid = Some(value.parse().with_context(|| format!("id {}", value.escape_debug()))?),
            "state" => value.clone_into(&mut block.state),
            _ => block.go_on(field, value),
        }
    }
    if let Some(block) = block {
        pools.push(block.finish()?);
    }
    Ok(pools)
}

/// A pool of which a part was read.
#[derive(Default)]
struct Block {
    name: String,
    guid: Option<u64>,
    state: String,
    remarks: String,
    devices: Vec<String>,
}

impl Block {
    fn go_on(&mut self, field: &str, text: &str) {
        match field {
            "status" | "action" | "comment" if !text.is_empty() => {
                if !self.remarks.is_empty() {
                    self.remarks.push(' ');
                }
                self.remarks.push_str(text);
            }
            "config" => self.devices.extend(text.split_whitespace().next().map(str::to_owned)),
            _ => {}
        }
    }

    fn finish(self) -> Result<Importable> {
        let guid = self.guid.with_context(|| format!("pool '{}' has no id", self.name.escape_debug()))?;
        if self.state.is_empty() {
            bail!("pool '{}' has no state", self.name.escape_debug());
        }
        let (state, destroyed) = match self.state.strip_suffix("(DESTROYED)") {
            Some(state) => (state.trim().to_owned(), true),
            None => (self.state, false),
        };
        // The first line of the table is the pool itself.
        let devices = self.devices.into_iter().skip(1).collect();
        Ok(Importable { name: self.name, guid, state, destroyed, remarks: self.remarks, devices })
    }
}

/// Imports a pool, whoever used it last, and mounts nothing of it.
pub fn import(commands: &mut dyn Commands, guid: u64) -> Result<()> {
    run_import(commands, "cachefile=none", guid)
}

/// Imports a pool without writing anything to its disks, and mounts nothing of it.
pub fn import_to_look(commands: &mut dyn Commands, guid: u64) -> Result<()> {
    run_import(commands, "cachefile=none,readonly=on", guid)
}

fn run_import(commands: &mut dyn Commands, options: &str, guid: u64) -> Result<()> {
    let mut arguments = vec!["import".to_owned(), "-f".to_owned(), "-N".to_owned()];
    for option in options.split(',') {
        arguments.extend(["-o".to_owned(), option.to_owned()]);
    }
    arguments.push(guid.to_string());
    commands.text(&Invocation::changes(PROGRAM, arguments).within(LONG)).map(drop)
}

/// Lets go of a pool.
pub fn export(commands: &mut dyn Commands, pool: &str) -> Result<()> {
    commands.text(&Invocation::changes(PROGRAM, ["export", pool])).map(drop)
}

/// What `zpool create` is to do about what it finds on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// It refuses if it recognises anything.
    IfEmpty,
    /// It goes on. Only for what is left of a creation of our own.
    Again,
}

/// Makes a pool on a whole disk; its root dataset has this property (`name=value`).
pub fn create(
    commands: &mut dyn Commands,
    pool: &str,
    disk: &str,
    create: Create,
    property: &str,
) -> Result<()> {
    let force: &[&str] = match create {
        Create::IfEmpty => &[],
        Create::Again => &["-f"],
    };
    let arguments: Vec<&str> = [&["create"], force, &["-O", property, pool, disk]].concat();
    commands.text(&Invocation::changes(PROGRAM, arguments).within(LONG)).map(drop)
}

/// Switches on the feature without which a volume cannot take dumps, for pools that are older than it (2013-08).
pub fn allow_dumps(commands: &mut dyn Commands, pool: &str) -> Result<()> {
    commands
        .text(&Invocation::changes(PROGRAM, ["set", "feature@multi_vdev_crash_dump=enabled", pool]))
        .map(drop)
}

#[cfg(test)]
mod tests;
