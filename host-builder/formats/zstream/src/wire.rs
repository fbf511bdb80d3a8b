//! The records as they stand in a stream (illumos `sys/zfs_ioctl.h`, `dmu_replay_record_t` and its parts).
//!
//! Every record is a [`Header`] of 8 bytes and a body of 304. The structures below are the defined beginnings of the
//! bodies; what follows them up to byte 280 of the record is zero, and bytes 280 to 311 may hold the checksum of the
//! stream up to there ([`RECORD_CHECKSUM_OFFSET`]). Offsets in the comments count from the beginning of the record.
//!
//! The structures are generic over the byte order because a stream has that of the machine which sent it.

use zerocopy::byteorder::{ByteOrder, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The size of every record, in bytes.
pub const RECORD_SIZE: usize = 312;

/// Where newer senders put the checksum of everything up to here, in every record but BEGIN. 32 zero bytes mean that
/// the sender did not.
pub const RECORD_CHECKSUM_OFFSET: usize = 280;

/// The magic number of a BEGIN record.
pub const BEGIN_MAGIC: u64 = 0x2_F5BA_CBAC;

/// Record types (offset 0).
pub mod kind {
    /// The beginning of a stream or of a part of a compound one.
    pub const BEGIN: u32 = 0;
    /// An object and its attributes.
    pub const OBJECT: u32 = 1;
    /// A range of object numbers without objects.
    pub const FREEOBJECTS: u32 = 2;
    /// A block of an object.
    pub const WRITE: u32 = 3;
    /// A range of an object without data.
    pub const FREE: u32 = 4;
    /// The end, with the checksum.
    pub const END: u32 = 5;
    /// A block equal to an earlier one.
    pub const WRITE_BYREF: u32 = 6;
    /// The spill block of an object.
    pub const SPILL: u32 = 7;
    /// A block small enough to live in its block pointer. Newer than 2013.
    pub const WRITE_EMBEDDED: u32 = 8;
    /// Encryption parameters of 32 objects, in raw streams only. Newer than 2013.
    pub const OBJECT_RANGE: u32 = 9;
    /// A range left out on purpose, in redacted streams only. Newer than 2013.
    pub const REDACT: u32 = 10;
}

/// The first 8 bytes of every record.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header<O: ByteOrder> {
    /// 0: one of [`kind`].
    pub kind: U32<O>,
    /// 4: length of the payload of a BEGIN record in bytes; 0 in all others.
    pub payload_length: U32<O>,
}

/// The body of a BEGIN record (`drr_begin`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Begin<O: ByteOrder> {
    /// 8: [`BEGIN_MAGIC`]; its byte order is that of the stream.
    pub magic: U64<O>,
    /// 16: bits 0-1 header type (1 plain, 2 compound), bits 2-31 feature flags.
    pub version_info: U64<O>,
    /// 24: creation time of the snapshot, seconds since 1970.
    pub creation_time: U64<O>,
    /// 32: 2 file system, 3 volume.
    pub objset_type: U32<O>,
    /// 36: 1 clone, 2 case-insensitive, 4 free records present, 8 spill flags kept.
    pub flags: U32<O>,
    /// 40: GUID of the snapshot.
    pub to_guid: U64<O>,
    /// 48: GUID of the snapshot this one is an increment to; 0 in a full stream.
    pub from_guid: U64<O>,
    /// 56: `dataset@snapshot`, NUL-terminated.
    pub to_name: [u8; 256],
}

/// The body of an OBJECT record (`drr_object`). Bytes 34 to 39 and 48 on are padding in 2013.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Object<O: ByteOrder> {
    /// 8: object number, above 0.
    pub object: U64<O>,
    /// 16: object type, one of [`crate::record::object_type`].
    pub object_type: U32<O>,
    /// 20: type of the bonus buffer, 0 for none.
    pub bonus_type: U32<O>,
    /// 24: block size in bytes, a multiple of 512.
    pub block_size: U32<O>,
    /// 28: length of the bonus buffer in bytes; the payload is this, rounded up to 8.
    pub bonus_length: U32<O>,
    /// 32: checksum algorithm, 0 to inherit.
    pub checksum: u8,
    /// 33: compression algorithm, 0 to inherit.
    pub compress: u8,
    /// 34: slots of 512 bytes the dnode takes; 0 means 1. Newer than 2013.
    pub dnode_slots: u8,
    /// 35: 4 = has a spill block. Newer than 2013.
    pub flags: u8,
    /// 36: length of the encrypted bonus buffer, raw streams only.
    pub raw_bonus_length: U32<O>,
    /// 40: GUID of the snapshot.
    pub to_guid: U64<O>,
    /// 48: log2 of the size of indirect blocks, raw streams only.
    pub indirect_shift: u8,
    /// 49: levels of indirection, raw streams only.
    pub levels: u8,
    /// 50: block pointers of the dnode, raw streams only.
    pub block_pointers: u8,
    /// 51: zero.
    pub pad: [u8; 5],
    /// 56: number of the last block, raw streams only.
    pub max_block: U64<O>,
}

