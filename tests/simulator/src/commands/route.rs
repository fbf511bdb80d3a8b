//! `route`: usr/src/cmd/cmd-inet/usr.sbin/route.c, the same 2013 to 2022 in what is played here.
//!
//! `route -n [-q] add|delete [-inet|-inet6] [-net|-host] [-interface] DESTINATION[/LENGTH] [-gateway] GATEWAY [-netmask MASK]`
//! and `route -n get ADDRESS`. Its messages go to standard output, and its status is the number of the error.
//!
//! With `-interface` (`K_INTERFACE` in `args_to_rtcmd`: no `RTF_GATEWAY`) the gateway is an address of this machine, on whose
//! link the destination is (`ip_rt_add` of usr/src/uts/common/inet/ip/ip_if.c, "interface routes"); any other cannot be
//! reached.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::network::inet::{Family, Prefix, mask_length};
use crate::network::route::Route;
use crate::{Reply, World};

/// Errors by illumos' numbers, usr/src/uts/common/sys/errno.h.
const ESRCH: u8 = 3;
const EEXIST: u8 = 17;
const ENETUNREACH: u8 = 128;

/// Runs `route`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let mut words = argv.get(1..).unwrap_or_default().iter().copied();
    let mut verb = None;
    for word in words.by_ref() {
        match word {
            "-n" => {}
            "add" | "delete" | "get" => {
                verb = Some(word);
                break;
            }
            other => return Reply::refuse(format!("is not played with {other}")),
        }
    }
    let Some(verb) = verb else { return Reply::refuse("is not known without a command") };
    play(world, verb, words).unwrap_or_else(|reply| reply)
}

fn play<'a>(world: &mut World, verb: &str, mut words: impl Iterator<Item = &'a str>) -> Result<Reply, Reply> {
    let mut family = Family::Inet;
    let (mut host, mut net, mut direct) = (false, false, false);
    let (mut destination, mut gateway, mut mask, mut interface) = (None, None, None, None);
    while let Some(word) = words.next() {
        match word {
            "-inet" => family = Family::Inet,
            "-inet6" => family = Family::Inet6,
            "-host" | "host" => host = true,
            "-net" | "net" => net = true,
            "-interface" | "-iface" => direct = true,
            "-gateway" => gateway = words.next(),
            "-netmask" => mask = words.next(),
            "-ifp" => interface = words.next(),
            _ if word.starts_with('-') => return Err(Reply::refuse(format!("is not played with {word}"))),
            _ if destination.is_none() => destination = Some(word),
            _ if gateway.is_none() => gateway = Some(word),
            _ => return Err(Reply::refuse(format!("is not played with {word}"))),
        }
    }
    let Some(destination) = destination else {
        return Err(Reply::fail(1, "route: destination required"));
    };
    if host && net {
        return Err(Reply::fail(1, "route: -host and -net are mutually exclusive"));
    }
    if verb == "get" {
        return get(world, destination, family);
    }
    let Some(gateway_text) = gateway else {
        return Err(Reply::fail(1, "route: gateway required for add or delete command"));
    };
    let gateway = address(gateway_text, family)?;
    let prefix = prefix(destination, family, mask, host)?;
    let host = prefix.length == family.bits() && !net;
    let route = Route {
        destination: prefix.network(),
        gateway,
        host,
        interface: interface.map(str::to_owned),
        direct,
    };
    let kind = if host { "host" } else { "net" };
    let said = format!("{verb} {kind} {destination}: gateway {gateway}");
    let network = &mut world.runtime.network;
    let alike = |known: &Route| known.destination == route.destination && known.gateway == route.gateway;
    let failed = |status: u8, why: &str| Reply { status, ..Reply::text(format!("{said}: {why}\n")) };
    if verb == "add" {
        if let Some(name) = interface.filter(|name| !network.is_plumbed(name)) {
            return Err(Reply::fail(1, format!("route: {name}: no such interface")));
        }
        if network.routes.iter().any(alike) {
            return Ok(failed(EEXIST, "entry exists"));
        }
        if network.on_link(gateway).is_none() || (direct && !network.is_local(gateway)) {
            return Ok(failed(ENETUNREACH, "Network is unreachable"));
        }
        network.routes.push(route);
    } else {
        let Some(place) = network.routes.iter().position(alike) else {
            return Ok(failed(ESRCH, "not in table"));
        };
        network.routes.remove(place);
    }
    Ok(Reply::text(said + "\n"))
}

