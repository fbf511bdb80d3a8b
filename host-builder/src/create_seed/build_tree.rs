//! A finished build tree of smartos-live as the origin of a seed, as it was for the original.
//!
//! The build installs everything into `proto`, and lists what goes into a platform in `manifest.gen`, with modes and the names of
//! owners. Trees until 2019 have files of the global zone in `overlay/generic/etc` that win over those in `proto`; then they moved
//! into the other repositories, so that `proto` has them (imagetools, issue 4).

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use kiln_zstream::fs::tree::{Content, Kind};

use super::generated::{Generated, MANIFEST};
use super::origin::Origin;
use super::take::folder;
use crate::overlay::{self, Contents, Layer};
use crate::report::Hint;
use crate::stamp::Stamp;
use crate::zone::accounts::Accounts;
use crate::zone::area::{Area, attributes};

/// Where the build leaves the stamp of its platform.
const STAMP: &str = "proto/buildstamp";
/// What wins over `proto/etc` where it exists.
const OVERLAY: &str = "overlay/generic/etc";
/// What every finished build has.
const NEEDED: [&str; 3] = ["proto/etc", "proto/var", MANIFEST];
/// Where the build has what is at a path of the platform, the first one first (imagetools, create-smf-repo).
const ROOTS: [&str; 3] = ["overlay/generic", "proto", "overlay/smartos"];

/// Bytes that are read at once.
const PIECE: usize = 128 << 10;

/// A build tree.
pub struct BuildTree {
    folder: PathBuf,
    stamp: Option<Stamp>,
}

impl BuildTree {
    /// Opens a build tree.
    ///
    /// # Errors
    /// It is none, or the build is not finished. Everything that is missing is named.
    pub fn open(folder: &Path) -> Result<Self> {
        let missing: Vec<&str> = NEEDED.into_iter().filter(|path| !folder.join(path).exists()).collect();
        if !missing.is_empty() {
            let shown = folder.display();
            return Err(anyhow!("{shown} is no finished build of smartos-live: there is no {}", missing.join(", no ")))
                .hint("let `gmake live` finish there, or make the seed of a platform's tarball with --platform FILE");
        }
        let stamp = match fs::read_to_string(folder.join(STAMP)) {
            Ok(text) => Stamp::find_in(text.trim()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", folder.join(STAMP).display()));
            }
        };
        Ok(Self { folder: folder.to_owned(), stamp })
    }

    /// Lays folders of the host over each other and the result into the image.
    fn lay_folders(&self, folders: &[&str], at: &str, area: &mut Area<'_>) -> Result<usize> {
        let layers = folders.iter().map(|path| Layer::read(&self.folder.join(path)));
        let tree = overlay::Tree::stack(layers.collect::<Result<Vec<_>>>()?)?;
        let time = super::origin::time(self);
        let given = |entry: &overlay::Entry| {
            let crate::ownership::Attributes { mode, uid, gid } = entry.attributes;
            attributes(mode, uid, gid, time)
        };
        folder(area, at.as_bytes(), attributes(0o755, 0, 0, time))?;
        let mut laid = 0;
        for (path, entry) in tree.entries() {
            let path = [at.as_bytes(), b"/", path].concat();
            let kind = match &entry.kind {
                overlay::Kind::Directory { .. } => {
                    folder(area, &path, given(entry))?;
                    continue;
                }
                overlay::Kind::File(contents) => Kind::File(Arc::new(OnHost(contents.clone()))),
                overlay::Kind::Symlink(target) => Kind::Symlink(target.clone()),
            };
            area.put(&path, given(entry), kind)?;
            laid += 1;
        }
        Ok(laid)
    }
}

/// The contents of a file of the host, read when they are wanted.
struct OnHost(Contents);

impl Content for OnHost {
    fn size(&self) -> u64 {
        self.0.length()
    }

    fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut reader = self.0.open()?;
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        loop {
            let got = reader.read(&mut buffer)?;
            if got == 0 {
                return Ok(());
            }
            sink(at, &buffer[..got])?;
            at += got as u64;
        }
    }
}

impl Origin for BuildTree {
    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn stamp(&self) -> Option<&Stamp> {
        self.stamp.as_ref()
    }

    fn lay(&self, area: &mut Area<'_>, notes: &mut Vec<String>) -> Result<String> {
        let time = super::origin::time(self);
        let mut etc = vec!["proto/etc"];
        if self.folder.join(OVERLAY).is_dir() {
            etc.push(OVERLAY);
        } else {
            notes.push(format!(
                "{} has no {OVERLAY}, as trees since 2019: its files are expected in proto/etc",
                self.folder.display()
            ));
        }
        let laid = self.lay_folders(&etc, "etc", area)? + self.lay_folders(&["proto/var"], "var", area)?;
        for path in super::FOLDERS {
            folder(area, path.as_bytes(), attributes(0o755, 0, 0, time))?;
        }
        let file = self.folder.join(MANIFEST);
        // The tables as they came: an account that will be deleted may own files nevertheless.
        let accounts = Accounts::of(area)?;
        let generated = Generated::read(&file)?;
        let silent =
            generated.apply(area, &accounts).with_context(|| format!("cannot go by {}", file.display()))?;
        if silent > 0 {
            notes.push(format!("{MANIFEST} says nothing of {silent} files and folders: they belong to root, with 0644 or 0755"));
        }
        Ok(format!("{laid} files and links of {}, modes and owners by {MANIFEST}", etc.join(", ")))
    }

    fn file(&self, path: &str, limit: u64) -> Result<Option<(Vec<u8>, String)>> {
        let mut candidates = ROOTS.iter().map(|root| self.folder.join(root).join(path));
        let Some(file) = candidates.find(|file| file.is_file()) else { return Ok(None) };
        Ok(Some((super::read_host_file(&file, limit)?, file.display().to_string())))
    }

    /// What the zone mounts of the host is none of the tree's business: it is on the host that the zone runs on.
    fn lacks(&self, _paths: &[&'static str]) -> Result<Vec<&'static str>> {
        Ok(Vec::new())
    }
}
