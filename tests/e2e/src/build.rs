//! A `kiln retro` that is followed, held up and interrupted while it works.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::kernel::{self, Quirk};
use crate::{Lab, STAMP};

/// A build in progress. It is killed when the value goes.
#[derive(Debug)]
pub struct Build {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
}

/// How a build ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit status, or the negative number of the signal that killed it.
    pub status: i32,
    /// Standard error.
    pub stderr: String,
}

impl Build {
    /// Starts `kiln retro` of the lab's platform, version `test`, with further flags, under a kernel with `quirks`.
    ///
    /// # Panics
    /// kiln cannot be started.
    pub fn start(lab: &Lab, flags: &[&str], quirks: &[Quirk]) -> Build {
        // Whoever runs the tests may ignore signals, as nohup(1) and background jobs of shells do, and kiln would, too.
        let mut command = Command::new("env");
        command.args(["-u", "KILN_LOG", "--default-signal=HUP,INT,TERM"]).arg(lab.command().get_program());
        command.current_dir(lab.path()).args(["retro", STAMP, "--version", "test", "--json"]).args(flags);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = kernel::spawn(&mut command, quirks).expect("kiln starts");
        let events = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Build { child, events }
    }

    /// The next event; `None` when kiln has no more to say.
    ///
    /// # Panics
    /// What kiln says is not JSON.
    pub fn event(&mut self) -> Option<Value> {
        let line = self.events.next()?.expect("kiln can be heard");
        Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// Waits until kiln has reported the step `name`.
    ///
    /// # Panics
    /// kiln ended without it.
    pub fn until(&mut self, name: &str) {
        loop {
            let event =
                self.event().unwrap_or_else(|| panic!("kiln ended before {name}: {:?}", self.stderr()));
            if event["step"] == name {
                return;
            }
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// The build is no more.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("kiln can be signalled");
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// kiln cannot be waited for.
    pub fn end(mut self) -> Ended {
        use std::os::unix::process::ExitStatusExt as _;
        // Somebody has to listen to the end, or kiln waits for ever.
        while self.event().is_some() {}
        let stderr = self.stderr();
        let status = self.child.wait().expect("kiln can be waited for");
        Ended { status: status.code().or(status.signal().map(|signal| -signal)).unwrap_or(-1), stderr }
    }

    fn stderr(&mut self) -> String {
        let mut text = Vec::new();
        if let Some(mut stream) = self.child.stderr.take() {
            stream.read_to_end(&mut text).expect("kiln can be heard");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        // It has ended when the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A CA bundle that does not come: a build with `--ca-bundle` of it stops where it packs custom.tgz, until the gate is
/// opened or the build is no more.
#[derive(Debug)]
pub struct Gate {
    arrived: Receiver<File>,
    bundle: Option<File>,
}

/// How long a build may take to come to a gate before the test says that it never will.
const PATIENCE: Duration = Duration::from_mins(2);

impl Gate {
    /// Makes a closed gate, which is called `name` in the lab.
    ///
    /// # Panics
    /// The lab cannot be written.
    pub fn close(lab: &Lab, name: &str) -> Gate {
        let path = lab.join(name);
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a new name");
        let (say, arrived) = mpsc::channel();
        // A pipe can be opened for writing when somebody reads it, so this waits for the build.
        std::thread::spawn(move || {
            if let Ok(bundle) = OpenOptions::new().write(true).open(path) {
                // The test may have ended meanwhile.
                let _ = say.send(bundle);
            }
        });
        Gate { arrived, bundle: None }
    }

    /// Waits until a build stands at the gate.
    ///
    /// # Panics
    /// None comes.
    pub fn wait(&mut self) {
        self.bundle = Some(self.arrived.recv_timeout(PATIENCE).expect("the build comes to the gate"));
    }

    /// Lets the build go on that [`Gate::wait`] has waited for.
    ///
    /// # Panics
    /// No build is there.
    pub fn open(self) {
        let mut bundle = self.bundle.expect("a build is at the gate");
        bundle.write_all(b"-----BEGIN CERTIFICATE-----\n").expect("the build reads");
    }
}
