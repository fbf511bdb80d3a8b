//! Records with their fields as numbers of the running machine, checked as far as one record alone can be.

use std::fmt;

use zerocopy::FromBytes;
use zerocopy::byteorder::{BE, ByteOrder as Order, LE, U64};

use crate::checksum::ByteOrder;
use crate::wire::{self, RECORD_SIZE, kind};

/// The largest block of any ZFS, in bytes (OpenZFS `SPA_MAXBLOCKSIZE`). It bounds every payload but that of BEGIN.
pub const MAX_BLOCK_SIZE: u64 = 16 << 20;

/// The largest block that needs no feature flag, in bytes: the maximum of 2013.
pub const MAX_PLAIN_BLOCK_SIZE: u32 = 128 << 10;

/// The largest payload of an embedded block, in bytes (OpenZFS `BPE_PAYLOAD_SIZE`).
const MAX_EMBEDDED: u32 = 112;

/// The largest bonus buffer: a dnode of 32 slots without its fixed part and one block pointer, in bytes.
const MAX_BONUS: u32 = 32 * 512 - 64 - 128;

/// The length that means "to the end of the object" in a FREE record.
pub const TO_END: u64 = u64::MAX;

/// Object types (illumos `sys/dmu.h`, `dmu_object_type_t`).
pub mod object_type {
    /// The contents of a file.
    pub const FILE: u32 = 19;
    /// The name table of a folder.
    pub const DIRECTORY: u32 = 20;
    /// The name table from which everything in a file system is found. It is object 1.
    pub const MASTER_NODE: u32 = 21;
    /// The name table of files that were removed while they were open.
    pub const DELETE_QUEUE: u32 = 22;
    /// An access control list in an object of its own, in the form of file systems before version 3.
    pub const OLD_ACL: u32 = 18;
    /// An access control list in an object of its own.
    pub const ACL: u32 = 33;
    /// The names of domains of other systems, by which FUIDs name users.
    pub const FUID_TABLE: u32 = 35;
    /// The name table from which the next two are found.
    pub const SA_MASTER_NODE: u32 = 45;
    /// The name table of attributes.
    pub const SA_REGISTRY: u32 = 46;
    /// The name table of their layouts.
    pub const SA_LAYOUTS: u32 = 47;
    /// The contents of a volume.
    pub const ZVOL: u32 = 23;
    /// The name table with the properties of a volume.
    pub const ZVOL_PROP: u32 = 24;

    /// A type in words; `None` for types that are none of file systems and volumes.
    pub fn name(code: u32) -> Option<&'static str> {
        Some(match code {
            FILE => "file",
            DIRECTORY => "folder",
            MASTER_NODE => "master node",
            DELETE_QUEUE => "delete queue",
            OLD_ACL => "old access control list",
            ACL => "access control list",
            FUID_TABLE => "domains",
            SA_MASTER_NODE => "attribute tables",
            SA_REGISTRY => "attribute registry",
            SA_LAYOUTS => "attribute layouts",
            ZVOL => "volume",
            ZVOL_PROP => "volume properties",
            _ => return None,
        })
    }

    /// Whether the contents of such an object are a name table.
    pub fn is_table(code: u32) -> bool {
        const TABLES: [u32; 7] =
            [DIRECTORY, MASTER_NODE, DELETE_QUEUE, SA_MASTER_NODE, SA_REGISTRY, SA_LAYOUTS, ZVOL_PROP];
        TABLES.contains(&code)
    }
}

/// What a snapshot holds (offset 32 of BEGIN; illumos `dmu_objset_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ObjsetType {
    /// A ZPL file system.
    FileSystem,
    /// A block volume.
    Volume,
    /// Anything else; compound streams say 0.
    Other(u32),
}

impl ObjsetType {
    /// The number in a BEGIN record.
    pub fn code(self) -> u32 {
        match self {
            Self::FileSystem => 2,
            Self::Volume => 3,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u32) -> Self {
        match code {
            2 => Self::FileSystem,
            3 => Self::Volume,
            other => Self::Other(other),
        }
    }
}

/// The feature flags of a stream: bits 2 to 31 of the version information, shifted down (OpenZFS
/// `sys/zfs_ioctl.h`, `DMU_BACKUP_FEATURE_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features(pub u32);

impl Features {
    /// Objects may have spill blocks: every file system of version 5 says so.
    pub const SA_SPILL: Self = Self(1 << 2);
    /// Blocks may be references to others, in WRITE_BYREF records (`zfs send -D`).
    pub const DEDUP: Self = Self(1 << 0);
    /// Blocks may be larger than [`MAX_PLAIN_BLOCK_SIZE`].
    pub const LARGE_BLOCKS: Self = Self(1 << 19);
    /// The rest of an interrupted stream, which begins in the middle (`zfs send -t`).
    pub const RESUMING: Self = Self(1 << 20);
    /// Parts of the contents left out on purpose.
    pub const REDACTED: Self = Self(1 << 21);
    /// Dnodes may take more than one slot.
    pub const LARGE_DNODE: Self = Self(1 << 23);
    /// Name tables of one block may be larger than [`MAX_PLAIN_BLOCK_SIZE`].
    pub const LARGE_MICROZAP: Self = Self(1 << 29);
    /// Encrypted blocks as they stand on the sender's disk.
    pub const RAW: Self = Self(1 << 24);

