//! The structures on the disk, as they lie there: little-endian, packed, sizes asserted.
//!
//! Block addresses are fragment numbers counted from the start of the file system. The field names are those of
//! illumos' `sys/fs/ufs_fs.h`, `ufs_inode.h` and `ufs_fsdir.h`, without their prefixes.

use zerocopy::little_endian::{I16, I32, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Byte offset of the primary superblock.
pub const SUPERBLOCK_OFFSET: u64 = 8192;
/// Bytes set aside for a superblock (`SBSIZE`); only the first `fs_sbsize` mean anything.
pub const SUPERBLOCK_AREA: u64 = 8192;
/// Bytes of the boot block in front of the primary superblock.
pub const BOOT_AREA: u64 = 8192;
/// Bytes of a disk sector, the unit of `ic_blocks`, `fs_spc` and `fs_nsect`.
pub const SECTOR: u32 = 512;
/// `fs_magic` of the ordinary format.
pub const MAGIC: u32 = 0x0001_1954;
/// `fs_magic` of the multi-terabyte format.
pub const MAGIC_MULTI_TERABYTE: u32 = 0x00de_cade;
/// `cg_magic`.
pub const GROUP_MAGIC: u32 = 0x0009_0255;
/// `FSOKAY`: `fs_state + fs_time` modulo 2^32 in a file system that was closed well.
pub const STATE_OKAY: u32 = 0x7c26_9d38;

/// `fs_clean`: a writer is active, or was when it died.
pub const CLEAN_ACTIVE: u8 = 0;
/// `fs_clean`: unmounted cleanly.
pub const CLEAN: u8 = 1;
/// `fs_clean`: mounted, but nothing outstanding.
pub const CLEAN_STABLE: u8 = 2;
/// `fs_clean`: the log holds the truth.
pub const CLEAN_LOGGING: u8 = 0xfd;

/// `fs_flags` bit: files of 2^31 bytes and more exist.
pub const FLAG_LARGE_FILES: u8 = 1;

/// The root directory's inode.
pub const ROOT_INODE: u32 = 2;
/// The inode that mkfs gives to `/lost+found`.
pub const LOST_FOUND_INODE: u32 = 3;
/// Bytes of an inode.
pub const INODE_SIZE: u32 = 128;
/// Direct pointers in an inode.
pub const DIRECT_POINTERS: usize = 12;
/// Indirect pointers in an inode: single, double, triple.
pub const INDIRECT_POINTERS: usize = 3;
/// Largest link count.
pub const LINK_MAX: i16 = i16::MAX;
/// The short id that sends readers to the long one.
pub const LONG_ID: u16 = u16::MAX;

/// Bytes of a directory chunk; entries never cross one.
pub const DIR_CHUNK: u32 = 512;
/// Longest name in a directory.
pub const NAME_MAX: usize = 255;
/// Bytes of a directory entry in front of its name.
pub const DIR_HEADER: usize = 8;
/// Longest target of a symbolic link (`MAXPATHLEN` less the NUL).
pub const SYMLINK_MAX: usize = 1023;

/// Offset of the maps in a cylinder group header; the first of them is `cg_btot`.
pub const GROUP_MAPS: u32 = 168;

/// The type bits of a mode.
pub const MODE_TYPE: u16 = 0o170_000;
/// Mode type: fifo.
pub const MODE_FIFO: u16 = 0o010_000;
/// Mode type: character device.
pub const MODE_CHARACTER: u16 = 0o020_000;
/// Mode type: directory.
pub const MODE_DIRECTORY: u16 = 0o040_000;
/// Mode type: block device.
pub const MODE_BLOCK: u16 = 0o060_000;
/// Mode type: regular file.
pub const MODE_REGULAR: u16 = 0o100_000;
/// Mode type: symbolic link.
pub const MODE_SYMLINK: u16 = 0o120_000;
/// Mode type: shadow inode that holds an ACL (`IFSHAD`).
pub const MODE_SHADOW: u16 = 0o130_000;
/// Mode type: socket.
pub const MODE_SOCKET: u16 = 0o140_000;
/// Mode type: directory of extended attributes (`IFATTRDIR`).
pub const MODE_ATTRIBUTE_DIRECTORY: u16 = 0o160_000;

/// `ic_flags` bit: blocks with negative pointers are reserved and read as zero (`IFALLOCATE`).
pub const INODE_FALLOCATED: u32 = 2;

/// Summary counts of a cylinder group, or of the whole file system (`struct csum`).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Csum {
    /// Directories.
    pub ndir: I32,
    /// Free whole blocks.
    pub nbfree: I32,
    /// Free inodes.
    pub nifree: I32,
    /// Free fragments in partly used blocks.
    pub nffree: I32,
}

