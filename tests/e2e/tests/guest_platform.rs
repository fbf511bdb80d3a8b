//! What a guest owes to the age of its platform.

use std::fs;

use kiln_e2e::first_boot::{INTERPRETED, Image, logs, metadata};
use kiln_simulator::{Era, Hardware};
use serde_json::json;

/// A platform with OpenSSH.
const NEW: &str = Era::ALL[4];

/// The oldest platform, whose own `mdata-get` is of no use in a global zone.
const OLD: &str = Era::ALL[0];

#[test]
fn scripts_find_an_mdata_get_that_works() {
    let Some(image) = Image::build(OLD) else { return };
    let mut told = metadata();
    told["customer_metadata"]["user-script"] = json!(INTERPRETED);
    told["alias"] = json!("found by name");
    let mut guest = image.guest("mdata", &Hardware::usual(OLD), &told);
    guest.start_host();
    let boot = guest.boot(&guest.options_with_interpreter("mdata-get sdc:alias\n"));
    let said = &boot.logs["svc:/smartos/userscript:default"];
    assert!(said.contains("+ mdata-get sdc:alias\nfound by name\n"), "{}", logs(&boot));
    assert!(said.contains("it ended with status 0"), "{}", logs(&boot));
}

/// Each release of OpenSSH has a file of its own, so nothing but logins by password is changed in it.
#[test]
fn openssh_keeps_the_file_of_its_platform() {
    let Some(image) = Image::build(NEW) else { return };
    let mut guest = image.usual_guest("sshd");
    guest.start_host();
    let boot = guest.boot(&guest.options());
    assert_eq!(boot.state("network/ssh"), "online", "{}", logs(&boot));
    let file = fs::read_to_string(guest.machine.ramdisk().join("etc/ssh/sshd_config")).unwrap();
    let stock = image.file("etc/ssh/sshd_config");
    let (kept, added): (Vec<&str>, Vec<&str>) =
        file.lines().partition(|line| stock.contains(&format!("{line}\n")));
    assert_eq!(added, ["PasswordAuthentication no", "ChallengeResponseAuthentication no"], "{file}");
    let lost: Vec<&str> = stock.lines().filter(|line| !kept.contains(line)).collect();
    assert_eq!(lost, ["PasswordAuthentication yes"], "{file}");
    // That is no trouble, so it is in the log alone.
    assert!(!boot.console.contains("sshd_config"), "{}", boot.console);
    let log = &boot.logs["svc:/system/smartdc/config:default"];
    assert!(
        log.contains("allows keys alone from now on: PasswordAuthentication was 'yes'"),
        "{}",
        logs(&boot)
    );
}

/// What somebody chose and does not get is told.
#[test]
fn an_overlay_that_lets_passwords_in_is_mended_aloud() {
    let Some(image) = Image::build_with(NEW, &[("etc/ssh/sshd_config", "PasswordAuthentication yes\n")])
    else {
        return;
    };
    let mut guest = image.usual_guest("sshd");
    guest.start_host();
    let boot = guest.boot(&guest.options());
    assert_eq!(boot.state("network/ssh"), "online", "{}", logs(&boot));
    let warning = "WARNING: /etc/ssh/sshd_config is mended: PasswordAuthentication was 'yes'";
    assert!(boot.console.contains(warning), "{}", logs(&boot));
    let file = fs::read_to_string(guest.machine.ramdisk().join("etc/ssh/sshd_config")).unwrap();
    assert!(file.starts_with("PasswordAuthentication no\n"), "{file}");
}
