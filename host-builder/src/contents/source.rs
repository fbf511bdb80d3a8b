//! Bytes that can be read anywhere: a file, a part of one, or a file inside an image.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use positioned_io::{ReadAt, Size};

/// A range of bytes of something that can be read anywhere. Clones are cheap and share what is beneath.
#[derive(Clone)]
pub struct Source {
    device: Arc<dyn ReadAt + Send + Sync>,
    start: u64,
    size: u64,
}

impl Source {
    /// The first `size` bytes of `device`.
    pub fn new(device: impl ReadAt + Send + Sync + 'static, size: u64) -> Source {
        Source { device: Arc::new(device), start: 0, size }
    }

    /// All bytes of an open file, as many as there are now.
    ///
    /// # Errors
    /// The file's size cannot be found.
    pub fn file(file: File) -> io::Result<Source> {
        let size = file.metadata()?.len();
        Ok(Source::new(file, size))
    }

    /// The `length` bytes from `offset` on, or as many of them as there are.
    #[must_use]
    pub fn slice(&self, offset: u64, length: u64) -> Source {
        let offset = offset.min(self.size);
        Source {
            device: Arc::clone(&self.device),
            start: self.start + offset,
            size: length.min(self.size - offset),
        }
    }

    /// Number of bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads from the beginning to the end.
    pub fn reader(&self) -> SourceReader {
        SourceReader { source: self.clone(), at: 0 }
    }

    /// The first `limit` bytes, or all when there are fewer.
    ///
    /// # Errors
    /// Those of reading.
    pub fn head(&self, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader().take(limit as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Fills `buffer` with as many bytes as there are from `offset` on, and says how many that was.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read_up_to(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_at(offset.saturating_add(filled as u64), &mut buffer[filled..]) {
                Ok(0) => break,
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("start", &self.start).field("size", &self.size).finish_non_exhaustive()
    }
}

impl ReadAt for Source {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        self.device.read_at(self.start + offset, &mut buffer[..length])
    }
}

impl Size for Source {
    fn size(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.size))
    }
}

/// Reads a [`Source`] from its beginning to its end.
#[derive(Clone, Debug)]
pub struct SourceReader {
    source: Source,
    at: u64,
}

impl SourceReader {
    /// Passes over `bytes` bytes without reading them.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`]: there are not so many.
    pub fn pass_over(&mut self, bytes: u64) -> io::Result<()> {
        if bytes > self.source.size.saturating_sub(self.at) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += bytes;
        Ok(())
    }
}

impl Read for SourceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.source.read_at(self.at, buffer)?;
        self.at += got as u64;
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_never_leave_their_source() {
        let source = Source::new(b"0123456789".to_vec(), 10);
        let slice = source.slice(2, 5);
        assert_eq!(slice.head(100).unwrap(), b"23456");
        assert_eq!(slice.slice(3, 100).head(100).unwrap(), b"56");
        assert_eq!(slice.slice(9, 1).size(), 0);
        let mut buffer = [0; 4];
        assert_eq!(slice.read_up_to(3, &mut buffer).unwrap(), 2);
        assert_eq!(slice.read_up_to(u64::MAX, &mut buffer).unwrap(), 0);
    }
}
