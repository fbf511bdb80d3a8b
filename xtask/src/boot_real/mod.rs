//! Booting a real platform, and asking it whether everything that guest-init promises is so.
//!
//! * [`era`]: what depends on the platform's age.
//! * [`image`]: the disk that is booted. [`machine`]: QEMU. [`accel`]: whether KVM works. [`console`]: its first serial port.
//! * [`metadata`]: its second one. [`status`]: what the guest puts there.
//! * [`shell`]: commands in the guest, by SSH. [`checks`]: which, and what they must say. [`judge`]: whether they did.
//! * [`visit`]: one boot. [`report`]: what all of it came to.
//! * [`patience`] and [`exec`]: everything has a deadline, can be interrupted, and leaves nothing running.

pub mod accel;
mod checks;
mod console;
pub mod era;
mod exec;
mod image;
mod judge;
mod machine;
mod metadata;
pub mod patience;
pub mod report;
mod shell;
mod status;
mod visit;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kiln_harness::tools;

use self::accel::Accel;
use self::era::Stamp;
use self::machine::{Hardware, Machine};
use self::metadata::{Host, Server, Told as _};
use self::patience::{Interrupted, Patience, Wait};
use self::report::Report;
use self::shell::{Key, Shell, Ssh};
use self::visit::{Boot, Visit};

/// The guest's identifier.
const UUID: &str = "6b696c6e-0000-4000-8000-7265616c0001";

/// Has the guest start anew, by its firmware: illumos may otherwise start its kernel without (reboot(8), `-p`).
const REBOOT: &str = "/usr/sbin/reboot -p";

/// How long that command may take, whose connection may hang.
const REBOOT_LIMIT: Duration = Duration::from_mins(1);

/// What to boot.
#[derive(Debug, Clone)]
pub enum Source {
    /// A platform tarball, from which an image is built.
    Platform(PathBuf),
    /// A raw disk, which is not changed.
    Disk(PathBuf),
}

/// A run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What to boot.
    pub source: Source,
    /// The platform's stamp.
    pub stamp: Stamp,
    /// Where report and logs go.
    pub output: PathBuf,
    /// Whether disks and key are kept.
    pub keep: bool,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The size of the blank disk in GiB.
    pub data_gib: u32,
    /// How often to boot.
    pub boots: u32,
    /// How long each boot may take, with its checks; and the building of the image.
    pub limit: Duration,
    /// How instructions are run; the best there is if `None`.
    pub accel: Option<Accel>,
    /// The model of processor.
    pub processor: Option<String>,
    /// Further arguments for QEMU.
    pub further: Vec<String>,
}

/// The programs that a run takes.
#[derive(Debug, Clone)]
pub struct Programs {
    kiln: PathBuf,
    qemu: PathBuf,
    ssh: PathBuf,
    ssh_keygen: PathBuf,
}

impl Programs {
    /// Finds them; `kiln` is the executable under test.
    pub fn find(kiln: PathBuf) -> Result<Self> {
        let find = |name| tools::find(name).with_context(|| format!("{name} is missing"));
        Ok(Self {
            kiln,
            qemu: find("qemu-system-x86_64")?,
            ssh: find("ssh")?,
            ssh_keygen: find("ssh-keygen")?,
        })
    }
}

/// Makes the run and writes its report, whatever it comes to.
///
/// # Errors
/// When there cannot be a report.
pub fn run(plan: &Plan, programs: &Programs, patience: &Patience) -> Result<Report> {
    let work = plan.output.join("work");
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let what = match &plan.source {
        Source::Platform(path) | Source::Disk(path) => path.display().to_string(),
    };
    let mut report = Report { what, stamp: plan.stamp.as_str().to_owned(), ..Report::default() };
    let done = Run { plan, programs, patience, work: &work }.go(&mut report);
    if let Err(error) = done {
        report.interrupted = error.is::<Interrupted>() || error.root_cause().is::<Interrupted>();
        report.stopped = Some(format!("{error:#}"));
    }
    if !plan.keep {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    report.write(&plan.output)?;
    Ok(report)
}

fn progress(words: &str) {
    eprintln!("== {words}");
}

struct Run<'a> {
    plan: &'a Plan,
    programs: &'a Programs,
    patience: &'a Patience,
    /// A folder for disks and other files that only this run needs.
    work: &'a Path,
}

