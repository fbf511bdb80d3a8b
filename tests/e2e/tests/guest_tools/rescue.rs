//! Boots that do not go well: what is said about them, to whom, and who gets in.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use kiln_e2e::disks::on_disks;
use kiln_e2e::first_boot::{Guest, differences, logs, metadata};
use kiln_simulator::{Action, Boot, Fault, Hardware};
use serde_json::{Value, json};

use super::bench::{
    BEFORE_SETUP, NEW, OLD, PHASES, image, install, says, status, switch_on, typing, typing_after,
};

/// The emergency password on the console, if there is one.
fn password(boot: &Boot) -> Option<&str> {
    boot.console
        .lines()
        .find_map(|line| line.trim_end().split_once(" with the password "))
        .map(|(_, word)| word)
}

/// The password is on the console and nowhere else, and root has its hash.
fn is_a_secret(guest: &Guest<'_>, boot: &Boot) {
    let password = password(boot).unwrap_or_else(|| panic!("{}", logs(boot)));
    assert_eq!(password.len(), 23, "{password}");
    let shadow = fs::read_to_string(guest.machine.ramdisk().join("etc/shadow")).unwrap();
    assert!(shadow.lines().any(|line| line.starts_with("root:$5$")), "{shadow}");
    for (service, log) in &boot.logs {
        assert!(!log.contains(password), "{service}");
    }
    for output in &boot.outputs {
        assert!(!output.stdout.contains(password) && !output.stderr.contains(password), "{output:?}");
    }
    assert!(!guest.kept().to_string().contains(password));
    for folder in
        [guest.machine.ramdisk().join("etc"), guest.machine.key(), guest.machine.folder().join("pools")]
    {
        is_not_below(&folder, password);
    }
}

fn is_not_below(folder: &Path, secret: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            is_not_below(&path, secret);
        } else if about.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{}", path.display());
        }
    }
}

#[test]
fn in_rescue_mode_everybody_says_why_and_the_console_lets_in() {
    let Some(image) = image(OLD) else { return };
    let mut guest = image.usual_guest("rescue");
    guest.start_host();
    install(&guest, &[super::bench::BASE]);
    File::options()
        .write(true)
        .open(guest.machine.disk("c2t0d0"))
        .and_then(|disk| disk.write_all_at(b"precious", 1 << 20))
        .unwrap();
    let before = on_disks(&guest.machine);
    let mut lines = vec!["guest-init status", "guest-init status --json", "guest-init zone-create"];
    let plans: Vec<String> = PHASES.iter().map(|phase| format!("guest-init --plan {phase}")).collect();
    lines.extend(plans.iter().map(String::as_str));
    let boot = guest.boot(&typing(&guest, &lines));
    let reason = "disk c2t0d0 is not blank";
    let [text, whole, zone, plans @ ..] = boot.outputs.as_slice() else { panic!("{}", logs(&boot)) };
    assert_eq!((text.status, whole.status, zone.status), (Some(1), Some(1), Some(1)), "{:?}", boot.outputs);
    assert!(
        text.stdout.starts_with(&format!("RESCUE MODE: this boot goes without its pool: {reason}")),
        "{text:?}"
    );
    assert!(text.stdout.contains("\n    pool FAILED: "), "{text:?}");
    assert!(zone.stderr.contains(&format!("there is no pool in rescue mode: {reason}")), "{zone:?}");
    let whole: Value = serde_json::from_str(&whole.stdout).unwrap();
    let told = status(&guest);
    for status in [&whole, &told] {
        assert_eq!(
            (&status["result"], &status["step"]),
            (&json!("rescue"), &json!("storage/pool")),
            "{status}"
        );
        assert!(status["rescue"].as_str().is_some_and(|why| why.starts_with(reason)), "{status}");
    }
    // There is no configuration on the key yet, so it made room for one in memory.
    assert_eq!((&whole["key"], &whole["pool"]), (&json!(null), &json!(null)));
    assert!(says(&plans[0].stdout, "storage", "pool: depends on what key comes to"), "{plans:?}");
    assert!(plans.iter().all(|plan| plan.status == Some(0)), "{plans:?}");
    // The key is good, but the network may not be.
    is_a_secret(&guest, &boot);
    assert_eq!(differences(&before, &on_disks(&guest.machine)), [""; 0]);

    // The owner does what the reason calls for; later he boots the rescue entry.
    let blank = File::options().write(true).open(guest.machine.disk("c2t0d0"));
    blank.and_then(|disk| disk.write_all_at(&[0; 8], 1 << 20)).unwrap();
    let good = guest.boot(&typing(&guest, &["guest-init status"]));
    assert_eq!(good.outputs[0].status, Some(0), "{}", logs(&good));
    let mut hardware = guest.machine.hardware().unwrap();
    hardware.boot_properties.push(("noimport".into(), "true".into()));
    guest.machine.set_hardware(&hardware).unwrap();
    let before = on_disks(&guest.machine);
    let boot = guest.boot(&typing(&guest, &["guest-init status --json", "guest-init --plan storage"]));
    let whole: Value = serde_json::from_str(&boot.outputs[0].stdout).unwrap();
    assert_eq!(whole["rescue"], "boot property noimport=true");
    assert_eq!((&whole["key"], &whole["pool"]), (&json!("c1t0d0"), &json!(null)));
    let storage = &boot.outputs[1].stdout;
    for line in [
        "key: nothing to do",
        "pool: rescue mode: boot property noimport=true",
        "pool-root: depends on what pool comes to",
        "remember-platform: depends on what pool comes to",
    ] {
        assert!(says(storage, "storage", line), "{line} {storage}");
    }
    is_a_secret(&guest, &boot);
    assert_eq!(differences(&before, &on_disks(&guest.machine)), [""; 0]);
}

