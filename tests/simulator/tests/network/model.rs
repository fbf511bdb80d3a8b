//! What packets meet, against what was measured of the original image's rules on IP Filter: the model must say the same.

use crate::machine::{Machine, ip};
use kiln_simulator::Era;
use kiln_simulator::network::model::{ACK, By, Fate, From, Model, Outcome, Packet, Payload, SYN, Service};

/// Rules like those of the original image.
const RULES: &str = "\
# the outside
pass in quick on e1000g0 proto tcp from any to any port = 22 flags S/FSRPAU keep state keep frags
pass in quick on e1000g0 proto icmp from any to any icmp-type 8 keep state
pass out quick on e1000g0 proto tcp from any to any flags S/FSRPAU keep state keep frags
pass out quick on e1000g0 from any to any port = 53 keep state
pass out quick on e1000g0 proto udp from any to any port = 123 keep state
pass out quick on e1000g0 proto icmp from any to any icmp-type 8 keep state
block in log first quick on e1000g0 all
block out log first quick on e1000g0 all
";

const TRANSLATION: &str = "\
map e1000g0 172.16.9.0/24 -> 0/32 portmap tcp/udp auto
map e1000g0 172.16.9.0/24 -> 0/32
";

fn machine(rules: &str, translation: &str) -> Machine {
    let mut machine = Machine::new(Era::ALL[0], 2);
    for line in [
        "dladm init-phys",
        "dladm create-etherstub -t vswitch0",
        "dladm create-vnic -t -l vswitch0 vnic0",
        "ifconfig e1000g0 plumb 10.0.0.2/24 up",
        "ifconfig e1000g1 plumb 192.168.7.2/24 up",
        "ifconfig vnic0 plumb 172.16.9.1/24 up",
        "route -n add default 10.0.0.1",
        "ndd -set /dev/ip ip_strict_src_multihoming 1",
        "routeadm -u -e ipv4-forwarding",
        "ipf -E",
    ] {
        machine.ok(line);
    }
    machine.write("/etc/ipf/ipf.conf", rules);
    machine.write("/etc/ipf/ipnat.conf", translation);
    machine.ok("ipf -IFa -f /etc/ipf/ipf.conf");
    machine.ok("ipf -s -y");
    machine.ok("ipnat -CF -f /etc/ipf/ipnat.conf");
    machine
}

fn model() -> Model {
    Model::new(&machine(RULES, TRANSLATION).world.runtime.network)
}

fn anywhere() -> From {
    From::outside("e1000g0", "198.51.100.7")
}

#[test]
fn ssh_to_the_machine_passes_from_anywhere_and_nothing_else_does() {
    let mut model = model();
    let verdict = model.connect(anywhere(), ip("10.0.0.2"), Service::Tcp(22));
    assert!(verdict.is_passed(), "{verdict}");
    assert!(matches!(&verdict.steps[0].by, By::Rule(rule) if rule.contains("port = ssh")), "{verdict}");
    assert!(matches!(&verdict.steps[1].by, By::State(_)), "{verdict}");
    for service in [Service::Tcp(111), Service::Udp(53), Service::Udp(161), Service::Other(47)] {
        assert!(model.connect(anywhere(), ip("10.0.0.2"), service).is_blocked(), "{service:?}");
    }
    assert!(model.connect(anywhere(), ip("10.0.0.2"), Service::Echo).is_passed());
}

#[test]
fn the_machine_reaches_tcp_dns_ntp_and_echo_outside() {
    let mut model = model();
    for service in [Service::Tcp(443), Service::Udp(53), Service::Tcp(53), Service::Udp(123), Service::Echo] {
        let verdict = model.connect(From::Host, ip("8.8.8.8"), service);
        assert!(verdict.is_passed(), "{service:?}: {verdict}");
        assert_eq!(verdict.seen.unwrap().0, ip("10.0.0.2"));
    }
    for service in [Service::Udp(443), Service::Udp(67), Service::Other(47)] {
        assert!(model.connect(From::Host, ip("8.8.8.8"), service).is_blocked(), "{service:?}");
    }
}

