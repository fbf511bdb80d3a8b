//! The wish for a factory reset, which is not granted.

use anyhow::Result;

use super::datasets;
use crate::command::zfs;
use crate::engine::{Finding, Guest, Step};

/// Tells an owner who asked for a factory reset how to go about it. The property can come from a snapshot that was received,
/// and with it from another machine; a pool is not destroyed for that.
pub struct FactoryReset;

impl Step for FactoryReset {
    fn name(&self) -> &'static str {
        "factory-reset"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(Finding::Done) };
        let var = format!("{}/var", pool.name);
        if !datasets::of(guest, &pool)?.get(&var).is_some_and(|var| var.factory_reset) {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed(format!("{}=yes on {var} asks for a reset, which is refused", zfs::FACTORY_RESET)))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let name = guest.state.pool.as_ref().map_or("", |pool| pool.name.as_str()).to_owned();
        guest.log.console(&format!("a factory reset is asked for and NOT done; {name} keeps its data"));
        guest.log.console(&format!("to drop the wish: zfs inherit {} {name}/var", zfs::FACTORY_RESET));
        guest.log.console(&format!(
            "to lose all data: boot the rescue entry, zpool import -f -N {name}, zpool destroy {name}, give the guest an \
             empty disk, and remove /usbkey/guest-init/pool.json"
        ));
        Ok(())
    }

    /// There is nothing more to it than telling.
    fn verify(&self, _guest: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}
