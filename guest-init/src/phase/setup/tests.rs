//! Tests of what the steps of the network come to, with the simulator's commands and its model of what packets meet.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use guest_mdata::values;
use kiln_simulator::network::model::{ACK, Fate, From, Model, Outcome, Packet, Payload, SYN, Service};
use kiln_simulator::{Era, Hardware, Nic, World, commands};
use tempfile::TempDir;

use super::firewall::{self, Texts, rules};
use super::links::plan::{Facts, plan};
use super::zone_network::tests::settings;
use super::zone_network::{self, There};
use super::{nat, routes, zone_network::own_address};
use crate::command::ifconfig::Interface;
use crate::command::{Commands, Invocation, Output, dladm, ifconfig, route, routeadm};
use crate::phase::identity::nics;
use crate::phase::identity::settings::Settings;

/// A machine after the platform's network service: two cards, of which the first has an address, and a switch.
struct Machine {
    world: World,
    /// Every command that changed something.
    changes: Vec<String>,
    _root: TempDir,
}

impl Commands for Machine {
    fn run(&mut self, invocation: &Invocation) -> Result<Output> {
        let name = invocation.program.rsplit('/').next().expect("a path has a last part");
        let mut argv = vec![name];
        argv.extend(invocation.arguments.iter().map(|argument| argument.to_str().expect("text")));
        let Some(command) = commands::all().find(|command| command.path == invocation.program) else {
            bail!("there is no {}", invocation.program);
        };
        let reply = (command.run)(&mut self.world, &argv);
        assert_eq!(reply.complaint, None, "{invocation}");
        if invocation.effect == crate::command::Effect::Changes {
            self.changes.push(invocation.to_string());
        }
        Ok(Output { status: reply.status.into(), stdout: reply.stdout, stderr: reply.stderr })
    }

    fn end_by(&mut self, _: Duration) {}
}

/// What the host says of the two cards.
const NICS: &str = r#"[
    {"interface": "net0", "mac": "52:54:00:12:34:50", "ips": ["10.0.0.5/24", "fd00::5/64"], "primary": true,
     "gateways": ["10.0.0.1"]},
    {"interface": "net1", "mac": "52:54:00:12:34:51", "ips": ["dhcp"]}]"#;

impl Machine {
    fn new(era: &str) -> Self {
        let root = TempDir::new().expect("a folder");
        let mut hardware = Hardware::usual(era);
        let nic = |number: u8, dhcp: Option<&str>| Nic {
            link: format!("e1000g{number}"),
            mac: format!("52:54:00:12:34:5{number}"),
            up: true,
            dhcp: dhcp.map(str::to_owned),
        };
        hardware.nics = vec![nic(0, None), nic(1, Some("192.168.7.77/24 192.168.7.1"))];
        let world = World::switched_on(hardware, root.path());
        fs::create_dir_all(world.path("/.simulator")).expect("made");
        let mut machine = Self { world, changes: Vec::new(), _root: root };
        machine.world.runtime.network.start_loopback();
        machine.must(&dladm::init_phys());
        machine.must(&ifconfig::plumb_with("e1000g0", "10.0.0.5/24".parse().expect("an address")));
        machine.must(&dladm::create_etherstub("vswitch0"));
        machine.must(&Invocation::changes("/usr/sbin/route", ["-n", "add", "default", "10.0.0.1"]));
        machine.changes.clear();
        machine
    }

    fn must(&mut self, invocation: &Invocation) -> String {
        let commands: &mut dyn Commands = self;
        commands.text(invocation).expect("it succeeds")
    }

