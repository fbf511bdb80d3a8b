//! The network behind this guest's address: a switch inside the machine, and the guest's own card on it.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, bail};
use guest_mdata::values::Subnet;
use ipnet::Ipv4Net;

use super::survey;
use crate::command::ifconfig::{self, Interface};
use crate::command::{Commands, dladm};
use crate::engine::{Finding, Guest, Step};
use crate::phase::identity::settings::{self, Settings};

/// The guest has its address in the network for zones.
///
/// The platform's network service makes the switch from `/usbkey/config`, but no card of this guest's on it, because a switch
/// is no link to it. Both are gone after each boot.
pub struct ZoneNetwork;

impl Step for ZoneNetwork {
    fn name(&self) -> &'static str {
        "zone-network"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Settled { settings, note } = settled(guest)?;
        if !settings.nat {
            return note.map_or(Ok(Finding::Done), |note| bail!(note));
        }
        let interfaces = survey::interfaces(guest)?;
        Ok(match there(&settings, &interfaces) {
            There::Right => Finding::Done,
            There::Other | There::Nothing => Finding::Needed(format!(
                "{} gets {} on {}",
                settings.nat_if,
                own_address(&settings).0,
                settings.etherstub
            )),
        })
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let settings = settled(guest)?.settings;
        let before = there(&settings, &survey::interfaces(guest)?);
        let (address, prefix) = own_address(&settings);
        if before == There::Other {
            survey::forget(guest);
            return guest.commands.text(&ifconfig::set(&settings.nat_if, address, prefix, None)).map(drop);
        }
        make_card(&settings, guest.commands)?;
        let address = Subnet { address: address.into(), prefix };
        guest.commands.text(&ifconfig::plumb_with(&settings.nat_if, address))?;
        // It fails unless the card has the address now, so nobody needs to be asked again.
        survey::add(guest, Interface::up_with(&settings.nat_if, address));
        Ok(())
    }
}

/// Settings as they are in the network that there is.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled {
    /// The settings.
    pub settings: Settings,
    /// What became of the network for zones that was set.
    pub note: Option<String>,
}

/// The settings in the network that this guest is in now.
pub fn settled(guest: &mut Guest<'_>) -> Result<Settled> {
    let settings = settings::load(guest);
    let occupied = settings::occupied(guest.metadata);
    Ok(settle(settings, &survey::interfaces(guest)?, &occupied))
}

/// The settings in a network where this guest has these addresses, of which the metadata may not have known: a DHCP server may
/// have given one. A network for zones that would hide one of them gives way to the usual one, unless that is `occupied` or
/// hides one, too; then there is none.
pub fn settle(settings: Settings, interfaces: &[Interface], occupied: &[Ipv4Net]) -> Settled {
    let subnet = settings.nat_subnet;
    let Some(other) = collision(subnet, &settings, interfaces).filter(|_| settings.nat) else {
        return Settled { settings, note: None };
    };
    let usual = settings::NAT_SUBNET;
    let is_free = collision(usual, &settings, interfaces).is_none()
        && !occupied.iter().any(|other| settings::overlap(usual, *other));
    if is_free {
        let note =
            format!("nat_subnet={subnet} overlaps {other}, which this guest has; zones have {usual} instead");
        return Settled { settings: Settings { nat_subnet: usual, ..settings }, note: Some(note) };
    }
    let note =
        format!("there is no network for zones: {subnet} overlaps {other}; nat_subnet can set another");
    Settled { settings: Settings { nat: false, ..settings }, note: Some(note) }
}

/// The first address of the network, and the length of its prefix.
pub fn own_address(settings: &Settings) -> (Ipv4Addr, u8) {
    let subnet = settings.nat_subnet;
    (subnet.hosts().next().unwrap_or_else(|| subnet.addr()), subnet.prefix_len())
}

/// An address of this guest that a network for zones would hide.
fn collision(subnet: Ipv4Net, settings: &Settings, interfaces: &[Interface]) -> Option<Ipv4Net> {
    let others = interfaces.iter().filter(|interface| interface.link != settings.nat_if);
    others.filter_map(network).find(|other| other.prefix_len() > 0 && settings::overlap(subnet, *other))
}

fn network(interface: &Interface) -> Option<Ipv4Net> {
    match interface.address? {
        Subnet { address: IpAddr::V4(address), prefix } => Ipv4Net::new(address, prefix).ok(),
        Subnet { .. } => None,
    }
}

/// What there is of the guest's card in the network for zones.
#[derive(Debug, PartialEq, Eq)]
pub enum There {
    /// It is not there.
    Nothing,
    /// It has another address, or is down.
    Other,
    /// It is as it should be.
    Right,
}

/// Finds out what there is of it.
pub fn there(settings: &Settings, interfaces: &[Interface]) -> There {
    let (address, prefix) = own_address(settings);
    let address = Some(Subnet { address: address.into(), prefix });
    let mut own = interfaces
        .iter()
        .filter(|interface| interface.link == settings.nat_if && !interface.is_ipv6)
        .peekable();
    if own.peek().is_none() {
        There::Nothing
    } else if own.any(|interface| interface.address == address && interface.has("UP")) {
        There::Right
    } else {
        There::Other
    }
}