/// The body of a FREEOBJECTS record (`drr_freeobjects`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FreeObjects<O: ByteOrder> {
    /// 8: first object number of the range.
    pub first: U64<O>,
    /// 16: how many object numbers; the sum must not overflow.
    pub count: U64<O>,
    /// 24: GUID of the snapshot.
    pub to_guid: U64<O>,
}

/// The body of a WRITE record (`drr_write`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Write<O: ByteOrder> {
    /// 8: object number.
    pub object: U64<O>,
    /// 16: type of the object, as in its OBJECT record.
    pub object_type: U32<O>,
    /// 20: zero.
    pub pad: U32<O>,
    /// 24: offset in the object, a multiple of its block size.
    pub offset: U64<O>,
    /// 32: length of the block once decompressed: the object's block size.
    pub logical_length: U64<O>,
    /// 40: GUID of the snapshot.
    pub to_guid: U64<O>,
    /// 48: algorithm of the checksum at 56; senders write 7 (fletcher-4) whatever stands there.
    pub checksum_type: u8,
    /// 49: 1 = the checksum is fit for deduplication.
    pub checksum_flags: u8,
    /// 50: compression of the payload, 0 for none. Newer than 2013.
    pub compression: u8,
    /// 51: zero.
    pub pad2: [u8; 5],
    /// 56: checksum of the block on the sender's disk; only tools for deduplication read it.
    pub key_checksum: [U64<O>; 4],
    /// 88: sizes and compression of the block on the sender's disk, likewise.
    pub key_properties: U64<O>,
    /// 96: length of a compressed payload in bytes. Newer than 2013.
    pub compressed_length: U64<O>,
}

/// The body of a FREE record (`drr_free`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Free<O: ByteOrder> {
    /// 8: object number.
    pub object: U64<O>,
    /// 16: offset of the range in the object.
    pub offset: U64<O>,
    /// 24: length of the range; all ones reaches to the end of the object.
    pub length: U64<O>,
    /// 32: GUID of the snapshot.
    pub to_guid: U64<O>,
}

/// The body of an END record (`drr_end`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct End<O: ByteOrder> {
    /// 8: checksum of everything from the first byte of BEGIN to the last before this record.
    pub checksum: [U64<O>; 4],
    /// 40: GUID of the snapshot.
    pub to_guid: U64<O>,
}

/// The body of a WRITE_BYREF record (`drr_write_byref`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct WriteByref<O: ByteOrder> {
    /// 8: object number.
    pub object: U64<O>,
    /// 16: offset in the object.
    pub offset: U64<O>,
    /// 24: length of the block.
    pub length: U64<O>,
    /// 32: GUID of the snapshot.
    pub to_guid: U64<O>,
    /// 40: GUID of the snapshot the data is in.
    pub ref_guid: U64<O>,
    /// 48: object the data is in.
    pub ref_object: U64<O>,
    /// 56: offset of the data in that object.
    pub ref_offset: U64<O>,
}

/// The body of a SPILL record (`drr_spill`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Spill<O: ByteOrder> {
    /// 8: object number.
    pub object: U64<O>,
    /// 16: length of the spill block, a multiple of 512.
    pub length: U64<O>,
    /// 24: GUID of the snapshot.
    pub to_guid: U64<O>,
    /// 32: flags. Newer than 2013.
    pub flags: u8,
    /// 33: compression of the payload, raw streams only.
    pub compression: u8,
    /// 34: zero.
    pub pad: [u8; 6],
    /// 40: length of a compressed payload, raw streams only.
    pub compressed_length: U64<O>,
}

/// The body of a WRITE_EMBEDDED record (`drr_write_embedded`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct WriteEmbedded<O: ByteOrder> {
    /// 8: object number.
    pub object: U64<O>,
    /// 16: offset in the object.
    pub offset: U64<O>,
    /// 24: length of the range of the object the block stands for.
    pub length: U64<O>,
    /// 32: GUID of the snapshot.
    pub to_guid: U64<O>,
    /// 40: compression of the payload.
    pub compression: u8,
    /// 41: kind of embedded block, 0 for data.
    pub embedded_type: u8,
    /// 42: zero.
    pub pad: [u8; 6],
    /// 48: length of the data once decompressed.
    pub logical_length: U32<O>,
    /// 52: length of the payload before it is rounded up to 8, at most 112.
    pub physical_length: U32<O>,
}

/// The layouts are what the comments say in either byte order, checked when the crate is compiled.
const _: () = {
    use zerocopy::byteorder::LE;
    assert!(size_of::<Header<LE>>() == 8);
    assert!(size_of::<Header<LE>>() + size_of::<Begin<LE>>() == RECORD_SIZE);
    assert!(size_of::<Object<LE>>() == 64 - 8);
    assert!(size_of::<FreeObjects<LE>>() == 32 - 8);
    assert!(size_of::<Write<LE>>() == 104 - 8);
    assert!(size_of::<Free<LE>>() == 40 - 8);
    assert!(size_of::<End<LE>>() == 48 - 8);
    assert!(size_of::<WriteByref<LE>>() == 64 - 8);
    assert!(size_of::<Spill<LE>>() == 48 - 8);
    assert!(size_of::<WriteEmbedded<LE>>() == 56 - 8);
};
