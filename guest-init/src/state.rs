//! What phases know of each other. It lives as long as the boot: it is on a file system in memory, from before the first
//! phase.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use guest_mdata::Monotonic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command::ifconfig::Interface;
use crate::engine::Lock;
use crate::files;
use crate::phase::storage;

/// The folder of everything that lives as long as the boot. The kernel mounts a tmpfs on `/etc/svc/volatile` before it starts
/// the first process; `/tmp` and `/var/run` are covered later by file systems of their own.
pub const FOLDER: &str = "/etc/svc/volatile/guest-init";

/// The file that says that this boot goes without its pool, and why, for whoever looks without this program.
pub const FAILED: &str = "/etc/svc/volatile/guest-init.failed";

/// The file.
const FILE: &str = "state.json";

/// The longest that is read, in bytes.
pub const LONGEST: u64 = 1 << 20;

/// How long another process that keeps what it found out is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// What phases know of each other.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The disk with the boot files, once found.
    pub key: Option<Key>,
    /// The pool of this guest, once imported.
    pub pool: Option<Pool>,
    /// Why this boot goes without its pool, if it does: rescue mode.
    pub rescue: Option<String>,
    /// The step that the first boot did last, while it is not complete.
    pub first_boot: Option<String>,
    /// The boot properties, once asked for.
    pub boot: Option<BTreeMap<String, String>>,
    /// The physical links, once asked for.
    pub links: Option<Vec<Link>>,
    /// The link on which a network was found, if one had to be looked for.
    #[serde(skip)]
    pub live_link: Option<String>,
    /// What `ifconfig` last said about addresses, until something is changed.
    #[serde(skip)]
    pub interfaces: Option<Vec<Interface>>,
    /// Whether the console was told an emergency password that still holds.
    pub emergency_password: bool,
    /// Whether at least one SSH key of the owner is in place.
    pub has_usable_key: bool,
    /// The types of the owners' SSH keys that the platform's server passes over.
    #[serde(skip)]
    pub ignored_keys: Vec<String>,
    /// What each phase came to, in the order in which they ran.
    pub results: Vec<PhaseResult>,
    /// What the steps of the phase that finds the disks tell each other.
    #[serde(skip)]
    pub storage: storage::Findings,
}

/// The disk with the boot files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its name, such as `c0t0d0`.
    pub disk: String,
    /// Where its file system is mounted.
    pub folder: String,
}

/// The pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its identifier, which no two pools share.
    pub guid: u64,
}

/// A physical link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name, such as `e1000g0`.
    pub name: String,
    /// Its Ethernet address.
    pub mac: [u8; 6],
}

/// What a phase came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseResult {
    /// The phase.
    pub phase: String,
    /// The steps that changed something.
    pub changed: Vec<String>,
    /// The steps that failed, with the reason.
    pub failed: Vec<(String, String)>,
    /// What its owner was warned of although nothing failed for it.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// When it ended, in seconds since 1970 by the guest's clock, which may be wrong.
    #[serde(default)]
    pub ended: u64,
}

impl PhaseResult {
    /// Of a phase that has done nothing so far.
    pub fn of(phase: &str) -> Self {
        let phase = phase.to_owned();
        Self { phase, changed: Vec::new(), failed: Vec::new(), warnings: Vec::new(), ended: 0 }
    }
}

impl State {
    /// What earlier phases of this boot left; nothing at first.
    ///
    /// # Errors
    /// When the file cannot be read or does not make sense.
    pub fn load() -> Result<Self> {
        Self::load_from(Path::new(FOLDER))
    }

    /// The same; if that fails, a state of rescue mode. Whether there is a pool that may be used cannot be known then.
    pub fn load_or_rescue() -> Self {
        Self::load().unwrap_or_else(|error| Self {
            rescue: Some(format!("what earlier phases found is lost: {error:#}")),
            ..Self::default()
        })
    }

    /// Keeps for the phases to come what has become of `before`, which [`State::load`] gave. What other processes have
    /// changed meanwhile stays, unless this one changed it, too.
    ///
    /// # Errors
    /// When the file cannot be written, or another process does not finish writing it.
    pub fn save(&self, before: &Self) -> Result<()> {
        self.save_to(Path::new(FOLDER), before)
    }

