//! The tests of guest programs, run once more as illumos executables, on the ABI shim.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use kiln_harness::scratch;

use crate::machine;
use crate::task::guest::{self, Guest};

/// The platforms that the shim plays: the oldest there is an image of, and one that has everything.
pub const PLATFORMS: [&str; 2] = ["20130506T233003Z", "20991231T000000Z"];

/// Runs `tests`, a `cargo test`, for what the guest programs do inside one process: their tests are illumos programs themselves.
pub fn inside(mut tests: Command, platform: &str) -> Result<()> {
    tests.args(["--package", "guest-mdata", "--package", "guest-init", "--target", "x86_64-unknown-illumos"]);
    tests.args(["--lib", "--bins", "--test", "protocol", "--test", "detection"]);
    // A panic ends the whole program, and what it had kept back would be lost.
    tests.args(["--", "--test-threads=1", "--nocapture"]);
    tests.env("CARGO_TARGET_X86_64_UNKNOWN_ILLUMOS_RUNNER", build_launcher()?);
    tests.env("ABI_SHIM_PLATFORM", platform);
    machine::run(&mut tests)
}

/// Runs `tests`, a `cargo test`, for the commands of guest-mdata, with the executable that images carry. The tests, which
/// are the host and its terminals, run natively.
pub fn shipped(mut tests: Command, platform: &str) -> Result<()> {
    guest::run(&Guest::shipped())?;
    let program = guest::usual_folder().join("mdata");
    ensure!(program.is_file(), "no {}", program.display());
    // Named in the whole workspace, so that the features of its dependencies are those of the other rings.
    tests.args(["--workspace", "--test", "commands"]);
    tests.env("MDATA_BIN", program);
    tests.env("MDATA_RUNNER", build_launcher()?);
    tests.env("ABI_SHIM_PLATFORM", platform);
    machine::run(&mut tests)
}

/// Builds the program that runs illumos executables, and gives its path.
fn build_launcher() -> Result<PathBuf> {
    machine::run(machine::cargo().args(["build", "--package", "kiln-shim", "--bin", "illumos-run"]))?;
    Ok(scratch::target_folder().join("debug/illumos-run"))
}
