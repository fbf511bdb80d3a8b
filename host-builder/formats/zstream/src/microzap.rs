//! Microzaps: the one-block form of ZFS name tables (illumos `sys/zap_impl.h`, `zap_micro.c`).
//!
//! A header of 64 bytes, then entries of 64 bytes, each a name of up to 49 bytes and one 64-bit number. ZFS loads the
//! entries into a tree ordered by (hash of the name, collision differentiator), and two equal keys there are a kernel
//! panic on the machine that opens the table. So the differentiators are worked out here although few tables ever
//! need one.

use std::collections::{HashMap, HashSet};

use zerocopy::byteorder::{BE, ByteOrder as Order, LE, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::checksum::ByteOrder;

/// The longest name, in bytes.
pub const MAX_NAME: usize = 49;

/// The most entries: what fits in a block of 128 KiB behind the header.
pub const MAX_ENTRIES: usize = 2047;

/// The first word of a microzap (`ZBT_MICRO`).
const MICRO: u64 = 0x8000_0000_0000_0003;

/// The first word of the header block of the larger form, the fat zap (`ZBT_HEADER`).
const FAT: u64 = 0x8000_0000_0000_0001;

/// The beginning of a microzap (`mzap_phys_t`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header<O: Order> {
    /// 0: [`MICRO`].
    kind: U64<O>,
    /// 8: the hash starts from this; not zero.
    salt: U64<O>,
    /// 16: Unicode normalisation of names, 0 for none.
    normalization: U64<O>,
    /// 24: zero.
    pad: [U64<O>; 5],
}

/// An entry (`mzap_ent_phys_t`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Entry<O: Order> {
    /// 0: the number.
    value: U64<O>,
    /// 8: tells entries with equal hashes apart.
    differentiator: U32<O>,
    /// 12: zero.
    pad: U16<O>,
    /// 14: the name, NUL-terminated; an entry that begins with NUL is empty.
    name: [u8; MAX_NAME + 1],
}

const _: () = assert!(size_of::<Header<LE>>() == 64 && size_of::<Entry<LE>>() == 64);

/// Why a name table cannot be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MicrozapError {
    /// A name is empty, longer than [`MAX_NAME`] bytes or has a NUL in it.
    #[error("a name in a microzap has 1 to 49 bytes and no NUL")]
    Name,
    /// A name is there already.
    #[error("the name is in the table already")]
    Duplicate,
    /// There are [`MAX_ENTRIES`] entries already.
    #[error("a microzap holds at most 2047 entries")]
    Full,
    /// The block read is a name table of the large form.
    #[error("the name table is a fat zap, not a microzap")]
    Fat,
    /// The block read is no name table.
    #[error("there is no name table here")]
    NotATable,
}

/// A microzap in the making.
#[derive(Debug)]
pub struct Microzap {
    salt: u64,
    entries: Vec<(String, u64, u32)>,
    names: HashSet<String>,
    /// How many names there are of each hash.
    hashes: HashMap<u64, u32>,
}

impl Microzap {
    /// An empty table. ZFS takes a random `salt` to make collisions unpredictable; for reproducible output it is a
    /// constant. It must not be 0.
    pub fn new(salt: u64) -> Self {
        assert_ne!(salt, 0, "the salt of a name table is not zero");
        Self { salt, entries: Vec::new(), names: HashSet::new(), hashes: HashMap::new() }
    }

    /// Adds a name and its number.
    ///
    /// # Errors
    /// [`MicrozapError::Name`], [`Duplicate`](MicrozapError::Duplicate) and [`Full`](MicrozapError::Full).
    pub fn insert(&mut self, name: &str, value: u64) -> Result<(), MicrozapError> {
        if !(1..=MAX_NAME).contains(&name.len()) || name.bytes().any(|byte| byte == 0) {
            return Err(MicrozapError::Name);
        }
        if self.entries.len() == MAX_ENTRIES {
            return Err(MicrozapError::Full);
        }
        if !self.names.insert(name.to_owned()) {
            return Err(MicrozapError::Duplicate);
        }
        let equal = self.hashes.entry(hash(self.salt, name.as_bytes())).or_insert(0);
        self.entries.push((name.to_owned(), value, *equal));
        *equal += 1;
        Ok(())
    }

    /// The table as a block, in little-endian byte order, a multiple of 512 bytes long: the block size of its object.
    pub fn to_block(&self) -> Vec<u8> {
        let length = size_of::<Header<LE>>() + self.entries.len() * size_of::<Entry<LE>>();
        let mut block = Vec::with_capacity(length.next_multiple_of(512));
        let header = Header::<LE> {
            kind: MICRO.into(),
            salt: self.salt.into(),
            normalization: 0.into(),
            pad: [U64::ZERO; 5],
        };
        block.extend_from_slice(header.as_bytes());
        for (name, value, differentiator) in &self.entries {
            let mut entry = Entry::<LE> {
                value: (*value).into(),
                differentiator: (*differentiator).into(),
                pad: U16::ZERO,
                name: [0; MAX_NAME + 1],
            };
            entry.name[..name.len()].copy_from_slice(name.as_bytes());
            block.extend_from_slice(entry.as_bytes());
        }
        block.resize(length.next_multiple_of(512), 0);
        block
    }
}

