//! What the rules depend on, as it is now.

use std::net::IpAddr;

use anyhow::{Result, bail};

use super::rules::{Card, Facts, Zones};
use crate::command::dladm::is_link_name;
use crate::command::ifconfig::Interface;
use crate::engine::Guest;
use crate::phase::identity::settings::Settings;
use crate::phase::setup::{survey, zone_network};
use crate::state::Link;

/// The facts.
pub fn facts(guest: &mut Guest<'_>) -> Result<Facts> {
    let settings = zone_network::settled(guest)?.settings;
    let links = survey::links(guest)?;
    let interfaces = survey::interfaces(guest)?;
    let facts = from(&settings, &links, &interfaces);
    if facts.outside.is_empty() {
        bail!("there is no network card, or nobody tells of one, so there can be no rules");
    }
    Ok(facts)
}

/// The facts in what was found, with settings that are [settled](zone_network::settle). Every physical link leads outside, whether it has an address or not, because it may get one
/// later; and so does every other card with an address, except for the one in the network for zones.
pub fn from(settings: &Settings, links: &[Link], interfaces: &[Interface]) -> Facts {
    let zones = settings.nat;
    let mut names: Vec<&str> = links.iter().map(|link| &*link.name).collect();
    for interface in interfaces {
        let is_outside = !interface.has("LOOPBACK")
            && is_link_name(&interface.link)
            && !(zones && interface.link == settings.nat_if);
        if is_outside && !names.contains(&&*interface.link) {
            names.push(&interface.link);
        }
    }
    let outside = names.into_iter().map(|name| card(name, interfaces)).collect();
    let zones = zones.then(|| Zones {
        link: settings.nat_if.clone(),
        subnet: settings.nat_subnet,
        gateway: zone_network::own_address(settings).0,
    });
    Facts { outside, zones, ssh_allow: settings.ssh_allow.clone() }
}

fn card(name: &str, interfaces: &[Interface]) -> Card {
    let own: Vec<&Interface> = interfaces.iter().filter(|interface| interface.link == name).collect();
    let addresses = own.iter().filter_map(|interface| interface.address).map(|subnet| subnet.address);
    Card {
        link: name.to_owned(),
        addresses: addresses.filter(|address| !is_link_local(*address)).collect(),
        dhcp: own.iter().any(|interface| !interface.is_ipv6 && interface.has("DHCP")),
    }
}

/// Link-local addresses need no protection: no router passes them on, and each card has its own.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules;
    use super::*;
    use crate::command::ifconfig;
    use crate::phase::setup::zone_network::tests::settings;

    const TEXT: &str = "\
lo0: flags=2001000849<UP,LOOPBACK,RUNNING,MULTICAST,IPv4,VIRTUAL> mtu 8232 index 1
\tinet 127.0.0.1 netmask ff000000
e1000g0: flags=1004843<UP,BROADCAST,RUNNING,MULTICAST,DHCP,IPv4> mtu 1500 index 2
\tinet 10.0.0.5 netmask ffffff00 broadcast 10.0.0.255
vnic0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 9000 index 3
\tinet 172.16.9.1 netmask ffffff00 broadcast 172.16.9.255
external0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 4
\tinet 192.0.2.7 netmask ffffff00
e1000g0: flags=20002000841<UP,RUNNING,MULTICAST,IPv6> mtu 1500 index 2
\tinet6 fe80::5054:ff:fea1:203/10
";

    fn found(settings: &Settings) -> Facts {
        let links: Vec<Link> = (0..2)
            .map(|index| Link { name: format!("e1000g{index}"), mac: [2, 0, 0, 0, 0, index] })
            .collect();
        from(settings, &links, &ifconfig::interfaces(TEXT))
    }

    #[test]
    fn hazard_23_every_card_leads_outside_in_whatever_order() {
        let facts = found(&settings());
        let names: Vec<&str> = facts.outside.iter().map(|card| &*card.link).collect();
        assert_eq!(names, ["e1000g0", "e1000g1", "external0"]);
        assert!(facts.outside[0].dhcp && !facts.outside[1].dhcp);
        assert_eq!(facts.outside[0].addresses, ["10.0.0.5".parse::<IpAddr>().expect("an address")]);
        assert!(facts.zones.is_some());
        // The translation is by the card's name, and each has it, so none has to be chosen.
        let maps = rules::nat(&facts).expect("rules");
        assert!(maps.contains("map e1000g0 ") && maps.contains("map external0 "));
    }

    #[test]
    fn without_a_network_for_zones_its_card_is_like_any_other() {
        let facts = found(&Settings { nat: false, ..settings() });
        assert_eq!(facts.zones, None);
        assert!(facts.outside.iter().any(|card| card.link == "vnic0"));
    }
}
