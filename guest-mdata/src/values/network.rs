//! `sdc:routes` and `sdc:resolvers`.

use std::net::IpAddr;

use serde_json::Value;

use super::{Entries, Problems, Subnet, entries};
use crate::error::ValueProblem;

/// A static route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads; a destination without prefix is a single host.
    pub destination: Subnet,
    /// The router, or, if the route is link-local, the address of the interface that the destination is reached by.
    pub gateway: IpAddr,
    /// Whether the destination is on the link of the interface with the gateway's address.
    pub linklocal: bool,
}

/// Reads the value of `sdc:routes`. A host of 2013 may say `macs[...]` for a gateway, which means nothing to a guest.
pub fn routes(text: &[u8]) -> Result<Entries<Route>, ValueProblem> {
    entries(text, |entry, problems| {
        let destination = string(entry, "dst", problems)?;
        let destination = match destination.parse() {
            Ok(address) => Subnet::host(address),
            Err(_) => problems.parse(".dst", destination, "destination")?,
        };
        let gateway = string(entry, "gateway", problems)?;
        let gateway = problems.parse(".gateway", gateway, "IP address")?;
        let linklocal = matches!(entry.get("linklocal"), Some(Value::Bool(true)));
        Some(Route { destination, gateway, linklocal })
    })
}

fn string<'a>(entry: &'a Value, name: &str, problems: &mut Problems) -> Option<&'a str> {
    let text = entry.get(name).and_then(Value::as_str);
    if text.is_none() {
        problems.add(&format!(".{name}"), "missing, or not a string");
    }
    text
}

/// Reads the value of `sdc:resolvers`: the addresses of name servers.
pub fn resolvers(text: &[u8]) -> Result<Entries<IpAddr>, ValueProblem> {
    entries(text, |entry, problems| {
        let Value::String(text) = entry else {
            problems.add("", "not a string");
            return None;
        };
        problems.parse("", text, "IP address")
    })
}

#[cfg(test)]
mod tests {
    use super::{resolvers, routes};

    #[test]
    fn routes_to_networks_and_hosts() {
        let read = routes(
            br#"[{"linklocal": false, "dst": "10.2.0.0/16", "gateway": "10.0.0.2"},
                {"linklocal": true, "dst": "10.3.0.7", "gateway": "10.0.0.5"},
                {"linklocal": false, "dst": "10.4.0.0/16", "gateway": "macs[02:08:20:5b:a1:00]"}, []]"#,
        )
        .expect("an array");
        let shown: Vec<String> = read
            .good
            .iter()
            .map(|route| format!("{} {} {}", route.destination, route.gateway, route.linklocal))
            .collect();
        assert_eq!(shown, ["10.2.0.0/16 10.0.0.2 false", "10.3.0.7/32 10.0.0.5 true"]);
        assert_eq!(
            read.problems,
            ["[2].gateway: 'macs[02:08:20:5b:a1:00]' is no IP address", "[3].dst: missing, or not a string"]
        );
        assert!(routes(b"[]").expect("an array").good.is_empty());
    }

    #[test]
    fn resolvers_of_both_families() {
        let read = resolvers(br#"["8.8.8.8", "2001:4860:4860::8888", "dns.example", 7]"#).expect("an array");
        assert_eq!(read.good.len(), 2);
        assert_eq!(read.problems, ["[2]: 'dns.example' is no IP address", "[3]: not a string"]);
        assert!(resolvers(b"8.8.8.8").is_err());
    }
}
