//! What goes over the line, for both ends of it: lines, requests, frames of version 2, values of version 1.
//!
//! Nothing here reads or writes; everything works on bytes in memory and is bounded by them. Bytes from the other
//! side never panic.

mod base64;
mod crc32;
mod frame;
mod lines;
mod request;
mod v1;

pub use base64::{decode as base64_decode, decode_lenient as base64_decode_lenient, encode as base64_encode};
pub use crc32::crc32;
pub use frame::{Frame, RequestId, decode_request, decode_response, encode, response_length};
pub use lines::{Line, Lines};
pub use request::{Code, Request, Response, Verb, put_fields};
pub use v1::{Progress, ValueReader, encode_value, status};

/// The empty line that clears what a killed predecessor left in the host's line buffer, and proves that somebody
/// answers: the answer is [`status::INVALID_COMMAND`].
pub const PING: &[u8] = b"\n";

/// The question whether the host speaks version 2: [`status::V2_OK`] says yes, [`status::FAILURE`] no.
pub const NEGOTIATE: &[u8] = b"NEGOTIATE V2\n";
