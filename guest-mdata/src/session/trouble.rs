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
    /// Nothing but lines that are no answer to a ping.
    Garbage,
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
            Self::Garbage => formatter.write_str("what answers on it is no metadata host"),
            Self::NoVersion => formatter.write_str("the host does not say which version it speaks"),
            Self::NoAnswer(verb) => write!(formatter, "the host does not answer to {verb}"),
            Self::Noise => formatter.write_str("it is never quiet"),
            Self::HungUp => formatter.write_str("the other side closes the connection"),
            Self::Broken(why) => write!(formatter, "it fails: {why}"),
        }
    }
}

impl Trouble {
    /// What the one who waited in vain can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Closed(_) | Self::NoPing | Self::HungUp | Self::Broken(_) => {
                "see that the host serves metadata there, or name another channel"
            }
            Self::Held(_) => "wait for it, or end it if it hangs",
            Self::NoVersion | Self::NoAnswer(_) => "allow more time, or look into the host's log",
            Self::Garbage | Self::Noise => "end what else uses it, or name another channel",
        }
    }
}

/// From how many lines on that nobody asked for another program is suspected. A late host may cause a few.
const SUSPICIOUS: u64 = 8;

/// How much of a line is kept to show.
const SHOWN: usize = 40;

/// Lines that nobody asked for.
#[derive(Debug, Clone, Default)]
pub struct Noise {
    lines: u64,
    last: Vec<u8>,
}

impl Noise {
    /// Whether there was any.
    pub fn is_any(&self) -> bool {
        self.lines > 0
    }

    /// Counts one.
    pub fn heard(&mut self, line: &[u8]) {
        self.lines += 1;
        self.last = line[..line.len().min(SHOWN)].to_vec();
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last.escape_ascii();
        match self.lines {
            0 => Ok(()),
            1 => write!(formatter, "; a line came that nobody asked for: \"{last}\""),
            lines => write!(formatter, "; {lines} lines came that nobody asked for, the last \"{last}\""),
        }?;
        if self.lines >= SUSPICIOUS {
            formatter.write_str(": another program, perhaps a getty, uses the port")?;
        }
        Ok(())
    }
}
