//! Builds programs for the guest.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kiln_harness::scratch;

/// The target of illumos guests.
pub const ILLUMOS: &str = "x86_64-unknown-illumos";

/// How a program is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As it goes into images.
    Shipped,
    /// With debug assertions, and faster to compile.
    Quick,
}

/// A cargo in the workspace, with the usual target folder, unimpressed by the cargo that runs the test.
pub fn cargo() -> Command {
    // The outer cargo holds no lock while tests run, so the folder can be the same, and what is built is found again.
    let mut cargo = kiln_workshop::cargo::nested();
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", scratch::target_folder());
    cargo
}

/// Builds the program `program` of `package` for illumos, unless it is up to date, and gives its path.
///
/// # Errors
/// When it does not compile or link; the compiler has said why on standard error.
pub fn illumos(package: &str, program: impl AsRef<OsStr>, profile: Profile) -> Result<PathBuf> {
    let program = program.as_ref();
    let (name, folder) = match profile {
        Profile::Shipped => ("guest", "guest"),
        Profile::Quick => ("dev", "debug"),
    };
    let status = cargo()
        .args([
            "build",
            "--quiet",
            "--locked",
            "--target",
            ILLUMOS,
            "--profile",
            name,
            "--package",
            package,
            "--bin",
        ])
        .arg(program)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "{package} does not build for {ILLUMOS}");
    Ok(scratch::target_folder().join(ILLUMOS).join(folder).join(program))
}