fn address(text: &str, family: Family) -> Result<IpAddr, Reply> {
    let parsed: Option<IpAddr> = match family {
        Family::Inet => text.parse().ok().map(IpAddr::V4),
        Family::Inet6 => text.parse().ok().map(IpAddr::V6),
    };
    // It would be looked up as a name, which takes until the resolver gives up.
    parsed.ok_or_else(|| match family {
        Family::Inet => Reply::fail(1, format!("{text}: bad value")),
        Family::Inet6 => Reply::fail(1, format!("route: {text}: bad address")),
    })
}

fn prefix(text: &str, family: Family, mask: Option<&str>, host: bool) -> Result<Prefix, Reply> {
    if text == "default" {
        return Ok(Prefix::new(family.unspecified(), 0));
    }
    if let Some((text, length)) = text.split_once('/') {
        let address = address(text, family)?;
        return match length.parse::<u8>() {
            Ok(length) if length <= family.bits() => Ok(Prefix::new(address, length)),
            Ok(_) => Err(Reply::fail(1, format!("route: prefix length {length} out of range"))),
            Err(_) => Err(Reply::fail(1, format!("route: bad prefix length {length}"))),
        };
    }
    let address = address(text, family)?;
    if let Some(mask) = mask {
        let length = mask.parse::<Ipv4Addr>().ok().and_then(mask_length);
        let length = length.ok_or_else(|| Reply::refuse(format!("is not known with the mask {mask}")))?;
        return Ok(Prefix::new(address, length));
    }
    // An address whose last octet is 0 may be a network by its class, which nobody should rely on.
    if !host && matches!(address, IpAddr::V4(address) if address.octets()[3] == 0) {
        return Err(Reply::refuse(format!("is not known with {text} and no prefix length")));
    }
    Ok(Prefix::new(address, family.bits()))
}

/// `print_getmsg` of route.c.
fn get(world: &World, destination: &str, family: Family) -> Result<Reply, Reply> {
    let address = address(destination, family)?;
    let network = &world.runtime.network;
    let Some(hop) = network.hop(address) else {
        return Ok(Reply { status: ESRCH, ..Reply::text(format!(" {address}: not in table\n")) });
    };
    let route = network
        .routes
        .iter()
        .filter(|route| hop.gateway == Some(route.gateway) && route.destination.contains(address))
        .max_by_key(|route| route.destination.length);
    let default = route.is_some_and(|route| route.destination.length == 0);
    let mut text = format!("   route to: {address}\n");
    let net = match route {
        Some(_) if default => "default".to_owned(),
        Some(route) => route.destination.address.to_string(),
        None => address.to_string(),
    };
    let _ = writeln!(text, "destination: {net}");
    if default {
        text += "       mask: default\n";
    }
    if let Some(gateway) = hop.gateway {
        let _ = writeln!(text, "    gateway: {gateway}");
    }
    let _ = writeln!(text, "  interface: {}", hop.interface);
    text += if hop.gateway.is_some() {
        "      flags: <UP,GATEWAY,DONE,STATIC>\n"
    } else {
        "      flags: <UP,DONE>\n"
    };
    let mtu = network.interface(&hop.interface, family).map_or(0, |interface| interface.mtu);
    text += " recvpipe  sendpipe  ssthresh    rtt,ms rttvar,ms  hopcount      mtu     expire\n";
    let _ = writeln!(text, "       0         0         0         0         0         0 {mtu:9}         0 ");
    Ok(Reply::text(text))
}
