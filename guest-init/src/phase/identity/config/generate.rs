//! The lines that follow from what the host says.
//!
//! What they mean to which platform (smartos-live, `network/physical` and its helpers):
//! * `admin_nic` is the Ethernet address of the main interface; without `admin_ip` it asks a DHCP server. The value `dhcp`
//!   is not understood in 2013, so the line is left out instead.
//! * A router is read as `admin_gateway` or `headnode_default_gateway`; platforms differ in which, so both are there.
//! * `admin_mtu` is read since 2014, and ends the network service with a fatal error unless it is from 1500 to 9000.
//! * Name servers are used only when both `dns_resolvers` and `dns_domain` are there.
//! * `etherstub` makes a switch for zones, and its name one that they can use.
//! * `netN_nic` makes a further interface usable for zones. It has no address there: `netN_ip` would make a VNIC with an
//!   Ethernet address that the host does not let through.

use std::net::IpAddr;

use guest_mdata::values::{MacAddress, Nic};

use super::format::Line;
use crate::phase::identity::nics::{self, Ipv4};
use crate::state::Link;

/// What the platform's MTU may be.
pub const MTU: std::ops::RangeInclusive<u16> = 1500..=9000;

/// How many name servers a resolver asks (`MAXNS`).
const MOST_RESOLVERS: usize = 3;

/// The domain of a guest that the host gave none. Without one, name servers would not be used at all.
const DOMAIN: &str = "local";

/// What lines are made from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The interfaces.
    pub nics: &'a [Nic],
    /// The links of the machine, if they are known.
    pub links: Option<&'a [Link]>,
    /// The link that is taken if none is known to be this guest's, rather than the first.
    pub last_resort: Option<&'a Link>,
    /// The name servers.
    pub resolvers: &'a [IpAddr],
    /// The DNS domain.
    pub domain: Option<&'a str>,
    /// The host name.
    pub hostname: Option<&'a str>,
    /// The name of the switch for zones.
    pub etherstub: &'a str,
}

/// The lines that follow from the facts, and what was amiss.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The lines.
    pub lines: Vec<Line>,
    /// What the owner should know.
    pub notes: Vec<String>,
    /// Whether no link is known to be this guest's, so that one was taken on the off chance.
    pub is_last_resort: bool,
}

impl Wanted {
    fn add(&mut self, name: &str, value: &impl ToString) {
        let value = value.to_string();
        match Line::new(name, &value) {
            Some(line) => self.lines.push(line),
            None => {
                self.notes.push(format!("{name} is left out: '{}' cannot be written", value.escape_debug()));
            }
        }
    }
}

/// Whether lines of this name are made here, and so replaced when the file is made anew.
pub fn is_made_here(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "admin_nic",
        "admin_ip",
        "admin_netmask",
        "admin_gateway",
        "headnode_default_gateway",
        "admin_mtu",
        "dns_resolvers",
        "dns_domain",
        "hostname",
        "etherstub",
    ];
    NAMES.contains(&name) || name.strip_suffix("_nic").is_some_and(is_tag)
}

/// Whether this is a name such as `net1`, with a number up to 99.
fn is_tag(name: &str) -> bool {
    name.strip_prefix("net").is_some_and(|digits| {
        (1..=2).contains(&digits.len())
            && digits.bytes().all(|digit| digit.is_ascii_digit())
            && (digits.len() == 1 || !digits.starts_with('0'))
    })
}

/// The lines for these facts; `None` if there is no interface to speak of.
pub fn wanted(facts: &Facts<'_>) -> Option<Wanted> {
    let mut wanted = Wanted::default();
    let linked = facts.nics.iter().filter(|nic| nics::has_link(nic, facts.links));
    let admin = nics::admin(&linked);
    for nic in facts.nics.iter().filter(|nic| !nics::has_link(nic, facts.links)) {
        wanted
            .notes
            .push(format!("no link of this machine has {}'s Ethernet address {}", nic.interface, nic.mac));
    }
    if let Some(admin) = admin {
        main_interface(&mut wanted, admin);
    } else {
        // The host does not know this machine's interfaces, or is silent: any address is better than none.
        let link = facts.last_resort.or(facts.links?.first())?;
        wanted.notes.push(format!("the network comes from a DHCP server on {}", link.name));
        wanted.add("admin_nic", &MacAddress(link.mac));
        wanted.is_last_resort = true;
    }
    if !facts.resolvers.is_empty() {
        let resolvers: Vec<String> =
            facts.resolvers.iter().take(MOST_RESOLVERS).map(ToString::to_string).collect();
        wanted.add("dns_resolvers", &resolvers.join(","));
        wanted.add("dns_domain", &facts.domain.unwrap_or(DOMAIN));
    }
    if let Some(hostname) = facts.hostname {
        wanted.add("hostname", &hostname);
    }
    wanted.add("etherstub", &facts.etherstub);
    further_interfaces(&mut wanted, linked.filter(|nic| admin.is_none_or(|admin| admin.mac != nic.mac)));
    Some(wanted)
}

