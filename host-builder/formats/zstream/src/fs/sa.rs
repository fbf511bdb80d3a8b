//! System attributes: how a file system of version 5 keeps what it knows of a file (illumos `sys/sa_impl.h`, `sys/zfs_sa.h`).
//!
//! The bonus buffer of an object, and its spill block if there is more, have a short header that names a *layout*: a list of
//! attribute numbers. The values follow in that order. Which number is which attribute stands in a registry, which layout lists
//! what in a table of layouts, both per file system.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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

/// What every node has, in the order of its values. Space accounting reads `Uid` and `Gid` at their place without asking for the
/// layout, so the first six are always these.
const COMMON: [Attribute; 14] =
    [Mode, Size, Gen, Uid, Gid, Parent, Flags, Atime, Mtime, Ctime, Crtime, Links, DaclCount, DaclAces];

/// The layouts that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// Files, folders, pipes, sockets.
    Plain,
    /// A short symbolic link.
    Symlink,
    /// The spill block of a long one.
    SpilledSymlink,
    /// Devices.
    Device,
    /// What has extended attributes.
    Extended,
    /// A short symbolic link with extended attributes.
    ExtendedSymlink,
    /// The spill block of a long one.
    SpilledExtendedSymlink,
    /// Devices with extended attributes.
    ExtendedDevice,
}

impl Layout {
    const ALL: [Self; 8] = [
        Self::Plain,
        Self::Symlink,
        Self::SpilledSymlink,
        Self::Device,
        Self::Extended,
        Self::ExtendedSymlink,
        Self::SpilledExtendedSymlink,
        Self::ExtendedDevice,
    ];

