//! Digests of bytes that pass: of all that a reader gives, of what goes to a writer, and as text.

use std::io::{self, Read, Write};

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// The SHA-1 of all that is left in `reader`, lower-case hex.
///
/// # Errors
/// Those of reading.
pub fn sha1_of(reader: impl Read) -> io::Result<String> {
    let (sum, _) = digest::<Sha1>(reader)?;
    Ok(hex(&sum.finalize()))
}

/// The SHA-256 of all that is left in `reader`, lower-case hex, and how many bytes it was.
///
/// # Errors
/// Those of reading.
pub fn sha256_of(reader: impl Read) -> io::Result<(String, u64)> {
    let (sum, size) = digest::<Sha256>(reader)?;
    Ok((hex(&sum.finalize()), size))
}

fn digest<D: Digest>(mut reader: impl Read) -> io::Result<(D, u64)> {
    let mut sum = D::new();
    let mut size = 0;
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((sum, size)),
            Ok(got) => {
                sum.update(&buffer[..got]);
                size += got as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('?')));
        text
    })
}

/// A writer whose digest is taken while it is written.
#[derive(Debug)]
pub struct Hashing<W, D> {
    /// Where the bytes go.
    pub inner: W,
    /// The digest of what passed.
    pub sum: D,
    /// How many bytes passed.
    pub size: u64,
}

impl<W, D: Digest> Hashing<W, D> {
    /// Takes the digest of what is written to `inner` from now on.
    pub fn new(inner: W) -> Hashing<W, D> {
        Hashing { inner, sum: D::new(), size: 0 }
    }
}

impl<W: Write, D: Digest> Write for Hashing<W, D> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.sum.update(&buffer[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-1 of `abc` (source: FIPS 180-4, example of one block).
    const ABC: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

    /// Takes two bytes at once.
    struct Slow(Vec<u8>);

    impl Write for Slow {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            let length = buffer.len().min(2);
            self.0.extend(&buffer[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn readers_are_digested_to_their_end() {
        assert_eq!(sha1_of(&b"abc"[..]).unwrap(), ABC);
        assert_eq!(sha1_of(b"a".chain(&b"bc"[..])).unwrap(), ABC);
    }

    #[test]
    fn only_what_the_writer_took_is_digested() {
        let mut writer = Hashing::<_, Sha1>::new(Slow(Vec::new()));
        assert_eq!(writer.write(b"abc").unwrap(), 2);
        writer.write_all(b"c").unwrap();
        assert_eq!((writer.inner.0, writer.size), (b"abc".to_vec(), 3));
        assert_eq!(hex(&writer.sum.finalize()), ABC);
    }
}
