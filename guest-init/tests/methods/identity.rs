//! The identity phase as SMF runs it, with a host that answers, one that is silent, and one that is hostile.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use guest_init::phase::identity::config::Config;
use kiln_shim::{Counts, Moment};
use kiln_simulator::{Hardware, Nic};
use serde_json::{Value, json};

use crate::simulated;
use crate::stage::Stage;

const CONFIG: &str = "/lib/svc/method/smartdc-config";
const STATE: &str = "/etc/svc/volatile/guest-init/state.json";
const SHADOW: &str = "daemon:NP:6445::::::\nroot:x:6445::::::\n";

/// The state that the storage phase left.
fn state() -> Value {
    json!({
        "key": {"disk": "c0t0d0", "folder": "/usbkey"},
        "pool": {"name": "zones", "guid": 7},
        "boot": {"smartos": "true"},
        "links": [{"name": "e1000g0", "mac": [2, 8, 0x20, 0, 0, 0]}, {"name": "e1000g1", "mac": [2, 8, 0x20, 0, 0, 1]}],
    })
}

fn machine() -> Value {
    json!({
        "uuid": "5f2b5b0a-0000-4000-8000-000000000001",
        "hostname": "web.example.com",
        "dns_domain": "example.com",
        "resolvers": ["10.0.0.2", "8.8.8.8"],
        "nics": [
            {"interface": "net0", "mac": "02:08:20:00:00:00", "primary": true, "nic_tag": "external",
             "ip": "10.0.0.5", "netmask": "255.255.255.0", "gateway": "10.0.0.1", "ips": ["10.0.0.5/24"],
             "gateways": ["10.0.0.1"]},
            {"interface": "net1", "mac": "02:08:20:00:00:01", "nic_tag": "internal", "ip": "10.1.0.5",
             "netmask": "255.255.0.0", "ips": ["10.1.0.5/16"]},
        ],
        "customer_metadata": {"root_authorized_keys": "ssh-rsa AAAA a\n", "root_pw": "hush", "user-script": "true\n",
            "guest-init:ntp_hosts": "10.0.0.3", "guest-init:nat_subnet": "10.9.0.0/24"},
    })
}

/// A machine that was just switched on: what is in memory is new, key and pool are as they were.
fn switch_on(stage: &Stage, state: &Value) {
    let _ = fs::remove_dir_all(stage.path("/etc/svc/volatile"));
    let _ = fs::remove_file(stage.path("/etc/nodename"));
    for folder in ["/etc/svc/volatile/guest-init", "/etc/inet", "/etc/ssh", "/usbkey"] {
        fs::create_dir_all(stage.path(folder)).expect("a folder");
    }
    for (path, text) in [
        ("/etc/inet/ntp.conf", include_str!("../../../overlays/boot_archive/etc/inet/ntp.conf.pool")),
        ("/etc/ssh/sshd_config", include_str!("../../../overlays/boot_archive/etc/ssh/sshd_config.sunssh")),
        ("/etc/mnttab", "/dev/dsk/c0t0d0p1\t/usbkey\tpcfs\trw,foldcase\t0\n"),
        ("/etc/shadow", SHADOW),
        ("/dev/console", ""),
    ] {
        let _ = fs::remove_file(stage.path(path));
        fs::write(stage.path(path), text).expect("written");
    }
    fs::write(stage.path(STATE), state.to_string()).expect("written");
    let method = stage.path(CONFIG);
    if !method.exists() {
        symlink("guest-init", method).expect("linked");
    }
}

/// The phase runs; gives what it failed at and what it changed.
fn boot(stage: &Stage) -> (Value, Value) {
    assert_eq!(stage.method(&[CONFIG, "start"]).code, Some(0));
    let result = stage.result_of("identity");
    (result["failed"].clone(), result["changed"].clone())
}

