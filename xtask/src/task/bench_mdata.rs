//! `cargo xtask bench mdata`: the metadata server and the client library, beside a plain echo over the same transport.

use std::cell::Cell;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_mdata::channel::{Channel, Exchanged, Link, OpenError, Serial, Unix};
use guest_mdata::session::{Limits, RequestIds};
use guest_mdata::wire::NEGOTIATE;
use guest_mdata::{Deadline, MetadataSource, Monotonic, Session};
use kiln_harness::process::Running;
use kiln_harness::scratch;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::machine;
use crate::task::bench::high_water_mark;
use crate::task::promises::{self, Promise};

/// How many requests are timed.
const REQUESTS: u32 = 5000;
/// The key that is asked for, and its value.
const KEY: &str = "sdc:alias";
const VALUE: &str = "web";
/// How long a line of the echo is, LF included: the frame of the question has 41 bytes, that of the answer 37.
const LINE: usize = 39;
/// Size of the large value.
const LARGE: usize = 1 << 20;
/// How much more memory either side may need for the large value, as a multiple of it.
const PROMISED_MULTIPLE: u64 = 8;
/// When a stuck run fails.
const DEADLINE: Duration = Duration::from_mins(2);

/// Runs the benchmark, in which this program is the client: as a release build, like kiln.
pub fn run() -> Result<()> {
    if cfg!(debug_assertions) {
        let arguments = ["run", "--release", "--package", "xtask", "--", "bench", "mdata"];
        return machine::run(machine::cargo().args(arguments));
    }
    let kiln = machine::build_kiln()?;
    let folder = scratch::folder("bench-mdata");
    fs::write(folder.path().join("vm.json"), format!("{{\"alias\":\"{VALUE}\"}}"))?;
    let (ours, theirs) = UnixStream::pair()?;
    let socket_echo = echoes(ours.into(), theirs.into())?;
    let (guest, host) = terminal()?;
    let terminal_echo = echoes(guest, host)?;
    let resting_kib = peak_since(|| Ok(()))?;
    let runs = [
        measure("socket", &kiln, folder.path(), "unix:md.sock", socket_echo, resting_kib)?,
        measure("terminal", &kiln, folder.path(), "pty:ttyb", terminal_echo, resting_kib)?,
    ];
    judge(&runs)
}

/// What was measured over one transport.
#[derive(Clone, Copy)]
struct Figures {
    /// How often the client opened the channel.
    opened: u32,
    /// How often it asked for the version.
    negotiated: u32,
    /// Growth of the server's peak for the large value, in KiB.
    server_kib: u64,
    /// By how much the client's larger peak of the two directions exceeds what it had before the first session, in
    /// KiB. Memory that an allocator keeps for later counts, and so does the caller's own copy of the value.
    client_kib: u64,
}

/// Measures one transport. `echo` is its echo's rate; the memory of this process before any session is `resting_kib`.
fn measure(
    name: &str,
    kiln: &Path,
    folder: &Path,
    listen: &str,
    echo: f64,
    resting_kib: u64,
) -> Result<Figures> {
    let mut server = Server::start(kiln, folder, listen)?;
    let channel: Box<dyn Channel> = match listen.split_once(':') {
        Some(("unix", path)) => Box::new(Unix::new([folder.join(path)], false)),
        Some((_, path)) => Box::new(Serial::new(folder.join(path))),
        None => unreachable!("each place has a name"),
    };
    let counts = Rc::new(Counts::default());
    let mut session = session(Box::new(Counted { channel, counts: Rc::clone(&counts) }));
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
    let put_peak_kib = peak_since(|| Ok(session.put("large", &value, deadline(&session))?))?;
    let put = start.elapsed();
    let start = Instant::now();
    let get_peak_kib = peak_since(|| {
        ensure!(session.get("large", deadline(&session))?.as_ref() == Some(&value), "a wrong value");
        Ok(())
    })?;
    let got = start.elapsed();
    let (put_kib, get_kib) =
        (put_peak_kib.saturating_sub(resting_kib), get_peak_kib.saturating_sub(resting_kib));
    let server_kib = server.peak_kib()?.saturating_sub(before);
    println!("{name:<10} 1 MiB put in {:.2} s, got in {:.2} s", put.as_secs_f64(), got.as_secs_f64());
    println!("{name:<10} memory grew by {put_kib} KiB and {get_kib} KiB, the server's by {server_kib} KiB");
    let (opened, negotiated) = (counts.opened.get(), counts.negotiated.get());
    Ok(Figures { opened, negotiated, server_kib, client_kib: put_kib.max(get_kib) })
}

