//! The output of a process, read as it comes.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags};

use crate::wait;

/// One output of a process.
#[derive(Debug)]
pub struct Pipe<R> {
    source: Option<R>,
    /// What came so far.
    pub bytes: Vec<u8>,
}

impl<R: Read + AsFd> Pipe<R> {
    /// Reads from `source`, if there is one.
    pub fn new(source: Option<R>) -> Self {
        Self { source, bytes: Vec::new() }
    }

    /// Whether nothing more can come.
    pub fn is_closed(&self) -> bool {
        self.source.is_none()
    }

    /// Reads what is there, without waiting, until there are more than `limit` bytes.
    pub fn read_ready(&mut self, limit: usize) -> Result<()> {
        let mut buffer = [0; 16 << 10];
        while let Some(source) = &mut self.source
            && self.bytes.len() <= limit
            && is_ready(&mut [PollFd::new(source, PollFlags::IN)], Duration::ZERO)?
        {
            match source.read(&mut buffer) {
                Ok(0) => self.source = None,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read its output"),
            }
        }
        Ok(())
    }

    /// Waits until there is something to read from one of the two, but no longer than this.
    pub fn wait_for<S: Read + AsFd>(&self, other: &Pipe<S>, longest: Duration) -> Result<()> {
        let mut descriptors = Vec::with_capacity(2);
        descriptors.extend(self.source.as_ref().map(|source| PollFd::new(source, PollFlags::IN)));
        descriptors.extend(other.source.as_ref().map(|source| PollFd::new(source, PollFlags::IN)));
        is_ready(&mut descriptors, longest).map(drop)
    }
}

fn is_ready(descriptors: &mut [PollFd<'_>], longest: Duration) -> Result<bool> {
    let ready = wait::until_ready(descriptors, longest).context("cannot wait for its output")?;
    Ok(ready > 0)
}
