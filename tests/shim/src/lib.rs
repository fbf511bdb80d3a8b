//! Runs illumos executables on Linux, for tests: the ABI shim's Rust side.
//!
//! The shim (`c/`, built by the build script) offers illumos' C library over glibc, with illumos' structures, constants and
//! error numbers. What a test of ours proves by it, and what only a real boot can, is in `docs/illumos.md`.
//!
//! * [`command`] starts a program with the machine's files around it, [`Root`] in a root folder of its own;
//! * [`Settings`] say which platform is played, how fast clocks run, which call fails or kills the program;
//! * [`disks`], [`clock`] and [`power`] play the parts of a machine that outlive a boot;
//! * [`Counts`] and [`trace`] tell what a program did;
//! * [`guests`] builds the programs.
//!
//! As cargo's runner there is the program `illumos-run`:
//! `CARGO_TARGET_X86_64_UNKNOWN_ILLUMOS_RUNNER=target/debug/illumos-run cargo test --target x86_64-unknown-illumos`.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]
#![forbid(unsafe_code)]

pub mod clock;
pub mod disks;
pub mod guests;
pub mod power;
mod root;
mod settings;
pub mod trace;

pub use root::Root;
pub use settings::{Moment, Settings};
pub use trace::Counts;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest platform that guest programs must run on, as [`Settings::platform`] takes it.
pub const OLDEST_PLATFORM: &str = "20130506T233003Z";

/// The folder that the build script made.
fn built() -> &'static Path {
    Path::new(env!("KILN_SHIM"))
}

/// The program that starts illumos executables: `abi-run PROGRAM ARGUMENTS...` becomes PROGRAM. Usable as cargo's runner.
pub fn launcher() -> PathBuf {
    built().join("abi-run")
}

/// The functions of guest-rt's list that the shim does not have: a program that calls one is ended with its name.
///
/// # Panics
/// When what the build script made is gone.
pub fn missing_functions() -> Vec<String> {
    let list = std::fs::read_to_string(built().join("missing.txt")).expect("the build script wrote it");
    list.lines().map(str::to_owned).collect()
}

/// An illumos executable, to be run with the machine's files around it.
pub fn command(program: &Path, settings: &Settings) -> Command {
    let mut command = Command::new(launcher());
    command.arg(program);
    settings.apply(&mut command);
    command
}
