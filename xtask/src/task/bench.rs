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
use kiln_harness::scratch;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::machine;
use crate::task::promises::{Promise, judge};
use crate::task::setup::{self, Purpose};
use crate::task::{bench_init, bench_mdata, bench_zone};

/// kiln against the original's way, measured in the same run.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// `kiln retro` against tar, mtools, `gzip -9` and sha1sum, on a platform filled with this machine's programs.
    Retro,
    /// The metadata server and client, beside a plain echo over the same transport.
    Mdata,
    /// The external commands of guest-init's first boot on the simulator, beside the original's, and its size.
    Init,
    /// `kiln create-image` from a tar, against unpacking it into a dataset of ZFS and sending that, in the guest of ring 3.
    Zone,
}

/// The stamp of the platform that is measured.
const STAMP: &str = "20141030T081701Z";
/// Size of its boot archive in KiB, that of platforms of 2025.
const ARCHIVE_KIB: u32 = 350_000;
/// Folders whose files fill the boot archive.
const FILLING: [&str; 2] = ["/usr/bin", "/usr/lib"];
/// Bytes of files that the boot archive must at least hold to stand for a real one.
const FILLED: u64 = 300_000_000;
/// Runs of kiln, of which the fastest counts; the original's way runs once, because it takes a minute.
const RUNS: usize = 3;
/// Size in MiB of the larger image, which is only made to see that memory does not grow with it.
const LARGE_IMAGE_MIB: &str = "16384";

/// How many times faster than the original's way kiln is on two cores, as the project promises.
const PROMISED_RATIO: f64 = 15.0;
/// The peak resident memory that the project promises to stay under, in KiB.
const PROMISED_MEMORY_KIB: u64 = 160 * 1024;

/// Runs the task.
pub fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Retro => retro(),
        Bench::Mdata => bench_mdata::run(),
        Bench::Init => bench_init::run(),
        Bench::Zone => bench_zone::run(),
    }
}

fn retro() -> Result<()> {
    // The stock tools are among those that judge images.
    setup::ensure(&[Purpose::Judge])?;
    let kiln = machine::build_kiln()?;
    let home = scratch::target_folder().join("bench");
    fs::create_dir_all(&home)?;
    let platform = platform(&kiln, &home)?;

    eprintln!("the original's way, once:");
    let stock = stock_way(&platform, &home.join("stock"))?;
    eprintln!("kiln retro, {RUNS} times, and once for an image of {LARGE_IMAGE_MIB} MiB:");
    let output = home.join("kiln");
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(kiln_way(&kiln, &platform, &output, &[])?);
    }
    let large = kiln_way(&kiln, &platform, &output, &["--size", LARGE_IMAGE_MIB])?;
    let memory_kib = runs.iter().chain([&large]).map(|run| run.memory_kib).max().unwrap_or(0);
    let best = runs.into_iter().min_by_key(|run| run.total).context("there was no run")?;
    report(&stock, &best);
    judge(&Figures::of(&stock, &best, memory_kib).promises())
}

/// The platform that is measured. One of an earlier run is taken again if it was made of the same files by the same kiln.
fn platform(kiln: &Path, home: &Path) -> Result<PathBuf> {
    let name = format!("platform-{}.tgz", made_of(kiln)?);
    let platform = home.join(&name);
    if !platform.exists() {
        for entry in fs::read_dir(home)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("platform-") {
                fs::remove_file(entry.path())?;
            }
        }
        let filling = FILLING.join(" and ");
        eprintln!("making a platform with a boot archive of {ARCHIVE_KIB} KiB out of {filling}");
        let mut command = Command::new(kiln);
        command.args(["demo", "platform", "--stamp", STAMP, "--size", &ARCHIVE_KIB.to_string(), "--output"]);
        command.arg(&platform).args(FILLING.iter().flat_map(|folder| ["--fill", folder]));
        machine::run(&mut command)?;
    }
    let filled = bytes_of_files(kiln, &platform)?;
    ensure!(
        filled >= FILLED,
        "the boot archive of {} holds {filled} bytes of files, too few to stand for a real one, which has {FILLED}",
        platform.display()
    );
    Ok(platform)
}

