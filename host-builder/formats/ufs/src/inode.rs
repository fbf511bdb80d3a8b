//! Inodes: reading and writing them, and what they say in the words of a caller.

use positioned_io::{ReadAt, WriteAt};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{I32, U16, U32};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::geometry::Geometry;
use crate::layout::{
    DiskTime, Inode, LONG_ID, MODE_BLOCK, MODE_CHARACTER, MODE_DIRECTORY, MODE_FIFO, MODE_REGULAR,
    MODE_SOCKET, MODE_SYMLINK, MODE_TYPE, ROOT_INODE, decode_device,
};

/// A point in time as inodes hold it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i32,
    /// Microseconds, 0..=999,999.
    pub microseconds: i32,
}

impl Timestamp {
    /// A whole second.
    pub const fn from_seconds(seconds: i32) -> Self {
        Self { seconds, microseconds: 0 }
    }
}

impl From<DiskTime> for Timestamp {
    fn from(time: DiskTime) -> Self {
        Self { seconds: time.seconds.get(), microseconds: time.microseconds.get() }
    }
}

impl From<Timestamp> for DiskTime {
    fn from(time: Timestamp) -> Self {
        Self { seconds: I32::new(time.seconds), microseconds: I32::new(time.microseconds) }
    }
}

/// What an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileType {
    /// Named pipe.
    Fifo,
    /// Character device.
    CharacterDevice,
    /// Directory.
    Directory,
    /// Block device.
    BlockDevice,
    /// Regular file.
    Regular,
    /// Symbolic link.
    Symlink,
    /// Socket.
    Socket,
    /// An ACL's shadow inode, an attribute directory, or a type the format does not know.
    Other,
}

impl FileType {
    pub(crate) fn of(inode: &Inode) -> Self {
        match inode.mode.get() & MODE_TYPE {
            MODE_FIFO => Self::Fifo,
            MODE_CHARACTER => Self::CharacterDevice,
            MODE_DIRECTORY => Self::Directory,
            MODE_BLOCK => Self::BlockDevice,
            MODE_REGULAR => Self::Regular,
            MODE_SYMLINK => Self::Symlink,
            MODE_SOCKET => Self::Socket,
            _ => Self::Other,
        }
    }

    /// Whether the inode's pointers are block addresses.
    pub(crate) fn has_blocks(self) -> bool {
        matches!(self, Self::Directory | Self::Regular | Self::Symlink | Self::Other)
    }
}

/// What an inode says about its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Inode number.
    pub ino: u32,
    /// Type.
    pub kind: FileType,
    /// Permissions, set-id and sticky bits: 0..=0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names of this inode (for a directory: its own `.` and its children's `..` among them).
    pub nlink: u32,
    /// Bytes.
    pub size: u64,
    /// Last access.
    pub accessed: Timestamp,
    /// Last change of the contents.
    pub modified: Timestamp,
    /// Last change of the inode.
    pub changed: Timestamp,
    /// Major and minor number of a device, in illumos' numbering.
    pub device: Option<(u32, u32)>,
    /// Generation.
    pub generation: u32,
    /// Sectors of 512 bytes held, indirect blocks included.
    pub sectors: u32,
}

impl Metadata {
    pub(crate) fn new(ino: u32, inode: &Inode) -> Self {
        let kind = FileType::of(inode);
        let id = |short: U16, long: U32| match short.get() {
            LONG_ID => long.get(),
            short => u32::from(short),
        };
        let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice)
            .then(|| decode_device(inode.direct[1].get() as u32));
        Self {
            ino,
            kind,
            mode: inode.mode.get() & !MODE_TYPE,
            uid: id(inode.short_uid, inode.uid),
            gid: id(inode.short_gid, inode.gid),
            nlink: u32::try_from(inode.nlink.get()).unwrap_or(0),
            size: inode.size.get(),
            accessed: inode.atime.into(),
            modified: inode.mtime.into(),
            changed: inode.ctime.into(),
            device,
            generation: inode.generation.get(),
            sectors: inode.blocks.get(),
        }
    }
}

/// Stores an owner in both its short and its long form.
pub(crate) fn set_owner(inode: &mut Inode, uid: u32, gid: u32) {
    let short = |id: u32| U16::new(u16::try_from(id).unwrap_or(LONG_ID));
    inode.short_uid = short(uid);
    inode.short_gid = short(gid);
    inode.uid = U32::new(uid);
    inode.gid = U32::new(gid);
}

/// The generation of an inode that never had one: a hash of seed and number, 31 bits wide and never 0.
pub(crate) fn generation(seed: u64, ino: u32) -> U32 {
    // The finaliser of SplitMix64 spreads neighbouring inode numbers over the whole range.
    let mut x = seed.wrapping_add(u64::from(ino).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    U32::new(((x >> 33) as u32).max(1))
}

fn check_number(geometry: &Geometry, ino: u32) -> Result<u64> {
    if ino < ROOT_INODE || ino >= geometry.inodes() {
        return Err(Error::corrupt(format!("inode {ino}"), 0, "no such inode number"));
    }
    Ok(geometry.inode_offset(ino))
}

/// Reads an inode, in use or free.
pub(crate) fn read_any<D: ReadAt>(device: &Device<D>, geometry: &Geometry, ino: u32) -> Result<Inode> {
    device.read_struct("inode", check_number(geometry, ino)?)
}

/// Reads an inode that a directory entry names, and refuses sizes no block map reaches.
pub(crate) fn read<D: ReadAt>(device: &Device<D>, geometry: &Geometry, ino: u32) -> Result<Inode> {
    let offset = check_number(geometry, ino)?;
    let inode: Inode = device.read_struct("inode", offset)?;
    if inode.mode.get() == 0 {
        return Err(Error::corrupt(format!("inode {ino}"), offset, "a directory names it, but it is free"));
    }
    let limit = geometry.max_blocks() * u64::from(geometry.bsize);
    if inode.size.get() > limit {
        return Err(Error::corrupt(format!("inode {ino}"), offset, format!("size {}", inode.size)));
    }
    Ok(inode)
}

/// Writes an inode.
pub(crate) fn write<D: WriteAt>(
    device: &mut Device<D>,
    geometry: &Geometry,
    ino: u32,
    inode: &Inode,
) -> Result<()> {
    device.write("inode", check_number(geometry, ino)?, inode.as_bytes())
}
