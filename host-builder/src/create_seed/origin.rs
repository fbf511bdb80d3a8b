//! Where the parts of a seed come from: a platform, or the build tree that one came from.

use std::path::PathBuf;

use anyhow::Result;
use kiln_zstream::fs::tree::Time;

use crate::smf::list::{self, LIST_LIMIT};
use crate::smf::site::{Found, MANIFEST_LIMIT};
use crate::stamp::Stamp;
use crate::zone::area::Area;

/// Manifests that the zones of the brand `joyent` see: its list, whose manifests the global zone copies into the `/lib/svc/manifest`
/// of zones (source: smartos-live, `svc-zones` and `usr/lib/brand/joyent/platform.xml`).
const BRAND_LIST: &str = "usr/lib/brand/joyent/manifests";

/// A system whose zones the seed is for.
pub trait Origin {
    /// What it is called in messages.
    fn name(&self) -> String;

    /// When it was built, if that is known.
    fn stamp(&self) -> Option<&Stamp>;

    /// Lays its `/etc` and `/var` into a zone's root, with modes and owners, and the folders that hold nothing. Says in a few words
    /// what it laid.
    ///
    /// # Errors
    /// It cannot be read, or is not what it should be.
    fn lay(&self, area: &mut Area<'_>, notes: &mut Vec<String>) -> Result<String>;

    /// The file at a path from its `/`, such as `usr/bin/ls`, of at most `limit` bytes, and where that is for people.
    ///
    /// # Errors
    /// It is larger, or cannot be read.
    fn file(&self, path: &str, limit: u64) -> Result<Option<(Vec<u8>, String)>>;

    /// What of a list of paths it does not have.
    ///
    /// # Errors
    /// It cannot be read.
    fn lacks(&self, paths: &[&'static str]) -> Result<Vec<&'static str>>;
}

/// The time of an origin, for what is made new: that of its build.
pub fn time(origin: &dyn Origin) -> Time {
    let seconds = origin.stamp().map_or(0, |stamp| stamp.unix_seconds().into());
    Time { seconds, nanoseconds: 0 }
}

/// Looks up manifests: in the user's folders, then where an origin has its own.
pub struct Manifests<'a> {
    folders: &'a [PathBuf],
    origin: &'a dyn Origin,
    /// The brand's own list, as the paths in it; none when there is no such list.
    in_zones: Vec<String>,
}

impl<'a> Manifests<'a> {
    /// Gets ready to look up.
    ///
    /// # Errors
    /// The brand's list cannot be read.
    pub fn new(folders: &'a [PathBuf], origin: &'a dyn Origin) -> Result<Self> {
        let brand = origin.file(BRAND_LIST, LIST_LIMIT)?;
        // A list that is none is its brand's problem; then everything is copied.
        let entries = brand.and_then(|(text, _)| list::parse(std::str::from_utf8(&text).ok()?).ok());
        let in_zones = entries.into_iter().flatten().map(|entry| entry.path).collect();
        Ok(Self { folders, origin, in_zones })
    }

    /// The manifest at a path of a list.
    ///
    /// # Errors
    /// A file cannot be read, or is larger than any manifest.
    pub fn find(&self, path: &str) -> Result<Option<Found>> {
        for folder in self.folders {
            let file = folder.join(path);
            if file.is_file() {
                let bytes = super::read_host_file(&file, MANIFEST_LIMIT)?;
                return Ok(Some(Found { bytes, place: file.display().to_string(), in_zones: false }));
            }
        }
        let found = self.origin.file(&format!("lib/svc/manifest/{path}"), MANIFEST_LIMIT)?;
        Ok(found.map(|(bytes, place)| {
            let in_zones = self.in_zones.iter().any(|known| known == path);
            Found { bytes, place, in_zones }
        }))
    }
}
