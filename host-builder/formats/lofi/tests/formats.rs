//! What is written reads back, in every form that lofiadm writes; what is damaged is told.

use std::io::{Cursor, Write as _};

use kiln_lofi::{Algorithm, Error, ErrorKind, Reader, WriteOptions, looks_like_lofi, write};
use lzma_rust2::{LzmaOptions, LzmaWriter};
use positioned_io::ReadAt;
use proptest::prelude::*;

/// Bytes that compress in some places and not in others.
fn sample(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|at| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if (at / 4096) % 3 == 1 { (state >> 56) as u8 } else { (at / 700) as u8 }
        })
        .collect()
}

/// A compressed file made of segments that are given with their first bytes.
fn assembled(name: &str, segment: u32, last: u32, segments: &[Vec<u8>]) -> Vec<u8> {
    let mut file = name.as_bytes().to_vec();
    file.resize(24, 0);
    for number in [segment, segments.len() as u32 + 1, last] {
        file.extend(number.to_be_bytes());
    }
    let mut offset = 0_u64;
    for segment in segments {
        file.extend(offset.to_be_bytes());
        offset += segment.len() as u64;
    }
    file.extend(offset.to_be_bytes());
    file.extend(segments.concat());
    file
}

/// What lofiadm makes of a segment with LZMA.
fn lzma(plain: &[u8]) -> Vec<u8> {
    let options = LzmaOptions::with_preset(3);
    let mut writer = LzmaWriter::new_use_header(vec![1], &options, Some(plain.len() as u64)).unwrap();
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}

fn gzip(plain: &[u8], segment: u32) -> Vec<u8> {
    let mut packed = Cursor::new(Vec::new());
    write(plain, plain.len() as u64, &WriteOptions { segment }, &mut packed).unwrap();
    packed.into_inner()
}

fn open(file: Vec<u8>) -> Result<Reader<Vec<u8>>, Error> {
    let length = file.len() as u64;
    Reader::open(file, length)
}

