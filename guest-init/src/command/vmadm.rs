//! `vmadm`: the zones of this machine (smartos-live, `src/vm/man/vmadm.8.md`).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Commands, Invocation};

const PROGRAM: &str = "/usr/sbin/vmadm";

/// The zones, each with all its properties.
pub fn zones(commands: &mut dyn Commands) -> Result<Vec<Value>> {
    let text = commands.text(&Invocation::reads(PROGRAM, ["lookup", "-j"]))?;
    serde_json::from_str(&text).context("what vmadm lookup wrote is no list in JSON")
}

/// Makes the zone that the file describes, which takes as long as copying its image.
pub fn create(file: &Path) -> Invocation {
    Invocation::changes(PROGRAM, ["create".as_ref(), "-f".as_ref(), file.as_os_str()])
        .within(Duration::from_hours(1))
}
