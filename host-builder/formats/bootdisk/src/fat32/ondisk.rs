//! FAT32's structures as they stand on disk.
//!
//! Source: the FAT32 file system specification 1.03 (2000), and for what the running guest insists on,
//! illumos uts/common/fs/pcfs/pc_vfsops.c.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The FAT32 boot record, sector 0 of the volume.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct BootRecord {
    /// Jump over the parameters to the boot code.
    pub jump: [u8; 3],
    /// Name of the maker.
    pub oem: [u8; 8],
    /// Bytes in a sector; 512.
    pub bytes_per_sector: U16,
    /// Sectors in a cluster; a power of two.
    pub sectors_per_cluster: u8,
    /// Sectors before the first FAT, this one included.
    pub reserved_sectors: U16,
    /// Copies of the FAT.
    pub fats: u8,
    /// Entries of a FAT16 root directory; 0.
    pub root_entries: U16,
    /// FAT16's total; 0.
    pub total_sectors_16: U16,
    /// Media descriptor, repeated in the first byte of the FAT; F8 for hard disks.
    pub media: u8,
    /// FAT16's sectors in a FAT; 0.
    pub sectors_per_fat_16: U16,
    /// Sectors a track, for INT 13h.
    pub sectors_per_track: U16,
    /// Heads, for INT 13h.
    pub heads: U16,
    /// Sectors on the disk before the volume.
    pub hidden_sectors: U32,
    /// Sectors of the volume.
    pub total_sectors: U32,
    /// Sectors in one FAT.
    pub sectors_per_fat: U32,
    /// Bit 7: only the FAT numbered by bits 0..3 is kept up to date.
    pub fat_flags: U16,
    /// Version of the file system; 0.
    pub version: U16,
    /// First cluster of the root directory.
    pub root_cluster: U32,
    /// Sector of the [`FsInfo`]; 0 or FFFF when there is none.
    pub fs_info_sector: U16,
    /// Sector of the copy of this sector; 0 or FFFF when there is none.
    pub backup_boot_sector: U16,
    /// 0.
    pub reserved: [u8; 12],
    /// INT 13h drive number.
    pub drive: u8,
    /// 0.
    pub reserved_nt: u8,
    /// 29h: the next three fields are there.
    pub extended_signature: u8,
    /// Serial number of the volume.
    pub serial: U32,
    /// Label, padded with blanks.
    pub label: [u8; 11],
    /// `FAT32   `.
    pub fs_type: [u8; 8],
    /// Boot code.
    pub code: [u8; 420],
    /// 0xAA55.
    pub boot_signature: U16,
}

/// The sector with the free cluster count.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct FsInfo {
    /// 0x41615252, `RRaA`.
    pub lead_signature: U32,
    /// 0.
    pub reserved: [u8; 480],
    /// 0x61417272, `rrAa`.
    pub signature: U32,
    /// Free clusters; FFFFFFFF when unknown.
    pub free_clusters: U32,
    /// Where to start looking for a free cluster; FFFFFFFF when unknown.
    pub next_free: U32,
    /// 0.
    pub reserved2: [u8; 12],
    /// 0xAA550000.
    pub trail_signature: U32,
}

/// Values of the three signatures of [`FsInfo`].
pub(crate) const FS_INFO_SIGNATURES: [u32; 3] = [0x4161_5252, 0x6141_7272, 0xAA55_0000];

/// A directory entry that stands for a file, a directory or the label.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct ShortEntry {
    /// Name (8) and extension (3), padded with blanks. First byte 00: no entry here and behind; E5: deleted;
    /// 05: E5.
    pub name: [u8; 11],
    /// `ATTR_…` bits.
    pub attributes: u8,
    /// Windows NT: bit 3 the name, bit 4 the extension is shown in lower case.
    pub case: u8,
    /// Creation time beyond two seconds, in hundredths.
    pub created_hundredths: u8,
    /// Time of creation.
    pub created_time: U16,
    /// Day of creation.
    pub created_date: U16,
    /// Day of the last access.
    pub accessed_date: U16,
    /// Bits 16..31 of the first cluster.
    pub cluster_high: U16,
    /// Time of the last change.
    pub modified_time: U16,
    /// Day of the last change.
    pub modified_date: U16,
    /// Bits 0..15 of the first cluster.
    pub cluster_low: U16,
    /// Size in bytes; 0 for directories.
    pub size: U32,
}

