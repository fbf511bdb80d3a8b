//! System attributes: how a file system of version 5 keeps what it knows of a file (illumos `sys/sa_impl.h`, `sys/zfs_sa.h`).
//!
//! The bonus buffer of an object, and its spill block if there is more, have a short header that names a *layout*: a list of
//! attribute numbers. The values follow in that order. Which number is which attribute stands in a registry, which layout lists
//! what in a table of layouts, both per file system.

use std::collections::{BTreeMap, HashMap};

use super::acl::AclError;
use crate::checksum::ByteOrder;
use crate::zap::{self, Entry, Value};

/// The first word of a bonus buffer or spill block (`SA_MAGIC`).
pub const MAGIC: u32 = 0x2F_505A;

/// The attributes of 2013 with their numbers, in the order of the registry that ZFS makes (`zfs_attr_table` in `zfs_sa.c`).
pub const ATTRIBUTES: [(&str, u16, Shape); 20] = [
    ("ZPL_ATIME", 16, Shape::Numbers),
    ("ZPL_MTIME", 16, Shape::Numbers),
    ("ZPL_CTIME", 16, Shape::Numbers),
    ("ZPL_CRTIME", 16, Shape::Numbers),
    ("ZPL_GEN", 8, Shape::Numbers),
    ("ZPL_MODE", 8, Shape::Numbers),
    ("ZPL_SIZE", 8, Shape::Numbers),
    ("ZPL_PARENT", 8, Shape::Numbers),
    ("ZPL_LINKS", 8, Shape::Numbers),
    ("ZPL_XATTR", 8, Shape::Numbers),
    ("ZPL_RDEV", 8, Shape::Numbers),
    ("ZPL_FLAGS", 8, Shape::Numbers),
    ("ZPL_UID", 8, Shape::Numbers),
    ("ZPL_GID", 8, Shape::Numbers),
    ("ZPL_PAD", 32, Shape::Numbers),
    ("ZPL_ZNODE_ACL", 88, Shape::Bytes),
    ("ZPL_DACL_COUNT", 8, Shape::Numbers),
    ("ZPL_SYMLINK", 0, Shape::Bytes),
    ("ZPL_SCANSTAMP", 32, Shape::Bytes),
    ("ZPL_DACL_ACES", 0, Shape::List),
];

/// How the value of an attribute is swapped between byte orders (`sa_bswap_type_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// 64-bit numbers.
    Numbers,
    /// Bytes.
    Bytes,
    /// An access control list.
    List,
}

impl Shape {
    const fn code(self) -> u64 {
        match self {
            Self::Numbers => 0,
            Self::Bytes => 3,
            Self::List => 4,
        }
    }
}

/// An attribute by its place in [`ATTRIBUTES`], which is its number in file systems that are written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Attribute {
    Atime,
    Mtime,
    Ctime,
    Crtime,
    Gen,
    Mode,
    Size,
    Parent,
    Links,
    Xattr,
    Rdev,
    Flags,
    Uid,
    Gid,
    Pad,
    ZnodeAcl,
    DaclCount,
    Symlink,
    Scanstamp,
    DaclAces,
    /// Extended attributes in the bonus buffer or spill block itself, an nvlist; newer than 2013.
    Dxattr,
}

use Attribute::{
    Atime, Crtime, Ctime, DaclAces, DaclCount, Dxattr, Flags, Gen, Gid, Links, Mode, Mtime, Pad, Parent,
    Rdev, Scanstamp, Size, Symlink, Uid, Xattr, ZnodeAcl,
};

/// What every node has that has a fixed length, in the order of its values but for what follows it. Space accounting reads `Uid` and
/// `Gid` at their place without asking for the layout, so the first six are always these.
pub const COMMON: [Attribute; 12] =
    [Mode, Size, Gen, Uid, Gid, Parent, Flags, Atime, Mtime, Ctime, Crtime, Links];

