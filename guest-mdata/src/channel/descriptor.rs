//! Reading and writing at once on a descriptor that does not block.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Exchanged;

/// No wait is longer than this, since `poll` takes no more than 2^31 ms. Whoever waits asks again.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// How long to wait on a terminal that says it can be read and then gives nothing. It can happen while another
/// program has set it so that reads return at once.
const EMPTY_READ_PAUSE: Duration = Duration::from_millis(10);

/// What a read of no bytes means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyRead {
    /// The other side closed the connection.
    End,
    /// Nothing has come yet, as on a terminal, unless it has also hung up.
    NothingYet,
}

/// [`super::Link::exchange`] for a descriptor.
pub fn exchange(
    descriptor: impl AsFd,
    empty: EmptyRead,
    output: &[u8],
    input: &mut [u8],
    wait: Duration,
) -> io::Result<Exchanged> {
    let mut wanted = PollFlags::IN;
    wanted.set(PollFlags::OUT, !output.is_empty());
    let Some(events) = wait_for(&descriptor, wanted, wait)? else { return Ok(Exchanged::default()) };
    if events.contains(PollFlags::NVAL) {
        return Err(Errno::BADF.into());
    }
    let mut done = Exchanged::default();
    let mut broken = None;
    if events.contains(PollFlags::OUT) {
        match rustix::io::write(&descriptor, output) {
            Ok(written) => done.written = written,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => broken = Some(error),
        }
    }
    // What had come before a hang-up is read first: a host may answer and close at once, and poll then tells both.
    if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
        match rustix::io::read(&descriptor, &mut *input) {
            Ok(0) if empty == EmptyRead::End || events.contains(PollFlags::HUP) => done.closed = true,
            Ok(0) => {
                wait_for(&descriptor, PollFlags::empty(), wait.min(EMPTY_READ_PAUSE))?;
            }
            Ok(read) => done.read = read,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => done.closed = events.contains(PollFlags::HUP),
            // A terminal that hung up.
            Err(Errno::IO) if empty == EmptyRead::NothingYet => done.closed = true,
            Err(error) => broken = broken.or(Some(error)),
        }
    }
    match broken {
        Some(error) if done.read == 0 => Err(error.into()),
        _ => Ok(done),
    }
}

/// What the descriptor is ready for within `wait`, if anything.
fn wait_for(descriptor: impl AsFd, wanted: PollFlags, wait: Duration) -> io::Result<Option<PollFlags>> {
    let wait = Timespec::try_from(wait.min(LONGEST_WAIT)).expect("an hour fits");
    let mut polled = [PollFd::new(&descriptor, wanted)];
    match poll(&mut polled, Some(&wait)) {
        Ok(0) | Err(Errno::INTR) => Ok(None),
        Ok(_) => Ok(Some(polled[0].revents())),
        Err(error) => Err(error.into()),
    }
}
