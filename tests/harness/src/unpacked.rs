//! Debian packages that are unpacked into the user's cache and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{process, recipe};

/// How long the archive may take to give the packages.
const DEADLINE: Duration = Duration::from_mins(10);

/// Some packages, unpacked into one folder.
#[derive(Debug)]
pub struct Unpacked {
    /// The folder's name in the cache.
    pub name: &'static str,
    /// Names of the packages.
    pub packages: &'static [&'static str],
}

impl Unpacked {
    /// The folder, whether it is there or not.
    pub fn folder(&self) -> PathBuf {
        recipe::cache_folder().join(self.name)
    }

    /// Whether it is unpacked.
    pub fn is_there(&self) -> bool {
        self.folder().is_dir()
    }

    /// Downloads the packages with apt-get, as any user, and unpacks them, unless that was done before.
    ///
    /// # Errors
    /// The archive cannot be reached or has not all of them; the error has what apt-get said.
    pub fn unpack(&self) -> Result<()> {
        if self.is_there() {
            return Ok(());
        }
        // Unpacked aside and renamed, so that a run that was cut short leaves no half of it.
        let cache = recipe::cache_folder();
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let aside = tempfile::Builder::new().prefix(&format!("{}.", self.name)).tempdir_in(&cache)?;
        let root = aside.path().join("root");
        run(Command::new("apt-get").args(["-qq", "download"]).args(self.packages).current_dir(aside.path()))?;
        extract(aside.path(), &root)?;
        let renamed = fs::rename(&root, self.folder());
        // Another run may have been faster.
        ensure!(self.is_there(), "cannot make {}: {renamed:?}", self.folder().display());
        Ok(())
    }
}

/// Unpacks every package in `folder` into `root`.
fn extract(folder: &Path, root: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(path).arg(root))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = process::run(command, DEADLINE)?;
    let name = command.get_program().to_string_lossy();
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {}", words.trim_end());
    Ok(())
}