/// How many of the first attributes have to be those of [`COMMON`].
const ACCOUNTED: usize = 6;

/// The attributes of a bonus buffer or spill block in their order.
pub type Layout = Vec<Attribute>;

/// The layout of files, folders, pipes and sockets with nothing special about them.
pub fn plain() -> Layout {
    COMMON.into_iter().chain([DaclCount, DaclAces]).collect()
}

/// The length of an attribute in bytes; 0 when each value has its own.
pub fn fixed_length(attribute: Attribute) -> u16 {
    ATTRIBUTES.get(attribute as usize).map_or(0, |(_, length, _)| *length)
}

/// The table with the names and numbers of attributes.
pub fn registry() -> zap::Table {
    let mut table = zap::Table::new();
    for (number, (name, length, shape)) in ATTRIBUTES.iter().enumerate() {
        let value = u64::from(*length) << 24 | shape.code() << 16 | number as u64;
        table.insert(name.as_bytes(), value).expect("the names are short and differ");
    }
    table
}

/// The numbers of layouts in one file system: few, of which the first is that of nearly all files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbering(Vec<(Layout, u16)>);

impl Numbering {
    fn number(&self, layout: &[Attribute]) -> Option<u16> {
        self.0.iter().find(|(known, _)| known == layout).map(|(_, number)| *number)
    }
}

/// The first number that a layout can have: 0 and 1 are reserved.
const FIRST_LAYOUT: u16 = 2;
/// Numbers that fit the header of a bonus buffer.
const NUMBERS: u16 = 1 << 10;
/// The most layouts that are read: a few less than there are numbers, so that there is always one for those written here.
const MAX_LAYOUTS: usize = 900;

fn insert_layout(table: &mut zap::Table, number: u16, attributes: &[u16]) {
    let attributes = attributes.iter().copied().map(u64::from).collect();
    let inserted = table.insert_value(number.to_string().as_bytes(), Value::Integers(2, attributes));
    inserted.expect("numbers are short names and differ");
}

/// The length of the header before the values of these attributes.
fn header_length(layout: &[Attribute]) -> usize {
    let variable = layout.iter().filter(|attribute| fixed_length(**attribute) == 0).count();
    (6 + 2 * variable).next_multiple_of(8)
}

/// The length of what [`encode`] makes of values of these attributes, whose lengths `length` gives, in bytes.
pub fn encoded_length(layout: &[Attribute], length: impl Fn(Attribute) -> usize) -> usize {
    let header = header_length(layout);
    layout.iter().fold(header, |at, &attribute| at.next_multiple_of(8) + length(attribute))
}

/// Values in the order of a layout, as they stand in a bonus buffer or spill block, little-endian. `value` adds the value of an
/// attribute to the buffer.
///
/// # Panics
/// When the numbering lacks the layout, or `value` gives a value of another length than its attribute has.
pub fn encode(
    layout: &[Attribute],
    numbering: &Numbering,
    mut value: impl FnMut(Attribute, &mut Vec<u8>),
) -> Vec<u8> {
    let header = header_length(layout);
    let number = numbering.number(layout).expect("layouts are numbered before they are used");
    // Nothing but spill blocks has more, so memory is asked for once.
    let mut buffer = Vec::with_capacity(512);
    buffer.extend_from_slice(&MAGIC.to_le_bytes());
    buffer.extend_from_slice(&(number | (header as u16 / 8) << 10).to_le_bytes());
    // Where the next length of a value that has no fixed one goes.
    let mut lengths = buffer.len();
    buffer.resize(header, 0);
    for &attribute in layout {
        buffer.resize(buffer.len().next_multiple_of(8), 0);
        let start = buffer.len();
        value(attribute, &mut buffer);
        let length = buffer.len() - start;
        match usize::from(fixed_length(attribute)) {
            0 => {
                buffer[lengths..lengths + 2].copy_from_slice(&(length as u16).to_le_bytes());
                lengths += 2;
            }
            fixed => assert!(fixed == length, "{attribute:?} has {length} bytes"),
        }
    }
    buffer
}

