//! The setup phase as SMF runs it, with the simulator under the names of illumos' commands.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use guest_mdata::wire;
use kiln_simulator::network::model::{From, Model, Service};
use kiln_simulator::{Hardware, Nic, commands};
use serde_json::{Value, json};

use crate::simulated::{self, commands_run, world};
use crate::stage::Stage;

const SETUP: &str = "/lib/svc/method/smartos-setup";
const KEYS: &str = "/opt/custom/root/.ssh/authorized_keys";

/// How many commands the phase may run when a guest with one card boots.
const MOST_COMMANDS: usize = 15;

/// An SSH key of this type.
fn key(kind: &str) -> String {
    let mut blob = (kind.len() as u32).to_be_bytes().to_vec();
    blob.extend_from_slice(kind.as_bytes());
    blob.extend_from_slice(&[0, 0, 0, 4, 1, 2, 3, 4]);
    format!("{kind} {} owner", String::from_utf8(wire::base64_encode(&blob)).expect("base64 is text"))
}

fn machine(key: &str) -> Value {
    json!({
        "uuid": "5f2b5b0a-0000-4000-8000-000000000001",
        "hostname": "web",
        "nics": [{"interface": "net0", "mac": "02:08:20:00:00:00", "primary": true, "nic_tag": "external",
            "ip": "10.0.0.5", "netmask": "255.255.255.0", "gateway": "10.0.0.1", "ips": ["10.0.0.5/24"],
            "gateways": ["10.0.0.1"]}],
        "customer_metadata": {"root_authorized_keys": key},
    })
}

/// A guest right before the phase: its pool is mounted, and the platform's network service has done its part.
fn guest(key: &str) -> Stage {
    guest_with(
        machine(key),
        None,
        &["ifconfig e1000g0 plumb 10.0.0.5/24 up", "route -n add default 10.0.0.1"],
    )
}

/// The same of this machine, with what a DHCP server gives its card, and these commands of the network service.
fn guest_with(machine: Value, dhcp: Option<&str>, commands_run: &[&str]) -> Stage {
    let stage = Stage::of(machine);
    for folder in ["/etc/svc/volatile/guest-init", "/etc/default", "/root", "/opt/custom/root"] {
        fs::create_dir_all(stage.path(folder)).expect("a folder");
    }
    for (path, text) in [
        ("/etc/shadow", "daemon:NP:6445::::::\nroot:NP:6445::::::\n".to_owned()),
        (
            "/etc/svc/volatile/guest-init/state.json",
            json!({
                "pool": {"name": "zones", "guid": 7},
                "links": [{"name": "e1000g0", "mac": [2, 8, 0x20, 0, 0, 0]}],
            })
            .to_string(),
        ),
    ] {
        fs::write(stage.path(path), text).expect("written");
    }
    symlink("guest-init", stage.path(SETUP)).expect("linked");
    let mut hardware = Hardware::usual("20141030T081701Z");
    hardware.nics = vec![Nic {
        link: "e1000g0".into(),
        mac: "02:08:20:00:00:00".into(),
        up: true,
        dhcp: dhcp.map(str::to_owned),
    }];
    simulated::install(&stage, &hardware);
    let mut world = world(&stage);
    world.runtime.network.start_loopback();
    let always = ["dladm init-phys", "dladm create-etherstub -t vswitch0"];
    for line in always.iter().chain(commands_run) {
        let argv: Vec<&str> = line.split(' ').collect();
        let command = commands::by_name(argv[0]).expect("a command");
        assert_eq!((command.run)(&mut world, &argv).status, 0, "{line}");
    }
    world.store().expect("stored");
    drop(world);
    stage
}

/// Runs the phase; gives what failed and what it changed.
fn boot(stage: &Stage) -> (BTreeSet<String>, Value) {
    assert_eq!(stage.method(&[SETUP, "start"]).code, Some(0));
    assert!(!stage.path("/.simulator/complaints.log").exists());
    let result = stage.result_of("setup");
    let failed = result["failed"].as_array().expect("a list").iter();
    let mut failed: BTreeSet<String> =
        failed.map(|step| step[0].as_str().expect("a name").to_owned()).collect();
    // The name of the machine is this system's, whose simulator cannot change it.
    failed.remove("hostname");
    if commands::by_name("svcadm").is_none() {
        failed.remove("services");
    }
    (failed, result["changed"].clone())
}