fn main_interface(wanted: &mut Wanted, nic: &Nic) {
    wanted.add("admin_nic", &nic.mac);
    match nics::ipv4(nic) {
        Ipv4::Dhcp => {
            if !nic.addresses.iter().any(|address| matches!(address, guest_mdata::values::Address::Dhcp)) {
                let interface = &nic.interface;
                wanted
                    .notes
                    .push(format!("{interface} has no usable IPv4 address, a DHCP server is asked for one"));
            }
        }
        Ipv4::Static { address, prefix } => {
            wanted.add("admin_ip", &address);
            wanted.add("admin_netmask", &nics::netmask(prefix));
            match nics::gateway(nic, address, prefix) {
                Some(gateway) => {
                    wanted.add("admin_gateway", &gateway);
                    wanted.add("headnode_default_gateway", &gateway);
                }
                None => wanted.notes.push(format!("{} has no usable router", nic.interface)),
            }
        }
    }
    match nic.mtu {
        // 1500 is what it has anyway.
        Some(mtu) if mtu > *MTU.start() && MTU.contains(&mtu) => wanted.add("admin_mtu", &mtu),
        Some(mtu) if !MTU.contains(&mtu) => {
            wanted.notes.push(format!("the MTU {mtu} of {} is none that the platform takes", nic.interface));
        }
        _ => {}
    }
}

fn further_interfaces<'a>(wanted: &mut Wanted, nics: impl Iterator<Item = &'a Nic>) {
    let mut tags: Vec<String> = Vec::new();
    for nic in nics {
        // Names such as net1 are the host's. One that is of another form, or taken, has no tag; its address does not
        // depend on one.
        if is_tag(&nic.interface) && !tags.contains(&nic.interface) {
            wanted.add(&format!("{}_nic", nic.interface), &nic.mac);
            tags.push(nic.interface.clone());
        } else {
            wanted.notes.push(format!("zones cannot use {}", nic.interface));
        }
    }
}

