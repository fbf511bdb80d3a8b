//! What phases know of each other. It lives as long as the boot: it is on a file system in memory, from before the first
//! phase.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::files;

/// The folder of everything that lives as long as the boot. The kernel mounts a tmpfs on `/etc/svc/volatile` before it starts
/// the first process; `/tmp` and `/var/run` are covered later by file systems of their own.
pub const FOLDER: &str = "/etc/svc/volatile/guest-init";

/// The file.
const FILE: &str = "/etc/svc/volatile/guest-init/state.json";

/// The longest that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// What phases know of each other.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The disk with the boot files, once found.
    pub key: Option<Key>,
    /// The pool of this guest, once imported.
    pub pool: Option<Pool>,
    /// Why this boot goes without its pool, if it does: rescue mode.
    pub rescue: Option<String>,
    /// Whether at least one SSH key of the owner is in place.
    pub has_usable_key: bool,
    /// What each phase came to, in the order in which they ran.
    pub results: Vec<PhaseResult>,
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

/// What a phase came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseResult {
    /// The phase.
    pub phase: String,
    /// The steps that changed something.
    pub changed: Vec<String>,
    /// The steps that failed, with the reason.
    pub failed: Vec<(String, String)>,
}

impl State {
    /// What earlier phases of this boot left; nothing at first.
    ///
    /// # Errors
    /// When the file cannot be read or does not make sense.
    pub fn load() -> Result<Self> {
        match files::read(Path::new(FILE), LONGEST) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("{FILE} does not make sense"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {FILE}")),
        }
    }

    /// Keeps it for the phases to come.
    pub fn save(&self) -> Result<()> {
        fs::create_dir_all(FOLDER).with_context(|| format!("cannot make {FOLDER}"))?;
        let bytes = serde_json::to_vec(self).context("cannot write the state as JSON")?;
        files::replace(Path::new(FILE), &bytes, files::Owner::root(0o600))
            .with_context(|| format!("cannot write {FILE}"))
    }
}