/// A directory entry with 13 UTF-16 units of a long name. The entries of one name stand in reverse order
/// before its [`ShortEntry`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct LongEntry {
    /// 1 for the first 13 units and so on; bit 6 marks the last.
    pub order: u8,
    /// Units 0..4.
    pub name1: [U16; 5],
    /// [`ATTR_LONG_NAME`].
    pub attributes: u8,
    /// 0.
    pub kind: u8,
    /// [`checksum`](super::names::checksum) of the short name.
    pub checksum: u8,
    /// Units 5..10.
    pub name2: [U16; 6],
    /// 0.
    pub cluster: U16,
    /// Units 11..12.
    pub name3: [U16; 2],
}

const _: () = assert!(size_of::<BootRecord>() == 512);
const _: () = assert!(size_of::<FsInfo>() == 512);
const _: () = assert!(size_of::<ShortEntry>() == DIR_ENTRY);
const _: () = assert!(size_of::<LongEntry>() == DIR_ENTRY);

/// Bytes in a directory entry.
pub(crate) const DIR_ENTRY: usize = 32;
/// Most bytes a directory may have (65,536 entries).
pub(crate) const MAX_DIRECTORY: u64 = 65_536 * DIR_ENTRY as u64;
/// UTF-16 units in one [`LongEntry`].
pub(crate) const LONG_UNITS: usize = 13;
/// Longest long name, in UTF-16 units.
pub(crate) const MAX_NAME_UNITS: usize = 255;

/// First byte of a directory entry that was removed.
pub(crate) const DELETED: u8 = 0xE5;

pub(crate) const ATTR_LABEL: u8 = 0x08;
pub(crate) const ATTR_DIRECTORY: u8 = 0x10;
pub(crate) const ATTR_ARCHIVE: u8 = 0x20;
pub(crate) const ATTR_LONG_NAME: u8 = 0x0F;

/// The bits of a FAT entry that count; the upper four are kept as found.
pub(crate) const FAT_MASK: u32 = 0x0FFF_FFFF;
/// A cluster marked as unusable.
pub(crate) const FAT_BAD: u32 = 0x0FFF_FFF7;
/// From here on: the last cluster of a chain.
pub(crate) const FAT_END: u32 = 0x0FFF_FFF8;
/// The end mark written here, and the value of FAT entry 1 of a cleanly unmounted volume.
pub(crate) const FAT_END_MARK: u32 = 0x0FFF_FFFF;
/// Bits of FAT entry 1: clear when the volume was not unmounted cleanly, or had disk errors.
pub(crate) const FAT1_CLEAN: [u32; 2] = [0x0800_0000, 0x0400_0000];
/// First cluster of the data area.
pub(crate) const FIRST_CLUSTER: u32 = 2;
/// A FAT with fewer clusters is taken for FAT16.
pub(crate) const MIN_CLUSTERS: u32 = 65_525;
/// Most clusters a FAT32 volume can have.
pub(crate) const MAX_CLUSTERS: u32 = 0x0FFF_FFF5;

impl ShortEntry {
    pub fn first_cluster(&self) -> u32 {
        (u32::from(self.cluster_high.get()) << 16 | u32::from(self.cluster_low.get())) & FAT_MASK
    }
}

impl LongEntry {
    /// The 13 units in order.
    pub fn units(&self) -> impl Iterator<Item = u16> {
        self.name1.into_iter().chain(self.name2).chain(self.name3).map(U16::get)
    }
}
