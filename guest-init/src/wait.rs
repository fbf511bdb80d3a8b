//! Waiting for descriptors.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, Timespec, poll};

/// Waits until one of the descriptors is ready, but no longer than this; how many are. A signal can end the wait early, and
/// then none is, so callers look at their clock themselves.
///
/// # Errors
/// When the system refuses to wait.
pub fn until_ready(descriptors: &mut [PollFd<'_>], longest: Duration) -> io::Result<usize> {
    let longest = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: i64::from(longest.subsec_nanos()) };
    match poll(descriptors, Some(&longest)) {
        Err(rustix::io::Errno::INTR) => Ok(0),
        result => Ok(result?),
    }
}
