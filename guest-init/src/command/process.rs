//! Programs as processes.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_mdata::Clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Commands, Effect, Invocation, LONGEST_OUTPUT, Output};

/// The environment of every program: nothing that was inherited can change what it does or says.
const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/usr/sbin:/usr/bin:/sbin"), ("LC_ALL", "C")];

/// How long the end of a program is waited for after it closed its output, at a time.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs programs of the system.
pub struct Processes<'a> {
    clock: &'a dyn Clock,
    /// The moment when the step that is being done must be over.
    deadline: Duration,
    /// Whether programs that change something are refused.
    only_reads: bool,
}

impl<'a> Processes<'a> {
    /// With a clock to measure limits by. When `only_reads`, programs that change something are not started: that is an
    /// error in the step that asked for it.
    pub fn new(clock: &'a dyn Clock, only_reads: bool) -> Self {
        Self { clock, deadline: Duration::MAX, only_reads }
    }
}

impl Commands for Processes<'_> {
    fn run(&mut self, invocation: &Invocation) -> Result<Output> {
        if self.only_reads && invocation.effect == Effect::Changes {
            bail!("{invocation} would change something");
        }
        let end = self.deadline.min(self.clock.now().saturating_add(invocation.limit));
        let child = Command::new(invocation.program)
            .args(&invocation.arguments)
            .env_clear()
            .envs(ENVIRONMENT)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it started can be ended with it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", invocation.program))?;
        let mut running = Running { child, over: false };
        let output = running.collect(self.clock, end).with_context(|| invocation.to_string())?;
        Ok(output)
    }

    fn end_by(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }
}

/// A program that has been started. It does not outlive this.
struct Running {
    child: Child,
    over: bool,
}

impl Running {
    /// Reads what the program writes until it ends, or until `end`.
    fn collect(&mut self, clock: &dyn Clock, end: Duration) -> Result<Output> {
        let mut stdout = Pipe::new(self.child.stdout.take());
        let mut stderr = Pipe::new(self.child.stderr.take());
        while !(stdout.is_closed() && stderr.is_closed()) {
            // A program that ended may have left another behind that keeps its output open; nobody waits for that one.
            if self.child.try_wait()?.is_some() {
                break;
            }
            let left = end.saturating_sub(clock.now());
            if left.is_zero() {
                bail!("still running at its limit");
            }
            wait_for((&stdout, &stderr), left.min(Duration::from_secs(1)))?;
            stdout.read_ready()?;
            stderr.read_ready()?;
        }
        let status = self.end(clock, end)?;
        stdout.read_ready()?;
        stderr.read_ready()?;
        match (status.code(), status.signal()) {
            (Some(status), _) => Ok(Output { status, stdout: stdout.bytes, stderr: stderr.bytes }),
            (None, Some(signal)) => bail!("ended by signal {signal}"),
            (None, None) => bail!("ended in an unknown way"),
        }
    }

    fn end(&mut self, clock: &dyn Clock, end: Duration) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.over = true;
                return Ok(status);
            }
            if clock.now() >= end {
                bail!("still running at its limit");
            }
            clock.sleep(PAUSE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            // It may have ended meanwhile; then there is nothing to end.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        // A program that hangs inside the kernel cannot be waited for; the process is then left to init.
        let _ = self.child.try_wait();
    }
}

/// One output of a program.
struct Pipe<R> {
    source: Option<R>,
    bytes: Vec<u8>,
}

impl<R: Read + AsFd> Pipe<R> {
    fn new(source: Option<R>) -> Self {
        Self { source, bytes: Vec::new() }
    }

    fn is_closed(&self) -> bool {
        self.source.is_none()
    }

    /// Reads what is there, without waiting.
    fn read_ready(&mut self) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        while let Some(source) = &mut self.source {
            if !is_readable(source.as_fd())? {
                break;
            }
            match source.read(&mut buffer) {
                Ok(0) => self.source = None,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read its output"),
            }
            if self.bytes.len() > LONGEST_OUTPUT {
                bail!("wrote more than {LONGEST_OUTPUT} bytes");
            }
        }
        Ok(())
    }
}

fn wait_for<O: Read + AsFd, E: Read + AsFd>(
    (stdout, stderr): (&Pipe<O>, &Pipe<E>),
    longest: Duration,
) -> Result<()> {
    let mut descriptors: Vec<PollFd<'_>> = Vec::with_capacity(2);
    if let Some(source) = &stdout.source {
        descriptors.push(PollFd::new(source, PollFlags::IN));
    }
    if let Some(source) = &stderr.source {
        descriptors.push(PollFd::new(source, PollFlags::IN));
    }
    poll_until(&mut descriptors, longest)?;
    Ok(())
}

fn is_readable(descriptor: BorrowedFd<'_>) -> Result<bool> {
    let mut descriptors = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    Ok(poll_until(&mut descriptors, Duration::ZERO)? > 0)
}

fn poll_until(descriptors: &mut [PollFd<'_>], longest: Duration) -> Result<usize> {
    let longest = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: i64::from(longest.subsec_nanos()) };
    match poll(descriptors, Some(&longest)) {
        Err(rustix::io::Errno::INTR) => Ok(0),
        result => result.context("cannot wait for its output"),
    }
}
