//! Runs a phase in a process of its own and watches over it.
//!
//! SMF runs a method that fails again, and puts its service into maintenance in the end; with `filesystem/smartdc`, that
//! takes network, SSH and console login down with it. A program can always die: of a fault in it, of a full memory, of a
//! signal. So the process that SMF started does next to nothing. The phase runs in a second one; however that ends, the
//! first notes it, tells the owner, and ends with 0. If the storage phase died so, the boot goes on in rescue mode, for
//! nobody knows how far it came.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::arguments::WATCHED;
use crate::boot;
use crate::engine::{Log, Phase};
use crate::files::{self, Owner};
use crate::kept_log;
use crate::phase::storage;
use crate::pipe::Pipe;
use crate::state::{FAILED, PhaseResult, State};
use crate::status;

/// Where images have this program.
pub const PROGRAM: &str = "/lib/svc/method/guest-init";

/// The exit status of a phase that ran to its end while steps of it failed.
pub const SOMETHING_FAILED: u8 = 1;

/// How much of what a phase logs is kept, in bytes.
const LONGEST_LOG: usize = 256 << 10;

/// How long the host may take to answer after a phase died.
const HOST: Duration = Duration::from_secs(10);

/// How often a phase is begun that [is repeated](Phase::is_repeated) when it is killed.
const ATTEMPTS: usize = 2;

