//! The first 36 bytes.

use crate::error::{Error, ErrorKind};

/// Bytes of the algorithm's name (`MAXALGLEN`).
pub const NAME: usize = 24;
/// Bytes before the index.
pub const HEADER: usize = NAME + 12;
/// Bytes of an entry of the index.
pub const ENTRY: u64 = 8;

/// Smallest segment in bytes: a sector (`DEV_BSIZE`).
const MIN_SEGMENT: u32 = 512;
/// Largest segment that is read, in bytes: 128 times that of lofiadm, which is 128 KiB. The driver has no limit of its own.
pub const MAX_SEGMENT: u32 = 16 << 20;

/// How segments are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// zlib's format (`gzip`, `gzip-6` and `gzip-9`, which differ for the writer only).
    Gzip,
    /// LZMA with the 13 bytes of header of an `.lzma` file, the last 8 of which the driver ignores.
    Lzma,
}

impl Algorithm {
    fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"gzip" | b"gzip-6" | b"gzip-9" => Some(Self::Gzip),
            b"lzma" => Some(Self::Lzma),
            _ => None,
        }
    }
}

/// Whether bytes, at least 24 of them, begin like a compressed file. It is all that the driver looks at.
pub fn looks_like_lofi(head: &[u8]) -> bool {
    head.len() >= NAME && algorithm(head).is_some()
}

fn algorithm(head: &[u8]) -> Option<Algorithm> {
    let name = &head[..NAME];
    let end = name.iter().position(|&byte| byte == 0)?;
    Algorithm::named(&name[..end])
}

/// What the header says, once it was found possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub algorithm: Algorithm,
    /// Bytes of a segment before compression.
    pub segment: u32,
    /// How many segments there are; at least one.
    pub segments: u32,
    /// Bytes of the last one; at least one.
    pub last: u32,
}

impl Header {
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self, Error> {
        let algorithm = algorithm(bytes).ok_or(Error::new(ErrorKind::NotLofi, 0))?;
        let number = |at: usize| {
            u32::from_be_bytes(
                *bytes[at..].first_chunk().expect("the header has three numbers after the name"),
            )
        };
        let bad = |at: usize| Error::new(ErrorKind::BadHeader, at as u64);
        let (segment, entries, last) = (number(NAME), number(NAME + 4), number(NAME + 8));
        // The driver wants a power of two.
        if !segment.is_power_of_two() || !(MIN_SEGMENT..=MAX_SEGMENT).contains(&segment) {
            return Err(bad(NAME));
        }
        let segments = entries.checked_sub(1).filter(|&segments| segments > 0).ok_or(bad(NAME + 4))?;
        if !(1..=segment).contains(&last) {
            return Err(bad(NAME + 8));
        }
        Ok(Self { algorithm, segment, segments, last })
    }

    /// Bytes before compression. They fit: 32 bits of segments of at most 24 bits each.
    pub fn plain_length(&self) -> u64 {
        u64::from(self.segments - 1) * u64::from(self.segment) + u64::from(self.last)
    }

    /// Bytes of a segment before compression.
    pub fn plain_size(&self, number: u32) -> u32 {
        if number == self.segments - 1 { self.last } else { self.segment }
    }

    /// Where the index ends and the first segment begins.
    pub fn base(&self) -> u64 {
        HEADER as u64 + (u64::from(self.segments) + 1) * ENTRY
    }
}
