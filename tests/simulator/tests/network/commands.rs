//! Texts and statuses of the network's commands.

use kiln_simulator::{Era, Reply};

use crate::machine::{Machine, texts};

fn machine() -> Machine {
    Machine::new(Era::ALL[1], 2)
}

#[test]
fn there_are_no_datalinks_of_hardware_before_init_phys() {
    let mut machine = machine();
    assert_eq!(machine.ok("dladm show-phys -m -p -o link,address"), "");
    machine.fails("ifconfig e1000g0 plumb", 1, "ifconfig: cannot plumb e1000g0: Could not open DLPI link");
    machine.fails("dladm create-vnic -t -l e1000g0 vnic0", 1, "dladm: invalid link name 'e1000g0'");
    machine.ok("dladm init-phys");
    machine.ok("dladm init-phys");
    assert_eq!(
        machine.ok("dladm show-phys -m -p -o link,address"),
        "e1000g0:52\\:54\\:0\\:12\\:34\\:50\ne1000g1:52\\:54\\:0\\:12\\:34\\:51\n"
    );
    // One field alone is not escaped.
    assert_eq!(machine.ok("dladm show-phys -m -po address e1000g1"), "52:54:0:12:34:51\n");
}

#[test]
fn the_state_of_a_link_is_known_once_it_is_plumbed() {
    let mut machine = machine();
    machine.world.hardware.nics[1].up = false;
    machine.ok("dladm init-phys");
    assert_eq!(machine.ok("dladm show-phys -p -o link,state"), "e1000g0:unknown\ne1000g1:unknown\n");
    machine.ok("ifconfig e1000g0 plumb");
    machine.ok("ifconfig e1000g1 plumb");
    assert_eq!(
        machine.ok("dladm show-phys -p -o link,state,speed,duplex"),
        "e1000g0:up:1000:full\ne1000g1:down:0:unknown\n"
    );
    machine.fails(
        "dladm show-phys -p -o state e1000g9",
        1,
        "dladm: link e1000g9 is not valid: object not found",
    );
}

#[test]
fn etherstubs_and_vnics_are_made_once() {
    let mut machine = machine();
    machine.ok("dladm init-phys");
    machine.ok("dladm create-etherstub -t vswitch0");
    machine.fails(
        "dladm create-etherstub -t vswitch0",
        1,
        "dladm: etherstub creation failed: object already exists",
    );
    machine.ok("dladm create-vnic -t -l vswitch0 -m 2:8:20:1:2:3 vnic0");
    machine.fails(
        "dladm create-vnic -t -l vswitch0 vnic0",
        1,
        "dladm: vnic creation over vswitch0 failed: object already exists",
    );
    machine.fails(
        "dladm create-vnic -t -l e1000g0 -m 52:54:00:12:34:50 net0",
        1,
        "dladm: vnic creation over e1000g0 failed: MAC address is already in use",
    );
    machine.fails("dladm create-vnic -t -l e1000g0 -m 1:2:3 net0", 1, "dladm: invalid MAC address");
    assert_eq!(
        machine.ok("dladm show-vnic -p -o link,over,macaddress,macaddrtype"),
        "vnic0:vswitch0:2\\:8\\:20\\:1\\:2\\:3:fixed\n"
    );
    assert_eq!(machine.ok("dladm show-etherstub -p -o link"), "vswitch0\n");
    assert_eq!(
        machine.ok("dladm show-link -p -o link,class,mtu,over"),
        "e1000g0:phys:1500:\ne1000g1:phys:1500:\nvswitch0:etherstub:9000:\nvnic0:vnic:9000:vswitch0\n"
    );
    machine.fails(
        "dladm show-vnic -p -o link vnic7",
        1,
        "dladm: invalid vnic name 'vnic7': object not found",
    );
    machine.fails("dladm delete-etherstub -t vswitch0", 1, "dladm: vnic deletion failed: link busy");
    machine.fails("dladm delete-vnic -t vswitch0", 1, "dladm: 'vswitch0' is not a vnic");
    machine.ok("dladm delete-vnic -t vnic0");
    machine.ok("dladm delete-etherstub -t vswitch0");
    machine.fails("dladm delete-vnic -t vnic0", 1, "dladm: invalid link name 'vnic0'");
}

