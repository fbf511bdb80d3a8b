//! Booting a disk image in QEMU: SeaBIOS, software emulation, the first serial port in the test's hands.
//!
//! The machine has the device `isa-debug-exit` at port 0xF4, by which the kernel of the stand-in platform
//! ends it with a status, and a second serial port whose output goes to a file: on SmartOS that port is the
//! metadata channel, which no boot loader may touch.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::process::Running;
use crate::slots::{self, Slot};
use crate::{scratch, tools};

/// QEMU's program for PCs.
const QEMU: &str = "qemu-system-x86_64";

/// How long QEMU's monitor may take to answer, and to appear.
const MONITOR_LIMIT: Duration = Duration::from_mins(1);

/// How often a screen or a socket that is not yet there is looked for.
const POLL: Duration = Duration::from_millis(50);

/// Where the text of a screen in text mode lies: 25 lines of 80 pairs of character and colour.
const SCREEN_ADDRESS: u32 = 0xB_8000;
const SCREEN_BYTES: usize = 80 * 25 * 2;

/// How the disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// virtio-blk on PCI, as in the KVM and bhyve guests of SmartOS.
    VirtioBlk,
    /// virtio-scsi on PCI.
    VirtioScsi,
    /// The first IDE disk.
    Ide,
}

/// A machine to be started.
#[derive(Debug, Clone)]
pub struct BootOptions {
    /// A raw disk image; writes of the guest are thrown away.
    pub disk: PathBuf,
    /// How it is attached.
    pub disk_kind: DiskKind,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Whether there is a first serial port.
    pub first_serial: bool,
    /// More arguments for QEMU.
    pub extra: Vec<String>,
}

impl BootOptions {
    /// A machine with 256 MiB, the disk on virtio-blk, and no screen.
    pub fn new(disk: &Path) -> Self {
        Self {
            disk: disk.to_owned(),
            disk_kind: DiskKind::VirtioBlk,
            memory_mib: 256,
            first_serial: true,
            extra: Vec::new(),
        }
    }
}

/// A running machine. It ends when this value goes.
#[derive(Debug)]
pub struct QemuBoot {
    process: Running,
    keyboard: ChildStdin,
    output: Arc<Output>,
    /// How much of the output earlier waits have consumed.
    consumed: usize,
    folder: TempDir,
    /// Holds the monitor's socket: the name of a socket must be short, and the target folder's need not be.
    sockets: TempDir,
    _slot: Slot,
}

