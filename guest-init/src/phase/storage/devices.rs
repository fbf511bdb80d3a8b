//! The names of disks.

use anyhow::Result;

use super::marks;
use crate::command::devfsadm;
use crate::engine::{Finding, Guest, Step};

/// Gives all disks their names below /dev.
pub struct Devices;

impl Step for Devices {
    fn name(&self) -> &'static str {
        "devices"
    }

    fn check(&self, _guest: &mut Guest<'_>) -> Result<Finding> {
        if marks::is_done(self.name()) {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed("disks get their names".to_owned()))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        devfsadm::name_disks(guest.commands)?;
        marks::done(self.name())
    }

    /// There is no list of the names that there should be.
    fn verify(&self, _guest: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}
