//! Streams of real ZFS, read record by record and compared with what `zstream dump` printed of them.

use std::collections::BTreeMap;

use crate::common::{Builder, END, RECORD, WRITE, fixture, resealed, sha256, split, swapped};
use kiln_zstream::checksum::ByteOrder;
use kiln_zstream::record::ObjsetType;
use kiln_zstream::{ErrorKind, Features, Record, StreamReader};

const STREAMS: [&str; 14] = [
    "fs4-tiny",
    "fs5-full",
    "fs5-inc",
    "fs5-tiny",
    "fuse-fs4-full",
    "fuse-fs4-inc",
    "fuse-zvol64-full",
    "tiny-zvol-recsum",
    "tiny-zvol",
    "zvol256k-features",
    "zvol256k-filled",
    "zvol64-sparse",
    "zvol64b-full",
    "zvol64b-inc",
];

fn stream(name: &str) -> Vec<u8> {
    fixture(&format!("{name}.zs.gz"))
}

/// Reads everything and gives the kind of the first error.
fn failure(bytes: &[u8]) -> Option<ErrorKind> {
    let mut reader = StreamReader::new(bytes);
    loop {
        match reader.next_record() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error.kind()),
        }
    }
}

#[test]
fn every_stream_is_read_to_its_last_byte() {
    let sums = String::from_utf8(fixture("SHA256SUMS.txt")).unwrap();
    assert_eq!(sums.lines().count(), STREAMS.len());
    for line in sums.lines() {
        let [digest, length, name] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let bytes = fixture(&format!("{name}.gz"));
        assert_eq!((&sha256(&bytes)[..], bytes.len()), (digest, length.parse().unwrap()), "{name}");
        let mut reader = StreamReader::new(&bytes[..]);
        while reader.next_record().unwrap_or_else(|error| panic!("{name}: {error}")).is_some() {}
        assert_eq!(reader.position(), bytes.len() as u64, "{name}");
        assert!(reader.next_record().unwrap().is_none());
        assert!(reader.into_inner().is_empty());
    }
}

