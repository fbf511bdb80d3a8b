//! A Debian guest with real OpenZFS, UFS and FAT drivers that runs one script as root.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use kiln_harness::guest::Guest;
//! let Some(guest) = Guest::find() else { return Ok(()) };
//! let tree = guest.disk("image", "boot_archive").run(
//!     "mount -t ufs -o ro,ufstype=sunx86 /dev/disk/by-id/virtio-image /mnt && find /mnt",
//! )?.succeeded();
//! # Ok(()) }
//! ```
//!
//! The script runs under bash in a folder that holds the given files, read-only; what it leaves in `$OUT` is in
//! [`Done::results`]. Every run starts from the same root disk and throws its changes away, so any number of guests
//! may run at once. `tests/harness/guest/README.md` describes the other side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::process::Running;
use crate::{recipe, scratch, slots, tools};

/// The longest name of a disk: the serial number of a virtio block device has so many bytes.
const DISK_NAME_MAX: usize = 20;

/// The guest's processor: all that the emulator knows, but for fast string instructions. It runs those byte by byte, and a kernel
/// that believes in them copies memory at a third of the pace (200 MB out of a file in memory: 0.9 s, and 0.3 s without).
const PROCESSOR: &str = "max,-erms,-fsrm";

/// How often a guest is started again in which nothing has run yet.
const EMULATOR_FAULTS: u32 = 2;

/// How many lines of the console an error shows.
const CONSOLE_TAIL: usize = 30;

/// The Unix socket that carries the guest's second serial port, `/dev/ttyS1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecondPort {
    /// QEMU listens there for whoever connects, one at a time, as on a SmartOS host.
    Listens(PathBuf),
    /// QEMU connects there, and tries again every 100 ms while nobody listens.
    Connects(PathBuf),
}

impl SecondPort {
    fn option(&self) -> Result<String> {
        Ok(match self {
            Self::Listens(socket) => format!("socket,id=second,path={},server=on,wait=off", path(socket)?),
            Self::Connects(socket) => format!("socket,id=second,path={},reconnect-ms=100", path(socket)?),
        })
    }
}

/// A guest that has not been started.
#[derive(Debug, Clone)]
pub struct Guest {
    folder: PathBuf,
    files: Vec<(String, PathBuf)>,
    disks: Vec<(String, PathBuf)>,
    targets: Vec<PathBuf>,
    second_port: Option<SecondPort>,
    scratch_mib: u64,
    memory_mib: u64,
    cpus: u32,
    zfs: bool,
    reboots: bool,
    deadline: Duration,
}

impl Guest {
    /// The cached guest of the current recipe. Without one, or without QEMU, the calling test has to return: the skip
    /// has been reported.
    ///
    /// # Panics
    /// When the guest or QEMU is missing and `KILN_REQUIRE_TOOLS` is set.
    pub fn find() -> Option<Self> {
        let folder = recipe::guest_folder();
        if !recipe::is_built(&folder) {
            tools::missing("the guest of ring 3 (`cargo xtask vm build` makes it)");
            return None;
        }
        tools::require("qemu-system-x86_64")?;
        Some(Self::at(folder))
    }

