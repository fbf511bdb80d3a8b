//! Compressed packages and indexes of repositories: those of pkgsrc can have zstd, which images cannot.

use std::io::{self, BufReader, Read};

use crate::compression::{self, Compression, Reader};

/// How a file of zstd begins.
const ZSTD: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();
/// The largest window of zstd as a power of two: that of `zstd --long`, 128 MiB, which is the memory that its decoder may ask for.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The bytes of `input`, decompressed if they are compressed. Parts of one form, one behind the other, are read as one.
///
/// # Errors
/// The beginning cannot be read, or a decoder cannot be made.
pub(super) fn decoder<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let (head, whole) = compression::peek(input)?;
    let whole = BufReader::with_capacity(1 << 16, whole);
    if !head.starts_with(&ZSTD) {
        return Ok(Box::new(Reader::new(whole, Compression::of(&head))));
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(Box::new(decoder))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        decoder(bytes)?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn every_form_is_recognised_and_parts_are_joined() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"words").unwrap();
        let gzip = gzip.finish().unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(b"words").unwrap();
        let bzip2 = bzip2.finish().unwrap();
        let zstd = zstd::stream::encode_all(&b"words"[..], 1).unwrap();
        // `printf words | xz`: the encoder of the crate is not built in.
        let xz = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46\x02\0\x21\x01\x16\0\0\0\x74\x2f\xe5\xa3\x01\0\x04words\0\0\0\0\
            \x51\x34\x2f\x46\x41\xd9\xd3\x6f\0\x01\x1d\x05\xb8\x2d\x80\xaf\x1f\xb6\xf3\x7d\x01\0\0\0\0\x04YZ";
        for form in [gzip, bzip2, zstd, xz.to_vec()] {
            assert_eq!(read(&form).unwrap(), b"words");
            assert_eq!(read(&[form.clone(), form.clone()].concat()).unwrap(), b"wordswords");
            assert!(read(&form[..form.len() - 2]).is_err());
        }
        assert_eq!(read(b"words").unwrap(), b"words");
        assert_eq!(read(b"").unwrap(), b"");
    }
}