    /// The attributes in their order.
    pub fn attributes(self) -> Vec<Attribute> {
        let with = |more: &[Attribute]| COMMON.iter().chain(more).copied().collect();
        match self {
            Self::Plain => with(&[]),
            Self::Symlink => with(&[Symlink]),
            Self::SpilledSymlink => vec![Symlink],
            // A number comes before what has no fixed length.
            Self::Device => COMMON[..12].iter().copied().chain([Rdev, DaclCount, DaclAces]).collect(),
            Self::Extended => with(&[Xattr]),
            Self::ExtendedSymlink => with(&[Xattr, Symlink]),
            Self::SpilledExtendedSymlink => vec![Xattr, Symlink],
            Self::ExtendedDevice => {
                COMMON[..12].iter().copied().chain([Rdev, DaclCount, DaclAces, Xattr]).collect()
            }
        }
    }
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

/// The numbers of layouts in one file system. Those of a new one are these, since 0 and 1 are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbering([u16; Layout::ALL.len()]);

impl Default for Numbering {
    fn default() -> Self {
        Self(std::array::from_fn(|place| FIRST_LAYOUT + place as u16))
    }
}

/// The first number that a layout can have.
const FIRST_LAYOUT: u16 = 2;

/// The table of layouts of a new file system.
pub fn layouts() -> zap::Table {
    let mut table = zap::Table::new();
    for (layout, number) in Layout::ALL.into_iter().zip(Numbering::default().0) {
        let attributes = layout.attributes().into_iter().map(|attribute| attribute as u64).collect();
        insert_layout(&mut table, number, attributes);
    }
    table
}

fn insert_layout(table: &mut zap::Table, number: u16, attributes: Vec<u64>) {
    let inserted = table.insert_value(number.to_string().as_bytes(), Value::Integers(2, attributes));
    inserted.expect("numbers are short names and differ");
}

/// Values in the order of a layout, as they stand in a bonus buffer or spill block, little-endian.
///
/// # Panics
/// When `value` has no value for an attribute of the layout, or one of another length than it has.
pub fn encode(layout: Layout, numbering: Numbering, value: impl Fn(Attribute) -> Vec<u8>) -> Vec<u8> {
    let values: Vec<(Attribute, Vec<u8>)> =
        layout.attributes().into_iter().map(|attribute| (attribute, value(attribute))).collect();
    let lengths: Vec<u16> = values
        .iter()
        .filter(|(attribute, _)| ATTRIBUTES[*attribute as usize].1 == 0)
        .map(|(_, bytes)| bytes.len() as u16)
        .collect();
    let header = (6 + 2 * lengths.len()).next_multiple_of(8);
    let mut buffer = MAGIC.to_le_bytes().to_vec();
    buffer.extend_from_slice(&(numbering.0[layout as usize] | (header as u16 / 8) << 10).to_le_bytes());
    for length in lengths {
        buffer.extend_from_slice(&length.to_le_bytes());
    }
    buffer.resize(header, 0);
    for (attribute, bytes) in values {
        let length = usize::from(ATTRIBUTES[attribute as usize].1);
        assert!(length == 0 || length == bytes.len(), "{attribute:?} has {} bytes", bytes.len());
        buffer.resize(buffer.len().next_multiple_of(8), 0);
        buffer.extend_from_slice(&bytes);
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
    /// An entry of one of the tables is not what it has to be.
    #[error("the tables of attributes are damaged: {0}")]
    Table(&'static str),
}

impl Schema {
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
        // ZFS itself falls back on the numbers of its own table where the registry has nothing.
        for (number, (_, length, _)) in ATTRIBUTES.iter().enumerate() {
            let taken = schema.attributes.values().any(|(_, attribute)| *attribute == Some(KNOWN[number]));
            if !taken {
                schema.attributes.entry(number as u16).or_insert((*length, Some(KNOWN[number])));
            }
        }
        for entry in layouts {
            let number = std::str::from_utf8(&entry.name).ok().and_then(|name| name.parse().ok());
            let number = number.ok_or(SaError::Table("a layout has no number"))?;
            let Value::Integers(2, attributes) = &entry.value else {
                return Err(SaError::Table("a layout is no list of attributes"));
            };
            schema.layouts.insert(number, attributes.iter().map(|&number| number as u16).collect());
        }
        Ok(schema)
    }

    /// The numbers that layouts have in the file system, and its table with those of `used` that it lacks, if it lacks any.
    pub fn numbering(&self, used: &BTreeSet<Layout>) -> (Numbering, Option<zap::Table>) {
        let mut numbering = Numbering::default();
        let mut added = Vec::new();
        for layout in Layout::ALL {
            let attributes: Vec<u16> =
                layout.attributes().into_iter().map(|attribute| self.number(attribute)).collect();
            let known = self
                .layouts
                .iter()
                .filter(|(_, there)| **there == attributes)
                .map(|(number, _)| *number)
                .min();
            numbering.0[layout as usize] = match known {
                Some(number) => number,
                None if used.contains(&layout) => {
                    // ZFS gives a new layout the number of those that it knows, which has to have no gaps therefore.
                    let number = FIRST_LAYOUT + (self.layouts.len() + added.len()) as u16;
                    added.push((number, attributes));
                    number
                }
                None => 0,
            };
        }
        if added.is_empty() {
            return (numbering, None);
        }
        let mut table = zap::Table::new();
        let known = self.layouts.iter().map(|(number, attributes)| (*number, attributes.clone()));
        for (number, attributes) in known.chain(added) {
            insert_layout(&mut table, number, attributes.into_iter().map(u64::from).collect());
        }
        (numbering, Some(table))
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
        for (number, layout) in Layout::ALL.into_iter().enumerate() {
            assert_eq!(layout as usize, number);
            if layout.attributes().len() > 2 {
                assert_eq!(layout.attributes()[..6], [Mode, Size, Gen, Uid, Gid, Parent]);
            }
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let object = |table: &zap::Table| table.to_blocks(7, true).unwrap();
        let (registry, layouts) = (object(&registry()), object(&layouts()));
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
        for layout in Layout::ALL {
            let value = |attribute: Attribute| match attribute {
                Symlink => b"target".to_vec(),
                DaclAces => vec![9; 24],
                other => vec![other as u8; usize::from(ATTRIBUTES[other as usize].1)],
            };
            let buffer = encode(layout, Numbering::default(), value);
            let mut values = BTreeMap::new();
            schema.decode(&buffer, ByteOrder::Little, &mut values).unwrap();
            assert_eq!(values.len(), layout.attributes().len());
            for (attribute, found) in values {
                assert_eq!(found, value(attribute));
            }
        }
        let used = Layout::ALL.into();
        assert_eq!(schema.numbering(&used), (Numbering::default(), None));
        let mut buffer = encode(Layout::SpilledSymlink, Numbering::default(), |_| b"target".to_vec());
        let decode = |buffer: &[u8]| schema.decode(buffer, ByteOrder::Little, &mut BTreeMap::new());
        assert_eq!(decode(&buffer[..10]), Err(SaError::Short));
        buffer[4] = 77;
        assert_eq!(decode(&buffer), Err(SaError::Layout(77)));
        buffer[0] = 0;
        assert_eq!(decode(&buffer), Err(SaError::Magic));
    }
}