    /// Notes what a phase came to, in place of what it came to earlier in this boot.
    pub fn record(&mut self, result: PhaseResult) {
        self.results.retain(|earlier| earlier.phase != result.phase);
        self.results.push(result);
    }

    fn load_from(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        match files::read(&path, LONGEST) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} does not make sense", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn save_to(&self, folder: &Path, before: &Self) -> Result<()> {
        let _lock = Lock::take(folder, "state", &Monotonic::starting_now(), PATIENCE)?;
        // A file that does not make sense is not worth keeping.
        let meanwhile = Self::load_from(folder).unwrap_or_else(|_| before.clone());
        let merged = self.merged(before, &meanwhile)?;
        let bytes = serde_json::to_vec(&merged).context("cannot write the state as JSON")?;
        let path = folder.join(FILE);
        // The file is its maker's, who is root.
        files::replace(&path, &bytes, files::Owner { mode: 0o600, ids: None })
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// This state, with what others changed from `before` to `meanwhile` and this process did not.
    fn merged(&self, before: &Self, meanwhile: &Self) -> Result<Value> {
        let [mut merged, own, before_json] = [meanwhile, self, before].map(|state| serde_json::json!(state));
        let fields = merged.as_object_mut().context("a state is an object")?;
        for (name, value) in own.as_object().context("a state is an object")? {
            if before_json.get(name) != Some(value) && name != "results" {
                fields.insert(name.clone(), value.clone());
            }
        }
        let mut all = meanwhile.clone();
        for result in self.results.iter().filter(|result| !before.results.contains(result)) {
            all.record(result.clone());
        }
        fields.insert("results".to_owned(), serde_json::json!(all.results));
        Ok(merged)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn result(phase: &str, ended: u64) -> PhaseResult {
        PhaseResult { ended, ..PhaseResult::of(phase) }
    }

    #[test]
    fn the_next_phase_knows_what_the_last_one_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("made when needed");
        let before = State::load_from(&folder).expect("nothing is a state");
        assert_eq!(before, State::default());
        let mut state = before.clone();
        state.pool = Some(Pool { name: "zones".to_owned(), guid: u64::MAX });
        state.record(result("storage", 1));
        state.save_to(&folder, &before).expect("saved");
        assert_eq!(State::load_from(&folder).expect("loaded"), state);
    }

    #[test]
    fn hazard_27_processes_at_the_same_time_do_not_undo_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let before = State::load_from(folder.path()).expect("loaded");
        let (mut one, mut other) = (before.clone(), before.clone());
        one.has_usable_key = true;
        one.record(result("setup", 1));
        other.rescue = Some("no disk".to_owned());
        other.record(result("storage", 2));
        one.save_to(folder.path(), &before).expect("saved");
        other.save_to(folder.path(), &before).expect("saved");
        let both = State::load_from(folder.path()).expect("loaded");
        assert!(both.has_usable_key);
        assert_eq!(both.rescue.as_deref(), Some("no disk"));
        assert_eq!(both.results, [result("setup", 1), result("storage", 2)]);
    }

    #[test]
    fn a_phase_has_one_result() {
        let mut state = State::default();
        for (phase, ended) in [("storage", 1), ("setup", 2), ("storage", 3)] {
            state.record(result(phase, ended));
        }
        assert_eq!(state.results, [result("setup", 2), result("storage", 3)]);
    }

    #[test]
    fn a_file_of_garbage_is_an_error_to_read_and_replaced_when_written() {
        let folder = tempfile::tempdir().expect("a folder");
        for garbage in [&b"{\"pool\": 1"[..], b"", b"7", b"\xff\x00"] {
            fs::write(folder.path().join(FILE), garbage).expect("written");
            State::load_from(folder.path()).expect_err("no state");
            State::default().save_to(folder.path(), &State::default()).expect("saved");
            assert_eq!(State::load_from(folder.path()).expect("loaded"), State::default());
        }
    }
}