    /// Every flag known in 2026 with its name; the first three are all that 2013 knew.
    const NAMES: [(u32, &'static str); 16] = [
        (0, "dedup"),
        (1, "dedupprops"),
        (2, "sa_spill"),
        (16, "embed_data"),
        (17, "lz4"),
        (19, "large_blocks"),
        (20, "resuming"),
        (21, "redacted"),
        (22, "compressed"),
        (23, "large_dnode"),
        (24, "raw"),
        (25, "zstd"),
        (26, "holds"),
        (27, "switch_to_large_blocks"),
        (28, "longname"),
        (29, "large_microzap"),
    ];

    /// True when every flag of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags this crate has no name for.
    #[must_use]
    pub fn unknown(self) -> Self {
        Self(Self::NAMES.iter().fold(self.0, |left, &(bit, _)| left & !(1 << bit)))
    }

    /// What flags without a name mean to who has such a stream: which they are, and who sends them.
    fn unknown_senders(self) -> String {
        let unknown = self.unknown();
        let mut words = format!("the stream has features that are not known here ({unknown}): ");
        // illumos `sys/zfs_ioctl.h` reserves bits 3 to 15 and 18 for others.
        words.push_str(match unknown.0 {
            closed if closed & !0xfff8 == 0 => "closed systems such as Oracle Solaris send them",
            delphix if delphix == 1 << 18 => "the systems of Delphix send it",
            _ => "a newer ZFS sends them",
        });
        words.push_str("; send the snapshot from illumos or OpenZFS, without -w, -L, -e and -c");
        words
    }

    /// True when a receiver of May 2013 takes a stream with these flags.
    pub fn known_in_2013(self) -> bool {
        self.0 & !0b111 == 0
    }
}

/// The names of the flags separated by commas, unknown ones as `bit N`; `none` when there is none.
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for bit in (0..32).filter(|bit| self.0 & (1 << bit) != 0) {
            match Self::NAMES.iter().find(|&&(known, _)| known == bit) {
                Some((_, name)) => write!(f, "{separator}{name}")?,
                None => write!(f, "{separator}bit {bit}")?,
            }
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// A record without its payload. The comments of [`wire`] describe fields that are not described here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// The beginning of a stream, of the wrapping of a compound stream, or of one of its parts.
    Begin(Begin),
    /// An object; the payload is its bonus buffer, padded to a multiple of 8.
    Object(Object),
    /// A range of object numbers without objects.
    FreeObjects {
        /// First number of the range.
        first: u64,
        /// Length of the range; `first + count` does not overflow.
        count: u64,
    },
    /// A block; the payload is its contents, possibly compressed.
    Write(Write),
    /// A range of an object without data.
    Free {
        /// The object.
        object: u64,
        /// Where the range begins, in bytes.
        offset: u64,
        /// Length of the range in bytes, or [`TO_END`]; `offset + length` does not overflow otherwise.
        length: u64,
    },
    /// The end of a stream or of a part of a compound one. The checksum has been verified.
    End {
        /// The checksum of everything before.
        checksum: [u64; 4],
    },
    /// A block equal to an earlier one.
    WriteByref(WriteByref),
    /// A spill block, the payload.
    Spill {
        /// The object it belongs to.
        object: u64,
        /// Its length in bytes once decompressed, 1 to [`MAX_BLOCK_SIZE`].
        length: u64,
        /// Compression of the payload, 0 for none.
        compression: u8,
    },
    /// A small block; the payload is its contents as the sender stored them, padded to a multiple of 8.
    WriteEmbedded(WriteEmbedded),
}

/// A BEGIN record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    /// True for the wrapping of a compound stream (`zfs send -R`); its payload is an nvlist.
    pub compound: bool,
    /// Feature flags.
    pub features: Features,
    /// Creation time of the snapshot, seconds since 1970.
    pub creation_time: u64,
    /// What the snapshot holds.
    pub objset_type: ObjsetType,
    /// Flags, see [`wire::Begin::flags`].
    pub flags: u32,
    /// GUID of the snapshot.
    pub to_guid: u64,
    /// GUID of the base of an incremental stream; 0 in a full one.
    pub from_guid: u64,
    /// `dataset@snapshot`, with anything that is not UTF-8 replaced.
    pub to_name: String,
}

/// An OBJECT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Object number.
    pub object: u64,
    /// Object type.
    pub object_type: u32,
    /// Type of the bonus buffer, 0 for none.
    pub bonus_type: u32,
    /// Block size in bytes: a multiple of 512 up to [`MAX_BLOCK_SIZE`].
    pub block_size: u32,
    /// Length of the bonus buffer in bytes.
    pub bonus_length: u32,
    /// Slots of the dnode, at least 1.
    pub dnode_slots: u8,
    /// Flags, see [`wire::Object::flags`].
    pub flags: u8,
}

