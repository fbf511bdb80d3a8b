//! The boot area of the built-in loader: as it is, and with the input as its table.
#![no_main]

use kiln_bootdisk::builtin;
use kiln_bootdisk::disk::BootArea;
use libfuzzer_sys::fuzz_target;

/// Where the table stands on a disk, and how long it can be.
const TABLE: usize = 34 * 512;
const TABLE_BYTES: usize = 32 * 512;

/// A disk with a table that goes on with `rest` behind its checksum, which matches.
fn with_table(rest: &[u8]) -> Vec<u8> {
    let mut table = b"KILNBOOT\x01\0\0\0".to_vec();
    let room = TABLE_BYTES - table.len() - 8;
    let rest = &rest[..rest.len().min(room)];
    let length = table.len() + 8 + rest.len().next_multiple_of(4);
    table.extend_from_slice(&(length as u32).to_le_bytes());
    table.extend_from_slice(&[0; 4]);
    table.extend_from_slice(rest);
    table.resize(length, 0);
    let words = table.as_chunks().0.iter().map(|&word| u32::from_le_bytes(word));
    let sum = words.fold(0, u32::wrapping_add);
    table[16..20].copy_from_slice(&sum.wrapping_neg().to_le_bytes());

    let mut disk = vec![0; TABLE];
    disk.extend(table);
    disk
}

/// The disk that begins with `area`.
fn disk(area: &BootArea) -> Vec<u8> {
    let mut sector = [0; 512];
    sector[..area.mbr_code.len()].copy_from_slice(&area.mbr_code);
    [&sector, area.gap.as_slice()].concat()
}

fuzz_target!(|input: &[u8]| {
    let _ = builtin::read(&input);
    let _ = builtin::parse_multiboot_header(&input[..input.len().min(8192)], input.len() as u64);
    if let Ok(Some(found)) = builtin::read(&with_table(input))
        && let Ok(area) = found.table.encode()
    {
        let again = builtin::read(&disk(&area)).expect("what was written can be read");
        assert_eq!(again.expect("it is a boot area").table, found.table);
    }
});
