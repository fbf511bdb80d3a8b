//! Writing a stream record by record, with its checksum.

use std::io::Write;

use zerocopy::byteorder::{LE, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use crate::checksum::{ByteOrder, Fletcher4};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::record::{Features, ObjsetType};
use crate::wire::{self, RECORD_SIZE, kind};

/// fletcher-4, which real senders name in every WRITE record. The checksum itself, of use to deduplication alone, is
/// left zero.
const WRITE_CHECKSUM_TYPE: u8 = 7;

/// What stands at the beginning of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeginOptions {
    /// `dataset@snapshot`. The part before the `@` is of no consequence to most receivers.
    pub to_name: String,
    /// GUID of the snapshot, not 0. Two snapshots of one pool with the same GUID make later clone streams pick the
    /// wrong origin, so it is to be derived from the contents or random.
    pub to_guid: u64,
    /// Creation time of the snapshot, seconds since 1970.
    pub creation_time: u64,
    /// What the snapshot holds.
    pub objset_type: ObjsetType,
    /// Feature flags, of those that a receiver of 2013 knows.
    pub features: Features,
    /// For an incremental stream, the origin's GUID; the stream makes a clone of it. 0 for a full one.
    pub from_guid: u64,
}

/// A flag of BEGIN: the origin of an incremental stream is a snapshot of another dataset (`DRR_FLAG_CLONE`).
const CLONE: u32 = 1;

/// An object as it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectHeader {
    /// Its number, above 0.
    pub object: u64,
    /// Its type, one of [`crate::record::object_type`].
    pub object_type: u32,
    /// Size of its blocks in bytes, a multiple of 512 up to 128 KiB.
    pub block_size: u32,
    /// Type of its bonus buffer, 0 for none.
    pub bonus_type: u32,
    /// Slots of 512 bytes that its dnode takes. More than 1 needs [`Features::LARGE_DNODE`].
    pub dnode_slots: u8,
}

/// Writes a plain stream in little-endian byte order, with no feature flags but those of 2010 and without checksums in records: what
/// every receiver from then on takes.
#[derive(Debug)]
pub struct StreamWriter<W> {
    output: W,
    sum: Fletcher4,
    place: Place,
    to_guid: u64,
    record: [u8; RECORD_SIZE],
}

impl<W: Write> StreamWriter<W> {
    /// Begins a stream.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the name is not that of a snapshot or the GUID is 0, and
    /// [`ErrorKind::Io`] from `output`.
    pub fn begin(output: W, options: &BeginOptions) -> Result<Self> {
        let mut writer = Self {
            output,
            sum: Fletcher4::new(),
            place: Place::default(),
            to_guid: options.to_guid,
            record: [0; RECORD_SIZE],
        };
        let invalid = |detail: String| Place::default().error(ErrorKind::InvalidInput, detail);
        check_snapshot_name(&options.to_name)
            .map_err(|why| invalid(format!("{:?} {why}", options.to_name)))?;
        if options.to_guid == 0 {
            return Err(invalid("the GUID of a snapshot cannot be 0".into()));
        }
        let mut body = wire::Begin::<LE>::new_zeroed();
        body.magic = wire::BEGIN_MAGIC.into();
        // Header type 1, a plain stream, and the flags above it.
        body.version_info = (u64::from(options.features.0) << 2 | 1).into();
        body.creation_time = options.creation_time.into();
        body.objset_type = options.objset_type.code().into();
        body.flags = if options.from_guid == 0 { 0 } else { CLONE }.into();
        body.to_guid = options.to_guid.into();
        body.from_guid = options.from_guid.into();
        body.to_name[..options.to_name.len()].copy_from_slice(options.to_name.as_bytes());
        writer.push(kind::BEGIN, &body, &[])?;
        Ok(writer)
    }

    /// Declares an object with its bonus buffer, which may be empty.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the output.
    pub fn object(&mut self, header: &ObjectHeader, bonus: &[u8]) -> Result<()> {
        let mut body = wire::Object::<LE>::new_zeroed();
        body.object = header.object.into();
        body.object_type = header.object_type.into();
        body.block_size = header.block_size.into();
        body.bonus_type = header.bonus_type.into();
        body.bonus_length = (bonus.len() as u32).into();
        // What was padding in 2013 stays zero where it says nothing.
        body.dnode_slots = if header.dnode_slots > 1 { header.dnode_slots } else { 0 };
        body.to_guid = self.to_guid.into();
        self.push(kind::OBJECT, &body, bonus)
    }

