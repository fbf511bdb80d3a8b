//! What the guest is called.

use anyhow::Result;

use crate::command::hostname;
use crate::engine::{Finding, Guest, Step};
use crate::phase::identity::{nodename, settings};

/// The guest has the name that its owner or its host gave it. The platform has mostly seen to it, by what the phase before wrote;
/// this is for when the name was changed since.
pub struct Hostname;

impl Step for Hostname {
    fn name(&self) -> &'static str {
        "hostname"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(name) = settings::load(guest).hostname else {
            return Ok(Finding::Done);
        };
        let is_written = nodename::is_written(&name)?;
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
        nodename::write(&name)?;
        if current() != name {
            guest.commands.text(&hostname::set(&name))?;
        }
        Ok(())
    }
}

/// What the kernel thinks.
fn current() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
