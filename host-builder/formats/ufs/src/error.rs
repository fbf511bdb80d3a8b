//! What can go wrong, as a stable kind, the place it was found at, and the error beneath it.

use std::fmt;
use std::io;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation was refused or failed. The kinds are stable; callers may match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The device under the file system failed to read or write.
    Device,
    /// The reader that was to supply a file's contents failed.
    Source,
    /// Neither magic number of the family is in the superblock.
    NotUfs,
    /// The superblock is in big-endian order: a SPARC file system.
    BigEndian,
    /// The multi-terabyte variant (`fs_magic` 0xdecade), whose allocation rules differ.
    MultiTerabyte,
    /// `fs_version` is neither 0 nor 2: BSD FFS keeps other data in that word.
    UnsupportedVersion,
    /// `fs_clean` or `fs_state` says that the last writer did not finish.
    Dirty,
    /// The file system has a live log, whose contents this crate does not replay.
    Logging,
    /// `fs_si` says that the summary area is not to be trusted.
    StaleSummary,
    /// A count or size of the superblock contradicts the others or the format's limits.
    ImpossibleGeometry,
    /// The file system claims to be larger than its device.
    BeyondDevice,
    /// A structure behind the superblock breaks the format's rules.
    Corrupt,
    /// No such file or directory.
    NotFound,
    /// A component of the path that must be a directory is something else.
    NotADirectory,
    /// The operation does not apply to directories.
    IsADirectory,
    /// The operation applies only to regular files.
    NotAFile,
    /// The operation applies only to symbolic links.
    NotASymlink,
    /// The name is taken.
    AlreadyExists,
    /// The directory still holds entries.
    NotEmpty,
    /// More symbolic links than a lookup follows.
    SymlinkLoop,
    /// A path or name the format cannot hold: empty, relative, too long, with a NUL, or `.` or `..` in last place.
    InvalidPath,
    /// An argument outside the range the format can hold.
    InvalidArgument,
    /// Not enough free blocks or fragments.
    NoSpace,
    /// Not enough free inodes.
    NoInodes,
    /// The link count of an inode would pass 32,767.
    TooManyLinks,
    /// A file would pass the largest size of the format.
    FileTooLarge,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device error",
            Self::Source => "cannot read the new contents",
            Self::NotUfs => "not a UFS file system",
            Self::BigEndian => "big-endian (SPARC) UFS is not supported",
            Self::MultiTerabyte => "multi-terabyte UFS is not supported",
            Self::UnsupportedVersion => "unsupported UFS version",
            Self::Dirty => "the file system was not closed cleanly",
            Self::Logging => "the file system has an active log",
            Self::StaleSummary => "the summary information is marked stale",
            Self::ImpossibleGeometry => "impossible geometry",
            Self::BeyondDevice => "the file system is larger than its device",
            Self::Corrupt => "corrupt file system",
            Self::NotFound => "no such file or directory",
            Self::NotADirectory => "not a directory",
            Self::IsADirectory => "is a directory",
            Self::NotAFile => "not a regular file",
            Self::NotASymlink => "not a symbolic link",
            Self::AlreadyExists => "already exists",
            Self::NotEmpty => "directory not empty",
            Self::SymlinkLoop => "too many symbolic links",
            Self::InvalidPath => "invalid path",
            Self::InvalidArgument => "invalid argument",
            Self::NoSpace => "no space left in the file system",
            Self::NoInodes => "no free inode left in the file system",
            Self::TooManyLinks => "too many links",
            Self::FileTooLarge => "file too large",
        })
    }
}

/// Where an error was met.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Place {
    /// The operation as a whole.
    #[default]
    None,
    /// An on-disk structure and its byte offset on the device.
    Structure {
        /// The structure's name, such as `superblock` or `inode 17`.
        name: String,
        /// Byte offset on the device.
        offset: u64,
    },
    /// A path inside the file system.
    Path(Vec<u8>),
}

/// An error: its kind, where, a detail that names the values at fault, and its cause.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    place: Place,
    detail: String,
    #[source]
    source: Option<io::Error>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::None => {}
            Place::Structure { name, offset } => write!(f, "{name} at byte {offset}: ")?,
            Place::Path(path) => write!(f, "{}: ", path.escape_ascii())?,
        }
        write!(f, "{}", self.kind)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}

impl Error {
    /// The stable kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it was met.
    pub fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, place: Place::None, detail: detail.into(), source: None }
    }

    pub(crate) fn at(
        kind: ErrorKind,
        name: impl Into<String>,
        offset: u64,
        detail: impl Into<String>,
    ) -> Self {
        let place = Place::Structure { name: name.into(), offset };
        Self { kind, place, detail: detail.into(), source: None }
    }

    /// A structure that breaks the format's rules.
    pub(crate) fn corrupt(name: impl Into<String>, offset: u64, detail: impl Into<String>) -> Self {
        Self::at(ErrorKind::Corrupt, name, offset, detail)
    }

    pub(crate) fn path(kind: ErrorKind, path: &[u8]) -> Self {
        Self { kind, place: Place::Path(path.to_vec()), detail: String::new(), source: None }
    }

    pub(crate) fn device(name: &str, offset: u64, source: io::Error) -> Self {
        let place = Place::Structure { name: name.to_owned(), offset };
        Self { kind: ErrorKind::Device, place, detail: String::new(), source: Some(source) }
    }

    pub(crate) fn source_reader(source: io::Error) -> Self {
        Self { kind: ErrorKind::Source, place: Place::None, detail: String::new(), source: Some(source) }
    }

    /// Names the path an error concerns when nothing more precise is known yet.
    pub(crate) fn or_path(mut self, path: &[u8]) -> Self {
        if self.place == Place::None {
            self.place = Place::Path(path.to_vec());
        }
        self
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::NoSpace | ErrorKind::NoInodes => io::ErrorKind::StorageFull,
            ErrorKind::Device | ErrorKind::Source => {
                error.source.as_ref().map_or(io::ErrorKind::Other, io::Error::kind)
            }
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}