/// Looks `name` up in the microzap `block` of a sender with the given byte order.
///
/// # Errors
/// [`MicrozapError::Fat`] and [`NotATable`](MicrozapError::NotATable).
pub fn lookup(block: &[u8], order: ByteOrder, name: &str) -> Result<Option<u64>, MicrozapError> {
    match order {
        ByteOrder::Little => lookup_as::<LE>(block, name),
        ByteOrder::Big => lookup_as::<BE>(block, name),
    }
}

fn lookup_as<O: Order>(block: &[u8], name: &str) -> Result<Option<u64>, MicrozapError> {
    let (header, rest) = Header::<O>::ref_from_prefix(block).map_err(|_| MicrozapError::NotATable)?;
    match header.kind.get() {
        MICRO => {}
        FAT => return Err(MicrozapError::Fat),
        _ => return Err(MicrozapError::NotATable),
    }
    let (entries, _) = <[Entry<O>]>::ref_from_prefix_with_elems(rest, rest.len() / size_of::<Entry<O>>())
        .map_err(|_| MicrozapError::NotATable)?;
    Ok(entries
        .iter()
        .find(|entry| entry.name.split(|&byte| byte == 0).next() == Some(name.as_bytes()))
        .map(|entry| entry.value.get()))
}

/// The hash of a name as microzaps and the fat zaps of file systems use it: CRC-64 from `salt`, cut to its top 28 bits
/// (illumos `zap_hash`).
fn hash(salt: u64, name: &[u8]) -> u64 {
    crc64(salt, name) & !((1 << 36) - 1)
}

/// CRC-64 of ECMA-182, reflected, starting from `crc` and without a final inversion.
fn crc64(crc: u64, data: &[u8]) -> u64 {
    data.iter().fold(crc, |crc, &byte| (crc >> 8) ^ CRC64_TABLE[((crc as u8) ^ byte) as usize])
}

const CRC64_POLYNOMIAL: u64 = 0xc96c_5795_d787_0f42;

const CRC64_TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { CRC64_POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_table_and_hash_are_those_of_zfs() {
        assert_eq!(CRC64_TABLE[128], CRC64_POLYNOMIAL);
        assert_eq!(CRC64_TABLE[1], 0xb32e_4cbe_03a7_5f6f);
        assert_eq!(CRC64_TABLE[255], 0xe0ad_a173_6467_3f59);
        assert_eq!(crc64(1, b"size"), 0x5e01_cff9_6bd9_8a1b);
        assert_eq!(hash(1, b"size"), 0x5e01_cff0_0000_0000);
    }

    /// With this salt the two names collide, and equal differentiators would panic the receiver.
    #[test]
    fn colliding_names_get_different_differentiators() {
        let mut table = Microzap::new(0x1a2b_3c4d_5e6f_7081);
        for (name, value) in [("c189085", 1), ("other", 2), ("c8144022", 3)] {
            table.insert(name, value).unwrap();
        }
        let block = table.to_block();
        let differentiator =
            |entry: usize| u32::from_le_bytes(block[64 * (entry + 1) + 8..][..4].try_into().unwrap());
        assert_eq!([differentiator(0), differentiator(1), differentiator(2)], [0, 0, 1]);
        assert_eq!(lookup(&block, ByteOrder::Little, "c8144022"), Ok(Some(3)));
    }

    #[test]
    fn limits_of_the_form() {
        let mut table = Microzap::new(1);
        assert_eq!(table.to_block().len(), 512);
        assert_eq!(table.insert("", 0), Err(MicrozapError::Name));
        assert_eq!(table.insert(&"n".repeat(50), 0), Err(MicrozapError::Name));
        assert_eq!(table.insert("a\0b", 0), Err(MicrozapError::Name));
        for entry in 0..MAX_ENTRIES as u64 {
            table.insert(&format!("{entry:049}"), entry).unwrap();
        }
        assert_eq!(table.insert("one more", 0), Err(MicrozapError::Full));
        let block = table.to_block();
        assert_eq!(block.len(), 128 << 10);
        assert_eq!(lookup(&block, ByteOrder::Little, &format!("{:049}", 2046)), Ok(Some(2046)));
        assert_eq!(lookup(&block, ByteOrder::Little, "absent"), Ok(None));
    }

    #[test]
    fn a_name_comes_once() {
        let mut table = Microzap::new(1);
        table.insert("size", 1).unwrap();
        assert_eq!(table.insert("size", 2), Err(MicrozapError::Duplicate));
    }

    #[test]
    fn other_blocks_are_refused() {
        assert_eq!(lookup(&[0; 512], ByteOrder::Little, "size"), Err(MicrozapError::NotATable));
        assert_eq!(lookup(&[3; 20], ByteOrder::Little, "size"), Err(MicrozapError::NotATable));
        let mut fat = [0; 512];
        fat[..8].copy_from_slice(&FAT.to_be_bytes());
        assert_eq!(lookup(&fat, ByteOrder::Big, "size"), Err(MicrozapError::Fat));
        assert_eq!(lookup(&fat, ByteOrder::Little, "size"), Err(MicrozapError::NotATable));
    }
}