    /// Says that a range of object numbers has no objects any more.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the output.
    pub fn free_objects(&mut self, first: u64, count: u64) -> Result<()> {
        let mut body = wire::FreeObjects::<LE>::new_zeroed();
        body.first = first.into();
        body.count = count.into();
        body.to_guid = self.to_guid.into();
        self.push(kind::FREEOBJECTS, &body, &[])
    }

    /// Makes a range of an object a hole; [`crate::record::TO_END`] is a length that reaches to its end.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the output.
    pub fn free(&mut self, object: u64, offset: u64, length: u64) -> Result<()> {
        let mut body = wire::Free::<LE>::new_zeroed();
        body.object = object.into();
        body.offset = offset.into();
        body.length = length.into();
        body.to_guid = self.to_guid.into();
        self.push(kind::FREE, &body, &[])
    }

    /// Writes the spill block of an object, a multiple of 512 bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the output.
    pub fn spill(&mut self, object: u64, data: &[u8]) -> Result<()> {
        let mut body = wire::Spill::<LE>::new_zeroed();
        body.object = object.into();
        body.length = (data.len() as u64).into();
        body.to_guid = self.to_guid.into();
        self.push(kind::SPILL, &body, data)
    }

    /// Writes one block of an object, `data`, at `offset` in it.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the output.
    pub fn write(&mut self, object: u64, object_type: u32, offset: u64, data: &[u8]) -> Result<()> {
        let mut body = wire::Write::<LE>::new_zeroed();
        body.object = object.into();
        body.object_type = object_type.into();
        body.offset = offset.into();
        body.logical_length = (data.len() as u64).into();
        body.to_guid = self.to_guid.into();
        body.checksum_type = WRITE_CHECKSUM_TYPE;
        self.push(kind::WRITE, &body, data)
    }

    /// Ends the stream and flushes the output. Gives the output back with the checksum of the stream.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the output.
    pub fn end(mut self) -> Result<(W, Totals)> {
        let checksum = self.sum.words();
        let body = wire::End::<LE> { checksum: checksum.map(U64::new), to_guid: self.to_guid.into() };
        self.push(kind::END, &body, &[])?;
        self.output.flush().map_err(|source| self.place.io("cannot write the stream", source))?;
        Ok((self.output, Totals { records: self.place.record, bytes: self.place.offset, checksum }))
    }

    /// An error at the record to be written next.
    pub(crate) fn error(&self, kind: ErrorKind, detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        self.place.error(kind, detail)
    }

    /// The place of the record to be written next.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    fn push(
        &mut self,
        kind: u32,
        body: &(impl IntoBytes + zerocopy::Immutable),
        payload: &[u8],
    ) -> Result<()> {
        let header = wire::Header::<LE> { kind: U32::new(kind), payload_length: U32::new(0) };
        let body = body.as_bytes();
        self.record.fill(0);
        self.record[..8].copy_from_slice(header.as_bytes());
        self.record[8..8 + body.len()].copy_from_slice(body);
        // Payloads are whole 64-bit words.
        let (words, rest) = payload.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let last = &last[..rest.len().next_multiple_of(8)];
        for part in [&self.record[..], words.as_flattened(), last] {
            self.sum.update(part, ByteOrder::Little);
            self.output.write_all(part).map_err(|source| self.place.io("cannot write the stream", source))?;
        }
        self.place.record += 1;
        self.place.offset += (RECORD_SIZE + payload.len().next_multiple_of(8)) as u64;
        Ok(())
    }
}

/// What a finished stream amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Records, BEGIN and END included.
    pub records: u64,
    /// Bytes of the stream.
    pub bytes: u64,
    /// The checksum in the END record.
    pub checksum: [u64; 4],
}

/// The rules of illumos `common/zfs/zfs_namecheck.c` for the name of a snapshot.
fn check_snapshot_name(name: &str) -> std::result::Result<(), &'static str> {
    let (dataset, snapshot) = name.split_once('@').ok_or("is not the name of a snapshot: it has no @")?;
    // 255 bytes and a NUL fit in a BEGIN record.
    if name.len() > 255 {
        return Err("is longer than 255 bytes");
    }
    let component = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.: ".contains(&byte))
    };
    if !dataset.starts_with(|first: char| first.is_ascii_alphabetic())
        || !dataset.split('/').all(component)
        || !component(snapshot)
    {
        return Err("is not a valid name in ZFS");
    }
    Ok(())
}
