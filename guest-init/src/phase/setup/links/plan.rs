//! Which addresses are missing.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};

use guest_mdata::values::{Address, MacAddress, Nic, Subnet};

use crate::command::Invocation;
use crate::command::ifconfig::{self, Interface};
use crate::phase::identity::nics::is_host;
use crate::state::Link;

/// The smallest packet size with which IPv4 is of use: every host must be able to take so much (RFC 791).
const LEAST_MTU: u16 = 576;

/// The smallest with which IPv6 works at all (RFC 8200, section 5). The kernel takes no smaller one.
const LEAST_MTU_IPV6: u16 = 1280;

/// The most addresses of a card that are looked at.
const MOST_ADDRESSES: usize = 32;

/// What is known.
pub struct Facts<'a> {
    /// What the host says.
    pub nics: &'a [Nic],
    /// The card whose first IPv4 address is none of our business.
    pub admin: Option<MacAddress>,
    /// The cards that there are.
    pub links: &'a [Link],
    /// The addresses that they have.
    pub interfaces: &'a [Interface],
}

/// What has to be done, in this order.
#[derive(Debug, Default)]
pub struct Plan {
    /// Commands.
    pub changes: Vec<Change>,
    /// What cannot be done.
    pub notes: Vec<String>,
}

/// A command for a card.
#[derive(Debug)]
pub struct Change {
    /// The card.
    pub link: String,
    /// The command.
    pub command: Invocation,
    /// Whether it makes the card's address a matter of DHCP.
    pub is_dhcp: bool,
}

/// Which addresses are missing. Addresses that are there and that nobody asked for stay: they may be the owner's, and those
/// that the metadata had earlier are gone after the next boot.
pub fn plan(facts: &Facts<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut seen: Vec<MacAddress> = Vec::new();
    for nic in facts.nics {
        if seen.contains(&nic.mac) {
            plan.notes.push(format!("{} is in sdc:nics twice; only the first is heeded", nic.mac));
            continue;
        }
        seen.push(nic.mac);
        match facts.links.iter().find(|link| link.mac == nic.mac.0) {
            Some(link) => Card::new(&link.name, nic, facts).plan(&mut plan),
            None => plan.notes.push(format!("no card has the address {} of {}", nic.mac, nic.interface)),
        }
    }
    plan
}

/// A card, as it is and as it should be.
struct Card<'a> {
    link: &'a str,
    nic: &'a Nic,
    is_admin: bool,
    ipv4: Vec<&'a Interface>,
    ipv6: Vec<&'a Interface>,
}

impl<'a> Card<'a> {
    fn new(link: &'a str, nic: &'a Nic, facts: &Facts<'a>) -> Self {
        let of_family = |is_ipv6| {
            let is_own = |interface: &&Interface| interface.link == link && interface.is_ipv6 == is_ipv6;
            facts.interfaces.iter().filter(is_own).collect()
        };
        let (ipv4, ipv6) = (of_family(false), of_family(true));
        Self { link, nic, is_admin: facts.admin == Some(nic.mac), ipv4, ipv6 }
    }

    fn plan(&self, plan: &mut Plan) {
        self.plan_ipv4(plan);
        self.plan_ipv6(plan);
    }

    fn add(&self, plan: &mut Plan, command: Invocation) {
        plan.changes.push(Change { link: self.link.to_owned(), command, is_dhcp: false });
    }

    fn note(&self, plan: &mut Plan, what: impl Display) {
        plan.notes.push(format!("{}: {what}", self.nic.interface));
    }

