//! Attributes of files. The first byte of the input chooses the byte order; the rest are pieces, each of a byte that says what it is,
//! two for its length, and so many bytes: blocks of the registry (0) and of the layouts (1), bonus buffers (2), spill blocks (3), old
//! bonus buffers (4).
#![no_main]

use kiln_zstream::checksum::ByteOrder;
use kiln_zstream::fs::Describer;
use kiln_zstream::record::object_type;
use libfuzzer_sys::fuzz_target;

/// Types of a bonus buffer.
const OLD: u32 = 17;
const ATTRIBUTES: u32 = 44;

fuzz_target!(|input: &[u8]| {
    let Some((&order, mut rest)) = input.split_first() else { return };
    let mut describer = Describer::new(if order & 1 == 0 { ByteOrder::Little } else { ByteOrder::Big });
    let (mut registry, mut layouts) = (0, 0);
    while let Some((&[kind, low, high], after)) = rest.split_first_chunk() {
        let (piece, next) = after.split_at(after.len().min(u16::from_le_bytes([low, high]).into()));
        match kind % 5 {
            0 => {
                describer.note(object_type::SA_REGISTRY, registry, piece);
                registry += piece.len() as u64;
            }
            1 => {
                describer.note(object_type::SA_LAYOUTS, layouts, piece);
                layouts += piece.len() as u64;
            }
            2 => drop(describer.bonus(ATTRIBUTES, piece)),
            3 => {
                if let Some(said) = describer.spill(piece) {
                    assert!(said.target.is_none_or(|target| target.len() <= piece.len()));
                    assert!(said.list.is_none_or(|entries| entries <= piece.len() / 8));
                }
            }
            _ => drop(describer.bonus(OLD, piece)),
        }
        rest = next;
    }
});
