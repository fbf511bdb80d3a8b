//! Temporary files for what has to be expanded before it can be read anywhere, with holes where zeros are.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kiln_zstream::zero::is_zero;

use crate::report::Hint;

/// Granularity of holes in bytes: the block size of every common file system.
const HOLE: usize = 4096;

/// Where temporary files go.
#[derive(Clone, Debug)]
pub struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Temporary files in the folder of `image`, where there is room for images, or else where the system keeps such
    /// files.
    pub fn beside(image: &Path) -> Scratch {
        let folder = match image.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Scratch { folder: folder.to_owned() }
    }

    /// Temporary files where the system keeps such files (`TMPDIR`).
    pub fn of_the_system() -> Scratch {
        Scratch { folder: std::env::temp_dir() }
    }

    /// A new file without a name, gone when it is closed.
    ///
    /// # Errors
    /// Neither folder can be written to.
    pub fn file(&self) -> Result<File> {
        tempfile::tempfile_in(&self.folder)
            .or_else(|_| tempfile::tempfile())
            .with_context(|| {
                let system = std::env::temp_dir();
                format!("cannot make a temporary file in {} or {}", self.folder.display(), system.display())
            })
            .hint("set TMPDIR to a folder that you may write to and that has room for the expanded image")
    }
}

/// Writes to a file, leaving out what is zero. Meant for files that are empty before.
#[derive(Debug)]
pub struct SparseFile<'a> {
    file: &'a File,
    /// Where the next sequential write goes, in bytes.
    at: u64,
}

impl<'a> SparseFile<'a> {
    /// A writer at the beginning of `file`, which has to be empty.
    pub fn new(file: &'a File) -> SparseFile<'a> {
        SparseFile { file, at: 0 }
    }

    /// Copies everything and gives the file its size, which it returns. Each buffer is shown to `progress`.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn fill(mut self, mut from: impl Read, mut progress: impl FnMut(usize)) -> io::Result<u64> {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let got = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.write_all(&buffer[..got])?;
            progress(got);
        }
        self.file.set_len(self.at)?;
        Ok(self.at)
    }

    fn put(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // Up to the next boundary first, so that whole file system blocks are judged.
            let length = (HOLE - (offset % HOLE as u64) as usize).min(bytes.len());
            if is_zero(&bytes[..length]) {
                bytes = &bytes[length..];
                offset += length as u64;
                continue;
            }
            let mut run = length;
            while run < bytes.len() && !is_zero(&bytes[run..bytes.len().min(run + HOLE)]) {
                run = bytes.len().min(run + HOLE);
            }
            self.file.write_all_at(&bytes[..run], offset)?;
            bytes = &bytes[run..];
            offset += run as u64;
        }
        Ok(())
    }
}

impl Write for SparseFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn zeros_become_holes_and_everything_reads_back() {
        let mut data = vec![0_u8; 3 << 20];
        data[5000] = 1;
        data[(2 << 20) + 4095] = 2;
        for (index, byte) in data[100_000..300_000].iter_mut().enumerate() {
            *byte = (index % 251) as u8;
        }
        let file = tempfile::tempfile().unwrap();
        let size = SparseFile::new(&file).fill(&data[..], |_| {}).unwrap();
        assert_eq!(size, data.len() as u64);
        let mut back = vec![0; data.len()];
        file.read_exact_at(&mut back, 0).unwrap();
        assert!(back == data);
        assert!(file.metadata().unwrap().blocks() * 512 < 400_000, "the zeros took room");
    }
}
