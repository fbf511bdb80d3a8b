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
    /// The command does its work and then does not end; it prints nothing.
    HangAfter,
    /// The command does its work and then prints these bytes on standard output in place of its own.
    Garbage(Vec<u8>),
    /// The command does its work and then prints the first half of what it has to say.
    HalfSaid,
    /// The command does its work and then prints what it has to say with another digit, the next one, in place of each.
    OtherDigits,
    /// A signal ends the command when it is half through, as far as that differs from nothing, or has done its work; it
    /// prints nothing.
    Abort {
        /// Whether only half of it is done.
        half: bool,
    },
    /// The machine loses power when the command is half through. What half means is the command's affair; most do nothing.
    DieHalf,
    /// The machine loses power when the command has done its work, before its caller learns of it.
    DieAfter,
}

impl Action {
    /// What a command prints that has this to say.
    pub fn distort(&self, mut said: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Garbage(bytes) => bytes.clone(),
            Self::HalfSaid => {
                said.truncate(said.len() / 2);
                said
            }
            Self::OtherDigits => {
                for byte in said.iter_mut().filter(|byte| byte.is_ascii_digit()) {
                    *byte = b'0' + (*byte - b'0' + 1) % 10;
                }
                said
            }
            _ => said,
        }
    }
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
    fn what_commands_say_is_distorted() {
        let distorted = |action: &Action| action.distort(b"zones\t9041\n".to_vec());
        assert_eq!(distorted(&Action::HalfSaid), b"zones");
        assert_eq!(distorted(&Action::OtherDigits), b"zones\t0152\n");
        assert_eq!(distorted(&Action::Garbage(Vec::new())), b"");
        assert_eq!(distorted(&Action::Hang), b"zones\t9041\n");
    }

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
