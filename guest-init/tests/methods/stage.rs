//! A guest in a folder: the shipped program under the names that SMF knows, and a host behind its second serial port.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use guest_mdata::host::{Agent, Answer, Conversation, Description, Dialect, Heard};
use kiln_shim::guests::{self, Profile};
use kiln_shim::{Root, Settings};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tempfile::TempDir;

/// Where the program lies in a guest.
pub const PROGRAM: &str = "/lib/svc/method/guest-init";

/// A guest.
pub struct Stage {
    root: Root,
    settings: Settings,
    _folder: TempDir,
    host: Option<Host>,
}

/// How a program ended, and what it said.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit status; none if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Stage {
    /// A guest whose host says nothing.
    pub fn new() -> Self {
        static BUILT: OnceLock<std::path::PathBuf> = OnceLock::new();
        let program = BUILT.get_or_init(|| {
            guests::illumos("guest-init", "guest-init", Profile::Shipped).expect("it is built")
        });
        let folder = TempDir::new().expect("a folder");
        // A boot of minutes in seconds.
        let settings = Settings::default().platform("20141030T081701Z").time_scale(100);
        let root = Root::create(folder.path(), &settings).expect("a root folder");
        root.install(program, PROGRAM).expect("installed");
        for name in ["smartdc-init", "smartos-userscript", "fs-joyent", "ntp"] {
            symlink("guest-init", root.host_path(&format!("/lib/svc/method/{name}"))).expect("linked");
        }
        for folder in ["/etc/svc/volatile", "/dev/term", "/var", "/tmp"] {
            fs::create_dir_all(root.host_path(folder)).expect("a folder");
        }
        fs::write(root.host_path("/dev/console"), "").expect("a console");
        let settings = root.settings();
        Self { root, settings, _folder: folder, host: None }
    }

    /// A guest of this machine.
    pub fn of(machine: Value) -> Self {
        let mut stage = Self::new();
        let host = Host::new(machine);
        stage.settings = stage.settings.device("/dev/term/b", &host.device);
        stage.host = Some(host);
        stage
    }

    /// The settings of a run.
    pub fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// The path on this machine of a path in the guest.
    pub fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.host_path(path)
    }

    /// Runs a program as SMF does.
    pub fn method(&self, words: &[&str]) -> Ended {
        self.method_with(words, &self.settings)
    }

    /// The same with other settings.
    pub fn method_with(&self, words: &[&str], settings: &Settings) -> Ended {
        Self::run(self.command(words, settings).env("SMF_FMRI", "svc:/system/test:default"))
    }

    /// Runs a program as a person does.
    pub fn by_hand(&self, words: &[&str]) -> Ended {
        Self::run(self.command(words, &self.settings).env_remove("SMF_FMRI"))
    }

    /// A program of the guest, ready to run.
    pub fn command(&self, words: &[&str], settings: &Settings) -> Command {
        let mut command = self.root.command(words[0], settings);
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }

    fn run(command: &mut Command) -> Ended {
        let output = command.output().expect("it runs");
        let [stdout, stderr] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
        Ended { code: output.status.code(), stdout, stderr }
    }

    /// What earlier phases noted.
    pub fn state(&self) -> Value {
        let text = fs::read(self.path("/etc/svc/volatile/guest-init/state.json")).expect("there is a state");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// What a phase came to.
    pub fn result_of(&self, phase: &str) -> Value {
        let state = self.state();
        let results = state["results"].as_array().expect("a list");
        results.iter().find(|result| result["phase"] == phase).expect("it has run").clone()
    }

    /// A metadata key of the owner's, as the host has it.
    pub fn customer_key(&self, key: &str) -> Option<String> {
        let agent = self.host.as_ref().expect("a host").agent.lock().expect("no thread panics with it");
        let keys = agent.description().property("customer_metadata")?;
        Some(keys.get(key)?.as_str()?.to_owned())
    }

    /// Every file of the guest, with what is in it.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        list(self.root.folder(), &mut files);
        files
    }
}

fn list(folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.path().to_string_lossy().into_owned();
        if entry.file_type().expect("a type").is_dir() {
            files.insert(name, Vec::new());
            list(&entry.path(), files);
        } else {
            files.insert(name, fs::read(entry.path()).unwrap_or_default());
        }
    }
}

/// A host that serves one guest until the test ends.
struct Host {
    agent: Arc<Mutex<Agent>>,
    device: String,
    /// Kept open, so that the guest's end is not the terminal's.
    _slave: OwnedFd,
}

impl Host {
    fn new(machine: Value) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let device = ptsname(&master, Vec::new()).expect("a name").into_string().expect("text");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&device, flags, Mode::empty()).expect("the other side");
        let agent = Agent::new(Description::new(machine).expect("a good description"));
        let agent = Arc::new(Mutex::new(agent));
        let serving = Arc::clone(&agent);
        thread::spawn(move || serve(&serving, File::from(master)));
        Self { agent, device, _slave: slave }
    }
}

fn serve(agent: &Mutex<Agent>, mut line: impl Read + Write) {
    let mut conversation = Conversation::new(Dialect::Current, 1 << 20);
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read) = line.read(&mut buffer)
        && read > 0
    {
        conversation.push(&buffer[..read]);
        while let Some(heard) = conversation.next_heard() {
            let answer = match heard {
                Heard::Formality { answer, .. } => answer,
                Heard::Nothing { .. } => continue,
                Heard::Question(request, envelope) => {
                    let mut agent = agent.lock().expect("no thread panics with it");
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
