//! The form of many blocks (illumos `zap.c`, `zap_leaf.c`): an extendible hash table.
//!
//! Block 0 is the header. A table of pointers, in the second half of the header or, when that is too small, in blocks of its own,
//! maps the top bits of a hash to a leaf. A leaf has all entries whose hashes begin with its prefix, in chunks of 24 bytes: one for
//! the entry, some for its name, some for its integers.

use std::collections::HashMap;

use zerocopy::byteorder::{BE, ByteOrder as Order, LE, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{BlockSource, Blocks, Entry, Placed, Value, ZapError, hash};
use crate::checksum::ByteOrder;

/// The first word of the header block (`ZBT_HEADER`).
pub const HEADER_KIND: u64 = 0x8000_0000_0000_0001;
/// The first word of a leaf (`ZBT_LEAF`).
pub const LEAF_KIND: u64 = 0x8000_0000_0000_0000;
/// The second word of the header (`ZAP_MAGIC`).
const HEADER_MAGIC: u64 = 0x2_F52A_B2AB;
/// The magic number of a leaf (`ZAP_LEAF_MAGIC`).
const LEAF_MAGIC: u32 = 0x2AB_1EAF;

/// Size of the blocks that are written, in bytes and as a power of two (`fzap_default_block_shift`).
const BLOCK_SHIFT: u32 = 14;
const BLOCK: usize = 1 << BLOCK_SHIFT;
/// The pointers that fit in the second half of a header of that size, as a power of two.
const EMBEDDED_SHIFT: u32 = BLOCK_SHIFT - 4;
/// The largest table of pointers that is written or read, as a power of two: 32 MiB of pointers. Only names chosen to collide need more.
const MAX_SHIFT: u32 = 22;

/// A chunk of an entry, and of bytes of a name or of integers, and one that is free.
const ENTRY: u8 = 252;
const ARRAY: u8 = 251;
const FREE: u8 = 253;
/// The end of a chain of chunks.
const END: u16 = 0xffff;
/// The bytes of a name or of integers in a chunk.
const ARRAY_BYTES: usize = 21;
/// Chunks that are left free in each leaf: ZFS splits a leaf that has fewer, so they are room for it to go on.
const SPARE_CHUNKS: usize = 20;
/// A flag in the header: hashes have 48 bits (`ZAP_FLAG_HASH64`). Its differentiators mean the same.
const HASH64: u64 = 1;

/// The header (`zap_phys_t`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header<O: Order> {
    /// 0: [`HEADER_KIND`].
    kind: U64<O>,
    /// 8: [`HEADER_MAGIC`].
    magic: U64<O>,
    /// 16: first block of the table of pointers, 0 when it is in the header.
    table_block: U64<O>,
    /// 24: blocks of the table, likewise.
    table_blocks: U64<O>,
    /// 32: how many pointers it has, as a power of two.
    table_shift: U64<O>,
    /// 40: where a larger table is in the making, 0 for nowhere.
    next_table: U64<O>,
    /// 48: how much of it is made.
    copied: U64<O>,
    /// 56: the first block that is not used.
    free_block: U64<O>,
    /// 64: leaves.
    leaves: U64<O>,
    /// 72: entries.
    entries: U64<O>,
    /// 80: the hash starts from this.
    salt: U64<O>,
    /// 88: Unicode normalisation of names, 0 for none.
    normalization: U64<O>,
    /// 96: flags.
    flags: U64<O>,
}

/// The beginning of a leaf (`zap_leaf_phys_t`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct LeafHeader<O: Order> {
    /// 0: [`LEAF_KIND`].
    kind: U64<O>,
    /// 8: zero.
    pad: U64<O>,
    /// 16: the top bits of all hashes here, as a number.
    prefix: U64<O>,
    /// 24: [`LEAF_MAGIC`].
    magic: U32<O>,
    /// 28: free chunks.
    free: U16<O>,
    /// 30: entries.
    entries: U16<O>,
    /// 32: how many bits the prefix has.
    prefix_length: U16<O>,
    /// 34: the first free chunk.
    first_free: U16<O>,
    /// 36: flags.
    flags: u8,
    /// 37: zero.
    pad2: [u8; 11],
}

