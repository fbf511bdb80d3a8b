//! cloud-init's SmartOS data source reads from `kiln metadata serve` over a terminal, which it takes for a serial port.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use kiln_e2e::metadata::{Server, mdata};
use kiln_e2e::{Lab, Said};
use kiln_harness::{cloud_init, process};
use rustix::process::{Flock, FlockType, fcntl_getlk};
use serde_json::{Value, json};

/// Asks what the data source asks, with its client, and prints what it makes of the answers.
const ASK: &str = include_str!("../src/cloud_init.py");

#[test]
fn case_09_cloud_init_reads_keys_network_and_scripts() {
    let (Some(lab), Some(mut python)) = (Lab::open(), cloud_init::python()) else { return };
    let machine = json!({
        "uuid": "54f1cc77-68f1-42ab-acac-5c4f64f5d6e0", "hostname": "web", "dns_domain": "example.com",
        "resolvers": ["8.8.8.8", "8.8.4.4"],
        "nics": [
            // One interface as hosts of 2013 describe it, one as those of today do.
            { "mac": "90:b8:d0:00:00:01", "ip": "10.0.0.2", "netmask": "255.255.255.0", "gateway": "10.0.0.1", "primary": true },
            { "mac": "90:b8:d0:00:00:02", "ips": ["192.168.0.2/23", "fd00::2/64"], "mtu": 9000 },
            { "mac": "90:b8:d0:00:00:03", "ips": ["dhcp"] },
        ],
        "routes": { "10.1.0.0/16": "10.0.0.9" },
        "customer_metadata": {
            "root_authorized_keys": "ssh-ed25519 AAAA a@b\nssh-ed25519 BBBB c@d\n",
            "user-script": "#!/bin/sh\n.\necho gr\u{fc}\u{df}e\n", "user-data": "", "cloud-init:user-data": "#cloud-config\n",
        },
        "internal_metadata": { "operator-script": "#!/bin/sh\ntrue\n" },
    });
    fs::write(lab.join("vm.json"), machine.to_string()).unwrap();
    let server = Server::start(&lab, &["--listen", "pty:ttyb"]);
    python.args(["-c", ASK, "ttyb"]).current_dir(lab.path());
    let said = Said::from(&process::run(&mut python, Duration::from_mins(2)).expect("Python ends"));
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert_eq!(server.end().0, 0);
    let heard: Value = serde_json::from_str(&said.stdout).expect("the script prints JSON");

    let text = &heard["text"];
    for (name, value) in [
        ("instance-id", "54f1cc77-68f1-42ab-acac-5c4f64f5d6e0"),
        ("hostname", "web"),
        ("dns_domain", "example.com"),
        ("public-keys", "ssh-ed25519 AAAA a@b\nssh-ed25519 BBBB c@d"),
        ("user-script", "#!/bin/sh\n.\necho gr\u{fc}\u{df}e\n"),
        ("operator-script", "#!/bin/sh\ntrue\n"),
        ("user-data", "#cloud-config\n"),
    ] {
        assert_eq!(text[name], value, "{name}");
    }
    for missing in ["local-hostname", "availability_zone", "vendor-data", "motd_sys_info"] {
        assert_eq!(text[missing], Value::Null, "{missing}");
    }
    // cloud-init gives every static address all routes, whatever their family.
    let routes = json!([{ "network": "10.1.0.0/16", "gateway": "10.0.0.9" }]);
    assert_eq!(
        heard["network"],
        json!({ "version": 1, "config": [
            {
                "type": "physical", "name": "net0", "mac_address": "90:b8:d0:00:00:01",
                "subnets": [{
                    "type": "static", "address": "10.0.0.2/24", "gateway": "10.0.0.1",
                    "routes": routes,
                }],
            },
            {
                "type": "physical", "name": "net1", "mac_address": "90:b8:d0:00:00:02", "mtu": 9000,
                "subnets": [
                    { "type": "static", "address": "192.168.0.2/23", "routes": routes },
                    { "type": "static", "address": "fd00::2/64", "routes": routes },
                ],
            },
            { "type": "physical", "name": "net2", "mac_address": "90:b8:d0:00:00:03", "subnets": [{ "type": "dhcp4" }] },
            { "type": "nameserver", "address": ["8.8.8.8", "8.8.4.4"], "search": [] },
        ] })
    );
    assert_eq!(
        heard["keys"],
        json!(["cloud-init:user-data", "root_authorized_keys", "user-data", "user-script"])
    );
    assert_eq!((&heard["stored"], &heard["gone"]), (&json!("gr\u{fc}\u{df}e\n"), &Value::Null));
}

/// Whether a guest has the port to itself.
fn is_locked(port: &Path) -> bool {
    let port = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(port).unwrap();
    fcntl_getlk(&port, &Flock::from(FlockType::WriteLock)).unwrap().is_some()
}

#[test]
fn case_36_cloud_init_and_the_commands_take_turns_on_one_port() {
    let (Some(lab), Some(mut python), Some(mdata)) = (Lab::open(), cloud_init::python(), mdata()) else {
        return;
    };
    // Long enough that an answer takes many reads, in which another guest's bytes would show.
    let script = "#!/bin/sh\necho gr\u{fc}\u{df}e\n".repeat(1000);
    let machine = json!({ "hostname": "web", "nics": [], "customer_metadata": { "user-script": script } });
    fs::write(lab.join("vm.json"), machine.to_string()).unwrap();
    let server = Server::start(&lab, &["--listen", "pty:ttyb"]);
    python.args(["-c", ASK, "ttyb"]).current_dir(lab.path());

    let said = thread::scope(|scope| {
        let client = scope.spawn(|| process::run(&mut python, Duration::from_mins(2)).expect("Python ends"));
        // It throws away what the port has got before it locks it, and then another guest waits for the rest of its
        // answer until that is overdue. So it goes first.
        while !is_locked(&lab.join("ttyb")) {
            assert!(!client.is_finished(), "it does not lock the port");
            thread::sleep(Duration::from_millis(10));
        }
        for number in 0..8 {
            let (server, mdata, script) = (&server, &mdata, &script);
            scope.spawn(move || {
                let (key, value) = (format!("key{number}"), format!("{number}\n"));
                let stdout = |command: &str, operands: &[&str]| {
                    let said = server.mdata(mdata, command, operands);
                    // Who waits for long says so, and is served all the same.
                    assert_eq!(said.status, 0, "{command} {operands:?}: {}", said.stderr);
                    said.stdout
                };
                assert!(stdout("get", &["user-script"]) == *script);
                assert_eq!(stdout("put", &[&key, &value]), "");
                assert_eq!(stdout("get", &[&key]), value);
                assert!(stdout("list", &[]).lines().any(|line| line == key));
            });
        }
        Said::from(&client.join().expect("it was started"))
    });
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert_eq!(server.end().0, 0);
    let heard: Value = serde_json::from_str(&said.stdout).expect("the script prints JSON");
    assert_eq!(heard["text"]["hostname"], "web");
    assert!(heard["text"]["user-script"] == *script, "{}", heard["text"]["user-script"]);
    assert_eq!((&heard["stored"], &heard["gone"]), (&json!("gr\u{fc}\u{df}e\n"), &Value::Null));
}
