//! The seed: the image of a bare zone that base images are made from.

use std::path::Path;

use anyhow::{Result, anyhow};
use kiln_zstream::fs::Version;
use kiln_zstream::fs::tree::{NodeId, Time};

use crate::report::{Hint, Report, unchanged};
use crate::zone::area::Area;
use crate::zone::dataset::{Layout, zone_root};
use crate::zone::needs::missing;
use crate::zone::stream::{self, ImageTree};

/// A seed that was read, from which any number of images can be made.
pub struct Seed {
    /// Its file system.
    pub image: ImageTree,
    /// The folder that the zone sees as `/`.
    pub root: NodeId,
    /// When its snapshot was made.
    pub time: Time,
}

impl Seed {
    /// Reads the file of an image.
    ///
    /// # Errors
    /// It is none, or lacks what a zone needs to boot.
    pub fn read(path: &Path, report: &Report) -> Result<Self> {
        report.step("read-seed", || {
            let seed = Self::of(path, report)?;
            let detail = format!("{}, {} nodes", path.display(), seed.image.tree.len());
            Ok(unchanged(seed, detail))
        })
    }

    fn of(path: &Path, report: &Report) -> Result<Self> {
        let mut image = stream::open(&[], path, report)?;
        let remedy = "take a seed: the image that kiln create-seed makes of a platform, or a published one";
        let root = zone_root(&image.tree, Layout::Dataset)
            .ok_or_else(|| anyhow!("{} has no folder root, which a zone sees as /", path.display()))
            .hint(remedy)?;
        let missing = missing(&Area::new(&mut image.tree, root), "joyent");
        if !missing.is_empty() {
            let list = missing.join(", ");
            return Err(anyhow!("{} is a seed without what a zone needs to boot: {list}", path.display()))
                .hint(remedy);
        }
        let made = image.objects.info().map_or(0, |info| info.creation_time);
        let time = Time { seconds: i64::try_from(made).unwrap_or(0), nanoseconds: 0 };
        Ok(Self { image, root, time })
    }

    /// The version of its file system, which images of it have too.
    pub fn version(&self) -> Version {
        if self.image.version < 5 { Version::Four } else { Version::Five }
    }
}
