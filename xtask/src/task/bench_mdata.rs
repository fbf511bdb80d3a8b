//! `cargo xtask bench mdata`: the metadata server and the client library, beside a plain echo over the same transport.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_mdata::channel::{Channel, Serial, Unix};
use guest_mdata::session::{Limits, RequestIds};
use guest_mdata::{Deadline, MetadataSource, Monotonic, Session};
use kiln_harness::process::Running;
use kiln_harness::scratch;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::machine;
use crate::task::bench::high_water_mark;

/// How many requests are timed.
const REQUESTS: u32 = 5000;
/// The key that is asked for, and its value.
const KEY: &str = "sdc:alias";
const VALUE: &str = "web";
/// How long a line of the echo is, LF included: the frame of the question has 41 bytes, that of the answer 37.
const LINE: usize = 39;
/// Size of the large value.
const LARGE: usize = 1 << 20;
/// How much more memory the server may need for the large value, as a multiple of it.
const PROMISED_MULTIPLE: u64 = 20;
/// When a stuck run fails.
const DEADLINE: Duration = Duration::from_mins(2);

/// Runs the benchmark.
pub fn run() -> Result<()> {
    let kiln = machine::build_kiln()?;
    let folder = scratch::folder("bench-mdata");
    fs::write(folder.path().join("vm.json"), format!("{{\"alias\":\"{VALUE}\"}}"))?;
    let (ours, theirs) = UnixStream::pair()?;
    let socket_echo = echoes(ours.into(), theirs.into())?;
    let (guest, host) = terminal()?;
    let terminal_echo = echoes(guest, host)?;

    let mut multiples = Vec::new();
    for (name, listen, echo) in
        [("socket", "unix:md.sock", socket_echo), ("terminal", "pty:ttyb", terminal_echo)]
    {
        let mut server = Server::start(&kiln, folder.path(), listen)?;
        let channel: Box<dyn Channel> = match listen.split_once(':') {
            Some(("unix", path)) => Box::new(Unix::new([folder.path().join(path)], false)),
            Some((_, path)) => Box::new(Serial::new(folder.path().join(path))),
            None => unreachable!("each place has a name"),
        };
        let mut session = session(channel);
        // Opening, negotiating, and waiting for a quiet line are done with the first one.
        ensure!(session.get(KEY, deadline(&session))?.as_deref() == Some(VALUE.as_bytes()), "a wrong value");
        let start = Instant::now();
        for _ in 0..REQUESTS {
            let value = session.get(KEY, deadline(&session))?;
            ensure!(value.as_deref() == Some(VALUE.as_bytes()), "a wrong value");
        }
        let rate = rate(start);
        println!("{name:<10} {rate:9.0} requests/s   echo {echo:9.0}/s   ratio {:.2}", rate / echo);

        let before = server.peak_kib()?;
        let value = "0123456789abcde\n".repeat(LARGE / 16).into_bytes();
        let start = Instant::now();
        session.put("large", &value, deadline(&session))?;
        let put = start.elapsed();
        let start = Instant::now();
        ensure!(session.get("large", deadline(&session))?.as_ref() == Some(&value), "a wrong value");
        let got = start.elapsed();
        let used = server.peak_kib()? - before;
        let multiple = (used << 10).div_ceil(LARGE as u64);
        println!(
            "{name:<10} 1 MiB put in {:.2} s, got in {:.2} s; the server's memory grew by {used} KiB",
            put.as_secs_f64(),
            got.as_secs_f64()
        );
        multiples.push(multiple);
    }
    let worst = multiples.into_iter().max().unwrap_or(u64::MAX);
    let kept = worst <= PROMISED_MULTIPLE;
    let verdict = if kept { "holds" } else { "DOES NOT HOLD" };
    println!("memory for a large value {worst} times its size, at most {PROMISED_MULTIPLE}: {verdict}");
    ensure!(kept, "promises that do not hold: 1");
    Ok(())
}

fn session(channel: Box<dyn Channel>) -> Session {
    let notice = |words: &str| eprintln!("{words}");
    Session::new(
        channel,
        Box::new(Monotonic::starting_now()),
        RequestIds::seeded(1),
        Limits::default(),
        Box::new(notice),
    )
}

fn deadline(session: &Session) -> Deadline {
    Deadline::after(DEADLINE, session.clock())
}

/// Requests a second since `start`.
fn rate(start: Instant) -> f64 {
    f64::from(REQUESTS) / start.elapsed().as_secs_f64()
}

/// How many lines a second go to the other side and come back, one at a time.
fn echoes(ours: OwnedFd, theirs: OwnedFd) -> Result<f64> {
    let mut theirs = fs::File::from(theirs);
    let mut ours = fs::File::from(ours);
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = theirs.read(&mut buffer) {
            if theirs.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
    });
    let mut line = vec![b'x'; LINE];
    line[LINE - 1] = b'\n';
    let mut answer = vec![0; LINE];
    let start = Instant::now();
    for _ in 0..REQUESTS {
        ours.write_all(&line)?;
        ours.read_exact(&mut answer)?;
    }
    ensure!(answer == line, "the echo differs");
    Ok(rate(start))
}

/// A terminal that passes bytes as they are: the guest's side and the host's.
fn terminal() -> Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?.into_string().context("terminals have plain names")?;
    let no_control = rustix::fs::OFlags::NOCTTY.bits().cast_signed();
    let guest = fs::OpenOptions::new().read(true).write(true).custom_flags(no_control).open(name)?;
    let mut modes = tcgetattr(&guest)?;
    modes.make_raw();
    tcsetattr(&guest, OptionalActions::Now, &modes)?;
    Ok((guest.into(), master))
}

/// A server that ends with the value.
struct Server {
    running: Running,
}

impl Server {
    fn start(kiln: &Path, folder: &Path, listen: &str) -> Result<Self> {
        let mut command = Command::new(kiln);
        command.args(["metadata", "serve", "--data", "vm.json", "--listen", listen]).current_dir(folder);
        let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let out = running.child().stdout.take().context("it is piped")?;
        let mut place = String::new();
        BufReader::new(out).read_line(&mut place)?;
        ensure!(!place.is_empty(), "kiln does not serve");
        Ok(Self { running })
    }

    fn peak_kib(&mut self) -> Result<u64> {
        let status = PathBuf::from(format!("/proc/{}/status", self.running.child().id()));
        high_water_mark(&status).context("Linux does not tell the server's memory")
    }
}
