//! A stream becomes a volume again.

use std::io::Read;
use std::ops::Range;

use super::{DISK, PROPERTIES, SIZE_NAME, VolumeSink, check_geometry};
use crate::checksum::ByteOrder;
use crate::compress::{Failure, expand};
use crate::error::{Error, ErrorKind, Result};
use crate::reader::StreamReader;
use crate::record::{self, Begin, Features, ObjsetType, Record, object_type};
use crate::zap;
use crate::zero::is_zero;

/// How to extract a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtractOptions {
    /// The most bytes the volume may have. A stream can claim any size, so this is what the caller has room for.
    pub size_limit: u64,
    /// What the sink holds already, for an incremental stream.
    pub base: Option<Base>,
}

/// The volume an incremental stream is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// GUID of its snapshot, which the stream must name.
    pub guid: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its block size in bytes.
    pub block_size: u32,
}

impl From<&VolumeInfo> for Base {
    fn from(info: &VolumeInfo) -> Self {
        Self { guid: info.guid, size: info.size, block_size: info.block_size }
    }
}

/// What a stream says about the volume in it. Of a compound stream with several snapshots it describes the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeInfo {
    /// `dataset@snapshot`.
    pub name: String,
    /// GUID of the snapshot.
    pub guid: u64,
    /// GUID of the snapshot the first part of the stream is an increment to; 0 for a full stream.
    pub from_guid: u64,
    /// Creation time of the snapshot, seconds since 1970.
    pub creation_time: u64,
    /// Size in bytes.
    pub size: u64,
    /// Block size in bytes.
    pub block_size: u32,
    /// Feature flags of the stream, of all its parts together.
    pub features: Features,
    /// True for a clone stream, whose origin is a snapshot of another dataset.
    pub clone: bool,
    /// True for a stream wrapped by `zfs send -R` and the like.
    pub compound: bool,
    /// Snapshots in the stream; images must have one.
    pub snapshots: u64,
    /// Byte order of the sender.
    pub byte_order: ByteOrder,
    /// Blocks of the disk in the stream, in whatever kind of record.
    pub blocks: u64,
    /// Records of the stream.
    pub records: u64,
    /// Length of the stream in bytes.
    pub stream_bytes: u64,
    /// The fletcher-4 checksum of the last snapshot.
    pub checksum: [u64; 4],
}

/// Reads a volume stream to the end of the input and rebuilds the volume in `sink`.
///
/// The sink must read as zero everywhere for a full stream, and hold the base for an incremental one. Blocks of zeros
/// are cleared, not written, so that holes stay holes; a sink that is a file is to be set to the length
/// [`VolumeInfo::size`] afterwards. Every checksum of the stream is verified, but the one over the whole stands at its
/// end: what is in the sink after an error is worthless.
///
/// # Errors
/// Those of [`StreamReader::next_record`]; [`ErrorKind::BadVolume`] when the stream is not of a volume or breaks the
/// rules of [`super`]; [`SizeLimit`](ErrorKind::SizeLimit); [`WrongBase`](ErrorKind::WrongBase);
/// [`TrailingData`](ErrorKind::TrailingData); [`Unsupported`](ErrorKind::Unsupported) for resumed streams and
/// several datasets in one stream; [`Io`](ErrorKind::Io) from input and sink.
pub fn extract<R: Read, S: VolumeSink>(
    input: R,
    sink: &mut S,
    options: &ExtractOptions,
) -> Result<VolumeInfo> {
    let extraction = Extraction {
        stream: StreamReader::new(input),
        sink,
        limit: options.size_limit,
        current: options.base,
        part: None,
        used: options.base.map_or(0..0, |base| 0..base.size),
        packed: Vec::new(),
        block: Vec::new(),
        blocks: 0,
        snapshots: 0,
        compound: false,
        features: Features::default(),
        from_guid: 0,
    };
    extraction.run()
}

struct Extraction<'a, R, S> {
    stream: StreamReader<R>,
    sink: &'a mut S,
    limit: u64,
    /// The volume in the sink: the base, then each snapshot of the stream.
    current: Option<Base>,
    /// The snapshot being read.
    part: Option<Part>,
    /// Outside this range the sink is known to be zero, so that clearing costs nothing there.
    used: Range<u64>,
    /// A compressed block. This and the next are kept to be used again.
    packed: Vec<u8>,
    /// An expanded block.
    block: Vec<u8>,
    blocks: u64,
    snapshots: u64,
    compound: bool,
    features: Features,
    from_guid: u64,
}