    /// The guest in `folder`: 2 cores, 1536 MiB of memory, no ZFS, a deadline of ten minutes.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            files: Vec::new(),
            disks: Vec::new(),
            targets: Vec::new(),
            second_port: None,
            scratch_mib: 4096,
            memory_mib: 1536,
            cpus: 2,
            zfs: false,
            reboots: false,
            deadline: Duration::from_mins(10),
        }
    }

    /// Loads ZFS before the script starts.
    #[must_use]
    pub fn zfs(mut self) -> Self {
        self.zfs = true;
        self
    }

    /// Lets the guest start anew when it resets itself, which otherwise ends it. The script starts anew then too, with
    /// what it has left in `$OUT`.
    #[must_use]
    pub fn reboots(mut self) -> Self {
        self.reboots = true;
        self
    }

    /// Puts the file `path` into the script's working folder under `name`. It is linked, not copied, where the host's
    /// file systems allow that; the guest cannot write to it.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.files.push((name.into(), path.into()));
        self
    }

    /// Attaches the raw image `path` as the read-only disk `/dev/disk/by-id/virtio-NAME`. `name` has at most 20
    /// letters and digits.
    #[must_use]
    pub fn disk(mut self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.disks.push((name.into(), path.into()));
        self
    }

    /// Attaches the raw image `path` as a disk that the guest may write to: the next target, counted from 0, of a SCSI
    /// controller, so that there can be 255 of them. What it writes is in the file at once.
    #[must_use]
    pub fn target(mut self, path: impl Into<PathBuf>) -> Self {
        self.targets.push(path.into());
        self
    }

    /// Gives the guest a second serial port, `/dev/ttyS1`; otherwise it has one only, its console.
    #[must_use]
    pub fn second_port(mut self, port: SecondPort) -> Self {
        self.second_port = Some(port);
        self
    }

    /// Sets the size of the empty disk `/dev/disk/by-id/virtio-scratch`; 4096 MiB otherwise. It is sparse on the host.
    #[must_use]
    pub fn scratch_mib(mut self, size: u64) -> Self {
        self.scratch_mib = size;
        self
    }

    /// Sets the memory in MiB.
    #[must_use]
    pub fn memory_mib(mut self, size: u64) -> Self {
        self.memory_mib = size;
        self
    }

    /// Sets the time after which the guest is killed. It starts when the guest does, not while it waits for its turn.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Starts the guest, runs `script` in it, and waits for both to end.
    ///
    /// # Errors
    /// When the guest cannot be started, gives no exit status, or runs into the deadline; the error shows the end of
    /// its console and of the script's output. A script that fails is no error.
    pub fn run(&self, script: &str) -> Result<Done> {
        let folder = scratch::folder("guest");
        let (input, output) = (folder.path().join("in"), folder.path().join("out"));
        fs::create_dir_all(input.join("files"))?;
        fs::create_dir_all(output.join("results"))?;
        fs::write(input.join("script"), script)?;
        for (name, path) in &self.files {
            share(path, &input.join("files").join(name))?;
        }
        let scratch = folder.path().join("scratch.img");
        fs::File::create(&scratch)?.set_len(self.scratch_mib << 20)?;

        let _slot = slots::take();
        let read = |path: PathBuf| fs::read(path).unwrap_or_default();
        let mut again = EMULATOR_FAULTS;
        let ended = loop {
            let stderr = fs::File::create(folder.path().join("qemu.stderr"))?;
            let mut command = self.command(folder.path(), &scratch)?;
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
            let mut qemu = Running::start(&mut command)?;
            let ended = qemu.wait(self.deadline)?;
            drop(qemu);
            let has_begun = output.join("stdout").exists();
            let is_fault = has_fault(&read(folder.path().join("qemu.stderr")));
            if again == 0 || has_begun || !is_fault {
                break ended;
            }
            again -= 1;
            eprintln!(
                "QEMU has failed before the guest did anything, by a fault of its own: it is started again"
            );
        };

        let (stdout, stderr) = (read(output.join("stdout")), read(output.join("stderr")));
        let status = fs::read_to_string(output.join("status")).ok().and_then(|text| text.trim().parse().ok());
        match (ended, status) {
            (Some(_), Some(status)) => {
                fs::remove_file(&scratch)?;
                Ok(Done { status, stdout, stderr, folder })
            }
            (ended, _) => {
                let what = ended.map_or_else(
                    || format!("ran into its deadline of {} s", self.deadline.as_secs()),
                    |status| format!("ended without a status (QEMU: {status})"),
                );
                bail!(
                    "the guest {what}\n--- QEMU:\n{}\n--- console:\n{}\n--- stdout:\n{}\n--- stderr:\n{}",
                    tail(&read(folder.path().join("qemu.stderr"))),
                    tail(&read(folder.path().join("console"))),
                    tail(&stdout),
                    tail(&stderr),
                )
            }
        }
    }

    fn command(&self, folder: &Path, scratch: &Path) -> Result<Command> {
        let qemu = tools::find("qemu-system-x86_64").context("qemu-system-x86_64 is missing")?;
        // Without no_timer_check the kernel counts ticks while it starts, and panics when a busy host lets some of them
        // pass. The time-stamp counter is the host's, and the same on all processors; without it every look at the clock
        // is a message to QEMU, and ZFS, which looks often, takes much longer.
        let mut arguments =
            "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off tsc=reliable no_timer_check \
                             random.trust_cpu=on net.ifnames=0 nokaslr"
                .to_owned();
        if self.zfs {
            arguments += " kiln.zfs";
        }
        let mut command = Command::new(qemu);
        // QEMU keeps what is written to the root disk in an unnamed file there, so a killed guest leaves nothing.
        command.env("TMPDIR", folder);
        // Software emulation everywhere: hardware virtualisation nested in another machine may open and then abort.
        command.args(["-accel", "tcg,thread=multi,tb-size=256", "-cpu", PROCESSOR]);
        command.args(["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none"]);
        if !self.reboots {
            command.arg("-no-reboot");
        }
        command.arg("-kernel").arg(self.folder.join("vmlinuz"));
        command.arg("-initrd").arg(self.folder.join("initrd.gz"));
        command.args(["-append", &arguments]);
        command.arg("-serial").arg(format!("file:{}", path(&folder.join("console"))?));

        if let Some(port) = &self.second_port {
            command.args(["-chardev", &port.option()?, "-serial", "chardev:second"]);
        }

        // The root disk is the first one: the initramfs mounts /dev/vda.
        disk(&mut command, "root", &self.folder.join("root.img"), "snapshot=on")?;
        disk(&mut command, "scratch", scratch, "cache=unsafe,discard=unmap")?;
        for (name, image) in &self.disks {
            ensure!(image.is_file(), "{} is no disk image", image.display());
            disk(&mut command, name, image, "readonly=on")?;
        }
        if !self.targets.is_empty() {
            command.args(["-device", "virtio-scsi-pci,id=scsi"]);
        }
        for (number, image) in self.targets.iter().enumerate() {
            ensure!(image.is_file(), "{} is no disk image", image.display());
            let drive = format!("file={},if=none,id=target-{number},format=raw,cache=unsafe", path(image)?);
            command.args(["-drive", &drive, "-device"]);
            command.arg(format!("scsi-hd,drive=target-{number},bus=scsi.0,scsi-id={number},lun=0"));
        }
        for (tag, options) in [("in", ",readonly=on"), ("out", "")] {
            let share = path(&folder.join(tag))?;
            command.arg("-fsdev").arg(format!("local,id={tag},path={share},security_model=none{options}"));
            command.arg("-device").arg(format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"));
        }
        command.args(["-device", "virtio-rng-pci"]);
        Ok(command)
    }
}

