//! What the owner can set: by a line in `/usbkey/config`, or else by a metadata key `guest-init:NAME`, or else the default.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use guest_mdata::values::{self, Address};
use ipnet::{IpNet, Ipv4Net};

use super::config::{Config, format, generate};
use super::metadata::Metadata;
use super::nics;
use crate::command::dladm::is_link_name;
use crate::engine::Guest;
use crate::files;

/// The platform's file, wherever it lies in this boot.
pub const CONFIG: &str = "/usbkey/config";

/// What metadata keys of settings begin with.
pub const PREFIX: &str = "guest-init:";

/// The names of all settings.
pub const NAMES: [&str; 8] =
    ["nat", "nat_subnet", "nat_if", "etherstub", "ssh_allow", "sendmail", "hostname", "ntp_hosts"];

/// The longest value that is looked at, in bytes.
const LONGEST: usize = 4096;

/// The most entries of a list.
const MOST_ENTRIES: usize = 64;

/// The most time servers.
const MOST_TIME_SERVERS: usize = 8;

/// The network of the zones unless another is set.
pub const NAT_SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 9, 0), 24);

/// What the owner can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether there is a network for zones behind this guest's address.
    pub nat: bool,
    /// That network; its first address is the guest's own.
    pub nat_subnet: Ipv4Net,
    /// The guest's interface in it.
    pub nat_if: String,
    /// The switch that it and the zones are connected to.
    pub etherstub: String,
    /// From where SSH connections are taken; empty: from anywhere.
    pub ssh_allow: Vec<IpNet>,
    /// Whether the mail service runs.
    pub sendmail: bool,
    /// The name of the guest, if it has one.
    pub hostname: Option<String>,
    /// The time servers; empty: those of the platform's file.
    pub ntp_hosts: Vec<String>,
}

/// The setting that a metadata key is for.
pub fn name_of_key(key: &str) -> Option<&'static str> {
    let name = key.strip_prefix(PREFIX)?;
    NAMES.into_iter().find(|known| *known == name)
}

/// The settings of this guest. What is refused is told in the log.
pub fn load(guest: &mut Guest<'_>) -> Settings {
    let (settings, notes) = read(guest.metadata);
    for note in notes {
        guest.log.line(&format!("WARNING: {note}"));
    }
    settings
}

/// The settings of this guest, and what was refused.
pub fn read(metadata: &mut Metadata) -> (Settings, Vec<String>) {
    let config = Config::parse(&files::read(Path::new(CONFIG), format::LONGEST).unwrap_or_default());
    with_config(&config, metadata)
}

/// The settings with this file, and what was refused.
pub fn with_config(config: &Config, metadata: &mut Metadata) -> (Settings, Vec<String>) {
    let mut keys = Vec::new();
    for name in NAMES {
        let value = metadata.lookup(&format!("{PREFIX}{name}")).value();
        keys.extend(value.map(|value| (name, String::from_utf8_lossy(&value).trim().to_owned())));
    }
    let name = values::HOSTNAME_KEYS.iter().find_map(|key| {
        values::hostname(&metadata.lookup(key).value().filter(|value| value.len() <= LONGEST)?)
    });
    let occupied = occupied(metadata);
    choose(&Given { config, keys: &keys, name, occupied: &occupied })
}

/// The name servers that the host names.
pub fn resolvers(metadata: &mut Metadata) -> Vec<IpAddr> {
    let value = metadata.lookup("sdc:resolvers").value();
    value.and_then(|value| values::resolvers(&value).ok()).map(|entries| entries.good).unwrap_or_default()
}

/// The DNS domain that the host names.
pub fn domain(metadata: &mut Metadata) -> Option<String> {
    let value = metadata.lookup("sdc:dns_domain").value()?;
    let text = std::str::from_utf8(&value).ok()?.trim();
    generate::is_domain(text).then(|| text.to_owned())
}

