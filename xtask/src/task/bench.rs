//! `cargo xtask bench`: kiln against the original's way, in the same run on the same machine.
//!
//! Times are only ever compared with a stock tool's in the same run, because a machine's speed says nothing about
//! kiln's.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Subcommand;
use serde_json::Value;

use crate::machine;

/// kiln against the original's way, measured in the same run.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// `kiln retro` against tar, mtools, `gzip -9` and sha1sum, on a platform filled with this machine's programs.
    Retro,
}

/// The stamp of the platform that is measured.
const STAMP: &str = "20141030T081701Z";
/// Size of its boot archive in KiB, that of platforms of 2025.
const ARCHIVE_KIB: u32 = 350_000;
/// Folders whose files fill the boot archive.
const FILLING: [&str; 2] = ["/usr/bin", "/usr/lib"];
/// Runs of kiln, of which the fastest counts; the original's way runs once, because it takes a minute.
const RUNS: usize = 3;

/// The ratio that the project promises on two cores.
const PROMISED_RATIO: f64 = 15.0;
/// The peak resident memory that the project promises, in KiB.
const PROMISED_MEMORY_KIB: u64 = 160 * 1024;

/// Runs the task.
pub fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Retro => retro(),
    }
}

fn retro() -> Result<()> {
    let root = machine::workspace_root();
    machine::run(Command::new(env!("CARGO")).current_dir(&root).args([
        "build",
        "--release",
        "--package",
        "kiln",
    ]))?;
    let kiln = kiln_harness::scratch::target_folder().join("release/kiln");
    let home = kiln_harness::scratch::target_folder().join("bench");
    fs::create_dir_all(&home)?;
    let platform = home.join(format!("platform-{STAMP}.tgz"));
    make_platform(&kiln, &platform)?;

    eprintln!("the original's way, once:");
    let stock = stock_way(&platform, &home.join("stock"))?;
    eprintln!("kiln retro, {RUNS} times:");
    let mut runs: Vec<KilnRun> = Vec::new();
    for _ in 0..RUNS {
        runs.push(kiln_way(&kiln, &platform, &home.join("kiln"))?);
    }
    let best = runs.iter().min_by_key(|run| run.total).context("there was no run")?;
    let memory = runs.iter().map(|run| run.memory_kib).max().unwrap_or(0);
    report(&stock, best, memory);
    Ok(())
}

fn make_platform(kiln: &Path, platform: &Path) -> Result<()> {
    if platform.exists() {
        return Ok(());
    }
    eprintln!("making a platform with a boot archive of {ARCHIVE_KIB} KiB out of {}", FILLING.join(" and "));
    let mut command = Command::new(kiln);
    command.args(["demo", "platform", "--stamp", STAMP, "--size", &ARCHIVE_KIB.to_string(), "--output"]);
    command.arg(platform);
    for folder in FILLING {
        command.args(["--fill", folder]);
    }
    machine::run(&mut command)
}

/// What the original's way took, step by step.
struct Stock {
    steps: Vec<(&'static str, Duration)>,
    size: u64,
}

/// The original's steps with stock tools. Its edits of the boot archive need mounts and root and are left out, and so
/// is `zfs send`, which wrote the volume to a file once more; both omissions favour the original.
fn stock_way(platform: &Path, folder: &Path) -> Result<Stock> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let script = [
        ("tar", format!("tar xzf '{}' && mv platform-* platform", platform.display())),
        ("sha1sum boot_archive", "sha1sum platform/i86pc/amd64/boot_archive | cut -c1-40 > hash".to_owned()),
        (
            "mtools",
            "truncate -s 1G disk.img && mformat -i disk.img -F -T 2097152 -h 64 -s 32 :: && mmd -i disk.img ::/os \
             ::/os/P && mcopy -s -i disk.img platform ::/os/P/platform"
                .to_owned(),
        ),
        ("dd", "dd if=disk.img of=zvol bs=1M status=none".to_owned()),
        ("gzip -9", "gzip -9 < zvol > zvol.gz".to_owned()),
        ("sha1sum", "sha1sum zvol.gz > sum".to_owned()),
    ];
    let mut steps = Vec::new();
    for (name, line) in script {
        let start = Instant::now();
        machine::run(Command::new("sh").current_dir(folder).args(["-ec", &line]))?;
        steps.push((name, start.elapsed()));
        eprintln!("  {name:<22} {:6.1} s", start.elapsed().as_secs_f64());
    }
    let size = fs::metadata(folder.join("zvol.gz"))?.len();
    fs::remove_dir_all(folder)?;
    Ok(Stock { steps, size })
}

