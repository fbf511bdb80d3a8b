//! Whether the guest passes packets on.

use anyhow::{Result, bail};

use super::{firewall, survey, zone_network};
use crate::command::routeadm;
use crate::engine::{Finding, Guest, Step};

/// The guest passes packets of zones on, once its rules are in place.
pub struct Forwarding;

impl Step for Forwarding {
    fn name(&self) -> &'static str {
        "forwarding"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let settings = zone_network::settled(guest)?.settings;
        let interfaces = survey::interfaces(guest)?;
        if !settings.nat {
            return Ok(Finding::Done);
        }
        // The kernel marks the cards that it passes packets on from.
        let is_on =
            interfaces.iter().any(|interface| interface.link == settings.nat_if && interface.has("ROUTER"));
        if is_on {
            return Ok(Finding::Done);
        }
        if !firewall::is_up(guest)? {
            bail!("no packets are passed on as long as there are no rules for them");
        }
        Ok(Finding::Needed("packets of zones are passed on".to_owned()))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        survey::forget(guest);
        guest.commands.text(&routeadm::forward_ipv4()).map(drop)
    }

    /// The service behind the switch sets the kernel's flag when it gets to it, so a look could come too early.
    fn verify(&self, _: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}
