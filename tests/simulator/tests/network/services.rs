//! The platform's services that configure the network.

use kiln_simulator::Era;
use kiln_simulator::network::ipfilter::{Method, play};
use kiln_simulator::network::physical::{start, start_routing};

use crate::machine::Machine;

const STATIC: &str = "\
# written at first boot
admin_nic=52:54:0:12:34:50
admin_ip=10.0.0.2
admin_netmask=255.255.255.0
headnode_default_gateway=10.0.0.1
dns_resolvers=8.8.8.8,8.8.4.4
dns_domain=local
etherstub=vswitch0
";

fn machine(era: usize, config: &str) -> Machine {
    let machine = Machine::new(Era::ALL[era], 2);
    machine.write("/usbkey/config", config);
    machine
}

#[test]
fn a_static_configuration_comes_up_on_every_era() {
    for era in 0..Era::ALL.len() {
        let mut machine = machine(era, STATIC);
        let played = start(&mut machine.world);
        assert_eq!((played.status, played.seconds), (0, 0), "{}", played.log);
        assert!(machine.ok("ifconfig e1000g0").contains("inet 10.0.0.2 netmask ffffff00 "));
        assert_eq!(machine.ok("dladm show-etherstub -p -o link"), "vswitch0\n");
        assert_eq!(
            machine.read("/etc/resolv.conf"),
            "search local\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n"
        );
        assert_eq!(machine.read("/etc/defaultrouter"), "10.0.0.1\n");
        assert!(machine.world.runtime.network.strict_source);
        assert!(!machine.ok("netstat -rn").contains("default"));
        let routing = start_routing(&mut machine.world);
        assert!(machine.ok("netstat -rn").contains("default              10.0.0.1 "), "{}", routing.log);
        assert_eq!(machine.complaints(), "");
    }
}

#[test]
fn a_lease_is_waited_for_since_2014() {
    let config = STATIC.replace("admin_ip=10.0.0.2\nadmin_netmask=255.255.255.0\n", "");
    for era in 0..Era::ALL.len() {
        let mut machine = machine(era, &config);
        machine.world.hardware.nics[0].dhcp = Some("10.0.0.77/24 10.0.0.1 late=200".into());
        let played = start(&mut machine.world);
        assert_eq!(played.status, 0, "{}", played.log);
        let up = machine.world.runtime.network.is_local("10.0.0.77".parse().unwrap());
        assert_eq!(up, era > 0);
        assert_eq!(played.seconds, if era > 0 { 200 } else { 30 });
        // Without a static address only the newest writes resolvers.
        assert_eq!(machine.read("/etc/resolv.conf").is_empty(), era < 5);
    }
    let mut machine = machine(2, &config);
    let played = start(&mut machine.world);
    assert_eq!((played.status, played.seconds), (0, 330));
}

#[test]
fn dhcp_by_name_is_no_address_in_2013() {
    let config = STATIC.replace("10.0.0.2\nadmin_netmask=255.255.255.0", "dhcp");
    let mut machine = machine(0, &config);
    assert_eq!(start(&mut machine.world).status, 96);
    assert!(machine.complaints().contains("admin_ip=dhcp"));
}

#[test]
fn configurations_that_cannot_work_end_in_maintenance() {
    let no_device = STATIC.replace("34:50", "34:5f");
    assert_eq!(start(&mut machine(1, &no_device).world).status, 96);
    assert_eq!(start(&mut machine(1, "").world).status, 96);
    let none = format!("{STATIC}admin_ip=none\n");
    assert_eq!(start(&mut machine(3, &none).world).status, 0);
    for (mtu, status) in [("1499", 95), ("9001", 95), ("x", 95), ("1500", 0), ("9000", 0)] {
        for era in 1..Era::ALL.len() {
            let config = format!("{STATIC}admin_mtu={mtu}\n");
            assert_eq!(start(&mut machine(era, &config).world).status, status, "{mtu} in {era}");
        }
    }
    let autoselect = "admin_nic_autoselect=true\nadmin_ip=10.0.0.2\nadmin_netmask=255.255.255.0\n";
    assert_eq!(start(&mut machine(2, autoselect).world).status, 96);
    assert_eq!(start(&mut machine(3, autoselect).world).status, 0);
}