/// A WRITE record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Object number.
    pub object: u64,
    /// Object type.
    pub object_type: u32,
    /// Offset in the object, in bytes; `offset + logical_length` does not overflow.
    pub offset: u64,
    /// Length once decompressed, 1 to [`MAX_BLOCK_SIZE`].
    pub logical_length: u64,
    /// Compression of the payload (ZFS `zio_compress` numbers), 0 for none.
    pub compression: u8,
}

/// A WRITE_BYREF record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteByref {
    /// Object number.
    pub object: u64,
    /// Offset in the object; `offset + length` does not overflow.
    pub offset: u64,
    /// Length of the block, 1 to [`MAX_BLOCK_SIZE`].
    pub length: u64,
    /// GUID of the snapshot the data is in, 0 or that of this stream for an earlier block of this stream.
    pub ref_guid: u64,
    /// Object the data is in.
    pub ref_object: u64,
    /// Offset of the data there; `ref_offset + length` does not overflow.
    pub ref_offset: u64,
}

/// A WRITE_EMBEDDED record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteEmbedded {
    /// Object number.
    pub object: u64,
    /// Offset in the object; `offset + length` does not overflow.
    pub offset: u64,
    /// Length of the range of the object the block stands for, 1 to [`MAX_BLOCK_SIZE`].
    pub length: u64,
    /// Compression of the payload.
    pub compression: u8,
    /// Kind of embedded block, 0 for data.
    pub embedded_type: u8,
    /// Length of the data once decompressed, at most [`MAX_BLOCK_SIZE`].
    pub logical_length: u32,
    /// Length of the data as it is in the payload, at most 112.
    pub physical_length: u32,
}

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// A field is out of range.
    Bad(String),
    /// The record exists but is not read here.
    Unsupported(String),
}

impl Undecodable {
    fn bad(words: impl Into<String>) -> Self {
        Self::Bad(words.into())
    }
}

/// The byte order of a stream that begins with `bytes`, when it is one.
pub(crate) fn byte_order(bytes: &[u8; RECORD_SIZE]) -> Option<ByteOrder> {
    let (magic, _) = U64::<LE>::read_from_prefix(&bytes[8..]).ok()?;
    match magic.get() {
        // A BEGIN record is of type 0, which looks the same in both orders.
        _ if bytes[..4] != [0; 4] => None,
        wire::BEGIN_MAGIC => Some(ByteOrder::Little),
        swapped if swapped.swap_bytes() == wire::BEGIN_MAGIC => Some(ByteOrder::Big),
        _ => None,
    }
}

/// Decodes a record and the length of the payload that follows it, in bytes, a multiple of 4.
pub(crate) fn decode(bytes: &[u8; RECORD_SIZE], order: ByteOrder) -> Result<(Record, u64), Undecodable> {
    match order {
        ByteOrder::Little => decode_as::<LE>(bytes),
        ByteOrder::Big => decode_as::<BE>(bytes),
    }
}

/// The four words of a checksum stored at `at` in a record.
pub(crate) fn checksum_at(bytes: &[u8; RECORD_SIZE], at: usize, order: ByteOrder) -> [u64; 4] {
    let word = |n: usize| {
        let (bytes, _) =
            bytes[at + n * 8..].split_first_chunk().expect("callers pass offsets 32 below the end");
        match order {
            ByteOrder::Little => u64::from_le_bytes(*bytes),
            ByteOrder::Big => u64::from_be_bytes(*bytes),
        }
    };
    [word(0), word(1), word(2), word(3)]
}

