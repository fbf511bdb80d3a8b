//! `swap`: space for what does not fit into memory.

use anyhow::{Result, bail};

use super::{Commands, Invocation};

/// Starts to use a device. One that is used already is no error.
pub fn add(commands: &mut dyn Commands, device: &str) -> Result<()> {
    let invocation = Invocation::changes("/usr/sbin/swap", ["-a", device]);
    let output = commands.run(&invocation)?;
    // usr/src/cmd/swap/swap.c: what `swapctl` refuses with EEXIST.
    if output.status != 0 && !output.complaint().contains("Overlapping swap files are not allowed") {
        bail!("{invocation} ended with status {}: {}", output.status, output.complaint());
    }
    Ok(())
}
