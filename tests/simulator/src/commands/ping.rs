//! `ping ADDRESS [SECONDS]`: usr/src/cmd/cmd-inet/usr.sbin/ping/ping.c, the same 2013 to 2022. Time is not spent.

use std::net::IpAddr;

use crate::network::model::{From, Model, Service};
use crate::{Reply, World};

/// Runs `ping`. Of other hosts, only the routers are known to be there; they answer when the filter lets the question out and
/// the answer in.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let words: Vec<&str> =
        argv.get(1..).unwrap_or_default().iter().copied().filter(|word| *word != "-n").collect();
    let host = match words[..] {
        [host] => host,
        [host, seconds] if seconds.parse::<u16>().is_ok_and(|seconds| seconds > 0) => host,
        _ => return Reply::refuse(format!("is not played with {}", words.join(" "))),
    };
    let Ok(address) = host.parse::<IpAddr>() else {
        return if host.starts_with('-') {
            Reply::refuse(format!("is not played with {host}"))
        } else {
            Reply::fail(1, format!("ping: unknown host {host}"))
        };
    };
    let network = &world.runtime.network;
    let present = network.is_local(address) || network.routes.iter().any(|route| route.gateway == address);
    if present && Model::new(network).connect(From::Host, address, Service::Echo).is_passed() {
        Reply::text(format!("{host} is alive\n"))
    } else {
        Reply { status: 1, ..Reply::text(format!("no answer from {host}\n")) }
    }
}
