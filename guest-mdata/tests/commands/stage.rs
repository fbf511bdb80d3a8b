//! A host behind a socket or a terminal, and the program in front of it.

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use guest_mdata::host::{Agent, Answer, Conversation, Description, Dialect, Heard};
use guest_mdata::wire;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The number of nobody, and of its group, on every Linux.
const NOBODY: u32 = 65_534;

/// A folder with the program under its four names.
pub struct Stage {
    folder: TempDir,
    /// How much faster than the world's the clocks of the program are.
    clocks: u32,
}

impl Stage {
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let program = std::env::var_os("MDATA_BIN").unwrap_or(env!("CARGO_BIN_EXE_mdata").into());
        for name in ["mdata", "mdata-get", "mdata-put", "mdata-delete", "mdata-list"] {
            symlink(&program, folder.path().join(name)).expect("a link");
        }
        Self { folder, clocks: 1 }
    }

    /// The same with clocks that run so many times as fast, if the program runs on the shim: only that can do it.
    pub fn with_clocks(factor: u32) -> Self {
        let runner = std::env::var("MDATA_RUNNER").unwrap_or_default();
        let is_shim = runner.split_whitespace().next().is_some_and(|word| word.ends_with("/illumos-run"));
        Self { clocks: if is_shim { factor } else { 1 }, ..Self::new() }
    }

    /// How long so many seconds of the program take.
    pub fn seconds(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds) / self.clocks
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command `name` with its words, ready to run.
    pub fn command(&self, name: &str, words: &[&str]) -> Command {
        let program = self.path(name);
        let runner = std::env::var("MDATA_RUNNER").unwrap_or_default();
        let mut all = runner.split_whitespace().map(PathBuf::from).chain([program]);
        let mut command = Command::new(all.next().expect("at least the program"));
        if self.clocks > 1 {
            command.env("ABI_SHIM_TIME_SCALE", self.clocks.to_string());
        }
        command.args(all).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The same for a user who is not root: nobody if these tests are root's, else their own.
    pub fn command_of_a_user(&self, name: &str, words: &[&str]) -> Command {
        if !rustix::process::geteuid().is_root() {
            return self.command(name, words);
        }
        // Nobody may not enter the folder where root built the program. It is copied by another process: here a test
        // beside this one could fork while it is written to, and then it could not be run.
        let (path, copy) = (self.path(name), self.path("copy"));
        std::fs::set_permissions(self.folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
        assert!(Command::new("cp").args([&path, &copy]).status().expect("cp runs").success());
        std::fs::rename(copy, path).expect("it takes the link's place");
        let mut command = self.command(name, words);
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    /// Runs the command to its end.
    pub fn run(&self, name: &str, device: &str, words: &[&str]) -> Ended {
        let words = [&["--device", device], words].concat();
        Ended::from(self.command(name, &words).output().expect("it runs"))
    }

    /// Runs the command with this on its standard input.
    pub fn run_with(&self, name: &str, device: &str, words: &[&str], input: &[u8]) -> Ended {
        let words = [&["--device", device], words].concat();
        let mut child = self.command(name, &words).stdin(Stdio::piped()).spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        // A program that refuses the input early breaks the pipe, which its exit code tells better.
        let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
        let ended = Ended::from(child.wait_with_output().expect("it ends"));
        feeder.join().expect("the input is written");
        ended
    }

    /// Starts the command.
    pub fn start(&self, name: &str, device: &str, words: &[&str]) -> Child {
        let words = [&["--device", device], words].concat();
        self.command(name, &words).spawn().expect("it runs")
    }
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).expect("messages are UTF-8");
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

/// What an ending without messages looks like.
pub fn quiet(code: i32, stdout: impl AsRef<[u8]>) -> Ended {
    Ended { code: Some(code), stdout: stdout.as_ref().to_vec(), stderr: String::new() }
}

/// What a failure looks like.
pub fn failed(code: i32, stderr: &str) -> Ended {
    Ended { code: Some(code), stdout: Vec::new(), stderr: stderr.to_owned() }
}

/// The machine that the tests ask about.
pub fn machine() -> Value {
    json!({
        "uuid": "5f2b5b0a-0000-4000-8000-000000000001",
        "ram": 1024,
        "autoboot": true,
        "tags": {"a.b": "dotted", "flag": false},
        "nics": [
            {"interface": "net0", "mac": "02:08:20:5b:a1:00", "ip": "10.0.0.5", "netmask": "255.255.255.0",
             "gateway": "10.0.0.1", "primary": true},
            {"interface": "net1", "mac": "02:08:20:5b:a1:01", "ip": "dhcp"},
        ],
        "routes": {"10.1.0.0/16": "10.0.0.9", "10.2.0.0/16": "nics[0]", "10.3.0.0/16": "nics[1]",
                   "10.4.0.0/16": "macs[02:08:20:5b:a1:00]"},
        "customer_metadata": {
            "text": "one line", "ended": "with its end\n", "lines": "a\n.\n..\n.x\n", "empty": "", "with space": "s",
            "control": "\u{11}\u{13}\u{3}\u{4}\r \u{20ac} end", "nul": "a\u{0}b \u{20ac}",
        },
        "internal_metadata": {"root_pw": "secret", "docker:id": "d"},
        "internal_metadata_namespaces": ["docker"],
    })
}

/// The host of one or more guests, which runs until the test ends.
#[derive(Clone)]
pub struct Host {
    dialect: Dialect,
    /// The most bytes of a line.
    limit: usize,
    agent: Arc<Mutex<Agent>>,
    /// Told of each read that came.
    seen: Sender<Vec<u8>>,
}

impl Host {
    pub fn new(dialect: Dialect, description: Value) -> (Self, Receiver<Vec<u8>>) {
        let agent = Agent::new(Description::new(description).expect("a good description"));
        let (seen, sight) = channel();
        (Self { dialect, limit: 32 << 20, agent: Arc::new(Mutex::new(agent)), seen }, sight)
    }

    /// The same with another limit of a line's bytes.
    pub fn with_limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Answers what comes until there is no more.
    fn serve(&self, mut line: impl Read + Write) {
        let mut conversation = Conversation::new(self.dialect, self.limit);
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read) = line.read(&mut buffer)
            && read > 0
        {
            // Most tests do not look.
            let _ = self.seen.send(buffer[..read].to_vec());
            conversation.push(&buffer[..read]);
            while let Some(heard) = conversation.next_heard() {
                let answer = match heard {
                    Heard::Formality { answer, .. } => answer,
                    Heard::Nothing { .. } => continue,
                    Heard::Question(request, envelope) => {
                        let mut agent = self.agent.lock().expect("no thread panics with it");
                        envelope.seal(&match agent.answer(&request) {
                            Answer::Now(response) => response,
                            Answer::Once(update) => {
                                *agent = Agent::new(update.description);
                                update.response
                            }
                        })
                    }
                };
                if line.write_all(&answer).is_err() {
                    return;
                }
            }
        }
    }

    /// Listens on a Unix socket; the name of the device.
    pub fn listen(&self, path: &Path) -> String {
        let listener = UnixListener::bind(path).expect("a socket");
        let host = self.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let host = host.clone();
                thread::spawn(move || host.serve(&connection));
            }
        });
        format!("unix:{}", path.display())
    }

    /// Serves one terminal.
    pub fn attach(&self, terminal: &Terminal) {
        let host = self.clone();
        let master = terminal.master.try_clone().expect("a descriptor");
        thread::spawn(move || host.serve(File::from(master)));
    }
}