/// The chunk of an entry (`zap_leaf_chunk_t`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EntryChunk<O: Order> {
    /// 0: [`ENTRY`].
    kind: u8,
    /// 1: bytes of an integer.
    integer_size: u8,
    /// 2: the next entry of the bucket.
    next: U16<O>,
    /// 4: first chunk of the name.
    name: U16<O>,
    /// 6: bytes of the name with its NUL.
    name_length: U16<O>,
    /// 8: first chunk of the integers.
    value: U16<O>,
    /// 10: how many integers.
    integers: U16<O>,
    /// 12: tells entries with equal hashes apart.
    differentiator: U32<O>,
    /// 16: hash of the name.
    hash: U64<O>,
}

const CHUNK: usize = 24;
const LEAF_HEADER: usize = 48;

const _: () = assert!(
    size_of::<Header<LE>>() == 104
        && size_of::<LeafHeader<LE>>() == LEAF_HEADER
        && size_of::<EntryChunk<LE>>() == CHUNK
);

/// Where things are in a leaf of a certain block size.
#[derive(Debug, Clone, Copy)]
struct Geometry {
    /// Buckets, as a power of two.
    bucket_shift: u32,
    /// Chunks.
    chunks: usize,
}

impl Geometry {
    /// Of blocks of 2 to the power of `shift` bytes, which is at least 9.
    const fn of(shift: u32) -> Self {
        let bucket_shift = shift - 5;
        Self { bucket_shift, chunks: ((1 << shift) - (2 << bucket_shift)) / CHUNK - 2 }
    }

    /// The bucket of a hash in a leaf whose prefix has so many bits.
    fn bucket(self, hash: u64, prefix_length: u32) -> usize {
        let below = hash.checked_shl(prefix_length).unwrap_or(0);
        (below >> (64 - self.bucket_shift)) as usize
    }

    const fn bucket_at(bucket: usize) -> usize {
        LEAF_HEADER + 2 * bucket
    }

    fn chunk_at(self, chunk: usize) -> usize {
        LEAF_HEADER + (2 << self.bucket_shift) + chunk * CHUNK
    }
}

const GEOMETRY: Geometry = Geometry::of(BLOCK_SHIFT);

/// A leaf in the making: a range of the entries in the order of their hashes.
struct Leaf<'a> {
    prefix_length: u32,
    entries: &'a [Placed<'a>],
    /// The top bits of the hashes, the rest zero.
    prefix: u64,
}

/// The table as blocks.
///
/// # Errors
/// [`ZapError::Collisions`] when entries with equal beginnings of their hashes do not fit a leaf.
pub fn encode(salt: u64, mut entries: Vec<Placed<'_>>) -> Result<Blocks, ZapError> {
    entries.sort_unstable_by_key(|entry| (entry.hash, entry.differentiator));
    let mut leaves = Vec::new();
    split(Leaf { prefix_length: 0, entries: &entries, prefix: 0 }, &mut leaves)?;
    let deepest = leaves.iter().map(|leaf| leaf.prefix_length).max().unwrap_or(0);
    let shift = deepest.max(EMBEDDED_SHIFT);
    let table_blocks = if shift == EMBEDDED_SHIFT { 0 } else { (8 << shift) / BLOCK };
    let first_leaf = 1 + table_blocks;

    let mut bytes = vec![0; (first_leaf + leaves.len()) * BLOCK];
    let header = Header::<LE> {
        kind: HEADER_KIND.into(),
        magic: HEADER_MAGIC.into(),
        table_block: u64::from(table_blocks > 0).into(),
        table_blocks: (table_blocks as u64).into(),
        table_shift: u64::from(shift).into(),
        next_table: U64::ZERO,
        copied: U64::ZERO,
        free_block: ((first_leaf + leaves.len()) as u64).into(),
        leaves: (leaves.len() as u64).into(),
        entries: (entries.len() as u64).into(),
        salt: salt.into(),
        normalization: U64::ZERO,
        flags: U64::ZERO,
    };
    bytes[..size_of_val(&header)].copy_from_slice(header.as_bytes());
    let (before, blocks) = bytes.split_at_mut(first_leaf * BLOCK);
    let pointers = if table_blocks == 0 { &mut before[BLOCK / 2..] } else { &mut before[BLOCK..] };
    let mut pointers = pointers.chunks_exact_mut(8);
    for (number, (leaf, block)) in leaves.iter().zip(blocks.chunks_exact_mut(BLOCK)).enumerate() {
        let pointer = ((first_leaf + number) as u64).to_le_bytes();
        for slot in pointers.by_ref().take(1 << (shift - leaf.prefix_length)) {
            slot.copy_from_slice(&pointer);
        }
        leaf.write(block);
    }
    Ok(Blocks { block_size: BLOCK as u32, bytes })
}