/// Whether this can be a DNS domain.
pub fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::format::{self, Config};
    use super::*;

    fn made(nics: &str, links: Option<&[Link]>) -> Option<Wanted> {
        let nics = nics::read(nics.as_bytes()).nics;
        let facts = Facts {
            nics: &nics,
            links,
            last_resort: None,
            resolvers: &[],
            domain: None,
            hostname: None,
            etherstub: "vswitch0",
        };
        wanted(&facts)
    }

    fn value<'a>(wanted: &'a Wanted, name: &str) -> Option<&'a str> {
        wanted.lines.iter().find(|line| line.name() == name).map(Line::value)
    }

    #[test]
    fn dhcp_is_no_address() {
        let wanted =
            made(r#"[{"interface": "net0", "mac": "2:8:20:0:0:0", "ip": "dhcp"}]"#, None).expect("made");
        let shown: String = wanted.lines.iter().map(ToString::to_string).collect();
        assert_eq!(shown, "admin_nic=02:08:20:00:00:00\netherstub=vswitch0\n");
        assert_eq!(wanted.notes, [""; 0]);
    }

    #[test]
    fn an_mtu_that_ends_the_network_service_is_left_out() {
        for (mtu, line, notes) in [(1400, None, 1), (1500, None, 0), (9000, Some("9000"), 0), (9001, None, 1)]
        {
            let nics =
                format!(r#"[{{"interface": "net0", "mac": "2:8:20:0:0:0", "ip": "dhcp", "mtu": {mtu}}}]"#);
            let wanted = made(&nics, None).expect("made");
            assert_eq!((value(&wanted, "admin_mtu"), wanted.notes.len()), (line, notes), "{mtu}");
        }
    }

    #[test]
    fn further_interfaces_are_tags_without_addresses() {
        let nics: Vec<String> = (0..64)
            .map(|index| {
                format!(r#"{{"interface": "net{index}", "mac": "2:8:20:0:0:{index:x}", "ips": ["10.0.{index}.5/24"]}}"#)
            })
            .collect();
        let wanted = made(&format!("[{}]", nics.join(",")), None).expect("made");
        assert_eq!(value(&wanted, "net63_nic"), Some("02:08:20:00:00:3f"));
        assert_eq!(value(&wanted, "net0_nic"), None, "it is the main one");
        assert_eq!(wanted.lines.iter().filter(|line| line.name().ends_with("_nic")).count(), 64);
        assert!(!wanted.lines.iter().any(|line| line.name().ends_with("_ip") && line.name() != "admin_ip"));
        assert!(wanted.lines.iter().all(|line| is_made_here(line.name())));
        assert!(!is_made_here("net100_nic") && !is_made_here("net01_nic") && !is_made_here("net1_ip"));
    }

    #[test]
    fn hazard_23_interfaces_without_a_link_are_not_the_main_one() {
        let nics = r#"[{"interface": "net0", "mac": "2:8:20:0:0:0", "primary": true, "ip": "dhcp"},
            {"interface": "net1", "mac": "2:8:20:0:0:1", "ip": "dhcp"}]"#;
        let link = |last| Link { name: "e1000g0".to_owned(), mac: [2, 8, 0x20, 0, 0, last] };
        let wanted = made(nics, Some(&[link(1)])).expect("made");
        assert_eq!(value(&wanted, "admin_nic"), Some("02:08:20:00:00:01"));
        assert_eq!(wanted.notes, ["no link of this machine has net0's Ethernet address 02:08:20:00:00:00"]);
        let wanted = made(nics, Some(&[link(7), link(8)])).expect("made");
        assert_eq!(value(&wanted, "admin_nic"), Some("02:08:20:00:00:07"));
        assert!(wanted.is_last_resort);
        assert_eq!(made(nics, Some(&[])), None);
        assert_eq!(made("[]", None), None);
    }

    #[test]
    fn name_servers_and_domain_come_together() {
        let resolvers: Vec<IpAddr> = ["10.0.0.2", "fd00::2", "10.0.0.3", "10.0.0.4"]
            .map(|text| text.parse().expect("an address"))
            .into();
        let links = [Link { name: "vioif0".to_owned(), mac: [2, 0, 0, 0, 0, 1] }];
        let facts = Facts {
            nics: &[],
            links: Some(&links),
            last_resort: None,
            resolvers: &resolvers,
            domain: Some("example.com"),
            hostname: Some("web"),
            etherstub: "vswitch0",
        };
        let wanted = wanted(&facts).expect("made");
        assert_eq!(value(&wanted, "dns_resolvers"), Some("10.0.0.2,fd00::2,10.0.0.3"));
        assert_eq!(value(&wanted, "dns_domain"), Some("example.com"));
        for (text, good) in [
            ("a.b", true),
            ("a", true),
            ("", false),
            ("a..b", false),
            ("-a", false),
            ("a_b", false),
            ("a b", false),
        ] {
            assert_eq!(is_domain(text), good, "{text}");
        }
    }

    proptest! {
        #[test]
        fn hazard_20_hostile_metadata_becomes_harmless_lines(
            names in prop::collection::vec("net[0-9]{1,3}|[a-z$;`]{0,6}", 0..6),
            macs in prop::collection::vec("2:8:20:0:0:[0-9a-f]|[0-9a-f:$]{0,17}", 6),
            ips in prop::collection::vec("10\\.0\\.0\\.[0-9]{1,3}/[0-9]{1,2}|dhcp|[0-9./$();]{0,18}", 6),
            domain in "[a-z.$; ]{0,12}",
            hostname in "[a-z$`; \n]{0,12}",
        ) {
            let nics: Vec<serde_json::Value> = names
                .iter()
                .zip(&macs)
                .zip(&ips)
                .map(|((name, mac), ip)| {
                    serde_json::json!({"interface": name, "mac": mac, "ips": [ip], "ip": ip, "netmask": ip, "gateways": [ip]})
                })
                .collect();
            let nics = nics::read(serde_json::Value::from(nics).to_string().as_bytes()).nics;
            let facts = Facts {
                nics: &nics, links: None, last_resort: None, resolvers: &[], domain: Some(&domain), hostname: Some(&hostname), etherstub: "$(reboot)",
            };
            if let Some(wanted) = wanted(&facts) {
                let config = Config::parse(format::text(&wanted.lines).as_bytes());
                prop_assert_eq!(&config.lines, &wanted.lines);
                prop_assert!(config.problems.is_empty());
                prop_assert_eq!(config.get("etherstub"), None);
                prop_assert!(config.get("admin_nic").is_some_and(|mac| mac.parse::<MacAddress>().is_ok()));
            }
        }
    }
}
