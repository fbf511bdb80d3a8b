//! `devfsadm`: the names of devices below /dev.

use anyhow::Result;

use super::{Commands, Invocation};

/// Makes the names of all disks. It returns when they are there, on every platform; nothing else has to run for it
/// (smartos-live OS-2316).
pub fn name_disks(commands: &mut dyn Commands) -> Result<()> {
    commands.text(&Invocation::changes("/usr/sbin/devfsadm", ["-c", "disk"])).map(drop)
}
