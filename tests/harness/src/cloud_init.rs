//! cloud-init, whose SmartOS data source judges the metadata server.
//!
//! It is unpacked into the user's cache and never installed: an installed cloud-init would set up its developer's machine
//! anew at the next boot. The Python modules that it needs lie beside it, so that nothing else is installed for it either.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{process, recipe, tools};

/// What is unpacked: Debian's packages of cloud-init and of what its data source imports.
const PACKAGES: &[&str] = &[
    "cloud-init",
    "python3-certifi",
    "python3-chardet",
    "python3-configobj",
    "python3-idna",
    "python3-jinja2",
    "python3-json-pointer",
    "python3-jsonpatch",
    "python3-markupsafe",
    "python3-netifaces",
    "python3-oauthlib",
    "python3-requests",
    "python3-serial",
    "python3-six",
    "python3-urllib3",
    "python3-yaml",
];

/// The interpreter that the packages are for; one of the same name in `PATH` may be another.
const PYTHON: &str = "/usr/bin/python3";

/// How long the archive may take to give the packages.
const DEADLINE: Duration = Duration::from_mins(10);

fn folder() -> PathBuf {
    recipe::cache_folder().join("cloud-init")
}

/// Whether it is unpacked.
pub fn is_there() -> bool {
    folder().is_dir()
}

/// Downloads the packages with apt-get, as any user, and unpacks them, unless that was done before.
///
/// # Errors
/// The archive cannot be reached or has not all of them; the error has what apt-get said.
pub fn unpack() -> Result<()> {
    if is_there() {
        return Ok(());
    }
    // Unpacked aside and renamed, so that a run that was cut short leaves no half of it.
    let cache = recipe::cache_folder();
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let aside = tempfile::Builder::new().prefix("cloud-init.").tempdir_in(&cache)?;
    let root = aside.path().join("root");
    run(Command::new("apt-get").args(["-qq", "download"]).args(PACKAGES).current_dir(aside.path()))?;
    for entry in fs::read_dir(aside.path())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(path).arg(&root))?;
        }
    }
    let renamed = fs::rename(&root, folder());
    // Another run may have been faster.
    ensure!(is_there(), "cannot make {}: {renamed:?}", folder().display());
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = process::run(command, DEADLINE)?;
    let name = command.get_program().to_string_lossy();
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {}", words.trim_end());
    Ok(())
}

/// Python, which finds cloud-init's modules and no others but its own, or `None` after a loud skip when they are missing.
///
/// # Panics
/// They are missing and `KILN_REQUIRE_TOOLS` is set.
pub fn python() -> Option<Command> {
    if !is_there() || !Path::new(PYTHON).is_file() {
        tools::missing("cloud-init's data source (`cargo xtask setup` unpacks it)");
        return None;
    }
    let mut python = Command::new(PYTHON);
    // Without -E, which would hide the modules, and without bytecode, which would change the cache.
    python.args(["-s", "-B"]).env("PYTHONPATH", folder().join("usr/lib/python3/dist-packages"));
    python.env("PYTHONUTF8", "1");
    Some(python)
}
