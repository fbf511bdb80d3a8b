//! What the guest is called.

use std::path::Path;

use anyhow::{Context, Result};

use crate::command::hostname;
use crate::engine::{Finding, Guest, Step};
use crate::files::{self, Owner};
use crate::phase::identity::settings;

/// Where the name is for the platform's scripts.
const FILE: &str = "/etc/nodename";

/// The guest has the name that its owner or its host gave it.
pub struct Hostname;

impl Step for Hostname {
    fn name(&self) -> &'static str {
        "hostname"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(name) = settings::load(guest).hostname else {
            return Ok(Finding::Done);
        };
        let is_written = files::is(Path::new(FILE), &line(&name), Owner::root(0o644))
            .with_context(|| format!("cannot look at {FILE}"))?;
        let current = current();
        if is_written && current == name {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed(format!("'{}' becomes '{name}'", current.escape_debug())))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(name) = settings::load(guest).hostname else {
            return Ok(());
        };
        files::keep(Path::new(FILE), &line(&name), Owner::root(0o644))
            .with_context(|| format!("cannot write {FILE}"))?;
        if current() != name {
            guest.commands.text(&hostname::set(&name))?;
        }
        Ok(())
    }
}

fn line(name: &str) -> Vec<u8> {
    format!("{name}\n").into_bytes()
}

/// What the kernel thinks.
fn current() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
