//! `kiln inspect`: what an image is, all at once.

mod dataset;
mod facts;
mod text;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::Ending;
use crate::contents::dataset::Keep;
use crate::contents::open::{self, How};
use crate::contents::origin::Origins;
use crate::contents::output;
use crate::report::Report;

/// Says what an image is: stream, disk, loader, menu, platform, digests, manifest.
///
/// Takes a .zvol or .zvol.gz, the .zfs.gz of a zone, a raw disk, a platform tarball, a bare boot archive or FAT volume,
/// also compressed with bzip2 or xz, by content and not by name. What is in the file system of an incremental image is
/// told when --origin names what it goes on top of. With --json it is one object.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Image file
    image: PathBuf,

    /// Manifest to compare with [default: X.manifest, X.imgmanifest or X.json beside X.zvol.gz or X.zfs.gz, when there is
    /// one]
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    #[command(flatten)]
    origins: Origins,
}

/// Runs the command.
///
/// # Errors
/// The image or manifest cannot be read. What is merely wrong inside is part of the report.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let quiet = output::quiet();
    let how = How { digests: true, keep: Keep::Small, origins: &arguments.origins.files };
    let image = open::open(&arguments.image, how, &quiet)?;
    let facts = facts::gather(&image, arguments.manifest.as_deref(), &quiet)?;
    if report.is_json() {
        let mut object = serde_json::to_value(&facts)?;
        if let Some(members) = object.as_object_mut() {
            members.insert("event".to_owned(), "image".into());
        }
        output::object(&object)?;
    } else {
        output::text(&text::render(&facts))?;
    }
    Ok(Ending::Done)
}
