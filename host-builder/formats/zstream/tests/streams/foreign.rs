//! File systems in streams as only other systems send them: in the other byte order, with blocks that are references, with compressed
//! spill blocks, with several snapshots. They are made of streams that real ZFS sent.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;

use kiln_zstream::fs::objects::{DeviceStore, NoStore};
use kiln_zstream::fs::{self, Objects};
use kiln_zstream::{ErrorKind, zap};

use crate::common::{
    BEGIN, Builder, END, OBJECT, SPILL, WRITE, WRITE_BYREF, fixture, get, resealed, reverse, split,
    swapped_with,
};
use crate::filesystems::{Stored, described};

fn objects(streams: &[&[u8]]) -> kiln_zstream::Result<Objects<DeviceStore<Vec<u8>>>> {
    let mut objects = Objects::new(DeviceStore::new(Vec::new()));
    for stream in streams {
        objects.apply(*stream)?;
    }
    Ok(objects)
}

fn read(streams: &[&[u8]]) -> Stored {
    fs::read(objects(streams).unwrap()).unwrap()
}

/// The types of object that are name tables.
const TABLES: [u64; 6] = [20, 21, 22, 45, 46, 47];

/// The layouts of a file system: numbers and the attributes in each.
fn layouts(stream: &[u8]) -> HashMap<u16, Vec<u64>> {
    struct Blocks(BTreeMap<u64, Vec<u8>>);
    impl zap::BlockSource for Blocks {
        fn block(&self, number: u64) -> Option<&[u8]> {
            self.0.get(&number).map(Vec::as_slice)
        }
    }
    let is_layout = |bytes: &[u8]| get(bytes, 16, 4) == 47;
    let blocks = split(stream).into_iter().filter(|(kind, bytes, _)| *kind == WRITE && is_layout(bytes));
    let blocks =
        Blocks(blocks.map(|(_, bytes, block)| (get(&bytes, 24, 8) / get(&bytes, 32, 8), block)).collect());
    let Ok(entries) = zap::read(&blocks, kiln_zstream::checksum::ByteOrder::Little) else {
        return HashMap::new();
    };
    let layout = |entry: zap::Entry| {
        let zap::Value::Integers(2, attributes) = entry.value else { panic!("a layout is a list") };
        (String::from_utf8(entry.name).unwrap().parse().unwrap(), attributes)
    };
    entries.into_iter().map(layout).collect()
}

/// Swaps the entries of an access control list that are all of the shortest form.
fn swap_list(list: &mut [u8]) {
    for at in (0..list.len()).step_by(8) {
        reverse(list, 2, &[at, at + 2]);
        reverse(list, 4, &[at + 4]);
    }
}

/// Swaps system attributes by their layout.
fn swap_attributes(bytes: &mut [u8], layouts: &HashMap<u16, Vec<u64>>) {
    let info = get(bytes, 4, 2);
    let (layout, mut at) = (&layouts[&(info as u16 & 0x3ff)], (info >> 10) as usize * 8);
    let mut lengths = (6..at).step_by(2);
    for attribute in layout {
        let length = match attribute {
            0..=3 => 16,
            4..=13 | 16 => 8,
            17 | 19 => get(bytes, lengths.next().unwrap(), 2) as usize,
            other => panic!("the fixtures have no attribute {other}"),
        };
        at = at.next_multiple_of(8);
        let value = &mut bytes[at..at + length];
        match attribute {
            17 => {}
            19 => swap_list(value),
            _ => value.chunks_exact_mut(8).for_each(<[u8]>::reverse),
        }
        at += length;
    }
    for length in (6..(info >> 10) as usize * 8).step_by(2) {
        reverse(bytes, 2, &[length]);
    }
    reverse(bytes, 2, &[4]);
    reverse(bytes, 4, &[0]);
}

fn swap_znode(bytes: &mut [u8]) {
    let words: Vec<usize> = (0..184).step_by(8).collect();
    let count = get(bytes, 190, 2) as usize;
    reverse(bytes, 8, &words);
    reverse(bytes, 4, &[184]);
    reverse(bytes, 2, &[188, 190]);
    swap_list(&mut bytes[192..192 + 8 * count]);
}

