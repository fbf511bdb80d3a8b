//! What an owner can have: cards of every kind, routes, settings. On a platform with SunSSH and one with OpenSSH.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use kiln_e2e::first_boot::{Guest, Image, differences, logs, metadata};
use kiln_simulator::network::inet::{Family, Prefix};
use kiln_simulator::network::model::{From, Model, Service};
use kiln_simulator::{Boot, Era, Hardware, Nic};
use serde_json::{Value, json};

const OLD: &str = Era::ALL[0];
const NEW: &str = Era::ALL[4];

/// The router that a DHCP server names on the second card's network.
const LEASED_ROUTER: Ipv4Addr = Ipv4Addr::new(198, 18, 5, 1);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A machine with four cards and the names of their links: one with an address and the way out, one that asks a DHCP server, one
/// with IPv6 alone, one on a fabric.
fn machine(era: &str) -> (Hardware, [String; 4]) {
    let mut hardware = Hardware::usual(era);
    let driver = hardware.nics[0].link.trim_end_matches('0').to_owned();
    let links = [0, 1, 2, 3].map(|number| format!("{driver}{number}"));
    let surroundings = [
        None,
        Some(format!("198.18.5.77/24 {LEASED_ROUTER}")),
        Some("ra=fd00:9::/64,fe80::1".to_owned()),
        None,
    ];
    hardware.nics = (0_u8..)
        .zip(&links)
        .zip(surroundings)
        .map(|((number, link), dhcp)| {
            let mac =
                if number == 0 { "52:54:00:12:34:56".into() } else { format!("52:54:00:00:00:0{number}") };
            Nic { link: link.clone(), mac, up: true, dhcp }
        })
        .collect();
    (hardware, links)
}

/// What its host says, with settings.
fn told() -> Value {
    let mut told = metadata();
    let card = |number: u8, rest: Value| {
        let mut card = json!({
            "interface": format!("net{number}"), "mac": format!("52:54:00:00:00:0{number}"), "model": "e1000",
        });
        let fields = rest.as_object().expect("fields").clone();
        card.as_object_mut().expect("fields").extend(fields);
        card
    };
    let nics = told["nics"].as_array_mut().expect("cards");
    nics.push(card(1, json!({ "nic_tag": "internal", "ip": "dhcp", "ips": ["dhcp"] })));
    nics.push(card(2, json!({ "nic_tag": "six", "ips": ["fd00:9::5/64", "addrconf"] })));
    nics.push(card(
        3,
        json!({
            "nic_tag": "sdc_overlay/7", "mtu": 1400, "vlan_id": 4, "ip": "192.168.128.5", "netmask": "255.255.252.0",
            "ips": ["192.168.128.5/22", "192.168.132.6/22"], "gateway": "192.168.128.1", "gateways": ["192.168.128.1"],
        }),
    ));
    told["routes"] = json!({ "10.77.0.0/16": "192.168.128.9", "10.78.0.7": "nics[3]" });
    for (setting, value) in [
        ("nat_subnet", "10.99.7.0/24"),
        ("ssh_allow", "198.51.100.0/24,198.18.5.9,fd00:9::/64,10.99.7.8/29"),
        ("sendmail", "yes"),
    ] {
        told["customer_metadata"][format!("guest-init:{setting}")] = json!(value);
    }
    told
}

/// What must hold after every boot, whatever is set.
fn is_well(guest: &Guest<'_>, boot: &Boot) {
    assert!(!boot.console.contains("ERROR") && !boot.console.contains("RESCUE"), "{}", logs(boot));
    for service in ["network/physical", "network/ssh", "smartos/setup", "smartos/userscript"] {
        assert_eq!(boot.state(service), "online", "{service}\n{}", logs(boot));
    }
    let status = guest.kept()["customer_metadata"]["guest-init:status"].clone();
    let status: Value = serde_json::from_str(status.as_str().expect("the host was told")).expect("JSON");
    assert_eq!(status["result"], "ok", "{}", logs(boot));
}

