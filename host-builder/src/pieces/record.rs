//! What an image says about itself in its boot archive: for guest-init, which proves `custom.tgz` by it, and for
//! `kiln verify`.

use std::collections::BTreeMap;
use std::io::{self, Read};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::overlay::{Kind, Tree};
use crate::stamp::Stamp;

/// Where the record lies in the boot archive. guest-init reads it from there.
pub const PATH: &str = "lib/guest-init/image.json";

/// The program that the record vouches for: it is started before anything in the guest could prove it.
const PROGRAM: &str = "lib/svc/method/guest-init";

/// What an image says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of kiln that built it.
    pub kiln: String,
    /// The stamp of its platform.
    pub stamp: String,
    /// `/custom.tgz` of its boot partition.
    pub custom: Option<Proof>,
    /// Programs of the boot archive, by path.
    #[serde(default)]
    pub programs: BTreeMap<String, Proof>,
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
    /// The record of an image whose boot archive is overlaid with `overlays`.
    ///
    /// # Errors
    /// A file of the overlays cannot be read.
    pub fn new(stamp: &Stamp, custom: Proof, overlays: &Tree) -> Result<Self> {
        let mut programs = BTreeMap::new();
        for (path, entry) in overlays.entries() {
            if path == PROGRAM.as_bytes()
                && let Kind::File(contents) = &entry.kind
            {
                let proof = contents.open().and_then(Proof::of);
                let proof = proof.with_context(|| format!("cannot read {PROGRAM} from {}", entry.origin))?;
                programs.insert(PROGRAM.to_owned(), proof);
            }
        }
        let kiln = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Self { kiln, stamp: stamp.to_string(), custom: Some(custom), programs })
    }

    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("strings and numbers are JSON");
        text.push(b'\n');
        text
    }
}
