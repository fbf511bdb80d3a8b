#![forbid(unsafe_code)]
//! The SmartOS metadata protocol: how a guest asks its host who it is.
//!
//! The protocol is a conversation of lines over a byte stream: a zone's Unix socket, or the second serial port of a
//! virtual machine. Its specification is "Metadata Protocol Specification (Version 2)" at
//! <https://eng.tritondatacenter.com/mdata/protocol.html>; where this crate does more than that, it follows what the
//! SmartOS host agent (`TritonDataCenter/smartos-live`, `src/vm/lib/metadata/agent.js`) and the original client
//! (`TritonDataCenter/mdata-client`) do.
//!
//! [`wire`] is what both ends share: lines, frames, checksums and encodings. [`host`] is the host's end.

pub mod host;
pub mod wire;
