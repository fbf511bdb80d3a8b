//! Volumes out of streams: of real ZFS, made by hand, and damaged.

use crate::common::{Builder, END, Field, WRITE, fixture, resealed, sha256, split, swapped};
use kiln_zstream::volume::{Base, ExtractOptions, VolumeInfo, extract};
use kiln_zstream::{Error, ErrorKind, Features};
use proptest::prelude::*;

const LIMIT: u64 = 64 << 20;

fn read(stream: &[u8], disk: &mut Vec<u8>, base: Option<Base>) -> Result<VolumeInfo, Error> {
    let info = extract(stream, disk, &ExtractOptions { size_limit: LIMIT, base })?;
    disk.resize(info.size as usize, 0);
    Ok(info)
}

fn read_new(stream: &[u8]) -> Result<(VolumeInfo, Vec<u8>), Error> {
    let mut disk = Vec::new();
    Ok((read(stream, &mut disk, None)?, disk))
}

fn kind(stream: &[u8]) -> ErrorKind {
    read_new(stream).expect_err("a stream to be refused").kind()
}

const SPARSE: &str = "452905ea69688f164280377e05dc9bdc56266118f1ef031c03619a61a38ccae6";
const B_FULL: &str = "c107cd71681452bbcfc2dc75311436af4f0cf30488d7ff7fbbf1508dbe6fbae1";

#[test]
fn images_are_those_that_were_sent() {
    for (name, sha, blocks) in
        [("zvol64-sparse", SPARSE, 5), ("zvol64b-full", B_FULL, 6), ("fuse-zvol64-full", B_FULL, 6)]
    {
        let stream = fixture(&format!("{name}.zs.gz"));
        for stream in [swapped(&stream), stream] {
            let (info, disk) = read_new(&stream).unwrap();
            assert_eq!((info.size, info.block_size, info.blocks), (64 << 20, 8192, blocks), "{name}");
            assert_eq!(sha256(&disk), sha, "{name}");
        }
    }
}

#[test]
fn a_stream_is_described() {
    let (info, disk) = read_new(&fixture("tiny-zvol.zs.gz")).unwrap();
    assert_eq!(info.name, "demo/disk@final");
    assert_eq!((info.guid, info.from_guid), (0x1122_3344_5566_7788, 0));
    assert_eq!((info.creation_time, info.features), (1_367_802_000, Features(0)));
    assert_eq!((info.size, info.block_size, info.blocks, info.records), (1024, 512, 1, 6));
    assert_eq!((info.stream_bytes, info.snapshots, info.clone, info.compound), (2896, 1, false, false));
    assert_eq!(info.checksum, [0x26_1eaa_a022, 0x369b_69f6_0a31, 0x29_fe91_1246_8eb6, 0x173e_c91b_2226_e39e]);
    assert_eq!(disk, [[b'A'; 512], [0; 512]].concat());
    let (with_sums, same) = read_new(&fixture("tiny-zvol-recsum.zs.gz")).unwrap();
    assert_eq!(same, disk);
    assert_ne!(with_sums.checksum, info.checksum);
}

#[test]
fn embedded_properties_and_plain_ones_agree() {
    let text: Vec<u8> =
        (1..=100_000).flat_map(|n: u32| format!("{n}\n").into_bytes()).take(256 << 10).collect();
    for name in ["zvol256k-filled", "zvol256k-features"] {
        let (info, disk) = read_new(&fixture(&format!("{name}.zs.gz"))).unwrap();
        assert_eq!((info.size, info.blocks), (256 << 10, 32), "{name}");
        assert!(disk == text, "{name}");
    }
}