#[test]
fn dhcp_is_blocked_in_and_out() {
    let mut model = model();
    let asks =
        Packet::new(ip("0.0.0.0"), ip("255.255.255.255"), Payload::Udp { source: 68, destination: 67 });
    assert_eq!(model.depart_by("e1000g0", asks).fate, Fate::Blocked);
    let offers =
        Packet::new(ip("10.0.0.1"), ip("255.255.255.255"), Payload::Udp { source: 67, destination: 68 });
    assert_eq!(model.arrive("e1000g0", offers).fate, Fate::Blocked);
}

#[test]
fn a_lease_lives_with_rules_for_it() {
    let server = "10.0.0.1".parse().unwrap();
    assert!(model().lease("e1000g0", server).unwrap_err().starts_with("UDP 0.0.0.0 port 68"));
    let out = "pass out quick on e1000g0 proto udp from any port = 68 to any port = 67\n";
    let back = "pass in quick on e1000g0 proto udp from any port = 67 to any port = 68\n";
    let lease = |rules: String| {
        Model::new(&machine(&rules, TRANSLATION).world.runtime.network).lease("e1000g0", server)
    };
    assert!(lease(format!("{out}{RULES}")).unwrap_err().starts_with("UDP 10.0.0.1 port 67"));
    assert_eq!(lease(format!("{out}{back}{RULES}")), Ok(()));
}

#[test]
fn answers_leave_by_the_interface_of_their_source_if_they_can() {
    let mut model = model();
    // A host outside that says it is one of the zones' network.
    let spoofed = model.connect(From::outside("e1000g0", "172.16.9.5"), ip("10.0.0.2"), Service::Tcp(22));
    assert!(spoofed.is_passed(), "{spoofed}");
    // The second device has no router: the answer goes by the first, and does not come back the same way.
    let second = model.connect(From::outside("e1000g1", "198.51.100.7"), ip("192.168.7.2"), Service::Tcp(22));
    assert!(!second.is_passed(), "{second}");
}

fn unreachable(about: Packet, from: &str, to: &str) -> Packet {
    let payload = Payload::Icmp { kind: 3, code: 4, id: 0, about: Some(Box::new(about)) };
    Packet::new(ip(from), ip(to), payload)
}

#[test]
fn icmp_errors_pass_with_the_state_of_what_they_are_about_alone() {
    let mut model = model();
    let syn = Payload::Tcp { source: 40000, destination: 443, flags: SYN };
    let question = Packet::new(ip("10.0.0.2"), ip("8.8.8.8"), syn);
    let error = unreachable(question.clone(), "10.0.0.1", "10.0.0.2");
    assert_eq!(model.arrive("e1000g0", error.clone()).fate, Fate::Blocked);
    assert!(matches!(model.depart(question).fate, Fate::Left { .. }));
    assert!(matches!(model.arrive("e1000g0", error).fate, Fate::Delivered(_)));
}

#[test]
fn icmp_errors_about_translated_connections_reach_the_zone() {
    let mut model = model();
    let syn = Payload::Tcp { source: 40000, destination: 443, flags: SYN };
    let trip = model.arrive("vnic0", Packet::new(ip("172.16.9.3"), ip("8.8.8.8"), syn));
    let Fate::Left { interface, packet } = trip.fate else { panic!("{trip:?}") };
    assert_eq!((interface.as_str(), packet.source), ("e1000g0", ip("10.0.0.2")));
    let back = model.arrive("e1000g0", unreachable(packet, "10.0.0.1", "10.0.0.2"));
    let Fate::Left { interface, packet } = back.fate else { panic!("{back:?}") };
    assert_eq!((interface.as_str(), packet.destination), ("vnic0", ip("172.16.9.3")));
}