    fn plan_ipv4(&self, plan: &mut Plan) {
        let wanted = self.wanted_ipv4(plan);
        let Some((first, others)) = wanted.split_first() else { return };
        let place = self.ipv4.iter().find(|interface| interface.unit == 0);
        let is_dhcp = place.is_some_and(|place| place.has("DHCP"));
        let has_first = is_dhcp || place.is_some_and(|place| place.address.is_some());
        let mut mtu = self.mtu(&self.ipv4, LEAST_MTU, plan);
        match *first {
            _ if has_first && self.is_admin => {}
            Wanted::Static(address, prefix) if has_first => self.add_static(plan, address, prefix),
            Wanted::Dhcp if is_dhcp => {}
            Wanted::Dhcp if has_first => {
                self.note(plan, "it has an address already, and asks no DHCP server before the next boot");
            }
            Wanted::Static(..) | Wanted::Dhcp => {
                if place.is_none() {
                    self.add(plan, ifconfig::plumb(self.link));
                }
                match *first {
                    Wanted::Static(address, prefix) => {
                        self.add(plan, ifconfig::set(self.link, address, prefix, mtu.take()));
                    }
                    Wanted::Dhcp => plan.changes.push(Change {
                        link: self.link.to_owned(),
                        command: ifconfig::dhcp(self.link),
                        is_dhcp: true,
                    }),
                }
            }
        }
        if let Some(mtu) = mtu {
            self.add(plan, ifconfig::set_mtu(self.link, mtu));
        }
        for other in others {
            match *other {
                Wanted::Static(address, prefix) => self.add_static(plan, address, prefix),
                Wanted::Dhcp if is_dhcp => {}
                Wanted::Dhcp => self.note(plan, "DHCP can only give the first address of a card"),
            }
        }
    }

    /// The IPv4 addresses that the card should have, each once.
    fn wanted_ipv4(&self, plan: &mut Plan) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for address in self.nic.addresses.iter().take(MOST_ADDRESSES) {
            let address = match *address {
                Address::Dhcp => Wanted::Dhcp,
                Address::Static(Subnet { address: IpAddr::V4(address), prefix }) => {
                    if !is_host(address, prefix) {
                        self.note(plan, format_args!("{address}/{prefix} is no address of a host"));
                        continue;
                    }
                    Wanted::Static(address, prefix)
                }
                Address::Static(_) | Address::Addrconf => continue,
            };
            if !wanted.contains(&address) {
                wanted.push(address);
            }
        }
        wanted
    }

    /// Adds an address unless it is there.
    fn add_static(&self, plan: &mut Plan, address: Ipv4Addr, prefix: u8) {
        if has(&self.ipv4, address.into()) {
            return;
        }
        self.add(plan, ifconfig::add(self.link, Subnet { address: address.into(), prefix }));
    }

    /// The size of packets of a family, if it has to be changed. A network of a fabric has smaller ones than the card could
    /// send. Larger ones than the card's would be refused.
    fn mtu(&self, interfaces: &[&Interface], least: u16, plan: &mut Plan) -> Option<u16> {
        let wanted = self.nic.mtu?;
        let current = interfaces.first().map_or(1500, |interface| interface.mtu);
        if wanted < least || u32::from(wanted) > current {
            let family = if least == LEAST_MTU { "" } else { " of IPv6" };
            self.note(plan, format_args!("packets{family} of {wanted} bytes are not possible here"));
            return None;
        }
        (u32::from(wanted) != current).then_some(wanted)
    }

    fn plan_ipv6(&self, plan: &mut Plan) {
        let mut wanted: Vec<Subnet> = Vec::new();
        let mut has_any = false;
        for address in self.nic.addresses.iter().take(MOST_ADDRESSES) {
            match *address {
                Address::Static(subnet) if subnet.address.is_ipv6() => {
                    let is_host = !subnet.address.is_unspecified()
                        && !subnet.address.is_loopback()
                        && !subnet.address.is_multicast();
                    if !is_host {
                        self.note(plan, format_args!("{subnet} is no address of a host"));
                        continue;
                    }
                    has_any = true;
                    if !wanted.contains(&subnet) {
                        wanted.push(subnet);
                    }
                }
                Address::Addrconf => has_any = true,
                Address::Static(_) | Address::Dhcp => {}
            }
        }
        let mtu = if has_any { self.mtu(&self.ipv6, LEAST_MTU_IPV6, plan) } else { None };
        if has_any && self.ipv6.is_empty() {
            self.add(plan, ifconfig::plumb_ipv6(self.link, mtu));
        } else if let Some(mtu) = mtu {
            self.add(plan, ifconfig::set_mtu_ipv6(self.link, mtu));
        }
        for subnet in wanted {
            if !has(&self.ipv6, subnet.address) {
                self.add(plan, ifconfig::add(self.link, subnet));
            }
        }
    }
}

