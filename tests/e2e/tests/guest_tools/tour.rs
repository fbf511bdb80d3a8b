//! A guest of each generation: what it says before its first boot, after it, and after the second.

use std::fs;

use kiln_e2e::disks::on_disks;
use kiln_e2e::first_boot::{Guest, Image, RSA_KEY, differences, logs, metadata};
use kiln_simulator::{Boot, Era, Hardware};
use serde_json::{Value, json};

use super::bench::{
    BASE, PHASES, calls_after, everything, install, only_looks, says, status, switch_on, typing,
    typing_after, zones,
};

#[test]
fn an_owner_looks_around() {
    for era in Era::ALL {
        let Some(image) = Image::build(era) else { return };
        // Its platform may tell the UUID in the wrong order.
        let hardware = Hardware { bios_vendor: "BHYVE".into(), ..Hardware::usual(era) };
        let mut guest = image.guest("guest", &hardware, &metadata());
        install(&guest, &[BASE]);
        guest.start_host();
        plans_before_the_first_boot(&guest);
        let first = first_boot(&guest);
        makes_zones(&guest, &first);
        let plain = switch_on(&guest);
        plans_change_nothing(&guest, &plain);
    }
}

/// Nothing has run yet, and nothing is mounted.
fn plans_before_the_first_boot(guest: &Guest<'_>) {
    let era = guest.machine.hardware().unwrap().era;
    let nothing = guest.boot(&typing_after(guest, &[], &["guest-init status"]));
    let before = everything(guest);
    assert_eq!(nothing.outputs[0].status, Some(0));
    assert_eq!(nothing.outputs[0].stdout, "no phase has run since this boot began\n");
    let lines: Vec<String> = PHASES.iter().map(|phase| format!("guest-init --plan {phase}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let boot = guest.boot(&typing_after(guest, &[], &lines));
    assert_eq!(differences(&before, &everything(guest)), [""; 0], "{era}");
    for call in calls_after(&nothing, &boot) {
        assert!(only_looks(call), "{era} {call:?}");
    }
    let plans: Vec<&str> = boot.outputs.iter().map(|output| output.stdout.as_str()).collect();
    for (plan, phase) in plans.iter().zip(PHASES) {
        assert!(plan.lines().all(|line| line.starts_with(&format!("guest-init {phase}: "))), "{era} {plan}");
    }
    assert!(boot.outputs.iter().all(|output| output.status == Some(0)), "{era} {:?}", boot.outputs);
    let storage = plans[0];
    assert!(storage.contains("storage: key: the disk with the boot files is found among"), "{era} {storage}");
    assert!(!storage.contains("rescue mode"), "{era} {storage}");
    for step in ["pool", "datasets", "mounts", "custom"] {
        assert!(
            says(storage, "storage", &format!("{step}: depends on what key comes to")),
            "{era} {storage}"
        );
    }
    assert!(plans[1].contains("identity: config: "), "{era} {}", plans[1]);
    assert!(plans[2].contains("setup: keys: "), "{era} {}", plans[2]);
}

fn first_boot(guest: &Guest<'_>) -> Boot {
    let era = guest.machine.hardware().unwrap().era;
    let boot = guest.boot(&typing(
        guest,
        &[
            "guest-init status",
            "guest-init status --json",
            "/opt/custom/bin/zone-create --print",
            "guest-init zone-create",
            "guest-init zone-create alias=second max_physical_memory=512",
            "guest-init zone-create ip=172.16.9.77 max_physical_memory=512",
            "/system/usr/bin/smbios -t 1",
            "/usr/bin/sysinfo",
            "/usr/bin/sysinfo -p",
        ],
    ));
    let [text, json, printed, first, second, third, smbios, sysinfo, parsable] = boot.outputs.as_slice()
    else {
        panic!("{}", logs(&boot))
    };
    for output in &boot.outputs {
        assert_eq!(output.status, Some(0), "{era} {output:?}\n{}", logs(&boot));
    }
    let told: Vec<&str> = text.stdout.lines().collect();
    assert_eq!(told.len(), PHASES.len(), "{era} {told:?}");
    for (line, phase) in told.iter().zip(PHASES) {
        assert!(line.contains(&format!("Z  {phase}: ok, ")), "{era} {told:?}");
    }
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let phases: Vec<&Value> =
        json["phases"].as_array().unwrap().iter().map(|phase| &phase["phase"]).collect();
    assert_eq!(phases, PHASES, "{era} {json}");
    assert!(json["phases"][0]["changed"].as_array().unwrap().contains(&json!("pool")), "{era} {json}");
    assert_eq!((&json["key"], &json["pool"]), (&json!("c1t0d0"), &json!("zones")), "{era}");
    let host = status(guest);
    assert_eq!((&host["result"], &host["phase"]), (&json!("ok"), &json!("userscript")), "{era} {host}");
    assert!(host.get("step").is_none() && host.get("rescue").is_none(), "{era} {host}");
    for key in ["result", "phase", "time"] {
        assert_eq!(host[key], json[key], "{era} {key}: the host was told the same");
    }

    let uuid = &guest.machine.hardware().unwrap().uuid;
    assert!(smbios.stdout.contains(&format!("\n  UUID: {uuid}\n")), "{era} {smbios:?}");
    let sysinfo: Value = serde_json::from_str(&sysinfo.stdout).unwrap();
    assert_eq!(sysinfo["UUID"], json!(uuid), "{era}");
    assert!(parsable.stdout.contains(&format!("\nUUID='{uuid}'\n")), "{era} {parsable:?}");
    let platforms = |kind: &str| {
        let argv = ["/usr/sbin/smbios", "-t", kind];
        boot.calls.iter().filter(|call| call.argv == argv).count()
    };
    assert_eq!(
        (platforms("1"), platforms("SMB_TYPE_SYSTEM"), platforms("SMB_TYPE_BIOS")),
        (1, 2, 2),
        "{era}"
    );

    let made = zones(guest);
    assert_eq!(made.len(), 3, "{era}: what is only printed is not made");
    let printed: Value = serde_json::from_str(&printed.stdout).unwrap();
    for key in printed.as_object().unwrap().keys() {
        assert_eq!(printed[key], made[0][key], "{era} {key}: what was printed is what is made");
    }
    let said =
        [(first, "zone3", "172.16.9.3"), (second, "second", "172.16.9.2"), (third, "zone77", "172.16.9.77")];
    for (zone, (output, alias, address)) in made.iter().zip(said) {
        let uuid = zone["uuid"].as_str().unwrap();
        let words = format!("Successfully created VM {uuid}\nalias {alias}, address {address}\n");
        assert_eq!(output.stdout, words, "{era}");
        assert_eq!((&zone["alias"], &zone["nics"][0]["ip"]), (&json!(alias), &json!(address)), "{era}");
    }
    boot
}

/// Zones that suit the machine: 1 GiB of memory, of which half stays for the guest itself, and the owner shares the rest.
fn makes_zones(guest: &Guest<'_>, boot: &Boot) {
    for zone in zones(guest) {
        let sizes =
            ["max_physical_memory", "max_locked_memory", "max_swap"].map(|key| zone[key].as_u64().unwrap());
        assert_eq!(sizes, [512, 512, 1024], "{zone}\n{}", logs(boot));
        assert!((1..10).contains(&zone["quota"].as_u64().unwrap()), "{zone}");
        assert_eq!((&zone["brand"], &zone["image_uuid"]), (&json!("joyent"), &json!(BASE)));
        assert_eq!(
            (&zone["resolvers"], &zone["dns_domain"]),
            (&json!(["192.0.2.53", "192.0.2.54"]), &json!("example.com"))
        );
        let nic = &zone["nics"][0];
        assert_eq!((&nic["nic_tag"], &nic["gateway"]), (&json!("vswitch0"), &json!("172.16.9.1")));
    }
}

/// Everything is as it should be, and that is what is said.
fn plans_change_nothing(guest: &Guest<'_>, plain: &Boot) {
    let era = guest.machine.hardware().unwrap().era;
    let (disks, lasting) = (on_disks(&guest.machine), guest.lasting());
    let files: Vec<String> = everything(guest).into_keys().collect();
    let lines: Vec<String> = PHASES.iter().map(|phase| format!("guest-init {phase} --plan")).collect();
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.extend(["guest-init status", "guest-init zone-create --print max_physical_memory=512"]);
    let boot = guest.boot(&typing(guest, &lines));
    for call in calls_after(plain, &boot) {
        assert!(only_looks(call), "{era} {call:?}");
    }
    for (output, phase) in boot.outputs.iter().zip(PHASES) {
        assert_eq!(output.status, Some(0), "{era} {output:?}");
        let mut steps = output.stdout.lines().filter(|line| !line.contains("has the Ethernet address"));
        let prefix = format!("guest-init {phase}: ");
        assert!(
            steps.all(|line| line.starts_with(&prefix) && line.ends_with(": nothing to do")),
            "{era} {output:?}"
        );
    }
    assert!(boot.outputs.iter().all(|output| output.status == Some(0)), "{era} {:?}", boot.outputs);
    let told = &boot.outputs[PHASES.len()].stdout;
    assert!(
        told.contains("setup: ok, changed ") && told.contains("userscript: ok, nothing changed"),
        "{era} {told}"
    );
    // A disk holds what is in its pool, and logs grow.
    assert_eq!(
        disks.keys().collect::<Vec<_>>(),
        on_disks(&guest.machine).keys().collect::<Vec<_>>(),
        "{era}"
    );
    assert_eq!(differences(&lasting, &guest.lasting()), [""; 0], "{era}");
    assert_eq!(files, everything(guest).into_keys().collect::<Vec<_>>(), "{era}");
    assert_eq!(
        (boot.runtime.network, boot.runtime.storage.mounts.len()),
        (plain.runtime.network.clone(), plain.runtime.storage.mounts.len()),
        "{era}"
    );
    assert!(zones(guest).len() == 3, "{era}");
    let keys = guest.machine.dataset("zones/opt").unwrap().join("custom/root/.ssh/authorized_keys");
    assert!(fs::read_to_string(keys).unwrap().contains(RSA_KEY), "{era}");
}
