//! Static routes that the host names.

use anyhow::{Result, bail};
use guest_mdata::values::{self, Route};

use super::{links, survey};
use crate::command::Invocation;
use crate::command::ifconfig::Interface;
use crate::command::route::{self, Entry};
use crate::engine::{Finding, Guest, Step};
use crate::phase::identity::nics;
use crate::state::Link;

/// The metadata key.
const KEY: &str = "sdc:routes";

/// The longest value that is looked at, in bytes.
const LONGEST: usize = 256 << 10;

/// The routes of the metadata are in the kernel's table, and no other card than the first has a default route.
pub struct Routes;

impl Step for Routes {
    fn name(&self) -> &'static str {
        "routes"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let changes = changes(guest)?;
        if changes.is_empty() {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed(changes.iter().map(Invocation::to_string).collect::<Vec<_>>().join("; ")))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let mut failed = Vec::new();
        for change in changes(guest)? {
            if let Err(error) = guest.commands.text(&change) {
                failed.push(format!("{error:#}"));
            }
        }
        if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
    }
}

fn changes(guest: &mut Guest<'_>) -> Result<Vec<Invocation>> {
    let wanted = wanted(guest)?;
    let leased = leased(guest)?;
    // Most guests have neither, and need no look at the table.
    if wanted.is_empty() && leased.is_empty() {
        return Ok(Vec::new());
    }
    let entries = route::entries(&guest.commands.text(&route::show())?);
    Ok(missing(&wanted, &entries).into_iter().chain(surplus(&entries, &leased)).collect())
}

/// What adds the routes that are wanted and that the kernel does not have.
pub fn missing(wanted: &[Route], entries: &[Entry]) -> Vec<Invocation> {
    wanted.iter().filter(|route| !is_there(route, entries)).map(route::add).collect()
}

/// The routes of the metadata.
fn wanted(guest: &mut Guest<'_>) -> Result<Vec<Route>> {
    let Some(value) = guest.metadata.lookup(KEY).value().filter(|value| value.len() <= LONGEST) else {
        return Ok(Vec::new());
    };
    let read = match values::routes(&value) {
        Ok(read) => read,
        Err(problem) => bail!("{KEY}: {problem}"),
    };
    let (wanted, mut notes) = acceptable(read.good);
    notes.extend(read.problems);
    for note in notes {
        guest.log.line(&format!("WARNING: {KEY}: {note}"));
    }
    Ok(wanted)
}

/// The cards, but for the first, whose address is from a DHCP server.
fn leased(guest: &mut Guest<'_>) -> Result<Vec<String>> {
    let interfaces = survey::interfaces(guest)?;
    if !interfaces.iter().any(|interface| !interface.is_ipv6 && interface.has("DHCP")) {
        return Ok(Vec::new());
    }
    let links = survey::links(guest)?;
    let admin = links::admin(&nics::load(guest.metadata).nics, &links);
    let is_leased = |link: &&Link| {
        let has_lease = |own: &Interface| own.link == link.name && !own.is_ipv6 && own.has("DHCP");
        admin.is_some_and(|admin| admin.0 != link.mac) && interfaces.iter().any(has_lease)
    };
    Ok(links.iter().filter(is_leased).map(|link| link.name.clone()).collect())
}

/// What removes default routes by these cards. Their servers were not asked for a router, and may name one all the same. If
/// there is no default route but by one of these cards, all stay: it is better than none.
pub fn surplus(entries: &[Entry], leased: &[String]) -> Vec<Invocation> {
    let is_leased = |entry: &Entry| entry.link.as_ref().is_some_and(|link| leased.contains(link));
    let defaults: Vec<&Entry> = entries.iter().filter(|entry| entry.is_ipv4_default()).collect();
    if defaults.iter().all(|entry| is_leased(entry)) {
        return Vec::new();
    }
    let surplus = defaults.into_iter().filter(|entry| is_leased(entry));
    surplus.filter_map(|entry| Some(route::delete_default(entry.gateway, entry.link.as_deref()?))).collect()
}

/// The routes that can be set, and what is wrong with the others. There is no second default route.
pub fn acceptable(routes: Vec<Route>) -> (Vec<Route>, Vec<String>) {
    let mut good: Vec<Route> = Vec::new();
    let mut notes = Vec::new();
    for route in routes {
        let problem = if route.destination.prefix == 0 {
            "a default route belongs to the primary interface"
        } else if route.destination.address.is_ipv4() != route.gateway.is_ipv4() {
            "destination and gateway are of different families"
        } else if route.gateway.is_unspecified() || route.gateway.is_multicast() {
            "the gateway is no host"
        } else {
            if !good.contains(&route) {
                good.push(route);
            }
            continue;
        };
        notes.push(format!("{} is passed over: {problem}", route.destination));
    }
    (good, notes)
}

/// Whether the kernel has a route. `netstat` does not show how long an IPv4 prefix is, so two networks that begin alike and
/// have one gateway count as one.
fn is_there(route: &Route, entries: &[Entry]) -> bool {
    entries
        .iter()
        .any(|entry| entry.destination == route.destination.address && entry.gateway == route.gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_that_cannot_be_are_passed_over() {
        let text = br#"[{"dst": "0.0.0.0/0", "gateway": "10.0.0.1"}, {"dst": "::/0", "gateway": "fd00::1"},
                        {"dst": "10.2.0.0/16", "gateway": "fd00::1"}, {"dst": "10.2.0.0/16", "gateway": "0.0.0.0"},
                        {"dst": "10.2.0.0/16", "gateway": "10.0.0.2"}, {"dst": "10.2.0.0/16", "gateway": "10.0.0.2"},
                        {"dst": "10.3.0.7", "gateway": "10.0.0.5", "linklocal": true},
                        {"dst": "fd01::/64", "gateway": "fd00::2"}]"#;
        let (good, notes) = acceptable(values::routes(text).expect("an array").good);
        assert_eq!(notes.len(), 4, "{notes:?}");
        let commands: Vec<String> = good.iter().map(|route| route::add(route).to_string()).collect();
        assert_eq!(
            commands,
            [
                "/usr/sbin/route -n add 10.2.0.0/16 10.0.0.2",
                "/usr/sbin/route -n add -interface 10.3.0.7/32 10.0.0.5",
                "/usr/sbin/route -n add -inet6 fd01::/64 fd00::2",
            ]
        );
        let there = [Entry {
            destination: "10.2.0.0".parse().expect("an address"),
            gateway: "10.0.0.2".parse().expect("an address"),
            link: None,
        }];
        assert!(is_there(&good[0], &there) && !is_there(&good[1], &there));
    }

    #[test]
    fn the_last_default_route_stays() {
        let by = |gateway: &str, link: Option<&str>| Entry {
            destination: "0.0.0.0".parse().expect("an address"),
            gateway: gateway.parse().expect("an address"),
            link: link.map(str::to_owned),
        };
        let leased = ["e1000g1".to_owned()];
        let entries = [by("10.0.0.1", None), by("192.168.7.1", Some("e1000g1"))];
        let commands: Vec<String> = surplus(&entries, &leased).iter().map(Invocation::to_string).collect();
        assert_eq!(commands, ["/usr/sbin/route -n delete default 192.168.7.1 -ifp e1000g1"]);
        assert_eq!(surplus(&entries[1..], &leased), []);
        assert_eq!(surplus(&entries, &[]), []);
    }
}