/// What a file system that is read says about its attributes.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// Length and attribute by number; attributes that are not known here have none.
    attributes: HashMap<u16, (u16, Option<Attribute>)>,
    layouts: HashMap<u16, Vec<u16>>,
}

/// Why attributes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SaError {
    /// The magic number is not there. A kernel that meets such a buffer while it receives it panics.
    #[error("its attributes do not begin with their magic number")]
    Magic,
    /// The layout is not in the table. A kernel that looks at such a file panics.
    #[error("its attributes have layout {0}, which the file system does not know")]
    Layout(u16),
    /// The values are longer than the buffer.
    #[error("its attributes are longer than their place")]
    Short,
    /// The access control list is none.
    #[error("{0}")]
    List(#[from] AclError),
    /// An entry of one of the tables is not what it has to be.
    #[error("the tables of attributes are damaged: {0}")]
    Table(&'static str),
}

impl Schema {
    /// The schema of a new file system.
    pub fn new() -> Self {
        let mut schema = Self::default();
        schema.add_usual();
        schema
    }

    /// The schema in the registry and the table of layouts.
    ///
    /// # Errors
    /// [`SaError::Table`].
    pub fn read(registry: &[Entry], layouts: &[Entry]) -> Result<Self, SaError> {
        let mut schema = Self::default();
        for entry in registry {
            let value = entry.value.number().ok_or(SaError::Table("an attribute has no number"))?;
            let known = ATTRIBUTES.iter().position(|(name, _, _)| name.as_bytes() == entry.name);
            let attribute = match known {
                Some(at) => Some(KNOWN[at]),
                None if entry.name == b"ZPL_DXATTR" => Some(Dxattr),
                None => None,
            };
            schema.attributes.insert(value as u16, ((value >> 24) as u16, attribute));
        }
        schema.add_usual();
        for entry in layouts {
            let number = std::str::from_utf8(&entry.name).ok().and_then(|name| name.parse::<u16>().ok());
            let number =
                number.filter(|number| *number < NUMBERS).ok_or(SaError::Table("a layout has no number"))?;
            let Value::Integers(2, attributes) = &entry.value else {
                return Err(SaError::Table("a layout is no list of attributes"));
            };
            schema.layouts.insert(number, attributes.iter().map(|&number| number as u16).collect());
        }
        if schema.layouts.len() > MAX_LAYOUTS {
            return Err(SaError::Table("there are too many layouts"));
        }
        Ok(schema)
    }

    /// ZFS itself falls back on the numbers of its own table where the registry has nothing.
    fn add_usual(&mut self) {
        for (number, (_, length, _)) in ATTRIBUTES.iter().enumerate() {
            let taken = self.attributes.values().any(|(_, attribute)| *attribute == Some(KNOWN[number]));
            if !taken {
                self.attributes.entry(number as u16).or_insert((*length, Some(KNOWN[number])));
            }
        }
    }

    /// The numbers that the layouts in `used` have in the file system, and its table with those that it lacks, if it lacks any.
    pub fn numbering(&self, used: &[Layout]) -> (Numbering, Option<zap::Table>) {
        let mut numbering = Numbering::default();
        let mut added = Vec::new();
        for layout in used {
            let attributes: Vec<u16> = layout.iter().map(|&attribute| self.number(attribute)).collect();
            let known = self.layouts.iter().filter(|(_, there)| **there == attributes);
            let number = known.map(|(number, _)| *number).min().unwrap_or_else(|| {
                // ZFS gives a new layout the number of those that it knows; others are free only where there are gaps.
                let next = FIRST_LAYOUT + (self.layouts.len() + added.len()) as u16;
                let is_free = |number: &u16| {
                    !self.layouts.contains_key(number) && added.iter().all(|(taken, _)| taken != number)
                };
                let number = (next..NUMBERS).chain(FIRST_LAYOUT..next).find(is_free);
                let number = number.expect("there are fewer layouts than numbers");
                added.push((number, attributes));
                number
            });
            numbering.0.push((layout.clone(), number));
        }
        if added.is_empty() {
            return (numbering, None);
        }
        let mut table = zap::Table::new();
        for (number, attributes) in &self.layouts {
            insert_layout(&mut table, *number, attributes);
        }
        for (number, attributes) in &added {
            insert_layout(&mut table, *number, attributes);
        }
        (numbering, Some(table))
    }

    /// What is wrong with the numbers of the layouts, in words.
    pub fn faults(&self) -> Option<String> {
        let mut numbers: Vec<u16> = self.layouts.keys().copied().collect();
        numbers.sort_unstable();
        let gap = (FIRST_LAYOUT..).zip(&numbers).find(|(expected, number)| expected != *number);
        gap.map(|(expected, _)| {
            format!(
                "its layouts have no number {expected}, so that the next new one gets a number that is taken"
            )
        })
    }

    /// Whether the layout of a bonus buffer begins with what space accounting expects there.
    pub fn is_accounted(&self, bonus: &[u8], order: ByteOrder) -> bool {
        let number = bonus.get(4..).and_then(|rest| rest.first_chunk()).map(|info| order.u16(*info) & 0x3ff);
        let Some(layout) = number.and_then(|number| self.layouts.get(&number)) else { return false };
        let known = layout.iter().map(|number| self.attributes.get(number).and_then(|(_, known)| *known));
        known.take(ACCOUNTED).eq(COMMON[..ACCOUNTED].iter().copied().map(Some))
    }

    /// Whether the file system has layouts at all: without them its files have the old form.
    pub fn has_layouts(&self) -> bool {
        !self.layouts.is_empty()
    }

    fn number(&self, attribute: Attribute) -> u16 {
        let known = self.attributes.iter().find(|(_, (_, known))| *known == Some(attribute));
        known.map_or(attribute as u16, |(number, _)| *number)
    }

    /// Adds the values in a bonus buffer or spill block to `values`.
    ///
    /// # Errors
    /// [`SaError`].
    pub fn decode(
        &self,
        buffer: &[u8],
        order: ByteOrder,
        values: &mut BTreeMap<Attribute, Vec<u8>>,
    ) -> Result<(), SaError> {
        let u16_at = |at: usize| -> Result<u16, SaError> {
            let bytes = buffer.get(at..).and_then(|rest| rest.first_chunk()).ok_or(SaError::Short)?;
            Ok(order.u16(*bytes))
        };
        let magic = buffer.first_chunk().ok_or(SaError::Short)?;
        if order.u32(*magic) != MAGIC {
            return Err(SaError::Magic);
        }
        let info = u16_at(4)?;
        let (number, header) = (info & 0x3ff, usize::from(info >> 10) * 8);
        let layout = self.layouts.get(&number).ok_or(SaError::Layout(number))?;
        let (mut at, mut lengths) = (header, 0);
        for attribute in layout {
            let (fixed, known) = self.attributes.get(attribute).ok_or(SaError::Layout(number))?;
            let length = if *fixed == 0 {
                lengths += 1;
                // The first length has room in the shortest header.
                u16_at(4 + 2 * lengths)?
            } else {
                *fixed
            };
            at = at.next_multiple_of(8);
            let value = buffer.get(at..at + usize::from(length)).ok_or(SaError::Short)?;
            if let Some(known) = known {
                values.insert(*known, value.to_vec());
            }
            at += usize::from(length);
        }
        Ok(())
    }
}

/// The attributes of [`ATTRIBUTES`], in its order.
const KNOWN: [Attribute; 20] = [
    Atime, Mtime, Ctime, Crtime, Gen, Mode, Size, Parent, Links, Xattr, Rdev, Flags, Uid, Gid, Pad, ZnodeAcl,
    DaclCount, Symlink, Scanstamp, DaclAces,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the registry that real file systems have.
    #[test]
    fn the_registry_is_that_of_zfs() {
        let blocks = registry().to_blocks(1, false).unwrap();
        assert_eq!(blocks.bytes.len(), 1536);
        let entries = zap::read(&blocks.bytes[..], ByteOrder::Little).unwrap();
        let value = |name: &str| {
            entries.iter().find(|entry| entry.name == name.as_bytes()).unwrap().value.number().unwrap()
        };
        assert_eq!(value("ZPL_ATIME"), 0x1000_0000);
        assert_eq!(value("ZPL_MODE"), 0x800_0005);
        assert_eq!(value("ZPL_ZNODE_ACL"), 0x5803_000f);
        assert_eq!(value("ZPL_SYMLINK"), 0x3_0011);
        assert_eq!(value("ZPL_SCANSTAMP"), 0x2003_0012);
        assert_eq!(value("ZPL_DACL_ACES"), 0x4_0013);
    }

    #[test]
    fn numbers_are_places() {
        for (number, attribute) in KNOWN.into_iter().enumerate() {
            assert_eq!(attribute as usize, number);
        }
        assert_eq!(fixed_length(Dxattr), 0);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let object = |table: &zap::Table| table.to_blocks(7, true).unwrap();
        let used = [plain(), vec![Symlink], COMMON.into_iter().chain([Rdev, DaclCount, Xattr]).collect()];
        let (numbering, table) = Schema::new().numbering(&used);
        let (registry, layouts) = (object(&registry()), object(&table.unwrap()));
        let read = |blocks: &zap::Blocks| {
            struct Cut<'a>(&'a zap::Blocks);
            impl zap::BlockSource for Cut<'_> {
                fn block(&self, number: u64) -> Option<&[u8]> {
                    self.0.bytes.chunks(self.0.block_size as usize).nth(number as usize)
                }
            }
            zap::read(&Cut(blocks), ByteOrder::Little).unwrap()
        };
        let schema = Schema::read(&read(&registry), &read(&layouts)).unwrap();
        assert_eq!(schema.faults(), None);
        for layout in &used {
            let value = |attribute: Attribute| match attribute {
                Symlink => b"target".to_vec(),
                DaclAces => vec![9; 24],
                other => vec![other as u8; usize::from(fixed_length(other))],
            };
            let buffer = encode(layout, &numbering, |attribute, to| to.extend(value(attribute)));
            assert_eq!(buffer.len(), encoded_length(layout, |attribute| value(attribute).len()));
            let mut values = BTreeMap::new();
            schema.decode(&buffer, ByteOrder::Little, &mut values).unwrap();
            assert_eq!(values.len(), layout.len());
            for (attribute, found) in values {
                assert_eq!(found, value(attribute));
            }
            assert_eq!(schema.is_accounted(&buffer, ByteOrder::Little), layout.len() > 1);
        }
        // All of them are known now; another gets the next number.
        assert_eq!(schema.numbering(&used), (numbering.clone(), None));
        let (more, table) = schema.numbering(&[vec![Symlink, Xattr]]);
        assert_eq!((more.number(&[Symlink, Xattr]), table.is_some()), (Some(5), true));
        let mut buffer = encode(&[Symlink], &numbering, |_, to| to.extend(b"target"));
        let decode = |buffer: &[u8]| schema.decode(buffer, ByteOrder::Little, &mut BTreeMap::new());
        assert_eq!(decode(&buffer[..10]), Err(SaError::Short));
        buffer[4] = 77;
        assert_eq!(decode(&buffer), Err(SaError::Layout(77)));
        buffer[0] = 0;
        assert_eq!(decode(&buffer), Err(SaError::Magic));
    }
}
