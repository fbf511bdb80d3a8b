//! Why a disk cannot be planned.

use thiserror::Error;

use crate::extent::LayoutError;

/// Why a disk cannot be planned. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A path has a part that FAT cannot hold.
    #[error("FAT cannot hold the name {name:?} in {path:?}: {reason}")]
    BadName {
        /// The whole path.
        path: String,
        /// The part at fault.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two paths are the same to FAT, which ignores case.
    #[error("{first:?} and {second:?} are the same file on FAT, which ignores case")]
    Duplicate {
        /// The path seen first.
        first: String,
        /// The other one.
        second: String,
    },
    /// A path is both a file and a directory.
    #[error("{path:?} is both a file and a directory")]
    FileAndDirectory {
        /// The path.
        path: String,
    },
    /// FAT's files end below 4 GiB.
    #[error("{path:?} has {size} bytes; a file on FAT must be smaller than 4 GiB")]
    FileTooLarge {
        /// The path.
        path: String,
        /// Its size.
        size: u64,
    },
    /// A directory has more entries than FAT allows.
    #[error("the directory {path:?} has more than 65536 entries")]
    DirectoryTooLarge {
        /// The directory's path.
        path: String,
    },
    /// The label is not 1 to 11 characters that FAT allows.
    #[error("{label:?} cannot be a volume label: it takes up to 11 capital letters, digits, blanks, - and _")]
    BadLabel {
        /// The label asked for.
        label: String,
    },
    /// The files and the room kept free do not fit.
    #[error("the files and the room kept free do not fit a disk of {size} bytes{}", remedy(*.smallest))]
    DoesNotFit {
        /// Size of the disk asked for.
        size: u64,
        /// Size of the smallest disk that fits; `None` when no larger one would do.
        smallest: Option<u64>,
    },
    /// A disk's size is not one a partition table can describe.
    #[error("a disk of {size} bytes cannot be made: its size must be a multiple of 512 below 2 TiB")]
    BadSize {
        /// Size of the disk asked for.
        size: u64,
    },
    /// The loader does not fit between the partition table and the first partition.
    #[error("the boot loader needs {needed} bytes before the first partition, where there are {available}")]
    BootAreaTooLong {
        /// What the loader takes.
        needed: u64,
        /// What there is.
        available: u64,
    },
    /// The planned extents contradict each other.
    #[error("the parts of the disk do not fit together")]
    Layout(#[from] LayoutError),
}

fn remedy(smallest: Option<u64>) -> String {
    match smallest {
        Some(bytes) => format!("; the smallest that fits has {} MiB ({bytes} bytes)", bytes >> 20),
        None => String::new(),
    }
}
