//! `cargo xtask bench zone`: `kiln create-image` from a tar, against unpacking the tar into a dataset of ZFS and sending that.
//!
//! Both ways run in the guest of ring 3, one after the other, on the same disks, and the faster of two runs of each counts. How much
//! memory kiln takes, and at what pace it compresses, is measured on this machine.

mod zone;

use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kiln_harness::guest::Guest;
use kiln_harness::{recipe, scratch};

use crate::machine;
use crate::task::bench::high_water_mark;
use crate::task::promises::{Promise, judge};
use crate::task::setup::{self, Purpose};
use crate::task::vm;

/// Runs of kiln of each kind, of which the fastest counts.
const RUNS: usize = 3;
/// Runs of each way in the guest, as many as [`SCRIPT`] makes, of which the fastest counts.
const RUNS_IN_THE_GUEST: usize = 2;
/// Threads for compression, as kiln is told with --jobs.
const THREADS: NonZeroUsize = NonZeroUsize::new(2).expect("2 is not 0");

/// How many times faster than the way through ZFS kiln is, as the project promises.
const PROMISED_RATIO: f64 = 5.0;
/// The peak resident memory that the project promises to stay under, in KiB.
const PROMISED_MEMORY_KIB: u64 = 300 * 1024;
/// The largest ratio of a compressed image's time to the sum of what an uncompressed one takes and what the compressor takes alone.
const PROMISED_PACE: f64 = 1.1;

/// Runs both ways twice and prints the seconds of each step. The tar and what is made are on a disk of their own, and nothing of it is
/// in memory when a way begins. Each run has a pool of its own.
const SCRIPT: &str = r#"
set -euo pipefail
cp kiln /tmp/kiln
chmod 755 /tmp/kiln
disk=/dev/sda
mkfs.ext4 -q "$disk"
mount "$disk" /mnt
head -c "$(cat size)" /dev/disk/by-id/virtio-zone >/mnt/zone.tar

timed() {
    local name=$1 start end
    shift
    start=$(cut -d' ' -f1 /proc/uptime)
    "$@"
    end=$(cut -d' ' -f1 /proc/uptime)
    echo "$name $start $end"
}
cold() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}
send() { zfs send tank@final >/mnt/stock.zs; }
kiln() { /tmp/kiln create-image zone-1.0 description= --tar /mnt/zone.tar --compression none --output /mnt/kiln >&2; }

for run in 1 2; do
    rm -rf /mnt/kiln /mnt/stock.zs
    cold
    timed kiln kiln
    zpool create -f -O atime=off -m /tank tank /dev/disk/by-id/virtio-scratch
    cold
    timed tar tar -xf /mnt/zone.tar -C /tank
    timed snapshot zfs snapshot tank@final
    timed send send
    zpool destroy tank
done
"#;

/// Runs the benchmark.
pub fn run() -> Result<()> {
    setup::ensure(&[Purpose::Machines])?;
    vm::build()?;
    let kiln = machine::build_kiln()?;
    let home = scratch::target_folder().join("bench");
    fs::create_dir_all(&home)?;
    let tar = home.join(zone::NAME);
    let summary = zone::make(&tar)?;
    println!(
        "{} files, {} MB, in a tar of {} MB",
        summary.files,
        summary.bytes / 1_000_000,
        summary.tar / 1_000_000
    );

    eprintln!("in the guest, both ways twice:");
    let ways = in_the_guest(&kiln, &tar)?;
    eprintln!("on this machine, {RUNS} times without compression and {RUNS} times with gzip:");
    let plain = best(&kiln, &tar, &home, "none")?;
    let packed = best(&kiln, &tar, &home, "gzip")?;
    let compressor = compressor(&plain.image)?;
    fs::remove_dir_all(home.join("zone"))?;

    println!(
        "in the guest: kiln {:.1} s; tar {:.1} s, zfs snapshot and zfs send {:.1} s",
        ways.kiln, ways.tar, ways.send
    );
    println!(
        "on this machine: without compression {:.2} s, with gzip {:.2} s; the compressor alone {:.2} s",
        plain.time.as_secs_f64(),
        packed.time.as_secs_f64(),
        compressor.as_secs_f64()
    );
    judge(
        &Figures {
            speed: (ways.tar + ways.send) / ways.kiln,
            memory_kib: plain.memory_kib.max(packed.memory_kib),
            pace: packed.time.as_secs_f64() / (plain.time + compressor).as_secs_f64(),
        }
        .promises(),
    )
}