/// A digest of what goes into the platform: the program that makes it, its flags, and the files that fill it by their
/// names, sizes and times.
fn made_of(kiln: &Path) -> Result<String> {
    let mut digest = Sha256::new();
    digest.update(fs::read(kiln).with_context(|| format!("cannot read {}", kiln.display()))?);
    digest.update(format!("{STAMP} {ARCHIVE_KIB} {FILLING:?}"));
    for folder in FILLING {
        let arguments = ["-type", "f", "-printf", "%p %s %T@\\n"];
        let (_, listing) = machine::capture(Command::new("find").arg(folder).args(arguments))?;
        let mut lines: Vec<&str> = listing.lines().collect();
        lines.sort_unstable();
        digest.update(lines.join("\n"));
    }
    Ok(digest.finalize().iter().take(8).fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")))
}

/// Sum of the sizes of all files in a platform's boot archive.
fn bytes_of_files(kiln: &Path, platform: &Path) -> Result<u64> {
    let archive = format!("{}:/platform-{STAMP}/i86pc/amd64/boot_archive!/", platform.display());
    let (listed, entries) = machine::capture(Command::new(kiln).args(["ls", "--json", "-R", &archive]))?;
    ensure!(listed, "kiln cannot list {archive}");
    entries.lines().try_fold(0, |sum, line| {
        let entry: Value = serde_json::from_str(line)?;
        let size =
            if entry["kind"] == "file" { entry["size"].as_u64().context("a file has a size")? } else { 0 };
        Ok(sum + size)
    })
}

/// What the original's way took, step by step.
struct Stock {
    steps: Vec<(&'static str, Duration)>,
    size: u64,
}

impl Stock {
    fn total(&self) -> Duration {
        self.steps.iter().map(|(_, time)| *time).sum()
    }
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

fn kiln_way(kiln: &Path, platform: &Path, output: &Path, flags: &[&str]) -> Result<KilnRun> {
    let start = Instant::now();
    // Two threads for compression, as on the two cores that the promise is about.
    let mut child = Command::new(kiln)
        .args(["retro", STAMP, "--json", "--force", "--jobs", "2"])
        .args(flags)
        .arg("--platform")
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
pub fn high_water_mark(status: &Path) -> Option<u64> {
    let lines = BufReader::new(File::open(status).ok()?).lines();
    let line = lines.map_while(Result::ok).find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn report(stock: &Stock, best: &KilnRun) {
    let share = |time: &Duration, total: Duration| 100.0 * time.as_secs_f64() / total.as_secs_f64();
    println!("stock tools              {:7.2} s", stock.total().as_secs_f64());
    for (name, time) in &stock.steps {
        println!("  {name:<22} {:7.2} s {:5.1} %", time.as_secs_f64(), share(time, stock.total()));
    }
    println!("kiln retro               {:7.2} s", best.total.as_secs_f64());
    for (name, time) in &best.steps {
        println!("  {name:<22} {:7.2} s {:5.1} %", time.as_secs_f64(), share(time, best.total));
    }
}

/// What the project promises about.
#[derive(Clone, Copy)]
struct Figures {
    /// Time of the original's way to that of kiln.
    speed: f64,
    /// Size of kiln's image in bytes.
    size: u64,
    /// Size of what `gzip -9` made, in bytes.
    stock_size: u64,
    /// Largest peak of resident memory of all runs, in KiB.
    memory_kib: u64,
}

impl Figures {
    fn of(stock: &Stock, best: &KilnRun, memory_kib: u64) -> Self {
        let speed = stock.total().as_secs_f64() / best.total.as_secs_f64();
        Self { speed, size: best.size, stock_size: stock.size, memory_kib }
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52 are printed with three digits")]
    fn promises(self) -> [Promise; 3] {
        let size_ratio = self.size as f64 / self.stock_size as f64;
        let promise = |words, kept| Promise { words, kept };
        // A figure of 0 means that nothing was measured, which keeps no promise.
        [
            promise(
                format!("ratio                    {:7.1}     at least {PROMISED_RATIO}", self.speed),
                self.speed >= PROMISED_RATIO,
            ),
            promise(
                format!("size, to gzip -9's       {size_ratio:7.3}     at most 1"),
                (1..=self.stock_size).contains(&self.size),
            ),
            promise(
                format!(
                    "peak resident memory     {:7.1} MiB under {}",
                    self.memory_kib as f64 / 1024.0,
                    PROMISED_MEMORY_KIB / 1024
                ),
                (1..PROMISED_MEMORY_KIB).contains(&self.memory_kib),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_promise_is_judged() {
        let good = Figures { speed: 15.0, size: 100, stock_size: 100, memory_kib: PROMISED_MEMORY_KIB - 1 };
        assert!(judge(&good.promises()).is_ok());
        for bad in [
            Figures { speed: 14.99, ..good },
            Figures { speed: f64::NAN, ..good },
            Figures { size: 101, ..good },
            Figures { size: 0, ..good },
            Figures { memory_kib: PROMISED_MEMORY_KIB, ..good },
            Figures { memory_kib: 0, ..good },
        ] {
            assert_eq!(judge(&bad.promises()).unwrap_err().to_string(), "promises that do not hold: 1");
        }
    }
}
