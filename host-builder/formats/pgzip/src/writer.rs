//! Compression: one thread cuts and writes, others deflate.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use libdeflater::{CompressionLvl, Compressor};

use crate::members::Members;

/// Members beyond one per thread that may be under way. They keep the threads busy while the caller is not writing.
const AHEAD: usize = 4;

/// How to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// 1 (fast) to 12 (small). At 6 libdeflate makes less than `gzip -9` does, in a tenth of its time.
    pub level: u8,
    /// Threads that compress, beside the caller's, which writes. The output is the same for any number.
    pub threads: NonZeroUsize,
    /// Bytes of input a member holds: 1 to 2^30. Smaller ones compress worse, larger ones take memory.
    pub member_size: usize,
}

/// Level 6, one thread, members of 1 MiB.
impl Default for Options {
    fn default() -> Self {
        Self { level: 6, threads: NonZeroUsize::MIN, member_size: 1 << 20 }
    }
}

/// What a finished file amounts to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes that were compressed.
    pub bytes_in: u64,
    /// Bytes of the gzip file.
    pub bytes_out: u64,
    /// Members of the gzip file.
    pub members: Members,
}

/// Compresses what is written to it and passes that on to `output`, in order and on the thread that writes.
///
/// At most `threads + 4` members are under way, each with two buffers that are used again. Call
/// [`finish`](Self::finish): a writer that is dropped stops its threads and leaves the output incomplete.
///
/// [`flush`](Write::flush) passes on every whole member. It does not cut one short, since then the output would depend
/// on when it is called.
#[derive(Debug)]
pub struct Writer<W: Write> {
    /// `None` only after `finish` took it.
    output: Option<W>,
    member_size: usize,
    /// Members that may be under way.
    depth: usize,
    /// The member being filled.
    filling: Member,
    /// Buffers to be used again.
    spare: Vec<Member>,
    /// Members under way, in order, each with the channel its result comes by.
    pending: VecDeque<Receiver<Member>>,
    workers: Workers,
    totals: Totals,
}

/// A member and its compressed form.
#[derive(Debug, Default)]
struct Member {
    input: Vec<u8>,
    /// Room for the compressed form; it is never shortened, so that using it again costs no clearing.
    output: Vec<u8>,
    /// How much of `output` is the compressed form.
    length: usize,
}

/// A member to compress and the channel that waits for it. When a thread dies the channel closes, so nobody waits for
/// ever.
type Job = (Member, SyncSender<Member>);

#[derive(Debug)]
struct Workers {
    /// `None` only while the threads are told to end.
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Set when nobody wants the results any more.
    abandoned: Arc<AtomicBool>,
}

impl<W: Write> Writer<W> {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when an option is out of its range; the system's error when it has no more
    /// threads.
    pub fn new(output: W, options: Options) -> io::Result<Self> {
        let level = match CompressionLvl::new(i32::from(options.level)) {
            Ok(level) if options.level >= 1 => level,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("there is no compression level {}, only 1 to 12", options.level),
                ));
            }
        };
        if !(1..=1 << 30).contains(&options.member_size) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a gzip member holds 1 to 2^30 bytes, not {}", options.member_size),
            ));
        }
        let threads = options.threads.get();
        Ok(Self {
            output: Some(output),
            member_size: options.member_size,
            depth: threads.saturating_add(AHEAD),
            filling: Member::default(),
            spare: Vec::new(),
            pending: VecDeque::new(),
            workers: Workers::start(threads, level)?,
            totals: Totals {
                members: Members { size: options.member_size, ..Members::default() },
                ..Totals::default()
            },
        })
    }

    /// Compresses what is left, writes everything and flushes the output. No input at all makes one empty member.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<(W, Totals)> {
        if !self.filling.input.is_empty() || self.totals.bytes_in == 0 {
            self.dispatch()?;
        }
        self.flush()?;
        let output =
            self.output.take().expect("only this function takes the output, and it takes the writer");
        Ok((output, self.totals))
    }

    /// Hands the member that was filled to the threads, waiting for the oldest one first when too many are under way.
    fn dispatch(&mut self) -> io::Result<()> {
        if self.pending.len() == self.depth {
            self.collect()?;
        }
        let next = self.spare.pop().unwrap_or_default();
        let member = std::mem::replace(&mut self.filling, next);
        let (result, receiver) = mpsc::sync_channel(1);
        // A failure to send shows when the result is waited for: its channel is closed then.
        if let Some(jobs) = &self.workers.jobs {
            let _ = jobs.send((member, result));
        }
        self.pending.push_back(receiver);
        Ok(())
    }

    /// Waits for the oldest member and writes it.
    fn collect(&mut self) -> io::Result<()> {
        let Some(receiver) = self.pending.pop_front() else { return Ok(()) };
        let mut member =
            receiver.recv().map_err(|_| io::Error::other("a compression thread ended unexpectedly"))?;
        if let Some(output) = &mut self.output {
            output.write_all(&member.output[..member.length])?;
        }
        self.totals.bytes_out += member.length as u64;
        let length = u32::try_from(member.length);
        self.totals.members.lengths.push(length.expect("2^30 bytes never become 2^32"));
        member.input.clear();
        self.spare.push(member);
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.filling.input.len() == self.member_size {
            self.dispatch()?;
        }
        let input = &mut self.filling.input;
        if input.capacity() == 0 && !data.is_empty() {
            input.reserve_exact(self.member_size);
        }
        let taken = data.len().min(self.member_size - input.len());
        input.extend_from_slice(&data[..taken]);
        self.totals.bytes_in += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.filling.input.len() == self.member_size {
            self.dispatch()?;
        }
        while !self.pending.is_empty() {
            self.collect()?;
        }
        match &mut self.output {
            Some(output) => output.flush(),
            None => Ok(()),
        }
    }
}

impl Workers {
    fn start(threads: usize, level: CompressionLvl) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut workers =
            Self { jobs: Some(sender), threads: Vec::new(), abandoned: Arc::new(AtomicBool::new(false)) };
        for _ in 0..threads {
            let (receiver, abandoned) = (Arc::clone(&receiver), Arc::clone(&workers.abandoned));
            let thread = thread::Builder::new()
                .name("gzip".into())
                .spawn(move || work(&receiver, &abandoned, level))?;
            workers.threads.push(thread);
        }
        Ok(workers)
    }
}

/// Closing the channel ends the threads once they have emptied it, which the flag makes quick.
impl Drop for Workers {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked was reported when its member was waited for, or nobody wants to know.
            let _ = thread.join();
        }
    }
}

/// The life of a thread: compress members until there are no more to come.
fn work(jobs: &Mutex<Receiver<Job>>, abandoned: &AtomicBool, level: CompressionLvl) {
    let mut compressor = Compressor::new(level);
    loop {
        // The lock is held while waiting and released with the statement, before the work begins.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((mut member, result)) = job else { return };
        if abandoned.load(Ordering::Relaxed) {
            continue;
        }
        // libdeflate writes the header without name, time and system: 1f 8b 08 00, four zeros, the level's class, 255.
        let bound = compressor.gzip_compress_bound(member.input.len());
        if member.output.len() < bound {
            member.output.resize(bound, 0);
        }
        member.length = compressor
            .gzip_compress(&member.input, &mut member.output)
            .expect("the output has the length libdeflate said is enough");
        // Nobody waits any more when the writer was dropped.
        let _ = result.send(member);
    }
}