/// The networks of the metadata that the zones' one must not meet: those of the interfaces, name servers and routers.
pub fn occupied(metadata: &mut Metadata) -> Vec<Ipv4Net> {
    let (nics, resolvers) = (nics::load(metadata).nics, resolvers(metadata));
    let addresses = nics.iter().flat_map(|nic| &nic.addresses).filter_map(|address| match address {
        Address::Static(subnet) => match subnet.address {
            IpAddr::V4(address) => Ipv4Net::new(address, subnet.prefix).ok(),
            IpAddr::V6(_) => None,
        },
        Address::Dhcp | Address::Addrconf => None,
    });
    let hosts =
        nics.iter().flat_map(|nic| &nic.gateways).chain(&resolvers).filter_map(|address| match address {
            IpAddr::V4(address) => Some(Ipv4Net::from(*address)),
            IpAddr::V6(_) => None,
        });
    addresses.chain(hosts).collect()
}

/// What settings are chosen from.
#[derive(Debug, Clone)]
pub struct Given<'a> {
    /// The platform's file.
    pub config: &'a Config,
    /// Names of settings with values from the metadata.
    pub keys: &'a [(&'static str, String)],
    /// The name that the host gave the guest.
    pub name: Option<String>,
    /// The networks that the zones' one must not meet.
    pub occupied: &'a [Ipv4Net],
}

/// The settings, and what was refused.
pub fn choose(given: &Given<'_>) -> (Settings, Vec<String>) {
    let mut notes = Vec::new();
    let mut settings = Settings {
        nat: pick(given, &mut notes, "nat", yes_or_no).unwrap_or(true),
        nat_subnet: NAT_SUBNET,
        nat_if: pick(given, &mut notes, "nat_if", link_name).unwrap_or_else(|| "vnic0".to_owned()),
        etherstub: pick(given, &mut notes, "etherstub", link_name).unwrap_or_else(|| "vswitch0".to_owned()),
        ssh_allow: pick(given, &mut notes, "ssh_allow", networks).unwrap_or_default(),
        sendmail: pick(given, &mut notes, "sendmail", yes_or_no).unwrap_or(false),
        hostname: pick(given, &mut notes, "hostname", host_name).or_else(|| given.name.clone()),
        ntp_hosts: pick(given, &mut notes, "ntp_hosts", time_servers).unwrap_or_default(),
    };
    let occupied = given.occupied;
    match pick(given, &mut notes, "nat_subnet", |text| nat_subnet(text, occupied)) {
        Some(subnet) => settings.nat_subnet = subnet,
        None => {
            if let Some(other) = occupied.iter().find(|other| overlap(NAT_SUBNET, **other))
                && settings.nat
            {
                notes.push(format!(
                    "there is no network for zones: {NAT_SUBNET} overlaps {other}; nat_subnet can set another"
                ));
                settings.nat = false;
            }
        }
    }
    (settings, notes)
}

/// The first good value of a setting.
fn pick<T>(
    given: &Given<'_>,
    notes: &mut Vec<String>,
    name: &'static str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let line = given.config.get(name).map(|value| ("/usbkey/config", value));
    let key =
        given.keys.iter().find(|(of, _)| *of == name).map(|(_, value)| ("the metadata", value.as_str()));
    for (place, value) in line.into_iter().chain(key) {
        let read =
            if value.len() > LONGEST { Err(format!("more than {LONGEST} bytes")) } else { read(value) };
        match read {
            Ok(value) => return Some(value),
            Err(problem) => {
                notes.push(format!("{name} in {place} is passed over: {problem}"));
            }
        }
    }
    None
}

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("'{}'", short.escape_debug())
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Ok(true),
        "no" | "false" | "off" | "0" => Ok(false),
        _ => Err(format!("{} is neither yes nor no", quoted(text))),
    }
}

fn link_name(text: &str) -> Result<String, String> {
    if is_link_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is no name of a link", quoted(text)))
    }
}

fn host_name(text: &str) -> Result<String, String> {
    values::hostname(text.as_bytes()).ok_or_else(|| format!("{} is no host name", quoted(text)))
}

/// The entries of a list with commas or blanks between them.
fn list(text: &str) -> Result<Vec<&str>, String> {
    let entries: Vec<&str> =
        text.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty()).take(MOST_ENTRIES + 1).collect();
    match entries.len() {
        0 => Err("it is empty".to_owned()),
        count if count > MOST_ENTRIES => Err(format!("it has more than {MOST_ENTRIES} entries")),
        _ => Ok(entries),
    }
}

