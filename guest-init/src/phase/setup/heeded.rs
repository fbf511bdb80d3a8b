//! What became of the owner's settings.

use anyhow::{Result, bail};

use super::zone_network;
use crate::engine::{Finding, Guest, Step};
use crate::phase::identity::{ntp, settings};

/// `ntp.conf` follows the network for zones, which may be another one than the identity phase, before there was a network, took
/// it to be. The service that reads the file waits for this phase.
pub struct TimeServers;

impl Step for TimeServers {
    fn name(&self) -> &'static str {
        "time-servers"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        ntp::look(&zone_network::settled(guest)?.settings)
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        ntp::write(&zone_network::settled(guest)?.settings)
    }
}

/// Every setting is heeded. A value that is refused is passed over rather than the boot, and a list of `ssh_allow` with a wrong
/// entry leaves SSH open rather than its owner locked out; but nobody must believe that such a value counts.
pub struct Heeded;

impl Step for Heeded {
    fn name(&self) -> &'static str {
        "settings"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let (chosen, mut notes) = settings::read(guest.metadata);
        if chosen.ssh_allow.is_empty() && notes.iter().any(|note| note.starts_with("ssh_allow ")) {
            notes.insert(0, "SSH connections are taken from ANYWHERE".to_owned());
        }
        let settled = zone_network::settled(guest)?;
        // Without any network for zones, the step that would make it has told so.
        notes.extend(settled.note.filter(|_| settled.settings.nat));
        if notes.is_empty() { Ok(Finding::Done) } else { bail!(notes.join("; ")) }
    }

    fn apply(&self, _: &mut Guest<'_>) -> Result<()> {
        // To look is all there is to do.
        Ok(())
    }
}
