//! `cargo xtask boot-real`: a real platform under QEMU, held to what guest-init promises.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use kiln_harness::{scratch, tools};

use crate::boot_real::accel::Accel;
use crate::boot_real::era::Stamp;
use crate::boot_real::patience::Patience;
use crate::boot_real::{self, Plan, Programs, Source};
use crate::machine;
use crate::task::setup::{self, Purpose};

/// The exit status for a wrong command line.
const USAGE: u8 = 2;

/// The exit status after an interruption, as shells have it for SIGINT.
const INTERRUPTED: u8 = 130;

/// Build an image of a real platform, boot it in QEMU, and check everything that guest-init promises.
///
/// The exit status is 0 when all of it holds, 1 when something does not or the boot stops early, and 2 for a wrong command
/// line. Report and logs are in the output folder either way.
#[derive(Debug, Args)]
pub struct BootReal {
    /// The platform tarball.
    #[arg(long, value_name = "FILE", required_unless_present = "disk", conflicts_with = "disk")]
    platform: Option<PathBuf>,
    /// A raw disk to boot instead of a new image. It is not changed.
    #[arg(long, value_name = "FILE", requires = "stamp")]
    disk: Option<PathBuf>,
    /// The platform's stamp, such as 20141030T081701Z [default: the one in the tarball's name].
    #[arg(long)]
    stamp: Option<String>,
    /// Folder for report and logs, made if need be [default: target/boot-real/STAMP].
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Keep the disks and the key for logging in, in the folder `work` of the output folder.
    #[arg(long)]
    keep: bool,
    /// Memory of the machine in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(128..=1 << 20))]
    memory: u32,
    /// Size of the blank disk in GiB; it is sparse.
    #[arg(long, value_name = "GIB", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=16 << 10))]
    data: u32,
    /// How often to boot. From the second boot on, what should have stayed is compared.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    boots: u32,
    /// Seconds after which a boot with its checks, or the building of the image, is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,
    /// How instructions are run [default: by KVM where it works, else by TCG].
    #[arg(long, value_enum)]
    accel: Option<Accel>,
    /// The processor that the guest sees, as QEMU names it [default: host with KVM, qemu64 with TCG].
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// A further argument for QEMU; repeatable.
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    qemu: Vec<String>,
}

/// Runs the task.
pub fn run(options: &BootReal) -> ExitCode {
    let plan = match plan(options) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("error: {error:#}");
            return USAGE.into();
        }
    };
    match make(&plan) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn plan(options: &BootReal) -> Result<Plan> {
    let (source, path) = match (&options.platform, &options.disk) {
        (Some(path), _) => (Source::Platform(absolute(path)?), path),
        (None, Some(path)) => (Source::Disk(absolute(path)?), path),
        (None, None) => unreachable!("clap asks for one of them"),
    };
    ensure!(path.is_file(), "{} is no file", path.display());
    let stamp = match &options.stamp {
        Some(text) => Stamp::parse(text)?,
        None => path
            .file_name()
            .and_then(|name| Stamp::in_name(&name.to_string_lossy()))
            .with_context(|| format!("there is no stamp in the name {}: give --stamp", path.display()))?,
    };
    let default = || scratch::target_folder().join("boot-real").join(stamp.as_str());
    Ok(Plan {
        source,
        output: absolute(&options.output.clone().unwrap_or_else(default))?,
        stamp,
        keep: options.keep,
        memory_mib: options.memory,
        data_gib: options.data,
        boots: options.boots,
        limit: Duration::from_secs(options.timeout),
        accel: options.accel,
        processor: options.cpu.clone(),
        further: options.qemu.clone(),
    })
}

fn absolute(path: &std::path::Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))
}

fn make(plan: &Plan) -> Result<ExitCode> {
    setup::ensure(&[Purpose::Real])?;
    let kiln = match env::var_os(tools::KILN_BIN) {
        Some(path) => absolute(&PathBuf::from(path))?,
        None => machine::build_kiln()?,
    };
    let programs = Programs::find(kiln)?;
    let report = boot_real::run(plan, &programs, &Patience::until_signal()?)?;
    eprintln!("\n{}\nreport: {}", report.verdict(), plan.output.join("report.md").display());
    Ok(match report.held() {
        true => ExitCode::SUCCESS,
        false if report.interrupted => INTERRUPTED.into(),
        false => ExitCode::FAILURE,
    })
}
