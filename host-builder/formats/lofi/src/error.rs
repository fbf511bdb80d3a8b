//! What can be wrong with a compressed file. Errors of positioned reads travel inside [`io::Error`].

use std::io;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It does not begin with the name of one of lofi's algorithms.
    #[error("this is no file compressed for lofi")]
    NotLofi,
    /// A number in the header makes no sense.
    #[error("the header is damaged")]
    BadHeader,
    /// The index gives a segment a place where it cannot be.
    #[error("the index is damaged")]
    BadIndex,
    /// A segment does not decompress to what it should be.
    #[error("a segment is damaged")]
    BadSegment,
    /// The file ends before its last segment does.
    #[error("the file is cut off")]
    CutOff,
    /// The file cannot be read.
    #[error("the compressed file cannot be read")]
    Device,
}

/// Something wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("{kind} (at byte {offset} of the compressed file)")]
pub struct Error {
    kind: ErrorKind,
    offset: u64,
    #[source]
    source: Option<io::Error>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, offset: u64) -> Self {
        Self { kind, offset, source: None }
    }

    pub(crate) fn of_device(offset: u64, source: io::Error) -> Self {
        Self { kind: ErrorKind::Device, offset, source: Some(source) }
    }

    /// What is wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where in the compressed file, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The error inside one that a read of [`crate::Reader`] returned.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::CutOff => io::ErrorKind::UnexpectedEof,
            ErrorKind::Device => io::ErrorKind::Other,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