/// Networks and addresses. One bad entry makes the list bad: whoever left it out would lock out whom it was for.
fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let read = |entry: &str| {
        let network = entry.parse::<IpNet>().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
        network
            .map(|network| network.trunc())
            .map_err(|_| format!("{} is neither network nor address", quoted(entry)))
    };
    list(text)?.into_iter().map(read).collect()
}

fn time_servers(text: &str) -> Result<Vec<String>, String> {
    let servers = list(text)?;
    if servers.len() > MOST_TIME_SERVERS {
        return Err(format!("it has more than {MOST_TIME_SERVERS} entries"));
    }
    let read = |server: &str| {
        let is_server = generate::is_domain(server) || server.parse::<IpAddr>().is_ok();
        if is_server { Ok(server.to_owned()) } else { Err(format!("{} is no server", quoted(server))) }
    };
    servers.into_iter().map(read).collect()
}

/// The network of the zones. Both ends of it belong to nobody, and the guest and at least one zone need an address.
fn nat_subnet(text: &str, occupied: &[Ipv4Net]) -> Result<Ipv4Net, String> {
    const RESERVED: [(&str, Ipv4Net); 5] = [
        ("this network", Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8)),
        ("loopback addresses", Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        ("link-local addresses", Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
        ("multicast addresses", Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4)),
        ("reserved addresses", Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4)),
    ];
    let subnet: Ipv4Net =
        text.parse().map_err(|_| format!("{} is no network such as {NAT_SUBNET}", quoted(text)))?;
    let subnet = subnet.trunc();
    if !(8..=30).contains(&subnet.prefix_len()) {
        return Err(format!("the prefix of {subnet} is not from 8 to 30"));
    }
    if let Some((what, _)) = RESERVED.iter().find(|(_, reserved)| overlap(subnet, *reserved)) {
        return Err(format!("{subnet} has {what}"));
    }
    match occupied.iter().find(|other| overlap(subnet, **other)) {
        Some(other) => Err(format!("{subnet} overlaps {other}, which this guest needs")),
        None => Ok(subnet),
    }
}

