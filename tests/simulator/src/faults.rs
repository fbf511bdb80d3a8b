//! Faults to inject: `faults.json`.

use serde::{Deserialize, Serialize};

/// A fault: which call of which command, and what goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The command's name, or `*` for any.
    pub command: String,
    /// Words that must occur in the arguments, in this order.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Which of the matching calls of the boot, counted from 1; 0 for every one.
    #[serde(default)]
    pub nth: u64,
    /// What happens.
    pub action: Action,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The command does nothing and ends with a status and a text on standard error.
    Fail {
        /// The exit status.
        status: u8,
        /// What it says.
        stderr: String,
    },
    /// The command does nothing and does not end (it sleeps for an hour).
    Hang,
    /// The command does its work and then prints these bytes on standard output in place of its own.
    Garbage(Vec<u8>),
    /// The machine loses power when the command is half through. What half means is the command's affair; most do nothing.
    DieHalf,
    /// The machine loses power when the command has done its work, before its caller learns of it.
    DieAfter,
}

impl Fault {
    /// Whether the call is one that the fault is about; `nth` is not looked at.
    pub fn matches(&self, command: &str, arguments: &[&str]) -> bool {
        let mut rest = arguments.iter();
        (self.command == "*" || self.command == command)
            && self.arguments.iter().all(|wanted| rest.any(|argument| argument == wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_match_in_order_with_others_between() {
        let fault = Fault {
            command: "zfs".into(),
            arguments: vec!["create".into(), "zones/var".into()],
            nth: 0,
            action: Action::Hang,
        };
        assert!(fault.matches("zfs", &["create", "-o", "mountpoint=legacy", "zones/var"]));
        assert!(!fault.matches("zfs", &["zones/var", "create"]));
        assert!(!fault.matches("zpool", &["create", "zones/var"]));
    }
}