#[test]
fn an_increment_changes_what_it_says() {
    let increment = fixture("zvol64b-inc.zs.gz");
    let (base, before) = read_new(&fixture("zvol64b-full.zs.gz")).unwrap();
    let mut disk = before.clone();
    let info = read(&increment, &mut disk, Some(Base::from(&base))).unwrap();
    assert_eq!((info.from_guid, info.size, info.blocks), (base.guid, base.size, 3));
    let changed: Vec<usize> =
        (0..8192).filter(|block| disk[block * 8192..][..8192] != before[block * 8192..][..8192]).collect();
    assert_eq!(changed, [77, 78, 79]);
    let sent: Vec<Vec<u8>> = split(&increment)
        .into_iter()
        .filter(|(kind, ..)| *kind == WRITE)
        .map(|(.., payload)| payload)
        .collect();
    assert_eq!(disk[77 * 8192..80 * 8192], sent.concat());

    assert_eq!(kind(&increment), ErrorKind::WrongBase);
    let other = Base { guid: 5, ..Base::from(&base) };
    let error = read(&increment, &mut before.clone(), Some(other)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongBase);
    assert!(error.to_string().contains(&base.guid.to_string()), "{error}");
    let full = fixture("zvol64b-full.zs.gz");
    assert_eq!(read(&full, &mut disk, Some(other)).unwrap_err().kind(), ErrorKind::WrongBase);
}

#[test]
fn several_snapshots_in_one_stream_are_applied_in_turn() {
    let (full, increment) = (fixture("zvol64b-full.zs.gz"), fixture("zvol64b-inc.zs.gz"));
    let (base, mut disk) = read_new(&full).unwrap();
    let last = read(&increment, &mut disk, Some(Base::from(&base))).unwrap();
    let wrapped = |parts: &[&[u8]]| {
        let mut bytes = Builder::new(false, false).begin(2, 0, 0, 0, &[9; 24]).end().bytes;
        bytes.extend(parts.concat());
        bytes.extend(Builder::new(false, false).record(END, &[], &[]).bytes);
        bytes
    };
    let (info, together) = read_new(&wrapped(&[&full, &increment])).unwrap();
    assert!(together == disk);
    assert_eq!((info.snapshots, info.compound, info.from_guid), (2, true, 0));
    assert_eq!((info.guid, &info.name), (last.guid, &last.name));

    assert_eq!(kind(&wrapped(&[&full, &full])), ErrorKind::Unsupported);
    assert_eq!(kind(&wrapped(&[&increment])), ErrorKind::WrongBase);
    assert_eq!(kind(&wrapped(&[])), ErrorKind::BadVolume);
}

#[test]
fn free_records_make_holes_again() {
    let stream = Builder::volume(0, 0, 1)
        .write(1, 0, &[1; 512])
        .write(1, 512, &[2; 512])
        .write(1, 1024, &[3; 512])
        .free(1, 512, 512)
        .size(2048)
        .free(1, 2048, u64::MAX)
        .free(2, 0, 0)
        .end();
    let (_, disk) = read_new(&stream.bytes).unwrap();
    assert_eq!(disk, [[1; 512], [0; 512], [3; 512], [0; 512]].concat());

    // An increment that frees everything, writes a block and makes the volume smaller.
    let base = Base { guid: 1, size: 2048, block_size: 512 };
    let shrink = Builder::volume(0, 1, 2).free(1, 0, u64::MAX).write(1, 512, &[7; 512]).size(1024).end();
    let mut smaller = disk.clone();
    let info = read(&shrink.bytes, &mut smaller, Some(base)).unwrap();
    assert_eq!((info.size, smaller), (1024, [[0; 512], [7; 512]].concat()));
    let kept = Builder::volume(0, 1, 2).size(1024).end();
    assert_eq!(read(&kept.bytes, &mut disk.clone(), Some(base)).unwrap_err().kind(), ErrorKind::BadVolume);
}

#[test]
fn blocks_of_zeros_clear_what_was_there() {
    let base = Base { guid: 1, size: 1024, block_size: 512 };
    let stream = Builder::volume(0, 1, 2).write(1, 512, &[0; 512]).end();
    let mut disk = vec![5; 1024];
    read(&stream.bytes, &mut disk, Some(base)).unwrap();
    assert_eq!(disk, [[5; 512], [0; 512]].concat());
    // In a new volume they stay holes: the disk is not even made longer.
    let stream = Builder::volume(0, 0, 2).write(1, 0, &[6; 512]).write(1, 512, &[0; 512]).size(1024).end();
    let mut disk = Vec::new();
    extract(&stream.bytes[..], &mut disk, &ExtractOptions { size_limit: LIMIT, base: None }).unwrap();
    assert_eq!(disk, [6; 512]);
}