/// A current host of the tests' machine behind a socket.
pub fn socket_host(stage: &Stage) -> String {
    Host::new(Dialect::Current, machine()).0.listen(&stage.path("socket"))
}

/// A pseudo terminal. It is kept open on both sides, so that no client's end is its end.
pub struct Terminal {
    pub master: OwnedFd,
    pub slave: OwnedFd,
    pub device: String,
}

impl Terminal {
    pub fn new() -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let device = ptsname(&master, Vec::new()).expect("a name").into_string().expect("UTF-8");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&device, flags, Mode::empty()).expect("the other side");
        Self { master, slave, device }
    }
}

/// A socket whose connections are given to `serve`, one after the other.
pub fn scripted(path: &Path, serve: impl Fn(usize, UnixStream) + Send + 'static) -> String {
    let listener = UnixListener::bind(path).expect("a socket");
    thread::spawn(move || {
        for (number, connection) in listener.incoming().flatten().enumerate() {
            serve(number, connection);
        }
    });
    format!("unix:{}", path.display())
}

/// Answers the formalities of a conversation up to its first request, which is returned.
pub fn first_request<T: Copy + Read + Write>(mut line: T) -> Option<String> {
    let mut lines = BufReader::new(line).lines();
    loop {
        let answer: &[u8] = match lines.next()?.ok()?.as_str() {
            "" => b"invalid command\n",
            "NEGOTIATE V2" => b"V2_OK\n",
            request => return Some(request.to_owned()),
        };
        line.write_all(answer).ok()?;
    }
}

/// The answer of version 2 to `request` that gives it this value.
pub fn answer(request: &str, value: &str) -> Vec<u8> {
    let id = request.split(' ').nth(3).expect("an identifier");
    wire::encode(id.as_bytes(), "SUCCESS", value.as_bytes())
}
