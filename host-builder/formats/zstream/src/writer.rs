//! Writing a stream record by record, with its checksum.

use std::io::Write;

use zerocopy::byteorder::{LE, U32, U64};
use zerocopy::{FromZeros, IntoBytes};

use crate::checksum::{ByteOrder, Fletcher4};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::record::ObjsetType;
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
}

/// Writes a plain stream in little-endian byte order, without any feature flag and without checksums in records: what
/// every receiver from 2010 on takes.
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
        body.version_info = 1.into();
        body.creation_time = options.creation_time.into();
        body.objset_type = options.objset_type.code().into();
        body.to_guid = options.to_guid.into();
        body.to_name[..options.to_name.len()].copy_from_slice(options.to_name.as_bytes());
        writer.push(kind::BEGIN, &body, &[])?;
        Ok(writer)
    }

    /// Declares an object without a bonus buffer. `block_size` is in bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the output.
    pub fn object(&mut self, object: u64, object_type: u32, block_size: u32) -> Result<()> {
        let mut body = wire::Object::<LE>::new_zeroed();
        body.object = object.into();
        body.object_type = object_type.into();
        body.block_size = block_size.into();
        body.to_guid = self.to_guid.into();
        self.push(kind::OBJECT, &body, &[])
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
        for part in [&self.record[..], payload] {
            self.sum.update(part, ByteOrder::Little);
            self.output.write_all(part).map_err(|source| self.place.io("cannot write the stream", source))?;
        }
        self.place.record += 1;
        self.place.offset += (RECORD_SIZE + payload.len()) as u64;
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
