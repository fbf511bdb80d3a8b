//! A platform as the origin of a seed: its boot archive, and the `/usr` that is compressed in it.
//!
//! A boot archive holds the `/` of the global zone. Its `/usr` is a file system of its own in the file `/usr.lgz`; what stands in
//! `/usr` of the archive itself is only what is needed until that is mounted (source: smartos-live, `tools/build_live`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use kiln_lofi::{Error, ErrorKind};

use super::origin::Origin;
use super::take::{attributes_of, folder, take};
use crate::contents::source::Source;
use crate::contents::tree::{self, Node, Tree};
use crate::contents::ufs::UfsTree;
use crate::platform::{self, BOOT_ARCHIVE, BOOT_ARCHIVE_HASH, UNIX};
use crate::report::{Hint, Report, unchanged};
use crate::staging::OutputFolder;
use crate::stamp::Stamp;
use crate::zone::area::{Area, attributes};

/// The compressed `/usr`.
const USR: &str = "usr.lgz";

/// What of `/etc` and `/var` belongs to the global zone of one platform alone: its repository of services, and the list of digests
/// that the build leaves last.
const LEFT: [&[u8]; 2] = [b"etc/svc/repository.db", b"var/log/manifest"];

/// A platform, opened.
pub struct Platform {
    /// The name of its top folder.
    name: String,
    stamp: Stamp,
    archive: Arc<dyn Tree>,
    usr: Option<Arc<dyn Tree>>,
}

impl Platform {
    /// Opens a platform: the tarball of that name, or the one in the folder `data` whose stamp is given. `folder` is for temporary
    /// files.
    ///
    /// # Errors
    /// There is none, it is damaged, or it is none.
    pub fn open(given: &str, folder: &OutputFolder, report: &Report) -> Result<Self> {
        let stamp = given.parse::<Stamp>().ok().filter(|_| !Path::new(given).exists());
        let path = match &stamp {
            Some(stamp) => platform::find(Path::new("data"), stamp)?,
            None => PathBuf::from(given),
        };
        let (name, archive) = report.step("read-platform", || {
            let cannot = || format!("cannot use the platform {}", path.display());
            let size = platform::open(&path).with_context(cannot)?.metadata().with_context(cannot)?.len();
            let progress = report.progress("read-platform", size);
            let wanted = |file: &str| [UNIX, BOOT_ARCHIVE_HASH, "etc/version/platform"].contains(&file);
            let (archive, spool) = (folder.scratch()?, folder.scratch()?);
            let read = platform::read(&path, stamp.as_ref(), archive, spool, wanted, &progress)?;
            let detail = format!("{}: {}", path.display(), read.directory);
            let archive = Source::new(read.boot_archive, read.boot_archive_size);
            Ok(unchanged((read.directory, archive), detail))
        })?;
        let stamp = Stamp::find_in(&name)
            .with_context(|| format!("the name {name} holds no stamp"))
            .hint("name the top folder of the tarball platform-STAMP, with the stamp that its platform was built with")?;
        let archive: Arc<dyn Tree> =
            UfsTree::open(archive).with_context(|| format!("cannot read {BOOT_ARCHIVE} of {name}"))?;
        let usr = report.step("open-usr", || match open_usr(&*archive)? {
            Some((usr, detail)) => Ok(unchanged(Some(usr), detail)),
            None => Ok(unchanged(None, format!("there is no /{USR}: /usr is in the boot archive"))),
        })?;
        Ok(Self { name, stamp, archive, usr })
    }

    /// The node at a path from `/`, and what it is in.
    fn find(&self, path: &str) -> Result<Option<(&dyn Tree, Node)>> {
        let (tree, inner) = match (&self.usr, path.strip_prefix("usr/")) {
            (Some(usr), Some(inner)) => (usr, inner),
            _ => (&self.archive, path),
        };
        Ok(tree::find(&**tree, inner.as_bytes(), true)?.map(|node| (&**tree, node)))
    }
}

/// The compressed `/usr`, as far as there is one, and what it is in a few words.
fn open_usr(archive: &dyn Tree) -> Result<Option<(Arc<dyn Tree>, String)>> {
    let cannot = || format!("cannot read /{USR} of the boot archive");
    let Some(node) = tree::find(archive, USR.as_bytes(), true)? else { return Ok(None) };
    let packed = archive.contents(&node).with_context(cannot)?;
    let size = packed.size();
    let reader = kiln_lofi::Reader::open(packed, size).map_err(damaged).with_context(cannot)?;
    let (algorithm, length) = (reader.algorithm(), reader.len());
    let usr: Arc<dyn Tree> = UfsTree::open(Source::new(reader, length)).with_context(cannot)?;
    let detail = format!("/{USR}: {} KiB, {} KiB compressed ({algorithm:?})", length >> 10, size >> 10);
    Ok(Some((usr, detail)))
}

fn damaged(error: Error) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::NotLofi => "a platform's /usr is compressed by lofiadm: this one was built in another way",
        _ => "the platform is damaged: download it again",
    };
    crate::report::with_hint(error, hint)
}

impl Origin for Platform {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn stamp(&self) -> Option<&Stamp> {
        Some(&self.stamp)
    }

    fn lay(&self, area: &mut Area<'_>, _notes: &mut Vec<String>) -> Result<String> {
        let time = super::origin::time(self);
        let top = self.archive.root()?;
        *area.tree.attributes_mut(area.root) = attributes_of(&top);
        let mut copied = 0;
        for name in ["etc", "var"] {
            let (tree, node) = self
                .find(name)?
                .filter(|(_, node)| node.is_directory())
                .ok_or_else(|| anyhow!("the boot archive has no folder /{name}"))
                .hint("this needs a platform tarball of SmartOS: one whose boot archive is the / of its global zone")?;
            folder(area, name.as_bytes(), attributes_of(&node))?;
            let leave = |below: &[u8]| LEFT.contains(&&[name.as_bytes(), b"/", below].concat()[..]);
            copied += take(tree, &node, area, name.as_bytes(), &leave)?;
        }
        // Zones begin with their own, empty.
        for path in super::FOLDERS {
            let known = self.find(path)?.filter(|(_, node)| node.is_directory());
            let given = known.map_or(attributes(0o755, 0, 0, time), |(_, node)| attributes_of(&node));
            folder(area, path.as_bytes(), given)?;
        }
        Ok(format!("{copied} things of /etc and /var in {}, with their modes and owners", self.name))
    }

    fn file(&self, path: &str, limit: u64) -> Result<Option<(Vec<u8>, String)>> {
        let place = format!("{}:/{path}", self.name);
        let cannot = || format!("cannot read {place}");
        let Some((tree, node)) = self.find(path).with_context(cannot)?.filter(|(_, node)| node.is_file())
        else {
            return Ok(None);
        };
        if node.metadata.size > limit {
            return Err(anyhow!("{place} has {} bytes, and at most {limit} make sense", node.metadata.size))
                .hint("the platform is damaged: download it again");
        }
        let bytes = tree.contents(&node).and_then(|source| Ok(source.head(limit as usize)?));
        let bytes = bytes.with_context(cannot).hint("the platform is damaged: download it again")?;
        Ok(Some((bytes, place)))
    }

    fn lacks(&self, paths: &[&'static str]) -> Result<Vec<&'static str>> {
        let mut missing = Vec::new();
        for path in paths {
            if self.find(path)?.is_none() {
                missing.push(*path);
            }
        }
        Ok(missing)
    }
}