#[test]
fn names_of_links_end_in_a_digit() {
    let mut machine = machine();
    for name in ["vswitch", "0vswitch0", "v-switch0", "v.switch0"] {
        let error = format!("dladm: invalid link name '{name}'");
        machine.fails(&format!("dladm create-etherstub -t {name}"), 1, &error);
    }
    let long = format!("{}0", "v".repeat(31));
    machine.fails(
        &format!("dladm create-etherstub -t {long}"),
        1,
        &format!("dladm: link name too long '{long}'"),
    );
    machine.ok(&format!("dladm create-etherstub -t {}", &long[1..]));
}

#[test]
fn dladm_dies_of_what_it_does_not_know() {
    let mut machine = machine();
    for line in [
        "dladm show-phys",
        "dladm show-phys -x -p -o link",
        "dladm frobnicate",
        "dladm show-phys -p -o color",
    ] {
        machine.ok("dladm init-phys");
        machine.refused(line);
    }
    machine.fails("dladm show-phys -p", 1, "dladm: -p requires -o");
}

#[test]
fn the_mtu_of_an_interface_is_at_most_its_links() {
    let mut machine = machine();
    machine.ok("dladm init-phys");
    assert_eq!(machine.ok("dladm show-linkprop -c -o value -p mtu e1000g0"), "1500\n");
    machine.ok("ifconfig e1000g0 plumb mtu 1400");
    machine.fails(
        "ifconfig e1000g0 mtu 9000",
        1,
        "ifconfig: setifmtu: SIOCSLIFMTU: e1000g0: Invalid argument",
    );
    machine.fails("ifconfig e1000g0 mtu 67", 1, "ifconfig: setifmtu: SIOCSLIFMTU: e1000g0: Invalid argument");
    machine.fails(
        "dladm set-linkprop -p mtu=9000 e1000g0",
        1,
        "dladm: warning: cannot set link property 'mtu' on 'e1000g0': link busy",
    );
    machine.ok("ifconfig e1000g0 unplumb");
    machine.ok("dladm set-linkprop -p mtu=9000 e1000g0");
    machine.ok("ifconfig e1000g0 plumb mtu 9000");
    machine.ok("ifconfig e1000g1 inet6 plumb");
    machine.fails(
        "ifconfig e1000g1 inet6 mtu 1279",
        1,
        "ifconfig: setifmtu: SIOCSLIFMTU: e1000g1: Invalid argument",
    );
}

#[test]
fn ifconfig_prints_interfaces() {
    let mut machine = machine();
    machine.ok("dladm init-phys");
    machine.fails("ifconfig e1000g0", 1, "ifconfig: status: SIOCGLIFFLAGS: e1000g0: no such interface");
    machine.ok("ifconfig e1000g0 plumb");
    assert_eq!(
        machine.ok("ifconfig e1000g0"),
        "e1000g0: flags=1000842<BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2\n\tinet 0.0.0.0 netmask 0 \n\
         \tether 52:54:0:12:34:50 \n"
    );
    machine.ok("ifconfig e1000g0 inet 10.0.0.2 netmask 255.255.255.0 up");
    assert_eq!(
        machine.ok("ifconfig e1000g0 addif 10.0.1.2/16 up"),
        "Created new logical interface e1000g0:1\n"
    );
    machine.ok("ifconfig e1000g0 inet6 plumb up");
    assert_eq!(
        machine.ok("ifconfig -a"),
        "lo0: flags=2001000849<UP,LOOPBACK,RUNNING,MULTICAST,IPv4,VIRTUAL> mtu 8232 index 1\n\
         \tinet 127.0.0.1 netmask ff000000 \n\
         e1000g0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2\n\
         \tinet 10.0.0.2 netmask ffffff00 broadcast 10.0.0.255\n\tether 52:54:0:12:34:50 \n\
         e1000g0:1: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu 1500 index 2\n\
         \tinet 10.0.1.2 netmask ffff0000 broadcast 10.0.255.255\n\
         lo0: flags=2002000849<UP,LOOPBACK,RUNNING,MULTICAST,IPv6,VIRTUAL> mtu 8252 index 1\n\
         \tinet6 ::1/128 \n\
         e1000g0: flags=2000841<UP,RUNNING,MULTICAST,IPv6> mtu 1500 index 2\n\
         \tinet6 fe80::5054:ff:fe12:3450/10 \n\tether 52:54:0:12:34:50 \n"
    );
    machine.ok("ndd -set /dev/ip ip_forwarding 1");
    assert!(
        machine
            .ok("ifconfig e1000g0 inet")
            .contains("flags=1100843<UP,BROADCAST,RUNNING,MULTICAST,ROUTER,IPv4>")
    );
    assert_eq!(machine.ok("ifconfig -a4u").lines().filter(|line| line.contains("inet ")).count(), 3);
}

