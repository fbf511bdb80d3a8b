//! The form of one block (illumos `zap_micro.c`): a header of 64 bytes, then entries of 64 bytes, each a name of up to 49 bytes and
//! one 64-bit number.

use zerocopy::byteorder::{BE, ByteOrder as Order, LE, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Blocks, Entry, Placed, Value, ZapError};
use crate::checksum::ByteOrder;

/// The longest name, in bytes.
const MAX_NAME: usize = 49;

/// The most entries: what fits in a block of 128 KiB behind the header.
const MAX_ENTRIES: usize = 2047;

/// The first word of the table (`ZBT_MICRO`).
pub const KIND: u64 = 0x8000_0000_0000_0003;

/// The beginning (`mzap_phys_t`).
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header<O: Order> {
    /// 0: [`KIND`].
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
struct Slot<O: Order> {
    /// 0: the number.
    value: U64<O>,
    /// 8: tells entries with equal hashes apart.
    differentiator: U32<O>,
    /// 12: zero.
    pad: U16<O>,
    /// 14: the name, NUL-terminated; a slot that begins with NUL is empty.
    name: [u8; MAX_NAME + 1],
}

const _: () = assert!(size_of::<Header<LE>>() == 64 && size_of::<Slot<LE>>() == 64);

/// Whether this form can hold the entries.
pub fn holds(entries: &[Placed<'_>]) -> bool {
    let fits = |entry: &Placed<'_>| entry.name.len() <= MAX_NAME && entry.value.number().is_some();
    entries.len() <= MAX_ENTRIES && entries.iter().all(fits)
}

/// The table as a block, a multiple of 512 bytes long: the block size of its object.
///
/// # Panics
/// When this form cannot hold the entries.
pub fn encode(salt: u64, entries: &[Placed<'_>]) -> Blocks {
    let mut bytes = Vec::with_capacity((1 + entries.len()) * size_of::<Slot<LE>>());
    let header =
        Header::<LE> { kind: KIND.into(), salt: salt.into(), normalization: 0.into(), pad: [U64::ZERO; 5] };
    bytes.extend_from_slice(header.as_bytes());
    for entry in entries {
        let mut slot = Slot::<LE> {
            value: entry.value.number().expect("only numbers are put into this form").into(),
            differentiator: entry.differentiator.into(),
            pad: U16::ZERO,
            name: [0; MAX_NAME + 1],
        };
        slot.name[..entry.name.len()].copy_from_slice(entry.name);
        bytes.extend_from_slice(slot.as_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    Blocks { block_size: bytes.len() as u32, bytes }
}

/// The entries of the table in `block`.
///
/// # Errors
/// [`ZapError::Bad`].
pub fn decode(block: &[u8], order: ByteOrder) -> Result<Vec<Entry>, ZapError> {
    match order {
        ByteOrder::Little => decode_as::<LE>(block),
        ByteOrder::Big => decode_as::<BE>(block),
    }
}

fn decode_as<O: Order>(block: &[u8]) -> Result<Vec<Entry>, ZapError> {
    let short = ZapError::Bad("the name table is too short");
    let (_, rest) = Header::<O>::ref_from_prefix(block).map_err(|_| short.clone())?;
    let (slots, _) = <[Slot<O>]>::ref_from_prefix_with_elems(rest, rest.len() / size_of::<Slot<O>>())
        .map_err(|_| short)?;
    let used = slots.iter().filter(|slot| slot.name[0] != 0);
    let entries = used.map(|slot| {
        let length = slot.name.iter().position(|&byte| byte == 0);
        let length = length.ok_or(ZapError::Bad("a name in the name table does not end"))?;
        Ok(Entry {
            name: slot.name[..length].to_vec(),
            value: Value::Number(slot.value.get()),
            differentiator: slot.differentiator.get(),
        })
    });
    entries.collect()
}

/// The salt of the table in `block`, when it has this form.
pub fn salt(block: &[u8], order: ByteOrder) -> Option<u64> {
    fn of<O: Order>(block: &[u8]) -> Option<u64> {
        let (header, _) = Header::<O>::ref_from_prefix(block).ok()?;
        (header.kind.get() == KIND).then(|| header.salt.get())
    }
    match order {
        ByteOrder::Little => of::<LE>(block),
        ByteOrder::Big => of::<BE>(block),
    }
}
