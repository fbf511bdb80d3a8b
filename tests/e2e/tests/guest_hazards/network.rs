//! The network: `/usbkey/config`, cards, rules.

use std::fs;

use kiln_e2e::first_boot::{differences, logs, metadata};
use kiln_simulator::network::model::{From, Model, Outcome, Service};
use kiln_simulator::{Hardware, Nic};
use serde_json::{Value, json};

use super::owed;
use super::stage::{
    OLD, OWN, all_is_well, boot, boot_with, can_be_reached, can_log_in, commands, fails, image, settled,
    status,
};

fn config(guest: &kiln_e2e::first_boot::Guest<'_>) -> String {
    fs::read_to_string(guest.machine.key().join("config")).unwrap_or_default()
}

/// The script wrote the file in place and never again: what a power failure had cut was the guest's network for ever.
#[test]
fn hazard_16_a_configuration_that_was_cut_is_written_anew() {
    let Some(image) = image(OLD) else { return };
    let guest = settled(&image, "cut");
    let (lasting, whole) = (guest.lasting(), config(&guest));
    for cut in ["", &whole[..whole.len() / 2], "\0\0\0\0\0\0\0\0"] {
        fs::write(guest.machine.key().join("config"), cut).unwrap();
        let boot = boot(&guest);
        can_be_reached(&boot);
        assert!(can_log_in(&guest, &boot, OWN), "{cut:?}\n{}", logs(&boot));
        assert_eq!(differences(&lasting, &guest.lasting()), [""; 0], "{cut:?}");
    }
}

/// The script wrote the card's address down at the first boot; with another card, `net-physical` ended with 96.
#[test]
fn hazard_17_another_card_is_found() {
    let Some(image) = image(OLD) else { return };
    let mut guest = settled(&image, "card");
    guest.stop_host();
    let mut hardware = guest.machine.hardware().unwrap();
    hardware.nics[0].mac = "52:54:00:ab:cd:ef".into();
    guest.machine.set_hardware(&hardware).unwrap();
    let mut told = metadata();
    told["nics"][0]["mac"] = json!("52:54:00:ab:cd:ef");
    let mut kept = guest.kept();
    kept["nics"] = told["nics"].clone();
    guest.set_metadata(&kept);
    guest.start_host();
    all_is_well(&guest, &boot(&guest));
    assert!(config(&guest).contains("admin_nic=52:54:00:ab:cd:ef"), "{}", config(&guest));
}

/// The script waited for a host that did not answer, or ended with an error; then there was no SSH.
#[test]
fn hazard_18_a_silent_host_locks_nobody_out() {
    let Some(image) = image(OLD) else { return };
    let mut hardware = Hardware::usual(OLD);
    hardware.nics[0].dhcp = Some("192.0.2.77/24 192.0.2.1".into());
    let mut guest = image.guest("silent", &hardware, &metadata());
    let alone = boot(&guest);
    can_be_reached(&alone);
    assert!(can_log_in(&guest, &alone, "192.0.2.77"), "{}", logs(&alone));
    assert!(alone.console.contains("with the password "), "nobody has a key yet\n{}", logs(&alone));

    guest.start_host();
    all_is_well(&guest, &boot(&guest));
    let lasting = guest.lasting();
    guest.stop_host();
    let again = boot(&guest);
    can_be_reached(&again);
    assert!(can_log_in(&guest, &again, OWN), "{}", logs(&again));
    assert!(!again.console.contains("with the password "), "the keys are there\n{}", logs(&again));
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0]);
}

/// A machine with two cards, of which the one with the way out comes first or last.
fn two_cards(way_out_is_last: bool, primary: Option<bool>) -> (Hardware, Value) {
    let mut hardware = Hardware::usual(OLD);
    let card = |number: usize, mac: &str| Nic {
        link: format!("e1000g{number}"),
        mac: mac.into(),
        up: true,
        dhcp: None,
    };
    let (inside, outside) = ("52:54:00:00:00:01", "52:54:00:12:34:56");
    hardware.nics = if way_out_is_last {
        vec![card(0, inside), card(1, outside)]
    } else {
        vec![card(0, outside), card(1, inside)]
    };
    let mut told = metadata();
    let mut out = told["nics"][0].clone();
    let mut within = json!({
        "interface": "net1", "mac": inside, "nic_tag": "internal", "model": "e1000", "ip": "10.9.9.9",
        "netmask": "255.255.255.0", "ips": ["10.9.9.9/24"],
    });
    match primary {
        Some(primary) => within["primary"] = json!(!primary),
        None => drop(out.as_object_mut().unwrap().remove("primary")),
    }
    told["nics"] = json!([within, out]);
    (hardware, told)
}

