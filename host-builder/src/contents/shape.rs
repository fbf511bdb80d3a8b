//! Telling what bytes are by looking at them. Names never count.

use std::io;

use super::source::Source;
use crate::compression::{Compression, MAGIC_BYTES};
use crate::tarball;

/// What a run of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Compressed in this way, which is never [`Compression::None`].
    Compressed(Compression),
    /// A ZFS send stream, whatever it is of.
    Stream,
    /// A ZFS file system, such as that of a zone, from a stream or several on top of each other.
    Dataset,
    /// A UFS, as boot archives are; perhaps one that cannot be read (big-endian).
    Ufs,
    /// A FAT volume that starts at byte 0.
    Fat,
    /// A disk with a partition table.
    Disk,
    /// A tar archive.
    Tar,
    /// Anything else.
    Other,
}

impl Shape {
    /// Whether it holds files with owners and nothing else, so that it can be compared with others that do.
    pub fn is_files(self) -> bool {
        matches!(self, Shape::Dataset | Shape::Ufs | Shape::Tar)
    }

    /// The shape in words.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Compressed(compression) => compression.name(),
            Shape::Stream => "ZFS send stream",
            Shape::Dataset => "ZFS file system",
            Shape::Ufs => "boot archive (UFS)",
            Shape::Fat => "FAT volume",
            Shape::Disk => "disk with a partition table",
            Shape::Tar => "tar archive",
            Shape::Other => "plain bytes",
        }
    }
}

/// Where a UFS superblock stands, and its magic number in it, in bytes (illumos `sys/fs/ufs_fs.h`).
const UFS_MAGIC_AT: u64 = 8192 + 1372;
const UFS_MAGICS: [u32; 2] = [0x0001_1954, 0x00de_cade];
/// First sectors of disks and FAT volumes end with these bytes.
const SIGNATURE: [u8; 2] = [0x55, 0xAA];

/// How many first bytes tell all shapes but UFS.
pub const HEAD: usize = 512;

/// Looks at the beginning of `source`.
///
/// # Errors
/// Those of reading.
pub fn of(source: &Source) -> io::Result<Shape> {
    let head = source.head(HEAD)?;
    let compression = Compression::of(&head[..head.len().min(MAGIC_BYTES)]);
    if compression != Compression::None {
        return Ok(Shape::Compressed(compression));
    }
    if is_stream(&head) {
        return Ok(Shape::Stream);
    }
    let mut magic = [0; 4];
    if source.read_up_to(UFS_MAGIC_AT, &mut magic)? == 4
        && UFS_MAGICS.iter().any(|known| [known.to_le_bytes(), known.to_be_bytes()].contains(&magic))
    {
        return Ok(Shape::Ufs);
    }
    Ok(if is_fat(&head) {
        Shape::Fat
    } else if is_partition_table(&head) {
        Shape::Disk
    } else if tarball::is_header(&head) {
        Shape::Tar
    } else {
        Shape::Other
    })
}

/// Whether bytes begin with the BEGIN record of a send stream, in either byte order (illumos `sys/zfs_ioctl.h`).
pub fn is_stream(head: &[u8]) -> bool {
    const MAGIC: u64 = 0x2_F5BA_CBAC;
    let magic = head.get(8..16).and_then(|bytes| bytes.try_into().ok());
    magic.is_some_and(|bytes: [u8; 8]| [MAGIC.to_le_bytes(), MAGIC.to_be_bytes()].contains(&bytes))
}

fn word(sector: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([sector[at], sector[at + 1]])
}

/// A boot record with plausible numbers. Loaders in the first sector of a disk leave that place zero, or, as GRUB
/// does, fill it with code that gives no sane numbers.
fn is_fat(sector: &[u8]) -> bool {
    if sector.len() < 512 || sector[510..] != SIGNATURE {
        return false;
    }
    let cluster = sector[13];
    matches!(word(sector, 11), 512 | 1024 | 2048 | 4096)
        && cluster.is_power_of_two()
        && word(sector, 14) > 0
        && matches!(sector[16], 1..=7)
        && sector[21] >= 0xF0
}

/// A first sector with four entries that are empty or make sense, and one that is not empty.
fn is_partition_table(sector: &[u8]) -> bool {
    if sector.len() < 512 || sector[510..] != SIGNATURE {
        return false;
    }
    let entries = || sector[446..510].chunks_exact(16);
    entries().all(|entry| matches!(entry[0], 0 | 0x80)) && entries().any(|entry| entry[4] != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(bytes: Vec<u8>) -> Shape {
        let size = bytes.len() as u64;
        of(&Source::new(bytes, size)).unwrap()
    }

    #[test]
    fn shapes_are_told_by_content() {
        let mut sector = vec![0; 512];
        assert_eq!(shape(sector.clone()), Shape::Other);
        sector[510..].copy_from_slice(&SIGNATURE);
        assert_eq!(shape(sector.clone()), Shape::Other);
        sector[446 + 4] = 0x0C;
        assert_eq!(shape(sector.clone()), Shape::Disk);
        sector[11..17].copy_from_slice(&[0, 2, 8, 32, 0, 2]);
        sector[21] = 0xF8;
        assert_eq!(shape(sector), Shape::Fat);

        let mut ufs = vec![0; 16384];
        ufs[9564..9568].copy_from_slice(&0x0001_1954_u32.to_be_bytes());
        assert_eq!(shape(ufs), Shape::Ufs);
        let mut stream = vec![0; 312];
        stream[8..16].copy_from_slice(&0x2_F5BA_CBAC_u64.to_be_bytes());
        assert_eq!(shape(stream), Shape::Stream);
        assert_eq!(shape(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]), Shape::Compressed(Compression::Gzip));
        assert_eq!(shape(b"BZh91AY&SY".to_vec()), Shape::Compressed(Compression::Bzip2));
        assert_eq!(shape(b"\xFD7zXZ\0\0\x04".to_vec()), Shape::Compressed(Compression::Xz));
        assert_eq!(shape(Vec::new()), Shape::Other);
        assert_eq!(shape(vec![0x1f]), Shape::Other);
    }
}