#[test]
fn the_middle_of_a_connection_needs_its_state() {
    let mut machine = machine(RULES, TRANSLATION);
    let mut model = Model::new(&machine.world.runtime.network);
    let segment = |flags| {
        Packet::new(
            ip("198.51.100.7"),
            ip("10.0.0.2"),
            Payload::Tcp { source: 50000, destination: 22, flags },
        )
    };
    assert_eq!(model.arrive("e1000g0", segment(ACK)).fate, Fate::Blocked);
    assert!(matches!(model.arrive("e1000g0", segment(SYN)).fate, Fate::Delivered(_)));
    assert!(matches!(model.arrive("e1000g0", segment(ACK)).fate, Fate::Delivered(_)));
    // Flushing the rules keeps states.
    machine.ok("ipf -IFa -f /etc/ipf/ipf.conf");
    machine.ok("ipf -s");
    machine.ok("ipf -y");
    model.update(&machine.world.runtime.network);
    assert!(matches!(model.arrive("e1000g0", segment(ACK)).fate, Fate::Delivered(_)));
    // Flushing the state table cuts sessions.
    machine.ok("ipf -FS");
    model.update(&machine.world.runtime.network);
    assert_eq!(model.arrive("e1000g0", segment(ACK)).fate, Fate::Blocked);
}

#[test]
fn what_no_rule_matches_passes() {
    let mut model = model();
    // On the zones' network, and on a device that no rule names.
    for service in [Service::Tcp(111), Service::Tcp(22), Service::Udp(2049), Service::Echo] {
        let verdict = model.connect(From::zone("172.16.9.3"), ip("172.16.9.1"), service);
        assert!(verdict.is_passed(), "{service:?}: {verdict}");
        assert_eq!(verdict.steps[0].by, By::Nothing);
        let second = From::outside("e1000g1", "192.168.7.9");
        assert!(model.connect(second, ip("192.168.7.2"), service).is_passed(), "{service:?}");
    }
    let wrong = RULES.replace("e1000g0", "e1000g7");
    let mut model = Model::new(&machine(&wrong, "").world.runtime.network);
    assert!(model.connect(anywhere(), ip("10.0.0.2"), Service::Tcp(111)).is_passed());
}

#[test]
fn ipv6_is_filtered_by_rules_of_its_own_alone() {
    let mut machine = machine(RULES, TRANSLATION);
    for line in
        ["ifconfig e1000g0 inet6 plumb up", "ifconfig e1000g0 inet6 addif 2001:db8::2/64 preferred up"]
    {
        machine.run(line);
    }
    let host = || From::outside("e1000g0", "2001:db8::9");
    let mut model = Model::new(&machine.world.runtime.network);
    for service in [Service::Tcp(111), Service::Udp(161), Service::Echo] {
        assert!(model.connect(host(), ip("2001:db8::2"), service).is_passed());
    }
    machine.write(
        "/etc/ipf/ipf6.conf",
        "pass in quick on e1000g0 proto tcp from any to any port = 22 flags S/FSRPAU keep state\n\
         pass in quick on e1000g0 proto ipv6-icmp from any to any icmp-type 135\n\
         pass out quick on e1000g0 proto ipv6-icmp from any to any icmp-type 136\n\
         block in quick on e1000g0 all\n",
    );
    machine.ok("ipf -6 -IFa -f /etc/ipf/ipf6.conf");
    machine.ok("ipf -IFa -f /etc/ipf/ipf.conf");
    machine.ok("ipf -s");
    let mut model = Model::new(&machine.world.runtime.network);
    assert!(model.connect(host(), ip("2001:db8::2"), Service::Tcp(22)).is_passed());
    assert!(model.connect(host(), ip("2001:db8::2"), Service::Tcp(111)).is_blocked());
    assert!(model.connect(host(), ip("2001:db8::2"), Service::Echo).is_blocked());
    assert!(model.connect(anywhere(), ip("10.0.0.2"), Service::Tcp(22)).is_passed());
}

