//! `kiln create-smf-repo`: a list of manifests becomes what a zone imports.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use crate::cli::Ending;
use crate::create_seed::origin::Manifests;
use crate::create_seed::{Basis, services};
use crate::report::{Hint, Report, changed};
use crate::smf::site::{PROFILE, Site};
use crate::staging::{NO_ROOM, OutputFolder};

/// Checks a list of SMF manifests and makes of it what a zone imports at its first boot
///
/// Writes into a folder the manifests that zones of the platform do not see anyway, and the profile
/// site.xml, which enables or disables the default instance of each:
///
///     kiln create-smf-repo MANIFESTS --platform platform-20141030T081701Z.tgz --output site
///
/// The manifests belong into /var/svc/manifest/site of a zone, and site.xml into its
/// /etc/svc/profile. `kiln create-seed --manifests` puts both into a seed. A repository
/// (repository.db) is not written: the zone keeps its own.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// List of manifests, in lines of: PATH.xml enabled|disabled [noimport]
    #[arg(value_name = "MANIFESTS")]
    list: PathBuf,

    #[command(flatten)]
    basis: Basis,

    /// Folder with manifests of your own, looked into before the platform's; repeatable
    #[arg(long = "manifest-dir", value_name = "DIR")]
    manifest_folders: Vec<PathBuf>,

    /// Folder for the manifests and the profile
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Replace files of the same names
    #[arg(long)]
    force: bool,
}

/// Runs the command.
///
/// # Errors
/// The list or a manifest is wrong, the platform cannot be used, or the folder cannot be written to.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let folder = OutputFolder::open(&arguments.output)?;
    let origin = arguments.basis.open(&folder, report)?;
    let site = report.step("check-manifests", || {
        let manifests = Manifests::new(&arguments.manifest_folders, &*origin)?;
        let site = services::read(&arguments.list, &manifests)?;
        let detail = services::summary(&site);
        Ok(changed(site, detail))
    })?;
    for note in &site.notes {
        report.warn(note);
    }
    // The profile speaks for the manifests.
    let files = site.manifests.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    let mut staged = Vec::new();
    for (name, bytes) in files.chain([(PROFILE, site.profile.as_bytes())]) {
        let mut file = folder.stage(name, arguments.force)?;
        file.file_mut()
            .write_all(bytes)
            .with_context(|| format!("cannot write {}", file.target().display()))
            .hint(NO_ROOM)?;
        staged.push(file);
    }
    folder.publish(staged, arguments.force)?;
    tell(&site, &folder, report);
    Ok(Ending::Done)
}

/// Says what became of each manifest, as the original did, and where everything is.
fn tell(site: &Site, folder: &OutputFolder, report: &Report) {
    for taken in &site.taken {
        let state = if taken.enabled { "enabled" } else { "disabled" };
        if report.is_json() {
            report.event(&json!({
                "event": "manifest",
                "path": taken.path,
                "place": taken.place,
                "enabled": taken.enabled,
                "services": taken.services,
                "copied": taken.copied,
            }));
        } else {
            report.result(&format!("{} {state} ({})", taken.path, taken.place));
        }
    }
    let profile = folder.path().join(PROFILE).display().to_string();
    if report.is_json() {
        report.event(&json!({ "event": "summary", "profile": profile, "manifests": site.manifests.len() }));
    } else {
        report.result(&format!("Generated {profile} and {} manifests beside it", site.manifests.len()));
    }
}
