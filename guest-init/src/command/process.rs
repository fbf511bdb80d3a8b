//! Programs as processes.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_mdata::Clock;

use crate::pipe::Pipe;

use super::{Commands, Effect, Invocation, LONGEST_OUTPUT, Output};

/// The environment of every program: nothing that was inherited can change what it does or says.
const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/usr/sbin:/usr/bin:/sbin"), ("LC_ALL", "C")];

/// How long the end of a program that closed its output is waited for, at a time.
const PAUSE: Duration = Duration::from_millis(20);

/// How long output is waited for, at a time. So much later it is noticed that a program ended whose output another one
/// keeps open.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// How often the end of a program that was killed is looked for.
const PAUSES_FOR_THE_KILLED: usize = 50;

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
        let output = running
            .collect(self.clock, end, invocation.only_beginning)
            .with_context(|| invocation.to_string())?;
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
    /// Reads what the program writes until it ends, or until `end`. When only the beginning of its output matters, the rest is
    /// read and thrown away.
    fn collect(&mut self, clock: &dyn Clock, end: Duration, only_beginning: bool) -> Result<Output> {
        let mut stdout = Pipe::new(self.child.stdout.take());
        let mut stderr = Pipe::new(self.child.stderr.take());
        let status = loop {
            // A program that ended may have left another behind that keeps its output open; nobody waits for that one.
            let status = self.child.try_wait()?;
            self.over = status.is_some();
            stdout.read_ready(LONGEST_OUTPUT)?;
            if only_beginning {
                stdout.bytes.truncate(LONGEST_OUTPUT);
            }
            stderr.read_ready(LONGEST_OUTPUT)?;
            if stdout.bytes.len().max(stderr.bytes.len()) > LONGEST_OUTPUT {
                bail!("wrote more than {LONGEST_OUTPUT} bytes");
            }
            if let Some(status) = status {
                break status;
            }
            let left = end.saturating_sub(clock.now());
            if left.is_zero() {
                bail!("still running at its limit");
            }
            if stdout.is_closed() && stderr.is_closed() {
                clock.sleep(left.min(PAUSE));
            } else {
                stdout.wait_for(&stderr, left.min(LONGEST_WAIT))?;
            }
        };
        match (status.code(), status.signal()) {
            (Some(status), _) => Ok(Output { status, stdout: stdout.bytes, stderr: stderr.bytes }),
            (None, Some(signal)) => bail!("ended by signal {signal}"),
            (None, None) => bail!("ended in an unknown way"),
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
        // It ends at once, unless it hangs inside the kernel. That one cannot be waited for, and is left to init.
        for _ in 0..PAUSES_FOR_THE_KILLED {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use guest_mdata::Monotonic;

    use super::*;

    fn run_within(limit: Duration, script: &str) -> Result<Output> {
        let clock = Monotonic::starting_now();
        Processes::new(&clock, false).run(&Invocation::reads("/bin/sh", ["-c", script]).within(limit))
    }

    fn run(script: &str) -> Result<Output> {
        run_within(Duration::from_mins(5), script)
    }

    fn complaint(script: &str) -> String {
        format!("{:#}", run(script).expect_err("an error"))
    }

    #[test]
    fn output_and_status_come_whole() {
        let output = run("echo out; echo err >&2; exit 7").expect("run");
        assert_eq!(output, Output { status: 7, stdout: b"out\n".into(), stderr: b"err\n".into() });
        // More than a pipe holds, on both at once.
        let output = run("head -c 300000 /dev/zero >&2; head -c 400000 /dev/zero").expect("run");
        assert_eq!((output.stdout.len(), output.stderr.len()), (400_000, 300_000));
        let output = run("printf '\\377\\000\\033'").expect("run");
        assert_eq!(output.stdout, b"\xff\x00\x1b");
    }

    #[test]
    fn nothing_is_inherited() {
        let output = run("env | grep -v ^_= | grep -v ^PWD= | sort; pwd; cat").expect("run");
        let text = String::from_utf8(output.stdout).expect("text");
        // Shells count themselves, and the shim hands its own variables on to every program.
        let ours = |line: &&str| !line.starts_with("SHLVL=") && !line.starts_with("ABI_SHIM_");
        let lines: Vec<&str> = text.lines().filter(ours).collect();
        assert_eq!(lines, ["LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin", "/"]);
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("started").success());
        // Both wait for a writer that never comes, and hold an end of the first pipe.
        let script = format!("cat {0} & exec cat {0}", fifo.display());
        let error = run_within(Duration::from_millis(300), &script).expect_err("it hangs");
        assert!(format!("{error:#}").ends_with("still running at its limit"), "{error:#}");
        // As long as there is a reader, this opens it. What was killed takes a moment to be gone.
        let is_read = || {
            let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
            !matches!(rustix::fs::open(&fifo, flags, rustix::fs::Mode::empty()), Err(rustix::io::Errno::NXIO))
        };
        let is_gone = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            !is_read()
        });
        assert!(is_gone, "a process is left");
    }

    #[test]
    fn a_program_that_closed_its_output_is_waited_for() {
        let output = run("exec >&- 2>&-; sleep 0.1; exit 3").expect("run");
        assert_eq!(output.status, 3);
    }

    #[test]
    fn a_program_left_behind_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("started").success());
        let output = run(&format!("cat {} & echo done; exit 0", fifo.display())).expect("run");
        assert_eq!(output.stdout, b"done\n");
        std::fs::write(&fifo, "").expect("it is there still, and ends now");
    }

    #[test]
    fn endless_output_is_stopped() {
        assert!(complaint("exec yes").ends_with("wrote more than 4194304 bytes"));
        assert!(complaint("exec yes >&2").ends_with("wrote more than 4194304 bytes"));
    }

    #[test]
    fn of_a_long_output_the_beginning_is_kept_where_that_is_enough() {
        let clock = Monotonic::starting_now();
        let script = "echo begins; head -c 5000000 /dev/zero; echo is read to its end >&2";
        let invocation = Invocation::reads("/bin/sh", ["-c", script]).beginning();
        let output = Processes::new(&clock, false).run(&invocation).expect("run");
        assert_eq!(output.stdout.len(), LONGEST_OUTPUT);
        assert!(output.stdout.starts_with(b"begins\n\0"));
        assert_eq!((output.status, &output.stderr[..]), (0, &b"is read to its end\n"[..]));
        let endless = Invocation::reads("/bin/sh", ["-c", "exec yes"]).beginning();
        let endless = endless.within(Duration::from_millis(300));
        let error = Processes::new(&clock, false).run(&endless).expect_err("it does not end");
        assert!(format!("{error:#}").ends_with("still running at its limit"), "{error:#}");
    }

    #[test]
    fn other_endings_are_errors_that_name_the_program() {
        assert_eq!(complaint("kill -KILL $$"), "/bin/sh -c kill -KILL $$: ended by signal 9");
        let clock = Monotonic::starting_now();
        let missing = Invocation::reads::<&str>("/nowhere/zpool", []);
        let error = Processes::new(&clock, false).run(&missing).expect_err("not there");
        assert!(format!("{error:#}").starts_with("cannot start /nowhere/zpool: "), "{error:#}");
    }

    #[test]
    fn no_process_is_left() {
        for script in ["true", "exec yes", "kill -9 $$", "exec sleep 100"] {
            let clock = Monotonic::starting_now();
            let invocation = Invocation::reads("/bin/sh", ["-c", script]).within(Duration::from_millis(200));
            let child =
                Command::new("/bin/sh").args(["-c", script]).stdout(Stdio::piped()).process_group(0).spawn();
            let mut running = Running { child: child.expect("started"), over: false };
            let process = rustix::process::Pid::from_raw(running.child.id() as i32).expect("a number");
            let _ = running.collect(&clock, clock.now() + invocation.limit, false);
            drop(running);
            let left = rustix::process::waitpid(Some(process), rustix::process::WaitOptions::NOHANG);
            assert_eq!(left.expect_err("no such child"), rustix::io::Errno::CHILD, "{script}");
        }
    }

    #[test]
    fn a_step_ends_at_its_deadline_and_a_plan_changes_nothing() {
        let clock = Monotonic::starting_now();
        let mut commands = Processes::new(&clock, false);
        commands.end_by(clock.now() + Duration::from_millis(200));
        let error = commands.run(&Invocation::reads("/bin/sleep", ["1000"])).expect_err("too long");
        assert_eq!(format!("{error:#}"), "/bin/sleep 1000: still running at its limit");
        let mut plan = Processes::new(&clock, true);
        let error = plan.run(&Invocation::changes("/bin/echo", ["changed"])).expect_err("a change");
        assert_eq!(error.to_string(), "/bin/echo changed would change something");
        assert_eq!(plan.run(&Invocation::reads("/bin/echo", ["read"])).expect("run").stdout, b"read\n");
    }
}
