//! pkgsrc packages installed into the tree of a zone, without pkg_add, a zone or illumos.
//!
//! [`install`] takes a tree whose folder `root` is the root of the zone and has a pkgsrc bootstrap in it, finds what the requested
//! packages need, checks each package's signature, block digests, packing list and file digests, puts its files in place, does what
//! its scripts say in data, and writes the database of packages. The rest goes to a [`FirstBoot`] queue, in its order, which the
//! caller puts into the tree when all is installed ([`FirstBoot::put`]) and lists in its report.
//!
//! ```text
//! let repository = packages::open(place, &scratch)?;           // --packages DIR|URL
//! let mut first_boot = FirstBoot::default();
//! let options = InstallOptions { repository: &*repository, packages: &names, … };
//! let installed = packages::install(&mut tree, &options, &mut first_boot, report)?;
//! first_boot.put(&mut area, "/opt/local", time)?;
//! ```
//!
//! It follows pkg_add and pkgsrc's install scripts (pkgsrc `pkgtools/pkg_install/files/add/perform.c`, `mk/pkginstall`) but for this:
//! whatever is not as it should be ends the installation, and the whole build with it, and nothing depends on the order in which
//! users add things by hand. After an error the tree is in the middle of it and of no use.
//!
//! * [`repository`]: folders and web servers of packages; [`archive`]: the file of a package; [`Keyring`]: whose packages are trusted.
//! * `packing_list`, `script`: what a package says about itself; `pattern`, `resolve`: what is needed, and in which order.
//! * `installer`: a package goes in; `removal`: an old version goes out.
//! * `database`, `references`, `accounts`: what is written down; `place`: paths with links; `spool`: contents of files.
//! * [`first_boot`]: what is left to the first boot.

mod accounts;
mod ar;
pub mod archive;
mod compression;
mod database;
pub mod first_boot;
mod installer;
mod packing_list;
mod pattern;
mod place;
mod references;
mod removal;
pub mod repository;
mod resolve;
mod script;
mod signature;
mod spool;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use kiln_zstream::fs::tree::{Time, Tree};
use serde::Serialize;

pub use archive::Trust;
pub use first_boot::FirstBoot;
pub use repository::{Repository, open};
pub use signature::{Keyring, Signer};

use crate::contents::scratch::Scratch;
use crate::report::{Hint, Report, changed, unchanged};
use crate::units;
use crate::zone::area::Area;

/// What to install, and from where.
pub struct InstallOptions<'a> {
    /// Where packages come from.
    pub repository: &'a dyn Repository,
    /// What to install: bases of names (`postfix`), names with versions or patterns (`nodejs>=18<23`). Of what is installed already,
    /// another version is replaced and the same one kept, as by `pkg_add -u`.
    pub packages: &'a [String],
    /// Whose packages are installed.
    pub trust: &'a Trust,
    /// Where packages belong, `/opt/local` on SmartOS; packages made for another place are refused.
    pub prefix: &'a str,
    /// The time of everything that is made. Files of packages have times of their own.
    pub time: Time,
    /// Where the contents of files are kept until the tree is written.
    pub scratch: &'a Scratch,
}

/// What was installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Packages in the order in which they were installed.
    pub packages: Vec<InstalledPackage>,
    /// Requested packages that were there already.
    pub kept: Vec<String>,
    /// Users that were added.
    pub users: Vec<String>,
    /// Groups that were added.
    pub groups: Vec<String>,
    /// What somebody should know, a sentence each.
    pub notes: Vec<String>,
}

/// A package that was installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InstalledPackage {
    /// Name and version.
    pub name: String,
    /// Whether it was installed only because others need it.
    pub automatic: bool,
    /// What it took the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// How many files and links it has.
    pub files: usize,
    /// Who signed it; nobody that was checked when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
}

/// Reads a keyring from a file.
///
/// # Errors
/// There is none, or it holds no keys.
pub fn read_keyring(path: &Path) -> Result<Keyring> {
    let cannot = || format!("cannot read the keyring {}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(cannot)?;
    file.take(signature::KEYRING_LIMIT + 1).read_to_end(&mut bytes).with_context(cannot)?;
    ensure!(bytes.len() as u64 <= signature::KEYRING_LIMIT, "{} is too large for a keyring", path.display());
    Keyring::read(&bytes).with_context(cannot)
}

/// Installs packages, and what they need, into a tree whose folder `root` is the root of a zone.
///
/// # Errors
/// A package is not to be had, not trusted, damaged or hostile, needs what is not there, conflicts with another or has a file that is
/// another's; or the image is none that packages could be installed in.
pub fn install(
    tree: &mut Tree,
    options: &InstallOptions<'_>,
    first_boot: &mut FirstBoot,
    report: &Report,
) -> Result<Installed> {
    let root = tree
        .find([&b"root"[..]])
        .ok_or_else(|| anyhow!("the image has no folder root, which is the zone's /"));
    let root = root.hint("give the image of a zone: a seed or base image")?;
    let mut installer = installer::Installer::new(Area::new(tree, root), options, first_boot)?;
    let plan = report.step("packages", || {
        let present = installer.database.present();
        let plan = resolve::resolve(options.repository, &present, options.packages)?;
        let place = options.repository.place();
        let automatic = plan.install.iter().filter(|planned| planned.automatic).count();
        let count = plan.install.len();
        let said = format!("{} requested and {automatic} that they need, from {place}", count - automatic);
        Ok(if count == 0 { unchanged(plan, "all of them are there") } else { changed(plan, said) })
    })?;
    for name in &plan.kept {
        installer.keep(name)?;
    }
    for planned in &plan.install {
        report.step("package", || {
            let name = &planned.candidate.name;
            let files = installer.install(planned).with_context(|| format!("cannot install {name}"))?;
            Ok(changed((), format!("{name}, {}", units::count(files, "file"))))
        })?;
    }
    let mut installed = installer.finish(!plan.install.is_empty())?;
    installed.kept = plan.kept;
    for note in &installed.notes {
        report.warn(note);
    }
    Ok(installed)
}