fn passes(stage: &Stage, from: From, to: &str, service: Service) -> bool {
    let to: IpAddr = to.parse().expect("an address");
    Model::new(&world(stage).runtime.network).connect(from, to, service).is_passed()
}

fn is_converged(stage: &Stage) {
    let keys = fs::read_to_string(stage.path(KEYS)).expect("there are keys");
    assert!(keys.contains(&key("ssh-rsa")), "{keys}");
    assert_eq!(fs::metadata(stage.path(KEYS)).expect("there").mode() & 0o777, 0o600);
    assert!(passes(stage, From::outside("e1000g0", "198.51.100.7"), "10.0.0.5", Service::Tcp(22)));
    assert!(!passes(stage, From::outside("e1000g0", "198.51.100.7"), "10.0.0.5", Service::Tcp(111)));
    assert!(passes(stage, From::zone("172.16.9.3"), "198.51.100.7", Service::Tcp(443)));
    assert!(!passes(stage, From::zone("172.16.9.3"), "172.16.9.1", Service::Tcp(111)));
}

#[test]
fn a_guest_is_set_up_with_few_commands_and_left_alone_afterwards() {
    let stage = guest(&key("ssh-rsa"));
    let (failed, changed) = boot(&stage);
    assert!(failed.is_empty(), "{failed:?}: {}", stage.result_of("setup"));
    let changed: Vec<&str> = changed.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for step in ["home", "keys", "zone-network", "firewall", "nat", "forwarding"] {
        assert!(changed.contains(&step), "{changed:?}");
    }
    is_converged(&stage);
    assert_eq!(fs::read_link(stage.path("/root")).expect("a link"), Path::new("/opt/custom/root"));
    assert_eq!(fs::read_to_string(stage.path("/etc/nodename")).expect("written"), "web\n");
    assert_eq!(stage.state()["has_usable_key"], true);
    let run = commands_run(&stage, 0);
    let missing = usize::from(commands::by_name("svcadm").is_none());
    assert!(run.len() + missing <= MOST_COMMANDS, "{run:#?}");

    let before = world(&stage).runtime;
    let (failed, changed) = boot(&stage);
    assert!(failed.is_empty());
    let changed: Vec<&Value> =
        changed.as_array().expect("a list").iter().filter(|step| *step != "hostname").collect();
    assert!(changed.is_empty(), "{changed:?}");
    assert_eq!(world(&stage).runtime.network, before.network, "nothing is changed a second time");
    let again = commands_run(&stage, run.len());
    let is_reading = |line: &String| {
        ["hostname", "ifconfig -a", "ipfstat", "ipnat -l"].iter().any(|start| {
            line.strip_prefix("/usr/sbin/")
                .or(line.strip_prefix("/usr/bin/"))
                .unwrap_or(line)
                .starts_with(start)
        })
    };
    assert!(again.iter().all(is_reading), "{again:#?}");
}

#[test]
fn without_a_key_that_works_there_is_a_password_on_the_console() {
    let stage = guest(&key("ssh-ed25519"));
    let (failed, changed) = boot(&stage);
    assert!(failed.is_empty() && changed.as_array().expect("a list").contains(&json!("access")));
    let console = fs::read_to_string(stage.path("/dev/console")).expect("a console");
    assert!(
        console.contains("no SSH key to log in with") && console.contains("with the password "),
        "{console}"
    );
    assert!(fs::read_to_string(stage.path("/etc/shadow")).expect("read").contains("\nroot:$5$"));
    assert!(fs::read_to_string(stage.path(KEYS)).expect("written").contains("ssh-ed25519"));
}

#[test]
fn an_owner_whose_key_alone_does_not_work_is_told_at_each_boot() {
    let stage = guest(&format!("{}\n{}\n{}\n", key("ssh-rsa"), key("ssh-ed25519"), key("ssh-dss")));
    for boots in 1..=2 {
        assert!(boot(&stage).0.is_empty());
        let console = fs::read_to_string(stage.path("/dev/console")).expect("a console");
        let warnings: Vec<&str> = console.lines().filter(|line| line.contains("WARNING")).collect();
        assert_eq!(warnings.len(), boots, "{console}");
        assert_eq!(
            warnings[boots - 1],
            "guest-init setup: WARNING: this platform's SSH server passes over keys of type ssh-ed25519; who has no other \
             cannot log in. It takes RSA and DSA keys"
        );
        assert!(!console.contains("password"), "others get in, so there is none");
    }
}