/// The seconds of both ways in the guest.
#[derive(Debug, Clone, Copy)]
struct Ways {
    kiln: f64,
    tar: f64,
    send: f64,
}

fn in_the_guest(kiln: &Path, tar: &Path) -> Result<Ways> {
    let folder = scratch::folder("bench");
    let (size, disk) = (folder.path().join("size"), folder.path().join("disk"));
    fs::write(&size, fs::metadata(tar)?.len().to_string())?;
    File::create(&disk)?.set_len(8 << 30)?;
    let guest = Guest::at(recipe::guest_folder()).zfs().deadline(Duration::from_hours(1));
    let guest = guest.file("kiln", kiln).file("size", size).disk("zone", tar).target(disk);
    let done = guest.run(SCRIPT)?;
    ensure!(done.status == 0, "the guest: {}", String::from_utf8_lossy(&done.stderr));
    ways(&String::from_utf8_lossy(&done.stdout))
}

/// The fastest run of each way. The lines of the script say what was run, when it began, and when it ended.
fn ways(lines: &str) -> Result<Ways> {
    let seconds = |name: &str| -> Result<[f64; RUNS_IN_THE_GUEST]> {
        let lines = lines.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let runs = lines.map(|line| {
            let (start, end) = line.split_once(' ').context("it has no two times")?;
            Ok(end.parse::<f64>()? - start.parse::<f64>()?)
        });
        let runs = runs.collect::<Result<Vec<f64>>>()?;
        let count = runs.len();
        runs.try_into().ok().with_context(|| format!("the guest says {count} times how long {name} took"))
    };
    let kiln = seconds("kiln")?.into_iter().fold(f64::INFINITY, f64::min);
    let (tar, snapshot, send) = (seconds("tar")?, seconds("snapshot")?, seconds("send")?);
    let stock = (0..RUNS_IN_THE_GUEST).map(|run| (tar[run], snapshot[run] + send[run]));
    let fastest = stock.min_by(|one, other| (one.0 + one.1).total_cmp(&(other.0 + other.1)));
    let (tar, send) = fastest.context("there was no run")?;
    Ok(Ways { kiln, tar, send })
}

/// A run of kiln on this machine.
struct Run {
    time: Duration,
    memory_kib: u64,
    image: PathBuf,
}

/// The fastest of several runs, with the largest peak of their memory.
fn best(kiln: &Path, tar: &Path, home: &Path, compression: &str) -> Result<Run> {
    let mut best: Option<Run> = None;
    for _ in 0..RUNS {
        let run = native(kiln, tar, &home.join("zone").join(compression), compression)?;
        eprintln!("  {compression}: {:6.2} s", run.time.as_secs_f64());
        best = Some(match best {
            Some(before) => Run {
                time: before.time.min(run.time),
                memory_kib: before.memory_kib.max(run.memory_kib),
                image: run.image,
            },
            None => run,
        });
    }
    best.context("there was no run")
}

