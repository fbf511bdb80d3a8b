//! A small program with an effect after every step, on which tests try the shim's counters, kill points and failures.
//!
//! `kiln-conformance COMMAND`, of which there are:
//!
//! * `work FOLDER` writes, renames and removes files in an empty folder.
//! * `change CHANGES...` makes changes to files, see `changes.rs`.
//! * `look PATH` reads a line from a file or device.
//! * `disk PATH` tells what a disk's ioctls say and reads a block of 512 bytes, and `scribble PATH` writes one.
//! * `time SECONDS` sleeps and says how long that was by its own clocks.
//! * `clock now`, `clock set SECONDS` and `clock adjust SECONDS` look at the clock, set it, and let it run faster or slower,
//!   telling what was left.
//! * `host` prints the node name.
//! * `echo ARGUMENTS...` prints its arguments and variables.
//! * `start PROGRAM ARGUMENTS...` starts a program and passes its status on.
//! * `missing` calls a function that the shim does not have.
//!
//! Called like `smbios` it prints the line of the file `/product`.

use guest_rt as _;

mod changes;
mod disk;
mod host;

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// What the program says as `smbios`.
const PRODUCT: &str = "/product";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[1..] {
        ["work", folder] => work(Path::new(folder)).map(|()| 0),
        ["time", seconds] => time(seconds),
        ["missing"] => Ok(missing()),
        ["echo", ..] => {
            echo(&arguments);
            Ok(0)
        }
        ["start", program, ref arguments @ ..] => start(program, arguments),
        ["host"] => host::name(),
        ["clock", "now"] => host::now(),
        ["clock", "set", seconds] => host::set(seconds),
        ["clock", "adjust", seconds] => host::adjust(seconds),
        ["change", ref changes @ ..] => changes::make(changes),
        ["look", path] => look(path),
        ["disk", path] => disk::tell(path),
        ["scribble", path] => disk::scribble(path),
        ["-t", "SMB_TYPE_SYSTEM"] => look(PRODUCT),
        _ => return ExitCode::from(2),
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The steps of a careful replacement of a file, each a system call that changes something.
fn work(folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir(folder.join("data"))?;
    let (new, kept) = (folder.join("data/new"), folder.join("data/kept"));
    let mut file = File::create(&new)?;
    file.write_all(b"0123456789")?;
    file.sync_all()?;
    fs::rename(&new, &kept)?;
    fs::write(folder.join("done"), b"")?;
    Ok(())
}

fn time(seconds: &str) -> Result<u8, Box<dyn Error>> {
    let asked = Duration::from_secs(seconds.parse()?);
    let (start, wall) = (Instant::now(), SystemTime::now());
    thread::sleep(asked);
    // A wait with a deadline uses another way through the platform than a sleep.
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(asked);
    println!("{} {}", start.elapsed().as_secs(), wall.elapsed()?.as_secs());
    Ok(0)
}

#[cfg(target_os = "illumos")]
fn missing() -> u8 {
    // SAFETY: no size is asked for, so nothing is written.
    u8::from(unsafe { nix::libc::getpagesizes(std::ptr::null_mut(), 0) } < 0)
}

#[cfg(not(target_os = "illumos"))]
fn missing() -> u8 {
    eprintln!("only illumos has the function");
    1
}

fn echo(arguments: &[&str]) {
    println!("{}", arguments.join(" "));
    for (name, value) in env::vars() {
        println!("{name}={value}");
    }
}

fn start(program: &str, arguments: &[&str]) -> Result<u8, Box<dyn Error>> {
    let status = Command::new(program).args(arguments).env("STARTED", "yes").status()?;
    Ok(status.code().map_or(Ok(255), u8::try_from)?)
}

fn look(path: &str) -> Result<u8, Box<dyn Error>> {
    let mut line = String::new();
    BufReader::new(File::open(path)?).read_line(&mut line)?;
    print!("{line}");
    Ok(0)
}