fn compressed(code: u64, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    payload.resize(payload.len().next_multiple_of(512), 0);
    let fields: &[Field] =
        &[(8, 8, 1), (16, 4, 23), (24, 8, 512), (32, 8, 512), (50, 1, code), (96, 8, payload.len() as u64)];
    Builder::volume(1 << 22, 0, 1).record(WRITE, fields, &payload).size(1024).end().bytes
}

#[test]
fn compressed_blocks_are_expanded() {
    // zle: two bytes as they are, then 510 zeros (192 + 192 + 126).
    let (_, disk) = read_new(&compressed(14, &[1, b'h', b'i', 255, 255, 189])).unwrap();
    let mut expected = vec![0; 1024];
    expected[512..514].copy_from_slice(b"hi");
    assert_eq!(disk, expected);
    // lzjb: one byte, then matches at distance 1 of 66 bytes each.
    let mut packed = vec![0b1111_1110, b'z'];
    packed.extend([63 << 2, 1].repeat(7));
    packed.push(1);
    packed.extend([63 << 2, 1]);
    let (_, disk) = read_new(&compressed(3, &packed)).unwrap();
    assert_eq!(disk[512..], [b'z'; 512]);
    // lz4: a literal and a match of 506 at distance 1, then the five literals every block ends with.
    let mut packed = vec![0, 0, 0, 0, 0x1f, b'q', 1, 0, 255, 232, 0x50];
    packed.extend(b"qqqqq");
    packed[3] = packed.len() as u8 - 4;
    let (_, disk) = read_new(&compressed(15, &packed)).unwrap();
    assert_eq!(disk[512..], [b'q'; 512]);

    assert_eq!(kind(&compressed(15, &[0xff; 512])), ErrorKind::BadRecord);
    assert_eq!(kind(&compressed(16, &[0; 512])), ErrorKind::BadRecord);
    assert_eq!(kind(&compressed(17, &[0; 512])), ErrorKind::Unsupported);
}

#[test]
fn embedded_blocks_are_put_on_the_disk() {
    let embedded = |kind: u64, logical: u64| {
        let fields: &[Field] = &[
            (8, 8, 1),
            (16, 8, 512),
            (24, 8, 512),
            (40, 1, 14),
            (41, 1, kind),
            (48, 4, logical),
            (52, 4, 6),
        ];
        let payload = [1, b'h', b'i', 255, 255, 189, 0, 0];
        Builder::volume(1 << 16, 0, 1).record(8, fields, &payload).size(1024).end().bytes
    };
    let (info, disk) = read_new(&embedded(0, 512)).unwrap();
    assert_eq!(info.blocks, 1);
    assert_eq!(disk[510..516], *b"\0\0hi\0\0");
    assert_eq!(kind(&embedded(2, 512)), ErrorKind::Unsupported);
    assert_eq!(kind(&embedded(0, 1024)), ErrorKind::BadVolume);
}

#[test]
fn references_to_earlier_blocks_are_followed() {
    let reference = |guid: u64, object: u64| {
        let fields: &[Field] =
            &[(8, 8, 1), (16, 8, 1024), (24, 8, 512), (40, 8, guid), (48, 8, object), (56, 8, 512)];
        Builder::volume(1, 0, 1).write(1, 512, &[8; 512]).record(6, fields, &[]).size(1536).end().bytes
    };
    let (_, disk) = read_new(&reference(1, 1)).unwrap();
    assert_eq!(disk, [[0; 512], [8; 512], [8; 512]].concat());
    assert_eq!(kind(&reference(2, 1)), ErrorKind::Unsupported);
    assert_eq!(kind(&reference(1, 2)), ErrorKind::Unsupported);
}

