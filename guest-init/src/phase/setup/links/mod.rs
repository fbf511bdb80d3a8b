//! Addresses beyond the first: those of additional network cards, and further ones of the first card.

mod dhcp;
pub mod plan;

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use guest_mdata::values::{MacAddress, Nic};

use self::plan::{Change, Facts};
use super::survey;
use crate::engine::{Finding, Guest, Step};
use crate::files;
use crate::phase::identity::config::{Config, format};
use crate::phase::identity::{nics, settings};
use crate::state::Link;

/// Every card has the addresses that the host says it has.
///
/// The platform's own network service has seen to the first card's first address, by `/usbkey/config`; that one is left alone.
/// The others cannot be left to it: it makes a virtual card for each, with an Ethernet address of its own, and the host
/// drops what such a card sends.
pub struct Links;

impl Step for Links {
    fn name(&self) -> &'static str {
        "links"
    }

    fn limit(&self) -> Duration {
        // A DHCP server that does not answer costs half a minute.
        Duration::from_mins(4)
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let changes = changes(guest)?;
        if changes.is_empty() {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed(
            changes.iter().map(|change| change.command.to_string()).collect::<Vec<_>>().join("; "),
        ))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let changes = changes(guest)?;
        survey::forget(guest);
        let mut failed = Vec::new();
        let mut broken: Vec<&str> = Vec::new();
        for change in &changes {
            // What builds on a failure would only fail, too; other cards are not concerned.
            if broken.contains(&&*change.link) {
                continue;
            }
            let prepared = if change.is_dhcp { dhcp::ask_for_no_router(&change.link) } else { Ok(()) };
            if let Err(error) = prepared.and_then(|()| guest.commands.text(&change.command).map(drop)) {
                failed.push(format!("{error:#}"));
                broken.push(&change.link);
            }
        }
        if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
    }
}

/// The first card, as `/usbkey/config` names it for the platform's network service.
fn configured_admin() -> Option<MacAddress> {
    let text = files::read(Path::new(settings::CONFIG), format::LONGEST).ok()?;
    Config::parse(&text).get("admin_nic")?.parse().ok()
}

/// The address of the first card.
pub fn admin(nics: &[Nic], links: &[Link]) -> Option<MacAddress> {
    let linked = nics.iter().filter(|nic| nics::has_link(nic, Some(links)));
    configured_admin().or_else(|| nics::admin(&linked).map(|nic| nic.mac))
}

fn changes(guest: &mut Guest<'_>) -> Result<Vec<Change>> {
    let nics = nics::load(guest.metadata).nics;
    let links = survey::links(guest)?;
    let interfaces = survey::interfaces(guest)?;
    let admin = admin(&nics, &links);
    let plan = plan::plan(&Facts { nics: &nics, admin, links: &links, interfaces: &interfaces });
    for note in &plan.notes {
        guest.log.line(note);
    }
    Ok(plan.changes)
}
