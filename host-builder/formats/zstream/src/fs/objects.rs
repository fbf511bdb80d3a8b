//! A dataset as its objects: what a receiver has after it took a stream, and then another on top of it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use crate::checksum::ByteOrder;
use crate::compress::{Failure, expand};
use crate::error::{Error, ErrorKind, Result};
use crate::reader::StreamReader;
use crate::record::{self, Begin, Features, ObjsetType, Record, TO_END, object_type};
use crate::zap::BlockSource;
use crate::zero::is_zero;

use super::znode::BONUS_ZNODE;

/// The most memory that name tables and attributes may take, in bytes. A folder of a million files takes an eighth of it; streams that
/// are made to fill memory with compressed blocks end here.
const MAX_HELD: u64 = 512 << 20;

/// Where the blocks of files are kept while a stream is read. Blocks of name tables are kept in memory.
pub trait Store {
    /// Keeps a block and gives the place where it is found again, or `None` if blocks of files are of no interest.
    ///
    /// # Errors
    /// Those of the device behind it.
    fn keep(&mut self, block: &[u8]) -> io::Result<Option<u64>>;

    /// Fills `block` with what was kept at a place.
    ///
    /// # Errors
    /// Those of the device behind it.
    fn fetch(&self, at: u64, block: &mut [u8]) -> io::Result<()>;
}

/// Keeps nothing: for who wants names and attributes.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoStore;

impl Store for NoStore {
    fn keep(&mut self, _block: &[u8]) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn fetch(&self, _at: u64, _block: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("contents of files were not kept"))
    }
}

/// Keeps blocks in a device, one after the other: a temporary file as large as the files in the stream.
#[derive(Debug)]
pub struct DeviceStore<D> {
    device: D,
    end: u64,
}

impl<D: positioned_io::ReadAt + positioned_io::WriteAt> DeviceStore<D> {
    /// A store in an empty device.
    pub fn new(device: D) -> Self {
        Self { device, end: 0 }
    }
}

impl<D: positioned_io::ReadAt + positioned_io::WriteAt> Store for DeviceStore<D> {
    fn keep(&mut self, block: &[u8]) -> io::Result<Option<u64>> {
        let at = self.end;
        self.device.write_all_at(at, block)?;
        self.end += block.len() as u64;
        Ok(Some(at))
    }

    fn fetch(&self, at: u64, block: &mut [u8]) -> io::Result<()> {
        self.device.read_exact_at(at, block)
    }
}

/// A block of an object.
#[derive(Debug, Clone)]
enum Block {
    /// In memory.
    Here(Arc<[u8]>),
    /// In the store, where and how long.
    Stored(u64, u32),
    /// Not kept.
    Dropped,
}

/// An object as streams left it.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its type, one of [`object_type`].
    pub object_type: u32,
    /// Type of its bonus buffer, 0 for none.
    pub bonus_type: u32,
    /// Size of its blocks in bytes.
    pub block_size: u32,
    /// Its bonus buffer.
    pub bonus: Vec<u8>,
    /// Slots of 512 bytes that its dnode takes, at least 1.
    pub dnode_slots: u8,
    /// Its spill block.
    pub spill: Option<Vec<u8>>,
    blocks: BTreeMap<u64, Block>,
}

impl Object {
    /// Offsets of the blocks that are there, ascending.
    pub fn offsets(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.keys().map(|number| number * u64::from(self.block_size))
    }

    /// Whether there is a block at this offset.
    #[must_use]
    pub fn has(&self, offset: u64) -> bool {
        self.blocks.contains_key(&(offset / u64::from(self.block_size)))
    }
}

impl BlockSource for Object {
    fn block(&self, number: u64) -> Option<&[u8]> {
        match self.blocks.get(&number)? {
            Block::Here(bytes) => Some(bytes),
            Block::Stored(..) | Block::Dropped => None,
        }
    }
}