#[test]
fn zones_reach_the_outside_as_the_machine() {
    let mut model = model();
    let tcp = model.connect(From::zone("172.16.9.3"), ip("8.8.8.8"), Service::Tcp(443));
    assert!(tcp.is_passed(), "{tcp}");
    let (address, port) = tcp.seen.unwrap();
    assert_eq!((address, port), (ip("10.0.0.2"), 1024));
    let dns = model.connect(From::zone("172.16.9.4"), ip("8.8.8.8"), Service::Udp(53));
    assert!(dns.is_passed() && dns.seen.unwrap().1 >= 1024, "{dns}");
    let echo = model.connect(From::zone("172.16.9.3"), ip("8.8.8.8"), Service::Echo);
    assert!(echo.is_passed(), "{echo}");
    assert_eq!(echo.seen.unwrap().0, ip("10.0.0.2"));
    // Outbound, the filter sees the zone's own address, and rules for the machine hold for zones too.
    assert!(model.connect(From::zone("172.16.9.3"), ip("8.8.8.8"), Service::Udp(443)).is_blocked());
    // Another network has no rule of translation.
    let elsewhere = model.connect(From::zone("172.16.9.3"), ip("192.168.7.9"), Service::Tcp(80));
    assert!(matches!(&elsewhere.outcome, Outcome::Lost(why) if why.contains("172.16.9.3")), "{elsewhere}");
    // Zones reach each other without the machine.
    let zones = model.connect(From::zone("172.16.9.3"), ip("172.16.9.4"), Service::Tcp(80));
    assert_eq!(zones.outcome, Outcome::Switched);
}

#[test]
fn the_order_of_map_rules_decides_about_ports() {
    let mut lines: Vec<&str> = TRANSLATION.lines().collect();
    lines.reverse();
    let reversed = lines.join("\n") + "\n";
    let mut model = Model::new(&machine(RULES, &reversed).world.runtime.network);
    let verdict = model.connect(From::zone("172.16.9.3"), ip("8.8.8.8"), Service::Tcp(443));
    assert!(verdict.is_passed() && verdict.seen.unwrap().1 > 49152, "{verdict}");
    // Two zones with the same port to the same place: without a map of ports the second cannot be translated.
    let syn = |zone| {
        Packet::new(ip(zone), ip("8.8.8.8"), Payload::Tcp { source: 40000, destination: 443, flags: SYN })
    };
    assert!(matches!(model.arrive("vnic0", syn("172.16.9.3")).fate, Fate::Left { .. }));
    assert!(matches!(model.arrive("vnic0", syn("172.16.9.4")).fate, Fate::Lost(_)));
}

#[test]
fn zones_are_cut_off_without_forwarding_translation_or_address() {
    let zone = || From::zone("172.16.9.3");
    let mut without = machine(RULES, TRANSLATION);
    without.ok("ndd -set /dev/ip ip_forwarding 0");
    let verdict =
        Model::new(&without.world.runtime.network).connect(zone(), ip("8.8.8.8"), Service::Tcp(443));
    assert!(matches!(&verdict.outcome, Outcome::Lost(why) if why.ends_with("not forwarded")), "{verdict}");
    let verdict = Model::new(&machine(RULES, "").world.runtime.network).connect(
        zone(),
        ip("8.8.8.8"),
        Service::Tcp(443),
    );
    assert!(
        matches!(&verdict.outcome, Outcome::Lost(why) if why.contains("nobody there answers")),
        "{verdict}"
    );
    let mut without = machine(RULES, TRANSLATION);
    without.ok("ifconfig vnic0 unplumb");
    let verdict =
        Model::new(&without.world.runtime.network).connect(zone(), ip("8.8.8.8"), Service::Tcp(443));
    assert!(matches!(&verdict.outcome, Outcome::Lost(why) if why.contains("no interface")), "{verdict}");
}

