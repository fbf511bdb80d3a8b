//! The one error type of the crate: a stable kind, what is wrong in words, and where in the stream.

use std::borrow::Cow;
use std::io;

/// The result of everything that touches a stream.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of thing went wrong. Programs match on this; people read the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input, the output or the volume failed; the source says how.
    Io,
    /// The input does not begin with a BEGIN record.
    NotAStream,
    /// The input ends before the stream does.
    Truncated,
    /// A record is out of place or a field is out of its range.
    BadRecord,
    /// A checksum inside the stream or at its end does not match the bytes before it.
    Checksum,
    /// The stream is well formed but uses something this crate does not read.
    Unsupported,
    /// The records are sound but do not make a volume ZFS could use.
    BadVolume,
    /// The records are sound but do not make a file system that could be read.
    BadFileSystem,
    /// The stream claims more than the caller's limit.
    SizeLimit,
    /// An incremental stream does not fit the volume it is applied to, or there is no such volume.
    WrongBase,
    /// Bytes follow the end of the stream.
    TrailingData,
    /// The caller of a writer asked for something no stream can hold.
    InvalidInput,
}

/// An error and its place.
#[derive(Debug, thiserror::Error)]
#[error("{detail} (record {record}, at byte {offset} of the stream)")]
pub struct Error {
    kind: ErrorKind,
    detail: Cow<'static, str>,
    record: u64,
    offset: u64,
    #[source]
    source: Option<io::Error>,
}

impl Error {
    /// What sort of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The number of the record concerned; the first BEGIN is record 0.
    pub fn record(&self) -> u64 {
        self.record
    }

    /// The offset of that record from the beginning of the stream, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

/// The place of a record, kept by readers and writers so that an error can name it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Records before this one.
    pub record: u64,
    /// Bytes before this one.
    pub offset: u64,
}

impl Place {
    pub fn error(self, kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Error {
        Error { kind, detail: detail.into(), record: self.record, offset: self.offset, source: None }
    }

    pub fn io(self, detail: impl Into<Cow<'static, str>>, source: io::Error) -> Error {
        Error { source: Some(source), ..self.error(ErrorKind::Io, detail) }
    }
}
