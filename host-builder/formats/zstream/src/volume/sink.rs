//! Where the contents of a volume go.

use std::io;

use positioned_io::{ReadAt, WriteAt};

use crate::zero::is_zero;

/// How much is looked at at once to find out whether there is something to clear, in bytes.
const CLEAR_STEP: u64 = 64 << 10;

/// A disk that volumes are extracted to. What was never written reads as zero.
///
/// Everything with positioned reads and writes is one: a file, a `Vec<u8>`. A type of its own can do better at
/// clearing, for instance by punching holes.
pub trait VolumeSink {
    /// Writes `data` at `offset`, in bytes.
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes a range read as zero, leaving holes where nothing was written.
    fn clear(&mut self, offset: u64, length: u64) -> io::Result<()>;

    /// Reads exactly `data` at `offset`.
    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()>;
}

impl<D: ReadAt + WriteAt> VolumeSink for D {
    fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(offset, data)
    }

    fn clear(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let mut buffer = vec![0; length.min(CLEAR_STEP) as usize];
        let (mut at, end) = (offset, offset.saturating_add(length));
        while at < end {
            let step = (end - at).min(CLEAR_STEP) as usize;
            let got = read_some(self, at, &mut buffer[..step])?;
            // Behind the end of the disk everything is zero.
            if got == 0 {
                break;
            }
            if !is_zero(&buffer[..got]) {
                buffer[..got].fill(0);
                self.write_all_at(at, &buffer[..got])?;
            }
            at += got as u64;
        }
        Ok(())
    }

    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < data.len() {
            match read_some(self, offset + done as u64, &mut data[done..])? {
                0 => {
                    data[done..].fill(0);
                    break;
                }
                got => done += got,
            }
        }
        Ok(())
    }
}

fn read_some(disk: &impl ReadAt, offset: u64, data: &mut [u8]) -> io::Result<usize> {
    loop {
        match disk.read_at(offset, data) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