#[test]
fn values_that_a_shell_would_run_are_complaints() {
    let mut machine = machine(1, &format!("{STATIC}hostname=$(reboot)\n"));
    start(&mut machine.world);
    assert!(machine.complaints().contains("hostname=$(reboot)"), "{}", machine.complaints());
}

#[test]
fn numbered_tags_make_vnics() {
    let config = format!(
        "{STATIC}net1_nic=52:54:0:12:34:51\nnet10_ip=192.168.1.2\nnet10_netmask=255.255.255.0\nnet11_ip=dhcp\n"
    );
    for era in 0..Era::ALL.len() {
        let mut machine = machine(era, &config);
        let played = start(&mut machine.world);
        assert_eq!(played.status, 0, "{}", played.log);
        let vnics = machine.ok("dladm show-vnic -p -o link,over");
        assert_eq!(vnics, if era == 0 { "net10:e1000g1\n" } else { "net10:e1000g1\nnet11:e1000g1\n" });
    }
}

#[test]
fn a_lease_s_router_gives_way_to_the_file() {
    let mut machine = machine(2, &STATIC.replace("admin_ip=10.0.0.2\nadmin_netmask=255.255.255.0\n", ""));
    machine.world.hardware.nics[0].dhcp = Some("10.0.0.77/24 10.0.0.254".into());
    start(&mut machine.world);
    assert!(machine.ok("netstat -rn").contains("default              10.0.0.254 "));
    start_routing(&mut machine.world);
    let table = machine.ok("netstat -rn");
    assert!(table.contains("default              10.0.0.1 ") && !table.contains("10.0.0.254"), "{table}");
}

#[test]
fn ipfilter_starts_with_its_files_alone() {
    let mut machine = machine(2, STATIC);
    assert_eq!(play(&mut machine.world, Method::Start).status, 0);
    assert!(!machine.world.runtime.network.filter.running);
    machine.write("/etc/ipf/ipf.conf", "block in quick on e1000g0 all\n");
    machine.write("/etc/ipf/ipf6.conf", "block in quick on e1000g0 proto ipv6-icmp all\n");
    machine.write("/etc/ipf/ipnat.conf", "map e1000g0 172.16.9.0/24 -> 0/32\n");
    let played = play(&mut machine.world, Method::Start);
    assert_eq!(played.status, 0, "{}", played.log);
    assert_eq!(machine.ok("ipfstat -i"), "block in quick on e1000g0 all\n");
    assert_eq!(machine.ok("ipfstat -6i"), "block in quick on e1000g0 proto ipv6-icmp from any to any\n");
    assert!(machine.ok("ipnat -l").contains("map e1000g0"));
    // A file with an error leaves the old rules active.
    machine.write("/etc/ipf/ipf.conf", "pass in all\nblok in all\n");
    let played = play(&mut machine.world, Method::Start);
    assert_eq!(played.status, 96);
    assert!(played.log.contains("Not switching config due to load error."));
    assert_eq!(machine.ok("ipfstat -i"), "block in quick on e1000g0 all\n");
    play(&mut machine.world, Method::Stop);
    assert!(!machine.world.runtime.network.filter.running);
}

#[test]
fn files_of_var_fw_take_the_place_since_december_2013() {
    for era in 0..Era::ALL.len() {
        let mut machine = machine(era, STATIC);
        machine.write("/etc/ipf/ipf.conf", "block in all\n");
        machine.write("/var/fw/ipf.conf", "pass in all\n");
        play(&mut machine.world, Method::Start);
        let linked = machine.world.path("/etc/ipf/ipf.conf").is_symlink();
        assert_eq!(linked, era > 0);
        assert_eq!(machine.read("/etc/ipf/ipf.conf.orig").is_empty(), era == 0);
    }
}
