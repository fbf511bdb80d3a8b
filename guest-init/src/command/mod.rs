//! External programs: how they are started, and a module for each that knows its arguments and reads its output.
//!
//! No shell is involved anywhere: a program gets its arguments as they are, an environment of two variables, and a
//! deadline.

pub mod bootparams;
pub mod devfsadm;
pub mod dladm;
#[cfg(test)]
pub mod double;
pub mod dumpadm;
pub mod hostname;
pub mod ifconfig;
pub mod imgadm;
pub mod ipf;
pub mod ipfstat;
pub mod ipnat;
pub mod mount;
pub mod ping;
mod process;
pub mod route;
pub mod routeadm;
pub mod svcadm;
pub mod svccfg;
pub mod swap;
pub mod vmadm;
pub mod zfs;
pub mod zpool;

pub use process::Processes;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};

/// Whether a program changes anything outside itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It only looks. It may be run to find out what would be done.
    Reads,
    /// It changes something.
    Changes,
}

/// A program to run, with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Its absolute path.
    pub program: &'static str,
    /// Its arguments, without its name.
    pub arguments: Vec<OsString>,
    /// Whether it changes anything.
    pub effect: Effect,
    /// How long it may take, at most.
    pub limit: Duration,
    /// Whether only the beginning of a long output matters, and the rest may be thrown away.
    pub only_beginning: bool,
}

impl Invocation {
    /// A program that only looks, and may take a minute.
    pub fn reads<A: AsRef<OsStr>>(program: &'static str, arguments: impl IntoIterator<Item = A>) -> Self {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let limit = Duration::from_mins(1);
        Self { program, arguments, effect: Effect::Reads, limit, only_beginning: false }
    }

    /// A program that changes something, and may take a minute.
    pub fn changes<A: AsRef<OsStr>>(program: &'static str, arguments: impl IntoIterator<Item = A>) -> Self {
        Self { effect: Effect::Changes, ..Self::reads(program, arguments) }
    }

    /// The same with another limit.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same, when what counts comes first in its output: what is longer than [`LONGEST_OUTPUT`] is cut off there, and is
    /// no error.
    #[must_use]
    pub fn beginning(mut self) -> Self {
        self.only_beginning = true;
        self
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program)?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {}", argument.to_string_lossy().escape_debug()))
    }
}

/// What a program that ended by itself left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard output, at most [`LONGEST_OUTPUT`] bytes.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, at most [`LONGEST_OUTPUT`] bytes.
    pub stderr: Vec<u8>,
}

/// The longest output of a program, in bytes; one that writes more is stopped, unless only the beginning matters.
pub const LONGEST_OUTPUT: usize = 4 << 20;

impl Output {
    /// Standard output as text, if the program succeeded. The error tells what it complained about.
    pub fn text(self, invocation: &Invocation) -> Result<String> {
        if self.status != 0 {
            bail!("{invocation} ended with status {}: {}", self.status, self.complaint());
        }
        match String::from_utf8(self.stdout) {
            Ok(text) => Ok(text),
            Err(_) => bail!("{invocation} wrote something that is not text"),
        }
    }

    /// What the program complained about, on one line of at most 300 characters, from standard error or else from standard
    /// output.
    pub fn complaint(&self) -> String {
        let text = if self.stderr.is_empty() { &self.stdout } else { &self.stderr };
        let text = String::from_utf8_lossy(text);
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.is_empty() {
            return "it said nothing".to_owned();
        }
        let printable = |character: char| if character.is_control() { '?' } else { character };
        line.chars().take(300).map(printable).collect()
    }
}

/// Starts programs.
pub trait Commands {
    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it cannot be started, is still running at its limit (then it is killed), was ended by a signal, or writes too
    /// much. Whatever its exit status, a program that ended by itself is no error.
    fn run(&mut self, invocation: &Invocation) -> Result<Output>;

    /// From now on, no program runs past this moment of the clock, whatever its own limit.
    fn end_by(&mut self, deadline: Duration);
}

impl dyn Commands + '_ {
    /// Runs a program that must succeed, and gives its standard output.
    ///
    /// # Errors
    /// As [`Commands::run`], and when its status is not 0.
    pub fn text(&mut self, invocation: &Invocation) -> Result<String> {
        self.run(invocation)?.text(invocation)
    }
}
