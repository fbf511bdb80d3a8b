//! What an image says about itself in its boot archive: for guest-init, which proves `custom.tgz` by it, and for
//! `kiln verify`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::table;
use crate::digest;
use crate::overlay::{Kind, Tree};
use crate::stamp::Stamp;

/// Where the record lies in the boot archive. guest-init reads it from there.
pub const PATH: &str = "lib/guest-init/image.json";

/// The configuration of the SSH server. It is recorded whoever brings it, so that guest-init knows a platform's own, which it
/// may mend without a word, from one that somebody chose.
const SSHD_CONFIG: &str = "etc/ssh/sshd_config";

/// What an image says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of kiln that built it.
    pub kiln: String,
    /// The stamp of its platform.
    pub stamp: String,
    /// `/custom.tgz` of its boot partition.
    pub custom: Option<Proof>,
    /// What the boot archive has at the places of kiln's own pieces, by path.
    pub pieces: BTreeMap<String, Trace>,
}

/// What is known again by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Trace {
    /// A symbolic link.
    Link {
        /// Where it leads; bytes that are not ASCII are escaped.
        link: String,
    },
    /// A file.
    File(Proof),
}

impl Trace {
    /// Of a symbolic link that leads to `target`.
    pub fn link(target: &[u8]) -> Self {
        Self::Link { link: target.escape_ascii().to_string() }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link { link } => write!(f, "a link to {link}"),
            Self::File(Proof { sha256, bytes }) => {
                write!(f, "a file of {bytes} bytes with the SHA-256 {sha256}")
            }
        }
    }
}

/// What proves a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Its SHA-256, in lower-case hex.
    pub sha256: String,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Proof {
    /// Of all that is left in `reader`.
    ///
    /// # Errors
    /// Those of reading.
    pub fn of(reader: impl Read) -> io::Result<Self> {
        let (sha256, bytes) = digest::sha256_of(reader)?;
        Ok(Self { sha256, bytes })
    }
}

impl Record {
    /// The record of an image whose boot archive is overlaid with `overlays`, the owner's among them: what one of those has put
    /// in a piece's place is what is recorded.
    ///
    /// # Errors
    /// A file of the overlays cannot be read.
    pub fn new(stamp: &Stamp, custom: Proof, overlays: &Tree) -> Result<Self> {
        let mut pieces = BTreeMap::new();
        for (path, entry) in overlays.entries() {
            let Ok(path) = str::from_utf8(path) else { continue };
            if path != SSHD_CONFIG && !table::in_boot_archive(path) {
                continue;
            }
            let trace = trace(&entry.kind);
            let trace = trace.with_context(|| format!("cannot read {path} from {}", entry.origin))?;
            pieces.extend(trace.map(|trace| (path.to_owned(), trace)));
        }
        let kiln = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Self { kiln, stamp: stamp.to_string(), custom: Some(custom), pieces })
    }

    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("strings and numbers are JSON");
        text.push(b'\n');
        text
    }
}

/// Of a file or a link; folders have none.
fn trace(kind: &Kind) -> io::Result<Option<Trace>> {
    Ok(match kind {
        Kind::File(contents) => Some(Trace::File(Proof::of(contents.open()?)?)),
        Kind::Symlink(target) => Some(Trace::link(target)),
        Kind::Directory { .. } => None,
    })
}
