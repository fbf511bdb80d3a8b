//! Static routes that the host names.

use anyhow::{Result, bail};
use guest_mdata::values::{self, Route};

use crate::command::route::{self, Entry};
use crate::engine::{Finding, Guest, Step};

/// The metadata key.
const KEY: &str = "sdc:routes";

/// The longest value that is looked at, in bytes.
const LONGEST: usize = 256 << 10;

/// The routes of the metadata are in the kernel's table.
pub struct Routes;

impl Step for Routes {
    fn name(&self) -> &'static str {
        "routes"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let missing = missing(guest)?;
        if missing.is_empty() {
            return Ok(Finding::Done);
        }
        let destinations: Vec<String> = missing.iter().map(|route| route.destination.to_string()).collect();
        Ok(Finding::Needed(format!("no routes yet to {}", destinations.join(", "))))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let mut failed = Vec::new();
        for route in missing(guest)? {
            if let Err(error) = guest.commands.text(&route::add(&route)) {
                failed.push(format!("{error:#}"));
            }
        }
        if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
    }
}

fn missing(guest: &mut Guest<'_>) -> Result<Vec<Route>> {
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
    // Most guests have none, and need no look at the table.
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let entries = route::entries(&guest.commands.text(&route::show())?);
    Ok(wanted.into_iter().filter(|route| !is_there(route, &entries)).collect())
}

/// The routes that can be set, and what is wrong with the others. There is no second default route.
fn acceptable(routes: Vec<Route>) -> (Vec<Route>, Vec<String>) {
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
        }];
        assert!(is_there(&good[0], &there) && !is_there(&good[1], &there));
    }
}
