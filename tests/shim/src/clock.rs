//! What programs set their clock to: a file that the processes of a simulated machine share, over all its boots.
//!
//! Three 64-bit numbers, in nanoseconds: how much more the real-time clock shows than the host's, the point on
//! `CLOCK_MONOTONIC` from which `adjtime` has been adding to that, and how much it adds in all. c/time-of-day.c has the same.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// What the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// How far the clock was set ahead of the host's, in nanoseconds; negative if behind.
    pub offset: i64,
    /// What the last `adjtime` adds in all, in nanoseconds, a sixteenth of the time that passes; 0 if there was none since the
    /// clock was set.
    pub slew: i64,
}

/// Sets the clock of a machine: `offset` nanoseconds ahead of the host's.
///
/// # Errors
/// When the file cannot be written.
pub fn set(file: &Path, offset: i64) -> Result<()> {
    let bytes = [offset, 0, 0].map(i64::to_le_bytes).concat();
    fs::write(file, bytes).with_context(|| format!("{}: cannot set the clock", file.display()))
}

/// Reads what the clock was set to.
///
/// # Errors
/// When there is no such file, or it is of another size.
pub fn read(file: &Path) -> Result<Clock> {
    let bytes = fs::read(file).with_context(|| format!("{}: no clock", file.display()))?;
    let (numbers, rest) = bytes.as_chunks::<8>();
    ensure!(numbers.len() == 3 && rest.is_empty(), "{}: {} bytes of a clock", file.display(), bytes.len());
    Ok(Clock { offset: i64::from_le_bytes(numbers[0]), slew: i64::from_le_bytes(numbers[2]) })
}
