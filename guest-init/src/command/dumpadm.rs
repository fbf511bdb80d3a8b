//! `dumpadm`: where the kernel writes what it knew when it panics.

use anyhow::Result;

use super::{Commands, Invocation};

/// Dumps go to this device, and are kept after the next boot.
pub fn use_device(commands: &mut dyn Commands, device: &str) -> Result<()> {
    commands.text(&Invocation::changes("/usr/sbin/dumpadm", ["-y", "-d", device])).map(drop)
}
