//! Questions to disk drivers.

use std::fs::File;
use std::io;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `DKIOCGMEDIAINFO` (usr/src/uts/common/sys/dkio.h): size and block size.
const MEDIA: Opcode = 0x42a;

/// `DKIOCREMOVABLE` (the same file): whether the medium can be taken out.
const REMOVABLE: Opcode = 0x410;

/// What a disk driver says of its medium: `struct dk_minfo`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Media {
    /// The type of the medium.
    kind: u32,
    /// The size of a block, in bytes.
    pub block: u32,
    /// The number of blocks.
    pub blocks: u64,
}

/// Asks for size and block size.
pub fn media(disk: &File) -> io::Result<Media> {
    // SAFETY: the driver fills a `struct dk_minfo`, which `Media` is, and any value of it is a valid one.
    let getter = unsafe { Getter::<MEDIA, Media>::new() };
    // SAFETY: the question has no effect but to fill the structure.
    Ok(unsafe { ioctl(disk, getter) }?)
}

/// Asks whether the medium can be taken out.
pub fn is_removable(disk: &File) -> io::Result<bool> {
    // SAFETY: the driver fills an `int`.
    let getter = unsafe { Getter::<REMOVABLE, i32>::new() };
    // SAFETY: the question has no effect but to fill the integer.
    Ok(unsafe { ioctl(disk, getter) }? != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_is_that_of_the_driver() {
        assert_eq!(size_of::<Media>(), 16);
        assert_eq!(std::mem::offset_of!(Media, block), 4);
        assert_eq!(std::mem::offset_of!(Media, blocks), 8);
    }
}
