//! `cargo xtask fuzz`: libFuzzer on the pinned stable toolchain.
//!
//! The usual driver needs a nightly compiler for its sanitizers. kiln's parsers forbid `unsafe`, so what there is to
//! find are panics, endless loops and unbounded allocation, and for those LLVM's coverage pass is enough, which
//! stable compilers have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use kiln_harness::scratch;

use crate::machine;
use crate::task::setup::{self, Purpose};

/// The folder of the targets in the workspace, and a workspace of its own.
pub const FOLDER: &str = "tests/fuzz";

/// What instruments the code under test: edges counted in 8-bit counters, their addresses, and compared values.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// An input that takes longer is a finding. It is well above what the slowest input takes on a busy machine.
const INPUT_SECONDS: u32 = 10;

/// Memory above which a target is ended, which is a finding. The targets' own images are a tenth of that.
const MEMORY_MIB: u32 = 1024;

/// Run fuzz targets of tests/fuzz.
#[derive(Debug, Args)]
pub struct Fuzz {
    /// The target, a file of tests/fuzz/targets without its extension.
    #[arg(required_unless_present_any = ["replay", "all", "list"], conflicts_with_all = ["replay", "all", "list"])]
    target: Option<String>,
    /// How long to run it.
    #[arg(default_value_t = 60)]
    seconds: u32,
    /// Only run the committed corpus of every target.
    #[arg(long, conflicts_with = "all")]
    replay: bool,
    /// Run every target for this long, its committed corpus first.
    #[arg(long, value_name = "SECONDS")]
    all: Option<u32>,
    /// List the targets.
    #[arg(long)]
    list: bool,
}

/// Runs the task.
pub fn run(options: &Fuzz) -> Result<()> {
    if options.list {
        for name in targets()? {
            println!("{name}");
        }
        return Ok(());
    }
    if let Some(seconds) = options.all {
        return everything(seconds, None);
    }
    let folder = build()?;
    match &options.target {
        Some(name) => {
            ensure!(
                targets()?.contains(name),
                "there is no target {name}; `cargo xtask fuzz --list` lists them"
            );
            let runs = fuzz(&folder, name, options.seconds, None)?;
            eprintln!("{runs} inputs run");
            Ok(())
        }
        None => each(|name| replay(&folder, name)),
    }
}

/// Runs the corpus of every target, then each target for `seconds`, from this seed or a random one.
pub fn everything(seconds: u32, seed: Option<&str>) -> Result<()> {
    let folder = build()?;
    each(|name| replay(&folder, name).and_then(|_| fuzz(&folder, name, seconds, seed)))
}

/// Does `work`, which gives how many inputs it ran, for every target, and fails at the end with the names of those that failed.
fn each(work: impl Fn(&str) -> Result<u64> + Sync) -> Result<()> {
    let targets = targets()?;
    let told = |name: &String| {
        let runs = work(name)?;
        eprintln!("--- fuzz target {name}: {runs} inputs run");
        Ok(())
    };
    let failed = machine::at_once(&targets, String::as_str, told);
    ensure!(failed.is_empty(), "fuzz targets with findings: {}", failed.join(", "));
    Ok(())
}

/// Runs clippy over the targets, with the instrumentation of [`build`], whose build scripts it then need not run again.
pub fn lint() -> Result<()> {
    setup::ensure(&[Purpose::Fuzz])?;
    let (mut cargo, _) = cargo("clippy")?;
    machine::run(cargo.args(["--all-targets", "--", "-D", "warnings"]))
}

fn home() -> PathBuf {
    machine::workspace_root().join(FOLDER)
}

/// Names of the targets, sorted.
fn targets() -> Result<Vec<String>> {
    let folder = home().join("targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let name = entry?.file_name();
        names.extend(name.to_string_lossy().strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Builds all targets and gives the folder of the executables.
fn build() -> Result<PathBuf> {
    setup::ensure(&[Purpose::Fuzz])?;
    let (mut cargo, executables) = cargo("build")?;
    machine::run(&mut cargo)?;
    Ok(executables)
}

/// cargo with the settings that the targets are compiled under, and the folder that the executables come into.
fn cargo(subcommand: &str) -> Result<(Command, PathBuf)> {
    let (_, version) = machine::capture(Command::new("rustc").arg("-vV").current_dir(home()))?;
    let Some(host) = version.lines().find_map(|line| line.strip_prefix("host: ")) else {
        bail!("rustc -vV names no host");
    };
    let target = scratch::target_folder().join("fuzz");
    let mut cargo = machine::cargo();
    // With a target named, build scripts and procedural macros are not instrumented.
    cargo.args([subcommand, "--release", "--locked", "--target", host]).current_dir(home());
    cargo.env("CARGO_TARGET_DIR", &target);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"));
    Ok((cargo, target.join(host).join("release")))
}

/// Runs the committed inputs of a target, once each, and gives how many inputs ran.
fn replay(folder: &Path, name: &str) -> Result<u64> {
    let seeds = seeds(name)?;
    let mut committed = 0;
    for seed in fs::read_dir(&seeds)? {
        // libFuzzer runs the empty input of its own accord, and once.
        committed += u64::from(seed?.metadata()?.len() > 0);
    }
    let mut command = command(folder, name)?;
    command.arg("-runs=0").arg(seeds);
    let runs = run_quietly(&mut command)?;
    ensure!(runs > committed && committed > 0, "{runs} inputs ran of {committed} and the empty one");
    Ok(runs)
}

/// Runs a target for some time and gives how many inputs ran. What it finds worth keeping goes into a folder below
/// cargo's target folder: the committed inputs are few and chosen.
fn fuzz(folder: &Path, name: &str, seconds: u32, seed: Option<&str>) -> Result<u64> {
    let found = scratch::target_folder().join("fuzz/corpus").join(name);
    fs::create_dir_all(&found)?;
    let mut command = command(folder, name)?;
    command.arg(format!("-max_total_time={seconds}"));
    command.args(seed.map(|seed| format!("-seed={seed}")));
    command.arg(found).arg(seeds(name)?);
    run_quietly(&mut command)
}

/// The folder of a target's committed inputs; without any there would be nothing to replay.
fn seeds(name: &str) -> Result<PathBuf> {
    let folder = home().join("corpus").join(name);
    ensure!(folder.is_dir(), "{} is missing: every target has committed inputs", folder.display());
    Ok(folder)
}

fn command(folder: &Path, name: &str) -> Result<Command> {
    let artifacts = scratch::target_folder().join("fuzz/artifacts").join(name);
    fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(folder.join(name));
    command.arg(format!("-rss_limit_mb={MEMORY_MIB}")).arg(format!("-timeout={INPUT_SECONDS}"));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args(["-max_len=65536", "-print_final_stats=1"]);
    Ok(command)
}

/// Runs a target and gives how many inputs it has run. What it wrote is shown only after a finding.
fn run_quietly(command: &mut Command) -> Result<u64> {
    let output = command.stdin(Stdio::null()).output().context("cannot start the target")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        eprintln!("{text}");
        bail!("{} failed: {}", command.get_program().to_string_lossy(), output.status);
    }
    let runs = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    runs.and_then(|count| count.trim().parse().ok()).context("the target tells no statistics")
}