#[test]
fn rules_can_keep_zones_from_the_machines_ports() {
    let rules = format!(
        "{RULES}pass in quick on vnic0 proto udp from 172.16.9.0/24 to 172.16.9.1 port = 53 keep state\n\
         block in quick on vnic0 from any to 172.16.9.1\n\
         block in quick on vnic0 from !172.16.9.0/24 to any\n"
    );
    let mut model = Model::new(&machine(&rules, TRANSLATION).world.runtime.network);
    assert!(model.connect(From::zone("172.16.9.3"), ip("172.16.9.1"), Service::Udp(53)).is_passed());
    assert!(model.connect(From::zone("172.16.9.3"), ip("172.16.9.1"), Service::Tcp(22)).is_blocked());
    assert!(model.connect(From::zone("172.16.9.3"), ip("8.8.8.8"), Service::Tcp(443)).is_passed());
    // A source that is not on the network.
    let spoofed = Packet::new(ip("10.0.0.9"), ip("8.8.8.8"), Payload::Udp { source: 1, destination: 53 });
    assert_eq!(model.arrive("vnic0", spoofed).fate, Fate::Blocked);
}

#[test]
fn redirections_lead_to_zones() {
    let translation = format!("{TRANSLATION}rdr e1000g0 10.0.0.2/32 port 80 -> 172.16.9.3 port 8080 tcp\n");
    let rules = format!(
        "pass in quick on e1000g0 proto tcp from any to 172.16.9.3/32 port = 8080 flags S keep state\n{RULES}"
    );
    let mut model = Model::new(&machine(&rules, &translation).world.runtime.network);
    let verdict = model.connect(anywhere(), ip("10.0.0.2"), Service::Tcp(80));
    assert!(verdict.is_passed(), "{verdict}");
    assert_eq!(verdict.reached, Some((ip("172.16.9.3"), 8080)));
    assert_eq!(verdict.seen.unwrap().0, ip("198.51.100.7"));
}

#[test]
fn the_last_match_counts_without_quick_and_states_outlive_their_rule() {
    let rules = "block in on e1000g0 all\npass in on e1000g0 proto tcp from any to any port = 22 keep state\n\
                 block in on e1000g0 proto icmp from any to any icmp-type 8\n\
                 skip 1 in on e1000g0 proto udp from any to any port = 53\nblock in on e1000g0 proto udp all\n\
                 pass in on e1000g0 proto udp from any to any port = 53 keep state\n";
    let mut model = Model::new(&machine(rules, "").world.runtime.network);
    assert!(model.connect(anywhere(), ip("10.0.0.2"), Service::Tcp(22)).is_passed());
    assert!(model.connect(anywhere(), ip("10.0.0.2"), Service::Udp(53)).is_passed());
    assert!(model.connect(anywhere(), ip("10.0.0.2"), Service::Udp(54)).is_blocked());
    assert!(model.connect(anywhere(), ip("10.0.0.2"), Service::Echo).is_blocked());
}

#[test]
fn a_state_that_cannot_be_kept_unmatches_a_quick_rule() {
    // An ICMP error begins no state: the first rule counts as not matching, the second, not quick, turns into a block.
    let error = || {
        let about = Packet::new(ip("10.0.0.2"), ip("8.8.8.8"), Payload::Udp { source: 1, destination: 2 });
        unreachable(about, "8.8.8.8", "10.0.0.2")
    };
    let quick =
        "pass in quick on e1000g0 proto icmp all keep state\nblock in quick on e1000g0 proto icmp all\n";
    let trip = Model::new(&machine(quick, "").world.runtime.network).arrive("e1000g0", error());
    assert_eq!(trip.fate, Fate::Blocked);
    assert!(matches!(&trip.steps[0].by, By::Rule(rule) if rule.starts_with("block")), "{trip:?}");
    let slow = "pass in on e1000g0 proto icmp all keep state\n";
    let trip = Model::new(&machine(slow, "").world.runtime.network).arrive("e1000g0", error());
    assert_eq!(trip.fate, Fate::Blocked);
    assert!(matches!(&trip.steps[0].by, By::Rule(rule) if rule.starts_with("pass")), "{trip:?}");
}

#[test]
fn a_filter_that_does_not_run_passes_everything() {
    let mut machine = machine(RULES, TRANSLATION);
    machine.ok("ipf -D");
    let verdict =
        Model::new(&machine.world.runtime.network).connect(anywhere(), ip("10.0.0.2"), Service::Tcp(111));
    assert!(verdict.is_passed() && verdict.steps[0].by == By::NoFilter, "{verdict}");
}
