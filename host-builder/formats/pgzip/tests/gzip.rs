//! The writer and the reader against each other and against gzip, pigz and Python.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};

use kiln_harness::tools;
use kiln_pgzip::{Error, ErrorKind, Options, Reader, Totals, Writer, looks_like_gzip};
use proptest::prelude::*;

fn options(level: u8, threads: usize, member_size: usize) -> Options {
    Options { level, threads: NonZeroUsize::new(threads).unwrap(), member_size }
}

fn compress(data: &[u8], options: Options) -> (Vec<u8>, Totals) {
    let mut writer = Writer::new(Vec::new(), options).unwrap();
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn expand(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut expanded = Vec::new();
    Reader::new(data).read_to_end(&mut expanded)?;
    Ok(expanded)
}

/// The kind and the place of the error that expanding ends in.
fn failure(data: &[u8]) -> (ErrorKind, u64) {
    let error = expand(data).expect_err("damaged data to be noticed");
    let error = Error::of(&error).expect("an error of this crate");
    (error.kind(), error.offset())
}

/// Bytes as in a disk image: text that repeats itself, noise, zeros.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    (0..length)
        .map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match at / 10_000 % 3 {
                0 => b"/usr/lib/amd64/libc.so.1 "[at % 25 - usize::from(state >> 24 == 0 && at % 25 > 0)],
                1 => (state >> 24) as u8,
                _ => 0,
            }
        })
        .collect()
}

#[test]
fn output_is_the_same_for_every_number_of_threads() {
    let data = sample(3_000_000);
    let (expected, totals) = compress(&data, options(6, 1, 100_000));
    assert_eq!(
        (totals.bytes_in, totals.bytes_out, totals.members.count()),
        (3_000_000, expected.len() as u64, 30)
    );
    for threads in [2, 3, 8] {
        assert!(compress(&data, options(6, threads, 100_000)).0 == expected, "{threads} threads");
    }
    // Nor does it matter how the input is cut, or when it is flushed.
    let mut writer = Writer::new(Vec::new(), options(6, 2, 100_000)).unwrap();
    for (n, piece) in data.chunks(33_333).enumerate() {
        writer.write_all(piece).unwrap();
        if n % 7 == 0 {
            writer.flush().unwrap();
        }
    }
    assert!(writer.finish().unwrap().0 == expected);
    assert!(expand(&expected).unwrap() == data);
}

