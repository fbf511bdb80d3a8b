//! What can go wrong with a boot area.

use positioned_io::ReadAt;
use thiserror::Error;

use crate::menu::MenuError;

/// Why a boot area cannot be planned, written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuiltinError {
    /// The menu has a flaw that concerns every loader.
    #[error("the boot menu cannot be used")]
    Menu(#[source] MenuError),
    /// The menu is one that only another loader can show.
    #[error("the built-in loader cannot show this menu: {reason}")]
    Unshowable {
        /// What is wrong with it.
        reason: String,
    },
    /// The menu names a file that is not on the disk.
    #[error("{path} of the boot menu is not on the disk")]
    Missing {
        /// The path in the menu.
        path: String,
    },
    /// A file lies where the loader cannot read it.
    #[error("{path} cannot be loaded from LBA {lba}: {reason}")]
    Unreachable {
        /// The path in the menu.
        path: String,
        /// Its first sector.
        lba: u64,
        /// What is wrong with the place.
        reason: &'static str,
    },
    /// A file is no kernel that the loader could start.
    #[error("not a Multiboot 1 kernel of the kind illumos is: {reason}")]
    Kernel {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A menu entry does not fit into memory that a 32-bit boot protocol reaches.
    #[error("{path} would end at {end:#x} in memory, which is beyond 3 GiB")]
    TooLarge {
        /// The file.
        path: String,
        /// Physical address of its end.
        end: u64,
    },
    /// The table would be larger than the room the loader has for it.
    #[error("the boot table needs {bytes} bytes, more than the {limit} there are")]
    TableFull {
        /// Size of the table.
        bytes: usize,
        /// Size of the room.
        limit: usize,
    },
    /// A boot table on a disk is damaged.
    #[error("the boot table is damaged at byte {offset} of the disk: {reason}")]
    Damaged {
        /// Place on the disk.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// The disk cannot be read.
    #[error("cannot read the boot area at byte {offset}")]
    Io {
        /// Place on the disk.
        offset: u64,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

impl BuiltinError {
    pub(super) fn damaged(offset: u64, reason: &'static str) -> Self {
        Self::Damaged { offset, reason }
    }

    /// Reads exactly `buffer` from `offset`, or says where that failed.
    pub(super) fn read_exact(disk: &impl ReadAt, offset: u64, buffer: &mut [u8]) -> Result<(), Self> {
        disk.read_exact_at(offset, buffer).map_err(|source| Self::Io { offset, source })
    }
}
