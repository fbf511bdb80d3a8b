//! What the image says about itself, in the boot archive.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::files;

/// Where it says so. `kiln retro` writes it, over everything else in the boot archive.
const IMAGE: &str = "/lib/guest-init/image.json";

/// The longest that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// What the image says about itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Image {
    /// Its tarball for `/opt/custom`, if it has one.
    pub custom: Option<Tarball>,
    /// What it put into the boot archive, by path, with proofs for `kiln verify`.
    #[serde(default)]
    pieces: serde_json::Map<String, serde_json::Value>,
}

/// A tarball.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tarball {
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Image {
    /// Reads it; `None` if the image says nothing.
    ///
    /// # Errors
    /// It cannot be read, or makes no sense.
    pub fn read() -> Result<Option<Self>> {
        match files::read(Path::new(IMAGE), LONGEST) {
            Ok(bytes) => Self::parse(&bytes).with_context(|| format!("{IMAGE} makes no sense")).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {IMAGE}")),
        }
    }

    fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// Whether the image, or an overlay of its owner, brought the file `path` (absolute). What it did not bring is the
    /// platform's.
    pub fn brought(&self, path: &str) -> bool {
        self.pieces.contains_key(path.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_what_it_brought() {
        let text = br#"{"kiln": "1", "stamp": "20141030T081701Z", "custom": {"sha256": "00", "bytes": 7},
            "pieces": {"etc/issue": {"sha256": "00", "bytes": 3}, "lib/svc/method/fs-joyent": {"link": "guest-init"}}}"#;
        let image = Image::parse(text).expect("it makes sense");
        assert_eq!(image.custom, Some(Tarball { sha256: "00".to_owned(), bytes: 7 }));
        assert!(image.brought("/etc/issue") && image.brought("/lib/svc/method/fs-joyent"));
        assert!(!image.brought("/etc/ssh/sshd_config"));
        assert!(Image::parse(b"{}").expect("an image without anything").custom.is_none());
        assert!(Image::parse(b"[").is_err());
    }
}
