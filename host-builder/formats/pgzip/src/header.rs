//! The header of a gzip member (RFC 1952, 2.3).

/// The first two bytes of every member.
pub(crate) const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The only compression method there is.
pub(crate) const DEFLATE: u8 = 8;

/// The fixed part: magic, method, flags, time, extra flags, system.
pub(crate) const FIXED: usize = 10;

/// Flags of the fixed part, byte 3.
pub(crate) mod flag {
    /// A checksum of the header follows it.
    pub const HEADER_CRC: u8 = 2;
    /// An extra field follows: two bytes of length, then so many bytes.
    pub const EXTRA: u8 = 4;
    /// A file name follows, NUL-terminated.
    pub const NAME: u8 = 8;
    /// A comment follows, NUL-terminated.
    pub const COMMENT: u8 = 16;
    /// Flags without a meaning. Nobody can skip what they might announce.
    pub const RESERVED: u8 = 0xe0;
}

/// True when a file that begins with `prefix` (3 bytes tell) can be read by [`crate::Reader`].
pub fn looks_like_gzip(prefix: &[u8]) -> bool {
    prefix.starts_with(&[MAGIC[0], MAGIC[1], DEFLATE])
}