#[test]
fn a_password_from_the_boot_menu_stays() {
    let stage = guest(&key("ssh-ed25519"));
    let shadow = "root:$5$2HOHRnK3$NvLlm.1KQBbB0WjoP7xcIwGnllhzp2HnT.mDO7DpxYA:6445::::::\n";
    fs::write(stage.path("/etc/shadow"), shadow).expect("written");
    let (failed, changed) = boot(&stage);
    assert!(failed.is_empty() && !changed.as_array().expect("a list").contains(&json!("access")));
    let console = fs::read_to_string(stage.path("/dev/console")).expect("a console");
    assert!(console.contains("no SSH key to log in with") && !console.contains("password"), "{console}");
    assert_eq!(fs::read_to_string(stage.path("/etc/shadow")).expect("read"), shadow);
}

/// What failed in the phase that ran last.
fn reason(stage: &Stage, step: &str) -> Option<String> {
    let result = stage.result_of("setup");
    let failed = result["failed"].as_array().expect("a list").iter().find(|failed| failed[0] == step)?;
    Some(failed[1].as_str().expect("a reason").to_owned())
}

#[test]
fn a_list_of_networks_that_is_refused_locks_nobody_out_and_is_told() {
    let mut open = machine(&key("ssh-rsa"));
    open["customer_metadata"]["guest-init:ssh_allow"] = json!("192.0.2.0/24,198.51.100.300");
    open["customer_metadata"]["guest-init:sendmail"] = json!("maybe");
    let stage =
        guest_with(open, None, &["ifconfig e1000g0 plumb 10.0.0.5/24 up", "route -n add default 10.0.0.1"]);
    assert_eq!(boot(&stage).0, BTreeSet::from(["settings".to_owned()]));
    is_converged(&stage);
    let told = "SSH connections are taken from ANYWHERE; ssh_allow in the metadata is passed over: '198.51.100.300' is neither \
                network nor address; sendmail in the metadata is passed over: 'maybe' is neither yes nor no";
    assert_eq!(reason(&stage, "settings").as_deref(), Some(told));
    let console = fs::read_to_string(stage.path("/dev/console")).expect("a console");
    assert!(console.contains(&format!("ERROR: settings: {told}")), "{console}");
    let status = stage.customer_key("guest-init:status").expect("told");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["result"], "failed");

    let mut closed = machine(&key("ssh-rsa"));
    closed["customer_metadata"]["guest-init:ssh_allow"] = json!("192.0.2.0/24");
    let stage =
        guest_with(closed, None, &["ifconfig e1000g0 plumb 10.0.0.5/24 up", "route -n add default 10.0.0.1"]);
    assert!(boot(&stage).0.is_empty());
    assert!(passes(&stage, From::outside("e1000g0", "192.0.2.7"), "10.0.0.5", Service::Tcp(22)));
    assert!(!passes(&stage, From::outside("e1000g0", "198.51.100.7"), "10.0.0.5", Service::Tcp(22)));
}

