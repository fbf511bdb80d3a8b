//! Which rules the packet filter has: a text for each address family.
//!
//! The filter passes what no rule matches, so every card has a rule at its end that blocks everything. A rule with `quick`
//! decides; a packet of a connection that is known (`keep state`) is passed before any rule is looked at.
//!
//! * **From outside** there are SSH (from everywhere, or from the networks of `ssh_allow`), echo requests, the ICMP messages
//!   without which connections fail, and answers. Packets that claim to come from this guest or from its zones are blocked,
//!   and so are packets for zones, which are nobody's to reach but by answering them.
//! * **To the outside** goes everything. DHCP has rules of its own, because its packets have no addresses yet.
//! * **From zones** goes everything to the outside. Of the guest itself they reach what it has for them: its clock, echo, and
//!   SSH if `ssh_allow` includes them. The original image left every port of the guest open to them. There is no name
//!   server in the guest, so DNS is not among what they reach; theirs are outside.
//! * **SSH has no state.** It works when the table of states is full, and a session that began before the rules were loaded
//!   is not cut.
//!
//! A rule with `keep state` blocks a packet that no state can be made for, such as an ICMP error, so those that keep state
//! are for TCP's first packet, UDP and echo requests alone.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

/// What the rules depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The cards that lead outside.
    pub outside: Vec<Card>,
    /// The network for zones, if there is one.
    pub zones: Option<Zones>,
    /// From where SSH connections are taken; empty: from anywhere.
    pub ssh_allow: Vec<IpNet>,
}

/// A card that leads outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its name: letters, digits and underscores.
    pub link: String,
    /// Its addresses, of both families.
    pub addresses: Vec<IpAddr>,
    /// Whether its IPv4 address is from a DHCP server.
    pub dhcp: bool,
}

/// The network for zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zones {
    /// The guest's card in it.
    pub link: String,
    /// The network.
    pub subnet: Ipv4Net,
    /// The guest's address in it.
    pub gateway: Ipv4Addr,
}

/// How many addresses of the guest have rules on each card of their own, or for each network of `ssh_allow`. Those after them
/// cannot be reached by SSH from zones, and packets from outside that pretend to come from them are not told apart from
/// others: a list that grows with the product of cards and addresses is too long for a filter that tries rule after rule.
const MOST_ADDRESSES: usize = 64;

/// What begins each file.
const HEADING: &str = "# Written by guest-init at each boot. What is changed here is replaced at the next.\n";

/// The rules for IPv4.
pub fn ipv4(facts: &Facts) -> String {
    let mut rules = Rules::default();
    for card in &facts.outside {
        outside(card, Family::V4, facts, &mut rules);
    }
    if let Some(zones) = &facts.zones {
        inside(zones, facts, &mut rules);
    }
    rules.text
}

/// The rules for IPv6. Zones have none, and nothing is passed on.
pub fn ipv6(facts: &Facts) -> String {
    let mut rules = Rules::default();
    for card in &facts.outside {
        outside(card, Family::V6, facts, &mut rules);
    }
    if let Some(zones) = &facts.zones {
        rules.add(format!("block in quick on {} all", zones.link));
    }
    rules.text
}

/// The rules for address translation; `None` without zones.
///
/// Every card that leads outside has them, since a zone's packet may leave by any. `0/32` is the card's address, whichever it is.
pub fn nat(facts: &Facts) -> Option<String> {
    let zones = facts.zones.as_ref()?;
    let mut rules = Rules::default();
    for card in facts.outside.iter().filter(|card| card.dhcp || card.addresses.iter().any(IpAddr::is_ipv4)) {
        let map = format!("map {} {} -> 0/32", card.link, zones.subnet);
        rules.add(format!("{map} portmap tcp/udp auto"));
        rules.add(map);
    }
    Some(rules.text)
}

/// How many rules are in a text.
pub fn count(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

/// Rules, each once: the kernel refuses a second of the kind.
struct Rules {
    text: String,
    known: BTreeSet<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { text: HEADING.to_owned(), known: BTreeSet::new() }
    }
}