fn has(interfaces: &[&Interface], address: IpAddr) -> bool {
    interfaces.iter().any(|interface| interface.address.is_some_and(|own| own.address == address))
}

/// An IPv4 address that a card should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Static(Ipv4Addr, u8),
    Dhcp,
}

#[cfg(test)]
mod tests {
    use guest_mdata::values::nics;

    use super::*;

    const LO0: &str =
        "lo0: flags=2001000849<UP,LOOPBACK,IPv4> mtu 8232 index 1\n\tinet 127.0.0.1 netmask ff000000\n";
    const FIRST: &str = "e1000g0: flags=1000943<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2\n\
                         \tinet 10.0.0.5 netmask ffffff00 broadcast 10.0.0.255\n";

    /// The commands and notes for `sdc:nics`, with cards `e1000g0` to `e1000g2` with addresses `2:0:0:0:0:0` to `:2`, of which the
    /// first is the first.
    fn planned(nics_text: &str, interfaces: &str) -> (Vec<String>, Vec<String>) {
        let nics = nics(nics_text.as_bytes()).expect("an array").good;
        let links: Vec<Link> = (0..3)
            .map(|index| Link { name: format!("e1000g{index}"), mac: [2, 0, 0, 0, 0, index] })
            .collect();
        let interfaces = ifconfig::interfaces(&format!("{LO0}{interfaces}"));
        let admin = Some(MacAddress([2, 0, 0, 0, 0, 0]));
        let plan = plan(&Facts { nics: &nics, admin, links: &links, interfaces: &interfaces });
        let commands = plan.changes.iter().map(|change| {
            let command = change.command.to_string();
            command.strip_prefix("/usr/sbin/ifconfig ").expect("all are of one program").to_owned()
        });
        (commands.collect(), plan.notes)
    }