#[test]
fn plumbing_twice_is_told_and_succeeds() {
    let mut machine = machine();
    machine.ok("dladm init-phys");
    machine.ok("ifconfig e1000g0 plumb");
    machine.fails("ifconfig e1000g0 plumb", 0, "ifconfig: cannot plumb e1000g0: Interface already exists");
    machine.ok("ifconfig e1000g0 unplumb");
    machine.fails(
        "ifconfig e1000g0 unplumb",
        1,
        "ifconfig: cannot unplumb e1000g0: Interface does not exist",
    );
    machine.ok("dladm create-etherstub -t vswitch0");
    machine.fails("ifconfig vswitch0 plumb", 1, "ifconfig: cannot plumb vswitch0: Could not open DLPI link");
}

#[test]
fn addresses_are_checked() {
    let mut machine = machine();
    machine.ok("dladm init-phys");
    machine.fails("ifconfig e1000g0 10.0.0.2/24 up", 1, "ifconfig: error: e1000g0: no such interface");
    machine.ok("ifconfig e1000g0 plumb 10.0.0.2/24 up");
    machine.ok("ifconfig e1000g1 plumb");
    machine.fails(
        "ifconfig e1000g1 10.0.0.2/24 up",
        1,
        "ifconfig: setifflags: SIOCSLIFFLAGS: e1000g1: Cannot assign requested address",
    );
    machine.fails("ifconfig e1000g1 10.0.0.3/33 up", 1, "ifconfig: Bad prefix length in 10.0.0.3/33");
    machine.fails("ifconfig e1000g1 10.0.0.300/24 up", 1, "ifconfig: 10.0.0.300/24: bad address");
    machine.fails(
        "ifconfig e1000g1 inet6 addif fe80::1/64",
        1,
        "ifconfig: addif: SIOCLIFADDIF: e1000g1: no such interface",
    );
    for line in [
        "ifconfig e1000g1 10.0.0.3 up",
        "ifconfig e1000g1 frobnicate",
        "ifconfig e1000g1 netmask 255.0.255.0",
    ] {
        machine.refused(line);
    }
}

#[test]
fn leases_come_late_or_never() {
    let mut machine = machine();
    machine.world.hardware.nics[0].dhcp = Some("10.0.0.50/24 10.0.0.1".into());
    machine.ok("dladm init-phys");
    machine.fails(
        "ifconfig e1000g0 dhcp",
        2,
        "ifconfig: e1000g0: interface does not exist or cannot be managed using DHCP",
    );
    machine.ok("ifconfig e1000g0 plumb");
    machine.ok("ifconfig e1000g0 dhcp");
    let text = machine.ok("ifconfig e1000g0");
    assert!(text.contains("flags=1004843<UP,BROADCAST,RUNNING,MULTICAST,DHCP,IPv4>"), "{text}");
    assert!(
        machine
            .ok("netstat -rn -f inet")
            .contains("default              10.0.0.1             UG        2          0 e1000g0   \n")
    );
    machine.fails("ifconfig e1000g0 dhcp", 2, "ifconfig: e1000g0: DHCP is already running");
    machine.ok("ifconfig e1000g0 dhcp release");
    assert!(!machine.ok("netstat -rn").contains("default"));
    machine.world.hardware.nics[0].dhcp = Some("10.0.0.50/24 10.0.0.1 late=32".into());
    machine.fails(
        "ifconfig e1000g0 dhcp",
        4,
        "ifconfig: e1000g0: wait timed out, operation still pending...",
    );
    assert!(machine.ok("ifconfig e1000g0").contains("inet 0.0.0.0 "));
    assert!(machine.ok("ifconfig e1000g0").contains("inet 10.0.0.50 "));
    machine.ok("ifconfig e1000g1 plumb");
    machine.fails(
        "ifconfig e1000g1 dhcp",
        4,
        "ifconfig: e1000g1: wait timed out, operation still pending...",
    );
    machine.ok("ifconfig e1000g1 dhcp drop");
    machine.ok("ifconfig e1000g1 dhcp wait 0");
}