fn decode_as<O: Order>(bytes: &[u8; RECORD_SIZE]) -> Result<(Record, u64), Undecodable> {
    let header: &wire::Header<O> = prefix(bytes, 0);
    match header.kind.get() {
        kind::BEGIN => begin(prefix::<wire::Begin<O>>(bytes, 8), header.payload_length.get()),
        kind::OBJECT => object(prefix::<wire::Object<O>>(bytes, 8)),
        kind::FREEOBJECTS => {
            let body: &wire::FreeObjects<O> = prefix(bytes, 8);
            let (first, count) = (body.first.get(), body.count.get());
            first
                .checked_add(count)
                .ok_or_else(|| Undecodable::bad("FREEOBJECTS reaches beyond the last object number"))?;
            Ok((Record::FreeObjects { first, count }, 0))
        }
        kind::WRITE => write(prefix::<wire::Write<O>>(bytes, 8)),
        kind::FREE => {
            let body: &wire::Free<O> = prefix(bytes, 8);
            let (object, offset, length) = (body.object.get(), body.offset.get(), body.length.get());
            if length != TO_END {
                range("FREE", offset, length)?;
            }
            Ok((Record::Free { object, offset, length }, 0))
        }
        kind::END => {
            let body: &wire::End<O> = prefix(bytes, 8);
            Ok((Record::End { checksum: body.checksum.map(U64::get) }, 0))
        }
        kind::WRITE_BYREF => write_byref(prefix::<wire::WriteByref<O>>(bytes, 8)),
        kind::SPILL => {
            let body: &wire::Spill<O> = prefix(bytes, 8);
            let length = body.length.get();
            block_length("SPILL", length)?;
            let payload = if body.compression == 0 { length } else { body.compressed_length.get() };
            let record = Record::Spill { object: body.object.get(), length, compression: body.compression };
            Ok((record, payload_length("SPILL", payload)?))
        }
        kind::WRITE_EMBEDDED => write_embedded(prefix::<wire::WriteEmbedded<O>>(bytes, 8)),
        kind::OBJECT_RANGE => Err(Undecodable::Unsupported(
            "OBJECT_RANGE: this is a raw stream of an encrypted dataset, which only ZFS with its key can read".into(),
        )),
        kind::REDACT => Err(Undecodable::Unsupported(
            "REDACT: this is a redacted stream, with parts left out on purpose".into(),
        )),
        other => Err(Undecodable::bad(format!("there is no record of type {other}"))),
    }
}

fn begin<O: Order>(body: &wire::Begin<O>, payload: u32) -> Result<(Record, u64), Undecodable> {
    if body.magic.get() != wire::BEGIN_MAGIC {
        return Err(Undecodable::bad("BEGIN without its magic number"));
    }
    let version = body.version_info.get();
    let compound = match version & 3 {
        1 => false,
        2 => true,
        other => return Err(Undecodable::bad(format!("BEGIN of unknown header type {other}"))),
    };
    if version >> 32 != 0 {
        return Err(Undecodable::Unsupported(format!("BEGIN with unknown version information {version:#x}")));
    }
    // The checksum runs over whole words, so no sender can make a payload of another length.
    if !payload.is_multiple_of(4) {
        return Err(Undecodable::bad(format!(
            "BEGIN with a payload of {payload} bytes, not a multiple of 4"
        )));
    }
    let features = Features((version >> 2) as u32);
    if features.contains(Features::RAW) {
        return Err(Undecodable::Unsupported(
            "this is a raw stream (zfs send -w) of an encrypted dataset, which only ZFS with its key can read".into(),
        ));
    }
    if features.contains(Features::REDACTED) {
        return Err(Undecodable::Unsupported(
            "this is a redacted stream (zfs send --redact), with parts left out on purpose".into(),
        ));
    }
    if features.unknown() != Features::default() {
        return Err(Undecodable::Unsupported(features.unknown_senders()));
    }
    let name = body.to_name.split(|&byte| byte == 0).next().unwrap_or_default();
    let begin = Begin {
        compound,
        features,
        creation_time: body.creation_time.get(),
        objset_type: ObjsetType::from_code(body.objset_type.get()),
        flags: body.flags.get(),
        to_guid: body.to_guid.get(),
        from_guid: body.from_guid.get(),
        to_name: String::from_utf8_lossy(name).into_owned(),
    };
    Ok((Record::Begin(begin), u64::from(payload)))
}

