//! A running `kiln metadata serve`, and guests that talk to it.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use guest_mdata::wire::encode;
use kiln_harness::{process, scratch, tools};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

use crate::{Lab, Said};

/// After how long a silent server or guest fails the test.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server. It is killed when the value goes.
#[derive(Debug)]
pub struct Server {
    child: process::Running,
    /// The folder that its names are meant in.
    folder: PathBuf,
    place: String,
    log: Option<JoinHandle<String>>,
}

/// kiln with the words that begin every server's command line; `vm.json` in the lab is its data file.
pub fn serve(lab: &Lab, flags: &[&str]) -> Command {
    let mut command = lab.command();
    command.args(["-v", "metadata", "serve", "--data", "vm.json"]).args(flags);
    command
}

impl Server {
    /// Starts a server of `vm.json` and waits until it serves.
    ///
    /// # Panics
    /// It does not come so far.
    pub fn start(lab: &Lab, flags: &[&str]) -> Server {
        Self::run(&mut serve(lab, flags))
    }

    /// Starts a server of these words and waits until it serves.
    ///
    /// # Panics
    /// It does not come so far.
    pub fn run(command: &mut Command) -> Server {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let folder = command.get_current_dir().expect("labs are folders").to_owned();
        let mut child = process::Running::start(command).expect("kiln starts");
        let out = child.child().stdout.take().expect("it is piped");
        let mut errors = child.child().stderr.take().expect("it is piped");
        let log = thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).expect("the log is UTF-8");
            text
        });
        let mut place = String::new();
        BufReader::new(out).read_line(&mut place).expect("kiln can be heard");
        assert!(!place.is_empty(), "no server: {}", log.join().expect("the reader does not panic"));
        Server { child, folder, place: place.trim_end().to_owned(), log: Some(log) }
    }

    /// Where it serves, as it says itself.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A guest that connects to it.
    pub fn guest(&self) -> Guest {
        match self.place.split_once(':') {
            Some(("unix", path)) => Guest::unix(&self.folder.join(path)),
            Some(("tcp", address)) => Guest::of(TcpStream::connect(address).expect("the server listens")),
            _ => Guest::terminal(&self.folder.join(&self.place)),
        }
    }

    /// Runs a command of the guest's program `mdata` against it.
    pub fn mdata(&self, mdata: &Path, command: &str, operands: &[&str]) -> Said {
        self.mdata_with(mdata, command, operands, b"")
    }

    /// Runs a command of the guest's program `mdata` against it, with a standard input.
    ///
    /// # Panics
    /// The program cannot be started.
    pub fn mdata_with(&self, mdata: &Path, command: &str, operands: &[&str], input: &[u8]) -> Said {
        let mut running = Command::new(mdata)
            .args([command, "--timeout", "60", "--device", &self.place, "--"])
            .args(operands)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mdata starts");
        let mut stdin = running.stdin.take().expect("it is piped");
        // A command that reads nothing may have ended already.
        let _ = stdin.write_all(input);
        drop(stdin);
        Said::from(&running.wait_with_output().expect("mdata ends"))
    }

    /// The server's process.
    pub fn pid(&mut self) -> u32 {
        self.child.child().id()
    }

    /// The most memory that was ever resident, in KiB.
    ///
    /// # Panics
    /// The server is no more.
    pub fn peak_kib(&mut self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Ends it with SIGTERM, and gives its exit status and its log.
    pub fn end(self) -> (i32, String) {
        self.end_by(Signal::TERM)
    }

    /// Ends it with a signal, and gives its exit status (-1 when the signal killed it) and its log.
    ///
    /// # Panics
    /// It does not end.
    pub fn end_by(mut self, signal: Signal) -> (i32, String) {
        let child: &Child = self.child.child();
        rustix::process::kill_process(Pid::from_child(child), signal).expect("it runs");
        let status = self.child.wait(PATIENCE).expect("it can be waited for").expect("it ends");
        let log = self.log.take().expect("it ends once").join().expect("the reader does not panic");
        (status.code().unwrap_or(-1), log)
    }
}

/// The guest's side of a channel, without anything that would hide what goes over it.
#[derive(Debug)]
pub struct Guest {
    channel: File,
    heard: VecDeque<u8>,
}

impl Guest {
    /// A guest on this channel.
    pub fn of(channel: impl Into<OwnedFd>) -> Guest {
        Guest { channel: File::from(channel.into()), heard: VecDeque::new() }
    }

    /// A guest that connects to a socket.
    ///
    /// # Panics
    /// Nobody listens there.
    pub fn unix(path: &Path) -> Guest {
        Guest::of(UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// A guest on a terminal, whose settings it leaves alone.
    ///
    /// # Panics
    /// There is none.
    pub fn terminal(path: &Path) -> Guest {
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY);
        Guest::of(options.open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// The channel is closed.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.channel.write_all(bytes.as_ref()).expect("the channel is open");
    }

    /// Sends bytes, unless the other side has closed the channel.
    pub fn try_say(&mut self, bytes: &[u8]) -> bool {
        self.channel.write_all(bytes).is_ok()
    }

    /// The next line with its LF, or what came before the end of the channel.
    ///
    /// # Panics
    /// Nothing comes for a minute.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(length) = self.heard.iter().position(|&byte| byte == b'\n') {
                return self.taken(length + 1);
            }
            if !self.hear(PATIENCE) {
                return self.taken(self.heard.len());
            }
        }
    }

    /// So many lines.
    pub fn lines(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line()).collect()
    }

    /// Sends a line and gives the first line of the answer, both without LF.
    pub fn ask(&mut self, line: &str) -> String {
        self.say(format!("{line}\n"));
        self.line().trim_end_matches('\n').to_owned()
    }

    fn taken(&mut self, length: usize) -> String {
        String::from_utf8(self.heard.drain(..length).collect()).expect("answers are UTF-8")
    }

    /// Reads what there is; `false` at the end of the channel.
    fn hear(&mut self, patience: Duration) -> bool {
        let timeout = Timespec::try_from(patience).expect("a minute is short");
        let ready = poll(&mut [PollFd::new(&self.channel, PollFlags::IN)], Some(&timeout));
        assert!(ready.expect("the channel can be waited for") > 0, "silence after {:?}", self.heard);
        let mut buffer = [0; 16 << 10];
        // The master of a terminal fails to read when nobody is on the other side any more.
        let count = self.channel.read(&mut buffer).unwrap_or(0);
        self.heard.extend(&buffer[..count]);
        count > 0
    }
}

/// A frame of version 2 as text, LF included. `base64` of the payload is made here.
///
/// # Panics
/// A part of it is not UTF-8.
pub fn frame(id: &str, code: &str, payload: &[u8]) -> String {
    String::from_utf8(encode(id.as_bytes(), code, payload)).expect("frames are ASCII")
}

/// The guest's program `mdata` for Linux, or `None` after a loud skip when it was not built.
///
/// # Panics
/// It is missing and `KILN_REQUIRE_TOOLS` is set.
pub fn mdata() -> Option<PathBuf> {
    let path = scratch::target_folder().join("guest-programs/linux/mdata");
    if !path.is_file() {
        tools::missing("mdata for Linux (`cargo xtask guest` builds it)");
        return None;
    }
    Some(path)
}
