//! What can go wrong, told apart by what failed: the channel, the key or the value.

use std::io;

use crate::wire::Verb;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host could not be asked at all. Another key would fare no better.
    #[error("{channel}")]
    Channel {
        /// The channel's name: a device, `unix:PATH` or `tcp:ADDRESS`.
        channel: String,
        /// What is wrong with it.
        #[source]
        problem: ChannelProblem,
    },
    /// The host cannot or will not do this with this key. Another key may do.
    #[error("{problem}")]
    Key {
        /// The key, or `None` if all were asked for.
        key: Option<String>,
        /// What is wrong with it.
        problem: KeyProblem,
    },
    /// The key is there, but its value cannot be had or stored.
    #[error("{problem}")]
    Value {
        /// The key, or `None` if all were asked for.
        key: Option<String>,
        /// What is wrong with its value.
        problem: ValueProblem,
    },
}

/// What is wrong with a channel.
#[derive(Debug, thiserror::Error)]
pub enum ChannelProblem {
    /// It cannot be opened, and waiting will not help.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The deadline passed, and this is why.
    #[error("no answer in time: {0}")]
    Deadline(String),
}

/// Why a channel can never be opened.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct Unusable {
    /// What could not be done.
    pub doing: &'static str,
    /// Why.
    pub source: io::Error,
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// It is empty or nothing but white space, which the host trims: it would not answer.
    #[error("the key is empty")]
    Empty,
    /// It has a line break, which version 1 and lists of keys cannot say.
    #[error("the key has a line break in it")]
    LineBreak,
    /// The host said no; this is its text, which may be empty.
    #[error("{0}")]
    Refused(String),
    /// The host says that there is nothing to list.
    #[error("there is no metadata")]
    NothingToList,
    /// The host is older than the request: it speaks version 1 only.
    #[error("the host does not support {0}")]
    Unsupported(Verb),
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueProblem {
    /// No host can store the empty value.
    #[error("the host cannot store an empty value; delete the key instead")]
    Empty,
    /// It is larger than the limit, in bytes.
    #[error("the value is larger than {0} bytes")]
    TooLarge(usize),
    /// What came is not base64, though its checksum is right.
    #[error("the host sent a payload that is not base64")]
    NotBase64,
    /// It is not what this key holds by definition.
    #[error("{0}")]
    Malformed(String),
}
