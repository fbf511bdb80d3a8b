//! `route` and `netstat`: the table of routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guest_mdata::values::Route;

use super::Invocation;

/// A route in the kernel's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The destination. `netstat` does not show how long the prefix of an IPv4 network is.
    pub destination: IpAddr,
    /// The router, or this machine's address on the link.
    pub gateway: IpAddr,
    /// The link, if the route is bound to one.
    pub link: Option<String>,
}

impl Entry {
    /// Whether it leads everywhere that no other IPv4 route leads.
    pub fn is_ipv4_default(&self) -> bool {
        self.destination == Ipv4Addr::UNSPECIFIED
    }
}

/// Lists the routes: [`entries`] reads what it writes.
pub fn show() -> Invocation {
    Invocation::reads("/usr/bin/netstat", ["-rn"])
}

/// Adds a route. What is on a link itself has no router: its gateway is this machine's address there, which `-interface` says
/// (usr/src/cmd/cmd-inet/usr.sbin/route.c, `args_to_rtcmd`; ip_if.c, `ip_rt_add`).
pub fn add(route: &Route) -> Invocation {
    let mut arguments = vec!["-n".to_owned(), "add".to_owned()];
    if route.destination.address.is_ipv6() {
        arguments.push("-inet6".to_owned());
    }
    if route.linklocal {
        arguments.push("-interface".to_owned());
    }
    arguments.extend([route.destination.to_string(), route.gateway.to_string()]);
    Invocation::changes("/usr/sbin/route", arguments)
}

/// Removes a default route that is bound to a link.
pub fn delete_default(gateway: IpAddr, link: &str) -> Invocation {
    Invocation::changes("/usr/sbin/route", ["-n", "delete", "default", &gateway.to_string(), "-ifp", link])
}

/// The routes in the output of [`show`]; those whose gateway is a name of an interface are left out.
pub fn entries(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut default = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    for line in text.lines() {
        if line.starts_with("Routing Table: IPv6") {
            default = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(destination), Some(gateway)) = (words.next(), words.next()) else { continue };
        let address = destination.split_once('/').map_or(destination, |(address, _)| address);
        let destination = if destination == "default" { Some(default) } else { address.parse().ok() };
        if let (Some(destination), Ok(gateway)) = (destination, gateway.parse()) {
            // Flags and two counters are between.
            let link = words.nth(3).map(str::to_owned);
            entries.push(Entry { destination, gateway, link });
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
Routing Table: IPv4
  Destination           Gateway           Flags  Ref     Use     Interface \n\
-------------------- -------------------- ----- ----- ---------- --------- \n\
default              10.0.0.1             UG        2       1205           \n\
10.0.0.0             10.0.0.5             U         3         12 e1000g0   \n\
10.2.0.0             10.0.0.2             UG        1          0           \n\
127.0.0.1            127.0.0.1            UH        2         40 lo0       \n
Routing Table: IPv6
  Destination/Mask            Gateway                   Flags Ref   Use    If   \n\
--------------------------- --------------------------- ----- --- ------- ----- \n\
default                     fd00::1                     UG      2       0       \n\
fd00::/64                   fd00::5                     U       2       0 e1000g0 \n\
::1                         ::1                         UH      2       4 lo0   \n";

    #[test]
    fn a_captured_text() {
        let show = |entry: &Entry| {
            format!("{} {} {}", entry.destination, entry.gateway, entry.link.as_deref().unwrap_or("-"))
        };
        let shown: Vec<String> = entries(TEXT).iter().map(show).collect();
        assert_eq!(
            shown,
            [
                "0.0.0.0 10.0.0.1 -",
                "10.0.0.0 10.0.0.5 e1000g0",
                "10.2.0.0 10.0.0.2 -",
                "127.0.0.1 127.0.0.1 lo0",
                ":: fd00::1 -",
                "fd00:: fd00::5 e1000g0",
                "::1 ::1 lo0",
            ]
        );
    }
}
