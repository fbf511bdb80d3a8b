//! Files past the system's cache: what is written once, and read back once to see what the disk has, would only displace there what
//! is needed again, and reading it back would show memory and not the disk.
//!
//! Not all file systems can do that, and none does with parts of sectors. What they refuse goes through the cache.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::chunk::ALIGNMENT;

/// Reads or writes a file from its beginning on. Whole [chunks](crate::chunk::Chunk) go past the cache.
#[derive(Debug)]
pub struct Direct<'a> {
    file: &'a File,
    /// Where the next byte is, in bytes.
    at: u64,
    /// Whether the file is set to go past the cache.
    past_the_cache: bool,
}

impl<'a> Direct<'a> {
    /// Begins at the beginning of `file`, which nobody else reads or writes meanwhile.
    pub fn new(file: &'a File) -> Direct<'a> {
        let mut direct = Direct { file, at: 0, past_the_cache: false };
        // A file system that refuses is none to insist on.
        direct.past_the_cache = direct.set(true).is_ok();
        direct
    }

    fn set(&self, past_the_cache: bool) -> Result<(), Errno> {
        let mut flags = fcntl_getfl(self.file)?;
        flags.set(OFlags::DIRECT, past_the_cache);
        fcntl_setfl(self.file, flags)
    }

    /// Goes through the cache from here on.
    fn give_up(&mut self) -> io::Result<()> {
        self.past_the_cache = false;
        Ok(self.set(false)?)
    }

    /// Moves bytes between the file and memory at this place, past the cache if that can be.
    fn transfer(
        &mut self,
        place: *const u8,
        length: usize,
        mut transfer: impl FnMut(&File, u64) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let aligned = |at: u64| at.is_multiple_of(ALIGNMENT as u64);
        if self.past_the_cache
            && !(aligned(self.at) && aligned(length as u64) && place.align_offset(ALIGNMENT) == 0)
        {
            self.give_up()?;
        }
        let done = match transfer(self.file, self.at) {
            Err(error) if self.past_the_cache && error.kind() == io::ErrorKind::InvalidInput => {
                self.give_up()?;
                transfer(self.file, self.at)?
            }
            done => done?,
        };
        self.at += done as u64;
        Ok(done)
    }
}

impl Write for Direct<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.transfer(buffer.as_ptr(), buffer.len(), |file, at| file.write_at(buffer, at))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Direct<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.transfer(buffer.as_ptr(), buffer.len(), |file, at| file.read_at(buffer, at))
    }
}

impl Drop for Direct<'_> {
    fn drop(&mut self) {
        if self.past_the_cache {
            // Whoever comes next cannot read or write it in parts of sectors otherwise; it worked the other way round.
            let _ = self.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::{CHUNK, Chunk};

    fn flags(file: &File) -> OFlags {
        fcntl_getfl(file).unwrap() & OFlags::DIRECT
    }

    /// In the folder for results, on a disk, and in that of the system for temporary files, which may be in memory.
    fn files() -> [File; 2] {
        [
            tempfile::tempfile_in(kiln_harness::scratch::target_folder()).unwrap(),
            tempfile::tempfile().unwrap(),
        ]
    }

    #[test]
    fn whole_and_broken_chunks_are_written_and_read_back() {
        let bytes: Vec<u8> = (0..2 * CHUNK + 12_345).map(|n| ((n * 31) >> 7) as u8).collect();
        for file in files() {
            let mut writer = Direct::new(&file);
            for piece in bytes.chunks(CHUNK) {
                let mut chunk = Chunk::new();
                assert_eq!(chunk.fill(piece), piece.len());
                writer.write_all(chunk.bytes()).unwrap();
            }
            drop(writer);
            assert!(flags(&file).is_empty());
            assert_eq!(file.metadata().unwrap().len(), bytes.len() as u64);

            let (mut reader, mut back, mut chunk) = (Direct::new(&file), Vec::new(), Chunk::new());
            loop {
                chunk.resize(CHUNK);
                let got = reader.read(chunk.bytes_mut()).unwrap();
                back.extend_from_slice(&chunk.bytes()[..got]);
                if got == 0 {
                    break;
                }
            }
            assert!(back == bytes);
            drop(reader);
            assert!(flags(&file).is_empty());
        }
    }

    #[test]
    fn memory_and_lengths_of_all_kinds_do() {
        for file in files() {
            let mut chunk = Chunk::new();
            chunk.fill(&[5; 3 * ALIGNMENT]);
            let mut writer = Direct::new(&file);
            writer.write_all(&chunk.bytes()[..ALIGNMENT]).unwrap();
            writer.write_all(&chunk.bytes()[1..3]).unwrap();
            writer.write_all(&chunk.bytes()[..ALIGNMENT]).unwrap();
            drop(writer);
            let mut back = Vec::new();
            Direct::new(&file).read_to_end(&mut back).unwrap();
            assert_eq!(back, [5; 2 * ALIGNMENT + 2]);
        }
    }
}