    fn interfaces(&mut self) -> Vec<Interface> {
        ifconfig::interfaces(&self.must(&ifconfig::show_all()))
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.world.path(file);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    /// Does what the steps `links` to `forwarding` do, in their order.
    fn set_up(&mut self, nics: &str, settings: &Settings) {
        let nics = values::nics(nics.as_bytes()).expect("an array").good;
        let links = dladm::physical(self).expect("links");
        let admin = nics::admin(&nics.iter()).map(|nic| nic.mac);
        let planned = |machine: &mut Self| {
            let interfaces = machine.interfaces();
            plan(&Facts { nics: &nics, admin, links: &links, interfaces: &interfaces }).changes
        };
        for change in planned(self) {
            self.must(&change.command);
        }
        assert!(planned(self).is_empty(), "a second look finds nothing to do");
        let entries = route::entries(&self.must(&route::show()));
        for change in routes::surplus(&entries, &["e1000g1".to_owned()]) {
            self.must(&change);
        }
        if settings.nat && zone_network::there(settings, &self.interfaces()) == There::Nothing {
            zone_network::make_card(settings, self).expect("a card");
            let (address, prefix) = own_address(settings);
            let address = values::Subnet { address: address.into(), prefix };
            self.must(&ifconfig::plumb_with(&settings.nat_if, address));
        }
        let interfaces = self.interfaces();
        let facts = firewall::facts::from(settings, &links, &interfaces);
        let texts = Texts::of(&facts);
        self.write(firewall::NEW_IPV4, &texts.ipv4);
        self.write(firewall::NEW_IPV6, &texts.ipv6);
        firewall::load(&texts, self).expect("loaded");
        if let Some(text) = rules::nat(&facts) {
            self.write(nat::NEW, &text);
            nat::load(&text, Ok(false), self).expect("loaded");
            self.must(&routeadm::forward_ipv4());
            let interfaces = self.interfaces();
            assert!(interfaces.iter().any(|own| own.link == settings.nat_if && own.has("ROUTER")));
        }
    }

    fn model(&self) -> Model {
        Model::new(&self.world.runtime.network)
    }
}

fn ready(settings: &Settings) -> Machine {
    let mut machine = Machine::new(Era::ALL[0]);
    machine.set_up(NICS, settings);
    machine
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

const OWN: &str = "10.0.0.5";
const GATEWAY: &str = "172.16.9.1";
const SERVER: &str = "198.51.100.7";

fn zone() -> From {
    From::zone("172.16.9.3")
}

fn server() -> From {
    From::outside("e1000g0", SERVER)
}

#[test]
fn every_era_takes_the_commands_and_the_rules() {
    for era in Era::ALL {
        let mut machine = Machine::new(era);
        machine.set_up(NICS, &settings());
        assert_eq!(
            machine.changes,
            [
                "/usr/sbin/ifconfig e1000g0 inet6 plumb up",
                "/usr/sbin/ifconfig e1000g0 inet6 addif fd00::5/64 up",
                "/usr/sbin/ifconfig e1000g1 plumb",
                "/usr/sbin/ifconfig e1000g1 dhcp",
                "/usr/sbin/route -n delete default 192.168.7.1 -ifp e1000g1",
                "/usr/sbin/dladm create-vnic -t -l vswitch0 vnic0",
                "/usr/sbin/ifconfig vnic0 plumb 172.16.9.1/24 up",
                "/usr/sbin/ipf -E -I -F a -f /etc/svc/volatile/guest-init/ipf.conf -6 -F a \
                 -f /etc/svc/volatile/guest-init/ipf6.conf -s -y",
                "/usr/sbin/ipnat -CF -f /etc/svc/volatile/guest-init/ipnat.conf",
                "/usr/sbin/routeadm -u -e ipv4-forwarding",
            ],
            "{era}"
        );
    }
}

#[test]
fn zones_reach_the_outside_by_every_card_with_its_address() {
    let mut model = ready(&settings()).model();
    for service in [Service::Tcp(443), Service::Tcp(22), Service::Udp(53), Service::Udp(443), Service::Echo] {
        let verdict = model.connect(zone(), ip(SERVER), service);
        assert!(verdict.is_passed(), "{service:?}: {verdict}");
        assert_eq!(verdict.seen.expect("somebody").0, ip(OWN));
        let verdict = model.connect(zone(), ip("192.168.7.9"), service);
        assert!(verdict.is_passed(), "{service:?}: {verdict}");
        assert_eq!(verdict.seen.expect("somebody").0, ip("192.168.7.77"));
    }
}

#[test]
fn zones_reach_what_the_guest_has_for_them_and_no_more() {
    let mut model = ready(&settings()).model();
    for (to, service, passes) in [
        (GATEWAY, Service::Tcp(22), true),
        (GATEWAY, Service::Udp(123), true),
        (GATEWAY, Service::Echo, true),
        (OWN, Service::Tcp(22), true),
        (OWN, Service::Echo, true),
        (GATEWAY, Service::Tcp(111), false),
        (GATEWAY, Service::Udp(53), false),
        (GATEWAY, Service::Udp(111), false),
        (GATEWAY, Service::Other(47), false),
        (OWN, Service::Tcp(111), false),
        (OWN, Service::Udp(123), false),
        ("192.168.7.77", Service::Tcp(4045), false),
    ] {
        let verdict = model.connect(zone(), ip(to), service);
        assert_eq!(
            (verdict.is_passed(), verdict.is_blocked()),
            (passes, !passes),
            "{to} {service:?}: {verdict}"
        );
    }
    let verdict = model.connect(From::Host, ip("172.16.9.3"), Service::Tcp(80));
    assert!(verdict.is_passed(), "{verdict}");
}

#[test]
fn from_outside_there_is_ssh_and_echo_alone() {
    let mut model = ready(&settings()).model();
    for (interface, own) in [("e1000g0", OWN), ("e1000g1", "192.168.7.77")] {
        let from = || From::outside(interface, SERVER);
        for (service, passes) in [
            (Service::Tcp(22), true),
            (Service::Echo, true),
            (Service::Tcp(111), false),
            (Service::Udp(111), false),
            (Service::Udp(123), false),
            (Service::Other(47), false),
        ] {
            // The answer to a stranger leaves by the default route, which is the first card's.
            let trip = match interface {
                "e1000g0" => model.connect(from(), ip(own), service),
                _ => model.connect(From::outside(interface, "192.168.7.9"), ip(own), service),
            };
            assert_eq!((trip.is_passed(), trip.is_blocked()), (passes, !passes), "{own} {service:?}: {trip}");
        }
        for service in [Service::Tcp(22), Service::Udp(53), Service::Echo] {
            let verdict = model.connect(from(), ip("172.16.9.3"), service);
            assert!(verdict.is_blocked(), "a zone cannot be reached: {verdict}");
        }
    }
}

#[test]
fn the_guest_reaches_everything() {
    let mut model = ready(&settings()).model();
    for service in [Service::Tcp(443), Service::Udp(53), Service::Udp(443), Service::Udp(123), Service::Echo]
    {
        let verdict = model.connect(From::Host, ip(SERVER), service);
        assert!(verdict.is_passed(), "{service:?}: {verdict}");
    }
    // Of a protocol without states the question passes, and an answer would have to be allowed.
    let verdict = model.connect(From::Host, ip(SERVER), Service::Other(47));
    assert_eq!(verdict.outcome, Outcome::Blocked { answer: true });
}

#[test]
fn nobody_has_an_address_that_is_not_his() {
    let mut model = ready(&settings()).model();
    for (interface, lie) in [
        ("e1000g0", "172.16.9.3"),
        ("e1000g0", OWN),
        ("e1000g0", "127.0.0.1"),
        ("e1000g1", OWN),
        ("vnic0", SERVER),
        ("vnic0", OWN),
        ("vnic0", "0.0.0.0"),
    ] {
        let verdict = model.connect(From::outside(interface, lie), ip(OWN), Service::Tcp(22));
        assert!(verdict.is_blocked(), "{lie} on {interface}: {verdict}");
    }
}

#[test]
fn leases_are_renewed_and_errors_arrive() {
    let mut model = ready(&settings()).model();
    let ports = |source, destination| Payload::Udp { source, destination };
    let asks = Packet::new(ip("0.0.0.0"), ip("255.255.255.255"), ports(68, 67));
    assert!(matches!(model.depart_by("e1000g1", asks).fate, Fate::Left { .. }));
    let offers = Packet::new(ip("192.168.7.1"), ip("192.168.7.77"), ports(67, 68));
    assert!(matches!(model.arrive("e1000g1", offers.clone()).fate, Fate::Delivered(_)));
    assert_eq!(model.arrive("e1000g0", offers).fate, Fate::Blocked, "that card has a static address");
    let question =
        Packet::new(ip(OWN), ip(SERVER), Payload::Tcp { source: 40000, destination: 443, flags: ACK });
    let about = Some(Box::new(question));
    let error = Payload::Icmp { kind: 3, code: 4, id: 0, about };
    let too_big = Packet::new(ip("10.0.0.1"), ip(OWN), error);
    assert!(matches!(model.arrive("e1000g0", too_big).fate, Fate::Delivered(_)));
}

#[test]
fn sessions_outlive_new_rules() {
    let mut machine = Machine::new(Era::ALL[1]);
    let mut model = machine.model();
    let segment = |port, flags| {
        Packet::new(ip(SERVER), ip(OWN), Payload::Tcp { source: 50000, destination: port, flags })
    };
    // It began before there were rules.
    assert!(matches!(model.arrive("e1000g0", segment(22, SYN)).fate, Fate::Delivered(_)));
    machine.set_up(NICS, &settings());
    model.update(&machine.world.runtime.network);
    assert!(matches!(model.arrive("e1000g0", segment(22, ACK)).fate, Fate::Delivered(_)));
    assert_eq!(model.arrive("e1000g0", segment(111, ACK)).fate, Fate::Blocked);
    // One that the guest began lives on when other rules are loaded.
    let own =
        |flags| Packet::new(ip(OWN), ip(SERVER), Payload::Tcp { source: 40000, destination: 443, flags });
    assert!(matches!(model.depart(own(SYN)).fate, Fate::Left { .. }));
    let narrower = Settings { ssh_allow: vec!["203.0.113.0/24".parse().expect("a network")], ..settings() };
    machine.set_up(NICS, &narrower);
    model.update(&machine.world.runtime.network);
    assert!(matches!(model.arrive("e1000g0", own(ACK).answer()).fate, Fate::Delivered(_)));
    assert!(model.connect(server(), ip(OWN), Service::Tcp(22)).is_blocked());
    assert!(model.connect(From::outside("e1000g0", "203.0.113.9"), ip(OWN), Service::Tcp(22)).is_passed());
    assert!(model.connect(zone(), ip(GATEWAY), Service::Tcp(22)).is_blocked());
    assert!(model.connect(zone(), ip(SERVER), Service::Tcp(22)).is_passed(), "that is not this guest's");
}

#[test]
fn ipv6_has_rules_too() {
    let mut model = ready(&settings()).model();
    let host = || From::outside("e1000g0", "fd00::9");
    for (service, passes) in [
        (Service::Tcp(22), true),
        (Service::Echo, true),
        (Service::Tcp(111), false),
        (Service::Udp(111), false),
    ] {
        let verdict = model.connect(host(), ip("fd00::5"), service);
        assert_eq!((verdict.is_passed(), verdict.is_blocked()), (passes, !passes), "{service:?}: {verdict}");
    }
    for service in [Service::Tcp(443), Service::Udp(53), Service::Echo] {
        let verdict = model.connect(From::Host, ip("fd00::9"), service);
        assert!(verdict.is_passed(), "{service:?}: {verdict}");
    }
}

#[test]
fn routes_of_the_metadata_lead_where_they_say() {
    let text = format!(
        r#"[{{"linklocal": false, "dst": "10.2.0.0/16", "gateway": "10.0.0.9"}},
            {{"linklocal": true, "dst": "10.3.0.0/16", "gateway": "{OWN}"}},
            {{"linklocal": true, "dst": "10.4.0.7", "gateway": "{OWN}"}},
            {{"linklocal": true, "dst": "fd07::/64", "gateway": "fd00::5"}}]"#
    );
    let (wanted, notes) = routes::acceptable(values::routes(text.as_bytes()).expect("an array").good);
    assert_eq!(notes, [""; 0]);
    for era in Era::ALL {
        let mut machine = Machine::new(era);
        machine.set_up(NICS, &settings());
        let table = machine.must(&route::show());
        let missing = routes::missing(&wanted, &route::entries(&table));
        assert_eq!(missing.len(), 4);
        for change in missing {
            machine.must(&change);
        }
        let table = machine.must(&route::show());
        assert_eq!(routes::missing(&wanted, &route::entries(&table)), [], "{table}");
        let network = &machine.world.runtime.network;
        for (to, gateway) in [
            ("10.2.0.1", Some("10.0.0.9")),
            ("10.3.0.1", None),
            ("10.4.0.7", None),
            ("10.4.0.8", Some("10.0.0.1")),
            ("fd07::1", None),
        ] {
            let hop = network.hop(ip(to)).expect("a way");
            assert_eq!((hop.interface.as_str(), hop.gateway), ("e1000g0", gateway.map(ip)), "{to}");
        }
    }
}

#[test]
fn hazard_24_a_rule_that_the_kernel_refuses_leaves_the_old_set() {
    let mut machine = ready(&settings());
    let before = machine.world.runtime.network.filter.clone();
    // The same rule twice: the kernel refuses the second, and ipf ends with 0 all the same.
    let texts =
        Texts { ipv4: "# x\nblock in all\nblock in all\n".into(), ipv6: "# x\nblock in all\n".into() };
    machine.write(firewall::NEW_IPV4, &texts.ipv4);
    machine.write(firewall::NEW_IPV6, &texts.ipv6);
    let error = firewall::load(&texts, &mut machine).expect_err("a rule is missing");
    assert!(error.to_string().contains("the old rules are in use again"), "{error:#}");
    let filter = &machine.world.runtime.network.filter;
    assert_eq!(filter.set(false), before.set(false));
    assert!(machine.model().connect(server(), ip(OWN), Service::Tcp(22)).is_passed());
}