#[test]
fn announced_prefixes_configure_ipv6() {
    let mut machine = machine();
    machine.world.hardware.nics[0].dhcp = Some("ra=2001:db8:7::/64,fe80::1".into());
    machine.ok("dladm init-phys");
    machine.ok("ifconfig e1000g0 inet6 plumb up");
    let text = machine.ok("ifconfig -a6");
    assert!(text.contains("e1000g0:1: flags=2080841<UP,RUNNING,MULTICAST,ADDRCONF,IPv6>"), "{text}");
    assert!(text.contains("inet6 2001:db8:7:0:5054:ff:fe12:3450/64 "), "{text}");
    assert!(machine.ok("netstat -rn -f inet6").contains("default                     fe80::1 "));
}

#[test]
fn routes_are_added_once_and_need_a_reachable_gateway() {
    let mut machine = machine();
    machine.ok("dladm init-phys");
    let status = |reply: Reply| (reply.status, texts(&reply).0);
    let add = "route -n add default 10.0.0.1";
    assert_eq!(
        status(machine.run(add)),
        (128, "add net default: gateway 10.0.0.1: Network is unreachable\n".into())
    );
    machine.ok("ifconfig e1000g0 plumb 10.0.0.2/24 up");
    assert_eq!(machine.ok(add), "add net default: gateway 10.0.0.1\n");
    assert_eq!(status(machine.run(add)), (17, "add net default: gateway 10.0.0.1: entry exists\n".into()));
    assert_eq!(
        machine.ok("route -n add -net 10.9.0.0/16 10.0.0.3"),
        "add net 10.9.0.0/16: gateway 10.0.0.3\n"
    );
    assert_eq!(machine.ok("route -n add 10.8.0.7 10.0.0.3"), "add host 10.8.0.7: gateway 10.0.0.3\n");
    assert_eq!(
        machine.ok("netstat -rn -f inet"),
        "\nRouting Table: IPv4\n  Destination           Gateway           Flags  Ref     Use     Interface \n\
         -------------------- -------------------- ----- ----- ---------- --------- \n\
         default              10.0.0.1             UG        2          0           \n\
         10.9.0.0             10.0.0.3             UG        2          0           \n\
         10.8.0.7             10.0.0.3             UGH       2          0           \n\
         127.0.0.1            127.0.0.1            UH        2          0 lo0       \n\
         10.0.0.0             10.0.0.2             U         2          0 e1000g0   \n"
    );
    let route = machine.ok("route -n get 8.8.8.8");
    assert!(route.contains("destination: default\n") && route.contains("    gateway: 10.0.0.1\n"), "{route}");
    assert_eq!(machine.ok("route -n delete default 10.0.0.1"), "delete net default: gateway 10.0.0.1\n");
    assert_eq!(
        status(machine.run("route -n delete default 10.0.0.1")),
        (3, "delete net default: gateway 10.0.0.1: not in table\n".into())
    );
    for line in ["route -n add 10.9.0.0 10.0.0.3", "route -p add default 10.0.0.1", "route -n flush"] {
        machine.refused(line);
    }
    // What is on the link of an address of the machine's own.
    assert_eq!(
        status(machine.run("route -n add -interface 10.7.0.0/16 10.0.0.3")),
        (128, "add net 10.7.0.0/16: gateway 10.0.0.3: Network is unreachable\n".into())
    );
    machine.ok("route -n add -interface 10.7.0.0/16 10.0.0.2");
    let table = machine.ok("netstat -rn -f inet");
    assert!(
        table.contains("10.7.0.0             10.0.0.2             U         2          0 e1000g0"),
        "{table}"
    );
    let route = machine.ok("route -n get 10.7.0.9");
    assert!(route.contains("  interface: e1000g0\n") && !route.contains("gateway:"), "{route}");
    // Routes go with the address that reaches their gateway.
    machine.ok("ifconfig e1000g0 unplumb");
    assert!(!machine.ok("netstat -rn -f inet").contains("10."));
}