#[test]
fn headers_tell_nothing_of_time_and_place() {
    let (bytes, totals) = compress(&[7; 2500], options(6, 2, 1000));
    assert_eq!(totals.members.count(), 3);
    let mut members = 0;
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        assert_eq!(rest[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
        let mut member = flate2::bufread::GzDecoder::new(rest);
        let length = io::copy(&mut member, &mut io::sink()).unwrap();
        assert_eq!(length, if members < 2 { 1000 } else { 500 });
        rest = member.into_inner();
        members += 1;
    }
    assert_eq!(members, 3);
}

#[test]
fn flush_passes_on_whole_members_only() {
    let mut output = Vec::new();
    let mut writer = Writer::new(&mut output, options(6, 2, 1000)).unwrap();
    writer.write_all(&[1; 2500]).unwrap();
    writer.flush().unwrap();
    drop(writer);
    assert_eq!(expand(&output).unwrap(), [1; 2000]);
}

#[test]
fn nothing_makes_one_empty_member() {
    let (bytes, totals) = compress(&[], Options::default());
    assert_eq!((totals.bytes_in, totals.members.count()), (0, 1));
    assert_eq!(expand(&bytes).unwrap(), [0_u8; 0]);
    // And a last member that is full is not followed by an empty one.
    assert_eq!(compress(&[1; 2000], options(6, 1, 1000)).1.members.count(), 2);
}

#[test]
fn levels_and_sizes_out_of_range_are_refused() {
    for bad in [options(0, 1, 1000), options(13, 1, 1000), options(6, 1, 0), options(6, 1, (1 << 30) + 1)] {
        let error = Writer::new(Vec::new(), bad).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{bad:?}");
    }
    let data = sample(50_000);
    let small = compress(&data, options(12, 1, 1 << 20)).0;
    let fast = compress(&data, options(1, 1, 1 << 20)).0;
    assert!(small.len() < fast.len());
    assert!(expand(&small).unwrap() == data && expand(&fast).unwrap() == data);
}

/// Takes so many bytes and no more.
#[derive(Debug)]
struct Full(usize);

impl Write for Full {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = data.len().min(self.0);
        self.0 -= taken;
        if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn errors_of_the_output_surface() {
    let mut writer = Writer::new(Full(5000), options(6, 2, 1000)).unwrap();
    let error = writer.write_all(&sample(1_000_000)[10_000..20_000].repeat(50)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    drop(writer);
    let mut writer = Writer::new(Full(5), options(6, 2, 1000)).unwrap();
    writer.write_all(&[1; 10]).unwrap();
    assert_eq!(writer.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_writer_that_is_dropped_leaves_no_thread_waiting() {
    for written in [0, 10, 1_000_000] {
        let mut writer = Writer::new(io::sink(), options(12, 3, 50_000)).unwrap();
        writer.write_all(&sample(written)).unwrap();
        drop(writer);
    }
}

/// What a program makes of `input`, its diagnostics and whether it succeeded. `None` after a loud skip when it is not installed.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<(Vec<u8>, String, bool)> {
    let mut child = Command::new(tools::require(program)?)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // A program that dislikes its input closes it early; what it says then is looked at below.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    Some((output.stdout, String::from_utf8_lossy(&output.stderr).into_owned(), output.status.success()))
}

const PYTHON: &str = "import gzip, sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";

#[test]
fn other_programs_read_what_is_written() {
    for data in [sample(2_500_000), Vec::new()] {
        let (bytes, _) = compress(&data, options(6, 2, 1 << 20));
        let programs: [(&str, &[&str]); 4] =
            [("gzip", &["-cdfq"]), ("gzip", &["-dc"]), ("pigz", &["-dc"]), ("python3", &["-c", PYTHON])];
        for (program, arguments) in programs {
            if let Some((output, said, success)) = run(program, arguments, &bytes) {
                assert!(success && said.is_empty(), "{program} {arguments:?}: {said}");
                assert!(output == data, "{program} {arguments:?}");
            }
        }
    }
}

#[test]
fn what_other_programs_write_is_read() {
    let data = sample(400_000);
    let programs: [(&str, &[&str]); 5] = [
        ("gzip", &["-9"]),
        ("gzip", &["-1", "-n"]),
        ("pigz", &["-p2", "-b128"]),
        ("pigz", &["-i"]),
        ("pigz", &["-0"]),
    ];
    for (program, arguments) in programs {
        if let Some((bytes, said, success)) = run(program, arguments, &data) {
            assert!(success, "{program} {arguments:?}: {said}");
            assert!(looks_like_gzip(&bytes));
            assert!(expand(&bytes).unwrap() == data, "{program} {arguments:?}");
            assert!(expand(&[&bytes[..], &bytes].concat()).unwrap() == data.repeat(2));
        }
    }
}

#[test]
fn every_field_of_a_header_is_skipped() {
    let mut member =
        flate2::GzBuilder::new().filename("boot_archive").comment("made by hand").extra([5; 300]).mtime(9);
    member = member.operating_system(3);
    let mut encoder = member.write(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(b"contents").unwrap();
    let bytes = encoder.finish().unwrap();
    assert_eq!(expand(&bytes).unwrap(), b"contents");

    // With a checksum of the header: 1 to 2 bytes behind the fixed part, computed by libdeflate's sister function.
    let plain = compress(b"contents", Options::default()).0;
    let mut fixed = plain[..10].to_vec();
    fixed[3] = 2;
    let crc = libdeflater::crc32(&fixed) as u16;
    let with = |crc: u16| [&fixed[..], &crc.to_le_bytes(), &plain[10..]].concat();
    assert_eq!(expand(&with(crc)).unwrap(), b"contents");
    assert_eq!(failure(&with(crc ^ 1)), (ErrorKind::BadHeader, 0));
}

#[test]
fn what_follows_the_last_member_is_left_alone() {
    let member = compress(b"contents", Options::default()).0;
    let end = member.len() as u64;
    for tail in [&vec![0; 70_000][..], b"garbage", &[0x1f], &[0x1f, 0x1f, 0x8b], &[]] {
        let bytes = [&member[..], tail].concat();
        let mut reader = Reader::new(&bytes[..]);
        let mut expanded = Vec::new();
        reader.read_to_end(&mut expanded).unwrap();
        assert_eq!(expanded, b"contents");
        assert_eq!(reader.ignored_from(), (!tail.is_empty()).then_some(end));
    }
    // gzip without -f ignores the same, with a warning.
    let bytes = [&member[..], b"garbage"].concat();
    if let Some((output, said, _)) = run("gzip", &["-dc"], &bytes) {
        assert_eq!(output, b"contents");
        assert!(said.contains("trailing garbage ignored"), "{said}");
    }
    // But what begins like a member must be one.
    assert_eq!(failure(&[&member[..], &[0x1f, 0x8b]].concat()), (ErrorKind::Truncated, end + 2));
    assert_eq!(
        failure(&[&member[..], &[0x1f, 0x8b, 7, 0, 0, 0, 0, 0, 0, 0]].concat()),
        (ErrorKind::BadHeader, end)
    );
}

#[test]
fn what_is_not_gzip_is_told_apart() {
    for data in [&b""[..], b"\x1f", b"BZh91AY", &[0; 10_000]] {
        assert_eq!(failure(data), (ErrorKind::NotGzip, 0));
        assert!(!looks_like_gzip(data));
    }
}

#[test]
fn damage_has_a_kind_and_a_place() {
    let data = sample(30_000);
    let good = compress(&data, Options::default()).0;
    for length in [2, 9, 10, 11, 100, good.len() - 9, good.len() - 8, good.len() - 1] {
        assert_eq!(failure(&good[..length]), (ErrorKind::Truncated, length as u64), "cut to {length}");
    }
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        bytes
    };
    let trailer = good.len() as u64 - 8;
    assert_eq!(failure(&changed(good.len() - 8)), (ErrorKind::Checksum, trailer));
    assert_eq!(failure(&changed(good.len() - 1)), (ErrorKind::Checksum, trailer));
    assert_eq!(failure(&changed(2)), (ErrorKind::BadHeader, 0));
    assert_eq!(failure(&changed(3)), (ErrorKind::BadHeader, 0));
    // A deflate block of the type that does not exist.
    let mut bytes = good.clone();
    bytes[10] |= 6;
    assert_eq!(failure(&bytes).0, ErrorKind::BadData);

    let error = expand(&good[..100]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(error.to_string(), "the gzip data is cut off (at byte 100 of the compressed data)");
}

/// An input that fails.
struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

#[test]
fn errors_come_again_and_those_of_the_input_end_it() {
    let good = compress(b"contents", Options::default()).0;
    let mut reader = Reader::new(&good[..good.len() - 1]);
    let mut data = Vec::new();
    for _ in 0..2 {
        let error = reader.read_to_end(&mut data).unwrap_err();
        assert_eq!(Error::of(&error).map(Error::kind), Some(ErrorKind::Truncated));
    }

    let mut reader = Reader::new((&good[..5]).chain(Failing).chain(&good[5..]));
    let error = reader.read_to_end(&mut data).unwrap_err();
    assert_eq!((error.kind(), Error::of(&error)), (io::ErrorKind::ConnectionReset, None));
    assert!(reader.read_to_end(&mut data).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_goes_in_comes_out(
        data in prop::collection::vec(prop_oneof![Just(0u8), Just(b'a'), any::<u8>()], 0..20_000),
        level in 1..=12u8,
        threads in 1..4usize,
        member_size in 1..9000usize,
        step in 1..5000usize,
    ) {
        let member_size = member_size.max(data.len() / 50 + 1);
        let (bytes, totals) = compress(&data, options(level, threads, member_size));
        prop_assert_eq!(totals.members.count(), data.len().div_ceil(member_size).max(1) as u64);
        prop_assert_eq!(totals.bytes_out, bytes.len() as u64);
        let mut reader = Reader::new(&bytes[..]);
        let mut expanded = Vec::new();
        let mut piece = vec![0; step];
        loop {
            match reader.read(&mut piece).unwrap() {
                0 => break,
                got => expanded.extend_from_slice(&piece[..got]),
            }
        }
        prop_assert!(expanded == data);
        prop_assert_eq!((reader.position(), reader.ignored_from()), (bytes.len() as u64, None));
    }

    /// Damage of any sort ends in an error or is behind the last member, and never in a panic or other contents.
    #[test]
    fn damage_never_panics(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let data = sample(40_000);
        let mut bytes = compress(&data, options(6, 1, 9000)).0;
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        match expand(&bytes) {
            Ok(expanded) => prop_assert!(data.starts_with(&expanded)),
            Err(error) => prop_assert!(Error::of(&error).is_some_and(|error| error.offset() <= bytes.len() as u64)),
        }
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let bytes = [&[0x1f, 0x8b, 8][..], &noise].concat();
        if let Err(error) = expand(&bytes) {
            prop_assert!(Error::of(&error).is_some());
        }
    }
}

/// What the members of a file hold, expanded by so many threads.
fn expand_members(data: &[u8], members: &kiln_pgzip::Members, threads: usize) -> io::Result<Vec<u8>> {
    members.expand(data, NonZeroUsize::new(threads).unwrap(), |mut reader| {
        let mut expanded = Vec::new();
        reader.read_to_end(&mut expanded).map(|_| expanded)
    })
}

#[test]
fn threads_expand_the_members_of_what_was_written() {
    for length in [0, 1, 100_000, 100_001, 3_000_000] {
        let data = sample(length);
        let (file, totals) = compress(&data, options(1, 2, 100_000));
        for threads in [1, 2, 8] {
            assert!(expand_members(&file, &totals.members, threads).unwrap() == data, "{threads} threads");
        }
    }
}

#[test]
fn threads_notice_damage_where_it_is_and_what_is_missing_or_too_much() {
    let data = sample(1_000_000);
    let (file, totals) = compress(&data, options(1, 2, 100_000));
    let failure = |file: &[u8]| {
        let error = expand_members(file, &totals.members, 3).expect_err("damaged data to be noticed");
        let error = *Error::of(&error).expect("an error of this crate");
        (error.kind(), error.offset())
    };
    let mut last = 0;
    for at in (0..file.len()).step_by(3331) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x10;
        // A byte of a header may say what nobody needs to know.
        if let Err(error) = expand_members(&damaged, &totals.members, 3) {
            let error = *Error::of(&error).unwrap();
            assert!(error.kind() == ErrorKind::BadData && error.offset() <= at as u64, "{error}");
            last = at;
        }
    }
    assert!(last > file.len() / 2);
    assert_eq!(failure(&file[..file.len() - 1]).0, ErrorKind::Truncated);
    assert_eq!(failure(&[&file[..], b"x"].concat()), (ErrorKind::BadData, file.len() as u64));
}

#[test]
fn whoever_reads_members_may_stop() {
    let data = sample(3_000_000);
    let (file, totals) = compress(&data, options(1, 2, 10_000));
    let first = totals.members.expand(&file[..], NonZeroUsize::new(2).unwrap(), |mut reader| {
        let mut byte = [0];
        reader.read_exact(&mut byte).map(|()| byte[0])
    });
    assert_eq!(first.unwrap(), data[0]);
}