fn read(stage: &Stage, path: &str) -> String {
    fs::read_to_string(stage.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The lines of a file that are no comments.
fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

const EXPECTED: [&str; 10] = [
    "admin_nic=02:08:20:00:00:00",
    "admin_ip=10.0.0.5",
    "admin_netmask=255.255.255.0",
    "admin_gateway=10.0.0.1",
    "headnode_default_gateway=10.0.0.1",
    "dns_resolvers=10.0.0.2,8.8.8.8",
    "dns_domain=example.com",
    "hostname=web-example-com",
    "etherstub=vswitch0",
    "net1_nic=02:08:20:00:00:01",
];

#[test]
fn a_guest_becomes_who_the_host_says() {
    let stage = Stage::of(machine());
    switch_on(&stage, &state());
    assert_eq!(boot(&stage), (json!([]), json!(["config", "nodename", "root-password", "time-servers"])));
    let config = read(&stage, "/usbkey/config");
    assert_eq!(lines(&config), EXPECTED);
    assert_eq!(read(&stage, "/var/guest-init/config"), config);
    assert_eq!(read(&stage, "/etc/nodename"), "web-example-com\n");
    let stored = read(&stage, "/usbkey/guest-init/metadata.json");
    assert_eq!(read(&stage, "/var/guest-init/metadata.json"), stored);
    assert!(stored.contains("ssh-rsa AAAA a") && !stored.contains("hush") && !stored.contains("user-script"));
    assert_eq!(read(&stage, "/etc/shadow"), SHADOW.replace("root:x", "root:NP"));
    let mode = fs::metadata(stage.path("/etc/shadow")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o400);
    let ntp = read(&stage, "/etc/inet/ntp.conf");
    assert!(ntp.contains("\nserver 10.0.0.3 iburst\n") && !ntp.contains("pool"), "{ntp}");
    assert!(ntp.contains("\nrestrict 10.9.0.0 mask 255.255.255.0 nomodify"), "{ntp}");

    assert_eq!(boot(&stage), (json!([]), json!([])), "a second time there is nothing to do");
    let before = stage.files();
    switch_on(&stage, &state());
    assert_eq!(
        boot(&stage),
        (json!([]), json!(["nodename", "root-password", "time-servers"])),
        "what is in memory is new"
    );
    let changed = |(path, contents): &(&String, &Vec<u8>)| {
        (path.contains("/usbkey/") || path.contains("/var/guest-init")) && before.get(*path) != Some(contents)
    };
    assert_eq!(stage.files().iter().filter(changed).count(), 0);
}

#[test]
fn hazard_18_a_silent_host_leaves_a_guest_that_was_told_before_as_it_was() {
    let stage = Stage::of(machine());
    switch_on(&stage, &state());
    assert_eq!(boot(&stage).0, json!([]));
    let good = read(&stage, "/usbkey/config");
    let silent = Stage::new();
    switch_on(&silent, &state());
    for path in ["/usbkey/config", "/usbkey/guest-init/metadata.json", "/var/guest-init/config"] {
        let target = silent.path(path);
        fs::create_dir_all(target.parent().expect("a folder")).expect("made");
        fs::copy(stage.path(path), target).expect("copied");
    }
    assert_eq!(boot(&silent).0, json!([]));
    assert_eq!(read(&silent, "/usbkey/config"), good);
    assert!(read(&silent, "/dev/console").contains("the host does not answer"));

    // hazard 16: an empty file comes back from the copy, and without that from what the host said.
    for lost in [&["/usbkey/config"][..], &["/usbkey/config", "/var/guest-init/config"]] {
        for path in lost {
            fs::write(silent.path(path), "").expect("written");
        }
        switch_on(&silent, &state());
        assert_eq!(boot(&silent).0, json!([]));
        assert_eq!(lines(&read(&silent, "/usbkey/config")), EXPECTED);
    }
}

#[test]
fn a_host_that_never_spoke_leaves_a_guest_that_asks_for_an_address() {
    let silent = Stage::new();
    switch_on(&silent, &state());
    assert_eq!(boot(&silent).0, json!([]));
    let config = read(&silent, "/usbkey/config");
    assert_eq!(lines(&config), ["admin_nic=02:08:20:00:00:00", "etherstub=vswitch0"]);
}

/// A guest of a silent host that has never booted, on a machine with two cards, of which those with these numbers have a cable.
fn unknown_guest(cables: &[u8]) -> Stage {
    let stage = Stage::new();
    let mut first = state();
    first.as_object_mut().expect("an object").remove("links");
    switch_on(&stage, &first);
    let mut hardware = Hardware::usual("20141030T081701Z");
    let nic = |number| Nic {
        link: format!("e1000g{number}"),
        mac: format!("02:08:20:00:00:0{number}"),
        up: cables.contains(&number),
        dhcp: None,
    };
    hardware.nics = [0, 1].map(nic).into();
    simulated::install(&stage, &hardware);
    stage
}

#[test]
fn hazard_17_when_nobody_says_which_card_it_is_the_one_with_a_cable_is_taken() {
    for (cables, mac) in [(&[1][..], "01"), (&[0, 1], "00"), (&[], "00")] {
        let stage = unknown_guest(cables);
        assert_eq!(boot(&stage).0, json!([]), "{cables:?}");
        let config = read(&stage, "/usbkey/config");
        let nic = format!("admin_nic=02:08:20:00:00:{mac}");
        assert_eq!(lines(&config), [&*nic, "etherstub=vswitch0"], "{cables:?}");
        let network = simulated::world(&stage).runtime.network;
        assert_eq!((network.links.len(), network.interfaces.len()), (2, 0), "all is as it was found");

        let run = simulated::commands_run(&stage, 0).len();
        assert_eq!(boot(&stage), (json!([]), json!([])), "{cables:?}");
        assert_eq!(simulated::commands_run(&stage, run), [""; 0], "what was found out is not asked again");
    }
}

#[test]
fn a_card_that_is_known_is_not_looked_for() {
    let stage = unknown_guest(&[1]);
    fs::write(stage.path("/usbkey/config"), "# mine\nadmin_nic=2:8:20:0:0:0\n").expect("written");
    assert_eq!(boot(&stage).0, json!([]));
    assert_eq!(
        simulated::commands_run(&stage, 0),
        ["/usr/sbin/dladm init-phys", "/usr/sbin/dladm show-phys -m -p -o link,address"]
    );
    let other = unknown_guest(&[1]);
    assert_eq!(other.method(&[CONFIG, "--plan"]).code, Some(0));
    assert_eq!(simulated::commands_run(&other, 0), [""; 0], "a plan attaches no drivers");
}

#[test]
fn hazard_17_a_machine_with_other_interfaces_finds_its_network() {
    let stage = Stage::of(machine());
    switch_on(&stage, &state());
    assert_eq!(boot(&stage).0, json!([]));
    let mut other = state();
    other["links"] = json!([{"name": "vioif0", "mac": [2, 8, 0x20, 0, 0, 9]}]);
    switch_on(&stage, &other);
    assert_eq!(boot(&stage).0, json!([]));
    let config = read(&stage, "/usbkey/config");
    assert!(
        lines(&config).contains(&"admin_nic=02:08:20:00:00:09") && !config.contains("admin_ip"),
        "{config}"
    );
    switch_on(&stage, &state());
    assert_eq!(boot(&stage).0, json!([]));
    assert_eq!(lines(&read(&stage, "/usbkey/config")), EXPECTED);
}

#[test]
fn a_file_of_the_owner_stays_as_it_is() {
    let stage = Stage::of(machine());
    switch_on(&stage, &state());
    let own = "# mine\nadmin_nic=2:8:20:0:0:1\nhostname='mine'\nnat=no\nx=$(id)\n";
    fs::write(stage.path("/usbkey/config"), own).expect("written");
    assert_eq!(boot(&stage).0, json!([]));
    assert_eq!(read(&stage, "/usbkey/config"), own);
    assert!(read(&stage, "/dev/console").contains("/usbkey/config: line 5: "));
    assert!(!read(&stage, "/etc/inet/ntp.conf").contains(" mask "), "its settings count");
}

#[test]
fn in_rescue_mode_nothing_is_written_to_a_disk() {
    let stage = Stage::of(machine());
    let mut state = state();
    state["rescue"] = json!("there are two pools");
    state["pool"] = Value::Null;
    state["key"] = Value::Null;
    switch_on(&stage, &state);
    fs::write(stage.path("/etc/mnttab"), "").expect("written");
    assert_eq!(boot(&stage).0, json!([]));
    assert_eq!(lines(&read(&stage, "/usbkey/config")), EXPECTED, "in memory, where the key would be mounted");
    assert!(!stage.path("/usbkey/guest-init").exists() && !stage.path("/var/guest-init").exists());
}

#[test]
fn the_boot_menu_can_give_root_a_password() {
    let stage = Stage::of(machine());
    let mut state = state();
    state["boot"] = json!({"root_shadow": "$5$2HOHRnK3$NvLlm.1KQBbB0WjoP7xcIwGnllhzp2HnT.mDO7DpxYA"});
    switch_on(&stage, &state);
    assert_eq!(boot(&stage).0, json!([]));
    assert!(
        read(&stage, "/etc/shadow")
            .contains("root:$5$2HOHRnK3$NvLlm.1KQBbB0WjoP7xcIwGnllhzp2HnT.mDO7DpxYA:6445:")
    );
}

#[test]
fn hazard_20_a_hostile_host_writes_no_line_that_a_shell_evaluates() {
    let evil = "x$(reboot)`reboot`;reboot\nadmin_nic=evil|&<>\"'\\ {a,b} ~ * \u{1b}[2J";
    let mut machine = machine();
    for key in ["hostname", "dns_domain", "alias"] {
        machine[key] = json!(evil);
    }
    machine["resolvers"] = json!([evil, "10.0.0.2"]);
    let nics: Vec<Value> = (0..64)
        .map(|index| {
            let (interface, mac) = match index % 3 {
                0 => (evil.to_owned(), "02:08:20:00:00:00".to_owned()),
                1 => (format!("net{index}"), "02:08:20:00:00:00".to_owned()),
                _ => (format!("net{index}"), format!("02:08:20:00:00:{index:02x}")),
            };
            json!({"interface": interface, "mac": mac, "ips": [evil, "300.0.0.1/99", "10.0.0.5/24"],
                   "gateways": [evil], "nic_tag": evil, "ip": evil, "netmask": evil, "gateway": evil})
        })
        .collect();
    machine["nics"] = json!(nics);
    for setting in ["nat", "nat_subnet", "nat_if", "etherstub", "ssh_allow", "hostname", "ntp_hosts"] {
        machine["customer_metadata"][format!("guest-init:{setting}")] = json!(evil);
    }
    machine["customer_metadata"]["root_authorized_keys"] = json!("ssh-rsa ".repeat(1 << 17));
    let stage = Stage::of(machine);
    switch_on(&stage, &state());
    assert_eq!(boot(&stage).0, json!([]));
    let text = read(&stage, "/usbkey/config");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:,/@+-".contains(&byte);
    for line in lines(&text) {
        let (name, value) = line.split_once('=').expect("a line");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
        assert!(value.bytes().all(plain), "{line}");
    }
    let config = Config::parse(text.as_bytes());
    assert_eq!(config.get("admin_nic"), Some("02:08:20:00:00:00"));
    assert_eq!(config.get("admin_ip"), Some("10.0.0.5"));
    assert_eq!(config.get("dns_domain"), Some("local"));
    let ntp = read(&stage, "/etc/inet/ntp.conf");
    assert!(ntp.contains("\npool 0.smartos.pool.ntp.org"), "{ntp}");
    let stored = read(&stage, "/usbkey/guest-init/metadata.json");
    assert!(stored.len() < 64 << 10, "a key of a megabyte is not stored");
}

#[test]
fn a_phase_that_is_killed_anywhere_is_made_up_for() {
    let stage = Stage::of(machine());
    switch_on(&stage, &state());
    let (count, settings) = (stage.path("/count"), stage.settings());
    assert_eq!(stage.method_with(&[CONFIG, "start"], &settings.clone().count(&count)).code, Some(0));
    let changes = Counts::read(&count).expect("counted").changes;
    assert!(changes > 60, "{changes} changes");
    // A part of them; most of the others are writes to the serial line.
    for change in (1..=changes).step_by(3) {
        for folder in ["/usbkey", "/var/guest-init"] {
            let _ = fs::remove_dir_all(stage.path(folder));
        }
        switch_on(&stage, &state());
        let _ = fs::remove_file(&count);
        let settings = settings.clone().count(&count);
        stage.method_with(&[CONFIG, "start"], &settings.kill_at(change, Moment::Before));
        switch_on(&stage, &state());
        assert_eq!(boot(&stage).0, json!([]), "after change {change}");
        assert_eq!(lines(&read(&stage, "/usbkey/config")), EXPECTED, "after change {change}");
        assert_eq!(read(&stage, "/usbkey/config"), read(&stage, "/var/guest-init/config"));
        assert!(read(&stage, "/etc/shadow").contains("root:NP:"));
    }
}
