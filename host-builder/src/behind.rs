//! Writes on a thread of its own, as [`Prefetch`](crate::prefetch::Prefetch) reads: who makes the bytes of an image waits neither for
//! the disk nor for a digest.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::ScopedJoinHandle;

use crate::chunk::Chunk;

/// Chunks on their way from one thread to the next, which bounds the memory to a few MiB.
const CHUNKS: usize = 4;

/// The writing end of a thread that writes.
#[derive(Debug)]
pub struct Behind {
    full: SyncSender<Chunk>,
    empty: Receiver<Chunk>,
    /// None yet if nothing was written since the last went.
    chunk: Option<Chunk>,
}

impl Behind {
    /// Runs `work` on a writer whose bytes another thread writes to `sink`, and gives what the work gives and the sink.
    ///
    /// When the sink fails, its error is in its place, and the work saw an error at one of its next writes, or did not come to one.
    pub fn over<W: Write + Send, T>(sink: W, work: impl FnOnce(&mut Behind) -> T) -> (T, io::Result<W>) {
        let (full, full_out) = sync_channel(CHUNKS);
        let (empty_in, empty) = sync_channel(CHUNKS);
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || drain(sink, &full_out, reuse(empty_in)));
            let done = Behind { full, empty, chunk: None }.run(work);
            (done, joined(thread))
        })
    }

    /// Like [`over`](Behind::over), with two sinks that get everything, each by a thread of its own: the second after the first.
    ///
    /// When the second fails, the first may fail as well, with an error that says no more than that, and when the first fails, the second
    /// has no more than what came before. So the error of the second is to be looked at before that of the first, and that of the work
    /// last.
    pub fn over_both<A: Write + Send, B: Write + Send, T>(
        first: A,
        second: B,
        work: impl FnOnce(&mut Behind) -> T,
    ) -> (T, io::Result<A>, io::Result<B>) {
        let (full, full_out) = sync_channel(CHUNKS);
        let (passed_in, passed) = sync_channel(CHUNKS);
        let (empty_in, empty) = sync_channel(CHUNKS);
        std::thread::scope(|scope| {
            let first = scope.spawn(move || drain(first, &full_out, |chunk| pass(&passed_in, chunk)));
            let second = scope.spawn(move || drain(second, &passed, reuse(empty_in)));
            let done = Behind { full, empty, chunk: None }.run(work);
            (done, joined(first), joined(second))
        })
    }

    fn run<T>(mut self, work: impl FnOnce(&mut Behind) -> T) -> T {
        let done = work(&mut self);
        // A failure means that the thread has ended, and then its error is given.
        let _ = self.flush();
        done
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.chunk.take().map_or(Ok(()), |full| pass(&self.full, full))
    }
}

/// Writes all chunks that come to a sink, and gives them on then.
fn drain<W: Write>(
    mut sink: W,
    full: &Receiver<Chunk>,
    mut on: impl FnMut(Chunk) -> io::Result<()>,
) -> io::Result<W> {
    while let Ok(chunk) = full.recv() {
        sink.write_all(chunk.bytes())?;
        on(chunk)?;
    }
    sink.flush()?;
    Ok(sink)
}

/// Gives a chunk to the thread that is to have it.
fn pass(to: &SyncSender<Chunk>, chunk: Chunk) -> io::Result<()> {
    to.send(chunk).map_err(|_| io::Error::other("what was written before did not go through"))
}

/// Gives chunks back to who fills them.
fn reuse(empty: SyncSender<Chunk>) -> impl FnMut(Chunk) -> io::Result<()> {
    move |chunk| {
        // A full queue of empty chunks only means that this one is not needed again.
        let _ = empty.try_send(chunk);
        Ok(())
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Write for Behind {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let empty = &self.empty;
        let chunk = self.chunk.get_or_insert_with(|| match empty.try_recv() {
            Ok(mut used) => {
                used.clear();
                used
            }
            Err(_) => Chunk::new(),
        });
        let taken = chunk.fill(buffer);
        if taken > 0 || buffer.is_empty() {
            return Ok(taken);
        }
        self.pass_on()?;
        self.write(buffer)
    }

    /// Hands on what is left; it may not be written yet.
    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

/// Writes everything to two writers.
#[derive(Debug)]
pub struct Both<A, B>(pub A, pub B);

impl<A: Write, B: Write> Write for Both<A, B> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write_all(buffer)?;
        self.1.write_all(buffer)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        self.1.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::CHUNK;

    /// Takes so many bytes and no more.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(buffer.len()).ok_or_else(|| io::Error::other("it is full"))?;
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_arrives_in_order_at_both() {
        let bytes: Vec<u8> = (0..9 * CHUNK + 123).map(|n| ((n * 31) >> 7) as u8).collect();
        let mut near = Vec::new();
        let (done, far) = Behind::over(Vec::new(), |behind| {
            let mut both = Both(behind, &mut near);
            bytes.chunks(100_001).try_for_each(|piece| both.write_all(piece))
        });
        done.unwrap();
        assert!(far.unwrap() == bytes);
        assert!(near == bytes);
    }

    #[test]
    fn everything_arrives_in_order_at_two_threads() {
        let bytes: Vec<u8> = (0..9 * CHUNK + 123).map(|n| ((n * 31) >> 7) as u8).collect();
        let (done, first, second) = Behind::over_both(Vec::new(), Vec::new(), |behind| {
            bytes.chunks(100_001).try_for_each(|piece| behind.write_all(piece))
        });
        done.unwrap();
        assert!(first.unwrap() == bytes);
        assert!(second.unwrap() == bytes);
    }

    #[test]
    fn an_error_of_either_of_two_ends_the_work_and_is_given() {
        let endless = |behind: &mut Behind| io::copy(&mut io::repeat(9), behind);
        let (done, first, second) = Behind::over_both(Full(3 * CHUNK), Full(usize::MAX), endless);
        assert!(done.is_err());
        assert_eq!(first.err().unwrap().to_string(), "it is full");
        // It has what came before.
        assert_eq!(usize::MAX - second.unwrap().0, 3 * CHUNK);
        let (done, first, second) = Behind::over_both(Full(usize::MAX), Full(3 * CHUNK), endless);
        assert!(done.is_err() && first.is_err());
        assert_eq!(second.err().unwrap().to_string(), "it is full");
    }

    #[test]
    fn an_error_ends_the_work_and_is_given() {
        let (done, sink) = Behind::over(Full(3 * CHUNK), |behind| io::copy(&mut io::repeat(9), behind));
        assert!(done.is_err());
        assert_eq!(sink.err().unwrap().to_string(), "it is full");
    }

    #[test]
    fn an_error_at_the_end_is_given() {
        let (done, sink) = Behind::over(Full(4), |behind| behind.write_all(b"12345"));
        assert!(done.is_ok());
        assert_eq!(sink.err().unwrap().to_string(), "it is full");
    }
}
