//! The swap device and the dump device. A guest can do without either.

use anyhow::Result;

use super::{datasets, marks};
use crate::command::{dumpadm, swap, zfs, zpool};
use crate::engine::{Finding, Guest, Step};

/// The device of a volume of the pool, and its name as a dataset; none when there is no such volume.
fn volume(guest: &mut Guest<'_>, name: &str) -> Result<Option<(String, String)>> {
    let Some(pool) = guest.state.pool.clone() else { return Ok(None) };
    let dataset = format!("{}/{name}", pool.name);
    if !datasets::of(guest, &pool)?.contains_key(&dataset) {
        return Ok(None);
    }
    Ok(Some((format!("/dev/zvol/dsk/{dataset}"), dataset)))
}

fn check(guest: &mut Guest<'_>, step: &str, name: &str) -> Result<Finding> {
    if marks::is_done(step) {
        return Ok(Finding::Done);
    }
    Ok(match volume(guest, name)? {
        None => Finding::Done,
        Some((device, _)) => Finding::Needed(format!("{device} is used")),
    })
}

/// Adds the swap device.
pub struct Swap;

impl Step for Swap {
    fn name(&self) -> &'static str {
        "swap"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        check(guest, self.name(), "swap")
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some((device, _)) = volume(guest, "swap")? else { return Ok(()) };
        swap::add(guest.commands, &device)?;
        marks::done(self.name())
    }

    /// The program fails if the device is not used afterwards.
    fn verify(&self, _guest: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}

/// Sets the dump device up.
pub struct Dump;

impl Step for Dump {
    fn name(&self) -> &'static str {
        "dump"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        check(guest, self.name(), "dump")
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some((device, dataset)) = volume(guest, "dump")? else { return Ok(()) };
        let Some(pool) = guest.state.pool.clone() else { return Ok(()) };
        // Platforms changed how they write this down, and an old one must be set again (smartos-live, `fs-joyent`).
        if datasets::of(guest, &pool)?.get(&dataset).is_some_and(|dump| dump.checksum != "noparity") {
            zfs::set(guest.commands, &dataset, "checksum", "noparity")?;
        }
        if let Err(error) = dumpadm::use_device(guest.commands, &device) {
            guest.log.warn(&format!("{error:#}"));
            zpool::allow_dumps(guest.commands, &pool.name)?;
            dumpadm::use_device(guest.commands, &device)?;
        }
        marks::done(self.name())
    }

    /// The program fails if the device is not used afterwards.
    fn verify(&self, _guest: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}