/// Splits a leaf until each has room for its entries and for ZFS to go on.
fn split<'a>(leaf: Leaf<'a>, leaves: &mut Vec<Leaf<'a>>) -> Result<(), ZapError> {
    let needed: usize = leaf.entries.iter().map(chunks).sum();
    if needed + SPARE_CHUNKS <= GEOMETRY.chunks {
        leaves.push(leaf);
        return Ok(());
    }
    if leaf.prefix_length == MAX_SHIFT {
        return Err(ZapError::Collisions);
    }
    let prefix_length = leaf.prefix_length + 1;
    let upper = leaf.prefix | 1 << (64 - prefix_length);
    let (low, high) = leaf.entries.split_at(leaf.entries.partition_point(|entry| entry.hash < upper));
    split(Leaf { prefix_length, entries: low, prefix: leaf.prefix }, leaves)?;
    split(Leaf { prefix_length, entries: high, prefix: upper }, leaves)
}

/// The chunks that an entry takes.
fn chunks(entry: &Placed<'_>) -> usize {
    let (size, integers) = integers(entry.value);
    let value = usize::from(size) * integers.len();
    1 + (entry.name.len() + 1).div_ceil(ARRAY_BYTES) + value.div_ceil(ARRAY_BYTES)
}

fn integers(value: &Value) -> (u8, &[u64]) {
    match value {
        Value::Number(number) => (8, std::slice::from_ref(number)),
        Value::Integers(size, integers) => (*size, integers),
    }
}

impl Leaf<'_> {
    fn write(&self, block: &mut [u8]) {
        let mut chunks = ChunkWriter { block, next: 0 };
        let mut buckets = vec![END; 1 << GEOMETRY.bucket_shift];
        for entry in self.entries {
            let at = chunks.take();
            let mut name = entry.name.to_vec();
            name.push(0);
            let (size, integers) = integers(entry.value);
            let value: Vec<u8> = integers
                .iter()
                .flat_map(|&number| number.to_be_bytes().into_iter().skip(8 - usize::from(size)))
                .collect();
            let bucket = &mut buckets[GEOMETRY.bucket(entry.hash, self.prefix_length)];
            let chunk = EntryChunk::<LE> {
                kind: ENTRY,
                integer_size: size,
                next: (*bucket).into(),
                name: chunks.array(&name).into(),
                name_length: (name.len() as u16).into(),
                value: chunks.array(&value).into(),
                integers: (integers.len() as u16).into(),
                differentiator: entry.differentiator.into(),
                hash: entry.hash.into(),
            };
            chunks.put(at, chunk.as_bytes());
            *bucket = at;
        }
        let first_free = chunks.next;
        for at in first_free..GEOMETRY.chunks as u16 {
            let next = if usize::from(at) + 1 == GEOMETRY.chunks { END } else { at + 1 };
            let mut chunk = [0; CHUNK];
            chunk[0] = FREE;
            chunk[22..].copy_from_slice(&next.to_le_bytes());
            chunks.put(at, &chunk);
        }
        let header = LeafHeader::<LE> {
            kind: LEAF_KIND.into(),
            pad: U64::ZERO,
            prefix: self.prefix.checked_shr(64 - self.prefix_length).unwrap_or(0).into(),
            magic: LEAF_MAGIC.into(),
            free: (GEOMETRY.chunks as u16 - first_free).into(),
            entries: (self.entries.len() as u16).into(),
            prefix_length: (self.prefix_length as u16).into(),
            first_free: first_free.into(),
            flags: 0,
            pad2: [0; 11],
        };
        block[..LEAF_HEADER].copy_from_slice(header.as_bytes());
        for (bucket, first) in buckets.iter().enumerate() {
            block[Geometry::bucket_at(bucket)..][..2].copy_from_slice(&first.to_le_bytes());
        }
    }
}