/// Each of these would be received by ZFS, and most would panic it afterwards.
#[test]
fn volumes_no_system_could_use_are_refused() {
    let begin = || Builder::new(false, false).begin(1, 3, 0, 1, &[]);
    let block = [1; 512];
    let cases: Vec<(&str, Builder)> = vec![
        ("no object 2", begin().object(1, 23, 512).write(1, 0, &block)),
        ("no size", begin().object(1, 23, 512).object(2, 24, 512)),
        ("no disk", begin().size(1024)),
        ("properties that are no table", begin().object(1, 23, 512).object(2, 24, 512).write(2, 0, &block)),
        ("size 0", begin().object(1, 23, 512).size(0)),
        ("a size of half a block", begin().object(1, 23, 1024).size(1536)),
        ("a block size of 10240", begin().object(1, 23, 10240).size(10240)),
        ("a disk of another type", begin().object(1, 19, 512).size(1024)),
        ("two block sizes", begin().object(1, 23, 512).object(1, 23, 1024).size(1024)),
        ("a block before its object", begin().write(1, 0, &block).object(1, 23, 512).size(1024)),
        ("a block too short", begin().object(1, 23, 1024).write(1, 0, &block).size(1024)),
        ("a block askew", begin().object(1, 23, 512).write(1, 8, &block).size(1024)),
        ("data behind the end", begin().object(1, 23, 512).write(1, 1024, &block).size(1024)),
        ("a file system", Builder::new(false, false).begin(1, 2, 0, 1, &[])),
        ("an objset of another type", Builder::new(false, false).begin(1, 9, 0, 1, &[])),
    ];
    for (what, stream) in cases {
        assert_eq!(kind(&stream.end().bytes), ErrorKind::BadVolume, "{what}");
    }
    let resumed = Builder::volume(1 << 20, 0, 1).size(1024).end().bytes;
    assert_eq!(kind(&resumed), ErrorKind::Unsupported);
}

#[test]
fn the_callers_limit_holds_before_anything_is_written() {
    let far = Builder::volume(0, 0, 1).write(1, LIMIT, &[1; 512]).size(LIMIT + 512).end().bytes;
    let mut disk = Vec::new();
    assert_eq!(read(&far, &mut disk, None).unwrap_err().kind(), ErrorKind::SizeLimit);
    assert!(disk.is_empty());
    assert_eq!(kind(&Builder::volume(0, 0, 1).size(LIMIT + 512).end().bytes), ErrorKind::SizeLimit);
    assert_eq!(kind(&Builder::volume(0, 0, 1).size(1 << 62).end().bytes), ErrorKind::SizeLimit);
    assert!(read_new(&Builder::volume(0, 0, 1).size(LIMIT).end().bytes).is_ok());
}

#[test]
fn data_behind_the_stream_is_an_error() {
    let mut stream = fixture("tiny-zvol.zs.gz");
    stream.push(0);
    assert_eq!(kind(&stream), ErrorKind::TrailingData);
}

#[test]
fn a_failing_disk_is_told_apart_from_a_bad_stream() {
    let mut short = [0u8; 100];
    let options = ExtractOptions { size_limit: LIMIT, base: None };
    let error = extract(&fixture("tiny-zvol.zs.gz")[..], &mut &mut short[..], &options).unwrap_err();
    assert_eq!((error.kind(), error.record()), (ErrorKind::Io, 2));
    assert!(std::error::Error::source(&error).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Damage behind checksums that fit: anything may come out but a panic, or a volume over the limit.
    #[test]
    fn damaged_records_never_panic(
        name in prop::sample::select(vec!["tiny-zvol", "zvol64b-inc", "zvol64b-full", "fuse-zvol64-full"]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..104usize, any::<u8>()), 1..6),
        order in any::<bool>(),
    ) {
        let mut records = split(&fixture(&format!("{name}.zs.gz")));
        for (record, at, value) in damage {
            let record = record.index(records.len());
            records[record].1[at] = value;
        }
        if order {
            let last = records.len() - 1;
            records[1..last].reverse();
        }
        let stream = resealed(records, false);
        let base = Some(Base { guid: 0x1122_3344_5566_7788, size: 1 << 20, block_size: 8192 });
        for base in [None, base] {
            let options = ExtractOptions { size_limit: 1 << 22, base };
            let mut disk = Vec::new();
            if let Ok(info) = extract(&stream[..], &mut disk, &options) {
                prop_assert!(info.size <= 1 << 22);
            }
            prop_assert!(disk.len() <= 1 << 22);
        }
    }

    #[test]
    fn damaged_bytes_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut stream = fixture("zvol256k-features.zs.gz");
        for (at, value) in damage {
            let at = at.index(stream.len());
            stream[at] = value;
        }
        stream.truncate(cut.index(stream.len() + 1));
        // A stream that was cut or changed may only pass when nothing was in fact changed.
        if let Ok((info, _)) = read_new(&stream) {
            prop_assert_eq!(info.size, 256 << 10);
        }
    }
}
