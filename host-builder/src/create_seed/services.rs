//! Services of a seed: its repository, and what a list of manifests changes about it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use kiln_zstream::fs::tree::{Attributes, Kind, Time};

use super::origin::Manifests;
use super::repository;
use crate::report::Hint;
use crate::smf::list::{self, LIST_LIMIT};
use crate::smf::site::{self, PROFILE, Site};
use crate::zone::area::{Area, AreaError, attributes};

/// The group of system files on every illumos system, `sys`.
const SYS: u32 = 3;

/// Where the manifests of a site are.
const SITE: &str = "var/svc/manifest/site";
/// Where profiles are.
const PROFILES: &str = "etc/svc/profile";
/// Where they were before, and where old releases look for them.
const OLD_PROFILES: &str = "var/svc/profile";

/// Puts the repository into the image.
///
/// # Errors
/// Something is in the way.
pub fn lay_repository(area: &mut Area<'_>, bytes: Vec<u8>, time: Time) -> Result<()> {
    area.put(repository::PATH.as_bytes(), attributes(0o600, 0, SYS, time), Kind::File(Arc::new(bytes)))?;
    Ok(())
}

/// Reads a list of manifests and everything that it names.
///
/// # Errors
/// It cannot be read; or there is something wrong with it or a manifest, and then all of that is told.
pub fn read(path: &Path, manifests: &Manifests<'_>) -> Result<Site> {
    let shown = path.display().to_string();
    let text = super::read_host_file(path, LIST_LIMIT)?;
    let entries = list::parse(&String::from_utf8_lossy(&text)).map_err(|problems| {
        let problems = problems.iter().map(|problem| format!("{shown}: {problem}"));
        defects(&shown, problems.collect())
    });
    let entries = entries.hint("a line is PATH.xml, then enabled or disabled, and noimport if you want")?;
    site::make(&shown, &entries, |path| manifests.find(path))?
        .map_err(|problems| defects(&shown, problems))
        .hint(
            "a manifest is looked for in each --manifest-dir, and then in /lib/svc/manifest of the platform",
        )
}

fn defects(list: &str, problems: Vec<String>) -> anyhow::Error {
    let count = problems.len();
    let lines: String = problems.into_iter().flat_map(|problem| ["\n  ".to_owned(), problem]).collect();
    anyhow!(
        "the manifests of {list} cannot be used, for {count} reason{}:{lines}",
        if count == 1 { "" } else { "s" }
    )
}

/// Puts manifests and profile into the image.
///
/// # Errors
/// Something is in the way.
pub fn lay_site(area: &mut Area<'_>, site: &Site, time: Time) -> Result<(), AreaError> {
    let file = attributes(0o444, 0, SYS, time);
    for (name, bytes) in &site.manifests {
        put(area, &format!("{SITE}/{name}"), file, bytes)?;
    }
    put(area, &format!("{PROFILES}/{PROFILE}"), file, site.profile.as_bytes())?;
    // One folder is a link to the other where both exist, but not in all releases.
    match area.find(OLD_PROFILES.as_bytes()).map(|node| &area.tree.node(node).kind) {
        Some(Kind::Directory(_)) => {
            put(area, &format!("{OLD_PROFILES}/{PROFILE}"), file, site.profile.as_bytes())?;
        }
        Some(_) => {}
        None => {
            let link = Kind::Symlink(format!("../../{PROFILES}").into_bytes());
            area.put(OLD_PROFILES.as_bytes(), attributes(0o777, 0, 0, time), link)?;
        }
    }
    Ok(())
}

fn put(area: &mut Area<'_>, path: &str, attributes: Attributes, bytes: &[u8]) -> Result<(), AreaError> {
    area.put(path.as_bytes(), attributes, Kind::File(Arc::new(bytes.to_vec()))).map(drop)
}

/// What a site comes to, in a few words.
pub fn summary(site: &Site) -> String {
    let enabled = site.taken.iter().filter(|taken| taken.enabled).count();
    let disabled = site.taken.len() - enabled;
    format!(
        "{enabled} manifests enabled, {disabled} disabled, {} of them brought into the image",
        site.manifests.len()
    )
}