/// The addresses of a link that are up, but for link-local ones.
fn addresses(boot: &Boot, link: &str, family: Family) -> Vec<String> {
    let interface = boot.runtime.network.interface(link, family);
    let own = interface.iter().flat_map(|interface| interface.up());
    let shown = own.map(|logical| format!("{}/{}", logical.prefix.address, logical.prefix.length));
    shown.filter(|address| !address.starts_with("fe80:")).collect()
}

/// Whether questions get answers: from whom, to whom, and what is to become of it.
fn asks(boot: &Boot, questions: &[(From, &str, Service, bool)]) {
    let mut model = Model::new(&boot.runtime.network);
    for (from, to, service, passes) in questions {
        let verdict = model.connect(from.clone(), ip(to), *service);
        assert_eq!(verdict.is_passed(), *passes, "{from:?} to {to}, {service:?}: {verdict}\n{}", logs(boot));
    }
}

/// Whom a zone's questions seem to come from, outside.
fn seen(boot: &Boot, zone: &str, to: &str) -> Option<String> {
    let verdict = Model::new(&boot.runtime.network).connect(From::zone(zone), ip(to), Service::Tcp(443));
    assert!(verdict.is_passed(), "{zone} to {to}: {verdict}\n{}", logs(boot));
    verdict.seen.map(|(address, _)| address.to_string())
}

fn every_feature(era: &'static str) {
    let Some(image) = Image::build(era) else { return };
    let (hardware, links) = machine(era);
    let [first, leased, six, fabric] = links.each_ref().map(String::as_str);
    let mut guest = image.guest("features", &hardware, &told());
    guest.start_host();

    let boot = guest.boot(&guest.options());
    is_well(&guest, &boot);
    cards(&boot, &links);
    let zone = "10.99.7.3";
    assert_eq!(seen(&boot, zone, "203.0.113.5").as_deref(), Some("192.0.2.10"));
    assert_eq!(seen(&boot, zone, "198.18.5.9").as_deref(), Some("198.18.5.77"));
    assert_eq!(seen(&boot, zone, "10.77.1.2").as_deref(), Some("192.168.128.5"));
    let ssh = Service::Tcp(22);
    asks(
        &boot,
        &[
            (From::outside(first, "198.51.100.7"), "192.0.2.10", ssh, true),
            (From::outside(first, "203.0.113.5"), "192.0.2.10", ssh, false),
            (From::outside(leased, "198.18.5.9"), "198.18.5.77", ssh, true),
            (From::outside(leased, "198.18.5.8"), "198.18.5.77", ssh, false),
            (From::outside(fabric, "192.168.128.9"), "192.168.128.5", ssh, false),
            (From::outside(six, "fd00:9::77"), "fd00:9::5", ssh, true),
            (From::outside(six, "fd00:8::77"), "fd00:9::5", ssh, false),
            (From::zone("10.99.7.9"), "10.99.7.1", ssh, true),
            (From::zone(zone), "10.99.7.1", ssh, false),
            // The platform's network service stays reachable for zones, and nothing else of the guest.
            (From::zone(zone), "10.99.7.1", Service::Udp(123), true),
            (From::zone(zone), "192.168.128.5", Service::Tcp(111), false),
        ],
    );
    assert_eq!(boot.state("network/smtp:sendmail"), "online");
    assert_eq!(boot.state("network/sendmail-client"), "online");

    let lasting = guest.lasting();
    let again = guest.boot(&guest.options());
    is_well(&guest, &again);
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0], "{}", logs(&again));
    assert_eq!(boot.runtime.network, again.runtime.network);

    // A line of the owner's wins over what the host says.
    set(&guest, "nat_subnet=10.98.0.0/16\nssh_allow=203.0.113.0/24\nsendmail=no\n");
    let boot = guest.boot(&guest.options());
    is_well(&guest, &boot);
    cards(&boot, &links);
    assert_eq!(seen(&boot, "10.98.3.3", "203.0.113.5").as_deref(), Some("192.0.2.10"));
    asks(
        &boot,
        &[
            (From::outside(first, "203.0.113.5"), "192.0.2.10", ssh, true),
            (From::outside(first, "198.51.100.7"), "192.0.2.10", ssh, false),
            (From::outside(six, "fd00:9::77"), "fd00:9::5", ssh, false),
        ],
    );
    assert_eq!(boot.state("network/smtp:sendmail"), "disabled");

    set(&guest, "nat=no\n");
    let boot = guest.boot(&guest.options());
    is_well(&guest, &boot);
    cards(&boot, &links);
    assert_eq!(boot.runtime.network.nat, []);
    assert!(
        boot.runtime.network.interfaces.iter().all(|interface| interface.name != "vnic0"),
        "{}",
        logs(&boot)
    );
    assert!(!boot.runtime.network.forwarding.v4);
    let lasting = guest.lasting();
    is_well(&guest, &guest.boot(&guest.options()));
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0]);
}

