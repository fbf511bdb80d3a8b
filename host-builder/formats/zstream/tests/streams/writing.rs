//! Streams of the volume writer, against the worked example, the crate's reader and ZFS's own dump tool.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::common::fixture;
use kiln_harness::tools;
use kiln_zstream::ErrorKind;
use kiln_zstream::volume::{
    DEFAULT_BLOCK_SIZE, ExtractOptions, Summary, VolumeOptions, VolumeWriter, extract,
};
use proptest::prelude::*;

fn options(size: u64, block_size: u32) -> VolumeOptions {
    VolumeOptions {
        to_name: "demo/disk@final".into(),
        to_guid: 0x1122_3344_5566_7788,
        creation_time: 1_367_802_000,
        size,
        block_size,
    }
}

fn stream(options: &VolumeOptions, extents: &[(u64, &[u8])]) -> (Vec<u8>, Summary) {
    let mut writer = VolumeWriter::new(Vec::new(), options).unwrap();
    for (offset, data) in extents {
        writer.write_at(*offset, data).unwrap();
    }
    writer.finish().unwrap()
}

/// The worked example, received by zfs-fuse, by OpenZFS with a pool of version 28, and by OpenZFS with all features.
#[test]
fn the_worked_example_byte_for_byte() {
    let (bytes, summary) = stream(&options(1024, 512), &[(0, &[b'A'; 512])]);
    assert_eq!(bytes, fixture("tiny-zvol.zs.gz"));
    assert_eq!((summary.records, summary.stream_bytes), (6, 2896));
    assert_eq!((summary.blocks_written, summary.blocks_skipped), (1, 1));
    assert_eq!(
        summary.checksum,
        [0x26_1eaa_a022, 0x369b_69f6_0a31, 0x29_fe91_1246_8eb6, 0x173e_c91b_2226_e39e]
    );
}

#[test]
fn pieces_of_a_block_are_assembled() {
    let whole = [&[1u8; 100][..], &[0; 412], &[2; 10], &[0; 490], &[3; 12]].concat();
    let (expected, summary) = stream(&options(2048, 512), &[(0, &whole)]);
    assert_eq!((summary.blocks_written, summary.blocks_skipped), (2, 2));
    let pieces: &[(u64, &[u8])] =
        &[(0, &[1; 50]), (50, &[1; 50]), (300, &[]), (512, &[2; 10]), (1012, &[3; 12]), (1500, &[0; 548])];
    assert_eq!(stream(&options(2048, 512), pieces).0, expected);
}

#[test]
fn data_out_of_order_or_place_is_refused() {
    let mut writer = VolumeWriter::new(Vec::new(), &options(2048, 512)).unwrap();
    writer.write_at(512, &[1; 100]).unwrap();
    for (offset, length) in [(0, 10), (611, 1), (2048, 1), (1024, 1025), (u64::MAX, 2)] {
        let error = writer.write_at(offset, &vec![1; length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{offset} {length}");
    }
    // What was refused left no trace.
    let (bytes, _) = writer.finish().unwrap();
    assert_eq!(bytes, stream(&options(2048, 512), &[(512, &[1; 100])]).0);
}

#[test]
fn options_no_receiver_could_use_are_refused() {
    let good = options(1 << 20, DEFAULT_BLOCK_SIZE);
    assert!(VolumeWriter::new(Vec::new(), &good).is_ok());
    let name = |name: &str| VolumeOptions { to_name: name.into(), ..good.clone() };
    let bad = [
        options(0, 8192),
        options(8192 + 512, 8192),
        options(10240, 10240),
        options(1 << 20, 256),
        options(1 << 20, 256 << 10),
        options(1 << 63, 8192),
        VolumeOptions { to_guid: 0, ..good.clone() },
        name("no snapshot"),
        name("a@b@c"),
        name("@final"),
        name("pool/@final"),
        name("pool//fs@final"),
        name("pool/..@final"),
        name("1pool@final"),
        name("pool@"),
        name("pool@a/b"),
        name("pool@a\0b"),
        name("pool@\u{e4}"),
        name(&format!("pool@{}", "x".repeat(251))),
    ];
    for options in bad {
        let error = VolumeWriter::new(Vec::new(), &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{options:?}");
    }
    assert!(VolumeWriter::new(Vec::new(), &name(&format!("pool@{}", "x".repeat(250)))).is_ok());
}

#[test]
fn a_full_disk_is_reported_with_its_place() {
    let mut room = [0; 1000];
    let mut writer = VolumeWriter::new(&mut room[..], &options(1024, 512)).unwrap();
    let error = writer.write_at(0, &[1; 512]).unwrap_err();
    assert_eq!((error.kind(), error.record(), error.offset()), (ErrorKind::Io, 2, 624));
}

/// `zstreamdump` recomputes the checksum of the stream and complains when it differs.
#[test]
fn zfs_dumps_our_streams() {
    let Some(zstreamdump) = tools::require("zstreamdump") else { return };
    let data: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
    let (bytes, summary) = stream(&options(1 << 20, 8192), &[(12_345, &data), (900_001, &[7])]);
    let mut child = Command::new(zstreamdump)
        .arg("-v")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.to_lowercase().contains("differs"), "{said}");
    let [a, b, c, d] = summary.checksum;
    assert!(said.contains(&format!("END checksum = {a:x}/{b:x}/{c:x}/{d:x}")), "{said}");
    assert!(said.contains(&format!("Total records = {}", summary.records)), "{said}");
    assert!(said.contains("toname = demo/disk@final"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the extents and however they are cut, the stream depends on the contents alone and gives them back.
    #[test]
    fn volumes_come_back(
        block_shift in 9..=17u32,
        blocks in 1..20u64,
        // Gaps and lengths in 1/64 of a block and a few bytes, so that borders are hit and missed.
        extents in prop::collection::vec((0..200u64, 0..5u64, 0..300usize, any::<u8>()), 0..8),
        step in 1..5000usize,
    ) {
        let options = options(blocks << block_shift, 1 << block_shift);
        let mut model = vec![0; options.size as usize];
        let mut writer = VolumeWriter::new(Vec::new(), &options).unwrap();
        let mut at = 0;
        for (gap, odd, length, value) in extents {
            at += (gap << block_shift >> 6) + odd;
            let end = (at + ((length as u64) << block_shift >> 6)).min(options.size);
            if at >= end {
                break;
            }
            let data: Vec<u8> = (at..end).map(|n| if value & 1 == 0 { 0 } else { (n / 3) as u8 ^ value }).collect();
            model[at as usize..end as usize].copy_from_slice(&data);
            let mut from = at;
            for piece in data.chunks(step << (block_shift - 9)) {
                writer.write_at(from, piece).unwrap();
                from += piece.len() as u64;
            }
            at = end;
        }
        let (bytes, summary) = writer.finish().unwrap();
        let block_size = options.block_size as usize;
        let filled = model.chunks(block_size).filter(|block| block.iter().any(|&byte| byte != 0)).count() as u64;
        prop_assert_eq!((summary.blocks_written, summary.blocks_skipped), (filled, blocks - filled));
        prop_assert_eq!(summary.stream_bytes, bytes.len() as u64);
        prop_assert!(bytes == stream(&options, &[(0, &model)]).0);

        let mut disk = Vec::new();
        let limit = ExtractOptions { size_limit: options.size, base: None };
        let info = extract(&bytes[..], &mut disk, &limit).unwrap();
        disk.resize(info.size as usize, 0);
        prop_assert!(disk == model);
        prop_assert_eq!((info.records, info.stream_bytes), (summary.records, summary.stream_bytes));
    }
}