    fn nic(number: u8, rest: &str) -> String {
        format!(r#"{{"interface": "net{number}", "mac": "02:00:00:00:00:0{number}", {rest}}}"#)
    }

    #[test]
    fn the_first_address_is_left_to_the_platform() {
        for rest in
            [r#""ips": ["10.0.0.5/24"]"#, r#""ips": ["10.7.0.5/24"]"#, r#""ips": ["dhcp"]"#, r#""mtu": 1500"#]
        {
            assert_eq!(planned(&format!("[{}]", nic(0, rest)), FIRST).0, [""; 0], "{rest}");
        }
    }

    #[test]
    fn further_addresses_of_the_first_card() {
        let rest = r#""ips": ["10.0.0.5/24", "10.0.0.6/24", "fd00::5/64", "fd00::6/64"], "mtu": 1400"#;
        let (commands, notes) = planned(&format!("[{}]", nic(0, rest)), FIRST);
        assert_eq!(
            commands,
            [
                "e1000g0 mtu 1400",
                "e1000g0 inet addif 10.0.0.6/24 up",
                "e1000g0 inet6 plumb mtu 1400 up",
                "e1000g0 inet6 addif fd00::5/64 up",
                "e1000g0 inet6 addif fd00::6/64 up",
            ]
        );
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn each_family_has_its_own_size_of_packets() {
        let with = |mtu: u16| format!("[{}]", nic(1, &format!(r#""ips": ["addrconf"], "mtu": {mtu}"#)));
        assert_eq!(planned(&with(1400), FIRST).0, ["e1000g1 inet6 plumb mtu 1400 up"]);
        let there = |mtu: u16| {
            format!("{FIRST}e1000g1: flags=20002000841<UP,IPv6> mtu {mtu} index 3\n\tinet6 fe80::1/10\n")
        };
        assert_eq!(planned(&with(1400), &there(1500)).0, ["e1000g1 inet6 mtu 1400"]);
        assert_eq!(planned(&with(1400), &there(1400)).0, [""; 0]);
        let (commands, notes) = planned(&with(1279), FIRST);
        assert_eq!(commands, ["e1000g1 inet6 plumb up"]);
        assert_eq!(notes, ["net1: packets of IPv6 of 1279 bytes are not possible here"]);
    }

    #[test]
    fn additional_cards_of_every_kind() {
        let nics = format!(
            "[{}, {}, {}]",
            nic(2, r#""ips": ["dhcp", "addrconf"]"#),
            nic(0, r#""ip": "10.0.0.5", "netmask": "255.255.255.0", "primary": true"#),
            nic(
                1,
                r#""ips": ["192.168.128.5/22"], "nic_tag": "sdc_overlay/7", "mtu": 1400, "gateway": "192.168.128.1""#
            ),
        );
        let (commands, notes) = planned(&nics, FIRST);
        assert_eq!(
            commands,
            [
                "e1000g2 plumb",
                "e1000g2 dhcp",
                "e1000g2 inet6 plumb up",
                "e1000g1 plumb",
                "e1000g1 inet 192.168.128.5 netmask 255.255.252.0 mtu 1400 up",
            ]
        );
        assert_eq!(notes, [""; 0]);
        let after = format!(
            "{FIRST}\
             e1000g2: flags=1004843<UP,DHCP,IPv4> mtu 1500 index 3\n\tinet 192.168.9.77 netmask ffffff00\n\
             e1000g1: flags=1000843<UP,IPv4> mtu 1400 index 4\n\tinet 192.168.128.5 netmask fffffc00\n\
             e1000g2: flags=20002000841<UP,IPv6> mtu 1500 index 3\n\tinet6 fe80::1/10\n"
        );
        assert_eq!(planned(&nics, &after).0, [""; 0], "a second look finds nothing to do");
    }

    #[test]
    fn what_was_begun_is_finished() {
        let nics = format!("[{}]", nic(1, r#""ips": ["10.1.0.5/24", "10.1.0.6/24"]"#));
        let begun =
            format!("{FIRST}e1000g1: flags=1000842<IPv4> mtu 1500 index 3\n\tinet 0.0.0.0 netmask 0\n");
        assert_eq!(
            planned(&nics, &begun).0,
            ["e1000g1 inet 10.1.0.5 netmask 255.255.255.0 up", "e1000g1 inet addif 10.1.0.6/24 up"]
        );
        let own = format!(
            "{FIRST}e1000g1: flags=1000843<UP,IPv4> mtu 1500 index 3\n\tinet 10.9.9.9 netmask ffffff00\n"
        );
        assert_eq!(
            planned(&nics, &own).0,
            ["e1000g1 inet addif 10.1.0.5/24 up", "e1000g1 inet addif 10.1.0.6/24 up"],
            "an address that somebody else set stays"
        );
    }

    #[test]
    fn impossible_entries_cost_only_themselves() {
        let nics = format!(
            "[{}, {}, {}, {}]",
            nic(1, r#""ips": ["127.0.0.1/8", "224.0.0.1/4", "::1/128", "10.1.0.5/24", "10.1.0.5/24"], "mtu": 9000"#),
            nic(1, r#""ips": ["10.2.0.5/24"]"#),
            nic(9, r#""ips": ["10.3.0.5/24"]"#),
            nic(2, ""),
        )
        .replace(", }", "}");
        let (commands, notes) = planned(&nics, FIRST);
        assert_eq!(commands, ["e1000g1 plumb", "e1000g1 inet 10.1.0.5 netmask 255.255.255.0 up"]);
        assert_eq!(notes.len(), 6, "{notes:?}");
    }
}