fn all(reader: &Reader<Vec<u8>>) -> Result<Vec<u8>, ErrorKind> {
    let mut plain = vec![0; reader.len() as usize];
    match reader.read_exact_at(0, &mut plain) {
        Ok(()) => Ok(plain),
        Err(error) => Err(Error::of(&error).expect("errors of reading are ours").kind()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_part_reads_back(
        length in 1..300_000_usize,
        segment in 9..18_u32,
        seed: u64,
        places in prop::collection::vec((0..300_000_u64, 0..9000_usize), 1..8),
    ) {
        let plain = sample(length, seed);
        let file = gzip(&plain, 1 << segment);
        prop_assert_eq!(file.len() % 512, 0);
        prop_assert!(looks_like_lofi(&file));
        let reader = open(file).unwrap();
        prop_assert_eq!(reader.len(), length as u64);
        prop_assert_eq!(reader.segment_size(), 1 << segment);
        for (place, count) in places {
            let mut buffer = vec![0; count];
            let expected = plain.get(place as usize..).unwrap_or_default();
            let expected = &expected[..expected.len().min(count)];
            prop_assert_eq!(reader.read_exact_at(place, &mut buffer[..expected.len()]).ok(), Some(()));
            prop_assert_eq!(&buffer[..expected.len()], expected);
        }
        prop_assert_eq!(reader.read_at(length as u64, &mut [0]).unwrap(), 0);
    }

    /// Damage anywhere gives an error or the same bytes, never other bytes of a compressed segment; and never a panic.
    #[test]
    fn damage_is_found(at in 0..20_000_usize, bit in 0..8_u32) {
        // Nothing here is stored as it is: a stored segment has no checksum.
        let plain: Vec<u8> = (0..200_000_u32).map(|at| (at / 900) as u8).collect();
        let mut file = gzip(&plain, 1 << 14);
        let at = at % file.len();
        file[at] ^= 1 << bit;
        if let Ok(reader) = open(file) && let Ok(read) = all(&reader) {
            prop_assert!(read == plain || read.len() != plain.len());
        }
    }
}

#[test]
fn all_names_of_algorithms_are_known() {
    let plain = sample(5000, 3);
    let mut zlib = flate2::write::ZlibEncoder::new(vec![1], flate2::Compression::best());
    zlib.write_all(&plain[..4096]).unwrap();
    let zlib = zlib.finish().unwrap();
    let stored = |from: usize| [&[0], &plain[from..]].concat();
    for name in ["gzip", "gzip-6", "gzip-9"] {
        let reader = open(assembled(name, 4096, 904, &[zlib.clone(), stored(4096)])).unwrap();
        assert_eq!((reader.algorithm(), all(&reader)), (Algorithm::Gzip, Ok(plain.clone())), "{name}");
    }
    let reader = open(assembled("lzma", 4096, 904, &[lzma(&plain[..4096]), lzma(&plain[4096..])])).unwrap();
    assert_eq!((reader.algorithm(), all(&reader)), (Algorithm::Lzma, Ok(plain.clone())));
    for name in ["gzip-1", "zstd", "", "gzipgzipgzipgzipgzipgzip"] {
        let error = open(assembled(name, 4096, 904, &[zlib.clone(), stored(4096)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotLofi, "{name}");
    }
}

/// lofiadm writes the dictionary's size as its encoder's, far above that of a segment; memory follows the segment.
#[test]
fn the_dictionary_of_lzma_is_no_larger_than_its_segment() {
    let plain = sample(20_000, 5);
    let mut packed = lzma(&plain);
    packed[2..6].copy_from_slice(&u32::MAX.to_le_bytes());
    let reader = open(assembled("lzma", 32_768, 20_000, &[packed])).unwrap();
    assert_eq!(all(&reader), Ok(plain));
}

#[test]
fn what_is_damaged_is_told_with_its_place() {
    let plain = vec![9; 10_000];
    let good = gzip(&plain, 4096);
    assert_eq!(all(&open(good.clone()).unwrap()), Ok(plain));
    let number = |at: usize, number: u32| {
        let mut file = good.clone();
        file[at..at + 4].copy_from_slice(&number.to_be_bytes());
        file
    };
    for (file, kind, offset) in [
        (Vec::new(), ErrorKind::NotLofi, 0),
        (good[..35].to_vec(), ErrorKind::NotLofi, 0),
        (number(24, 4097), ErrorKind::BadHeader, 24),
        (number(24, 256), ErrorKind::BadHeader, 24),
        (number(24, 1 << 25), ErrorKind::BadHeader, 24),
        (number(24, 0), ErrorKind::BadHeader, 24),
        (number(28, 0), ErrorKind::BadHeader, 28),
        (number(28, 1), ErrorKind::BadHeader, 28),
        (number(28, u32::MAX), ErrorKind::CutOff, 512),
        (number(32, 0), ErrorKind::BadHeader, 32),
        (number(32, 4097), ErrorKind::BadHeader, 32),
        (good[..100].to_vec(), ErrorKind::CutOff, 100),
        (number(60, u32::MAX), ErrorKind::CutOff, 512),
    ] {
        let error = open(file).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (kind, offset));
    }
    // The index has four entries, from byte 36 on, and the first segment is at byte 68.
    for (file, kind) in [
        (number(40, u32::MAX), ErrorKind::BadIndex),
        (number(48, 0), ErrorKind::BadIndex),
        (number(36, 1), ErrorKind::BadIndex),
        (number(68, 0x0200_0000), ErrorKind::BadSegment),
        (number(68, 0x0000_0000), ErrorKind::BadSegment),
        (number(72, 0x1234_5678), ErrorKind::BadSegment),
        (number(32, 1807), ErrorKind::BadSegment),
        (number(32, 1809), ErrorKind::BadSegment),
    ] {
        assert_eq!(all(&open(file).unwrap()), Err(kind));
    }
    let lzma = lzma(&[7; 3000]);
    for (file, kind) in [
        (assembled("lzma", 4096, 3000, &[lzma[..9].to_vec()]), ErrorKind::BadSegment),
        (assembled("lzma", 4096, 3000, &[lzma[..lzma.len() - 8].to_vec()]), ErrorKind::BadSegment),
        (assembled("lzma", 4096, 3000, &[[&[1, 255], &lzma[2..]].concat()]), ErrorKind::BadSegment),
        (assembled("lzma", 4096, 3000, &[vec![0; 2999]]), ErrorKind::BadSegment),
    ] {
        assert_eq!(all(&open(file).unwrap()), Err(kind));
    }
}

#[test]
fn what_cannot_be_compressed_is_refused() {
    for (length, segment) in [(0, 4096), (10, 4096), (5, 1000), (5, 256), (5, 1 << 25)] {
        let mut packed = Cursor::new(Vec::new());
        assert!(
            write(&b"hello"[..], length, &WriteOptions { segment }, &mut packed).is_err(),
            "{length} {segment}"
        );
    }
}
