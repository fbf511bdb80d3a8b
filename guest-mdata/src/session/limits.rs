//! How long to wait for what, and how much to hold.

use std::time::Duration;

/// The limits of a session. Those in time are for one message; the deadline over all of them comes with each request.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For the answer to a ping. 2 s as in the original client.
    pub ping: Duration,
    /// For the answer to the question for the version. 6 s as in the original client.
    pub negotiate: Duration,
    /// For an answer of version 2 without progress. 45 s as in the original client, since a PUT waits for an update of
    /// the virtual machine.
    pub answer_v2: Duration,
    /// For an answer of version 1 without progress. 6 s as in the original client.
    pub answer_v1: Duration,
    /// The slowest line that is worth waiting for, in bytes a second: an exchange may take this much longer than its
    /// limit without progress. 500 is half of 9600 baud.
    pub slowest: u32,
    /// How long the line is silent before it counts as quiet. 100 ms as in the original client.
    pub quiet: Duration,
    /// For the line to get quiet when it is opened: what a killed predecessor asked for may still be coming.
    pub flush: Duration,
    /// How many bytes of that are thrown away before the channel is opened anew.
    pub flush_bytes: usize,
    /// After the answer to a ping, for the line to get quiet.
    pub settle: Duration,
    /// From a stray `FAILURE` in version 2, which is what a host says to a frame if it has come back as one of
    /// version 1, to asking anew.
    pub lost: Duration,
    /// The pause before a channel is opened again, at first; it doubles each time.
    pub pause: Duration,
    /// The longest such pause.
    pub longest_pause: Duration,
    /// The pause before a lock that another process holds is tried again.
    pub lock_retry: Duration,
    /// The largest value in bytes. No side of the protocol has a limit of its own.
    pub value: usize,
    /// From the beginning of a request that meets trouble to the first notice.
    pub first_notice: Duration,
    /// Between notices.
    pub notice_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(2),
            negotiate: Duration::from_secs(6),
            answer_v2: Duration::from_secs(45),
            answer_v1: Duration::from_secs(6),
            slowest: 500,
            quiet: Duration::from_millis(100),
            flush: Duration::from_secs(10),
            flush_bytes: 64 << 20,
            settle: Duration::from_secs(2),
            lost: Duration::from_secs(2),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(5),
            lock_retry: Duration::from_millis(100),
            value: 16 << 20,
            first_notice: Duration::from_secs(5),
            notice_interval: Duration::from_mins(1),
        }
    }
}