/// Adds a virtio disk whose serial number is `name`.
fn disk(command: &mut Command, name: &str, image: &Path, options: &str) -> Result<()> {
    let good = name.len() <= DISK_NAME_MAX && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    ensure!(good && !name.is_empty(), "{name:?} is no name for a disk");
    command.arg("-drive").arg(format!("file={},if=none,id=disk-{name},format=raw,{options}", path(image)?));
    command.arg("-device").arg(format!("virtio-blk-pci,drive=disk-{name},serial={name}"));
    Ok(())
}

/// A path inside an option of QEMU, where a comma ends the value unless it is doubled.
fn path(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.replace(',', ",,"))
}

/// Makes the file `from` appear as `to`.
fn share(from: &Path, to: &Path) -> Result<()> {
    let linked = fs::canonicalize(from).and_then(|from| fs::hard_link(from, to));
    if linked.is_err() {
        // On another file system, or the file belongs to somebody else.
        fs::copy(from, to).with_context(|| format!("cannot share {}", from.display()))?;
    }
    Ok(())
}

/// Whether QEMU 10.0 has ended itself because one of its processors looked a device up while another moved it, as happens while
/// firmware and kernel give devices their places. It has been seen once in hundreds of starts.
fn has_fault(stderr: &[u8]) -> bool {
    String::from_utf8_lossy(stderr).contains("iotlb_to_section: Assertion")
}

fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(CONSOLE_TAIL)..].join("\n")
}

/// A script that has run to its end.
#[derive(Debug)]
pub struct Done {
    /// The script's exit status.
    pub status: i32,
    /// What the script wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What the script wrote to its standard error.
    pub stderr: Vec<u8>,
    folder: TempDir,
}

impl Done {
    /// The folder that was `$OUT` for the script; it goes with this value.
    pub fn results(&self) -> PathBuf {
        self.folder.path().join("out/results")
    }

    /// What the script wrote to its standard output.
    ///
    /// # Panics
    /// When the script failed: the message shows both of its outputs.
    pub fn succeeded(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
        assert!(
            self.status == 0,
            "the script in the guest ended with status {}\n--- stdout:\n{stdout}\n--- stderr:\n{stderr}",
            self.status
        );
        stdout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_paths_are_doubled() {
        assert_eq!(path(Path::new("/a,b/c")).unwrap(), "/a,,b/c");
    }

    #[test]
    fn names_of_disks_fit_a_serial_number() {
        let add = |name: &str| disk(&mut Command::new("qemu"), name, Path::new("/image"), "readonly=on");
        assert!(add("image1").is_ok());
        for name in ["", "a,b", "a b", "abcdefghijklmnopqrstu"] {
            assert!(add(name).is_err(), "{name}");
        }
    }

    #[test]
    fn shared_files_have_the_content_of_the_original() {
        let folder = scratch::folder("share");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, b"content").unwrap();
        share(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"content");
        assert!(share(&folder.path().join("absent"), &to).is_err());
    }

    #[test]
    fn only_the_known_fault_of_the_emulator_is_one() {
        let said: &[u8] =
            b"qemu-system-x86_64: system/physmem.c:2678: iotlb_to_section: Assertion `section_index < \
            d->map.sections_nb' failed.\n";
        assert!(has_fault(said));
        assert!(
            !has_fault(b"") && !has_fault(b"qemu-system-x86_64: other.c:1: other: Assertion `x' failed.\n")
        );
    }

    #[test]
    fn an_error_shows_the_end_of_a_long_console() {
        let console: String = (0..100).fold(String::new(), |text, line| format!("{text}line {line}\n"));
        let tail = tail(console.as_bytes());
        assert!(tail.starts_with("line 70\n") && tail.ends_with("line 99"), "{tail}");
    }
}
