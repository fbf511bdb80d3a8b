//! Name tables of ZFS, "zaps": directories, properties, and the registries of a file system (illumos `sys/zap_impl.h`).
//!
//! A table maps names to arrays of integers. It has two forms. The [micro] form is one block with short names and one 64-bit
//! number each; the [fat] form is a hash table over many blocks that grows without bound. ZFS loads entries into trees ordered by
//! (hash of the name, collision differentiator), and two equal keys there are a kernel panic on the machine that opens the
//! table. So the differentiators are worked out here although few tables ever need one.

mod fat;
mod hash;
mod micro;

use std::collections::{BTreeMap, HashMap};

use crate::checksum::ByteOrder;

/// The longest name that a ZFS of 2013 has, in bytes (`ZAP_MAXNAMELEN` less its NUL).
pub const MAX_NAME: usize = 255;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One 64-bit number: what directories and properties have.
    Number(u64),
    /// Integers of another size or number: bytes each, 1, 2, 4 or 8, and the integers.
    Integers(u8, Vec<u64>),
}

impl Value {
    /// The number, if that is what it is.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Integers(..) => None,
        }
    }

    fn of(size: u8, integers: Vec<u64>) -> Self {
        match integers[..] {
            [number] if size == 8 => Self::Number(number),
            _ => Self::Integers(size, integers),
        }
    }
}

/// An entry as it stands in a table that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, without its NUL.
    pub name: Vec<u8>,
    /// What it stands for.
    pub value: Value,
    /// Tells names with equal hashes apart.
    pub differentiator: u32,
}

/// Why a table cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ZapError {
    /// A name is empty, too long, or has a NUL in it.
    #[error("a name in a table has 1 to {MAX_NAME} bytes and no NUL")]
    Name,
    /// A name is there already.
    #[error("the name is in the table already")]
    Duplicate,
    /// More names hash alike than any table can hold.
    #[error("too many of the names have the same hash")]
    Collisions,
    /// What is read is not a table, or breaks the rules of tables: it says how.
    #[error("{0}")]
    Bad(&'static str),
}

/// A table in the making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    entries: BTreeMap<Vec<u8>, Value>,
}

/// A table as an object: blocks of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    /// Size of a block in bytes.
    pub block_size: u32,
    /// The contents, a multiple of the block size long.
    pub bytes: Vec<u8>,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name that stands for a number.
    ///
    /// # Errors
    /// [`ZapError::Name`] and [`ZapError::Duplicate`].
    pub fn insert(&mut self, name: &[u8], number: u64) -> Result<(), ZapError> {
        self.insert_value(name, Value::Number(number))
    }

    /// Adds a name that stands for integers of `size` bytes.
    ///
    /// # Errors
    /// [`ZapError::Name`] and [`ZapError::Duplicate`].
    pub fn insert_value(&mut self, name: &[u8], value: Value) -> Result<(), ZapError> {
        if !(1..=MAX_NAME).contains(&name.len()) || name.contains(&0) {
            return Err(ZapError::Name);
        }
        if self.entries.contains_key(name) {
            return Err(ZapError::Duplicate);
        }
        self.entries.insert(name.to_vec(), value);
        Ok(())
    }

    /// The table as ZFS has it on disk, little-endian, in the form that its entries need; always in the fat form if `fat` says so,
    /// as some tables of ZFS have to be. ZFS takes a random `salt` to make collisions unpredictable; for reproducible output it
    /// follows from the caller's. It must not be 0.
    ///
    /// # Errors
    /// [`ZapError::Collisions`]: take another salt.
    pub fn to_blocks(&self, salt: u64, fat: bool) -> Result<Blocks, ZapError> {
        assert_ne!(salt, 0, "the salt of a name table is not zero");
        let mut equal = HashMap::new();
        let placed = self.entries.iter().map(|(name, value)| {
            let hash = hash::of(salt, name);
            let next = equal.entry(hash).or_insert(0);
            let differentiator = *next;
            *next += 1;
            Placed { name, value, hash, differentiator }
        });
        let placed: Vec<Placed<'_>> = placed.collect();
        if !fat && micro::holds(&placed) {
            return Ok(micro::encode(salt, &placed));
        }
        fat::encode(salt, placed)
    }
}

/// An entry with its place in the order of the table.
#[derive(Debug, Clone, Copy)]
struct Placed<'a> {
    name: &'a [u8],
    value: &'a Value,
    hash: u64,
    differentiator: u32,
}

/// The blocks of an object that is read: `None` where there is none, which reads as zeros.
pub trait BlockSource {
    /// The block with this number.
    fn block(&self, number: u64) -> Option<&[u8]>;
}

impl BlockSource for [u8] {
    /// An object of one block.
    fn block(&self, number: u64) -> Option<&[u8]> {
        (number == 0).then_some(self)
    }
}

/// All entries of the table in these blocks, which have the byte order of their sender, in the order in which they stand there.
///
/// # Errors
/// [`ZapError::Bad`].
pub fn read<B: BlockSource + ?Sized>(blocks: &B, order: ByteOrder) -> Result<Vec<Entry>, ZapError> {
    let first = blocks.block(0).ok_or(ZapError::Bad("the name table is empty"))?;
    let kind = first.first_chunk().ok_or(ZapError::Bad("the name table is too short"))?;
    match order.u64(*kind) {
        micro::KIND => micro::decode(first, order),
        fat::HEADER_KIND => fat::decode(blocks, order),
        _ => Err(ZapError::Bad("there is no name table here")),
    }
}

/// The first two of `entries` that a kernel which opens the table would take for one: the same name twice, or the same hash with the
/// same differentiator.
pub fn clash(salt: u64, entries: &[Entry]) -> Option<(&Entry, &Entry)> {
    let (mut names, mut keys) = (HashMap::new(), HashMap::new());
    entries.iter().find_map(|entry| {
        let same_name = names.insert(&entry.name[..], entry);
        let same_key = keys.insert((hash::of(salt, &entry.name), entry.differentiator), entry);
        same_name.or(same_key).map(|other| (other, entry))
    })
}

/// The first name in the table that nobody finds there, as its hash leads elsewhere. A table that cannot be read has none.
pub fn misplaced<B: BlockSource + ?Sized>(blocks: &B, order: ByteOrder) -> Option<Vec<u8>> {
    let first = blocks.block(0)?;
    let kind = order.u64(*first.first_chunk()?);
    if kind == fat::HEADER_KIND { fat::misplaced(blocks, order).ok()? } else { None }
}

/// The entries in one block of a table, wherever it is in it: all of a table of one block, those in a leaf of a larger one, none in
/// blocks that have no entries.
///
/// # Errors
/// [`ZapError::Bad`].
pub fn read_block(block: &[u8], order: ByteOrder) -> Result<Vec<Entry>, ZapError> {
    match block.first_chunk().map(|kind| order.u64(*kind)) {
        Some(micro::KIND) => micro::decode(block, order),
        Some(fat::LEAF_KIND) => fat::decode_leaf(block, order),
        _ => Ok(Vec::new()),
    }
}

/// The salt of the table that begins with `block`.
pub fn salt(block: &[u8], order: ByteOrder) -> Option<u64> {
    micro::salt(block, order).or_else(|| fat::salt(block, order))
}

#[cfg(test)]
mod tests;
