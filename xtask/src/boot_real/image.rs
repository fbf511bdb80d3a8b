//! The image that is booted, built by `kiln retro`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::era::Stamp;
use super::exec;
use super::patience::Wait;

/// Builds an image from `platform` in `folder` and makes a raw disk of it.
pub fn build(kiln: &Path, platform: &Path, stamp: &Stamp, folder: &Path, wait: &Wait) -> Result<PathBuf> {
    // The version is part of the image's name, so it is given rather than guessed.
    let volume = folder.join(format!("smartos-retro-{}-real.zvol.gz", stamp.as_str()));
    let disk = folder.join("key.raw");
    let mut retro = Command::new(kiln);
    retro.args(["retro", stamp.as_str(), "--version", "real", "--timeout", "1", "--force", "--platform"]);
    exec::succeed(retro.arg(platform).arg("--output").arg(folder), wait)?;
    let mut convert = Command::new(kiln);
    convert.arg("convert").arg(&volume).args(["--to", "sparse-raw"]).arg(&disk).arg("--force");
    exec::succeed(&mut convert, wait)?;
    // The disk is all that is needed of it.
    std::fs::remove_file(&volume).with_context(|| format!("cannot remove {}", volume.display()))?;
    Ok(disk)
}
