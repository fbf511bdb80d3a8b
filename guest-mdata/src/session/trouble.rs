//! What keeps a session from its answer, in words for the one who waits.

use std::fmt;

use crate::wire::Verb;

/// Why the last attempt ended, or what the present one waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It cannot be opened at present.
    Closed(String),
    /// Another process has the lock; its id, if known.
    Held(Option<i32>),
    /// No answer to a ping.
    NoPing,
    /// No answer to the question for the version.
    NoVersion,
    /// No answer to a request.
    NoAnswer(Verb),
    /// The line is never quiet.
    Noise,
    /// The other side closed the connection.
    HungUp,
    /// Reading or writing failed.
    Broken(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(why) => write!(formatter, "it cannot be opened: {why}"),
            Self::Held(Some(holder)) => write!(formatter, "process {holder} has it locked"),
            Self::Held(None) => formatter.write_str("another process has it locked"),
            Self::NoPing => formatter.write_str("nobody answers on it"),
            Self::NoVersion => formatter.write_str("the host does not say which version it speaks"),
            Self::NoAnswer(verb) => write!(formatter, "the host does not answer to {verb}"),
            Self::Noise => formatter.write_str("it is never quiet"),
            Self::HungUp => formatter.write_str("the other side closes the connection"),
            Self::Broken(why) => write!(formatter, "it fails: {why}"),
        }
    }
}

/// From how many lines on nobody asked for the noise is worth telling. A late host may cause a few.
const TELLING: u64 = 8;

/// How much of a line is kept to show.
const SHOWN: usize = 40;

/// Lines that nobody asked for.
#[derive(Debug, Default)]
pub struct Noise {
    lines: u64,
    last: Vec<u8>,
}

impl Noise {
    /// Counts one.
    pub fn heard(&mut self, line: &[u8]) {
        self.lines += 1;
        self.last = line[..line.len().min(SHOWN)].to_vec();
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines < TELLING {
            return Ok(());
        }
        write!(
            formatter,
            "; {} lines came that nobody asked for, the last \"{}\": another program, perhaps a getty, uses the port",
            self.lines,
            self.last.escape_ascii()
        )
    }
}