/// Fills the chunks of a leaf from the first on.
struct ChunkWriter<'a> {
    block: &'a mut [u8],
    next: u16,
}

impl ChunkWriter<'_> {
    fn take(&mut self) -> u16 {
        self.next += 1;
        self.next - 1
    }

    fn put(&mut self, chunk: u16, bytes: &[u8]) {
        self.block[GEOMETRY.chunk_at(chunk.into())..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Writes a chain of chunks with these bytes, and gives its first.
    fn array(&mut self, bytes: &[u8]) -> u16 {
        let first = self.next;
        let pieces = bytes.chunks(ARRAY_BYTES);
        let mut left = pieces.len();
        for piece in pieces {
            left -= 1;
            let at = self.take();
            let mut chunk = [0; CHUNK];
            chunk[0] = ARRAY;
            chunk[1..=piece.len()].copy_from_slice(piece);
            chunk[22..].copy_from_slice(&if left == 0 { END } else { self.next }.to_le_bytes());
            self.put(at, &chunk);
        }
        if bytes.is_empty() { END } else { first }
    }
}

/// The entries of the table in these blocks.
///
/// # Errors
/// [`ZapError::Bad`].
pub fn decode<B: BlockSource + ?Sized>(blocks: &B, order: ByteOrder) -> Result<Vec<Entry>, ZapError> {
    let found = match order {
        ByteOrder::Little => found::<LE, B>(blocks),
        ByteOrder::Big => found::<BE, B>(blocks),
    };
    Ok(found?.into_iter().map(|found| found.entry).collect())
}

/// The first name that is not where its hash leads.
///
/// # Errors
/// [`ZapError::Bad`].
pub fn misplaced<B: BlockSource + ?Sized>(blocks: &B, order: ByteOrder) -> Result<Option<Vec<u8>>, ZapError> {
    let found = match order {
        ByteOrder::Little => found::<LE, B>(blocks),
        ByteOrder::Big => found::<BE, B>(blocks),
    };
    Ok(found?.into_iter().find(|found| !found.is_in_place).map(|found| found.entry.name))
}

/// The entries in a block, if it is a leaf.
///
/// # Errors
/// [`ZapError::Bad`].
pub fn decode_leaf(block: &[u8], order: ByteOrder) -> Result<Vec<Entry>, ZapError> {
    if !block.len().is_power_of_two() || block.len() < 512 {
        return Err(ZapError::Bad("the blocks of the name table have a size that is no power of two"));
    }
    let geometry = Geometry::of(block.len().trailing_zeros());
    let any = Expected { salt: 0, normalization: 0, place: (0, 0), shift: 0 };
    let mut found = Vec::new();
    match order {
        ByteOrder::Little => leaf_entries::<LE>(block, geometry, any, &mut found)?,
        ByteOrder::Big => leaf_entries::<BE>(block, geometry, any, &mut found)?,
    }
    Ok(found.into_iter().map(|found| found.entry).collect())
}

/// An entry, and whether a search finds it.
struct Found {
    entry: Entry,
    is_in_place: bool,
}

/// What a leaf and the names in it have to agree with.
#[derive(Debug, Clone, Copy)]
struct Expected {
    salt: u64,
    normalization: u64,
    /// The first pointer to the leaf, and how many there are.
    place: (u64, u64),
    /// How many pointers there are in all, as a power of two.
    shift: u32,
}

impl Expected {
    /// Whether a leaf with this prefix is where its pointers are.
    fn allows(self, prefix: u64, prefix_length: u32) -> bool {
        let Some(below) = self.shift.checked_sub(prefix_length) else { return false };
        (prefix.checked_mul(1 << below), 1 << below) == (Some(self.place.0), self.place.1)
    }
}

fn found<O: Order, B: BlockSource + ?Sized>(blocks: &B) -> Result<Vec<Found>, ZapError> {
    let first = blocks.block(0).ok_or(ZapError::Bad("the name table is empty"))?;
    let (header, _) =
        Header::<O>::ref_from_prefix(first).map_err(|_| ZapError::Bad("the name table is too short"))?;
    if header.magic.get() != HEADER_MAGIC {
        return Err(ZapError::Bad("the header of the name table has not its magic number"));
    }
    if !first.len().is_power_of_two() || first.len() < 512 {
        return Err(ZapError::Bad("the blocks of the name table have a size that is no power of two"));
    }
    if header.flags.get() & !HASH64 != 0 {
        return Err(ZapError::Bad("the names of the table are no text"));
    }
    let block_shift = first.len().trailing_zeros();
    let shift = header.table_shift.get();
    let mut leaves = Leaves { numbers: Vec::new(), places: HashMap::new(), pointers: 0 };
    if header.table_blocks.get() == 0 {
        if shift != u64::from(block_shift - 4) {
            return Err(ZapError::Bad("the table of pointers is not of the size of its place"));
        }
        leaves.note::<O>(&first[first.len() / 2..]);
    } else {
        let bytes = (shift <= u64::from(MAX_SHIFT)).then(|| 8u64 << shift);
        if bytes != header.table_blocks.get().checked_mul(first.len() as u64) {
            return Err(ZapError::Bad("the table of pointers is too large, or not of the size of its place"));
        }
        for number in 0..header.table_blocks.get() {
            let block = header.table_block.get().checked_add(number).and_then(|number| blocks.block(number));
            leaves.note::<O>(block.ok_or(ZapError::Bad("the table of pointers is not all there"))?);
        }
    }
    let geometry = Geometry::of(block_shift);
    let mut entries = Vec::new();
    for number in leaves.numbers {
        let expected = Expected {
            salt: header.salt.get(),
            normalization: header.normalization.get(),
            place: leaves.places[&number],
            shift: shift as u32,
        };
        let block = blocks.block(number).filter(|block| block.len() == first.len());
        leaf_entries::<O>(
            block.ok_or(ZapError::Bad("a leaf of the name table is missing"))?,
            geometry,
            expected,
            &mut entries,
        )?;
    }
    Ok(entries)
}

/// The blocks to which pointers point, each once, in their order.
struct Leaves {
    numbers: Vec<u64>,
    /// The first pointer to each, and how many there are.
    places: HashMap<u64, (u64, u64)>,
    /// Pointers so far.
    pointers: u64,
}

impl Leaves {
    fn note<O: Order>(&mut self, pointers: &[u8]) {
        for pointer in pointers.chunks_exact(8) {
            let number = U64::<O>::read_from_bytes(pointer).expect("it has eight bytes").get();
            let (_, count) = self.places.entry(number).or_insert_with(|| {
                self.numbers.push(number);
                (self.pointers, 0)
            });
            *count += 1;
            self.pointers += 1;
        }
    }
}

/// Appends the entries of a leaf.
fn leaf_entries<O: Order>(
    block: &[u8],
    geometry: Geometry,
    expected: Expected,
    entries: &mut Vec<Found>,
) -> Result<(), ZapError> {
    let (header, _) = LeafHeader::<O>::ref_from_prefix(block)
        .map_err(|_| ZapError::Bad("a leaf of the name table is too short"))?;
    if header.kind.get() != LEAF_KIND || header.magic.get() != LEAF_MAGIC {
        return Err(ZapError::Bad("a leaf of the name table has not its magic number"));
    }
    let chunk = |number: u16| -> Result<&[u8; CHUNK], ZapError> {
        let missing = ZapError::Bad("a leaf of the name table points outside itself");
        if usize::from(number) >= geometry.chunks {
            return Err(missing);
        }
        block.get(geometry.chunk_at(number.into())..).and_then(|rest| rest.first_chunk()).ok_or(missing)
    };
    // Bytes of a chain of chunks; a chain that runs in circles is longer than what it is to hold.
    let array = |mut number: u16, length: usize| -> Result<Vec<u8>, ZapError> {
        if length > geometry.chunks * ARRAY_BYTES {
            return Err(ZapError::Bad("an entry of the name table is longer than a leaf"));
        }
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let part = chunk(number)?;
            if part[0] != ARRAY {
                return Err(ZapError::Bad("an entry of the name table has no name or value"));
            }
            bytes.extend_from_slice(&part[1..22][..ARRAY_BYTES.min(length - bytes.len())]);
            number = u16_at::<O>(part, 22);
        }
        Ok(bytes)
    };
    let prefix_length = u32::from(header.prefix_length.get());
    let is_there = expected.allows(header.prefix.get(), prefix_length);
    let mut left = geometry.chunks;
    for bucket in 0..1 << geometry.bucket_shift {
        let mut number = u16_at::<O>(block, Geometry::bucket_at(bucket));
        while number != END {
            left = left.checked_sub(1).ok_or(ZapError::Bad("a leaf of the name table runs in circles"))?;
            let entry =
                EntryChunk::<O>::ref_from_bytes(chunk(number)?).expect("a chunk is as long as an entry");
            let size = entry.integer_size;
            if entry.kind != ENTRY || ![1, 2, 4, 8].contains(&size) {
                return Err(ZapError::Bad("a leaf of the name table has a chunk that is no entry"));
            }
            let mut name = array(entry.name.get(), entry.name_length.get().into())?;
            if name.pop() != Some(0) || name.is_empty() || name.contains(&0) {
                return Err(ZapError::Bad("a name in the name table is not well formed"));
            }
            let value = array(entry.value.get(), usize::from(size) * usize::from(entry.integers.get()))?;
            let integers = value.chunks_exact(size.into());
            let integers =
                integers.map(|bytes| bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)));
            let value = Value::of(size, integers.collect());
            let hash = entry.hash.get();
            let prefix = hash.checked_shr(64u32.saturating_sub(prefix_length)).unwrap_or(0);
            // Where names are normalised before they are hashed, only ZFS knows their hashes.
            let is_own = expected.normalization != 0 || hash::is_of(expected.salt, &name, hash);
            let is_in_place = is_there
                && is_own
                && prefix == header.prefix.get()
                && geometry.bucket(hash, prefix_length) == bucket;
            let differentiator = entry.differentiator.get();
            entries.push(Found { entry: Entry { name, value, differentiator }, is_in_place });
            number = entry.next.get();
        }
    }
    Ok(())
}

/// The number at `at`, which is inside.
fn u16_at<O: Order>(bytes: &[u8], at: usize) -> u16 {
    U16::<O>::read_from_bytes(&bytes[at..][..2]).expect("it has two bytes").get()
}

/// The salt of the table that begins with `block`, when it has this form.
pub fn salt(block: &[u8], order: ByteOrder) -> Option<u64> {
    fn of<O: Order>(block: &[u8]) -> Option<u64> {
        let (header, _) = Header::<O>::ref_from_prefix(block).ok()?;
        (header.kind.get() == HEADER_KIND).then(|| header.salt.get())
    }
    match order {
        ByteOrder::Little => of::<LE>(block),
        ByteOrder::Big => of::<BE>(block),
    }
}