#[test]
fn the_console_lets_in_whoever_has_no_key_that_works() {
    let Some(image) = image(OLD) else { return };
    let mut told = metadata();
    // Only newer platforms take it.
    told["customer_metadata"]["root_authorized_keys"] =
        json!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f modern");
    let mut guest = image.guest("keyless", &Hardware::usual(OLD), &told);
    guest.start_host();
    let boot = switch_on(&guest);
    is_a_secret(&guest, &boot);
    assert!(boot.console.contains("This platform's server takes RSA and DSA keys"), "{}", boot.console);

    // By hand it is the console's all the same, and once.
    let setup = "guest-init setup --outside-smf --outside-smf";
    let by_hand = guest.boot(&typing_after(&guest, &BEFORE_SETUP, &[setup, setup]));
    assert_eq!(by_hand.console.matches(" with the password ").count(), 1, "{}", logs(&by_hand));
    is_a_secret(&guest, &by_hand);

    // Whoever has set a password keeps it.
    let mut hardware = guest.machine.hardware().unwrap();
    hardware
        .boot_properties
        .push(("root_shadow".into(), "$5$pepperandsalt$ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno.0".into()));
    guest.machine.set_hardware(&hardware).unwrap();
    let boot = switch_on(&guest);
    assert_eq!(password(&boot), None, "{}", logs(&boot));
    let shadow = fs::read_to_string(guest.machine.ramdisk().join("etc/shadow")).unwrap();
    assert!(
        shadow.contains("root:$5$pepperandsalt$ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmno.0:"),
        "{shadow}"
    );
}

#[test]
fn whoever_has_a_key_that_works_is_told_no_password() {
    let Some(image) = image(NEW) else { return };
    let mut guest = image.usual_guest("keyed");
    guest.start_host();
    let boot = switch_on(&guest);
    assert_eq!(password(&boot), None, "{}", logs(&boot));
    let shadow = fs::read_to_string(guest.machine.ramdisk().join("etc/shadow")).unwrap();
    assert!(shadow.contains("root:NP:"), "{shadow}");
}

#[test]
fn the_host_is_told_of_long_failures_in_short() {
    let Some(image) = image(OLD) else { return };
    let mut guest = image.usual_guest("failing");
    guest.start_host();
    let loud = |command: &str, arguments: &[&str]| Fault {
        command: command.to_owned(),
        arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
        nth: 0,
        action: Action::Fail { status: 1, stderr: "\"\\\u{1b}[2J no ".repeat(2000) },
    };
    let faults = [
        loud("zfs", &["create", "zones/dump"]),
        loud("dladm", &["create-vnic"]),
        loud("ipf", &[]),
        loud("ipnat", &[]),
        loud("routeadm", &[]),
        loud("svcadm", &["disable"]),
    ];
    guest.machine.set_faults(&faults).unwrap();
    let boot = guest.boot(&typing(&guest, &["guest-init status", "guest-init status --json"]));
    let text = guest.kept()["customer_metadata"]["guest-init:status"].as_str().unwrap().to_owned();
    assert!(text.len() <= 2048, "{} bytes", text.len());
    let told = status(&guest);
    assert_eq!(told["result"], "failed", "{told}");
    assert_eq!(told["step"], "storage/datasets", "the first of all: {told}");
    assert!(told["failure"].as_str().is_some_and(|why| why.contains("dataset dump: ")), "{told}");
    assert!(!boot.console.contains('\u{1b}') && !text.contains("\\u001b"), "{told}");
    let [words, whole] = boot.outputs.as_slice() else { panic!("{}", logs(&boot)) };
    assert_eq!((words.status, whole.status), (Some(1), Some(1)));
    let whole: Value = serde_json::from_str(&whole.stdout).unwrap();
    let failed: Vec<String> = whole["phases"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|phase| phase["failed"].as_array().unwrap())
        .map(|failure| failure["step"].as_str().unwrap().to_owned())
        .collect();
    for step in ["datasets", "services", "zone-network", "firewall", "nat"] {
        assert!(failed.iter().any(|name| name == step), "{step} {failed:?}");
        assert!(words.stdout.contains(&format!("    {step} FAILED: ")), "{words:?}");
    }
    assert_eq!(boot.state("network/ssh"), "online");
}
