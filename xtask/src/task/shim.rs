//! The tests of guest programs, run once more with the executables that images carry, on the ABI shim.

use std::process::Command;

use anyhow::{Result, ensure};
use kiln_harness::scratch;

use crate::machine;
use crate::task::guest::{self, Guest};

/// The platforms that the shim plays: the oldest there is an image of, and one that has everything.
pub const PLATFORMS: [&str; 2] = ["20130506T233003Z", "20991231T000000Z"];

/// Runs `tests`, a `cargo test`, for the programs of guest-mdata on the shim.
pub fn run(mut tests: Command, platform: &str) -> Result<()> {
    guest::run(&Guest::shipped())?;
    let program = guest::usual_folder().join("mdata");
    ensure!(program.is_file(), "no {}", program.display());
    machine::run(machine::cargo().args(["build", "--package", "kiln-shim", "--bin", "illumos-run"]))?;
    // Named in the whole workspace, so that the features of its dependencies are those of the other rings.
    tests.args(["--workspace", "--test", "commands"]);
    tests.env("MDATA_BIN", program);
    tests.env("MDATA_RUNNER", scratch::target_folder().join("debug/illumos-run"));
    tests.env("ABI_SHIM_PLATFORM", platform);
    machine::run(&mut tests)
}
