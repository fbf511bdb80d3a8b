use proptest::prelude::*;

use super::*;

/// The blocks of a table that was made here.
struct Object<'a>(&'a Blocks);

impl BlockSource for Object<'_> {
    fn block(&self, number: u64) -> Option<&[u8]> {
        self.0.bytes.chunks_exact(self.0.block_size as usize).nth(number.try_into().ok()?)
    }
}

fn read_back(blocks: &Blocks) -> Vec<Entry> {
    read(&Object(blocks), ByteOrder::Little).unwrap()
}

fn as_map(entries: &[Entry]) -> BTreeMap<Vec<u8>, Value> {
    entries.iter().map(|entry| (entry.name.clone(), entry.value.clone())).collect()
}

/// With this salt the two names collide, and equal differentiators would panic the receiver.
#[test]
fn colliding_names_get_different_differentiators() {
    let salt = 0x1a2b_3c4d_5e6f_7081;
    let mut table = Table::new();
    for (name, number) in [("c189085", 1), ("other", 2), ("c8144022", 3)] {
        table.insert(name.as_bytes(), number).unwrap();
    }
    for fat in [false, true] {
        let mut entries = read_back(&table.to_blocks(salt, fat).unwrap());
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let found: Vec<_> =
            entries.iter().map(|entry| (entry.value.number(), entry.differentiator)).collect();
        assert_eq!(found, [(Some(1), 0), (Some(3), 1), (Some(2), 0)]);
        assert_eq!(clash(salt, &entries), None);
        entries[1].differentiator = 0;
        assert!(clash(salt, &entries).is_some());
    }
}

#[test]
fn a_small_table_of_numbers_is_one_block() {
    let mut table = Table::new();
    assert_eq!(table.to_blocks(1, false).unwrap().bytes.len(), 512);
    for number in 0..2047 {
        table.insert(format!("{number:049}").as_bytes(), number).unwrap();
    }
    let blocks = table.to_blocks(1, false).unwrap();
    assert_eq!((blocks.block_size, blocks.bytes.len()), (128 << 10, 128 << 10));
    assert_eq!(as_map(&read_back(&blocks)), table.entries);
    table.insert(b"one more", 0).unwrap();
    assert_eq!(table.to_blocks(1, false).unwrap().block_size, 16 << 10);
}

#[test]
fn long_names_and_other_integers_take_the_other_form() {
    let mut table = Table::new();
    table.insert(&[b'n'; 50], 7).unwrap();
    assert_eq!(table.to_blocks(1, false).unwrap().bytes.len(), 32 << 10);
    let mut table = Table::new();
    table.insert_value(b"2", Value::Integers(2, vec![5, 6, 0x1234])).unwrap();
    let blocks = table.to_blocks(1, false).unwrap();
    assert_eq!(as_map(&read_back(&blocks)), table.entries);
    assert_eq!(salt(&blocks.bytes, ByteOrder::Little), Some(1));
}

#[test]
fn names_have_rules() {
    let mut table = Table::new();
    for name in [&b""[..], b"a\0b", &[b'x'; 256]] {
        assert_eq!(table.insert(name, 0), Err(ZapError::Name));
    }
    table.insert(b"size", 1).unwrap();
    assert_eq!(table.insert(b"size", 2), Err(ZapError::Duplicate));
}

#[test]
fn a_hundred_thousand_names_need_pointers_outside_the_header() {
    let mut table = Table::new();
    for number in 0..100_000 {
        table.insert(format!("{number:0200}").as_bytes(), number).unwrap();
    }
    let blocks = table.to_blocks(99, false).unwrap();
    let header = &blocks.bytes[..104];
    assert_ne!(header[24..32], [0; 8], "the table of pointers has blocks of its own");
    let entries = read_back(&blocks);
    assert_eq!(clash(99, &entries), None);
    assert_eq!(as_map(&entries), table.entries);
}

#[test]
fn other_blocks_are_refused() {
    for block in [&[0; 512][..], &[3; 20], &[]] {
        assert!(matches!(read(block, ByteOrder::Little), Err(ZapError::Bad(_))));
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        entries in prop::collection::btree_map(prop::collection::vec(1..=255u8, 1..=255), any::<u64>(), 0..400),
        salt in 1..u64::MAX,
    ) {
        let mut table = Table::new();
        for (name, number) in &entries {
            table.insert(name, *number).unwrap();
        }
        for fat in [false, true] {
            let found = as_map(&read_back(&table.to_blocks(salt, fat).unwrap()));
            prop_assert_eq!(&found, &table.entries);
        }
    }

    #[test]
    fn damaged_tables_do_not_end_the_program(
        damage in prop::collection::vec((0..49152usize, any::<u8>()), 1..40),
    ) {
        let mut table = Table::new();
        for number in 0..300 {
            table.insert(format!("{number}").as_bytes(), number).unwrap();
        }
        let mut blocks = table.to_blocks(3, true).unwrap();
        for (at, byte) in damage {
            let length = blocks.bytes.len();
            blocks.bytes[at % length] = byte;
        }
        let _ = read(&Object(&blocks), ByteOrder::Little);
    }
}
