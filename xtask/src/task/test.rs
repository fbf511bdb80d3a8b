//! `cargo xtask test`: the three rings of tests, and the fuzz targets.

mod programs;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use kiln_harness::{scratch, tools};

use crate::machine;
use crate::task::guest::{self, Guest};
use crate::task::setup::{self, Purpose};
use crate::task::{fuzz, shim, vm};

/// Set for the tests by `--long`: tests that choose their own number of cases then run many more.
const LONG: &str = "KILN_LONG_TESTS";

/// How many cases property tests run with `--long`, where they leave that to proptest, whose default is 256.
const LONG_CASES: &str = "10000";

/// The seed of property tests and of fuzz targets without `--long`: the same commit passes or fails every time.
const SEED: &str = "1374653461";

/// Crates that the workspace excludes because they run on no host.
const BARE: [&str; 2] = ["host-builder/formats/bootdisk/loader", "host-builder/stand-in/kernel"];

/// The target of these crates, as in host-builder/formats/bootdisk/nested_build.rs.
const BARE_TARGET: &str = "x86_64-unknown-none";

/// Packages with code that only the guest's target compiles.
const GUEST_PACKAGES: &[&str] = &["guest-rt", "guest-mdata", "guest-init", "kiln-probe", "kiln-conformance"];

/// Seconds that each fuzz target gets.
const FUZZ_SECONDS: u32 = 10;

/// How the names of tests of the command line begin, among those of tests/e2e.
const COMMAND_LINE: &[&str] = &["cli_"];

/// How the names of tests of guests begin that boot on the simulator.
const SIMULATED: &[&str] = &["guest_"];

/// How the names of tests begin that run real systems.
const REAL_SYSTEMS: &[&str] = &["boot_", "receive_", "mount_"];

/// How the names of tests begin that need a kiln with the feature `native-zfs`, and run it beside real ZFS.
const NATIVE_ZFS: &[&str] = &["native_"];

/// A part of the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Ring {
    /// Formatting, lints, unit and property tests. Alone it needs nothing but Rust, and tests that ask a foreign tool
    /// which is missing are skipped, loudly.
    #[value(name = "1")]
    One,
    /// Every fuzz target: its corpus, then ten seconds.
    Fuzz,
    /// The command line against foreign tools, and the guest's programs on stand-ins for their system.
    #[value(name = "2")]
    Two,
    /// Real systems under QEMU.
    #[value(name = "3")]
    Three,
}

impl Ring {
    /// What has to be installed for the ring.
    fn purposes(self) -> &'static [Purpose] {
        match self {
            Ring::One => &[],
            Ring::Fuzz => &[Purpose::Fuzz],
            Ring::Two => &[Purpose::Judge],
            Ring::Three => &[Purpose::Machines, Purpose::NativeZfs],
        }
    }
}

/// Run the tests: all of them, or the named rings.
#[derive(Debug, Args)]
pub struct Test {
    /// Run property tests with many more cases, from random seeds, and stop first boots at every point rather than at a third
    /// of them.
    #[arg(long)]
    long: bool,
    /// The rings to run [default: all, in this order].
    #[arg(value_enum, value_name = "RING")]
    rings: Vec<Ring>,
}

/// Runs the task: every step of every ring, even after one has failed. What the steps need is installed first, all at
/// once, so that it is known early whether they can run.
pub fn run(test: &Test) -> Result<()> {
    let rings = if test.rings.is_empty() { Ring::value_variants() } else { &test.rings };
    let purposes: Vec<Purpose> = rings.iter().flat_map(|ring| ring.purposes()).copied().collect();
    setup::ensure(&purposes)?;
    let tools_are_there =
        purposes.iter().any(|purpose| matches!(purpose, Purpose::Judge | Purpose::Machines));
    let mut steps = Steps { test, tools_are_there, failed: Vec::new(), passed: 0 };
    for ring in rings {
        match ring {
            Ring::One => steps.ring_one(),
            Ring::Fuzz => {
                let seed = (!test.long).then_some(SEED);
                steps.step("fuzz targets", || fuzz::everything(FUZZ_SECONDS, seed));
                steps.step("lints of the fuzz targets", fuzz::lint);
            }
            Ring::Two => steps.ring_two()?,
            Ring::Three => steps.ring_three()?,
        }
    }
    println!("\nsteps: {} passed, {} failed", steps.passed, steps.failed.len());
    ensure!(steps.failed.is_empty(), "failed: {}", steps.failed.join(", "));
    Ok(())
}

