//! Compressed bytes, recognised by how they begin: packages and the indexes of repositories come in all of these forms.

use std::io::{self, BufRead, BufReader, Read};

/// Most memory that a decoder may ask for, in bytes: the window of `xz -9` (64 MiB) and of `zstd --long` (128 MiB) fit.
const WINDOW: u32 = 160 << 20;
/// The largest window of zstd as a power of two.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The form of compressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Compression {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// The bytes of `input`, decompressed if they are compressed. Parts of one form, one behind the other, are read as one.
///
/// # Errors
/// The beginning cannot be read, or a decoder cannot be made.
pub(super) fn decoder<'a>(mut input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = Vec::new();
    input.by_ref().take(6).read_to_end(&mut head)?;
    let form = Compression::of(&head);
    let input: Box<dyn BufRead + 'a> =
        Box::new(BufReader::with_capacity(1 << 16, io::Cursor::new(head).chain(input)));
    Ok(match form {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Compression::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, WINDOW >> 10)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
    })
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
