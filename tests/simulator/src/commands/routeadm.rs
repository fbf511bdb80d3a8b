//! `routeadm`: usr/src/cmd/cmd-inet/usr.sbin/routeadm/routeadm.c, the same 2013 to 2022.
//!
//! `-e OPTION` and `-d OPTION` are remembered; `-u` applies what is remembered now. Without `-u` nothing changes until the
//! service `network/routing-setup` starts.

use crate::{Reply, World};

/// Runs `routeadm`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let mut words = argv.get(1..).unwrap_or_default().iter().copied();
    let mut update = false;
    let mut changes = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "-u" => update = true,
            "-p" if argv.len() == 2 => return print(world),
            "-e" | "-d" | "-ue" | "-ud" => {
                update |= word.len() == 3;
                let Some(option) = words.next() else {
                    return Reply::refuse(format!("is not known with {word} and no option"));
                };
                if !matches!(option, "ipv4-forwarding" | "ipv6-forwarding") {
                    return Reply::refuse(format!("is not played with the option {option}"));
                }
                changes.push((option, word.ends_with('e')));
            }
            other => return Reply::refuse(format!("is not played with {other}")),
        }
    }
    if !update && changes.is_empty() {
        return Reply::refuse("is played with -u, -e, -d or -p alone");
    }
    let forwarding = &mut world.runtime.network.forwarding;
    for (option, enabled) in changes {
        if option == "ipv4-forwarding" {
            forwarding.v4_configured = enabled;
        } else {
            forwarding.v6_configured = enabled;
        }
    }
    if update {
        forwarding.v4 = forwarding.v4_configured;
        forwarding.v6 = forwarding.v6_configured;
    }
    Reply::ok()
}

fn print(world: &World) -> Reply {
    let forwarding = &world.runtime.network.forwarding;
    let word = |enabled: bool| if enabled { "enabled" } else { "disabled" };
    let line = |name: &str, configured: bool, current: bool| {
        format!("{name} persistent={} default=disabled current={} \n", word(configured), word(current))
    };
    Reply::text(
        line("ipv4-routing", false, false)
            + &line("ipv6-routing", false, false)
            + &line("ipv4-forwarding", forwarding.v4_configured, forwarding.v4)
            + &line("ipv6-forwarding", forwarding.v6_configured, forwarding.v6),
    )
}
