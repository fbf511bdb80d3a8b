//! A machine's state as a command sees it, and its files.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::network::Network;
use crate::services::Services;
use crate::storage::{Pool, Storage};
use crate::{Era, Hardware};

/// A machine's state as a command sees it.
#[derive(Debug)]
pub struct World {
    /// What the machine is made of.
    pub hardware: Hardware,
    /// What is gone when the machine is switched off.
    pub runtime: Runtime,
    /// All pools whose data exists, imported or not, of disks that are there or not.
    pub pools: Vec<Pool>,
    /// The machine's folder: `/.simulator` in the root.
    pub machine: PathBuf,
    /// The root folder: `/`, save in tests within one process.
    pub root: PathBuf,
    /// Set when the command that runs now is stopped half-way; one whose half differs from nothing
    /// looks at it, does half, and returns. See [`crate::Action::DieHalf`] and [`crate::Action::Abort`].
    pub stops_half_way: bool,
    /// Held as long as the state is in memory.
    lock: Option<Flock<File>>,
    /// What pools were when they were read, so that only those that changed are written.
    read: Vec<Pool>,
}

/// What is gone when the machine is switched off: `boot/runtime.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The host's own settings.
    pub host: Host,
    /// Disks, pools, mounts, swap and dump.
    pub storage: Storage,
    /// Links, addresses, routes, forwarding and packet filter.
    pub network: Network,
    /// The service management facility.
    pub services: Services,
    /// How often each fault matched a call since the machine was switched on, by its place in the list.
    pub fault_matches: Vec<u64>,
}

/// The host's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The node's name. A platform starts as `unknown`.
    pub name: String,
    /// The machine's folder as the host names it.
    #[serde(default)]
    pub machine: String,
}

impl Default for Host {
    fn default() -> Self {
        Self { name: "unknown".to_owned(), machine: String::new() }
    }
}

impl World {
    /// The state of a machine that was just switched on, without files: for tests within one process.
    pub fn switched_on(hardware: Hardware, root: &Path) -> Self {
        Self {
            hardware,
            runtime: Runtime::default(),
            machine: root.join(".simulator"),
            root: root.to_owned(),
            stops_half_way: false,
            lock: None,
            pools: Vec::new(),
            read: Vec::new(),
        }
    }

    /// Reads the state from the machine's folder, and keeps others from doing so until the value goes.
    ///
    /// # Errors
    /// When a file cannot be read or is no such state.
    pub fn load(machine: &Path, root: &Path) -> Result<Self> {
        let lock = File::create(machine.join("lock"))
            .with_context(|| format!("{}: no machine", machine.display()))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .context("cannot lock the machine")?;
        let pools = Pool::read_all(machine)?;
        Ok(Self {
            hardware: read_json(&machine.join("hardware.json"))?.context("no hardware.json")?,
            runtime: read_json(&machine.join("boot/runtime.json"))?.unwrap_or_default(),
            machine: machine.to_owned(),
            root: root.to_owned(),
            stops_half_way: false,
            lock: Some(lock),
            read: pools.clone(),
            pools,
        })
    }

    /// Writes the state back.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn store(&self) -> Result<()> {
        if self.lock.is_none() {
            return Ok(());
        }
        for pool in &self.pools {
            if !self.read.contains(pool) {
                pool.write(&self.machine)?;
            }
        }
        write_json(&self.machine.join("boot/runtime.json"), &self.runtime)
    }

    /// Runs a program of the guest to its end and gives its output. It may be a command of this simulator, or use some: meanwhile
    /// the state is theirs.
    ///
    /// # Errors
    /// When it cannot be started, fails, or the state cannot be written or read again.
    pub fn run_inside(&mut self, program: &str, arguments: &[&str]) -> Result<String> {
        self.store()?;
        self.lock = None;
        // There need not be a /dev/null in the guest, so it gets what this one has.
        let mut command = Command::new(program);
        let output = command.args(arguments).stdin(Stdio::inherit()).stderr(Stdio::inherit()).output();
        let (machine, root) = (self.machine.clone(), self.root.clone());
        *self = Self::load(&machine, &root)?;
        let output = output.with_context(|| format!("cannot start {program}"))?;
        ensure!(output.status.success(), "{program}: {}", output.status);
        String::from_utf8(output.stdout).with_context(|| format!("{program} wrote no text"))
    }

    /// Whether a pool is other than it was when the state was read.
    pub fn has_changed_pools(&self) -> bool {
        self.pools != self.read
    }

    /// Whether the state is kept in files and mounts are real; else it lives within one process, for its tests.
    pub fn in_files(&self) -> bool {
        self.lock.is_some()
    }

    /// Seconds since 1970.
    pub fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }

    /// The platform.
    pub fn era(&self) -> &Era {
        &self.hardware.era
    }

    /// An absolute path of the root, as this process can open it.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// Adds a line to the console's log. Programs in the root write to /dev/console, which is the same file.
    pub fn console(&self, line: &str) {
        // A machine within one process has no console.
        let _ = append(&self.machine.join("boot/console.log"), line);
    }

    /// Adds a line to the log of things that the simulator refused to play. What a platform of a later date than the sources does
    /// may be another thing, and the line says so.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn complain(&self, line: &str) -> Result<()> {
        let doubt =
            if self.era().is_guess() { "; nothing later than April 2022 is known for certain" } else { "" };
        append(&self.machine.join("complaints.log"), &format!("{line}{doubt}"))
    }
}

/// Adds a line to a file.
///
/// # Errors
/// When it cannot be written.
pub fn append(file: &Path, line: &str) -> Result<()> {
    let mut log = File::options()
        .create(true)
        .append(true)
        .open(file)
        .with_context(|| format!("cannot open {}", file.display()))?;
    log.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("cannot write {}", file.display()))
}

/// Reads a value from a file; none when there is no such file.
///
/// # Errors
/// When it cannot be read or is something else.
pub fn read_json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes).with_context(|| format!("{}: not understood", file.display()))?,
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Writes a value to a file, whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write_json<T: Serialize>(file: &Path, value: &T) -> Result<()> {
    let new = file.with_extension("new");
    let bytes = serde_json::to_vec_pretty(value).context("cannot be written as JSON")?;
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, file))
        .with_context(|| format!("cannot write {}", file.display()))
}
