//! The kernel of the stand-in platform. It boots like the 64-bit kernel of illumos as far as a boot loader
//! can tell: the same kind of Multiboot header, the same rules for the command line, the modules and the
//! digest of the boot archive, and the same way of reading the archive. Then it tells on the first serial
//! port what it was given, prints `/etc/issue` of the archive, and ends the virtual machine. Every line it
//! prints is described in README.md.

#![no_std]
#![no_main]

mod command_line;
mod modules;
mod multiboot;
mod serial;
mod sha1;
mod ufs;

use core::arch::global_asm;
use core::fmt::{self, Display};
use core::panic::PanicInfo;

use command_line::CommandLine;
use multiboot::Information;
use serial::{Status, say};
use sha1::Sha1;
use ufs::Ufs;

global_asm!(include_str!("start.s"));

/// The longest `/etc/issue` that is printed.
const ISSUE_BYTES: u64 = 64 << 10;

/// Called by `start.s` with the loader's magic number and the address of its information.
#[unsafe(no_mangle)]
extern "sysv64" fn kernel_main(magic: u32, information: u32) -> ! {
    serial::set_up();
    match run(magic, information) {
        Ok(()) => {
            say!("done");
            serial::leave(Status::Good)
        }
        Err(reason) => die(reason),
    }
}

fn run(magic: u32, information: u32) -> Result<(), &'static str> {
    if magic != multiboot::LOADER_MAGIC {
        return Err("not started by a Multiboot loader");
    }
    let information = Information::at(information);
    say!("loader={}", Text(information.loader_name()));
    let line = information.command_line();
    say!("command line={}", Text(line));
    if let Some(device) = information.boot_device() {
        say!("boot device={device:#010x}");
    } else {
        say!("boot device=none");
    }
    let (lower, upper) = information.memory_kib().ok_or("the loader says nothing about memory")?;
    say!("memory lower={lower} KiB upper={upper} KiB map={}", information.map_entries());

    let line = CommandLine::parse(line)?;
    say!("path={}", Text(line.path));
    say!("boot-args={line}");
    for (name, value) in line.properties() {
        say!("property {}={}", Text(name), Text(value));
    }

    let modules = information.modules();
    for index in 0..modules.count() {
        let module = modules.get(index);
        let address = module.bytes.as_ptr() as usize;
        say!(
            "module {index} string={} address={address:#x} size={}",
            Text(module.string),
            module.bytes.len()
        );
    }
    let ramdisk = modules::ramdisk(&modules).ok_or("no ramdisk among the modules")?;
    let digest = Sha1::digest(ramdisk.bytes);
    say!("ramdisk sha1={}", Hex(&digest));
    let by_order = modules::check_by_order(&modules, &ramdisk, &digest);
    let by_type = modules::check_by_type(&modules, &ramdisk, &digest);
    say!("hash by order={by_order}");
    say!("hash by type={by_type}");
    if by_order.is_mismatch() || by_type.is_mismatch() {
        return Err("SHA-1 of the boot archive does not match its hash");
    }

    print_issue(&Ufs::open(ramdisk.bytes)?)
}

/// Prints `/etc/issue` line by line.
fn print_issue(ufs: &Ufs) -> Result<(), &'static str> {
    let issue = ufs.lookup(b"/etc/issue")?;
    if issue.size() > ISSUE_BYTES {
        return Err("/etc/issue is too large");
    }
    let mut line = Line { bytes: [0; 256], length: 0 };
    ufs.read(&issue, |bytes| {
        for &byte in bytes {
            line.push(byte);
        }
    })?;
    if line.length > 0 {
        line.end();
    }
    Ok(())
}

/// A line of `/etc/issue`, which may come in several pieces.
struct Line {
    bytes: [u8; 256],
    length: usize,
}

impl Line {
    fn push(&mut self, byte: u8) {
        if byte == b'\n' || self.length == self.bytes.len() {
            self.end();
        }
        if byte != b'\n'
            && let Some(place) = self.bytes.get_mut(self.length)
        {
            *place = byte;
            self.length += 1;
        }
    }

    fn end(&mut self) {
        say!("issue {}", Text(self.bytes.get(..self.length).unwrap_or_default()));
        self.length = 0;
    }
}

/// Bytes as text; what is not printable ASCII shows as an escape.
struct Text<'a>(&'a [u8]);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| match byte {
            b' '..=b'~' => write!(formatter, "{}", char::from(byte)),
            _ => write!(formatter, "\\x{byte:02x}"),
        })
    }
}

/// Bytes as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

fn die(reason: impl Display) -> ! {
    say!("panic: {reason}");
    serial::leave(Status::Bad)
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    die(info.message())
}