/// The fields of a line such as `WRITE object = 1 type = 23 checksum type = 7 ...`.
fn fields(line: &str) -> BTreeMap<String, String> {
    let line = line.replace("SPILL block for ", "SPILL ");
    let parts: Vec<&str> = line.split(" = ").collect();
    parts
        .windows(2)
        .map(|pair| {
            let name = pair[0].split_once(' ').map_or(pair[0], |(_, name)| name);
            (name.to_owned(), pair[1].split(' ').next().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn fields_are_those_zstream_dump_prints() {
    let mut compared = 0;
    for name in STREAMS.into_iter().filter(|name| !name.starts_with("tiny") && !name.ends_with("features")) {
        let bytes = stream(name);
        let dump = String::from_utf8(fixture(&format!("{name}.dump.txt.gz"))).unwrap();
        let mut reader = StreamReader::new(&bytes[..]);

        let Some(Record::Begin(begin)) = reader.next_record().unwrap() else { panic!("{name}: no BEGIN") };
        let head: BTreeMap<&str, &str> =
            dump.lines().filter_map(|line| line.strip_prefix('\t')?.split_once(" = ")).take(10).collect();
        let hex = |name: &str| u64::from_str_radix(head[name].trim_start_matches("0x"), 16).unwrap();
        assert_eq!(u64::from(begin.features.0), hex("features"));
        assert_eq!(begin.creation_time, hex("creation_time"));
        assert_eq!(u64::from(begin.objset_type.code()), hex("type"));
        assert_eq!(u64::from(begin.flags), hex("flags"));
        assert_eq!((begin.to_guid, begin.from_guid), (hex("toguid"), hex("fromguid")));
        assert_eq!(begin.to_name, head["toname"]);
        assert!(!begin.compound);

        let kinds = ["OBJECT ", "FREEOBJECTS ", "WRITE ", "FREE ", "SPILL ", "END "];
        for line in dump.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind))) {
            let record = reader.next_record().unwrap().unwrap_or_else(|| panic!("{name}: too few records"));
            let fields = fields(line);
            let number = |field: &str| match &fields[field][..] {
                "-1" => u64::MAX,
                digits => digits.parse().unwrap_or_else(|_| panic!("{line}")),
            };
            match &record {
                Record::Object(object) => {
                    assert!(line.starts_with("OBJECT "), "{line}");
                    assert_eq!(object.object, number("object"), "{line}");
                    assert_eq!(u64::from(object.object_type), number("type"), "{line}");
                    assert_eq!(u64::from(object.bonus_type), number("bonustype"), "{line}");
                    assert_eq!(u64::from(object.block_size), number("blksz"), "{line}");
                    assert_eq!(u64::from(object.bonus_length), number("bonuslen"), "{line}");
                    assert_eq!(u64::from(object.flags), number("flags"), "{line}");
                }
                Record::FreeObjects { first, count } => {
                    assert!(line.starts_with("FREEOBJECTS "), "{line}");
                    assert_eq!((*first, *count), (number("firstobj"), number("numobjs")), "{line}");
                }
                Record::Write(write) => {
                    assert!(line.starts_with("WRITE "), "{line}");
                    assert_eq!(write.object, number("object"), "{line}");
                    assert_eq!(u64::from(write.object_type), number("type"), "{line}");
                    assert_eq!(
                        (write.offset, write.logical_length),
                        (number("offset"), number("logical_size"))
                    );
                    let mut payload = Vec::new();
                    reader.read_payload(&mut payload).unwrap();
                    assert_eq!(payload.len() as u64, number("payload_size"), "{line}");
                }
                Record::Free { object, offset, length } => {
                    assert!(line.starts_with("FREE "), "{line}");
                    let expected = (number("object"), number("offset"), number("length"));
                    assert_eq!((*object, *offset, *length), expected, "{line}");
                }
                Record::Spill { object, length, compression: 0 } => {
                    assert!(line.starts_with("SPILL "), "{line}");
                    assert_eq!((*object, *length), (number("object"), number("length")), "{line}");
                }
                Record::End { checksum } => {
                    let [a, b, c, d] = checksum;
                    assert_eq!(line, format!("END checksum = {a:x}/{b:x}/{c:x}/{d:x}"));
                }
                other => panic!("{name}: {other:?} is not in the dump"),
            }
            compared += 1;
        }
        assert!(reader.next_record().unwrap().is_none(), "{name}: too many records");
    }
    assert!(compared > 800, "only {compared} records were compared");
}

#[test]
fn features_have_names() {
    let bytes = stream("zvol256k-features");
    let Some(Record::Begin(begin)) = StreamReader::new(&bytes[..]).next_record().unwrap() else { panic!() };
    assert_eq!(begin.features.to_string(), "embed_data, lz4, compressed");
    assert!(!begin.features.known_in_2013());
    assert!(Features(4).known_in_2013());
    assert_eq!(Features(0).to_string(), "none");
    assert_eq!(Features(1 << 18 | 1).to_string(), "dedup, bit 18");
}

#[test]
fn big_endian_streams_say_the_same() {
    for name in ["tiny-zvol", "tiny-zvol-recsum", "zvol64-sparse", "zvol64b-inc", "fuse-zvol64-full"] {
        let little = stream(name);
        let big = swapped(&little);
        assert_ne!(little, big);
        let (mut one, mut other) = (StreamReader::new(&little[..]), StreamReader::new(&big[..]));
        loop {
            match (one.next_record().unwrap(), other.next_record().unwrap()) {
                (None, None) => break,
                // The checksum is over other words.
                (Some(Record::End { .. }), Some(Record::End { .. })) => {}
                (a, b) => assert_eq!(a, b, "{name}"),
            }
        }
        assert_eq!((one.byte_order(), other.byte_order()), (ByteOrder::Little, ByteOrder::Big));
        assert_eq!(one.records(), other.records());
    }
}

#[test]
fn a_stream_cut_anywhere_is_truncated() {
    for name in ["tiny-zvol", "tiny-zvol-recsum"] {
        let bytes = stream(name);
        for length in 0..bytes.len() {
            // From here on all that is left of the magic number is zeros.
            let expected = if length < 13 { ErrorKind::NotAStream } else { ErrorKind::Truncated };
            assert_eq!(failure(&bytes[..length]), Some(expected), "{name} cut to {length}");
        }
    }
}

#[test]
fn errors_name_their_place() {
    let bytes = stream("tiny-zvol");
    let mut reader = StreamReader::new(&bytes[..0x300]);
    let error = loop {
        if let Err(error) = reader.next_record() {
            break error;
        }
    };
    assert_eq!((error.kind(), error.record(), error.offset()), (ErrorKind::Truncated, 2, 0x270));
    assert_eq!(
        error.to_string(),
        "the stream ends before its END record (record 2, at byte 624 of the stream)"
    );
}

/// Whatever single bit is wrong, the stream is refused.
#[test]
fn a_flipped_bit_anywhere_is_found() {
    for name in ["tiny-zvol", "tiny-zvol-recsum"] {
        let bytes = stream(name);
        let end = bytes.len() - RECORD;
        // The END record behind its checksum is covered by nothing, and so is its unused payload length.
        for at in (0..end + 4).chain(end + 8..end + 40) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            assert!(failure(&bytes).is_some(), "{name}: byte {at}");
        }
    }
}

#[test]
fn checksums_in_records_are_verified_where_they_stand() {
    let mut bytes = stream("tiny-zvol-recsum");
    // In the payload of the first WRITE: the next record, OBJECT 2, has a sum.
    bytes[0x3a8] ^= 1;
    let mut reader = StreamReader::new(&bytes[..]);
    let error = std::iter::from_fn(|| Some(reader.next_record())).find_map(Result::err).unwrap();
    assert_eq!((error.kind(), error.record(), error.offset()), (ErrorKind::Checksum, 3, 0x5a8));
}

#[test]
fn what_is_not_a_stream_is_told_apart() {
    assert_eq!(failure(b""), Some(ErrorKind::NotAStream));
    assert_eq!(failure(&[0; 4096]), Some(ErrorKind::NotAStream));
    assert_eq!(failure(&fixture("tiny-zvol.zs.gz")[RECORD..]), Some(ErrorKind::NotAStream));
}