#[test]
fn forwarding_is_configured_or_applied() {
    let mut machine = machine();
    machine.ok("routeadm -e ipv4-forwarding");
    assert_eq!(machine.ok("ndd -get /dev/ip ip_forwarding"), "0\n");
    assert!(
        machine
            .ok("routeadm -p")
            .contains("ipv4-forwarding persistent=enabled default=disabled current=disabled \n")
    );
    machine.ok("routeadm -u");
    assert_eq!(machine.ok("ndd -get /dev/ip ip_forwarding"), "1\n");
    machine.ok("routeadm -u -d ipv4-forwarding");
    assert_eq!(machine.ok("ndd -get /dev/ip ip_forwarding"), "0\n");
    machine.refused("routeadm -u -e ipv5-forwarding");
    machine.refused("ndd -get /dev/tcp tcp_conn_req_max_q");
}

#[test]
fn the_filter_must_run_before_it_takes_rules() {
    let mut machine = machine();
    machine.write("/etc/ipf/ipf.conf", "pass in all\n");
    machine.fails("ipf -I -f /etc/ipf/ipf.conf", 0, "1:ioctl(add/insert rule): I/O error");
    machine.fails("ipf -IFa -f /etc/ipf/ipf.conf", 1, "ioctl(SIOCIPFFL): I/O error");
    machine.fails("ipf -s", 0, "ioctl(SIOCSWAPA): I/O error");
    machine.fails("ipnat -CF", 1, "ioctl(SIOCGNATS): I/O error");
    // Reading a file alone needs no filter.
    assert_eq!(machine.ok("ipf -n -f /etc/ipf/ipf.conf"), "");
    machine.ok("ipf -E");
    machine.ok("ipf -E");
    machine.ok("ipf -IFa -f /etc/ipf/ipf.conf");
}

#[test]
fn rules_are_loaded_into_one_set_and_swapped() {
    let mut machine = machine();
    machine.ok("ipf -E");
    machine.write(
        "/etc/ipf/ipf.conf",
        "# rules\npass in quick on e1000g0 proto tcp from any to any port = 22\nblock out all\n",
    );
    machine.ok("ipf -IFa -f /etc/ipf/ipf.conf");
    let empty = texts(&machine.run("ipfstat -io"));
    assert_eq!(empty, (String::new(), "empty list for ipfilter(out)\nempty list for ipfilter(in)\n".into()));
    let inactive = "block out all\npass in quick on e1000g0 proto tcp from any to any port = ssh\n";
    assert_eq!(machine.ok("ipfstat -Iio"), inactive);
    assert_eq!(machine.ok("ipf -s"), "Set 0 now inactive\n");
    assert_eq!(machine.ok("ipf -y"), "filter sync'd\n");
    assert_eq!(
        machine.ok("ipfstat -ion"),
        "@1 block out all\n@1 pass in quick on e1000g0 proto tcp from any to any port = ssh\n"
    );
    // The same again: the kernel refuses each rule, and the status does not tell.
    let again = machine.run("ipf -f /etc/ipf/ipf.conf");
    assert_eq!(again.status, 0);
    assert_eq!(
        texts(&again).1,
        "3:ioctl(add/insert rule): File exists\n1:ioctl(add/insert rule): File exists\n"
    );
    assert_eq!(machine.ok("ipf -IFa"), "");
    assert_eq!(machine.ok("ipf -s"), "Set 1 now inactive\n");
    assert_eq!(texts(&machine.run("ipfstat -o")).1, "empty list for ipfilter(out)\n");
}

