//! The name of the machine, where the platform reads it.

use std::path::Path;

use anyhow::{Context, Result};

use super::settings;
use crate::engine::{Finding, Guest, Step};
use crate::files::{self, Owner};

/// The file. `system/identity:node` gives the machine the name in it, after this phase and before any service tells others what
/// this machine is called.
const FILE: &str = "/etc/nodename";

/// The name that the owner or the host gave is written down.
pub struct NodeName;

impl Step for NodeName {
    fn name(&self) -> &'static str {
        "nodename"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(name) = settings::load(guest).hostname else { return Ok(Finding::Done) };
        if is_written(&name)? {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed(format!("the machine is to be called '{name}'")))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        settings::load(guest).hostname.map_or(Ok(()), |name| write(&name))
    }
}

/// Whether the file has this name.
pub fn is_written(name: &str) -> Result<bool> {
    files::is(Path::new(FILE), &line(name), Owner::root(0o644))
        .with_context(|| format!("cannot look at {FILE}"))
}

/// Gives the file this name, if it has another.
pub fn write(name: &str) -> Result<()> {
    files::keep(Path::new(FILE), &line(name), Owner::root(0o644))
        .map(drop)
        .with_context(|| format!("cannot write {FILE}"))
}

fn line(name: &str) -> Vec<u8> {
    format!("{name}\n").into_bytes()
}