/// The superblock (`struct fs`) up to the rotational tables, which only file systems with `cpc` other than 0 have.
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SuperBlock {
    /// In-core link.
    pub link: I32,
    /// Logging: 0 old, 1 all rolled, 2 needs roll.
    pub rolled: I32,
    /// Fragment of the backup superblock, from a group's start.
    pub sblkno: I32,
    /// Fragment of the group header, from a group's start.
    pub cblkno: I32,
    /// Fragment of the inode table, from a group's start.
    pub iblkno: I32,
    /// First data fragment behind the metadata, from a group's start.
    pub dblkno: I32,
    /// Fragments by which the metadata of successive groups is shifted.
    pub cgoffset: I32,
    /// Mask of the group number for that shift.
    pub cgmask: I32,
    /// Seconds since 1970 of the last superblock write.
    pub time: I32,
    /// Fragments in the file system.
    pub size: I32,
    /// Data fragments in the file system.
    pub dsize: I32,
    /// Cylinder groups.
    pub ncg: I32,
    /// Bytes of a block.
    pub bsize: I32,
    /// Bytes of a fragment.
    pub fsize: I32,
    /// Fragments in a block.
    pub frag: I32,
    /// Reserve, in percent.
    pub minfree: I32,
    /// Rotational delay, milliseconds.
    pub rotdelay: I32,
    /// Disk revolutions a second.
    pub rps: I32,
    /// `!(bsize - 1)`.
    pub bmask: I32,
    /// `!(fsize - 1)`.
    pub fmask: I32,
    /// log2 of `bsize`.
    pub bshift: I32,
    /// log2 of `fsize`.
    pub fshift: I32,
    /// Blocks in one transfer.
    pub maxcontig: I32,
    /// Blocks one file may take from a group before the kernel moves on.
    pub maxbpg: I32,
    /// log2 of `frag`.
    pub fragshift: I32,
    /// log2 of `fsize / 512`.
    pub fsbtodb: I32,
    /// Bytes of the superblock that mean something.
    pub sbsize: I32,
    /// Mask of a group number for its place in a block of summaries.
    pub csmask: I32,
    /// log2 of summaries in a block.
    pub csshift: I32,
    /// Pointers in an indirect block.
    pub nindir: I32,
    /// Inodes in a block.
    pub inopb: I32,
    /// Sectors in a fragment.
    pub nspf: I32,
    /// 0 optimise for time, 1 for space.
    pub optim: I32,
    /// `FSOKAY - time` when closed well (little-endian machines keep it here).
    pub state: U32,
    /// 1: the kernel rebuilds the summaries at mount.
    pub si: I32,
    /// Sectors of skew between tracks.
    pub trackskew: I32,
    /// Unused identifier.
    pub id: [I32; 2],
    /// Fragment of the summary area.
    pub csaddr: I32,
    /// Bytes of the summary area.
    pub cssize: I32,
    /// Bytes of a group header with its maps.
    pub cgsize: I32,
    /// Tracks in a cylinder.
    pub ntrak: I32,
    /// Sectors in a track.
    pub nsect: I32,
    /// Sectors in a cylinder.
    pub spc: I32,
    /// Cylinders.
    pub ncyl: I32,
    /// Cylinders in a group.
    pub cpg: I32,
    /// Inodes in a group.
    pub ipg: I32,
    /// Fragments in a group.
    pub fpg: I32,
    /// Sum of all groups' counts.
    pub cstotal: Csum,
    /// In-core: modified.
    pub fmod: u8,
    /// One of the `CLEAN…` values.
    pub clean: u8,
    /// In-core: mounted read-only.
    pub ronly: u8,
    /// [`FLAG_LARGE_FILES`].
    pub flags: u8,
    /// Last mount point, padded with NULs.
    pub fsmnt: [u8; 512],
    /// Group the kernel looks at first for a new directory.
    pub cgrotor: I32,
    /// In-core pointers.
    pub in_core: [u8; 128],
    /// Cylinders in a cycle of the rotational tables; 0 means no tables.
    pub cpc: I32,
    /// Old rotational table.
    pub opostbl: [[I16; 8]; 16],
    /// Reserved.
    pub sparecon: [I32; 51],
    /// 0 ordinary, 2 made with the default geometry of big disks.
    pub version: I32,
    /// Fragment of the log, 0 for none.
    pub logbno: I32,
    /// Reclaim state, 0 offline.
    pub reclaim: I32,
    /// Reserved.
    pub sparecon2: I32,
    /// Sectors in a track, spares included.
    pub npsect: I32,
    /// `!bmask` as 64 bits.
    pub qbmask: [I32; 2],
    /// `!fmask` as 64 bits.
    pub qfmask: [I32; 2],
    /// Format of the rotational tables, 1.
    pub postblformat: I32,
    /// Rotational positions.
    pub nrpos: I32,
    /// Offset of the rotational table.
    pub postbloff: I32,
    /// Offset of the rotational block lists.
    pub rotbloff: I32,
    /// [`MAGIC`].
    pub magic: U32,
}