/// What one run of kiln took.
struct KilnRun {
    total: Duration,
    steps: Vec<(String, Duration)>,
    memory_kib: u64,
    size: u64,
}

fn kiln_way(kiln: &Path, platform: &Path, output: &Path) -> Result<KilnRun> {
    let start = Instant::now();
    let mut child = Command::new(kiln)
        .args(["retro", STAMP, "--json", "--force", "--platform"])
        .arg(platform)
        .arg("--output")
        .arg(output)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", kiln.display()))?;
    let events = BufReader::new(child.stdout.take().context("the output of kiln is not piped")?);
    let status_file = PathBuf::from(format!("/proc/{}/status", child.id()));
    let (ended, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut steps = Vec::new();
    let mut image = None;
    std::thread::scope(|scope| -> Result<()> {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(high_water_mark(&status_file).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let mut last = start;
        let read = events.lines().try_for_each(|line| -> Result<()> {
            let event: Value = serde_json::from_str(&line?)?;
            if let Some(step) = event["step"].as_str() {
                steps.push((step.to_owned(), last.elapsed()));
                last = Instant::now();
            }
            image = event["image"].as_str().map(PathBuf::from).or(image.take());
            Ok(())
        });
        ended.store(true, Ordering::Relaxed);
        read
    })?;
    let status = child.wait()?;
    let total = start.elapsed();
    ensure!(status.success(), "kiln retro failed: {status}");
    let size = fs::metadata(image.context("kiln named no image")?)?.len();
    eprintln!("  {:6.2} s", total.as_secs_f64());
    Ok(KilnRun { total, steps, memory_kib: peak.load(Ordering::Relaxed), size })
}

/// `VmHWM` of a process in KiB.
fn high_water_mark(status: &Path) -> Option<u64> {
    let lines = BufReader::new(File::open(status).ok()?).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52 are printed with three digits")]
fn report(stock: &Stock, best: &KilnRun, memory_kib: u64) {
    let stock_total: Duration = stock.steps.iter().map(|(_, time)| *time).sum();
    let ratio = stock_total.as_secs_f64() / best.total.as_secs_f64();
    let share = |time: &Duration, total: Duration| 100.0 * time.as_secs_f64() / total.as_secs_f64();
    let verdict = |holds: bool| if holds { "holds" } else { "DOES NOT HOLD" };
    println!("stock tools              {:7.2} s", stock_total.as_secs_f64());
    for (name, time) in &stock.steps {
        println!("  {name:<22} {:7.2} s {:5.1} %", time.as_secs_f64(), share(time, stock_total));
    }
    println!("kiln retro               {:7.2} s", best.total.as_secs_f64());
    for (name, time) in &best.steps {
        println!("  {name:<22} {:7.2} s {:5.1} %", time.as_secs_f64(), share(time, best.total));
    }
    println!(
        "ratio                    {ratio:7.1}   at least {PROMISED_RATIO}: {}",
        verdict(ratio >= PROMISED_RATIO)
    );
    let size_ratio = best.size as f64 / stock.size as f64;
    println!("size, to gzip -9's       {size_ratio:7.3}   at most 1: {}", verdict(size_ratio <= 1.0));
    println!(
        "peak resident memory     {:7.1} MiB at most {}: {}",
        memory_kib as f64 / 1024.0,
        PROMISED_MEMORY_KIB / 1024,
        verdict(memory_kib <= PROMISED_MEMORY_KIB)
    );
}