impl Run<'_> {
    fn go(&self, report: &mut Report) -> Result<()> {
        let wait = self.patience.wait(self.plan.limit);
        let key = Key::make(&self.programs.ssh_keygen, &self.plan.stamp, self.work, &wait)?;
        let description = metadata::description(UUID, self.plan.memory_mib, &key.public);
        let server = Server::start(&self.programs.kiln, &self.plan.output, &description)?;
        let hardware = self.hardware(&server, &wait)?;
        report.machine = format!(
            "QEMU with {}, processor {}, {} MiB, {}, a blank disk of {} GiB",
            hardware.accel.name(),
            hardware.processor,
            hardware.memory_mib,
            hardware.nic.device(),
            self.plan.data_gib
        );
        progress(&report.machine);
        let mut shell =
            Ssh::new(self.programs.ssh.clone(), &self.plan.stamp, &key, hardware.ssh_port, self.work);
        let mut machine = Machine::start(&hardware, &self.plan.output)?;
        let done =
            self.boots(&mut machine, &mut Host::of(&server), &mut shell, &key.public, &mut report.boots);
        report.console = machine.stop();
        done
    }

    fn hardware(&self, server: &Server, wait: &Wait) -> Result<Hardware> {
        let (key, throwaway_key) = match &self.plan.source {
            Source::Disk(path) => (path.clone(), true),
            Source::Platform(path) => {
                progress(&format!("building an image of {}", path.display()));
                (image::build(&self.programs.kiln, path, &self.plan.stamp, self.work, wait)?, false)
            }
        };
        let accel = match self.plan.accel {
            Some(accel) => accel,
            None => Accel::best(&self.programs.qemu, self.plan.processor.as_deref(), self.work, wait)?,
        };
        let data = self.work.join("data.raw");
        machine::make_blank(&data, u64::from(self.plan.data_gib) << 30)?;
        Ok(Hardware {
            qemu: self.programs.qemu.clone(),
            accel,
            processor: self.plan.processor.clone().unwrap_or_else(|| accel.processor().to_owned()),
            memory_mib: self.plan.memory_mib,
            key,
            throwaway_key,
            data,
            nic: self.plan.stamp.nic(),
            ssh_port: machine::free_port()?,
            metadata: server.socket.clone(),
            uuid: UUID.to_owned(),
            further: self.plan.further.clone(),
        })
    }

    fn boots(
        &self,
        machine: &mut Machine,
        host: &mut Host,
        shell: &mut Ssh,
        public_key: &str,
        boots: &mut Vec<Boot>,
    ) -> Result<()> {
        for number in 1..=self.plan.boots {
            if number > 1 {
                progress("starting the guest anew");
                host.forget()?;
                machine.next_boot();
                let wait = self.patience.wait(REBOOT_LIMIT);
                // The connection ends with the guest, which looks like a failure; whether it was one, the next boot shows.
                match shell.run(REBOOT, &wait) {
                    Err(error) if error.is::<Interrupted>() => return Err(error),
                    _ => {}
                }
            }
            let wait = self.patience.wait(self.plan.limit);
            let checks = checks::table(&self.plan.stamp, public_key, number);
            let mut boot = Boot { number, ..Boot::default() };
            let mut visit = Visit {
                told: &mut *host,
                shell: &mut *shell,
                ended: &mut || machine.ended(),
                progress: &mut progress,
            };
            let done = visit.boot(&mut boot, &checks, boots.last(), &wait);
            boots.push(boot);
            done?;
        }
        Ok(())
    }
}