fn object<O: Order>(body: &wire::Object<O>) -> Result<(Record, u64), Undecodable> {
    let (object, block_size) = (body.object.get(), body.block_size.get());
    let bonus_length = body.bonus_length.get();
    if object == 0 {
        return Err(Undecodable::bad("OBJECT with number 0"));
    }
    if block_size == 0 || !block_size.is_multiple_of(512) || u64::from(block_size) > MAX_BLOCK_SIZE {
        return Err(Undecodable::bad(format!("OBJECT {object} has a block size of {block_size} bytes")));
    }
    if bonus_length > MAX_BONUS {
        return Err(Undecodable::bad(format!("OBJECT {object} has a bonus buffer of {bonus_length} bytes")));
    }
    if body.raw_bonus_length.get() != 0 {
        return Err(Undecodable::bad(format!(
            "OBJECT {object} has a raw bonus buffer in a stream that is not raw"
        )));
    }
    let record = Object {
        object,
        object_type: body.object_type.get(),
        bonus_type: body.bonus_type.get(),
        block_size,
        bonus_length,
        dnode_slots: body.dnode_slots.max(1),
        flags: body.flags,
    };
    Ok((Record::Object(record), u64::from(bonus_length.next_multiple_of(8))))
}

fn write<O: Order>(body: &wire::Write<O>) -> Result<(Record, u64), Undecodable> {
    let (offset, logical_length) = (body.offset.get(), body.logical_length.get());
    block_length("WRITE", logical_length)?;
    range("WRITE", offset, logical_length)?;
    let payload = if body.compression == 0 { logical_length } else { body.compressed_length.get() };
    let record = Write {
        object: body.object.get(),
        object_type: body.object_type.get(),
        offset,
        logical_length,
        compression: body.compression,
    };
    Ok((Record::Write(record), payload_length("WRITE", payload)?))
}

fn write_byref<O: Order>(body: &wire::WriteByref<O>) -> Result<(Record, u64), Undecodable> {
    let (offset, length, ref_offset) = (body.offset.get(), body.length.get(), body.ref_offset.get());
    block_length("WRITE_BYREF", length)?;
    range("WRITE_BYREF", offset, length)?;
    range("WRITE_BYREF", ref_offset, length)?;
    let record = WriteByref {
        object: body.object.get(),
        offset,
        length,
        ref_guid: body.ref_guid.get(),
        ref_object: body.ref_object.get(),
        ref_offset,
    };
    Ok((Record::WriteByref(record), 0))
}

fn write_embedded<O: Order>(body: &wire::WriteEmbedded<O>) -> Result<(Record, u64), Undecodable> {
    let (offset, length) = (body.offset.get(), body.length.get());
    let (logical_length, physical_length) = (body.logical_length.get(), body.physical_length.get());
    block_length("WRITE_EMBEDDED", length)?;
    range("WRITE_EMBEDDED", offset, length)?;
    block_length("WRITE_EMBEDDED", u64::from(logical_length))?;
    if physical_length > MAX_EMBEDDED {
        return Err(Undecodable::bad(format!("WRITE_EMBEDDED with {physical_length} bytes, more than fit")));
    }
    let record = WriteEmbedded {
        object: body.object.get(),
        offset,
        length,
        compression: body.compression,
        embedded_type: body.embedded_type,
        logical_length,
        physical_length,
    };
    Ok((Record::WriteEmbedded(record), u64::from(physical_length.next_multiple_of(8))))
}

/// The structure at a fixed offset of a record, which always holds it.
fn prefix<T: FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned>(
    bytes: &[u8; RECORD_SIZE],
    at: usize,
) -> &T {
    let (body, _) = T::ref_from_prefix(&bytes[at..]).expect("no structure is larger than a record");
    body
}

fn block_length(name: &str, length: u64) -> Result<(), Undecodable> {
    if (1..=MAX_BLOCK_SIZE).contains(&length) {
        Ok(())
    } else {
        Err(Undecodable::bad(format!("{name} of a block of {length} bytes")))
    }
}

fn range(name: &str, offset: u64, length: u64) -> Result<(), Undecodable> {
    match offset.checked_add(length) {
        Some(_) => Ok(()),
        None => Err(Undecodable::bad(format!("{name} at {offset} reaches beyond the last offset there is"))),
    }
}

/// Payloads are whole 64-bit words in every stream, or receivers could not checksum them.
fn payload_length(name: &str, length: u64) -> Result<u64, Undecodable> {
    if (1..=MAX_BLOCK_SIZE).contains(&length) && length.is_multiple_of(8) {
        Ok(length)
    } else {
        Err(Undecodable::bad(format!("{name} with a payload of {length} bytes")))
    }
}