/// Makes the card; and the switch, if it turns out to be missing. A card that is there and has only not been given an address
/// is what is left of an attempt that was cut short.
pub fn make_card(settings: &Settings, commands: &mut dyn Commands) -> Result<()> {
    let card = dladm::create_vnic(&settings.etherstub, &settings.nat_if);
    let first = commands.run(&card)?;
    if first.status == 0 || dladm::exists_already(&first) {
        return Ok(());
    }
    let switch = dladm::create_etherstub(&settings.etherstub);
    let made = commands.run(&switch)?;
    if made.status != 0 {
        bail!("{card} ended with {}, and {switch} with {}", first.complaint(), made.complaint());
    }
    commands.text(&card).map(drop)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::command::double::{Double, failed, said};

    /// The default settings.
    pub fn settings() -> Settings {
        Settings {
            nat: true,
            nat_subnet: settings::NAT_SUBNET,
            nat_if: "vnic0".to_owned(),
            etherstub: "vswitch0".to_owned(),
            ssh_allow: Vec::new(),
            sendmail: false,
            hostname: None,
            ntp_hosts: Vec::new(),
        }
    }

    #[test]
    fn what_is_there_is_recognised() {
        let look = |text: &str| there(&settings(), &ifconfig::interfaces(text));
        assert_eq!(
            look("e1000g0: flags=1<UP,IPv4> mtu 1500 index 2\n\tinet 172.16.9.1 netmask ffffff00\n"),
            There::Nothing
        );
        let own = |flags: &str, address: &str| {
            look(&format!("vnic0: flags=1<{flags}> mtu 9000 index 3\n\tinet {address}\n"))
        };
        assert_eq!(own("UP,IPv4", "172.16.9.1 netmask ffffff00"), There::Right);
        assert_eq!(own("IPv4", "172.16.9.1 netmask ffffff00"), There::Other);
        assert_eq!(own("UP,IPv4", "172.16.9.1 netmask ffff0000"), There::Other);
        assert_eq!(own("IPv4", "0.0.0.0 netmask 0"), There::Other);
    }

    /// The network for zones where the guest has such an address from a DHCP server, and whether there is something to tell.
    fn left(wanted: &str, link: &str, address: &str, occupied: &[&str]) -> (Option<String>, bool) {
        let text = format!("{link}: flags=1<UP,DHCP,IPv4> mtu 1500 index 2\n\tinet {address}\n");
        let occupied: Vec<Ipv4Net> = occupied.iter().map(|text| text.parse().expect("a network")).collect();
        let settings = Settings { nat_subnet: wanted.parse().expect("a network"), ..settings() };
        let settled = settle(settings, &ifconfig::interfaces(&text), &occupied);
        (settled.settings.nat.then(|| settled.settings.nat_subnet.to_string()), settled.note.is_some())
    }

    #[test]
    fn an_address_from_a_dhcp_server_may_be_in_the_way_of_the_usual_network() {
        let usual = "172.16.9.0/24";
        let with = |address: &str| left(usual, "e1000g0", address, &[]);
        assert_eq!(with("172.16.9.77 netmask ffffff00"), (None, true));
        assert_eq!(with("172.16.0.5 netmask fff00000"), (None, true));
        let same = (Some(usual.to_owned()), false);
        assert_eq!(with("172.17.0.5 netmask ffff0000"), same);
        assert_eq!(with("10.0.0.5 netmask 0"), same);
        assert_eq!(left(usual, "vnic0", "172.16.9.1 netmask ffffff00", &[]), same);
    }

    #[test]
    fn the_usual_network_takes_the_place_of_one_that_a_dhcp_server_forbids() {
        let own = "10.9.0.0/24";
        assert_eq!(left(own, "e1000g0", "10.8.0.5 netmask ffffff00", &[]), (Some(own.to_owned()), false));
        let usual = (Some("172.16.9.0/24".to_owned()), true);
        assert_eq!(left(own, "e1000g0", "10.9.0.5 netmask ffffff00", &["10.0.0.0/8"]), usual);
        assert_eq!(left(own, "e1000g0", "10.9.0.5 netmask ffffff00", &["172.16.9.7/32"]), (None, true));
        let both = left("172.16.0.0/16", "e1000g0", "172.16.9.5 netmask ffffff00", &[]);
        assert_eq!(both, (None, true));
        let off = settle(
            Settings { nat: false, ..settings() },
            &ifconfig::interfaces(
                "e1000g0: flags=1<UP> mtu 1500 index 2\n\tinet 172.16.9.5 netmask ffffff00\n",
            ),
            &[],
        );
        assert_eq!(off.note, None, "who wants none misses none");
    }

    #[test]
    fn the_switch_is_made_if_it_is_missing() {
        let card = "/usr/sbin/dladm create-vnic -t -l vswitch0 vnic0";
        let missing = failed(1, "dladm: vnic creation over vswitch0 failed: link not found");
        let mut commands = Double::new([
            (card, missing),
            ("/usr/sbin/dladm create-etherstub -t vswitch0", said("")),
            (card, said("")),
        ]);
        make_card(&settings(), &mut commands).expect("made");
        commands.finish();
        let exists = failed(1, "dladm: vnic creation over vswitch0 failed: object already exists");
        let mut commands = Double::new([(card, exists)]);
        make_card(&settings(), &mut commands).expect("it is there");
        commands.finish();
    }
}