struct Part {
    begin: Begin,
    /// Known before the part for an incremental one, from OBJECT 1 for a full one.
    block_size: Option<u32>,
    /// Known before the part for an incremental one, from the contents of object 2 for a full one.
    size: Option<u64>,
}

impl<R: Read, S: VolumeSink> Extraction<'_, R, S> {
    fn run(mut self) -> Result<VolumeInfo> {
        let mut last = None;
        while let Some(record) = self.stream.next_record()? {
            match record {
                Record::Begin(begin) if begin.compound => {
                    self.compound = true;
                    self.features.0 |= begin.features.0;
                }
                Record::Begin(begin) => self.begin(begin)?,
                Record::End { checksum } => {
                    if let Some(part) = self.part.take() {
                        last = Some((self.end(part)?, checksum));
                    }
                }
                Record::Object(object) if object.object == DISK => {
                    self.disk_object(object.object_type, object.block_size)?;
                }
                Record::Write(write) if write.object == DISK => self.disk_write(&write)?,
                Record::WriteEmbedded(write) if write.object == DISK => self.disk_write_embedded(&write)?,
                Record::WriteByref(write) if write.object == DISK => self.disk_write_byref(&write)?,
                Record::Free { object: DISK, offset, length } => self.clear(offset, length)?,
                Record::FreeObjects { first, count } if (first..first + count).contains(&DISK) => {
                    self.clear(0, record::TO_END)?;
                }
                Record::Write(write) if write.object == PROPERTIES && write.offset == 0 => {
                    self.expand(write.compression, write.logical_length, None)?;
                    self.properties()?;
                }
                Record::WriteEmbedded(write) if write.object == PROPERTIES && write.offset == 0 => {
                    self.embedded(&write)?;
                    self.properties()?;
                }
                // Other objects belong to features of volumes newer than the format, such as dump devices.
                _ => {}
            }
        }
        self.stream.expect_end_of_input()?;
        let Some((begin, checksum)) = last else {
            return Err(self.bad("there is no snapshot in the stream"));
        };
        let Some(Base { guid, size, block_size }) = self.current else {
            return Err(self.bad("there is no snapshot in the stream"));
        };
        Ok(VolumeInfo {
            name: begin.to_name,
            guid,
            from_guid: self.from_guid,
            creation_time: begin.creation_time,
            size,
            block_size,
            features: self.features,
            clone: begin.flags & 1 != 0,
            compound: self.compound,
            snapshots: self.snapshots,
            byte_order: self.stream.byte_order(),
            blocks: self.blocks,
            records: self.stream.records(),
            stream_bytes: self.stream.position(),
            checksum,
        })
    }

    /// The beginning of a snapshot: finds out whether it fits what is in the sink.
    fn begin(&mut self, begin: Begin) -> Result<()> {
        match begin.objset_type {
            ObjsetType::Volume => {}
            ObjsetType::FileSystem => {
                return Err(self.bad("this is the stream of a file system, not of a volume"));
            }
            ObjsetType::Other(code) => {
                return Err(self.bad(format!("this is not the stream of a volume but of type {code}")));
            }
        }
        if begin.features.contains(Features::RESUMING) {
            return Err(self.stream.error(
                ErrorKind::Unsupported,
                "this is the rest of an interrupted stream, which begins in the middle of the volume",
            ));
        }
        match self.current {
            None if begin.from_guid != 0 => {
                return Err(self.wrong_base(format!(
                    "this is an incremental stream; the volume with GUID {} must be there first",
                    begin.from_guid
                )));
            }
            Some(base) if begin.from_guid == 0 && self.snapshots == 0 => {
                return Err(self.wrong_base(format!(
                    "this is a full stream, not an increment to the volume with GUID {}",
                    base.guid
                )));
            }
            Some(_) if begin.from_guid == 0 => {
                return Err(self
                    .stream
                    .error(ErrorKind::Unsupported, "there is more than one dataset in the stream"));
            }
            Some(base) if begin.from_guid != base.guid => {
                return Err(self.wrong_base(format!(
                    "this is an increment to the volume with GUID {}, not to that with {}",
                    begin.from_guid, base.guid
                )));
            }
            _ => {}
        }
        if self.snapshots == 0 {
            self.from_guid = begin.from_guid;
        }
        self.snapshots += 1;
        self.features.0 |= begin.features.0;
        self.part = Some(Part {
            begin,
            block_size: self.current.map(|base| base.block_size),
            size: self.current.map(|base| base.size),
        });
        Ok(())
    }

    /// The end of a snapshot: what there must be is there now.
    fn end(&mut self, part: Part) -> Result<Begin> {
        let Some(block_size) = part.block_size else {
            return Err(self.bad("there is no disk (object 1) in the stream"));
        };
        let Some(size) = part.size else {
            return Err(self.bad("the volume's size (object 2, entry \"size\") is not in the stream"));
        };
        check_geometry(size, block_size).map_err(|words| self.bad(words))?;
        if size > self.limit {
            return Err(self.over_limit(size));
        }
        if !self.used.is_empty() && self.used.end > size {
            return Err(self.bad(format!("there is data behind the end of the volume at {size}")));
        }
        self.current = Some(Base { guid: part.begin.to_guid, size, block_size });
        Ok(part.begin)
    }

    fn disk_object(&mut self, kind: u32, block_size: u32) -> Result<()> {
        if kind != object_type::ZVOL {
            return Err(self.bad(format!("object 1 is of type {kind}, not a volume's disk")));
        }
        if !block_size.is_power_of_two() {
            return Err(
                self.bad(format!("the block size of the volume, {block_size}, is not a power of two"))
            );
        }
        let Some(part) = self.part.as_mut() else { return Ok(()) };
        match part.block_size.replace(block_size) {
            Some(before) if before != block_size => {
                Err(self.bad(format!("the block size changes from {before} to {block_size}")))
            }
            _ => Ok(()),
        }
    }

    fn disk_write(&mut self, write: &record::Write) -> Result<()> {
        self.check_block(write.offset, write.logical_length)?;
        if write.compression != 0 {
            self.expand(write.compression, write.logical_length, None)?;
            return self.put_block(write.offset);
        }
        let mut at = write.offset;
        let place = self.stream.place();
        while let Some(chunk) = self.stream.next_chunk()? {
            let end = at + chunk.len() as u64;
            if is_zero(chunk) {
                clear(self.sink, &mut self.used, at..end)
            } else {
                put(self.sink, &mut self.used, at, chunk)
            }
            .map_err(|source| place.io("cannot write the volume", source))?;
            at = end;
        }
        Ok(())
    }

    fn disk_write_embedded(&mut self, write: &record::WriteEmbedded) -> Result<()> {
        self.check_block(write.offset, write.length)?;
        if u64::from(write.logical_length) != write.length {
            return Err(self.bad(format!(
                "an embedded block of {} bytes stands for {}",
                write.logical_length, write.length
            )));
        }
        self.embedded(write)?;
        self.put_block(write.offset)
    }

    fn disk_write_byref(&mut self, write: &record::WriteByref) -> Result<()> {
        self.check_block(write.offset, write.length)?;
        let own = self.part.as_ref().is_some_and(|part| [0, part.begin.to_guid].contains(&write.ref_guid));
        if !own || write.ref_object != DISK {
            return Err(self.stream.error(
                ErrorKind::Unsupported,
                "a block is a reference to another dataset than this volume",
            ));
        }
        if write.ref_offset + write.length > self.limit {
            return Err(self.over_limit(write.ref_offset + write.length));
        }
        self.block.resize(write.length as usize, 0);
        self.sink
            .read(write.ref_offset, &mut self.block)
            .map_err(|source| self.stream.place().io("cannot read the volume", source))?;
        self.put_block(write.offset)
    }

    /// A block of the disk is as large as OBJECT 1 said, and inside the limit.
    fn check_block(&mut self, offset: u64, length: u64) -> Result<()> {
        let Some(block_size) = self.part.as_ref().and_then(|part| part.block_size).map(u64::from) else {
            return Err(self.bad("a block of the disk comes before its OBJECT record"));
        };
        if length != block_size || !offset.is_multiple_of(block_size) {
            return Err(self.bad(format!(
                "a block of {length} bytes at {offset} on a disk with blocks of {block_size}"
            )));
        }
        // Decoding made sure that the sum does not overflow.
        if offset + length > self.limit {
            return Err(self.over_limit(offset + length));
        }
        self.blocks += 1;
        Ok(())
    }

    /// The contents of an embedded block, into `self.block`.
    fn embedded(&mut self, write: &record::WriteEmbedded) -> Result<()> {
        if write.embedded_type != 0 {
            return Err(self.stream.error(
                ErrorKind::Unsupported,
                format!("an embedded block of kind {}", write.embedded_type),
            ));
        }
        self.expand(write.compression, u64::from(write.logical_length), Some(write.physical_length as usize))
    }

    /// Expands the payload of the record, cut to `physical` bytes when its padding is known, into `self.block`.
    fn expand(&mut self, compression: u8, logical: u64, physical: Option<usize>) -> Result<()> {
        self.stream.read_payload(&mut self.packed)?;
        self.packed.truncate(physical.unwrap_or(usize::MAX));
        // Decoding bounded the length of every block.
        self.block.resize(logical as usize, 0);
        expand(compression, &self.packed, &mut self.block).map_err(|failure| match failure {
            Failure::Unsupported(words) => self.stream.error(ErrorKind::Unsupported, words),
            Failure::Corrupt(name) => {
                self.stream.error(ErrorKind::BadRecord, format!("a block compressed with {name} is damaged"))
            }
        })
    }

    /// Puts `self.block` on the disk.
    fn put_block(&mut self, at: u64) -> Result<()> {
        if is_zero(&self.block) {
            clear(self.sink, &mut self.used, at..at + self.block.len() as u64)
        } else {
            put(self.sink, &mut self.used, at, &self.block)
        }
        .map_err(|source| self.stream.place().io("cannot write the volume", source))
    }

    fn clear(&mut self, offset: u64, length: u64) -> Result<()> {
        clear(self.sink, &mut self.used, offset..offset.saturating_add(length))
            .map_err(|source| self.stream.place().io("cannot write the volume", source))
    }

    /// Takes the size out of the name table in `self.block`.
    fn properties(&mut self) -> Result<()> {
        let entries = zap::read(&self.block[..], self.stream.byte_order()).map_err(|error| {
            self.bad(format!("the properties of the volume (object 2) are unreadable: {error}"))
        })?;
        let size = entries.iter().find(|entry| entry.name == SIZE_NAME.as_bytes());
        let size = size.and_then(|entry| entry.value.number());
        if let Some(part) = self.part.as_mut()
            && size.is_some()
        {
            part.size = size;
        }
        Ok(())
    }

    fn bad(&self, words: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        self.stream.error(ErrorKind::BadVolume, words)
    }

    fn wrong_base(&self, words: String) -> Error {
        self.stream.error(ErrorKind::WrongBase, words)
    }

    fn over_limit(&self, size: u64) -> Error {
        let words = format!("the volume has {size} bytes or more, over the limit of {}", self.limit);
        self.stream.error(ErrorKind::SizeLimit, words)
    }
}

/// Writes to the sink and widens the range that is in use.
fn put<S: VolumeSink>(sink: &mut S, used: &mut Range<u64>, at: u64, data: &[u8]) -> std::io::Result<()> {
    sink.write(at, data)?;
    let end = at + data.len() as u64;
    *used = if used.is_empty() { at..end } else { used.start.min(at)..used.end.max(end) };
    Ok(())
}

/// Clears the part of `range` that is in use, and narrows what is when that part is at one of its ends.
fn clear<S: VolumeSink>(sink: &mut S, used: &mut Range<u64>, range: Range<u64>) -> std::io::Result<()> {
    let (start, end) = (range.start.max(used.start), range.end.min(used.end));
    if start >= end {
        return Ok(());
    }
    sink.clear(start, end - start)?;
    if start == used.start {
        used.start = end;
    } else if end == used.end {
        used.end = start;
    }
    Ok(())
}
