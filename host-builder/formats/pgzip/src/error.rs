//! Errors of the reader. They travel inside [`io::Error`] because the reader is an [`io::Read`].

use std::io;

/// What is wrong with compressed input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input does not begin like a gzip file.
    #[error("this is not gzip data")]
    NotGzip,
    /// A member's header asks for something gzip does not have.
    #[error("a gzip header is damaged or of an unknown kind")]
    BadHeader,
    /// The compressed data is not deflate data.
    #[error("the gzip data is damaged")]
    BadData,
    /// A member's data does not have the checksum and length it ends with.
    #[error("the checksum of the gzip data is wrong")]
    Checksum,
    /// The input ends inside a member.
    #[error("the gzip data is cut off")]
    Truncated,
}

/// An error in compressed input and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {offset} of the compressed data)")]
pub struct Error {
    kind: ErrorKind,
    offset: u64,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, offset: u64) -> Self {
        Self { kind, offset }
    }

    /// What is wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it was noticed: a number of bytes from the beginning of the compressed input.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The error inside one that [`crate::Reader`] returned; `None` when it is the input's own.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::Truncated => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