#[test]
fn a_network_for_zones_that_a_dhcp_server_forbids_gives_way_to_the_usual_one() {
    let mut machine = machine(&key("ssh-rsa"));
    machine["nics"] = json!([{"interface": "net0", "mac": "02:08:20:00:00:00", "primary": true, "ip": "dhcp", "ips": ["dhcp"]}]);
    machine["customer_metadata"]["guest-init:nat_subnet"] = json!("10.9.0.0/16");
    let network = ["ifconfig e1000g0 plumb", "ifconfig e1000g0 dhcp"];
    let conf = "# ours\nrestrict 172.16.9.0 mask 255.255.255.0 nomodify\n";
    for (lease, subnet) in [("10.9.0.5/24 10.9.0.1", "172.16.9.0"), ("10.8.0.5/24 10.8.0.1", "10.9.0.0")] {
        let stage = guest_with(machine.clone(), Some(lease), &network);
        fs::create_dir_all(stage.path("/etc/inet")).expect("made");
        // As the identity phase left it, which does not know of the lease.
        fs::create_dir_all(stage.path("/etc/svc/volatile/guest-init")).expect("made");
        fs::write(stage.path("/etc/svc/volatile/guest-init/ntp.conf"), conf).expect("written");
        let adapted = conf.replace("172.16.9.0 mask 255.255.255.0", "10.9.0.0 mask 255.255.0.0");
        fs::write(stage.path("/etc/inet/ntp.conf"), adapted).expect("written");
        let (failed, _) = boot(&stage);
        let is_usual = subnet == "172.16.9.0";
        assert_eq!(failed.contains("settings"), is_usual, "{failed:?}");
        assert_eq!(failed.len(), usize::from(is_usual), "{failed:?}");
        if is_usual {
            assert_eq!(
                reason(&stage, "settings").as_deref(),
                Some(
                    "nat_subnet=10.9.0.0/16 overlaps 10.9.0.5/24, which this guest has; zones have 172.16.9.0/24 instead"
                )
            );
        }
        let (zone, own) = if is_usual { ("172.16.9.3", "10.9.0.5") } else { ("10.9.0.3", "10.8.0.5") };
        assert!(passes(&stage, From::zone(zone), "198.51.100.7", Service::Tcp(443)), "{lease}");
        assert!(passes(&stage, From::outside("e1000g0", "198.51.100.7"), own, Service::Tcp(22)), "{lease}");
        let ntp = fs::read_to_string(stage.path("/etc/inet/ntp.conf")).expect("it is there");
        assert!(ntp.contains(&format!("restrict {subnet} mask ")), "{ntp}");
        assert_eq!(ntp.matches("restrict").count(), 1, "{ntp}");
        let (again, changed) = boot(&stage);
        assert_eq!(again, failed);
        let changed: Vec<&Value> =
            changed.as_array().expect("a list").iter().filter(|step| *step != "hostname").collect();
        assert!(changed.is_empty(), "{changed:?}");
    }
}

#[test]
fn in_rescue_mode_there_is_a_password_although_there_is_a_key() {
    let stage = guest(&key("ssh-rsa"));
    let state = stage.path("/etc/svc/volatile/guest-init/state.json");
    let mut rescue: Value =
        serde_json::from_slice(&fs::read(&state).expect("there is a state")).expect("JSON");
    rescue["rescue"] = json!("there is no disk for data");
    fs::write(&state, rescue.to_string()).expect("written");
    let (_, changed) = boot(&stage);
    assert!(changed.as_array().expect("a list").contains(&json!("access")));
    let console = fs::read_to_string(stage.path("/dev/console")).expect("a console");
    assert!(console.contains("with the password ") && !console.contains("no SSH key"), "{console}");
}

#[test]
fn hazard_21_whatever_command_fails_the_keys_are_in_and_the_next_run_mends_the_rest() {
    let whole = guest(&key("ssh-rsa"));
    boot(&whole);
    let run = commands_run(&whole, 0);
    for (number, line) in run.iter().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        let name = words[0].rsplit('/').next().expect("a name");
        for action in
            [json!({"fail": {"status": 1, "stderr": "no luck"}}), json!({"garbage": [0, 255, 10, 58]})]
        {
            let stage = guest(&key("ssh-rsa"));
            let fault = json!([{"command": name, "arguments": words[1..], "nth": 1, "action": action}]);
            fs::write(stage.path("/.simulator/faults.json"), fault.to_string()).expect("written");
            boot(&stage);
            let keys = fs::read_to_string(stage.path(KEYS)).expect("there are keys");
            assert!(keys.contains(&key("ssh-rsa")), "{number} {line}: {keys}");
            assert!(
                passes(&stage, From::outside("e1000g0", "198.51.100.7"), "10.0.0.5", Service::Tcp(22)),
                "{number} {line} {action}"
            );
            fs::remove_file(stage.path("/.simulator/faults.json")).expect("removed");
            let (failed, _) = boot(&stage);
            assert!(failed.is_empty(), "{line} {action}: {failed:?} {}", stage.result_of("setup"));
            is_converged(&stage);
        }
    }
}