/// What a stream says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// `dataset@snapshot`.
    pub name: String,
    /// GUID of the snapshot.
    pub guid: u64,
    /// GUID of the origin, 0 for a full stream.
    pub from_guid: u64,
    /// Creation time of the snapshot, seconds since 1970.
    pub creation_time: u64,
    /// Feature flags.
    pub features: Features,
    /// True for a clone stream, whose origin is a snapshot of another dataset.
    pub clone: bool,
    /// True for a stream wrapped by `zfs send -R` and the like.
    pub compound: bool,
    /// Snapshots in the stream, of which the last is what was read. Images must have one.
    pub snapshots: u64,
    /// Byte order of the sender.
    pub byte_order: ByteOrder,
    /// Records of the stream.
    pub records: u64,
    /// Length of the stream in bytes.
    pub stream_bytes: u64,
    /// The checksum in the END record.
    pub checksum: [u64; 4],
}

/// The objects of a file system.
pub struct Objects<S> {
    by_number: BTreeMap<u64, Object>,
    store: S,
    /// Bytes of blocks that are kept in memory.
    held: u64,
    /// The stream that was read last.
    info: Option<StreamInfo>,
    /// The feature flags of all streams.
    features: Features,
}

impl<S: Store> Objects<S> {
    /// No objects yet.
    pub fn new(store: S) -> Self {
        Self { by_number: BTreeMap::new(), store, held: 0, info: None, features: Features::default() }
    }

    /// Reads a stream of a file system to the end of the input: a full one to begin with, then incremental ones, each on top of the one
    /// before.
    ///
    /// # Errors
    /// Those of [`StreamReader::next_record`]; [`ErrorKind::BadFileSystem`] when it is no stream of a file system;
    /// [`ErrorKind::WrongBase`] when it does not follow the one before; [`ErrorKind::TrailingData`];
    /// [`ErrorKind::Unsupported`] for what is not read here; [`ErrorKind::Io`] from input and store. The objects are worthless then.
    pub fn apply<R: Read>(&mut self, input: R) -> Result<&StreamInfo> {
        let mut application = Application {
            stream: StreamReader::new(input),
            objects: self,
            begin: None,
            compound: false,
            features: Features::default(),
            from_guid: 0,
            previous: None,
            underneath: None,
            packed: Vec::new(),
            block: Vec::new(),
        };
        let info = application.run()?;
        self.features.0 |= info.features.0;
        Ok(self.info.insert(info))
    }

    /// The stream that was read last.
    pub fn info(&self) -> Option<&StreamInfo> {
        self.info.as_ref()
    }

    /// The feature flags of all streams that were read.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The byte order of everything: that of the senders.
    pub fn byte_order(&self) -> ByteOrder {
        self.info.as_ref().map_or(ByteOrder::Little, |info| info.byte_order)
    }

    /// An object.
    pub fn get(&self, number: u64) -> Option<&Object> {
        self.by_number.get(&number)
    }

    /// All objects, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Object)> {
        self.by_number.iter().map(|(&number, object)| (number, object))
    }

    /// Puts the block of an object at `offset` in place of what `into` held; zeros where there is none.
    ///
    /// # Errors
    /// Those of the store.
    pub fn read(&self, object: &Object, offset: u64, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        into.resize(object.block_size as usize, 0);
        match object.blocks.get(&(offset / u64::from(object.block_size))) {
            None => Ok(()),
            Some(Block::Here(bytes)) => {
                into.copy_from_slice(bytes);
                Ok(())
            }
            Some(Block::Stored(at, length)) => self.store.fetch(*at, &mut into[..*length as usize]),
            Some(Block::Dropped) => self.store.fetch(0, into),
        }
    }
}

struct Application<'a, R, S> {
    stream: StreamReader<R>,
    objects: &'a mut Objects<S>,
    begin: Option<Begin>,
    compound: bool,
    features: Features,
    from_guid: u64,
    /// The GUID of the snapshot in this stream that began last.
    previous: Option<u64>,
    /// The snapshot that this one goes on top of: its GUID and its objects, when blocks may be references to it.
    underneath: Option<(u64, BTreeMap<u64, Object>)>,
    packed: Vec<u8>,
    block: Vec<u8>,
}