/// The way out is the card with the gateway, for logins and for zones.
fn leads_out(guest: &kiln_e2e::first_boot::Guest<'_>, link: &str) {
    let boot = boot(guest);
    all_is_well(guest, &boot);
    let mut model = Model::new(&boot.runtime.network);
    let login = model.connect(From::outside(link, "198.51.100.7"), OWN.parse().unwrap(), Service::Tcp(22));
    assert_eq!(login.outcome, Outcome::Passed, "{login:?}");
    assert_eq!(owed::way_out(&boot, "172.16.9.3"), [""; 0], "{}", logs(&boot));
    assert!(config(guest).contains("admin_nic=52:54:00:12:34:56"), "{}", config(guest));
}

/// The script looked for `primary: true`, and where no card had it, wrote a configuration without a card.
#[test]
fn hazard_19_without_a_primary_card_the_one_with_the_gateway_is_it() {
    let Some(image) = image(OLD) else { return };
    let (hardware, told) = two_cards(false, None);
    let mut guest = image.guest("unflagged", &hardware, &told);
    guest.start_host();
    leads_out(&guest, "e1000g0");
}

/// The script wrote rules for the first link that `dladm` listed, whichever that was: no zone reached anything.
#[test]
fn hazard_23_the_way_out_is_found_in_whatever_order_the_links_come() {
    let Some(image) = image(OLD) else { return };
    let (hardware, told) = two_cards(true, Some(true));
    let mut guest = image.guest("last", &hardware, &told);
    guest.start_host();
    leads_out(&guest, "e1000g1");
}

/// The platform evaluates `/usbkey/config` as shell: what the script wrote there from the metadata was run as root.
#[test]
fn hazard_20_nothing_of_hostile_metadata_is_evaluated() {
    let Some(image) = image(OLD) else { return };
    let evil = "x$(touch canary)`touch canary`;touch canary\nadmin_nic=evil|&<>\"'\\ {a,b} ~ * \u{1b}[2J";
    let mut told = metadata();
    for key in ["hostname", "alias", "dns_domain"] {
        told[key] = json!(evil);
    }
    told["resolvers"] = json!([evil, "192.0.2.53"]);
    told["nics"][0]["nic_tag"] = json!(evil);
    for setting in ["nat_subnet", "ssh_allow", "hostname", "ntp_hosts", "etherstub"] {
        told["customer_metadata"][format!("guest-init:{setting}")] = json!(evil);
    }
    told["customer_metadata"]["user-script"] = json!(evil);
    let mut guest = image.guest("hostile", &Hardware::usual(OLD), &told);
    guest.start_host();
    let boot = boot(&guest);
    can_be_reached(&boot);
    assert!(can_log_in(&guest, &boot, OWN), "{}", logs(&boot));
    assert_eq!(owed::harmless(config(&guest).as_bytes()), [""; 0], "{}", config(&guest));
    assert!(config(&guest).contains("admin_nic=52:54:00:12:34:56\n"), "{}", config(&guest));
    let harmless = |line: &String| !line.contains(['$', '`', ';', '|', '&', '<', '\n']);
    assert!(commands(&boot).iter().all(harmless), "{}", logs(&boot));
    assert!(!boot.console.contains('\u{1b}'), "the console's screen is not the host's");
    let name = &boot.runtime.host.name;
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
}

/// The script flushed all rules and loaded the new ones line by line: a wrong one left those that let pass without the one
/// that blocks, or locked the owner out.
#[test]
fn hazard_24_rules_are_all_there_or_none() {
    let Some(image) = image(OLD) else { return };
    let mut told = metadata();
    told["customer_metadata"]["guest-init:ssh_allow"] = json!("192.0.2.999,everybody");
    let mut guest = image.guest("rules", &Hardware::usual(OLD), &told);
    guest.start_host();
    let failed = boot_with(&guest, &[fails("ipf", &["-f"])]);
    can_be_reached(&failed);
    assert!(can_log_in(&guest, &failed, OWN), "{}", logs(&failed));
    let active = failed.runtime.network.filter.active();
    assert!(active.rules(false, false).is_empty() && active.rules(false, true).is_empty(), "{active:?}");
    assert_eq!(owed::whole_filter(&guest.machine, &failed), [""; 0]);
    assert!(failed.console.contains("it does not work today"), "{}", logs(&failed));
    assert_eq!(status(&guest)["result"], "failed");

    // A list of nobody at all is no list: the owner still gets in.
    let boot = boot(&guest);
    can_be_reached(&boot);
    assert!(can_log_in(&guest, &boot, OWN), "{}", logs(&boot));
    let said = &boot.logs["svc:/smartos/setup:default"];
    assert!(said.contains("ssh_allow in the metadata is passed over: '192.0.2.999'"), "{}", logs(&boot));
    let filter = &boot.runtime.network.filter;
    assert!(filter.running && !filter.active().rules(false, false).is_empty());
    assert_eq!(owed::whole_filter(&guest.machine, &boot), [""; 0], "{}", logs(&boot));
}
