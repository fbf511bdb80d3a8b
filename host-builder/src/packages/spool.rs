//! Contents of files, kept in one temporary file until they are written to their image.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use kiln_zstream::fs::tree::Content;
use sha1::digest::DynDigest;

use crate::digest::hex;

/// Bytes moved at once.
const CHUNK: usize = 128 << 10;

/// A temporary file that grows by the contents of files.
#[derive(Debug)]
pub(super) struct Spool {
    file: Arc<File>,
    end: u64,
}

/// The contents of a file in a [`Spool`].
#[derive(Clone, Debug)]
pub(super) struct Stored {
    file: Arc<File>,
    offset: u64,
    size: u64,
}

impl Spool {
    /// A spool in an empty file.
    pub(super) fn new(file: File) -> Self {
        Self { file: Arc::new(file), end: 0 }
    }

    /// Keeps all of `contents`, and says their MD5 in lower-case hex, which is what packing lists have.
    ///
    /// # Errors
    /// Those of reading and of the temporary file.
    pub(super) fn keep(&mut self, contents: &mut dyn Read) -> io::Result<(Stored, String)> {
        let offset = self.end;
        let mut sum = pkgsrc::digest::Digest::MD5.hasher();
        let mut buffer = vec![0; CHUNK];
        loop {
            let got = match contents.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            sum.update(&buffer[..got]);
            self.file.write_all_at(&buffer[..got], self.end)?;
            self.end += got as u64;
        }
        let stored = Stored { file: Arc::clone(&self.file), offset, size: self.end - offset };
        Ok((stored, hex(&sum.finalize())))
    }
}

impl Content for Stored {
    fn size(&self) -> u64 {
        self.size
    }

    fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK.min(usize::try_from(self.size).unwrap_or(CHUNK))];
        let mut at = 0;
        while at < self.size {
            let length = usize::try_from(self.size - at).unwrap_or(CHUNK).min(buffer.len());
            let piece = &mut buffer[..length];
            self.file.read_exact_at(piece, self.offset + at)?;
            sink(at, piece)?;
            at += length as u64;
        }
        Ok(())
    }
}

/// The MD5 of contents that are in a tree, lower-case hex.
///
/// # Errors
/// They cannot be read.
pub(super) fn md5_of(contents: &dyn Content) -> io::Result<String> {
    let mut sum = pkgsrc::digest::Digest::MD5.hasher();
    let mut at = 0;
    contents.give(&mut |offset, piece| {
        zeros(&mut *sum, offset - at);
        sum.update(piece);
        at = offset + piece.len() as u64;
        Ok(())
    })?;
    zeros(&mut *sum, contents.size() - at);
    Ok(hex(&sum.finalize()))
}

fn zeros(sum: &mut dyn DynDigest, mut length: u64) {
    let zeros = [0; 4096];
    while length > 0 {
        let piece = length.min(zeros.len() as u64);
        sum.update(&zeros[..piece as usize]);
        length -= piece;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::area::contents_of;

    #[test]
    fn contents_come_back_with_their_digests() {
        let mut spool = Spool::new(tempfile::tempfile().unwrap());
        let long = vec![7; 3 * CHUNK + 5];
        let (first, md5) = spool.keep(&mut &b"abc"[..]).unwrap();
        let (second, _) = spool.keep(&mut &long[..]).unwrap();
        let (empty, of_nothing) = spool.keep(&mut io::empty()).unwrap();
        // RFC 1321, appendix A.5.
        assert_eq!(md5, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(of_nothing, "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(contents_of(&first, 3).unwrap(), b"abc");
        assert_eq!(contents_of(&second, 1 << 20).unwrap(), long);
        assert_eq!(contents_of(&empty, 0).unwrap(), b"");
        assert_eq!(md5_of(&first).unwrap(), md5);
        assert_eq!(md5_of(&Holes).unwrap(), md5_of(&[&[0; 5000][..], b"x", &[0; 3]].concat()).unwrap());
    }

    /// An x between holes.
    struct Holes;

    impl Content for Holes {
        fn size(&self) -> u64 {
            5004
        }

        fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
            sink(5000, b"x")
        }
    }
}
