//! What is wrong with the contents of a stream that is sound by itself.

use std::fmt;

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The object; 0 for the stream as a whole.
    pub object: u64,
    /// What comes of it.
    pub harm: Harm,
    /// What is wrong.
    pub detail: String,
}

/// What comes of it when a machine has received such a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Harm {
    /// The kernel panics, while it receives the stream or when somebody looks.
    Panic,
    /// Receivers refuse the stream, or some of them do.
    Refused,
    /// The file system cannot be mounted.
    Unmountable,
    /// A file cannot be opened, or is not what it should be.
    Lost,
    /// ZFS may well make sense of it, but kiln cannot.
    Unread,
}

impl Harm {
    /// One word for machines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Refused => "refused",
            Self::Unmountable => "unmountable",
            Self::Lost => "lost",
            Self::Unread => "unread",
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panic => "panics the machine that received it",
            Self::Refused => "is refused by who receives it",
            Self::Unmountable => "cannot be mounted",
            Self::Lost => "is lost",
            Self::Unread => "cannot be read by kiln",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.object {
            0 => write!(f, "the stream: {} ({})", self.detail, self.harm),
            object => write!(f, "object {object}: {} ({})", self.detail, self.harm),
        }
    }
}

/// What is wrong with what a stream says of its snapshot.
pub(crate) fn of_snapshot(name: &str, guid: u64, from_guid: u64, snapshots: u64) -> Vec<Finding> {
    let cases = [
        (!name.contains('@'), format!("its name {name:?} is not that of a snapshot: it has no @")),
        (guid == 0, "the GUID of its snapshot is 0".to_owned()),
        (
            guid == from_guid,
            format!(
                "its snapshot and the one underneath have the same GUID {guid:#018x}, so that increments pick either"
            ),
        ),
        (snapshots > 1, format!("it holds {snapshots} snapshots, and imgadm takes exactly one")),
    ];
    let wrong = cases.into_iter().filter(|(holds, _)| *holds);
    wrong.map(|(_, detail)| Finding { object: 0, harm: Harm::Refused, detail }).collect()
}