/// What came out of the first serial port.
#[derive(Debug, Default)]
struct Output {
    state: Mutex<Received>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Received {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    /// A panic elsewhere cannot have left the bytes half changed.
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether machines can be started here. If not, the skip has been reported and the calling test has to
/// return.
///
/// # Panics
/// When QEMU is missing and `KILN_REQUIRE_TOOLS` is set.
pub fn available() -> bool {
    tools::require(QEMU).is_some()
}

impl QemuBoot {
    /// Starts the machine.
    pub fn start(options: &BootOptions) -> Result<Self> {
        let slot = slots::take();
        let folder = scratch::folder("boot");
        let qemu = tools::find(QEMU).with_context(|| format!("{QEMU} is not installed"))?;
        let mut command = Command::new(qemu);
        // -no-reboot: a kernel or loader that crashes ends the machine instead of starting over for ever.
        command.args([
            "-machine",
            "pc,accel=tcg",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-snapshot",
        ]);
        command.args(["-m", &options.memory_mib.to_string()]);
        command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        command.args(["-chardev", "stdio,id=first,signal=off"]);
        command.args(["-serial", if options.first_serial { "chardev:first" } else { "none" }]);
        let second = folder.path().join("second-serial");
        // QEMU reads a doubled comma as one.
        let quoted = |path: &Path| path.display().to_string().replace(',', ",,");
        command.arg("-chardev").arg(format!("file,id=second,path={}", quoted(&second)));
        command.args(["-serial", "chardev:second"]);
        let sockets = tempfile::tempdir().context("cannot make a folder for a socket")?;
        let monitor = quoted(&sockets.path().join("monitor"));
        command.arg("-qmp").arg(format!("unix:{monitor},server=on,wait=off"));
        command.arg("-drive").arg(format!("if=none,id=disk,format=raw,file={}", quoted(&options.disk)));
        match options.disk_kind {
            DiskKind::VirtioBlk => command.args(["-device", "virtio-blk-pci,drive=disk"]),
            DiskKind::VirtioScsi => {
                command.args(["-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk"])
            }
            DiskKind::Ide => command.args(["-device", "ide-hd,drive=disk"]),
        };
        command.args(&options.extra);

        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = Running::start(&mut command)?;
        let keyboard = process.child().stdin.take().context("QEMU has no standard input")?;
        let stdout = process.child().stdout.take().context("QEMU has no standard output")?;
        let output = Arc::new(Output::default());
        thread::spawn({
            let output = Arc::clone(&output);
            move || receive(stdout, &output)
        });
        Ok(Self { process, keyboard, output, consumed: 0, folder, sockets, _slot: slot })
    }

    /// Waits until `text` has come out of the first serial port, and gives everything since the last wait, up
    /// to and including `text`.
    ///
    /// # Errors
    /// When `limit` passes or the machine ends without it; the error shows all output.
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> Result<String> {
        let start = Instant::now();
        let mut received = self.output.lock();
        loop {
            let fresh = &received.bytes[self.consumed..];
            let found = fresh.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(position) = found {
                let passed = &fresh[..position + text.len()];
                self.consumed += passed.len();
                return Ok(String::from_utf8_lossy(passed).into_owned());
            }
            let left = limit.saturating_sub(start.elapsed());
            if received.ended || left.is_zero() {
                let why = if received.ended { "the machine ended" } else { "time ran out" };
                bail!("{why} before {text:?}; output:\n{}", String::from_utf8_lossy(&received.bytes));
            }
            received = self
                .output
                .changed
                .wait_timeout(received, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(received, _)| received);
        }
    }

    /// Types `bytes` on the first serial port.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.keyboard
            .write_all(bytes)
            .and_then(|()| self.keyboard.flush())
            .context("cannot write to the serial port")
    }

    /// Presses and releases a key of the keyboard, by QEMU's name for it (`ret`, `down`, `2`).
    pub fn press(&mut self, key: &str) -> Result<()> {
        self.monitor("send-key", &format!(r#"{{"keys":[{{"type":"qcode","data":"{key}"}}]}}"#))
    }

    /// Waits until `text` stands in a line of the screen, and gives the whole screen. There is one with `-vga
    /// std` among the extra arguments.
    ///
    /// # Errors
    /// When `limit` passes before; the error shows the screen.
    pub fn wait_for_screen(&mut self, text: &str, limit: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            let screen = self.screen()?;
            if screen.contains(text) {
                return Ok(screen);
            }
            if start.elapsed() >= limit {
                bail!("{text:?} does not appear on the screen:\n{screen}");
            }
            thread::sleep(POLL);
        }
    }

    fn screen(&mut self) -> Result<String> {
        let path = self.sockets.path().join("screen");
        let (at, bytes, file) = (SCREEN_ADDRESS, SCREEN_BYTES, path.display());
        self.monitor("pmemsave", &format!(r#"{{"val":{at},"size":{bytes},"filename":"{file}"}}"#))?;
        let cells = std::fs::read(&path).context("QEMU has not saved the screen")?;
        let line = |cells: &[u8]| {
            let characters = cells.chunks_exact(2).map(|cell| char::from(cell[0])).collect::<String>();
            characters.trim_end_matches(['\0', ' ']).to_owned()
        };
        Ok(cells.chunks(160).map(line).collect::<Vec<_>>().join("\n"))
    }

    /// Has QEMU's monitor carry out `command` with `arguments`, a JSON object.
    fn monitor(&mut self, command: &str, arguments: &str) -> Result<()> {
        let path = self.sockets.path().join("monitor");
        let start = Instant::now();
        let socket = loop {
            match UnixStream::connect(&path) {
                Ok(socket) => break socket,
                Err(error) if start.elapsed() >= MONITOR_LIMIT => {
                    return Err(error).context("QEMU's monitor does not answer");
                }
                Err(_) => thread::sleep(POLL),
            }
        };
        socket.set_read_timeout(Some(MONITOR_LIMIT)).context("cannot limit the wait for QEMU's monitor")?;
        let mut socket = BufReader::new(socket);
        execute(&mut socket, r#"{"execute":"qmp_capabilities"}"#)?;
        execute(&mut socket, &format!(r#"{{"execute":"{command}","arguments":{arguments}}}"#))
    }

    /// Everything that has come out of the first serial port so far.
    pub fn transcript(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().bytes).into_owned()
    }

    /// Waits for the machine to end and gives QEMU's exit status: 2 v + 1 after the kernel wrote v to port
    /// 0xF4, 0 after a reset or a power-off.
    ///
    /// # Errors
    /// When `limit` passes first; the error shows all output.
    pub fn wait_exit(&mut self, limit: Duration) -> Result<i32> {
        let Some(status) = self.process.wait(limit)? else {
            bail!("the machine still runs; output:\n{}", self.transcript());
        };
        // What QEMU wrote last may still be in the pipe.
        let mut received = self.output.lock();
        while !received.ended {
            received = self.output.changed.wait(received).unwrap_or_else(PoisonError::into_inner);
        }
        drop(received);
        status.code().with_context(|| format!("QEMU was killed: {status}"))
    }

    /// Everything that has come out of the second serial port.
    pub fn second_serial(&self) -> Result<Vec<u8>> {
        let path = self.folder.path().join("second-serial");
        std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Sends a command of the QEMU Machine Protocol and waits for its answer.
fn execute(socket: &mut BufReader<UnixStream>, command: &str) -> Result<()> {
    socket.get_mut().write_all(command.as_bytes()).context("cannot write to QEMU's monitor")?;
    let mut line = String::new();
    // Greeting and events stand between the answers.
    while !line.starts_with(r#"{"return":"#) {
        line.clear();
        let length = socket.read_line(&mut line).context("QEMU's monitor does not answer")?;
        if length == 0 || line.starts_with(r#"{"error":"#) {
            bail!("QEMU's monitor refuses {command}: {line}");
        }
    }
    Ok(())
}

fn receive(mut stdout: impl Read, output: &Output) {
    let mut buffer = [0; 4096];
    loop {
        // An error means the same as the end: nothing more will come.
        let length = stdout.read(&mut buffer).unwrap_or(0);
        let mut received = output.lock();
        received.bytes.extend_from_slice(&buffer[..length]);
        received.ended = length == 0;
        output.changed.notify_all();
        if length == 0 {
            return;
        }
    }
}
