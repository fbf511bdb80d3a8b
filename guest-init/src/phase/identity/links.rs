//! The physical links of this machine.
//!
//! When this phase runs, the platform's network service has not: there are no links before it asks `dladm` for them. But
//! that service ends for good, and SSH with it, if no link has the Ethernet address in `/usbkey/config`. What the host says
//! is no proof: a host tells of interfaces that it was just given, while the machine that runs still has the old ones, and
//! a copy of a guest has the file of its original. So the drivers are attached here, a moment earlier; that can be
//! repeated. The daemon that `dladm` talks to depends on nothing, so it was started long ago, or is starting.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::command::dladm;
use crate::engine::{Finding, Guest, Step};

/// How often `dladm` is tried.
const TRIES: u32 = 3;

/// The pause before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// The step: attaches the drivers and finds out the links, once a boot.
pub struct Links;

impl Step for Links {
    fn name(&self) -> &'static str {
        "links"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        Ok(match guest.state.links {
            Some(_) => Finding::Done,
            None => Finding::Needed("the drivers of the network cards are attached".to_owned()),
        })
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let mut tried = 1;
        let links = loop {
            let attached = guest.commands.text(&dladm::init_phys());
            match attached.and_then(|_| dladm::physical(guest.commands)) {
                Ok(links) => break links,
                Err(error) if tried == TRIES => {
                    return Err(error.context("the links of this machine are unknown; the host is believed"));
                }
                Err(error) => guest.log.warn(&format!("it is tried again: {error:#}")),
            }
            tried += 1;
            guest.clock.sleep(PAUSE);
        };
        if links.is_empty() {
            bail!("this machine has no network interface that its platform knows");
        }
        for link in &links {
            let mac = guest_mdata::values::MacAddress(link.mac);
            guest.log.line(&format!("{} has the Ethernet address {mac}", link.name));
        }
        guest.state.links = Some(links);
        Ok(())
    }
}
