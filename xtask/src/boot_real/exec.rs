//! Running a program that may hang, and that may say more than anybody wants to keep.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use kiln_harness::process::Running;

use super::patience::{POLL, Wait};

/// How much of each output is kept, in bytes. The rest is read and dropped.
const LONGEST: u64 = 1 << 20;

/// What a program said and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its exit status; `None` for a signal.
    pub status: Option<i32>,
    /// The beginning of its standard output, at most 1 MiB.
    pub stdout: String,
    /// The beginning of its standard error, at most 1 MiB.
    pub stderr: String,
}

/// Runs `command` without standard input. Interruptions by the terminal go to this program alone, which kills it then.
///
/// # Errors
/// When it cannot be started, and when `wait` is over before it ends: it is killed then.
pub fn run(command: &mut Command, wait: &Wait) -> Result<Said> {
    let name = name(command);
    in_own_group(command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command)?;
    let stdout = running.child().stdout.take().context("it is piped")?;
    let stderr = running.child().stderr.take().context("it is piped")?;
    let (stdout, stderr) = (keep(stdout), keep(stderr));
    let status = loop {
        if let Some(status) = running.wait(POLL)? {
            break status;
        }
        wait.check().with_context(|| format!("{name} does not end"))?;
    };
    let text = |reader: JoinHandle<io::Result<Vec<u8>>>| -> Result<String> {
        let bytes = reader.join().expect("a reader does not panic");
        let bytes = bytes.with_context(|| format!("cannot read from {name}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(Said { status: status.code(), stdout: text(stdout)?, stderr: text(stderr)? })
}

/// The same for a program that must succeed: gives its standard output.
///
/// # Errors
/// As [`run`], and when it fails; the error has what it said.
pub fn succeed(command: &mut Command, wait: &Wait) -> Result<String> {
    let said = run(command, wait)?;
    if said.status != Some(0) {
        bail!("{} failed:\n{}", name(command), said.stderr.trim_end());
    }
    Ok(said.stdout)
}

/// What the program is called, without its folder.
fn name(command: &Command) -> String {
    let path = Path::new(command.get_program());
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Has the program started in a process group of its own, which the terminal does not send signals to.
pub fn in_own_group(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0)
}

/// Reads a stream to its end in a thread of its own and keeps the beginning.
fn keep<R: Read + Send + 'static>(mut stream: R) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.by_ref().take(LONGEST).read_to_end(&mut bytes)?;
        io::copy(&mut stream, &mut io::sink())?;
        Ok(bytes)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::patience::Patience;
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_program_says_is_kept_up_to_a_limit() {
        let wait = Patience::default().wait(Duration::from_mins(1));
        let said = run(&mut shell("head -c 3000000 /dev/zero; echo oops >&2; exit 3"), &wait).unwrap();
        assert_eq!((said.status, said.stdout.len(), said.stderr.as_str()), (Some(3), 1 << 20, "oops\n"));
        let error = succeed(&mut shell("echo oops >&2; exit 3"), &wait).unwrap_err().to_string();
        assert_eq!(error, "sh failed:\noops");
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let wait = Patience::default().wait(Duration::from_millis(1));
        let error = run(&mut shell("exec sleep 600"), &wait).unwrap_err();
        assert_eq!(format!("{error:#}"), "sh does not end: not within 0 s");
    }
}
