//! A guest that is told what to do while it runs.
//!
//! [`Guest::run`] runs one script. Here the script takes others from the second serial port and answers with what they wrote, so
//! that a test can do things on the host between two of them: look at disks, copy them, damage them.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::guest::{Done, Guest, SecondPort};
use crate::process;

/// The script that takes the others: a line for each, and a line for each answer.
const LOOP: &str = r#"
exec 3<>/dev/ttyS1
stty raw -echo <&3
echo ready >&3
while IFS= read -r line <&3; do
    [ "$line" = end ] && exit 0
    base64 -d <<<"$line" >/tmp/script
    bash /tmp/script </dev/null >/tmp/said 2>&1
    printf '%s %s\n' $? "$(base64 -w 0 /tmp/said)" >&3
done
exit 1
"#;

/// How often it is looked whether the guest has come.
const POLL: Duration = Duration::from_millis(50);

/// A guest that runs and waits for scripts.
#[derive(Debug)]
pub struct Session {
    port: BufReader<UnixStream>,
    guest: JoinHandle<Result<Done>>,
    /// Holds the socket.
    _folder: TempDir,
}

/// What a script wrote and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit status.
    pub status: i32,
    /// Its standard output and error, in the order in which they came.
    pub text: String,
}

impl Session {
    /// Starts `guest`, which must not have a second port of its own, and waits until it takes scripts.
    ///
    /// # Errors
    /// When it does not come so far; the error shows its console.
    pub fn start(guest: Guest) -> Result<Self> {
        // Names of sockets must be short, so it is not a folder for files of tests.
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("port");
        let listener = UnixListener::bind(&socket)?;
        listener.set_nonblocking(true)?;
        let guest = guest.second_port(SecondPort::Connects(socket));
        let guest = thread::spawn(move || guest.run(LOOP));
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if guest.is_finished() {
                        return Err(why(guest));
                    }
                    thread::sleep(POLL);
                }
                Err(error) => return Err(error.into()),
            }
        };
        stream.set_nonblocking(false)?;
        let mut session = Self { port: BufReader::new(stream), guest, _folder: folder };
        // QEMU closes its end when the guest is killed at its deadline.
        match session.line() {
            Ok(line) if line == "ready" => Ok(session),
            Ok(line) => bail!("the guest begins with {line:?}"),
            Err(_) => Err(why(session.guest)),
        }
    }

    /// Runs a script in a process of its own, as root, and gives what it wrote.
    ///
    /// # Errors
    /// When the guest has ended.
    pub fn run(&mut self, script: &str) -> Result<Said> {
        let line = base64(&["-w", "0"], script.as_bytes())?;
        self.port.get_mut().write_all(&[&line, &b"\n"[..]].concat()).context("the guest is gone")?;
        let answer = self.line()?;
        let (status, text) = answer.split_once(' ').context("no answer")?;
        let text = base64(&["-d"], text.as_bytes())?;
        Ok(Said { status: status.parse()?, text: String::from_utf8_lossy(&text).into_owned() })
    }

    /// Ends the guest; gives what it left.
    ///
    /// # Errors
    /// Those of [`Guest::run`].
    pub fn end(mut self) -> Result<Done> {
        self.port.get_mut().write_all(b"end\n").context("the guest is gone")?;
        self.guest.join().expect("a guest's thread does not panic")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.port.read_line(&mut line).context("the guest cannot be heard")?;
        ensure!(line.ends_with('\n'), "the guest is gone");
        line.truncate(line.len() - 1);
        Ok(line)
    }
}

fn why(guest: JoinHandle<Result<Done>>) -> anyhow::Error {
    match guest.join().expect("a guest's thread does not panic") {
        Ok(done) => anyhow::anyhow!("the guest ended: {done:?}"),
        Err(error) => error,
    }
}

/// Runs base64(1), which the guest has too.
fn base64(arguments: &[&str], bytes: &[u8]) -> Result<Vec<u8>> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(bytes)?;
    let output =
        process::run(Command::new("base64").args(arguments).arg(file.path()), Duration::from_mins(1))?;
    ensure!(output.status.success(), "base64 {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
