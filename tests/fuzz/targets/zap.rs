//! Name tables. The first byte of the input chooses the byte order, the second the block size; the rest are blocks. A table that is
//! read and in order is written and read again.
#![no_main]

use std::collections::BTreeMap;

use kiln_zstream::checksum::ByteOrder;
use kiln_zstream::zap::{self, BlockSource, Entry, Table, Value};
use libfuzzer_sys::fuzz_target;

/// Blocks of one size.
struct Blocks<'a>(&'a [u8], usize);

impl BlockSource for Blocks<'_> {
    fn block(&self, number: u64) -> Option<&[u8]> {
        self.0.chunks_exact(self.1).nth(usize::try_from(number).ok()?)
    }
}

fn by_name(entries: &[Entry]) -> BTreeMap<&[u8], &Value> {
    entries.iter().map(|entry| (&entry.name[..], &entry.value)).collect()
}

fuzz_target!(|input: &[u8]| {
    let Some((&[order, shift], rest)) = input.split_first_chunk() else { return };
    let order = if order & 1 == 0 { ByteOrder::Little } else { ByteOrder::Big };
    let blocks = Blocks(rest, 512 << (shift % 9));
    for block in rest.chunks(blocks.1) {
        let _ = zap::read_block(block, order);
        let _ = zap::salt(block, order);
    }
    let misplaced = zap::misplaced(&blocks, order);
    let Ok(entries) = zap::read(&blocks, order) else {
        assert_eq!(misplaced, None);
        return;
    };
    if let Some(name) = misplaced {
        assert!(entries.iter().any(|entry| entry.name == name));
    }
    let salt = blocks.block(0).and_then(|block| zap::salt(block, order)).expect("a table has a salt");
    if salt == 0 || zap::clash(salt, &entries).is_some() {
        return;
    }
    let mut table = Table::new();
    for entry in &entries {
        if table.insert_value(&entry.name, entry.value.clone()).is_err() {
            return;
        }
    }
    let Ok(written) = table.to_blocks(salt, true) else { return };
    let written = Blocks(&written.bytes, written.block_size as usize);
    assert_eq!(zap::misplaced(&written, ByteOrder::Little), None);
    let again = zap::read(&written, ByteOrder::Little).expect("what is written is a table");
    assert_eq!(by_name(&again), by_name(&entries));
});
