//! The boot table as it lies on the disk and in the loader's memory. The loader's reader of it is
//! `loader/src/table.rs`.
//!
//! Header, then [`RawEntry`]s, then the arrays of [`RawExtent`]s and [`RawModule`]s, then texts with a zero
//! byte at their end. All places are bytes from the start of the table; all numbers are little-endian.

use sha1::{Digest as _, Sha1};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First sector of the table.
pub(super) const TABLE_LBA: u32 = 34;
/// Sectors the loader reads for it.
pub(super) const TABLE_SECTORS: u32 = 32;
/// Room for the table in bytes.
pub(super) const TABLE_BYTES: usize = TABLE_SECTORS as usize * 512;
/// Physical address of the table when the kernel is started.
pub(super) const TABLE_ADDRESS: u32 = 0x7C00 + TABLE_LBA * 512;

/// First bytes of the table.
pub(super) const MAGIC: [u8; 8] = *b"KILNBOOT";
/// The only version there is.
pub(super) const VERSION: u16 = 1;

/// Digits 1 to 9 select an entry.
pub(super) const MAX_ENTRIES: usize = 9;
/// The loader shows a title on one line together with the countdown.
pub(super) const MAX_TITLE_BYTES: usize = 56;

/// Extents, and modules, of an entry. Kernels take up to 99 modules.
pub(super) const MAX_ITEMS: usize = 128;
/// A text without its zero byte. Menu lines are shorter.
pub(super) const MAX_TEXT_BYTES: usize = 4095;

/// Bytes of [`RawHeader::code_digest`].
pub(super) const CODE_DIGEST_BYTES: usize = 8;

/// The first 32 bytes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawHeader {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U16,
    /// Zero.
    pub reserved: U16,
    /// Bytes of the whole table: a multiple of 4, at most [`TABLE_BYTES`].
    pub length: U32,
    /// Makes the wrapping sum of all 32-bit words of the table zero.
    pub checksum: U32,
    /// Seconds until the default entry starts; 0 starts it without a menu.
    pub timeout_seconds: U16,
    /// Index of the default entry.
    pub default_entry: u8,
    /// Number of entries, 1 to [`MAX_ENTRIES`].
    pub entry_count: u8,
    /// [`code_digest`] of the code in front of the table. The loader does not look at it: it tells code that was
    /// damaged from that of another version.
    pub code_digest: [u8; CODE_DIGEST_BYTES],
}

/// A menu entry.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawEntry {
    /// Place of the title.
    pub title: U16,
    /// Place of the kernel's command line.
    pub command_line: U16,
    /// Place of the array of extents.
    pub extents: U16,
    /// Its length.
    pub extent_count: U16,
    /// Place of the array of modules.
    pub modules: U16,
    /// Its length.
    pub module_count: U16,
    /// Physical address at which the kernel starts.
    pub entry_point: U32,
    /// Physical address of memory to be cleared.
    pub zero_address: U32,
    /// Bytes to be cleared.
    pub zero_bytes: U32,
    /// MiB of memory, counted from address 0 to the first gap above 1 MiB, below which the loader refuses the
    /// entry.
    pub needed_mib: U32,
    /// Zero.
    pub reserved: U32,
}

/// A piece of a file and where it goes.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawExtent {
    /// First sector.
    pub lba: U32,
    /// Bytes.
    pub bytes: U32,
    /// Physical address.
    pub address: U32,
    /// Place of the file's path.
    pub name: U16,
    /// Zero.
    pub reserved: U16,
}

/// A module record as the kernel gets it (Multiboot specification 0.6.96, section 3.3).
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct RawModule {
    /// Physical address of the first byte.
    pub start: U32,
    /// Physical address behind the last byte.
    pub end: U32,
    /// Physical address of the module's string.
    pub string: U32,
    /// Zero.
    pub reserved: U32,
}

const _: () = assert!(size_of::<RawHeader>() == 32);
const _: () = assert!(size_of::<RawEntry>() == 32);
const _: () = assert!(size_of::<RawExtent>() == 16);
const _: () = assert!(size_of::<RawModule>() == 16);
const _: () = assert!(TABLE_ADDRESS == 0xC000);
// Places are 16-bit numbers.
const _: () = assert!(TABLE_BYTES <= 1 << 16);

/// The first bytes of the SHA-1 of what stands on the disk in front of the table, without the part of sector 0 that
/// belongs to the partition table.
pub(super) fn code_digest(mbr_code: &[u8], stage2: &[u8]) -> [u8; CODE_DIGEST_BYTES] {
    let digest = Sha1::new().chain_update(mbr_code).chain_update(stage2).finalize();
    *digest.first_chunk().expect("a SHA-1 has twenty bytes")
}

/// The wrapping sum of the 32-bit words of a table whose length is a multiple of 4.
pub(super) fn sum(table: &[u8]) -> u32 {
    let words = table.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    words.fold(0, u32::wrapping_add)
}
