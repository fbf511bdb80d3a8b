//! `cargo xtask guest`: the programs for the inside of the guest, built and checked.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use kiln_harness::scratch;

use crate::guest::{self, PROBE, Program, SHIPPED};

/// Build every guest program into one folder and check each executable.
#[derive(Debug, Args)]
pub struct Guest {
    /// The folder, made if need be; programs for Linux go to `linux` in it [default: target/guest-programs].
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Build the probe too, which tests of the ABI shim run.
    #[arg(long)]
    with_probe: bool,
    /// Then build what images carry again, in a copy of the sources in another folder, and compare.
    #[arg(long)]
    twice: bool,
}

impl Guest {
    /// Everything, where the tests look for it.
    pub fn for_tests() -> Self {
        Self { output: None, with_probe: true, twice: true }
    }

    /// What images carry, in [`usual_folder`].
    pub fn shipped() -> Self {
        Self { output: None, with_probe: false, twice: false }
    }
}

/// Where the programs go unless told otherwise.
pub fn usual_folder() -> PathBuf {
    scratch::target_folder().join("guest-programs")
}

/// Runs the task.
pub fn run(options: &Guest) -> Result<()> {
    let output = options.output.clone().unwrap_or_else(usual_folder);
    let programs: Vec<&Program> = SHIPPED.iter().chain(options.with_probe.then_some(&PROBE)).collect();
    guest::make(&guest::workshop(), &programs, &output)?;
    if options.twice {
        guest::compare_with_another_clone(SHIPPED, &output)?;
    }
    Ok(())
}
