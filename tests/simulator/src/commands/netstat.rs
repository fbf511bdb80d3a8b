//! `netstat -rn [-f inet|inet6]`: usr/src/cmd/cmd-inet/usr.bin/netstat/netstat.c, `ire_report_item_v4` and `_v6`, the same 2013
//! to 2022.

use std::fmt::Write;

use crate::network::inet::Family;
use crate::{Reply, World};

/// Runs `netstat`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let (mut v4, mut v6, mut routes, mut numeric) = (true, true, false, false);
    let mut words = argv.get(1..).unwrap_or_default().iter().copied();
    while let Some(word) = words.next() {
        match word {
            "-rn" | "-nr" => (routes, numeric) = (true, true),
            "-r" => routes = true,
            "-n" => numeric = true,
            "-f" => match words.next() {
                Some("inet") => v6 = false,
                Some("inet6") => v4 = false,
                other => {
                    return Reply::refuse(format!("is not played with -f {}", other.unwrap_or_default()));
                }
            },
            other => return Reply::refuse(format!("is not played with {other}")),
        }
    }
    if !routes || !numeric {
        return Reply::refuse("is played with -rn alone");
    }
    let mut text = String::new();
    if v4 {
        text += "\nRouting Table: IPv4\n  Destination           Gateway           Flags  Ref     Use     Interface \n\
                 -------------------- -------------------- ----- ----- ---------- --------- \n";
        for row in rows(world, Family::Inet) {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<20} {:<20} {:<5} {:5} {:10} {:<9} ",
                row.destination, row.gateway, row.flags, 2, 0, row.interface
            );
        }
    }
    if v6 {
        text += "\nRouting Table: IPv6\n  Destination/Mask            Gateway                   Flags Ref   Use    If   \n\
                 --------------------------- --------------------------- ----- --- ------- ----- \n";
        for row in rows(world, Family::Inet6) {
            let _ = writeln!(
                text,
                "{:<27} {:<27} {:<5} {:3} {:7} {:<5} ",
                row.destination, row.gateway, row.flags, 2, 0, row.interface
            );
        }
    }
    Reply::text(text)
}

struct Row {
    destination: String,
    gateway: String,
    flags: &'static str,
    interface: String,
}

fn rows(world: &World, family: Family) -> Vec<Row> {
    let network = &world.runtime.network;
    let routes = network.routes.iter().filter(|route| Family::of(route.gateway) == family);
    let mut rows: Vec<Row> = routes
        .map(|route| Row {
            destination: match (route.destination.length, family) {
                (0, _) => "default".to_owned(),
                (_, Family::Inet) => route.destination.address.to_string(),
                (_, Family::Inet6) => route.destination.to_string(),
            },
            gateway: route.gateway.to_string(),
            flags: match (route.direct, route.host) {
                (false, false) => "UG",
                (false, true) => "UGH",
                (true, false) => "U",
                (true, true) => "UH",
            },
            interface: match network.interface_of(route.gateway) {
                Some(interface) if route.direct => interface.to_owned(),
                _ => route.interface.clone().unwrap_or_default(),
            },
        })
        .collect();
    for interface in network.interfaces.iter().filter(|interface| interface.family == family) {
        for logical in interface.up() {
            let host = interface.name == "lo0" || logical.prefix.length == family.bits();
            let net = logical.prefix.network();
            rows.push(Row {
                destination: match family {
                    _ if host => logical.prefix.address.to_string(),
                    Family::Inet => net.address.to_string(),
                    Family::Inet6 => net.to_string(),
                },
                gateway: logical.prefix.address.to_string(),
                flags: if host { "UH" } else { "U" },
                interface: interface.name.clone(),
            });
        }
    }
    rows
}