/// Swaps a block of a name table.
fn swap_table(block: &mut [u8]) {
    match get(block, 0, 8) {
        0x8000_0000_0000_0003 => {
            reverse(block, 8, &[0, 8, 16]);
            for entry in (64..block.len()).step_by(64) {
                reverse(block, 8, &[entry]);
                reverse(block, 4, &[entry + 8]);
            }
        }
        0x8000_0000_0000_0000 => {
            reverse(block, 8, &[0, 8, 16]);
            reverse(block, 4, &[24]);
            reverse(block, 2, &[28, 30, 32, 34]);
            let first = 48 + block.len() / 16;
            let buckets: Vec<usize> = (48..first).step_by(2).collect();
            reverse(block, 2, &buckets);
            for chunk in (first..block.len() - 23).step_by(24) {
                if block[chunk] == 252 {
                    reverse(block, 2, &[2, 4, 6, 8, 10].map(|at| chunk + at));
                    reverse(block, 4, &[chunk + 12]);
                    reverse(block, 8, &[chunk + 16]);
                } else {
                    reverse(block, 2, &[chunk + 22]);
                }
            }
        }
        // The header, and pointers.
        _ => block.chunks_exact_mut(8).for_each(<[u8]>::reverse),
    }
}

#[test]
fn file_systems_of_big_endian_machines_are_the_same() {
    for name in ["fs5-full.zs.gz", "fs5-tiny.zs.gz", "fs4-tiny.zs.gz", "fuse-fs4-full.zs.gz"] {
        let stream = fixture(name);
        let layouts = layouts(&stream);
        let swapped = swapped_with(&stream, |kind, bytes, payload| match kind {
            OBJECT if get(bytes, 20, 4) == 44 => swap_attributes(payload, &layouts),
            OBJECT if get(bytes, 20, 4) == 17 => swap_znode(payload),
            SPILL => swap_attributes(payload, &layouts),
            WRITE if TABLES.contains(&get(bytes, 16, 4)) => swap_table(payload),
            _ => {}
        });
        let (little, big) = (read(&[&stream]), read(&[&swapped]));
        assert!(described(&little) == described(&big), "{name}");
        assert_eq!(fs::check(&big.objects), [], "{name}");
    }
}

/// The stream of two files of which the second is a reference to a block of the other, or of `ref_guid`.
fn with_reference(ref_guid: u64, features: u64) -> Vec<u8> {
    let mut records = split(&fixture("fs5-full.zs.gz"));
    let is_block = |(kind, bytes, _): &(u32, Vec<u8>, Vec<u8>)| *kind == WRITE && get(bytes, 16, 4) == 19;
    let source = records.iter().position(is_block).unwrap();
    let (object, offset, length) =
        (get(&records[source].1, 8, 8), get(&records[source].1, 24, 8), get(&records[source].1, 32, 8));
    // Right behind it an object of the same block size, and its contents as a reference.
    let builder =
        Builder::new(false, false).record(OBJECT, &[(8, 8, 5000), (16, 4, 19), (24, 4, length)], &[]);
    let builder = builder.record(
        WRITE_BYREF,
        &[(8, 8, 5000), (24, 8, length), (40, 8, ref_guid), (48, 8, object), (56, 8, offset)],
        &[],
    );
    for (number, bytes) in builder.bytes.chunks(312).enumerate() {
        records.insert(source + 1 + number, (get(bytes, 0, 4) as u32, bytes.to_vec(), Vec::new()));
    }
    records[0].1[16..24].copy_from_slice(&((4 | features) << 2 | 1_u64).to_le_bytes());
    resealed(records, false)
}

fn block(objects: &Objects<DeviceStore<Vec<u8>>>, number: u64) -> Vec<u8> {
    let object = objects.get(number).unwrap();
    let mut block = Vec::new();
    objects.read(object, 0, &mut block).unwrap();
    block
}

#[test]
fn blocks_may_be_references() {
    let all = objects(&[&with_reference(0, 1)]).unwrap();
    let is_same = |(number, object): (u64, &fs::objects::Object)| {
        number != 5000 && object.has(0) && block(&all, number) == block(&all, 5000)
    };
    assert!(all.iter().any(is_same));
    assert_ne!(block(&all, 5000), vec![0; block(&all, 5000).len()]);
    let error = objects(&[&with_reference(77, 1)]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("0x000000000000004d") && error.to_string().contains("without -D"),
        "{error}"
    );
    // Nobody who keeps no contents is hindered by references.
    Objects::new(NoStore).apply(&with_reference(0, 1)[..]).unwrap();
}

