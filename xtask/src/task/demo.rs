//! `cargo xtask demo`: from a stand-in platform to a kernel that runs, with nothing but QEMU, and then the first boot of a guest,
//! simulated.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use kiln_harness::{scratch, tools};

use crate::first_boot;
use crate::machine;
use crate::task::setup::{self, Purpose};

/// The stamp of the platform that the demo makes.
const STAMP: &str = "20260101T000000Z";

/// QEMU's exit status when the stand-in kernel found everything in order: it writes 16 to the exit device, which
/// shifts that left and sets the lowest bit.
const ALL_RIGHT: i32 = 33;

/// Make a stand-in platform, build a retro image from it, verify it, boot it in QEMU, and show a simulated first boot.
#[derive(Debug, Args)]
pub struct Demo {
    /// Folder for everything the demo makes, made if need be [default: target/demo].
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The boot loader, as in `kiln retro --loader`.
    #[arg(short, long)]
    loader: Option<String>,
}

/// Runs the task.
pub fn run(demo: &Demo) -> Result<()> {
    setup::ensure(&[Purpose::Boot])?;
    let kiln = machine::build_kiln()?;
    let home = demo.output.clone().unwrap_or_else(|| scratch::target_folder().join("demo"));
    fs::create_dir_all(home.join("data")).with_context(|| format!("cannot make {}", home.display()))?;

    let platform = format!("data/platform-{STAMP}.tgz");
    // The version is part of the image's name, so it is given rather than guessed.
    let image = format!("output/smartos-retro-{STAMP}-demo");
    let (volume, manifest, disk) =
        (format!("{image}.zvol.gz"), format!("{image}.manifest"), "output/disk.raw");
    let step = |arguments: &[&str]| {
        eprintln!("\n$ kiln {}", arguments.join(" "));
        machine::run(Command::new(&kiln).args(arguments).current_dir(&home))
    };
    step(&["demo", "platform", "--stamp", STAMP, "--output", &platform, "--force"])?;
    let mut retro = vec!["retro", STAMP, "--version", "demo", "--force"];
    if let Some(loader) = &demo.loader {
        retro.extend(["--loader", loader]);
    }
    step(&retro)?;
    step(&["verify", &volume, "--manifest", &manifest])?;
    step(&["convert", &volume, "--to", "sparse-raw", disk, "--force"])?;

    eprintln!("\nbooting {} in QEMU; its first serial port:", home.join(disk).display());
    boot(&home.join(disk))?;
    eprintln!("\nthe stand-in kernel found its archive in order; everything is in {}", home.display());
    show_first_boot(&kiln)
}

/// Shows what a guest of such an image does at its first boot.
fn show_first_boot(kiln: &std::path::Path) -> Result<()> {
    eprintln!(
        "\nA stand-in kernel sets nothing up. So here is the first boot of a guest as a SIMULATION: guest-init, the program \
         for SmartOS that the image carries, runs on this machine's kernel, and a stand-in plays the commands of illumos, \
         its disks and its services. No illumos takes part. The guest's console:\n"
    );
    let boot = first_boot::play(kiln, STAMP)?;
    for line in boot.console.lines() {
        println!("  {}", line.trim_end());
    }
    println!("\n  # guest-init status");
    for line in boot.status.lines() {
        println!("  {line}");
    }
    Ok(())
}

/// Boots a disk with its first serial port on this terminal, until the stand-in kernel leaves QEMU.
fn boot(disk: &std::path::Path) -> Result<()> {
    let qemu = tools::find("qemu-system-x86_64").context("qemu-system-x86_64 is missing")?;
    let path = disk.to_str().context("the folder's name is not UTF-8")?.replace(',', ",,");
    let status = Command::new(qemu)
        .args([
            "-machine",
            "pc",
            "-accel",
            "tcg",
            "-m",
            "512",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-serial", "stdio"])
        .arg("-drive")
        .arg(format!("file={path},format=raw,if=virtio,snapshot=on"))
        .stdin(Stdio::null())
        .status()
        .context("cannot start QEMU")?;
    if status.code() != Some(ALL_RIGHT) {
        bail!("the stand-in kernel did not report success (QEMU: {status})");
    }
    Ok(())
}