#[test]
fn files_with_errors_end_ipf_and_missing_ones_do_not() {
    let mut machine = machine();
    machine.ok("ipf -E");
    machine.write(
        "/etc/ipf/bad.conf",
        "pass in on x0 all\npass in proto tcp from any to any port = { 22, 80 }\n",
    );
    machine.fails("ipf -n -f /etc/ipf/bad.conf", 1, "syntax error error at \"{\", line 2");
    assert!(texts(&machine.run("ipfstat -i")).1.contains("empty list"));
    machine.fails("ipf -I -f /etc/ipf/bad.conf", 1, "syntax error error at \"{\", line 2");
    assert_eq!(machine.ok("ipfstat -Ii"), "pass in on x0 all\n");
    machine.fails(
        "ipf -f /etc/ipf/none.conf",
        0,
        "fopen(/etc/ipf/none.conf) failed: No such file or directory",
    );
    machine.fails(
        "ipnat -f /etc/ipf/none.conf",
        0,
        "fopen(/etc/ipf/none.conf) failed: No such file or directory",
    );
    machine.write("/etc/ipf/badnat.conf", "map e1000g0 172.16.9.0/24 -> 0/32 portmap tcp/udp autoo\n");
    machine.fails("ipnat -n -f /etc/ipf/badnat.conf", 1, "invalid port number error at \"autoo\", line 1");
    for line in ["ipf -Q", "ipf", "ipfstat", "ipfstat -t", "ipnat -s", "ipf -z -f x"] {
        machine.refused(line);
    }
}

#[test]
fn translations_are_listed() {
    let mut machine = machine();
    machine.ok("ipf -E");
    machine.write(
        "/etc/ipf/ipnat.conf",
        "map e1000g0 172.16.9.0/24 -> 0/32 portmap tcp/udp auto\nmap e1000g0 172.16.9.0/24 -> 0/32\n",
    );
    assert_eq!(machine.ok("ipnat -n -f /etc/ipf/ipnat.conf"), "");
    assert_eq!(
        machine.ok("ipnat -CF -f /etc/ipf/ipnat.conf"),
        "0 entries flushed from NAT table\n0 entries flushed from NAT list\n"
    );
    let listed = "List of active MAP/Redirect filters:\n\
                  map e1000g0 172.16.9.0/24 -> 0.0.0.0/32 portmap tcp/udp auto\n\
                  map e1000g0 172.16.9.0/24 -> 0.0.0.0/32\n\nList of active sessions:\n";
    assert_eq!(machine.ok("ipnat -l"), listed);
    let again = texts(&machine.run("ipnat -f /etc/ipf/ipnat.conf")).1;
    assert_eq!(
        again,
        "2:ioctl(add/insert nat rule): File exists\n1:ioctl(add/insert nat rule): File exists\n"
    );
    assert!(machine.ok("ipnat -CF").ends_with("2 entries flushed from NAT list\n"));
}

#[test]
fn ping_knows_the_machine_and_its_routers() {
    let mut machine = machine();
    machine.ok("dladm init-phys");
    machine.ok("ifconfig e1000g0 plumb 10.0.0.2/24 up");
    machine.ok("route -n add default 10.0.0.1");
    for address in ["10.0.0.1", "10.0.0.2", "127.0.0.1"] {
        assert_eq!(machine.ok(&format!("ping {address} 2")), format!("{address} is alive\n"));
    }
    let silent = machine.run("ping -n 10.0.0.9 2");
    assert_eq!((silent.status, texts(&silent).0), (1, "no answer from 10.0.0.9\n".into()));
    machine.ok("ipf -E");
    machine.write("/block", "block out all\n");
    machine.ok("ipf -f /block");
    assert_eq!(machine.run("ping 10.0.0.1").status, 1);
}