#[test]
fn raw_redacted_and_future_streams_are_refused_by_their_flags() {
    for (bit, word) in [(24, "raw"), (21, "redacted"), (18, "bit 18")] {
        let bytes = Builder::volume(1 << bit, 0, 1).end().bytes;
        let error = StreamReader::new(&bytes[..]).next_record().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(word), "{error}");
    }
    for kind in [9, 10] {
        let bytes = Builder::volume(0, 0, 1).record(kind, &[], &[]).end().bytes;
        assert_eq!(failure(&bytes), Some(ErrorKind::Unsupported));
    }
    let future = Builder::new(false, false).begin(1 << 32 | 1, 3, 0, 1, &[]).end().bytes;
    assert_eq!(failure(&future), Some(ErrorKind::Unsupported));
}

#[test]
fn compound_streams_are_read_part_by_part() {
    let part = stream("tiny-zvol");
    let mut bytes = Builder::new(false, true).begin(4 << 2 | 2, 0, 0, 0, b"an nvlist of 20 byte").end().bytes;
    bytes.extend(&part);
    bytes.extend(&part);
    let unfinished = bytes.clone();
    bytes.extend(Builder::new(false, false).record(END, &[], &[]).bytes);

    let mut reader = StreamReader::new(&bytes[..]);
    let mut begins = Vec::new();
    let mut ends = 0;
    let mut head = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        match record {
            Record::Begin(begin) => {
                if begin.compound {
                    reader.read_payload(&mut head).unwrap();
                }
                begins.push((begin.compound, begin.objset_type));
            }
            Record::End { .. } => ends += 1,
            _ => {}
        }
    }
    assert_eq!(head, b"an nvlist of 20 byte");
    assert_eq!(
        begins,
        [(true, ObjsetType::Other(0)), (false, ObjsetType::Volume), (false, ObjsetType::Volume)]
    );
    assert_eq!(ends, 4);
    assert_eq!(failure(&unfinished), Some(ErrorKind::Truncated));

    let twice = Builder::volume(0, 0, 1).begin(1, 3, 0, 1, &[]).end().bytes;
    assert_eq!(failure(&twice), Some(ErrorKind::BadRecord));
    let headless = Builder::new(false, false).begin(2, 0, 0, 0, &[]).object(1, 23, 512).end().bytes;
    assert_eq!(failure(&headless), Some(ErrorKind::BadRecord));
}

#[test]
fn fields_out_of_range_are_refused() {
    let bad: &[(u32, &[crate::common::Field])] = &[
        (1, &[(8, 8, 0), (24, 4, 512)]),
        (1, &[(8, 8, 9), (24, 4, 0)]),
        (1, &[(8, 8, 9), (24, 4, 700)]),
        (1, &[(8, 8, 9), (24, 4, 32 << 20)]),
        (1, &[(8, 8, 9), (24, 4, 512), (28, 4, 1 << 31)]),
        (1, &[(8, 8, 9), (24, 4, 512), (36, 4, 8)]),
        (2, &[(8, 8, u64::MAX), (16, 8, 2)]),
        (WRITE, &[(8, 8, 1), (32, 8, 0)]),
        (WRITE, &[(8, 8, 1), (32, 8, u64::MAX)]),
        (WRITE, &[(8, 8, 1), (32, 8, 4)]),
        (WRITE, &[(8, 8, 1), (24, 8, u64::MAX - 100), (32, 8, 512)]),
        (WRITE, &[(8, 8, 1), (32, 8, 512), (50, 1, 15), (96, 8, 0)]),
        (WRITE, &[(8, 8, 1), (32, 8, 512), (50, 1, 15), (96, 8, u64::MAX)]),
        (4, &[(8, 8, 1), (16, 8, 512), (24, 8, u64::MAX - 1)]),
        (6, &[(8, 8, 1), (24, 8, 512), (56, 8, u64::MAX)]),
        (7, &[(8, 8, 1), (16, 8, u64::MAX)]),
        (8, &[(8, 8, 1), (24, 8, 512), (48, 4, 512), (52, 4, 113)]),
        (8, &[(8, 8, 1), (24, 8, 512), (48, 4, 0), (52, 4, 8)]),
        (11, &[]),
    ];
    for (kind, fields) in bad {
        let bytes = Builder::volume(0, 0, 1).record(*kind, fields, &[]).end().bytes;
        assert_eq!(failure(&bytes), Some(ErrorKind::BadRecord), "{kind} {fields:?}");
    }
    let odd = Builder::new(false, false).begin(3, 3, 0, 1, &[]).end().bytes;
    assert_eq!(failure(&odd), Some(ErrorKind::BadRecord));
}

/// The helper that makes checksums fit again does, so tests that rely on it test what they mean to.
#[test]
fn resealing_changes_nothing_that_fits() {
    for name in ["tiny-zvol", "zvol64b-full"] {
        let bytes = stream(name);
        assert_eq!(resealed(split(&bytes), false).len(), bytes.len());
        assert_eq!(failure(&resealed(split(&bytes), false)), None, "{name}");
    }
}
