//! Expanding by several threads what a [`Writer`](crate::Writer) wrote, which knows where its members end.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use libdeflater::Decompressor;

use crate::error::{Error, ErrorKind};

/// How many members wait beyond those that threads work on.
const AHEAD: usize = 2;

/// The lengths of the members of a file that was written, and how many bytes they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    /// Compressed, in bytes, in order.
    pub(crate) lengths: Vec<u32>,
    /// The bytes of a member's input, of the last at most so many.
    pub(crate) size: usize,
}

impl Members {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.lengths.len() as u64
    }

    /// Runs `work` on a reader of what is in the members that `input` gives, which `threads` threads expand. Each of them has two
    /// buffers of a member, and a few more wait.
    ///
    /// The reader ends with an [`Error`] where a member is damaged, and where `input` goes on after the last one.
    pub fn expand<T>(
        &self,
        input: impl Read + Send,
        threads: NonZeroUsize,
        work: impl FnOnce(MembersReader) -> T,
    ) -> T {
        let (jobs_in, jobs) = sync_channel::<Job>(threads.get());
        let jobs = Mutex::new(jobs);
        // The order of the members, and the bound on how many there are at once.
        let (pending_in, pending) = sync_channel(threads.get() + AHEAD);
        let (spare_in, spare) = sync_channel(threads.get() + AHEAD);
        thread::scope(|scope| {
            for _ in 0..threads.get() {
                scope.spawn(|| expand(&jobs));
            }
            scope.spawn(move || self.feed(input, &jobs_in, &pending_in, &spare));
            // The threads end when the work drops its reader, at its end or at its first error.
            work(MembersReader { pending, spare: spare_in, member: Member::default(), at: 0, failed: false })
        })
    }

    /// Reads members and gives them to threads.
    fn feed(
        &self,
        mut input: impl Read,
        jobs: &SyncSender<Job>,
        pending: &SyncSender<Receiver<io::Result<Member>>>,
        spare: &Receiver<Member>,
    ) {
        let mut start = 0;
        for &length in &self.lengths {
            let mut member = spare.try_recv().unwrap_or_default();
            member.start = start;
            member.compressed.resize(length as usize, 0);
            member.expanded.resize(self.size, 0);
            let (result, receiver) = sync_channel(1);
            if pending.send(receiver).is_err() {
                return;
            }
            let read = input.read_exact(&mut member.compressed).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => Error::new(ErrorKind::Truncated, start).into(),
                _ => error,
            });
            if let Err(error) = read {
                // Whoever reads may be gone, and then nobody wants the error.
                let _ = result.send(Err(error));
                return;
            }
            start += u64::from(length);
            if jobs.send((member, result)).is_err() {
                return;
            }
        }
        let mut rest = [0];
        let more = loop {
            match input.read(&mut rest) {
                Ok(0) => return,
                Ok(_) => break Error::new(ErrorKind::BadData, start).into(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
        };
        let (result, receiver) = sync_channel(1);
        let _ = result.send(Err(more));
        let _ = pending.send(receiver);
    }
}

type Job = (Member, SyncSender<io::Result<Member>>);

/// A member and what is in it.
#[derive(Debug, Default)]
struct Member {
    /// Where it is in the file, in bytes.
    start: u64,
    compressed: Vec<u8>,
    expanded: Vec<u8>,
}

/// The life of a thread: expand members until there are no more to come.
fn expand(jobs: &Mutex<Receiver<Job>>) {
    let mut decompressor = Decompressor::new();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((mut member, result)) = job else { return };
        let expanded = decompressor.gzip_decompress(&member.compressed, &mut member.expanded);
        let done = match expanded {
            Ok(length) => {
                member.expanded.truncate(length);
                Ok(member)
            }
            Err(_) => Err(Error::new(ErrorKind::BadData, member.start).into()),
        };
        // Whoever reads may be gone.
        let _ = result.send(done);
    }
}

/// Reads what is in the members, in order.
#[derive(Debug)]
pub struct MembersReader {
    pending: Receiver<Receiver<io::Result<Member>>>,
    spare: SyncSender<Member>,
    member: Member,
    at: usize,
    failed: bool,
}

impl Read for MembersReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("the compressed input failed before"));
        }
        while self.at == self.member.expanded.len() {
            let Ok(next) = self.pending.recv() else { return Ok(0) };
            let next = next.recv().unwrap_or_else(|_| Err(io::Error::other("a thread ended unexpectedly")));
            let next = next.inspect_err(|_| self.failed = true)?;
            let used = std::mem::replace(&mut self.member, next);
            self.at = 0;
            // When there are spare ones enough, this one is not needed again.
            let _ = self.spare.try_send(used);
        }
        let length = buffer.len().min(self.member.expanded.len() - self.at);
        buffer[..length].copy_from_slice(&self.member.expanded[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
