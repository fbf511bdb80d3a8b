//! Reads whose failures name what was being read.

use positioned_io::ReadAt;

use crate::error::{Error, Result};

/// The device under the file system. Every offset read is below the end of the file system, which was compared with
/// the device's length, so a short read is a failure of the device.
pub(super) struct Device<'a, D> {
    device: &'a D,
}

impl<'a, D: ReadAt> Device<'a, D> {
    pub(super) fn new(device: &'a D) -> Self {
        Self { device }
    }

    /// Fills `buffer` from byte `offset`; `what` names the structure there.
    pub(super) fn read(&self, what: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.device.read_exact_at(offset, buffer).map_err(|source| Error::device(what, offset, source))
    }
}
