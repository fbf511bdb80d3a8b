//! The compressions a block can have in a stream (OpenZFS `sys/zio_compress.h`, `enum zio_compress`). Streams of 2013
//! have none; `zfs send -c` and `-e` send blocks as the sender's disk holds them.

/// Why a block cannot be expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The algorithm is not implemented here.
    Unsupported(&'static str),
    /// The compressed bytes do not expand to a block; names the algorithm.
    Corrupt(&'static str),
}

/// Expands `input`, which may have padding behind it, to exactly `output`.
pub(crate) fn expand(compression: u8, input: &[u8], output: &mut [u8]) -> Result<(), Failure> {
    let (name, done) = match compression {
        0 | 2 => ("uncompressed", stored(input, output)),
        3 => ("lzjb", lzjb(input, output)),
        5..=13 => ("gzip", zlib(input, output)),
        14 => ("zle", zle(input, output)),
        15 => ("lz4", lz4(input, output)),
        16 => ("zstd", zstd(input, output)),
        _ => return Err(Failure::Unsupported("blocks compressed with an unknown algorithm")),
    };
    done.ok_or(Failure::Corrupt(name))
}

fn stored(input: &[u8], output: &mut [u8]) -> Option<()> {
    output.copy_from_slice(input.get(..output.len())?);
    Some(())
}

/// What ZFS calls gzip has the framing of zlib (illumos `gzip.c`).
fn zlib(input: &[u8], output: &mut [u8]) -> Option<()> {
    let mut inflate = flate2::Decompress::new(true);
    let status = inflate.decompress(input, output, flate2::FlushDecompress::Finish).ok()?;
    (status == flate2::Status::StreamEnd && inflate.total_out() == output.len() as u64).then_some(())
}

/// An lz4 block behind its length as a big-endian number (illumos `lz4.c`).
fn lz4(input: &[u8], output: &mut [u8]) -> Option<()> {
    let (length, rest) = input.split_first_chunk()?;
    let block = rest.get(..u32::from_be_bytes(*length) as usize)?;
    let expanded = lz4_flex::block::decompress_into(block, output).ok()?;
    (expanded == output.len()).then_some(())
}

/// A zstd frame without its magic number, behind its length as a big-endian number and a word of version and level (OpenZFS
/// `module/zstd/zfs_zstd.c`).
fn zstd(input: &[u8], output: &mut [u8]) -> Option<()> {
    const MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
    let (length, rest) = input.split_first_chunk()?;
    let frame = rest.get(4..)?.get(..u32::from_be_bytes(*length) as usize)?;
    let whole = [&MAGIC[..], frame].concat();
    let expanded = ::zstd::bulk::decompress_to_buffer(&whole, output).ok()?;
    (expanded == output.len()).then_some(())
}

/// Runs of zeros and of bytes as they are: a byte n up to 63 is followed by n+1 bytes to copy, a byte from 64 on stands
/// for n-63 zeros (illumos `zle.c`, level 64).
fn zle(mut input: &[u8], mut output: &mut [u8]) -> Option<()> {
    const LITERALS: usize = 64;
    while !output.is_empty() {
        let (&code, rest) = input.split_first()?;
        let length = usize::from(code) + 1;
        let (run, literals) = if length <= LITERALS { (length, length) } else { (length - LITERALS, 0) };
        let (to, left) = output.split_at_mut_checked(run)?;
        let (from, rest) = rest.split_at_checked(literals)?;
        if literals == 0 {
            to.fill(0);
        } else {
            to.copy_from_slice(from);
        }
        (input, output) = (rest, left);
    }
    Some(())
}

/// Lempel-Ziv as by Jeff Bonwick: a byte of flags, lowest first, for the eight items behind it; an item is a byte to
/// copy, or 6 bits of length less 3 and 10 bits of distance (illumos `lzjb.c`).
fn lzjb(input: &[u8], output: &mut [u8]) -> Option<()> {
    let mut input = input.iter().copied();
    let mut done = 0;
    while done < output.len() {
        let flags = input.next()?;
        for item in 0..8 {
            if done == output.len() {
                break;
            }
            let first = input.next()?;
            if flags & (1 << item) == 0 {
                output[done] = first;
                done += 1;
                continue;
            }
            let second = input.next()?;
            let length = usize::from(first >> 2) + 3;
            let distance = usize::from(first & 3) << 8 | usize::from(second);
            let from = done.checked_sub(distance).filter(|_| distance > 0)?;
            // Senders cut the last match at the end of the block. Matches may overlap what they make, hence by bytes.
            for at in from..(from + length).min(from + output.len() - done) {
                output[done] = output[at];
                done += 1;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A compressible block of 8 KiB with a run of zeros.
    fn block() -> Vec<u8> {
        let mut block: Vec<u8> = (0..8192u32).map(|n| b'a' + (n * n / 97 % 23) as u8).collect();
        block[1000..3000].fill(0);
        block
    }

    fn expanded(compression: u8, input: &[u8], length: usize) -> Result<Vec<u8>, Failure> {
        let mut output = vec![0xee; length];
        expand(compression, input, &mut output).map(|()| output)
    }

    #[test]
    fn lz4_behind_its_length_and_before_padding() {
        let packed = lz4_flex::block::compress(&block());
        let mut input = (packed.len() as u32).to_be_bytes().to_vec();
        input.extend(&packed);
        input.resize(input.len().next_multiple_of(512), 0);
        assert_eq!(expanded(15, &input, 8192), Ok(block()));
        input[3] ^= 1;
        assert_eq!(expanded(15, &input, 8192), Err(Failure::Corrupt("lz4")));
        assert_eq!(expanded(15, &[0xff; 8], 8192), Err(Failure::Corrupt("lz4")));
    }

    #[test]
    fn zstd_behind_its_header_and_before_padding() {
        // "abc" 100 times by zstd 1.5 at level 3, as ZFS has it do: no magic number, no size, no checksum.
        const FRAME: &[u8] =
            &[0x00, 0x58, 0x55, 0x00, 0x00, 0x18, 0x61, 0x62, 0x63, 0x01, 0x00, 0x26, 0xaa, 0x6e, 0x08];
        let mut input = (FRAME.len() as u32).to_be_bytes().to_vec();
        input.extend([0, 1, 5, 3]);
        input.extend(FRAME);
        input.resize(512, 0);
        assert_eq!(expanded(16, &input, 300), Ok(b"abc".repeat(100)));
        assert_eq!(expanded(16, &input, 299), Err(Failure::Corrupt("zstd")));
        assert_eq!(expanded(16, &input, 301), Err(Failure::Corrupt("zstd")));
        input[3] -= 1;
        assert_eq!(expanded(16, &input, 300), Err(Failure::Corrupt("zstd")));
        assert_eq!(expanded(16, &[0xff; 16], 300), Err(Failure::Corrupt("zstd")));
        assert_eq!(expanded(16, &[0; 7], 300), Err(Failure::Corrupt("zstd")));
    }

    #[test]
    fn gzip_before_padding() {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(&block()).unwrap();
        let mut input = encoder.finish().unwrap();
        let packed = input.len();
        input.resize(packed.next_multiple_of(512), 0);
        assert_eq!(expanded(10, &input, 8192), Ok(block()));
        assert_eq!(expanded(10, &input, 4096), Err(Failure::Corrupt("gzip")));
        assert_eq!(expanded(10, &input[..packed / 2], 8192), Err(Failure::Corrupt("gzip")));
    }

    #[test]
    fn zle_runs() {
        // 2 bytes as they are, 192 zeros, 1 byte as it is; then padding.
        let input = [1, b'x', b'y', 255, 0, b'z', 0, 0];
        let mut expected = vec![0; 195];
        expected[..2].copy_from_slice(b"xy");
        expected[194] = b'z';
        assert_eq!(expanded(14, &input, 195), Ok(expected));
        assert_eq!(expanded(14, &[64], 1), Ok(vec![0]));
        assert_eq!(expanded(14, &[63, 1, 2], 64), Err(Failure::Corrupt("zle")));
        assert_eq!(expanded(14, &[65], 1), Err(Failure::Corrupt("zle")));
    }

    #[test]
    fn lzjb_items() {
        // "abc", then a match of 6 at distance 3, a "d", a match of 66 at distance 1 cut to what is left.
        let input = [0b0010_1000, b'a', b'b', b'c', 3 << 2, 3, b'd', 63 << 2, 1];
        assert_eq!(
            expanded(3, &input, 20),
            Ok(b"abcabcabcdDDDDDDDDDD".map(|b| b.to_ascii_lowercase()).to_vec())
        );
        // A distance of 259 takes both bytes.
        let mut input: Vec<u8> = (0..=255u8)
            .chain(0..8)
            .collect::<Vec<_>>()
            .chunks(8)
            .flat_map(|eight| std::iter::once(0).chain(eight.iter().copied()).collect::<Vec<_>>())
            .collect();
        input.extend([1, 1, 3]);
        assert_eq!(expanded(3, &input, 267).map(|output| output[264..].to_vec()), Ok(vec![5, 6, 7]));
        // Distances of nothing, before the block, and input that ends early.
        assert_eq!(expanded(3, &[1, 0, 0], 8), Err(Failure::Corrupt("lzjb")));
        assert_eq!(expanded(3, &[2, b'a', 0, 2], 8), Err(Failure::Corrupt("lzjb")));
        assert_eq!(expanded(3, &[0, b'a'], 8), Err(Failure::Corrupt("lzjb")));
    }

    #[test]
    fn others_are_named() {
        assert_eq!(expanded(2, b"plain and more", 5), Ok(b"plain".to_vec()));
        assert!(matches!(expanded(99, &[], 5), Err(Failure::Unsupported(_))));
    }
}
