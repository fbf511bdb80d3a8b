//! A thread that writes to a pipe and ends when nobody reads, even if that is because the process ends.
//!
//! The kernel may sleep for ever in a send to a full pipe: a process that is about to end waits for its threads, its table of
//! descriptors goes with the last of them, and so the end that is read from stays open in the table which the sleeping
//! thread itself keeps alive. OpenZFS 2.1 does not always notice the signal that ends the thread either. With a table of its own,
//! in which there is no end to read from, the thread sees the pipe break as another program would. Everything else stays open
//! in that table, a [`crate::Lease`] above all, until the thread has ended.

use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::mpsc;
use std::thread::JoinHandle;

/// Runs `work` on a thread with the end of a pipe that is written to, and gives the other end. That one comes to its end when
/// the thread does.
///
/// # Errors
/// The system gives no pipe, thread or table.
pub(crate) fn apart<T: Send + 'static>(
    work: impl FnOnce(BorrowedFd<'_>) -> T + Send + 'static,
) -> io::Result<(PipeReader, JoinHandle<Option<T>>)> {
    let (reader, writer) = io::pipe()?;
    let (read_end, write_end) = (reader.as_raw_fd(), writer.as_raw_fd());
    let (say, parted) = mpsc::channel();
    let thread = std::thread::Builder::new().spawn(move || {
        let done = part(read_end);
        let good = done.is_ok();
        // Whoever listens does so until it is said.
        let _ = say.send(done);
        // SAFETY: the number stands for the end to write to in this thread's table, where nothing closes it.
        good.then(|| work(unsafe { BorrowedFd::borrow_raw(write_end) }))
        // The table goes with the thread, and with it that end.
    })?;
    parted.recv().map_err(io::Error::other)??;
    // That of the other threads' table, where it would keep the pipe open.
    drop(writer);
    Ok((reader, thread))
}

/// Gives the calling thread a table of descriptors of its own, a copy without `closed`.
fn part(closed: RawFd) -> io::Result<()> {
    // SAFETY: what else the thread holds is open in its copy under the same numbers.
    if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no value of this thread owns the descriptor; its owner is another thread, whose table stays as it is.
    if unsafe { libc::close(closed) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    /// A file of the thread's own for what it may write to.
    fn file(end: BorrowedFd<'_>) -> File {
        File::from(end.try_clone_to_owned().unwrap())
    }

    #[test]
    fn what_the_thread_writes_is_read_to_its_end() {
        let (mut reader, thread) = apart(|end| file(end).write_all(&vec![7; 1 << 20]).is_ok()).unwrap();
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert_eq!(thread.join().unwrap(), Some(true));
        assert_eq!(read, vec![7; 1 << 20]);
    }

    #[test]
    fn the_pipe_breaks_when_nobody_reads() {
        let (reader, thread) = apart(|end| {
            let mut pipe = file(end);
            loop {
                if let Err(error) = pipe.write_all(&[0; 4096]) {
                    return error.kind();
                }
            }
        })
        .unwrap();
        drop(reader);
        assert_eq!(thread.join().unwrap(), Some(io::ErrorKind::BrokenPipe));
    }
}
