//! The device behind the file system, with a bounded write-through cache for metadata.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use positioned_io::{ReadAt, WriteAt};
use zerocopy::{FromBytes, IntoBytes, KnownLayout};

use crate::error::{Error, Result};
use crate::layout::SECTOR;

/// Bytes of a cached piece of the device, aligned to itself. It is at least the largest block, so that one piece holds
/// any inode, directory chunk or indirect block.
const PIECE: u64 = 8192;

/// Pieces held at once: 4 MiB.
const PIECES: usize = 512;

/// A device with its cache. Writes go through to the device at once, so that what is cached is never newer than what
/// is stored, and reading needs no exclusive access.
#[derive(Debug)]
pub(crate) struct Device<D> {
    inner: D,
    len: u64,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    pieces: HashMap<u64, Piece>,
    /// Counts uses, to find the piece that was used longest ago.
    uses: u64,
}

#[derive(Debug)]
struct Piece {
    bytes: Box<[u8]>,
    last_use: u64,
}

impl Cache {
    /// The piece with this number, from the cache.
    fn get(&mut self, number: u64) -> Option<&[u8]> {
        self.uses += 1;
        let piece = self.pieces.get_mut(&number)?;
        piece.last_use = self.uses;
        Some(&piece.bytes)
    }

    /// Puts a piece in, and drops the older half of the cache when it is full.
    fn put(&mut self, number: u64, bytes: Box<[u8]>) {
        if self.pieces.len() >= PIECES {
            let mut ages: Vec<u64> = self.pieces.values().map(|piece| piece.last_use).collect();
            let (_, median, _) = ages.select_nth_unstable(PIECES / 2);
            let limit = *median;
            self.pieces.retain(|_, piece| piece.last_use >= limit);
        }
        self.pieces.insert(number, Piece { bytes, last_use: self.uses });
    }
}

impl<D> Device<D> {
    pub fn new(inner: D, len: u64) -> Self {
        Self { inner, len, cache: Mutex::default() }
    }

    /// Bytes of the device.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn get_ref(&self) -> &D {
        &self.inner
    }

    pub fn into_inner(self) -> D {
        self.inner
    }

    /// The cache holds copies only, so a panic elsewhere cannot have left it wrong.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what lies beyond the device, before anything is allocated for it.
    fn check(&self, what: &str, offset: u64, len: usize) -> Result<()> {
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(Error::corrupt(what, offset, "beyond the end of the device")),
        }
    }
}

impl<D: ReadAt> Device<D> {
    /// Fills `buffer` with metadata through the cache.
    pub fn read(&self, what: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check(what, offset, buffer.len())?;
        let mut cache = self.cache();
        let mut done = 0;
        while done < buffer.len() {
            let at = offset + done as u64;
            let (number, skip) = (at / PIECE, (at % PIECE) as usize);
            let count = (buffer.len() - done).min(PIECE as usize - skip);
            let target = &mut buffer[done..done + count];
            if let Some(piece) = cache.get(number) {
                target.copy_from_slice(&piece[skip..skip + count]);
            } else {
                let start = number * PIECE;
                let mut bytes = vec![0; PIECE.min(self.len - start) as usize].into_boxed_slice();
                self.inner
                    .read_exact_at(start, &mut bytes)
                    .map_err(|error| Error::device(what, start, error))?;
                target.copy_from_slice(&bytes[skip..skip + count]);
                cache.put(number, bytes);
            }
            done += count;
        }
        Ok(())
    }

    /// Reads one on-disk structure.
    pub fn read_struct<T: FromBytes + IntoBytes + KnownLayout>(&self, what: &str, offset: u64) -> Result<T> {
        let mut value = T::new_zeroed();
        self.read(what, offset, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Fills `buffer` with file contents, past the cache (which is never newer than the device).
    pub fn read_contents(&self, what: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.check(what, offset, buffer.len())?;
        self.inner.read_exact_at(offset, buffer).map_err(|error| Error::device(what, offset, error))
    }
}

impl<D: WriteAt> Device<D> {
    /// Writes to the device, and into the cached pieces that overlap.
    pub fn write(&mut self, what: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        self.check(what, offset, bytes.len())?;
        self.inner.write_all_at(offset, bytes).map_err(|error| Error::device(what, offset, error))?;
        let mut cache = self.cache();
        let end = offset + bytes.len() as u64;
        for number in offset / PIECE..end.div_ceil(PIECE) {
            if let Some(piece) = cache.pieces.get_mut(&number) {
                let start = number * PIECE;
                let (from, to) = (offset.max(start), end.min(start + PIECE));
                piece.bytes[(from - start) as usize..(to - start) as usize]
                    .copy_from_slice(&bytes[(from - offset) as usize..(to - offset) as usize]);
            }
        }
        Ok(())
    }

    /// Writes zeros, a bounded piece at a time.
    pub fn write_zeros(&mut self, what: &str, offset: u64, len: u64) -> Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut done = 0;
        while done < len {
            let count = (len - done).min(ZEROS.len() as u64);
            self.write(what, offset + done, &ZEROS[..count as usize])?;
            done += count;
        }
        Ok(())
    }

    /// Makes the device longer by writing zeros into its last sector; a file becomes sparse that way.
    pub fn extend(&mut self, len: u64) -> Result<()> {
        self.len = len;
        // The piece at the old end may be short.
        *self.cache() = Cache::default();
        let sector = u64::from(SECTOR).min(len);
        self.write_zeros("end of the device", len - sector, sector)
    }

    /// Hands everything written to the device's own buffers on.
    pub fn flush(&mut self) -> Result<()> {
        self.inner.flush().map_err(|error| Error::device("device", 0, error))
    }
}
