//! What an owner changes on a guest that is set up.

use std::fs;

use kiln_e2e::first_boot::{differences, logs};
use kiln_simulator::network::model::{From, Model, Service};
use kiln_simulator::{Action, Boot, Fault};
use serde_json::json;

use super::bench::{OLD, image, switch_on, typing};

/// Whether somebody at `address` gets to the SSH server.
fn gets_in(boot: &Boot, address: &str) -> bool {
    let mut model = Model::new(&boot.runtime.network);
    let own = "192.0.2.10".parse().expect("an address");
    model.connect(From::outside("e1000g0", address), own, Service::Tcp(22)).is_passed()
}

/// Hazard 24 once more: rules of a guest that has some already.
#[test]
fn rules_that_do_not_work_leave_the_old_ones_in_use() {
    let Some(image) = image(OLD) else { return };
    let mut guest = image.usual_guest("rules");
    guest.start_host();
    let plain = switch_on(&guest);
    let inside = "10.1.2.3";
    let outside = "198.51.100.7";
    assert!(gets_in(&plain, inside) && gets_in(&plain, outside));
    let rules = |boot: &Boot| boot.runtime.network.filter.active().clone();
    let setup = "guest-init setup --outside-smf --outside-smf";
    let put = "/opt/custom/bin/mdata-put guest-init:ssh_allow 10.0.0.0/8";
    let delete = "/opt/custom/bin/mdata-delete guest-init:ssh_allow";
    let fault = |command: &str, arguments: &[&str], nth: u64, action: Action| Fault {
        command: command.to_owned(),
        arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        nth,
        action,
    };
    let broken = || Action::Fail { status: 1, stderr: "ipf: it does not work today".to_owned() };
    // Each meets the second time that setup runs: reading the rules, loading them, counting them.
    for (what, fault) in [
        ("read", fault("ipf", &["-n"], 2, broken())),
        ("loaded", fault("ipf", &["-E"], 2, broken())),
        ("counted", fault("ipfstat", &["-io"], 3, Action::Garbage(b"block in all\n".to_vec()))),
    ] {
        guest.machine.set_faults(&[fault]).unwrap();
        let boot = guest.boot(&typing(&guest, &[put, setup, delete]));
        assert_eq!(boot.outputs[0].status, Some(0), "{what} {:?}", boot.outputs);
        assert_eq!(boot.outputs[1].status, Some(1), "{what} {:?}\n{}", boot.outputs, logs(&boot));
        assert!(boot.outputs[1].stderr.contains("ERROR: firewall: "), "{what} {:?}", boot.outputs);
        assert_eq!(rules(&boot), rules(&plain), "{what}\n{}", logs(&boot));
        assert!(gets_in(&boot, outside), "{what}");
    }
    guest.machine.set_faults(&[]).unwrap();
    let boot = guest.boot(&typing(&guest, &[put, setup]));
    assert_eq!(boot.outputs[1].status, Some(0), "{:?}\n{}", boot.outputs, logs(&boot));
    assert!(gets_in(&boot, inside) && !gets_in(&boot, outside));
    // The next boot has them from the beginning.
    let next = switch_on(&guest);
    assert_eq!(rules(&next), rules(&boot));
}

/// From the second boot on the key is mounted so that it can only be read.
#[test]
fn what_the_host_changes_is_written_to_a_key_that_could_only_be_read() {
    let Some(image) = image(OLD) else { return };
    let mut guest = image.usual_guest("readable");
    guest.start_host();
    switch_on(&guest);
    let quiet = switch_on(&guest);
    let key =
        quiet.runtime.storage.mounts.iter().rfind(|mount| mount.dir == "/usbkey").expect("it is mounted");
    assert!(key.options.split(',').any(|option| option == "ro"), "{key:?}");
    let lasting = guest.lasting();
    guest.stop_host();
    let mut told = guest.kept();
    told["resolvers"] = json!(["192.0.2.99"]);
    guest.set_metadata(&told);
    guest.start_host();
    for boot in [switch_on(&guest), switch_on(&guest)] {
        assert!(!boot.console.contains("ERROR"), "{}", logs(&boot));
        let config = fs::read_to_string(guest.machine.key().join("config")).unwrap();
        assert!(config.contains("\ndns_resolvers=192.0.2.99\n"), "{config}");
        let stored = fs::read_to_string(guest.machine.key().join("guest-init/metadata.json")).unwrap();
        assert!(stored.contains("192.0.2.99") && !stored.contains("192.0.2.53"), "{stored}");
    }
    let changed = differences(&lasting, &guest.lasting());
    let about = ["key/config:", "key/guest-init/metadata.json:", "zones/var/guest-init/"];
    assert!(!changed.is_empty());
    assert!(changed.iter().all(|line| about.iter().any(|part| line.starts_with(part))), "{changed:?}");
}
