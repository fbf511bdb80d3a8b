//! Which links and addresses there are. Several steps want to know, and asking costs a program each, so what was said is
//! kept until something changes.

use anyhow::Result;

use crate::command::dladm;
use crate::command::ifconfig::{self, Interface};
use crate::engine::Guest;
use crate::state::Link;

/// The network cards. They do not change while a machine runs, and an earlier phase has mostly asked already.
pub fn links(guest: &mut Guest<'_>) -> Result<Vec<Link>> {
    if let Some(links) = &guest.state.links {
        return Ok(links.clone());
    }
    let links = dladm::physical(guest.commands)?;
    guest.state.links = Some(links.clone());
    Ok(links)
}

/// All addresses of all links.
pub fn interfaces(guest: &mut Guest<'_>) -> Result<Vec<Interface>> {
    if let Some(interfaces) = &guest.state.interfaces {
        return Ok(interfaces.clone());
    }
    let interfaces = ifconfig::interfaces(&guest.commands.text(&ifconfig::show_all())?);
    guest.state.interfaces = Some(interfaces.clone());
    Ok(interfaces)
}

/// A link has got its first address; the others are as they were.
pub fn add(guest: &mut Guest<'_>, interface: Interface) {
    if let Some(interfaces) = &mut guest.state.interfaces {
        interfaces.push(interface);
    }
}

/// Addresses have been changed: the next who asks gets a fresh answer.
pub fn forget(guest: &mut Guest<'_>) {
    guest.state.interfaces = None;
}
