//! Readers for values whose format the host defines. One bad entry of a list does not cost the good ones: it is left
//! out and told of.

mod address;
mod hostname;
mod network;
mod nics;

pub use address::{Address, MacAddress, Subnet};
pub use hostname::{HOSTNAME_KEYS, hostname};
pub use network::{Route, resolvers, routes};
pub use nics::{Nic, nics};

use serde_json::Value;

use crate::error::ValueProblem;

/// The most entries that are read of a list. A virtual machine has at most 32 network interfaces.
const MOST_ENTRIES: usize = 256;

/// The most problems that are told of a value.
const MOST_PROBLEMS: usize = 300;

/// The most characters that are told of what was wrong.
const MOST_SHOWN: usize = 60;

/// A list as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries<T> {
    /// The entries that were good.
    pub good: Vec<T>,
    /// What was wrong with others, and with optional parts of good ones: a place such as `[1].mtu`, and why.
    pub problems: Vec<String>,
}

/// Reads the JSON array `text`, each entry with `read`, which gets the list of problems and the place of its entry.
fn entries<T>(
    text: &[u8],
    read: impl Fn(&Value, &mut Problems) -> Option<T>,
) -> Result<Entries<T>, ValueProblem> {
    let array: Vec<Value> = serde_json::from_slice(text).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        ValueProblem::Malformed(format!("{place}: not a JSON array"))
    })?;
    let mut problems = Problems { place: String::new(), list: Vec::new() };
    let mut good = Vec::new();
    for (index, entry) in array.iter().enumerate() {
        problems.place = format!("[{index}]");
        if index == MOST_ENTRIES {
            problems.add("", format_args!("more than {MOST_ENTRIES} entries; the rest is left out"));
            break;
        }
        good.extend(read(entry, &mut problems));
    }
    Ok(Entries { good, problems: problems.list })
}

/// What was wrong so far.
struct Problems {
    place: String,
    list: Vec<String>,
}

impl Problems {
    fn add(&mut self, part: &str, what: impl std::fmt::Display) {
        match self.list.len() {
            0..MOST_PROBLEMS => self.list.push(format!("{}{part}: {what}", self.place)),
            MOST_PROBLEMS => self.list.push("and more".to_owned()),
            _ => {}
        }
    }

    /// What `text` means, or a problem.
    fn parse<T: std::str::FromStr>(&mut self, part: &str, text: &str, what: &str) -> Option<T> {
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.add(part, format_args!("'{}' is no {what}", shown(text)));
        }
        parsed
    }
}

/// A text of the host as it is told to people: its beginning, without control characters.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(MOST_SHOWN).collect();
    short.escape_debug().to_string()
}
