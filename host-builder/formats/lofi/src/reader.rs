//! What was compressed, to be read anywhere.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use positioned_io::{ReadAt, Size};

use crate::cache::Cache;
use crate::error::{Error, ErrorKind};
use crate::header::{Algorithm, ENTRY, HEADER, Header};
use crate::segment;

/// A compressed file. Reads give what was compressed.
///
/// Nothing of the index is held in memory: the two entries of a segment are read with it. Of decompressed segments a few are kept
/// (4 MiB, or one if that is larger), so that small reads next to each other do not decompress the same one again.
#[derive(Debug)]
pub struct Reader<D> {
    device: D,
    /// Bytes of the compressed file.
    stored: u64,
    header: Header,
    cache: Mutex<Cache>,
}

impl<D> Reader<D> {
    /// Bytes of what was compressed; never 0.
    #[expect(
        clippy::len_without_is_empty,
        reason = "there is no empty file: lofiadm leaves those as they are"
    )]
    pub fn len(&self) -> u64 {
        self.header.plain_length()
    }

    /// How it is compressed.
    pub fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// Bytes of a segment before compression.
    pub fn segment_size(&self) -> u32 {
        self.header.segment
    }
}

impl<D: ReadAt> Reader<D> {
    /// Opens a compressed file of `stored` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::NotLofi`], [`ErrorKind::BadHeader`], [`ErrorKind::CutOff`]: the file ends before the place where the last
    /// segment ends; or the file cannot be read. The segments are looked at when they are read.
    pub fn open(device: D, stored: u64) -> Result<Self, Error> {
        let mut head = [0; HEADER];
        if stored < HEADER as u64 {
            return Err(Error::new(ErrorKind::NotLofi, 0));
        }
        device.read_exact_at(0, &mut head).map_err(|error| Error::of_device(0, error))?;
        let header = Header::parse(&head)?;
        let reader = Self { device, stored, header, cache: Mutex::new(Cache::new(header.segment)) };
        if header.base() > stored {
            return Err(Error::new(ErrorKind::CutOff, stored));
        }
        let (at, end) = (entry(header.segments), reader.boundary(header.segments)?);
        match end.checked_add(header.base()) {
            Some(end) if end <= stored => Ok(reader),
            Some(_) => Err(Error::new(ErrorKind::CutOff, stored)),
            None => Err(Error::new(ErrorKind::BadIndex, at)),
        }
    }

    /// An entry of the index: where a segment begins, and the one before ends.
    fn boundary(&self, number: u32) -> Result<u64, Error> {
        let at = entry(number);
        let mut bytes = [0; ENTRY as usize];
        self.device.read_exact_at(at, &mut bytes).map_err(|error| Error::of_device(at, error))?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// A segment, decompressed.
    fn segment(&self, number: u32) -> Result<Arc<[u8]>, Error> {
        // The cache holds copies only, so a panic elsewhere cannot have left it wrong.
        if let Some(kept) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(number) {
            return Ok(kept);
        }
        let size = self.header.plain_size(number);
        let bad_index = || Error::new(ErrorKind::BadIndex, entry(number));
        let (start, end) = (self.boundary(number)?, self.boundary(number + 1)?);
        let length = end.checked_sub(start).ok_or_else(bad_index)?;
        // What would not shrink is stored as it is, so nothing is longer than the segment and its first byte.
        if length == 0 || length > u64::from(self.header.segment) + 1 {
            return Err(bad_index());
        }
        let at = start.checked_add(self.header.base()).ok_or_else(bad_index)?;
        if at.checked_add(length).is_none_or(|end| end > self.stored) {
            return Err(bad_index());
        }
        let mut stored = vec![0; length as usize];
        self.device.read_exact_at(at, &mut stored).map_err(|error| Error::of_device(at, error))?;
        let plain = segment::decompress(&stored, self.header.algorithm, size)
            .ok_or_else(|| Error::new(ErrorKind::BadSegment, at))?;
        let plain: Arc<[u8]> = plain.into();
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).put(number, Arc::clone(&plain));
        Ok(plain)
    }
}

/// Where the entry of a segment stands in the compressed file.
fn entry(number: u32) -> u64 {
    HEADER as u64 + u64::from(number) * ENTRY
}

impl<D: ReadAt> ReadAt for Reader<D> {
    /// Reads up to the end of a segment at most.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if position >= self.len() || buffer.is_empty() {
            return Ok(0);
        }
        let size = u64::from(self.header.segment);
        // Fewer than 2^32 segments make up the length.
        let segment = self.segment((position / size) as u32)?;
        let rest = &segment[(position % size) as usize..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl<D> Size for Reader<D> {
    fn size(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.len()))
    }
}
