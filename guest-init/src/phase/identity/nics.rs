//! The network interfaces that the host gave this guest, and which of them is the main one.

use std::net::{IpAddr, Ipv4Addr};

use guest_mdata::values::{self, Address, Nic, Subnet};

use super::metadata::{Known, Metadata};
use crate::state::Link;

/// The interfaces as far as they are known.
#[derive(Debug, Default)]
pub struct Nics {
    /// Each has an Ethernet address of its own.
    pub nics: Vec<Nic>,
    /// Whether the host said so now, rather than in an earlier boot.
    pub is_said: bool,
    /// What was left out, and why.
    pub problems: Vec<String>,
}

/// What is known of the interfaces.
pub fn load(metadata: &mut Metadata) -> Nics {
    let (value, is_said) = match metadata.lookup("sdc:nics") {
        Known::Said(value) => (value, true),
        Known::Remembered(value) => (value, false),
        Known::Unknown(error) => {
            let problems = vec![format!("sdc:nics: {error}")];
            return Nics { problems, ..Nics::default() };
        }
    };
    let Some(value) = value else {
        let problems = vec!["sdc:nics: the host has no such key".to_owned()];
        return Nics { nics: Vec::new(), is_said, problems };
    };
    Nics { is_said, ..read(&value) }
}

/// Reads the value of `sdc:nics`. Of interfaces that claim one Ethernet address, the first has it.
pub fn read(value: &[u8]) -> Nics {
    let entries = match values::nics(value) {
        Ok(entries) => entries,
        Err(problem) => {
            let problems = vec![format!("sdc:nics: {problem}")];
            return Nics { problems, ..Nics::default() };
        }
    };
    let mut problems: Vec<String> =
        entries.problems.into_iter().map(|problem| format!("sdc:nics{problem}")).collect();
    let mut nics: Vec<Nic> = Vec::new();
    for nic in entries.good {
        if let Some(first) = nics.iter().find(|first| first.mac == nic.mac) {
            let (this, first) = (&nic.interface, &first.interface);
            problems.push(format!("sdc:nics: {this} is left out, it has the Ethernet address of {first}"));
        } else {
            nics.push(nic);
        }
    }
    Nics { nics, is_said: false, problems }
}

/// The main interface: the one that is flagged, or the only one, or the first with a router, or the first.
pub fn admin<'a>(nics: &(impl Iterator<Item = &'a Nic> + Clone)) -> Option<&'a Nic> {
    let first = |is_it: fn(&Nic) -> bool| nics.clone().find(|nic| is_it(nic));
    first(|nic| nic.primary).or_else(|| first(|nic| !nic.gateways.is_empty())).or_else(|| first(|_| true))
}

/// Whether the machine has a link for an interface; it is believed to as long as the links are not known.
pub fn has_link(nic: &Nic, links: Option<&[Link]>) -> bool {
    links.is_none_or(|links| links.iter().any(|link| link.mac == nic.mac.0))
}

/// How the main interface gets its IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ipv4 {
    /// It has this one.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// The bits of its network.
        prefix: u8,
    },
    /// From a DHCP server.
    Dhcp,
}

/// How an interface gets its IPv4 address: the first of its addresses that can be one. DHCP if there is none, since
/// asking does no harm.
pub fn ipv4(nic: &Nic) -> Ipv4 {
    let candidate = |address: &Address| match *address {
        Address::Static(Subnet { address: IpAddr::V4(address), prefix }) => {
            is_host(address, prefix).then_some(Ipv4::Static { address, prefix })
        }
        Address::Dhcp => Some(Ipv4::Dhcp),
        Address::Static(_) | Address::Addrconf => None,
    };
    nic.addresses.iter().find_map(candidate).unwrap_or(Ipv4::Dhcp)
}

/// Whether this can be the address of a host in a network with so many bits.
pub fn is_host(address: Ipv4Addr, prefix: u8) -> bool {
    let reserved = address.is_loopback()
        || address.is_multicast()
        || address.octets()[0] == 0
        || address.octets()[0] >= 240;
    let host_bits = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
    let host = address.to_bits() & host_bits;
    // In networks of one or two addresses, all are hosts' (RFC 3021).
    !reserved && (1..=32).contains(&prefix) && (prefix >= 31 || (host != 0 && host != host_bits))
}

