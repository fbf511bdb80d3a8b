//! What an image delivered into `/opt/custom`: written down in the tree, so that what its user changed can be told from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files;

/// The file in the tree.
pub const FILE: &str = ".delivered.json";

/// The longest that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// Something that was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Item {
    /// A folder.
    Folder,
    /// A file: its SHA-256.
    File(String),
    /// A symbolic link: where to.
    Link(String),
}

/// Everything that was delivered, by its path in the tree.
pub type Items = BTreeMap<String, Item>;

/// What an image delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// The SHA-256 of its tarball.
    pub sha256: String,
    /// What was in it.
    pub items: Items,
}

impl Delivered {
    /// What was delivered into a tree; none if no image of ours did, or if the note is damaged.
    pub fn read(tree: &Path) -> Result<Option<Self>> {
        let path = tree.join(FILE);
        match files::read(&path, LONGEST) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) => {
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes it into the tree, which makes the tree complete.
    pub fn write(&self, tree: &Path, owner: (u32, u32)) -> Result<()> {
        let path = tree.join(FILE);
        let bytes = serde_json::to_vec(self).context("cannot write it as JSON")?;
        files::replace(&path, &bytes, files::Owner { mode: 0o644, ids: Some(owner) })
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Item {
    /// Whether what is at `path` is this.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        let found = fs::symlink_metadata(path)?.file_type();
        Ok(match self {
            Self::Folder => found.is_dir(),
            Self::File(sha256) => found.is_file() && digest(&mut File::open(path)?)? == *sha256,
            Self::Link(target) => found.is_symlink() && fs::read_link(path)? == Path::new(target),
        })
    }
}

/// The SHA-256 of everything in `source`, in hexadecimal digits.
pub fn digest(source: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