/// What each card has and does, however the settings are.
fn cards(boot: &Boot, links: &[String; 4]) {
    let [first, leased, six, fabric] = links.each_ref().map(String::as_str);
    for (link, family, own) in [
        (first, Family::Inet, &["192.0.2.10/24"][..]),
        (leased, Family::Inet, &["198.18.5.77/24"]),
        (six, Family::Inet, &[]),
        (six, Family::Inet6, &["fd00:9::5/64", "fd00:9::5054:ff:fe00:2/64"]),
        (fabric, Family::Inet, &["192.168.128.5/22", "192.168.132.6/22"]),
        (fabric, Family::Inet6, &[]),
    ] {
        let mut found = addresses(boot, link, family);
        found.sort();
        assert_eq!(found, own, "{link}\n{}", logs(boot));
    }
    let network = &boot.runtime.network;
    let packets = |link: &str| network.interface(link, Family::Inet).map(|interface| interface.mtu);
    assert_eq!((packets(first), packets(fabric)), (Some(1500), Some(1400)), "{}", logs(boot));
    let everything = Prefix::new(ip("0.0.0.0"), 0);
    let out = network.routes.iter().filter(|route| route.destination == everything);
    assert_eq!(out.map(|route| route.gateway).collect::<Vec<_>>(), [ip("192.0.2.1")], "{}", logs(boot));

    let mut model = Model::new(network);
    assert_eq!(model.lease(leased, LEASED_ROUTER), Ok(()));
    // Where the routes of the metadata lead.
    for (to, from) in
        [("203.0.113.5", "192.0.2.10"), ("10.77.1.2", "192.168.128.5"), ("10.78.0.7", "192.168.128.5")]
    {
        let verdict = model.connect(From::Host, ip(to), Service::Tcp(443));
        assert_eq!(
            verdict.seen.map(|(address, _)| address),
            Some(ip(from)),
            "{to}: {verdict}\n{}",
            logs(boot)
        );
        assert!(verdict.is_passed(), "{to}: {verdict}");
    }
    // Nothing but SSH is open on any card.
    for (link, from, to) in [
        (first, "198.51.100.7", "192.0.2.10"),
        (leased, "198.18.5.9", "198.18.5.77"),
        (six, "fd00:9::77", "fd00:9::5"),
        (fabric, "192.168.128.9", "192.168.128.5"),
    ] {
        for service in [Service::Tcp(111), Service::Udp(111), Service::Other(47)] {
            let verdict = model.connect(From::outside(link, from), ip(to), service);
            assert!(verdict.is_blocked(), "{link} {service:?}: {verdict}");
        }
        let echo = model.connect(From::outside(link, from), ip(to), Service::Echo);
        assert!(echo.is_passed(), "{link}: {echo}");
    }
}

/// Writes lines of the owner's into `/usbkey/config`.
fn set(guest: &Guest<'_>, lines: &str) {
    let path = guest.machine.key().join("config");
    let text = fs::read_to_string(&path).expect("the guest has written it");
    fs::write(&path, text + lines).expect("the key is writable");
}

#[test]
fn every_feature_works_with_sunssh() {
    every_feature(OLD);
}

#[test]
fn every_feature_works_with_openssh() {
    every_feature(NEW);
}