#[test]
fn blocks_may_be_references_to_what_is_underneath() {
    let full = fixture("fs5-full.zs.gz");
    let origin = objects(&[&full]).unwrap();
    let guid = origin.info().unwrap().guid;
    let is_file = |(_, object): &(u64, &fs::objects::Object)| {
        object.object_type == 19 && object.has(0) && object.block_size == 512
    };
    let (number, _) = origin.iter().find(is_file).unwrap();
    let expected = block(&origin, number);
    // The increment writes over the block first: what counts is how it was.
    let increment = |features: u64| {
        Builder::new(false, false)
            .begin(features << 2 | 1, 2, guid, 99, &[])
            .write(number, 0, &[0xaa; 512])
            .record(OBJECT, &[(8, 8, 5000), (16, 4, 19), (24, 4, 512)], &[])
            .record(WRITE_BYREF, &[(8, 8, 5000), (24, 8, 512), (40, 8, guid), (48, 8, number)], &[])
            .end()
            .bytes
    };
    let all = objects(&[&full, &increment(1)]).unwrap();
    assert_eq!(block(&all, 5000), expected);
    assert_eq!(block(&all, number), [0xaa; 512]);
    // Streams that are to have references say so.
    let error = objects(&[&full, &increment(4)]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn spill_blocks_may_be_compressed() {
    let stream = fixture("fs5-full.zs.gz");
    let mut records = split(&stream);
    let mut spills = 0;
    for (_, bytes, payload) in records.iter_mut().filter(|(kind, ..)| *kind == SPILL) {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(payload).unwrap();
        *payload = encoder.finish().unwrap();
        payload.resize(payload.len().next_multiple_of(8), 0);
        bytes[33] = 10;
        bytes[40..48].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        spills += 1;
    }
    assert!(spills > 0);
    let compressed = resealed(records, false);
    assert!(compressed.len() < stream.len());
    assert!(described(&read(&[&compressed])) == described(&read(&[&stream])));
}

#[test]
fn several_snapshots_are_counted() {
    let (full, increment) = (fixture("fs5-full.zs.gz"), fixture("fs5-inc.zs.gz"));
    let wrapping = Builder::new(false, false).begin(4 << 2 | 2, 0, 0, 0, &[]).end();
    let last = Builder::new(false, false).record(END, &[], &[]);
    let compound = [&wrapping.bytes[..], &full, &increment, &last.bytes].concat();
    let all = objects(&[&compound]).unwrap();
    let info = all.info().unwrap();
    assert_eq!((info.snapshots, info.compound, info.from_guid), (2, true, 0));
    let findings = fs::check(&all);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].detail.contains("2 snapshots"), "{findings:?}");
    assert!(described(&fs::read(all).unwrap()) == described(&read(&[&full, &increment])));
    // Two datasets, and snapshots that do not follow each other.
    let tiny = fixture("fs5-tiny.zs.gz");
    for (second, kind) in [(&tiny, ErrorKind::Unsupported), (&increment, ErrorKind::WrongBase)] {
        let first = if kind == ErrorKind::WrongBase { &tiny } else { &full };
        let compound = [&wrapping.bytes[..], first, second, &last.bytes].concat();
        assert_eq!(objects(&[&compound]).err().map(|error| error.kind()), Some(kind));
    }
}

#[test]
fn features_that_are_not_known_are_named_with_who_sends_them() {
    for (bits, words) in [
        (1_u64 << 5, "bit 5): closed systems such as Oracle Solaris"),
        (1 << 18, "bit 18): the systems of Delphix"),
        (1 << 5 | 1 << 18, "a newer ZFS"),
        (1 << 24, "zfs send -w"),
        (1 << 21, "redacted"),
        (1 << 20, "zfs send -t"),
    ] {
        let mut records = split(&fixture("fs5-tiny.zs.gz"));
        assert_eq!(records[0].0, BEGIN);
        records[0].1[16..24].copy_from_slice(&(bits << 2 | 1).to_le_bytes());
        let error = objects(&[&resealed(records, false)]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// Blocks that expand to far more than they take, until no memory should be left.
#[test]
fn streams_cannot_fill_memory() {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(9));
    encoder.write_all(&vec![1; 16 << 20]).unwrap();
    let mut packed = encoder.finish().unwrap();
    packed.resize(packed.len().next_multiple_of(8), 0);
    let mut builder = Builder::new(false, false).begin(4 << 2 | 1, 2, 0, 99, &[]).record(
        OBJECT,
        &[(8, 8, 1), (16, 4, 21), (24, 4, 16 << 20)],
        &[],
    );
    for number in 0..40 {
        let fields = [
            (8, 8, 1),
            (16, 4, 21),
            (24, 8, number << 24),
            (32, 8, 16 << 20),
            (50, 1, 10),
            (96, 8, packed.len() as u64),
        ];
        builder = builder.record(WRITE, &fields, &packed);
    }
    let error = objects(&[&builder.end().bytes]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::SizeLimit, "{error}");
}