/// The mask of so many bits.
pub fn netmask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(!u32::MAX.checked_shr(prefix.into()).unwrap_or(0))
}

/// The first router of an interface that its own network has.
pub fn gateway(nic: &Nic, address: Ipv4Addr, prefix: u8) -> Option<Ipv4Addr> {
    let mask = netmask(prefix).to_bits();
    nic.gateways.iter().find_map(|gateway| match gateway {
        IpAddr::V4(gateway)
            if *gateway != address
                && is_host(*gateway, prefix)
                && gateway.to_bits() & mask == address.to_bits() & mask =>
        {
            Some(*gateway)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nic(index: u8, rest: &str) -> String {
        format!(r#"{{"interface": "net{index}", "mac": "02:08:20:00:00:{index:02x}"{rest}}}"#)
    }

    fn of(nics: &[String]) -> Nics {
        read(format!("[{}]", nics.join(",")).as_bytes())
    }

    #[test]
    fn hazard_19_there_is_a_main_interface_even_if_none_is_flagged() {
        let (gateway, primary) = (r#", "gateways": ["10.0.0.1"]"#, r#", "primary": true"#);
        for (nics, expected) in [
            (vec![nic(0, gateway), nic(1, primary)], Some("net1")),
            (vec![nic(3, "")], Some("net3")),
            (vec![nic(0, ""), nic(1, gateway), nic(2, gateway)], Some("net1")),
            (vec![nic(0, ""), nic(1, r#", "primary": "true", "gateway": "10.0.0.1""#)], Some("net1")),
            (vec![nic(2, ""), nic(1, "")], Some("net2")),
            (vec![], None),
        ] {
            let nics = of(&nics).nics;
            assert_eq!(admin(&nics.iter()).map(|nic| nic.interface.as_str()), expected, "{nics:?}");
        }
    }

    #[test]
    fn of_two_with_one_ethernet_address_the_first_has_it() {
        let twice = nic(1, "").replace("net1", "net7");
        let nics = of(&[nic(0, ""), nic(1, ""), twice]);
        let names: Vec<&str> = nics.nics.iter().map(|nic| nic.interface.as_str()).collect();
        assert_eq!(names, ["net0", "net1"]);
        assert_eq!(nics.problems, ["sdc:nics: net7 is left out, it has the Ethernet address of net1"]);
    }

    #[test]
    fn addresses_that_cannot_be_a_hosts_are_passed_over() {
        let with = |ips: &str| ipv4(&of(&[nic(0, &format!(r#", "ips": [{ips}]"#))]).nics[0]);
        let address =
            |text: &str, prefix| Ipv4::Static { address: text.parse().expect("an address"), prefix };
        for (ips, expected) in [
            (r#""10.0.0.5/24""#, address("10.0.0.5", 24)),
            (r#""fd00::5/64", "addrconf", "10.0.0.5/24", "dhcp""#, address("10.0.0.5", 24)),
            (r#""dhcp", "10.0.0.5/24""#, Ipv4::Dhcp),
            (r#""10.0.0.0/24", "10.0.0.255/24", "10.0.0.6/24""#, address("10.0.0.6", 24)),
            (r#""10.0.0.0/31""#, address("10.0.0.0", 31)),
            (r#""10.0.0.255/32""#, address("10.0.0.255", 32)),
            (r#""0.0.0.0/0", "127.0.0.1/8", "224.0.0.1/24", "255.255.255.255/32", "10.0.0.5/0""#, Ipv4::Dhcp),
            (r#""fd00::5/64""#, Ipv4::Dhcp),
            ("", Ipv4::Dhcp),
        ] {
            assert_eq!(with(ips), expected, "{ips}");
        }
        assert_eq!(
            (netmask(0).to_string(), netmask(23).to_string()),
            ("0.0.0.0".into(), "255.255.254.0".into())
        );
    }

    #[test]
    fn a_router_is_one_of_its_network() {
        let nics =
            of(&[nic(0, r#", "gateways": ["fd00::1", "10.9.0.1", "10.0.0.5", "10.0.0.0", "10.0.0.1"]"#)]);
        let address = Ipv4Addr::new(10, 0, 0, 5);
        assert_eq!(gateway(&nics.nics[0], address, 24), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(gateway(&nics.nics[0], address, 32), None);
    }
}
