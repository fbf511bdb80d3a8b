//! The ways to the host: a serial port, a Unix socket, a TCP connection.

mod descriptor;
mod device;
mod serial;
mod socket;

pub use device::{Device, Guest, UnknownDevice, UnknownGuest, ZONE_SOCKETS};
pub use serial::Serial;
pub use socket::{Tcp, Unix};

use std::io;
use std::time::Duration;

use crate::error::Unusable;

/// A way to the host that can be opened, and opened again after a failure.
pub trait Channel {
    /// What to call it: the device's path, `unix:PATH` or `tcp:ADDRESS`.
    fn name(&self) -> String;

    /// Whether the line is shared with others, now and in the past, so that what is read first may be meant for
    /// somebody else.
    fn is_shared(&self) -> bool;

    /// Tries once to open it, without waiting. The link before must have been dropped.
    fn open(&mut self) -> Result<Box<dyn Link>, OpenError>;
}

/// Why a channel could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Not now: it is worth another try later.
    Later(io::Error),
    /// Another process has it; its id, if the system told.
    Held(Option<i32>),
    /// Not at all.
    Never(Unusable),
}

/// An open channel.
pub trait Link {
    /// Writes the beginning of `output`, as much as can be, and reads into `input` what is there, after waiting at
    /// most `wait` until one of the two can be done. `Ok` with nothing done means that it could not.
    ///
    /// # Errors
    /// The link is broken. What had come before it broke has been delivered.
    fn exchange(&mut self, output: &[u8], input: &mut [u8], wait: Duration) -> io::Result<Exchanged>;
}

/// What [`Link::exchange`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Bytes of the output that were written.
    pub written: usize,
    /// Bytes of the input that were read.
    pub read: usize,
    /// The other side is gone, and everything it had sent has been read.
    pub closed: bool,
}
