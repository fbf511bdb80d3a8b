//! Zones: what is chosen for them, and what an owner is told who asks for what does not fit.

use kiln_e2e::first_boot::{Guest, metadata};
use kiln_simulator::{Boot, Hardware};
use serde_json::json;

use super::bench::{BASE, LINUX, MACHINE, NEW, OLD, OLDER, image, install, typing, with_both, zones};

/// Each line is refused with these words, and makes nothing.
fn are_refused(boot: &Boot, lines: &[(&str, &str)]) {
    assert_eq!(boot.outputs.len(), lines.len());
    for (output, (line, words)) in boot.outputs.iter().zip(lines) {
        assert_eq!((output.status, output.stdout.as_str()), (Some(1), ""), "{line} {output:?}");
        assert!(
            output.stderr.starts_with("guest-init: ") && output.stderr.contains(words),
            "{line} {output:?}"
        );
    }
}

fn refuses(guest: &Guest<'_>, lines: &[(&str, &str)]) {
    let typed: Vec<&str> = lines.iter().map(|(line, _)| *line).collect();
    are_refused(&guest.boot(&typing(guest, &typed)), lines);
    assert_eq!(zones(guest), [0; 0]);
}

#[test]
fn what_does_not_fit_is_refused_with_what_to_do() {
    let Some(image) = image(OLD) else { return };
    let mut guest = image.usual_guest("refusals");
    guest.start_host();
    refuses(&guest, &[("guest-init zone-create", "'imgadm import UUID' fetches one")]);
    // Of no use on this platform, or anywhere inside a virtual machine.
    install(&guest, &[LINUX, MACHINE]);
    refuses(&guest, &[("guest-init zone-create", "no image that makes a zone is installed")]);
    install(&guest, &[OLDER, LINUX, MACHINE, BASE]);
    let not_installed = "guest-init zone-create image_uuid=00000000-0000-4000-8000-000000000000";
    let linux = format!("guest-init zone-create image_uuid={LINUX}");
    let machine = format!("guest-init zone-create image_uuid={MACHINE}");
    refuses(
        &guest,
        &[
            (not_installed, "'imgadm import 00000000-0000-4000-8000-000000000000' fetches it"),
            (not_installed, &format!("\n  {OLDER} base64 1.7.0\n  {BASE} base64 1.8.1\n")),
            (&linux, "this platform is too old for zones of brand 'lx'"),
            (&machine, "an image of type 'zvol' for 'linux' makes no zone"),
            ("guest-init zone-create brand=lx", "makes zones of brand 'joyent', not 'lx'"),
            ("guest-init zone-create max_physical_memory=2048", "it takes between 128 and 512 MiB here"),
            ("guest-init zone-create quota=1000", "GiB are free in the pool"),
            ("guest-init zone-create quota=much", "quota is no number"),
            ("guest-init zone-create ip=172.16.9.1", "172.16.9.1 is not free in 172.16.9.0/24"),
            ("guest-init zone-create ip=10.0.0.7", "or not in it; leave ip= out to have one chosen"),
            ("guest-init zone-create nic_tag=admin", "with nic_tag= say ip= as well"),
            ("guest-init zone-create nic_tag=admin ip=10.0.0.7", "say netmask= as well"),
            // What it does not know itself is vmadm's to refuse.
            ("guest-init zone-create no_such_thing=1", "vmadm made no zone: "),
            (
                "guest-init zone-create nic_tag=nowhere ip=dhcp",
                "/etc/svc/volatile/guest-init/zone.json has what it was given",
            ),
        ],
    );
}

