//! `kiln inspect`: what an image is, all at once.

mod facts;
mod text;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cli::Ending;
use crate::contents::open::{self, How};
use crate::contents::output;
use crate::report::Report;

/// Says what an image is: stream, disk, loader, menu, platform, digests, manifest.
///
/// Takes a .zvol or .zvol.gz, a raw disk, a platform tarball, a bare boot archive or FAT volume, by content and not by
/// name. With --json it is one object.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Image file
    image: PathBuf,

    /// Manifest to compare with [default: X.manifest beside X.zvol.gz, when there is one]
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The image or manifest cannot be read. What is merely wrong inside is part of the report.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let quiet = output::quiet();
    let image = open::open(&arguments.image, How { digests: true }, &quiet)?;
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