impl Rules {
    fn add(&mut self, rule: impl Into<String>) {
        let rule = rule.into();
        if !self.known.contains(&rule) {
            self.text += &rule;
            self.text.push('\n');
            self.known.insert(rule);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }
}

fn outside(card: &Card, family: Family, facts: &Facts, rules: &mut Rules) {
    let link = &card.link;
    // In: what has to pass before anything is checked.
    match family {
        Family::V4 if card.dhcp => {
            rules.add(format!("pass in quick on {link} proto udp from any port = 67 to any port = 68"));
        }
        Family::V4 => {}
        // Neighbour discovery is ICMP too, and comes with every address there is, this guest's own included.
        Family::V6 => {
            rules.add(format!("pass in quick on {link} proto ipv6-icmp all"));
            rules.add(format!("pass in quick on {link} proto udp from any port = 547 to any port = 546"));
        }
    }
    // In: lies.
    match family {
        Family::V4 => rules.add(format!("block in quick on {link} from 127.0.0.0/8 to any")),
        Family::V6 => rules.add(format!("block in quick on {link} from ::1/128 to any")),
    }
    let length = if family == Family::V4 { 32 } else { 128 };
    let own = facts.outside.iter().flat_map(|card| &card.addresses).filter(|address| family.has(**address));
    for address in own.take(MOST_ADDRESSES) {
        rules.add(format!("block in quick on {link} from {address}/{length} to any"));
    }
    if let (Some(zones), Family::V4) = (&facts.zones, family) {
        rules.add(format!("block in quick on {link} from {} to any", zones.subnet));
        rules.add(format!("block in quick on {link} from any to {}", zones.subnet));
    }
    // In: what is offered.
    for source in ssh_sources(facts, family) {
        rules.add(format!("pass in quick on {link} proto tcp from {source} to any port = 22"));
    }
    if family == Family::V4 {
        // Unreachable (with it, path MTU discovery), echo request, time exceeded.
        for kind in [3, 8, 11] {
            rules.add(format!("pass in quick on {link} proto icmp from any to any icmp-type {kind}"));
        }
    }
    rules.add(format!("block in log first quick on {link} all"));
    // Out.
    if family == Family::V4 && card.dhcp {
        rules.add(format!("pass out quick on {link} proto udp from any port = 68 to any port = 67"));
    }
    rules.add(format!("pass out quick on {link} proto tcp from any port = 22 to any"));
    rules.add(format!(
        "pass out quick on {link} proto tcp from any to any flags S/FSRPAU keep state keep frags"
    ));
    rules.add(format!("pass out quick on {link} proto udp from any to any keep state keep frags"));
    if family == Family::V4 {
        rules.add(format!("pass out quick on {link} proto icmp from any to any icmp-type 8 keep state"));
    }
    rules.add(format!("pass out quick on {link} all"));
}

fn inside(zones: &Zones, facts: &Facts, rules: &mut Rules) {
    let Zones { link, subnet, gateway } = zones;
    rules.add(format!("block in log first quick on {link} from !{subnet} to any"));
    rules.add(format!("pass in quick on {link} proto icmp from {subnet} to any icmp-type 8 keep state"));
    rules.add(format!(
        "pass in quick on {link} proto udp from {subnet} to {gateway}/32 port = 123 keep state"
    ));
    let own: Vec<Ipv4Addr> = facts
        .outside
        .iter()
        .flat_map(|card| &card.addresses)
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
        .collect();
    for address in std::iter::once(gateway).chain(own.iter().take(MOST_ADDRESSES)) {
        for source in ssh_sources_in(facts, *subnet) {
            rules.add(format!("pass in quick on {link} proto tcp from {source} to {address}/32 port = 22"));
        }
    }
    for address in std::iter::once(gateway).chain(&own) {
        rules.add(format!("pass in quick on {link} proto icmp from {subnet} to {address}/32 icmp-type 3"));
        rules.add(format!("block in log first quick on {link} from any to {address}/32"));
    }
    rules.add(format!(
        "pass in quick on {link} proto tcp from {subnet} to any flags S/FSRPAU keep state keep frags"
    ));
    rules.add(format!("pass in quick on {link} proto udp from {subnet} to any keep state keep frags"));
    rules.add(format!("pass in quick on {link} from {subnet} to any"));
    rules.add(format!("pass out quick on {link} proto tcp from any port = 22 to any"));
    rules.add(format!(
        "pass out quick on {link} proto tcp from any to any flags S/FSRPAU keep state keep frags"
    ));
    rules.add(format!("pass out quick on {link} proto udp from any to any keep state keep frags"));
    rules.add(format!("pass out quick on {link} proto icmp from any to any icmp-type 8 keep state"));
    rules.add(format!("pass out quick on {link} all"));
}

/// From where SSH connections of a family are taken.
fn ssh_sources(facts: &Facts, family: Family) -> Vec<String> {
    if facts.ssh_allow.is_empty() {
        return vec!["any".to_owned()];
    }
    let own = facts.ssh_allow.iter().filter(|network| family.has(network.addr()));
    own.map(|network| if network.prefix_len() == 0 { "any".to_owned() } else { network.trunc().to_string() })
        .collect()
}

/// From where in the network for zones SSH connections are taken.
fn ssh_sources_in(facts: &Facts, subnet: Ipv4Net) -> Vec<Ipv4Net> {
    if facts.ssh_allow.is_empty() {
        return vec![subnet];
    }
    let common = |network: &IpNet| match network {
        IpNet::V4(network) if network.contains(&subnet) => Some(subnet),
        IpNet::V4(network) if subnet.contains(network) => Some(network.trunc()),
        _ => None,
    };
    facts.ssh_allow.iter().filter_map(common).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn card(link: &str, addresses: &[&str], dhcp: bool) -> Card {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        Card { link: link.to_owned(), addresses, dhcp }
    }

    fn zones() -> Zones {
        Zones {
            link: "vnic0".to_owned(),
            subnet: "172.16.9.0/24".parse().expect("a network"),
            gateway: Ipv4Addr::new(172, 16, 9, 1),
        }
    }

    fn usual() -> Facts {
        Facts {
            outside: vec![card("e1000g0", &["10.0.0.5"], false)],
            zones: Some(zones()),
            ssh_allow: Vec::new(),
        }
    }

    fn body(text: &str) -> &str {
        text.strip_prefix(HEADING).expect("each begins with the heading")
    }

    #[test]
    fn one_static_card_and_zones() {
        assert_eq!(
            body(&ipv4(&usual())),
            "\
block in quick on e1000g0 from 127.0.0.0/8 to any
block in quick on e1000g0 from 10.0.0.5/32 to any
block in quick on e1000g0 from 172.16.9.0/24 to any
block in quick on e1000g0 from any to 172.16.9.0/24
pass in quick on e1000g0 proto tcp from any to any port = 22
pass in quick on e1000g0 proto icmp from any to any icmp-type 3
pass in quick on e1000g0 proto icmp from any to any icmp-type 8
pass in quick on e1000g0 proto icmp from any to any icmp-type 11
block in log first quick on e1000g0 all
pass out quick on e1000g0 proto tcp from any port = 22 to any
pass out quick on e1000g0 proto tcp from any to any flags S/FSRPAU keep state keep frags
pass out quick on e1000g0 proto udp from any to any keep state keep frags
pass out quick on e1000g0 proto icmp from any to any icmp-type 8 keep state
pass out quick on e1000g0 all
block in log first quick on vnic0 from !172.16.9.0/24 to any
pass in quick on vnic0 proto icmp from 172.16.9.0/24 to any icmp-type 8 keep state
pass in quick on vnic0 proto udp from 172.16.9.0/24 to 172.16.9.1/32 port = 123 keep state
pass in quick on vnic0 proto tcp from 172.16.9.0/24 to 172.16.9.1/32 port = 22
pass in quick on vnic0 proto tcp from 172.16.9.0/24 to 10.0.0.5/32 port = 22
pass in quick on vnic0 proto icmp from 172.16.9.0/24 to 172.16.9.1/32 icmp-type 3
block in log first quick on vnic0 from any to 172.16.9.1/32
pass in quick on vnic0 proto icmp from 172.16.9.0/24 to 10.0.0.5/32 icmp-type 3
block in log first quick on vnic0 from any to 10.0.0.5/32
pass in quick on vnic0 proto tcp from 172.16.9.0/24 to any flags S/FSRPAU keep state keep frags
pass in quick on vnic0 proto udp from 172.16.9.0/24 to any keep state keep frags
pass in quick on vnic0 from 172.16.9.0/24 to any
pass out quick on vnic0 proto tcp from any port = 22 to any
pass out quick on vnic0 proto tcp from any to any flags S/FSRPAU keep state keep frags
pass out quick on vnic0 proto udp from any to any keep state keep frags
pass out quick on vnic0 proto icmp from any to any icmp-type 8 keep state
pass out quick on vnic0 all
"
        );
        assert_eq!(
            body(&ipv6(&usual())),
            "\
pass in quick on e1000g0 proto ipv6-icmp all
pass in quick on e1000g0 proto udp from any port = 547 to any port = 546
block in quick on e1000g0 from ::1/128 to any
pass in quick on e1000g0 proto tcp from any to any port = 22
block in log first quick on e1000g0 all
pass out quick on e1000g0 proto tcp from any port = 22 to any
pass out quick on e1000g0 proto tcp from any to any flags S/FSRPAU keep state keep frags
pass out quick on e1000g0 proto udp from any to any keep state keep frags
pass out quick on e1000g0 all
block in quick on vnic0 all
"
        );
        assert_eq!(
            body(&nat(&usual()).expect("rules")),
            "map e1000g0 172.16.9.0/24 -> 0/32 portmap tcp/udp auto\nmap e1000g0 172.16.9.0/24 -> 0/32\n"
        );
    }

    #[test]
    fn a_dhcp_card_alone() {
        let facts = Facts { outside: vec![card("vioif0", &[], true)], zones: None, ssh_allow: Vec::new() };
        assert_eq!(
            body(&ipv4(&facts)),
            "\
pass in quick on vioif0 proto udp from any port = 67 to any port = 68
block in quick on vioif0 from 127.0.0.0/8 to any
pass in quick on vioif0 proto tcp from any to any port = 22
pass in quick on vioif0 proto icmp from any to any icmp-type 3
pass in quick on vioif0 proto icmp from any to any icmp-type 8
pass in quick on vioif0 proto icmp from any to any icmp-type 11
block in log first quick on vioif0 all
pass out quick on vioif0 proto udp from any port = 68 to any port = 67
pass out quick on vioif0 proto tcp from any port = 22 to any
pass out quick on vioif0 proto tcp from any to any flags S/FSRPAU keep state keep frags
pass out quick on vioif0 proto udp from any to any keep state keep frags
pass out quick on vioif0 proto icmp from any to any icmp-type 8 keep state
pass out quick on vioif0 all
"
        );
        assert_eq!(nat(&facts), None);
    }

    #[test]
    fn ssh_from_some_networks_only() {
        let allow = |networks: &[&str]| {
            let ssh_allow = networks.iter().map(|network| network.parse().expect("a network")).collect();
            let facts = Facts { ssh_allow, ..usual() };
            let ssh = |text: String| -> Vec<String> {
                let lines =
                    text.lines().filter(|line| line.starts_with("pass in") && line.ends_with("port = 22"));
                lines.map(|line| line.replace("pass in quick on ", "").replace(" proto tcp", "")).collect()
            };
            (ssh(ipv4(&facts)), ssh(ipv6(&facts)))
        };
        let (ipv4, ipv6) = allow(&["10.0.0.0/8", "10.0.0.0/8", "fd00::7/128"]);
        assert_eq!(ipv4, ["e1000g0 from 10.0.0.0/8 to any port = 22"]);
        assert_eq!(ipv6, ["e1000g0 from fd00::7/128 to any port = 22"]);
        let (ipv4, ipv6) = allow(&["172.16.9.7/32", "0.0.0.0/0"]);
        assert_eq!(
            ipv4,
            [
                "e1000g0 from 172.16.9.7/32 to any port = 22",
                "e1000g0 from any to any port = 22",
                "vnic0 from 172.16.9.7/32 to 172.16.9.1/32 port = 22",
                "vnic0 from 172.16.9.0/24 to 172.16.9.1/32 port = 22",
                "vnic0 from 172.16.9.7/32 to 10.0.0.5/32 port = 22",
                "vnic0 from 172.16.9.0/24 to 10.0.0.5/32 port = 22",
            ]
        );
        assert!(ipv6.is_empty(), "{ipv6:?}");
    }

    #[test]
    fn every_card_ends_with_a_block_and_is_mapped() {
        let facts = Facts {
            outside: vec![
                card("e1000g0", &["10.0.0.5", "10.0.0.6", "fd00::5"], false),
                card("e1000g1", &[], true),
                card("e1000g2", &["fd01::5"], false),
            ],
            ..usual()
        };
        for text in [ipv4(&facts), ipv6(&facts)] {
            for link in ["e1000g0", "e1000g1", "e1000g2"] {
                let last_in = text.lines().rfind(|line| line.contains(" in ") && line.contains(link));
                assert_eq!(last_in, Some(&*format!("block in log first quick on {link} all")));
            }
        }
        // An address of one card is a lie on every other.
        assert!(ipv4(&facts).contains("block in quick on e1000g1 from 10.0.0.6/32 to any\n"));
        assert!(ipv6(&facts).contains("block in quick on e1000g1 from fd00::5/128 to any\n"));
        let maps = nat(&facts).expect("rules");
        assert_eq!(count(&maps), 4);
        assert!(maps.contains("map e1000g1 172.16.9.0/24 ") && !maps.contains("e1000g2"));
    }

    #[test]
    fn many_cards_with_many_addresses_have_a_list_that_can_be_read_back() {
        // As many as a hypervisor can give, each as many as are looked at.
        let addresses = |number: u8| (0..32).map(move |host| Ipv4Addr::new(10, 0, number, host));
        let cards = (0..64_u8).map(|number| Card {
            link: format!("vioif{number}"),
            addresses: addresses(number).map(IpAddr::from).collect(),
            dhcp: false,
        });
        let allowed = (0..64).map(|host| format!("172.16.9.{host}/32").parse().expect("a network"));
        let facts = Facts { outside: cards.collect(), zones: Some(zones()), ssh_allow: allowed.collect() };
        let text = ipv4(&facts);
        assert!(text.len() < crate::command::LONGEST_OUTPUT / 2, "{}", text.len());
        // All the same, zones reach no port at any of its addresses that they should not.
        let rules: BTreeSet<&str> = text.lines().collect();
        for address in (0..64).flat_map(addresses) {
            let block = format!("block in log first quick on vnic0 from any to {address}/32");
            assert!(rules.contains(&*block), "{address}");
        }
    }

    proptest! {
        #[test]
        fn no_rule_is_there_twice(
            addresses in proptest::collection::vec(any::<IpAddr>(), 0..6),
            allow in proptest::collection::vec((any::<Ipv4Addr>(), 0_u8..=32), 0..6),
            dhcp in any::<bool>(),
        ) {
            let ssh_allow = allow
                .into_iter()
                .map(|(address, length)| IpNet::new(address.into(), length).expect("a network").trunc())
                .collect();
            let outside = vec![
                Card { link: "e1000g0".to_owned(), addresses, dhcp },
                card("e1000g1", &["10.0.0.5"], dhcp),
            ];
            let facts = Facts { outside, zones: Some(zones()), ssh_allow };
            for text in [ipv4(&facts), ipv6(&facts)] {
                let mut lines: Vec<&str> = text.lines().collect();
                prop_assert!(lines.len() < 200 && count(&text) == lines.len() - 1);
                lines.sort_unstable();
                lines.dedup();
                prop_assert_eq!(lines.len(), text.lines().count());
            }
        }
    }
}