fn native(kiln: &Path, tar: &Path, output: &Path, compression: &str) -> Result<Run> {
    if output.exists() {
        fs::remove_dir_all(output)?;
    }
    let mut command = Command::new(kiln);
    command
        .args([
            "create-image",
            "zone-1.0",
            "description=",
            "--jobs",
            "2",
            "--compression",
            compression,
            "--tar",
        ])
        .arg(tar);
    command.arg("--output").arg(output).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot start {}", kiln.display()))?;
    let status_file = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut memory_kib = 0;
    let status = loop {
        memory_kib = memory_kib.max(high_water_mark(&status_file).unwrap_or(0));
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let time = start.elapsed();
    ensure!(status.success(), "kiln create-image failed: {status}");
    let images = fs::read_dir(output)?.map(|entry| Ok(entry?.path()));
    let mut images = images.collect::<io::Result<Vec<_>>>()?;
    images.retain(|path| path.to_string_lossy().contains(".zfs"));
    Ok(Run { time, memory_kib, image: images.pop().context("kiln has made no image")? })
}

/// How long `formats/pgzip` takes for an image alone.
fn compressor(image: &Path) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        let options = kiln_pgzip::Options { threads: THREADS, ..kiln_pgzip::Options::default() };
        let mut writer = kiln_pgzip::Writer::new(io::sink(), options)?;
        io::copy(&mut File::open(image)?, &mut writer)?;
        writer.finish()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

/// What the project promises about.
#[derive(Debug, Clone, Copy)]
struct Figures {
    /// Time of the way through ZFS to that of kiln.
    speed: f64,
    /// Largest peak of resident memory of all runs, in KiB.
    memory_kib: u64,
    /// Time of a compressed image to that of its two parts one after the other.
    pace: f64,
}

impl Figures {
    #[expect(clippy::cast_precision_loss, reason = "sizes far below 2^52 are printed with a digit")]
    fn promises(self) -> [Promise; 3] {
        let Self { speed, memory_kib, pace } = self;
        let promise = |words, kept| Promise { words, kept };
        [
            promise(
                format!("ratio                    {speed:7.1}     at least {PROMISED_RATIO}"),
                speed >= PROMISED_RATIO,
            ),
            promise(
                format!("pace with compression    {pace:7.2}     at most {PROMISED_PACE}"),
                pace > 0.0 && pace <= PROMISED_PACE,
            ),
            promise(
                format!(
                    "peak resident memory     {:7.1} MiB under {}",
                    memory_kib as f64 / 1024.0,
                    PROMISED_MEMORY_KIB / 1024
                ),
                (1..PROMISED_MEMORY_KIB).contains(&memory_kib),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_promise_is_judged() {
        let good = Figures { speed: 5.0, memory_kib: PROMISED_MEMORY_KIB - 1, pace: 1.1 };
        assert!(judge(&good.promises()).is_ok());
        for bad in [
            Figures { speed: 4.99, ..good },
            Figures { speed: f64::NAN, ..good },
            Figures { memory_kib: PROMISED_MEMORY_KIB, ..good },
            Figures { memory_kib: 0, ..good },
            Figures { pace: 1.11, ..good },
            Figures { pace: f64::NAN, ..good },
        ] {
            assert_eq!(judge(&bad.promises()).unwrap_err().to_string(), "promises that do not hold: 1");
        }
    }

    #[test]
    fn the_times_of_the_guest_are_read() {
        let first = "kiln 10.50 20.00\ntar 30.00 90.25\nsnapshot 90.25 90.50\nsend 90.50 110.25\n";
        let second = "kiln 200.00 210.00\ntar 220.00 281.00\nsnapshot 281.00 281.50\nsend 281.50 290.00\n";
        let fastest = ways(&format!("{first}{second}")).unwrap();
        assert_eq!((fastest.kiln, fastest.tar, fastest.send), (9.5, 61.0, 9.0));
        assert!(ways("").is_err());
        assert!(ways("kiln 1 2\n").is_err());
        assert!(ways("kiln 1\n").is_err());
        let error = ways(&format!("{first}{}", second.replace("send", "sent"))).unwrap_err();
        assert_eq!(error.to_string(), "the guest says 1 times how long send took");
    }
}
