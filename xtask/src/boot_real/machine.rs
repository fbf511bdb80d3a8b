//! The machine: QEMU with the image's disk, a blank disk, a network card and two serial ports.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use kiln_harness::process::Running;

use super::accel::Accel;
use super::console::{Console, Line};
use super::era::Nic;
use super::exec;

/// The guest's Ethernet address, in the range that QEMU gives to its machines.
pub const MAC: &str = "52:54:00:6b:69:6c";

/// The guest's address in the network that QEMU makes up for it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

/// The router and the name server in that network.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// What the machine is made of.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// QEMU.
    pub qemu: PathBuf,
    /// How instructions are run.
    pub accel: Accel,
    /// The model of processor.
    pub processor: String,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// The disk to boot from, raw.
    pub key: PathBuf,
    /// Whether what the guest writes to that disk is thrown away at the end.
    pub throwaway_key: bool,
    /// The blank disk, raw.
    pub data: PathBuf,
    /// The network card.
    pub nic: Nic,
    /// The port of this machine's loopback address that leads to the guest's SSH server.
    pub ssh_port: u16,
    /// The socket of the metadata server.
    pub metadata: PathBuf,
    /// The machine's identifier.
    pub uuid: String,
    /// Further arguments for QEMU.
    pub further: Vec<String>,
}

impl Hardware {
    /// QEMU's command line.
    pub fn arguments(&self) -> Result<Vec<OsString>> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |option: &str, value: String| arguments.extend([option.into(), value.into()]);
        add("-machine", "pc".to_owned());
        add("-accel", self.accel.name().to_owned());
        add("-cpu", self.processor.clone());
        add("-smp", "2".to_owned());
        add("-m", self.memory_mib.to_string());
        add("-display", "none".to_owned());
        add("-monitor", "none".to_owned());
        add("-rtc", "base=utc".to_owned());
        // The product is what a guest takes for the sign that its second serial port leads to metadata.
        let sign = "type=1,manufacturer=Joyent,product=SmartDC HVM,version=7.20140101T000000Z,sku=001";
        add("-smbios", format!("{sign},family=Virtual Machine,serial={0},uuid={0}", self.uuid));
        add("-device", "VGA".to_owned());
        let throwaway = if self.throwaway_key { ",snapshot=on" } else { "" };
        add("-drive", format!("if=none,id=key,format=raw,file={}{throwaway}", path(&self.key)?));
        // A kernel that a further argument names takes index 0.
        add("-device", "virtio-blk-pci,drive=key,serial=key,bootindex=1".to_owned());
        add("-drive", format!("if=none,id=data,format=raw,discard=unmap,file={}", path(&self.data)?));
        add("-device", "virtio-blk-pci,drive=data,serial=data".to_owned());
        let forward = format!("hostfwd=tcp:127.0.0.1:{}-{ADDRESS}:22", self.ssh_port);
        add("-netdev", format!("user,id=net,{forward}"));
        add("-device", format!("{},netdev=net,mac={MAC}", self.nic.device()));
        // The first serial port is the console, the second one is for metadata: the order decides.
        add("-chardev", "stdio,id=console,signal=off".to_owned());
        add("-serial", "chardev:console".to_owned());
        add("-chardev", format!("socket,id=metadata,path={}", path(&self.metadata)?));
        add("-serial", "chardev:metadata".to_owned());
        arguments.extend(["-nodefaults", "-no-user-config"].map(OsString::from));
        arguments.extend(self.further.iter().map(OsString::from));
        Ok(arguments)
    }
}

/// A path inside an option of QEMU, where a comma ends the value unless it is doubled.
fn path(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.replace(',', ",,"))
}

/// A port of the loopback address that nobody listens on.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr().context("cannot find a free port")?.port())
}

/// Makes the blank disk, sparse.
pub fn make_blank(path: &Path, bytes: u64) -> Result<()> {
    let made = File::create(path).and_then(|file| file.set_len(bytes));
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// A machine that runs. It is killed when the value goes.
#[derive(Debug)]
pub struct Machine {
    process: Running,
    console: Console,
    words: PathBuf,
}

impl Machine {
    /// Starts the machine. Its console goes to `folder/console.log` as well, QEMU's own words to `folder/qemu.log`.
    pub fn start(hardware: &Hardware, folder: &Path) -> Result<Self> {
        let words = folder.join("qemu.log");
        let log = File::create(&words).with_context(|| format!("cannot write {}", words.display()))?;
        let mut command = Command::new(&hardware.qemu);
        // QEMU keeps what is written to a throwaway disk in an unnamed file there.
        command.env("TMPDIR", folder);
        command.args(hardware.arguments()?);
        exec::in_own_group(&mut command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut process = Running::start(&mut command)?;
        let stdout = process.child().stdout.take().context("it is piped")?;
        let console = Console::follow(stdout, &folder.join("console.log"))?;
        Ok(Self { process, console, words })
    }

    /// Says that the machine begins its next boot.
    pub fn next_boot(&self) {
        self.console.next_boot();
    }

    /// Why the machine runs no more; `None` if it does.
    pub fn ended(&mut self) -> Result<Option<String>> {
        let Some(status) = self.process.wait(Duration::ZERO)? else { return Ok(None) };
        let words = std::fs::read_to_string(&self.words).unwrap_or_default();
        let words = words.trim().lines().last().map_or_else(String::new, |line| format!(": {line}"));
        Ok(Some(format!("the machine ended (QEMU: {status}{words})")))
    }

    /// Ends the machine, and gives every line of its console.
    pub fn stop(self) -> Vec<Line> {
        let Self { process, console, .. } = self;
        drop(process);
        console.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_the_console_first_and_the_disks_in_order() {
        let hardware = Hardware {
            qemu: "qemu".into(),
            accel: Accel::Tcg,
            processor: "qemu64".into(),
            memory_mib: 4096,
            key: "/a,b/key".into(),
            throwaway_key: true,
            data: "/data".into(),
            nic: Nic::E1000,
            ssh_port: 2222,
            metadata: "/tmp/md".into(),
            uuid: "u".into(),
            further: vec!["-kernel".into()],
        };
        let arguments = hardware.arguments().unwrap();
        let text: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap()).collect();
        let place =
            |word: &str| text.iter().position(|found| *found == word).unwrap_or_else(|| panic!("{word}"));
        assert!(place("chardev:console") < place("chardev:metadata"));
        let key = place("if=none,id=key,format=raw,file=/a,,b/key,snapshot=on");
        assert!(key < place("if=none,id=data,format=raw,discard=unmap,file=/data"));
        place("user,id=net,hostfwd=tcp:127.0.0.1:2222-10.0.2.15:22");
        place("e1000,netdev=net,mac=52:54:00:6b:69:6c");
        assert_eq!(text.last(), Some(&"-kernel"));
    }

    #[test]
    fn the_blank_disk_takes_no_room() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        make_blank(&disk, 20 << 30).unwrap();
        let found = disk.metadata().unwrap();
        assert_eq!((found.len(), found.blocks()), (20 << 30, 0));
    }
}
