//! `ndd`: usr/src/cmd/cmd-inet/usr.sbin/ndd.c, for three parameters of `/dev/ip`, the same 2013 to 2022.

use crate::{Reply, World};

/// Runs `ndd -get /dev/ip NAME` or `ndd -set /dev/ip NAME VALUE`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let network = &mut world.runtime.network;
    let (name, value) = match argv {
        [_, "-get", "/dev/ip", name] => (*name, None),
        [_, "-set", "/dev/ip", name, value] => (*name, Some(*value)),
        _ => return Reply::refuse("is played with -get or -set of /dev/ip alone"),
    };
    let parameter = match name {
        "ip_forwarding" => &mut network.forwarding.v4,
        "ip6_forwarding" => &mut network.forwarding.v6,
        "ip_strict_src_multihoming" => &mut network.strict_source,
        _ => return Reply::refuse(format!("is not played with {name}")),
    };
    match value {
        None => return Reply::text(format!("{}\n", u8::from(*parameter))),
        Some("0") => *parameter = false,
        Some("1") => *parameter = true,
        Some(_) => return Reply::fail(1, "operation failed: Invalid argument"),
    }
    Reply::ok()
}
