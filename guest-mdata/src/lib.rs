#![forbid(unsafe_code)]
//! The SmartOS metadata protocol: how a guest asks its host who it is.
//!
//! The protocol is a conversation of lines over a byte stream: a zone's Unix socket, or the second serial port of a
//! virtual machine. Its specification is "Metadata Protocol Specification (Version 2)" at
//! <https://eng.tritondatacenter.com/mdata/protocol.html>; where this crate does more than that, it follows what the
//! SmartOS host agent (`TritonDataCenter/smartos-live`, `src/vm/lib/metadata/agent.js`) and the original client
//! (`TritonDataCenter/mdata-client`) do.
//!
//! * [`wire`] is what both ends share: lines, frames, checksums and encodings.
//! * [`channel`] are the ways to the host, and how a guest knows which is its own.
//! * [`session`] is the conversation. It takes its clock and its deadlines as arguments.
//! * [`source`] is what users of metadata see: [`source::MetadataSource`], of which a session is one.
//! * [`host`] is the host's end.
//! * [`mod@values`] are readers for the values whose format the host defines, such as `sdc:nics`.

pub mod channel;
pub mod clock;
pub mod error;
pub mod host;
pub mod session;
pub mod source;
pub mod values;
pub mod wire;

// What the tests need to start as an illumos executable.
#[cfg(test)]
use guest_rt as _;

pub use clock::{Clock, Deadline, Monotonic};
pub use error::{ChannelProblem, Error, KeyProblem, Unusable, ValueProblem};
pub use session::Session;
pub use source::MetadataSource;