/// The peak of this process's memory during `work`, in KiB.
fn peak_since(work: impl FnOnce() -> Result<()>) -> Result<u64> {
    // Linux forgets the peak so far.
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak of the memory")?;
    work()?;
    high_water_mark(Path::new("/proc/self/status")).context("Linux does not tell the memory")
}

/// Fails if a promise is not kept.
fn judge(runs: &[Figures]) -> Result<()> {
    let most = |figure: fn(&Figures) -> u64| runs.iter().map(figure).max().unwrap_or(u64::MAX);
    let multiple = |kib: u64| kib.saturating_mul(1024).div_ceil(LARGE as u64);
    let server = multiple(most(|run| run.server_kib));
    let client = multiple(most(|run| run.client_kib));
    promises::judge(&[
        Promise::at_most("times that a session opened its channel", most(|run| run.opened.into()), 1),
        Promise::at_most("times that a session negotiated", most(|run| run.negotiated.into()), 1),
        Promise::at_most("the server's memory for a large value, to its size", server, PROMISED_MULTIPLE),
        Promise::at_most("the client's memory for a large value, to its size", client, PROMISED_MULTIPLE),
    ])
}

/// What a session did to its channel.
#[derive(Debug, Default)]
struct Counts {
    opened: Cell<u32>,
    negotiated: Cell<u32>,
}

/// A channel that counts how often it is opened, and the questions for the version that go over it.
struct Counted {
    channel: Box<dyn Channel>,
    counts: Rc<Counts>,
}

impl Channel for Counted {
    fn name(&self) -> String {
        self.channel.name()
    }

    fn is_shared(&self) -> bool {
        self.channel.is_shared()
    }

    fn open(&mut self) -> Result<Box<dyn Link>, OpenError> {
        let link = self.channel.open()?;
        self.counts.opened.update(|count| count + 1);
        Ok(Box::new(CountedLink { link, counts: Rc::clone(&self.counts) }))
    }
}

struct CountedLink {
    link: Box<dyn Link>,
    counts: Rc<Counts>,
}

impl Link for CountedLink {
    fn exchange(&mut self, output: &[u8], input: &mut [u8], wait: Duration) -> io::Result<Exchanged> {
        let exchanged = self.link.exchange(output, input, wait)?;
        if output == NEGOTIATE && exchanged.written > 0 {
            self.counts.negotiated.update(|count| count + 1);
        }
        Ok(exchanged)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_promise_is_judged() {
        let good = Figures {
            opened: 1,
            negotiated: 1,
            server_kib: PROMISED_MULTIPLE << 10,
            client_kib: PROMISED_MULTIPLE << 10,
        };
        assert!(judge(&[good, good]).is_ok());
        for bad in [
            Figures { opened: 2, ..good },
            Figures { negotiated: 2, ..good },
            Figures { server_kib: good.server_kib + 1, ..good },
            Figures { client_kib: good.client_kib + 1, ..good },
        ] {
            assert_eq!(judge(&[good, bad]).unwrap_err().to_string(), "promises that do not hold: 1");
        }
        let nothing = Figures { opened: 0, negotiated: 0, server_kib: 0, client_kib: 0 };
        assert_eq!(judge(&[nothing]).unwrap_err().to_string(), "promises that do not hold: 4");
    }
}
