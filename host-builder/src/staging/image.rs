//! An image and its manifest, which appear together.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use kiln_imgapi::Manifest;

use super::file::StagedFile;
use super::folder::OutputFolder;
use crate::report::{Hint, Report, changed};

/// What to do when a result cannot be written.
pub const NO_ROOM: &str = "the file system of the output may be full: choose another with --output";

/// Writes the manifest of a finished image, and gives both their names; gives their paths in that order.
///
/// # Errors
/// The manifest cannot be written, a file of one of the names exists and `replace` is false, or the folder refuses.
pub fn publish_image(
    folder: &OutputFolder,
    [image, mut description]: [StagedFile; 2],
    manifest: &Manifest,
    replace: bool,
    report: &Report,
) -> Result<[PathBuf; 2]> {
    report.step("write-manifest", || {
        let target = description.target().display().to_string();
        description
            .file_mut()
            .write_all(manifest.to_json().as_bytes())
            .with_context(|| format!("cannot write {target}"))
            .hint(NO_ROOM)?;
        Ok(changed((), format!("image {}", manifest.uuid)))
    })?;
    let paths = [image.target().to_owned(), description.target().to_owned()];
    // The manifest speaks for the image, so it comes last.
    let home = folder.path().display().to_string();
    folder.publish(vec![image, description], replace).hint(format!(
        "look whether {home} is still a folder that you may write to, or choose another with --output"
    ))?;
    Ok(paths)
}