/// A cylinder group's header in front of its maps (`struct cg`).
#[derive(Debug, Clone, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct GroupHeader {
    /// In-core link.
    pub link: I32,
    /// [`GROUP_MAGIC`].
    pub magic: U32,
    /// Seconds since 1970 of the last write.
    pub time: I32,
    /// Number of this group.
    pub cgx: I32,
    /// Cylinders in this group.
    pub ncyl: I16,
    /// Inodes in this group.
    pub niblk: I16,
    /// Fragments in this group.
    pub ndblk: I32,
    /// Counts of this group.
    pub cs: Csum,
    /// In-group fragment of the last block allocated.
    pub rotor: I32,
    /// In-group fragment of the last fragment run allocated.
    pub frotor: I32,
    /// Index of the last inode allocated.
    pub irotor: I32,
    /// `[k]`: free runs of exactly k fragments in partly used blocks.
    pub frsum: [I32; 8],
    /// Offset of the free block count of each cylinder (i32 each).
    pub btotoff: I32,
    /// Offset of the free block count of each rotational position (i16, `nrpos` a cylinder).
    pub boff: I32,
    /// Offset of the inode map: bit set means used.
    pub iusedoff: I32,
    /// Offset of the fragment map: bit set means free.
    pub freeoff: I32,
    /// Offset behind the maps.
    pub nextfreeoff: I32,
    /// Reserved.
    pub sparecon: [I32; 16],
}

/// A time in an inode.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct DiskTime {
    /// Seconds since 1970.
    pub seconds: I32,
    /// Microseconds, 0..=999,999.
    pub microseconds: I32,
}

/// An inode (`struct icommon`).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Inode {
    /// Type and permissions; 0 in a free inode.
    pub mode: U16,
    /// Directory entries that name this inode.
    pub nlink: I16,
    /// Owner, or [`LONG_ID`].
    pub short_uid: U16,
    /// Group, or [`LONG_ID`].
    pub short_gid: U16,
    /// Bytes.
    pub size: U64,
    /// Last access.
    pub atime: DiskTime,
    /// Last change of the contents.
    pub mtime: DiskTime,
    /// Last change of the inode.
    pub ctime: DiskTime,
    /// Direct pointers; 0 is a hole. A device's number is in element 1.
    pub direct: [I32; DIRECT_POINTERS],
    /// Single, double and triple indirect blocks.
    pub indirect: [I32; INDIRECT_POINTERS],
    /// [`INODE_FALLOCATED`] and others.
    pub flags: U32,
    /// Sectors held, indirect blocks included.
    pub blocks: U32,
    /// Generation, kept when the inode is freed.
    pub generation: U32,
    /// Inode of the ACL, 0 for none.
    pub shadow: U32,
    /// Owner.
    pub uid: U32,
    /// Group.
    pub gid: U32,
    /// Inode of the attribute directory, 0 for none.
    pub attributes: U32,
}

/// The front of a directory entry; the name follows, NUL-terminated and zero-padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DirHeader {
    /// Inode, 0 in an empty entry.
    pub ino: U32,
    /// Bytes from this entry to the next, a multiple of 4.
    pub reclen: U16,
    /// Bytes of the name, 1..=255.
    pub namlen: U16,
}

const _: () = assert!(size_of::<Csum>() == 16);
const _: () = assert!(size_of::<SuperBlock>() == 1376);
const _: () = assert!(core::mem::offset_of!(SuperBlock, state) == 132);
const _: () = assert!(core::mem::offset_of!(SuperBlock, cstotal) == 192);
const _: () = assert!(core::mem::offset_of!(SuperBlock, clean) == 209);
const _: () = assert!(core::mem::offset_of!(SuperBlock, in_core) == 728);
const _: () = assert!(core::mem::offset_of!(SuperBlock, version) == 1320);
const _: () = assert!(core::mem::offset_of!(SuperBlock, magic) == 1372);
const _: () = assert!(size_of::<GroupHeader>() == GROUP_MAPS as usize);
const _: () = assert!(size_of::<Inode>() == INODE_SIZE as usize);
const _: () = assert!(core::mem::offset_of!(Inode, direct) == 40);
const _: () = assert!(core::mem::offset_of!(Inode, blocks) == 104);
const _: () = assert!(size_of::<DirHeader>() == DIR_HEADER);

/// Bytes that a directory entry with a name of `namlen` bytes needs at least.
pub const fn dir_entry_size(namlen: usize) -> usize {
    DIR_HEADER + ((namlen + 1 + 3) & !3)
}

/// The major and minor number in the device word of an inode: old form when the upper half is all zeros or all ones,
/// otherwise 14 bits of major and 18 of minor.
pub const fn decode_device(word: u32) -> (u32, u32) {
    let upper = word >> 16;
    if upper == 0 || upper == 0xffff {
        ((word >> 8) & 0x7f, word & 0xff)
    } else {
        (word >> 18, word & 0x3_ffff)
    }
}

/// The device word of a major (0..=16,383) and minor (0..=262,143) number; `None` outside these ranges, and for the
/// few pairs whose word a reader would take for the old form.
pub const fn encode_device(major: u32, minor: u32) -> Option<u32> {
    if major <= 127 && minor <= 255 {
        return Some(major << 8 | minor);
    }
    if major > 0x3fff || minor > 0x3_ffff {
        return None;
    }
    let word = major << 18 | minor;
    let (read_major, read_minor) = decode_device(word);
    if read_major == major && read_minor == minor { Some(word) } else { None }
}