/// Runs a phase. With `console`, the console is told what matters. Gives whether everything is as it should be.
pub fn run(phase: &'static Phase, console: bool) -> bool {
    let mut log = Log::new(phase.name, console);
    let mut text = Vec::new();
    let mut attempts = if phase.is_repeated { ATTEMPTS } else { 1 };
    let is_good = loop {
        attempts -= 1;
        let reason = match start(phase) {
            Ok(child) => {
                match follow(child, &mut io::stderr(), &mut text).map(|status| fate(status, &text)) {
                    Ok(Fate::Ended(is_good)) => break is_good,
                    Ok(Fate::Died(reason)) => break note_death(phase, &reason, &mut log),
                    Ok(Fate::Killed(reason)) => reason,
                    Err(error) => format!("it cannot be watched: {error:#}"),
                }
            }
            Err(error) => {
                // Better without a watch than not at all.
                log.line(&format!("cannot start {PROGRAM}: {error}"));
                match boot::run(phase, console) {
                    Ok(is_good) => break is_good,
                    Err(error) => format!("{error:#}"),
                }
            }
        };
        if attempts == 0 {
            break note_death(phase, &reason, &mut log);
        }
        log.console(&format!("WARNING: the phase is run once more: {reason}"));
    };
    if let Err(error) = kept_log::keep(&text, now(), &State::load_or_rescue()) {
        log.line(&format!("this log is not kept: {error:#}"));
    }
    is_good
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn start(phase: &Phase) -> io::Result<Child> {
    Command::new(PROGRAM).args([phase.name, WATCHED]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn()
}

/// Passes on what the process writes to standard error until it ends, and keeps the beginning.
fn follow(mut child: Child, echo: &mut dyn Write, text: &mut Vec<u8>) -> Result<ExitStatus> {
    let mut errors: Pipe<ChildStderr> = Pipe::new(child.stderr.take());
    let mut status = None;
    while !errors.is_closed() && status.is_none() {
        // Something that the owner's script left running may keep it open for ever.
        status = child.try_wait().context("cannot ask for its end")?;
        errors.wait_for(&errors, Duration::from_secs(1))?;
        errors.read_ready(LONGEST_LOG)?;
        // The service's log may be full. There is nobody to tell.
        let _ = echo.write_all(&errors.bytes);
        let room = LONGEST_LOG.saturating_sub(text.len());
        text.extend_from_slice(&errors.bytes[..errors.bytes.len().min(room)]);
        errors.bytes.clear();
    }
    match status {
        Some(status) => Ok(status),
        None => child.wait().context("cannot wait for its end"),
    }
}

/// What became of the process.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It ran to its end; whether all is well.
    Ended(bool),
    /// It did not; why. It would be no better another time.
    Died(String),
    /// A signal ended it; which, and where.
    Killed(String),
}

fn fate(status: ExitStatus, text: &[u8]) -> Fate {
    let how = match (status.code(), status.signal()) {
        (Some(0), _) => return Fate::Ended(true),
        (Some(code), _) if code == i32::from(SOMETHING_FAILED) => return Fate::Ended(false),
        (Some(code), _) => format!("it ended with status {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended in an unknown way".to_owned(),
    };
    let text = String::from_utf8_lossy(text);
    let reason = match text.lines().rfind(|line| !line.trim().is_empty()) {
        Some(last) => format!("{how} after it said: {}", last.chars().take(300).collect::<String>()),
        None => how,
    };
    if status.signal().is_some() { Fate::Killed(reason) } else { Fate::Died(reason) }
}

/// Notes that a phase did not run to its end.
fn note_death(phase: &Phase, reason: &str, log: &mut Log) -> bool {
    log.console(&format!("ERROR: the phase failed: {reason}"));
    let before = State::load_or_rescue();
    let mut state = before.clone();
    let failed = vec![("phase".to_owned(), reason.to_owned())];
    state.record(PhaseResult { failed, ended: now(), ..PhaseResult::of(phase.name) });
    if phase.name == storage::PHASE.name && state.rescue.is_none() {
        state.rescue = Some(format!("the storage phase failed: {reason}"));
        let note = format!("the storage phase failed: {reason}\n");
        if let Err(error) = files::replace(Path::new(FAILED), note.as_bytes(), Owner::root(0o644)) {
            log.line(&format!("cannot write {FAILED}: {error}"));
        }
    }
    if let Err(error) = state.save(&before) {
        log.console(&format!("ERROR: what happened is not noted: {error:#}"));
    }
    status::tell_host(&state, &mut boot::metadata(HOST), log);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(script: &str) -> (Fate, Vec<u8>) {
        let child =
            Command::new("/bin/sh").args(["-c", script]).stderr(Stdio::piped()).spawn().expect("started");
        let mut text = Vec::new();
        let mut echo = Vec::new();
        let status = follow(child, &mut echo, &mut text).expect("followed");
        assert!(echo.starts_with(&text));
        (fate(status, &text), text)
    }

    #[test]
    fn endings_are_told_apart() {
        assert_eq!(of("echo fine >&2").0, Fate::Ended(true));
        assert_eq!(of("exit 1").0, Fate::Ended(false));
        assert_eq!(of("exit 101").0, Fate::Died("it ended with status 101".to_owned()));
        let killed = "it was ended by signal 6 after it said: it panicked".to_owned();
        assert_eq!(of("echo one >&2; echo it panicked >&2; echo >&2; kill -ABRT $$").0, Fate::Killed(killed));
    }

    #[test]
    fn a_process_that_is_left_behind_is_not_waited_for() {
        // It holds standard error open until it is told to end, which is after this test has found out.
        let folder = tempfile::tempdir().expect("a folder");
        let fifo = folder.path().join("end");
        assert!(Command::new("mkfifo").arg(&fifo).status().expect("started").success());
        let (fate, _) = of(&format!("cat {} >&2 & exit 1", fifo.display()));
        assert_eq!(fate, Fate::Ended(false));
        std::fs::write(&fifo, "").expect("it is there still, and ends now");
    }

    #[test]
    fn the_log_that_is_kept_is_bounded() {
        let (fate, text) = of("i=0; while [ $i -lt 40000 ]; do echo 0123456789 >&2; i=$((i+1)); done");
        assert_eq!(fate, Fate::Ended(true));
        assert_eq!(text.len(), LONGEST_LOG);
    }
}