struct Steps<'a> {
    test: &'a Test,
    /// Whether all tools that judge are installed, so that no test may skip.
    tools_are_there: bool,
    failed: Vec<String>,
    passed: u32,
}

impl Steps<'_> {
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let result = work();
        let seconds = start.elapsed().as_secs();
        match result {
            Ok(()) => {
                eprintln!("=== {name}: passed in {seconds} s");
                self.passed += 1;
            }
            Err(error) => {
                eprintln!("=== {name}: FAILED in {seconds} s: {error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }

    fn ring_one(&mut self) {
        let root = machine::workspace_root();
        self.step("formatting", || {
            machine::run(machine::cargo().args(["fmt", "--all", "--check"]))?;
            BARE.iter().chain(&[fuzz::FOLDER]).try_for_each(|folder| {
                machine::run(machine::cargo().args(["fmt", "--check"]).current_dir(root.join(folder)))
            })
        });
        // They stand outside the workspace, so no other step of this ring would notice that crates which they use have
        // gained dependencies.
        self.step("lock files of what the workspace excludes", || {
            BARE.iter().chain(&[fuzz::FOLDER]).try_for_each(|folder| {
                let mut lock = machine::cargo();
                lock.args(["tree", "--locked", "--depth", "0"]).current_dir(root.join(folder));
                machine::run(&mut lock).with_context(|| {
                    format!(
                        "{folder}/Cargo.lock does not fit: `cargo update --workspace` in that folder mends it"
                    )
                })
            })
        });
        self.step("lints", || {
            let arguments = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            machine::run(machine::cargo().args(arguments))
        });
        self.step("lints of what runs on no host", || {
            let arguments = ["clippy", "--locked", "--target", BARE_TARGET, "--", "-D", "warnings"];
            BARE.iter().try_for_each(|folder| {
                let mut lints = machine::cargo();
                lints.args(arguments).current_dir(root.join(folder));
                lints.env("CARGO_TARGET_DIR", scratch::target_folder().join("bare"));
                machine::run(&mut lints)
            })
        });
        self.step("lints of guest programs", || {
            let packages = GUEST_PACKAGES.iter().flat_map(|package| ["--package", package]);
            machine::run(
                machine::cargo()
                    .args(["clippy", "--target", "x86_64-unknown-illumos"])
                    .args(packages)
                    .args(["--", "-D", "warnings"]),
            )
        });
        self.step("guest programs", || guest::run(&Guest::for_tests()));
        let mut tests = self.cargo_test();
        tests.args(["--workspace", "--exclude", "kiln-e2e"]);
        self.step("unit and property tests", || machine::run(&mut tests));
    }

    fn ring_two(&mut self) -> Result<()> {
        self.end_to_end("command line", COMMAND_LINE, || {
            guest::run(&Guest::shipped())?;
            machine::build_kiln()
        })?;
        self.end_to_end("simulated guests", SIMULATED, machine::build_kiln)?;
        for platform in shim::PLATFORMS {
            let tests = self.cargo_test();
            let name = format!("tests of guest programs as illumos executables, platform {platform}");
            self.step(&name, || shim::inside(tests, platform));
            let tests = self.cargo_test();
            let name = format!("guest programs as illumos executables, platform {platform}");
            self.step(&name, || shim::shipped(tests, platform));
        }
        Ok(())
    }

    fn ring_three(&mut self) -> Result<()> {
        self.end_to_end("real systems", REAL_SYSTEMS, || {
            vm::build()?;
            guest::run(&Guest::shipped())?;
            machine::build_kiln()
        })?;
        let mut tests = self.cargo_test();
        tests.args(["--package", "kiln-zfs-sys", "--features", "bindings"]);
        self.step("lints and unit tests of native-zfs", || {
            let clippy = |what: &[&str]| {
                machine::run(machine::cargo().arg("clippy").args(what).args(["--", "-D", "warnings"]))
            };
            clippy(&["--package", "kiln-zfs-sys", "--features", "bindings", "--all-targets"])?;
            clippy(&[&machine::NATIVE_ZFS[..], &["--lib"]].concat())?;
            machine::run(&mut tests)
        });
        self.end_to_end("native-zfs on real ZFS", NATIVE_ZFS, || {
            vm::build()?;
            machine::build_native_kiln()
        })
    }

    /// Runs the tests of tests/e2e whose names begin with one of `prefixes`, on the kiln that `prepare` gives.
    fn end_to_end(
        &mut self,
        name: &str,
        prefixes: &[&str],
        prepare: impl FnOnce() -> Result<PathBuf>,
    ) -> Result<()> {
        let all = all_targets()?;
        let targets = targets_with(&all, prefixes);
        let mut tests = self.cargo_test();
        // Named in the whole workspace, not in its package alone, so that the dependencies are those of ring 1: cargo
        // would turn on fewer of their features for one package and compile them again.
        tests.arg("--workspace");
        tests.args(targets.iter().flat_map(|target| ["--test", target]));
        self.step(name, || {
            ensure!(!targets.is_empty(), "tests/e2e has no test called {}…", prefixes.join("…, "));
            tests.env(tools::KILN_BIN, prepare()?);
            tests.env(tools::XTASK_BIN, env::current_exe().context("cannot find this program")?);
            programs::run(tests)
        });
        Ok(())
    }

    /// `cargo test` with the variables that tests read.
    fn cargo_test(&self) -> Command {
        let mut command = machine::cargo();
        command.args(["test", "--no-fail-fast"]);
        if self.tools_are_there {
            command.env(tools::REQUIRE, "1");
        }
        let unset = |name: &str| env::var_os(name).is_none();
        if self.test.long {
            command.env(LONG, "1");
            if unset("PROPTEST_CASES") {
                command.env("PROPTEST_CASES", LONG_CASES);
            }
        } else {
            command.env_remove(LONG);
            if unset("PROPTEST_RNG_SEED") {
                command.env("PROPTEST_RNG_SEED", SEED);
            }
        }
        command
    }
}

/// Names of the integration tests of tests/e2e.
///
/// # Errors
/// When one belongs to no ring: it would never run.
fn all_targets() -> Result<BTreeSet<String>> {
    let folder = machine::workspace_root().join("tests/e2e/tests");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let file: OsString = entry.file_name();
        let file = file.to_string_lossy();
        // A test is a file, or a folder with a file called main.rs.
        if let Some(name) = file.strip_suffix(".rs") {
            names.insert(name.to_owned());
        } else if entry.path().join("main.rs").is_file() {
            names.insert(file.into_owned());
        }
    }
    let prefixes = [COMMAND_LINE, SIMULATED, REAL_SYSTEMS, NATIVE_ZFS].concat();
    let ringed = targets_with(&names, &prefixes);
    if let Some(stray) = names.iter().find(|name| !ringed.contains(name)) {
        bail!(
            "tests/e2e/tests/{stray}.rs belongs to no ring: its name must begin with one of {}",
            prefixes.join(", ")
        );
    }
    Ok(names)
}

fn targets_with<'a>(names: &'a BTreeSet<String>, prefixes: &[&str]) -> Vec<&'a String> {
    names.iter().filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_to_end_test_belongs_to_a_ring() {
        let names = all_targets().unwrap();
        for prefixes in [COMMAND_LINE, SIMULATED, REAL_SYSTEMS, NATIVE_ZFS] {
            assert!(!targets_with(&names, prefixes).is_empty(), "{prefixes:?}");
        }
        for folder in ["guest_hazards", "boot_on_real_zfs"] {
            assert!(names.contains(folder), "{folder} is a test as well");
        }
    }
}