#[test]
fn the_owner_chooses() {
    let Some(image) = image(NEW) else { return };
    let mut guest = image.usual_guest("choices");
    guest.start_host();
    install(&guest, &[OLDER, LINUX, BASE]);
    let older = format!(
        "guest-init zone-create image_uuid={OLDER} alias=7 hostname=true quota=2 autoboot=false max_physical_memory=256"
    );
    let boot = guest.boot(&typing(
        &guest,
        &[
            "guest-init zone-create",
            &older,
            "guest-init zone-create alias=7",
            "guest-init zone-create ip=172.16.9.3",
            "guest-init zone-create nic_tag=admin ip=10.0.1.7 netmask=255.255.255.0 gateway=10.0.1.1 brand=lx max_physical_memory=256",
            "guest-init zone-create nic_tag=admin ip=dhcp alias=web max_physical_memory=128",
            "guest-init zone-create",
        ],
    ));
    let ended: Vec<Option<i32>> = boot.outputs.iter().map(|output| output.status).collect();
    assert_eq!(ended, [Some(0), Some(0), Some(1), Some(1), Some(0), Some(0), Some(1)], "{:?}", boot.outputs);
    assert!(boot.outputs[2].stderr.contains("there is a zone called '7' already"), "{:?}", boot.outputs[2]);
    assert!(boot.outputs[3].stderr.contains("172.16.9.3 is not free"), "{:?}", boot.outputs[3]);
    assert!(boot.outputs[6].stderr.contains("may take all memory but 0 MiB"), "{:?}", boot.outputs[6]);
    let zones = zones(&guest);
    let about = |key: &str| zones.iter().map(|zone| zone[key].clone()).collect::<Vec<_>>();
    // The newest is the one for Linux, which this platform can run.
    assert_eq!(about("image_uuid"), [LINUX, OLDER, LINUX, LINUX]);
    assert_eq!(about("brand"), ["lx", "joyent", "lx", "lx"]);
    assert_eq!(about("alias"), ["zone3", "7", "zone", "web"]);
    assert_eq!((&zones[0]["kernel_version"], &zones[1]["kernel_version"]), (&json!("4.10"), &json!(null)));
    assert_eq!(
        (&zones[1]["hostname"], &zones[1]["quota"], &zones[1]["autoboot"]),
        (&json!("true"), &json!(2), &json!(false))
    );
    let elsewhere = json!({"interface": "net0", "nic_tag": "admin", "ip": "10.0.1.7", "netmask": "255.255.255.0",
                           "gateway": "10.0.1.1", "primary": true});
    assert_eq!(zones[2]["nics"], json!([elsewhere]));
    assert_eq!(zones[3]["nics"][0]["ip"], "dhcp");
    assert_eq!([&zones[3]["max_physical_memory"], &zones[3]["max_swap"]], [&json!(128), &json!(256)]);
}

#[test]
fn two_at_once_make_two_zones_until_the_network_is_full() {
    let Some(image) = image(OLD) else { return };
    let mut told = metadata();
    told["customer_metadata"]["guest-init:nat_subnet"] = json!("10.88.0.0/29");
    let mut guest = image.guest("full", &Hardware::usual(OLD), &told);
    guest.start_host();
    install(&guest, &[BASE]);
    let zone = "guest-init zone-create max_physical_memory=128";
    let boot = guest.boot(&with_both(
        &guest,
        typing(&guest, &["/usr/bin/both", zone, zone, zone, zone]),
        &[zone, zone],
    ));
    let ended: Vec<Option<i32>> = boot.outputs.iter().map(|output| output.status).collect();
    assert_eq!(ended, [Some(0), Some(0), Some(0), Some(0), Some(1)], "{:?}", boot.outputs);
    let full = &boot.outputs[4].stderr;
    assert!(full.contains("every address of 10.88.0.0/29 is taken; nat_subnet"), "{full}");
    let mut addresses: Vec<_> = zones(&guest).iter().map(|zone| zone["nics"][0]["ip"].clone()).collect();
    addresses.sort_by_key(ToString::to_string);
    assert_eq!(addresses, ["10.88.0.2", "10.88.0.3", "10.88.0.4", "10.88.0.5", "10.88.0.6"]);
}

#[test]
fn a_small_machine_and_one_without_a_network_for_zones_say_so() {
    let Some(image) = image(OLD) else { return };
    let mut told = metadata();
    told["customer_metadata"]["guest-init:nat"] = json!("no");
    let hardware = Hardware { memory: 600 << 20, ..Hardware::usual(OLD) };
    let mut guest = image.guest("small", &hardware, &told);
    guest.start_host();
    install(&guest, &[BASE]);
    refuses(
        &guest,
        &[
            ("guest-init zone-create", "there is no network for zones (nat=no)"),
            (
                "guest-init zone-create nic_tag=admin ip=dhcp",
                "this machine has 600 MiB of memory; with a zone it wants 640",
            ),
        ],
    );
}
