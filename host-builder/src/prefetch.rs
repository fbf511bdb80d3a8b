//! Reads ahead on a thread of its own, so that inflating and unpacking share two processors.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::chunk::{CHUNK, Chunk};

/// Chunks on their way, which bounds the memory to a few MiB.
const CHUNKS: usize = 4;

/// The reading end of a read-ahead thread.
#[derive(Debug)]
pub struct Prefetch {
    full: Receiver<io::Result<Chunk>>,
    empty: SyncSender<Chunk>,
    chunk: Chunk,
    at: usize,
}

impl Prefetch {
    /// Runs `work` on a reader that another thread keeps filled from `source`.
    pub fn over<T>(source: impl Read + Send, work: impl FnOnce(Prefetch) -> T) -> T {
        let (full_in, full) = sync_channel(CHUNKS);
        let (empty, empty_out) = sync_channel(CHUNKS);
        std::thread::scope(|scope| {
            scope.spawn(move || fill(source, &full_in, &empty_out));
            // The thread ends when the work drops its reader, at its end or at its first error.
            work(Prefetch { full, empty, chunk: Chunk::new(), at: 0 })
        })
    }
}

fn fill(mut source: impl Read, full: &SyncSender<io::Result<Chunk>>, empty: &Receiver<Chunk>) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_else(|_| Chunk::new());
        chunk.resize(CHUNK);
        let mut filled = 0;
        let end = loop {
            match source.read(&mut chunk.bytes_mut()[filled..]) {
                Ok(0) => break Some(None),
                Ok(got) => filled += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(Some(error)),
            }
            if filled == CHUNK {
                break None;
            }
        };
        chunk.resize(filled);
        if full.send(Ok(chunk)).is_err() {
            return;
        }
        if let Some(error) = end {
            if let Some(error) = error {
                // The reader may be gone by now, and then nobody wants the error.
                let _ = full.send(Err(error));
            }
            return;
        }
    }
}

impl Read for Prefetch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.bytes().len() {
            let next = match self.full.recv() {
                Ok(next) => next?,
                Err(_) => return Ok(0),
            };
            let used = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            // A full queue of empty chunks only means that this one is not needed again.
            let _ = self.empty.try_send(used);
        }
        let length = buffer.len().min(self.chunk.bytes().len() - self.at);
        buffer[..length].copy_from_slice(&self.chunk.bytes()[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(usize);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("broken"));
            }
            let length = buffer.len().min(self.0);
            buffer[..length].fill(7);
            self.0 -= length;
            Ok(length)
        }
    }

    #[test]
    fn everything_arrives_in_order() {
        let source: Vec<u8> = (0..5 * CHUNK + 123).map(|n| ((n * 31) >> 7) as u8).collect();
        let mut copy = Vec::new();
        Prefetch::over(&source[..], |mut reader| reader.read_to_end(&mut copy)).unwrap();
        assert!(copy == source);
    }

    #[test]
    fn an_error_comes_after_the_bytes_before_it() {
        let mut copy = Vec::new();
        let error =
            Prefetch::over(Failing(CHUNK + 5), |mut reader| reader.read_to_end(&mut copy)).unwrap_err();
        assert_eq!((copy.len(), error.to_string().as_str()), (CHUNK + 5, "broken"));
    }

    #[test]
    fn work_that_stops_early_stops_the_thread() {
        let first = Prefetch::over(io::repeat(9), |mut reader| {
            let mut byte = [0];
            reader.read_exact(&mut byte).map(|()| byte[0])
        });
        assert_eq!(first.unwrap(), 9);
    }
}