/// Whether two networks have an address in common.
pub fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chosen(config: &str, keys: &[(&'static str, &str)], occupied: &[&str]) -> (Settings, Vec<String>) {
        let keys: Vec<(&'static str, String)> =
            keys.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let occupied: Vec<Ipv4Net> = occupied.iter().map(|text| text.parse().expect("a network")).collect();
        let config = Config::parse(config.as_bytes());
        choose(&Given { config: &config, keys: &keys, name: Some("host".to_owned()), occupied: &occupied })
    }

    #[test]
    fn defaults() {
        let (settings, notes) = chosen("", &[], &["10.0.0.5/24", "8.8.8.8/32"]);
        assert_eq!(notes, [""; 0]);
        let expected = Settings {
            nat: true,
            nat_subnet: "172.16.9.0/24".parse().expect("a network"),
            nat_if: "vnic0".to_owned(),
            etherstub: "vswitch0".to_owned(),
            ssh_allow: Vec::new(),
            sendmail: false,
            hostname: Some("host".to_owned()),
            ntp_hosts: Vec::new(),
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn the_file_wins_over_the_metadata_unless_it_is_wrong() {
        let keys =
            [("nat", "yes"), ("sendmail", "yes"), ("ntp_hosts", "a.example b.example"), ("hostname", "w.x")];
        let (settings, notes) = chosen("nat=no\nsendmail=maybe\nssh_allow=10.0.0.0/8,fd00::7\n", &keys, &[]);
        assert!(!settings.nat && settings.sendmail);
        assert_eq!(notes, ["sendmail in /usbkey/config is passed over: 'maybe' is neither yes nor no"]);
        assert_eq!(settings.ntp_hosts, ["a.example", "b.example"]);
        assert_eq!(settings.hostname.as_deref(), Some("w-x"));
        let shown: Vec<String> = settings.ssh_allow.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.0/8", "fd00::7/128"]);
    }

    #[test]
    fn lists_that_are_empty_or_partly_wrong_are_passed_over() {
        for bad in ["", ",", "10.0.0.0/33", "10.0.0.0/8,everyone", "10.0.0.0/8;reboot"] {
            let (settings, notes) = chosen("", &[("ssh_allow", bad)], &[]);
            assert!(settings.ssh_allow.is_empty(), "{bad}");
            assert_eq!(notes.len(), 1, "{bad}");
        }
        let many = "a.example,".repeat(9);
        assert!(chosen("", &[("ntp_hosts", &many)], &[]).0.ntp_hosts.is_empty());
        assert!(
            chosen("", &[("ntp_hosts", "a\nrestrict default")], &[]).0.ntp_hosts.len() == 3,
            "words, not lines"
        );
        for bad in ["-a", "a..b", "a$b", "a;b", "[::1]"] {
            assert!(chosen("", &[("ntp_hosts", bad)], &[]).0.ntp_hosts.is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_network_for_zones_that_cannot_be_is_refused() {
        let occupied = ["10.1.0.5/16", "192.168.7.1/32"];
        for (subnet, expected) in [
            ("10.2.0.0/24", Some("10.2.0.0/24")),
            ("10.2.3.4/24", Some("10.2.3.0/24")),
            ("192.168.6.0/30", Some("192.168.6.0/30")),
            ("10.1.9.0/24", None),
            ("10.0.0.0/8", None),
            ("192.168.7.0/24", None),
            ("10.2.0.0/31", None),
            ("16.0.0.0/7", None),
            ("0.0.0.0/0", None),
            ("127.0.0.0/24", None),
            ("169.254.9.0/24", None),
            ("224.0.0.0/24", None),
            ("255.255.255.0/24", None),
            ("10.2.0.0", None),
            ("fd00::/64", None),
            ("10.2.0.0/24; reboot", None),
        ] {
            let (settings, notes) = chosen("", &[("nat_subnet", subnet)], &occupied);
            assert_eq!(settings.nat_subnet.to_string(), expected.unwrap_or("172.16.9.0/24"), "{subnet}");
            assert_eq!(notes.is_empty(), expected.is_some(), "{subnet}");
            assert!(settings.nat);
        }
        let (settings, notes) =
            chosen("", &[("nat_subnet", "10.1.0.0/24")], &["172.16.0.9/12", "10.1.0.5/16"]);
        assert!(!settings.nat && notes.len() == 2, "{notes:?}");
        let (settings, notes) = chosen("", &[], &["172.16.9.7/32"]);
        assert!(!settings.nat && notes.len() == 1, "{notes:?}");
    }

    #[test]
    fn names_of_links_end_in_a_number() {
        for (name, good) in
            [("vswitch1", true), ("vswitch", false), ("1a1", false), ("a b1", false), ("a-1", false)]
        {
            assert_eq!(chosen("", &[("etherstub", name)], &[]).0.etherstub == name, good, "{name}");
        }
        let long = "a".repeat(31) + "1";
        assert_eq!(chosen("", &[("nat_if", &long)], &[]).0.nat_if, "vnic0");
    }

    proptest! {
        #[test]
        fn any_text_gives_settings_that_can_be_used(
            values in prop::collection::vec("[ -~\n\u{e9}]{0,40}|[0-9./,:a-f]{0,30}", 8),
        ) {
            let keys: Vec<(&'static str, &str)> = NAMES.into_iter().zip(values.iter().map(String::as_str)).collect();
            let (settings, _) = chosen("", &keys, &["10.0.0.5/24"]);
            prop_assert!((8..=30).contains(&settings.nat_subnet.prefix_len()));
            prop_assert!(link_name(&settings.nat_if).is_ok() && link_name(&settings.etherstub).is_ok());
            for host in &settings.ntp_hosts {
                prop_assert!(host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-".contains(&byte)));
            }
            let hostname = settings.hostname.unwrap_or_default();
            prop_assert!(hostname.len() <= 63 && format::Line::new("hostname", &hostname).is_some());
        }
    }
}