impl<R: Read, S: Store> Application<'_, R, S> {
    fn run(&mut self) -> Result<StreamInfo> {
        let mut snapshots = 0;
        let (mut last, mut sum) = (None, [0; 4]);
        while let Some(record) = self.stream.next_record()? {
            match record {
                Record::Begin(begin) if begin.compound => self.compound = true,
                Record::Begin(begin) => {
                    self.begin(&begin, snapshots)?;
                    snapshots += 1;
                    self.previous = Some(begin.to_guid);
                    self.begin = Some(begin);
                }
                Record::End { checksum } => {
                    if let Some(begin) = self.begin.take() {
                        sum = checksum;
                        last = Some(begin);
                    }
                }
                Record::Object(object) => self.object(&object)?,
                Record::FreeObjects { first, count } => self.free_objects(first, count),
                Record::Write(write) => {
                    self.block.resize(write.logical_length as usize, 0);
                    self.payload(write.compression, None)?;
                    self.write(write.object, write.offset)?;
                }
                Record::WriteEmbedded(write) => {
                    if write.embedded_type != 0 {
                        return Err(self.error(ErrorKind::Unsupported, "an embedded block that is no data"));
                    }
                    if u64::from(write.logical_length) > write.length {
                        return Err(self.bad("an embedded block is longer than its place"));
                    }
                    self.block.resize(write.length as usize, 0);
                    self.block[write.logical_length as usize..].fill(0);
                    self.payload(write.compression, Some((write.logical_length, write.physical_length)))?;
                    self.write(write.object, write.offset)?;
                }
                Record::WriteByref(write) => self.write_byref(&write)?,
                Record::Free { object, offset, length } => self.free(object, offset, length)?,
                Record::Spill { object, length, compression } => self.spill(object, length, compression)?,
            }
        }
        self.stream.expect_end_of_input()?;
        let begin = last.ok_or_else(|| self.bad("there is no snapshot in the stream"))?;
        Ok(StreamInfo {
            name: begin.to_name,
            guid: begin.to_guid,
            from_guid: self.from_guid,
            creation_time: begin.creation_time,
            features: self.features,
            clone: begin.flags & 1 != 0,
            compound: self.compound,
            snapshots,
            byte_order: self.stream.byte_order(),
            records: self.stream.records(),
            stream_bytes: self.stream.position(),
            checksum: sum,
        })
    }

    fn begin(&mut self, begin: &Begin, snapshots: u64) -> Result<()> {
        match begin.objset_type {
            ObjsetType::FileSystem => {}
            ObjsetType::Volume => {
                return Err(self.bad("this is the stream of a volume, not of a file system"));
            }
            ObjsetType::Other(code) => {
                return Err(self.bad(format!("this is the stream of a dataset of unknown type {code}")));
            }
        }
        if begin.features.contains(Features::RESUMING) {
            return Err(
                self.error(ErrorKind::Unsupported, "this is the rest of an interrupted stream (zfs send -t)")
            );
        }
        self.features.0 |= begin.features.0;
        if snapshots == 0 {
            self.from_guid = begin.from_guid;
        }
        // Within a compound stream each snapshot follows the one before.
        let before = self.previous.or(self.objects.info.as_ref().map(|info| info.guid));
        if snapshots > 0 && begin.from_guid == 0 {
            return Err(self.error(ErrorKind::Unsupported, "there is more than one dataset in the stream"));
        }
        if before.is_none() && begin.from_guid != 0 {
            return Err(self.error(
                ErrorKind::WrongBase,
                format!(
                    "the stream is incremental: it needs the snapshot with GUID {:#018x} under it",
                    begin.from_guid
                ),
            ));
        }
        if before.is_some() && begin.from_guid == 0 {
            let words =
                "this is a full stream, which goes on top of nothing, and there is something under it";
            return Err(self.error(ErrorKind::WrongBase, words));
        }
        if let Some(guid) = before.filter(|&guid| guid != begin.from_guid) {
            return Err(self.error(
                ErrorKind::WrongBase,
                format!(
                    "the stream goes on top of the snapshot with GUID {:#018x}, and what is under it has {guid:#018x}",
                    begin.from_guid
                ),
            ));
        }
        if let Some(guid) = before.filter(|_| begin.features.contains(Features::DEDUP)) {
            self.underneath = Some((guid, self.objects.by_number.clone()));
        }
        if let Some(info) = &self.objects.info
            && info.byte_order != self.stream.byte_order()
        {
            return Err(self.error(
                ErrorKind::Unsupported,
                "the stream and what is under it differ in their byte orders",
            ));
        }
        Ok(())
    }

    fn free_objects(&mut self, first: u64, count: u64) {
        let range = first..first.saturating_add(count);
        let gone: Vec<u64> = self.objects.by_number.range(range).map(|(&number, _)| number).collect();
        for number in gone {
            self.objects.by_number.remove(&number);
        }
    }

    fn object(&mut self, header: &record::Object) -> Result<()> {
        let mut bonus = Vec::new();
        self.stream.read_payload(&mut bonus)?;
        bonus.truncate(header.bonus_length as usize);
        let (blocks, spill) = match self.objects.by_number.remove(&header.object) {
            // Receivers keep the contents of an object only if it is the same thing as before.
            Some(old)
                if old.block_size == header.block_size
                    && old.object_type == header.object_type
                    && old.dnode_slots == header.dnode_slots =>
            {
                (old.blocks, old.spill)
            }
            _ => (BTreeMap::new(), None),
        };
        // A dnode of several slots takes the numbers behind its own.
        self.free_objects(header.object.saturating_add(1), u64::from(header.dnode_slots) - 1);
        let object = Object {
            dnode_slots: header.dnode_slots,
            object_type: header.object_type,
            bonus_type: header.bonus_type,
            block_size: header.block_size,
            bonus,
            spill,
            blocks,
        };
        self.objects.by_number.insert(header.object, object);
        Ok(())
    }

    /// Expands the payload into `self.block`; of an embedded block only its data.
    fn payload(&mut self, compression: u8, embedded: Option<(u32, u32)>) -> Result<()> {
        self.stream.read_payload(&mut self.packed)?;
        let (to, from) = match embedded {
            None => (&mut self.block[..], &self.packed[..]),
            Some((logical, physical)) => {
                (&mut self.block[..logical as usize], &self.packed[..physical as usize])
            }
        };
        expand(compression, from, to).map_err(|failure| match failure {
            Failure::Unsupported(words) => self.stream.error(ErrorKind::Unsupported, words),
            Failure::Corrupt(name) => self
                .stream
                .error(ErrorKind::BadRecord, format!("a block that is to be {name} cannot be expanded")),
        })
    }

    /// Takes `self.block` as the block of an object at `offset`.
    fn write(&mut self, number: u64, offset: u64) -> Result<()> {
        let Some(object) = self.objects.by_number.get(&number) else {
            return Err(self.bad(format!("object {number} is written to and was not declared")));
        };
        let (length, size) = (self.block.len() as u64, u64::from(object.block_size));
        let (at, inside) = (offset / size, offset % size);
        if inside + length > size {
            return Err(self.bad(format!(
                "object {number} has blocks of {size} bytes, and {length} are written at {offset}"
            )));
        }
        if length < size {
            // Without its option -L, `zfs send` cuts blocks of more than 128 KiB, and what is left of the last is shorter (OpenZFS
            // `dmu_send.c`, `do_dump`).
            if matches!(object.blocks.get(&at), Some(Block::Dropped)) {
                return Ok(());
            }
            let mut whole = Vec::new();
            let read = self.objects.read(object, offset, &mut whole);
            read.map_err(|error| self.stream.place().io("cannot read back a block", error))?;
            whole[inside as usize..][..length as usize].copy_from_slice(&self.block);
            self.block = whole;
        }
        let length = size;
        let object = self.objects.by_number.get_mut(&number).expect("it was there");
        if is_zero(&self.block) {
            object.blocks.remove(&at);
            return Ok(());
        }
        // Targets of links of version 4 are contents too, and are wanted whatever becomes of those of files.
        let in_memory =
            object.object_type != object_type::FILE || (object.bonus_type == BONUS_ZNODE && length <= 1024);
        let block = if in_memory {
            self.objects.held += length;
            if self.objects.held > MAX_HELD {
                return Err(self.too_much());
            }
            Block::Here(self.block.as_slice().into())
        } else {
            let kept = self.objects.store.keep(&self.block);
            match kept.map_err(|error| self.stream.place().io("cannot keep a block", error))? {
                Some(at) => Block::Stored(at, length as u32),
                None => Block::Dropped,
            }
        };
        if let Some(Block::Here(before)) = object.blocks.insert(at, block) {
            self.objects.held -= before.len() as u64;
        }
        Ok(())
    }

    /// Takes a block that is equal to one that is there, or was in the snapshot underneath.
    fn write_byref(&mut self, write: &record::WriteByref) -> Result<()> {
        let this = self.begin.as_ref().map_or(0, |begin| begin.to_guid);
        let objects = match &self.underneath {
            _ if write.ref_guid == 0 || write.ref_guid == this => &self.objects.by_number,
            Some((guid, objects)) if *guid == write.ref_guid => objects,
            _ => {
                let words = format!(
                    "a block is said to be equal to one of the snapshot with GUID {:#018x}, which is neither this one \
                     nor the one underneath; send the stream without -D",
                    write.ref_guid
                );
                return Err(self.error(ErrorKind::Unsupported, words));
            }
        };
        let source = objects.get(&write.ref_object).filter(|source| {
            u64::from(source.block_size) == write.length && write.ref_offset.is_multiple_of(write.length)
        });
        let source =
            source.ok_or_else(|| self.bad("a block is said to be equal to one that is not there"))?;
        let mut block = std::mem::take(&mut self.block);
        let read = match source.blocks.get(&(write.ref_offset / write.length)) {
            // Nobody wants contents that were not kept, but that there are some.
            Some(Block::Dropped) => {
                block.clear();
                block.resize(write.length as usize, 1);
                Ok(())
            }
            _ => self.objects.read(source, write.ref_offset, &mut block),
        };
        self.block = block;
        read.map_err(|error| self.stream.place().io("cannot read back a block", error))?;
        self.write(write.object, write.offset)
    }

    fn free(&mut self, number: u64, offset: u64, length: u64) -> Result<()> {
        let Some(object) = self.objects.by_number.get_mut(&number) else {
            return Err(self.bad(format!("a hole is made in object {number}, which was not declared")));
        };
        let size = u64::from(object.block_size);
        let first = offset.div_ceil(size);
        let end = if length == TO_END { u64::MAX } else { (offset + length) / size };
        let gone: Vec<u64> = object.blocks.range(first..end.max(first)).map(|(&at, _)| at).collect();
        for at in gone {
            object.blocks.remove(&at);
        }
        Ok(())
    }

    fn spill(&mut self, number: u64, length: u64, compression: u8) -> Result<()> {
        self.block.resize(length as usize, 0);
        self.payload(compression, None)?;
        self.objects.held += length;
        if self.objects.held > MAX_HELD {
            return Err(self.too_much());
        }
        let spill = self.block.clone();
        let Some(object) = self.objects.by_number.get_mut(&number) else {
            return Err(self.bad(format!("object {number} is given a spill block and was not declared")));
        };
        if let Some(before) = object.spill.replace(spill) {
            self.objects.held -= before.len() as u64;
        }
        Ok(())
    }

    fn too_much(&self) -> Error {
        let words = format!("its name tables and attributes take more than {} MiB of memory", MAX_HELD >> 20);
        self.error(ErrorKind::SizeLimit, words)
    }

    fn bad(&self, words: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        self.error(ErrorKind::BadFileSystem, words)
    }

    fn error(&self, kind: ErrorKind, words: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        self.stream.error(kind, words)
    }
}
