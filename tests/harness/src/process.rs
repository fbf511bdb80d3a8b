//! Running a program with a deadline.
//!
//! A deadline is the only use of a clock in the harness: it ends what hangs, and no test result depends on it.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(20);

/// A program that is killed when this value goes, so that a panicking test leaves none behind.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts `command`, with its standard streams as the caller set them.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name })
    }

    /// The program's process, for its standard streams.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the program to end; `None` when `deadline` passes first. It still runs then.
    pub fn wait(&mut self, deadline: Duration) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            let status = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
            if status.is_some() || start.elapsed() >= deadline {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail harmlessly when the program has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` without standard input and gives what it wrote and its exit status.
///
/// # Errors
/// When it cannot be started, and when `deadline` passes: it is killed then, and the error shows what it had written
/// to its standard error.
pub fn run(command: &mut Command, deadline: Duration) -> Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running::start(command)?;
    let stdout = collect(running.child().stdout.take());
    let stderr = collect(running.child().stderr.take());
    let status = running.wait(deadline)?;
    let name = running.name.clone();
    drop(running);
    let join = |handle: thread::JoinHandle<io::Result<Vec<u8>>>| {
        handle.join().expect("a reader does not panic").with_context(|| format!("cannot read from {name}"))
    };
    let (stdout, stderr) = (join(stdout)?, join(stderr)?);
    let Some(status) = status else {
        let stderr = String::from_utf8_lossy(&stderr);
        bail!("{name} did not end within {} s; its standard error:\n{stderr}", deadline.as_secs());
    };
    Ok(Output { status, stdout, stderr })
}

/// Reads a stream to its end in a thread of its own, so that the program never waits for a full pipe.
fn collect<R: Read + Send + 'static>(stream: Option<R>) -> thread::JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_status_are_kept() {
        let output = run(&mut shell("echo out; echo err >&2; exit 3"), Duration::from_mins(1)).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, b"err\n");
    }

    #[test]
    fn more_output_than_a_pipe_holds_does_not_block() {
        let output = run(&mut shell("head -c 1000000 /dev/zero"), Duration::from_mins(1)).unwrap();
        assert_eq!(output.stdout.len(), 1_000_000);
    }

    #[test]
    fn a_program_that_hangs_is_killed_and_its_words_are_shown() {
        let error = run(&mut shell("echo stuck >&2; exec sleep 600"), Duration::from_secs(2)).unwrap_err();
        assert!(error.to_string().contains("stuck"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = run(&mut Command::new("/nonexistent/program"), Duration::ZERO).unwrap_err();
        assert_eq!(error.to_string(), "cannot start /nonexistent/program");
    }
}
