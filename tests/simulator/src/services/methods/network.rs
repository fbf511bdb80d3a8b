//! The methods that configure the network; what they do is in [`crate::network`].

use std::fs;

use crate::commands::call;
use crate::network::ipfilter::{self, Method};
use crate::network::physical::{self, Played};
use crate::{Reply, World};

/// What a method's log has goes to its standard output, which svc.startd puts there.
fn reply(played: Played) -> Reply {
    Reply { status: played.status, ..Reply::text(played.log) }
}

/// network/loopback.
pub fn loopback(world: &mut World, _: &[&str]) -> Reply {
    world.runtime.network.start_loopback();
    Reply::ok()
}

/// network/physical: links first, then the addresses that /usbkey/config has.
pub fn physical(world: &mut World, _: &[&str]) -> Reply {
    reply(physical::start(world))
}

/// network/routing-setup: the default route and forwarding as configured.
pub fn routing_setup(world: &mut World, _: &[&str]) -> Reply {
    reply(physical::start_routing(world))
}

/// network/ipfilter; `reload` does what `start` does.
pub fn ipfilter(world: &mut World, argv: &[&str]) -> Reply {
    reply(ipfilter::play(world, if argv.get(1) == Some(&"stop") { Method::Stop } else { Method::Start }))
}

/// identity-node: the name in /etc/nodename, else `unknown`; what was set before is overwritten.
pub fn identity_node(world: &mut World, _: &[&str]) -> Reply {
    let name = fs::read_to_string(world.path("/etc/nodename")).unwrap_or_default();
    let name = name.lines().next().map_or("", str::trim);
    let name = if name.is_empty() { "unknown" } else { name };
    call(world, &["hostname", name])
}
