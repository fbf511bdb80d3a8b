//! What an owner types in a guest, on a platform of each generation.

use std::fs;

use kiln_e2e::first_boot::{Image, PROGRAM, differences, logs, metadata};
use kiln_simulator::{Era, Hardware};
use serde_json::{Value, json};

/// An image that makes zones on every platform.
const IMAGE: &str = "390639d4-f146-11e1-9280-37ae5c6d53d4";

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(|word| if word == "guest-init" { PROGRAM } else { word }.to_owned()).collect()
}

#[test]
fn zones_are_made_one_after_the_other_and_the_status_is_told() {
    for era in Era::ALL {
        let Some(image) = Image::build(era) else { return };
        // Its platform may tell the UUID in the wrong order.
        let hardware = Hardware { bios_vendor: "BHYVE".into(), ..Hardware::usual(era) };
        let mut guest = image.guest("guest", &hardware, &metadata());
        let images = json!([{"manifest": {
            "uuid": IMAGE, "type": "zone-dataset", "os": "smartos", "published_at": "2012-08-28T22:23:53Z",
        }}]);
        fs::write(guest.machine.folder().join("images.json"), images.to_string()).unwrap();
        guest.start_host();
        let mut options = guest.options();
        options.commands = [
            "guest-init status --json",
            "guest-init zone-create --print",
            "guest-init zone-create",
            "guest-init zone-create",
            "guest-init zone-create",
            "/system/usr/bin/smbios -t 1",
        ]
        .map(words)
        .to_vec();
        let boot = guest.boot(&options);
        let [status, printed, made @ .., smbios] = boot.outputs.as_slice() else { panic!("{}", logs(&boot)) };
        assert_eq!(status.status, Some(0), "{era} {status:?}");
        let status: Value = serde_json::from_str(&status.stdout).unwrap();
        assert!(status.is_object(), "{era} {status}");
        assert_eq!(printed.status, Some(0), "{era} {printed:?}");
        let printed: Value = serde_json::from_str(&printed.stdout).unwrap();
        assert_eq!(printed["image_uuid"], IMAGE, "{era}");
        for output in made {
            assert_eq!(output.status, Some(0), "{era} {output:?}");
        }
        let uuid = format!("  UUID: {}\n", metadata()["uuid"].as_str().unwrap());
        assert!(smbios.status == Some(0) && smbios.stdout.contains(&uuid), "{era} {smbios:?}");
        let zones = fs::read(guest.machine.folder().join("zones.json")).unwrap();
        let zones: Vec<Value> = serde_json::from_slice(&zones).unwrap();
        assert_eq!(zones.len(), 3, "{era}: what is only printed is not made");
        for key in printed.as_object().unwrap().keys() {
            assert_eq!(printed[key], zones[0][key], "{era} {key}: what was printed is what is made");
        }
        let addresses: Vec<&str> = zones.iter().filter_map(|zone| zone["nics"][0]["ip"].as_str()).collect();
        assert_eq!(addresses, ["172.16.9.2", "172.16.9.3", "172.16.9.4"], "{era}");
        let megabytes: u64 = zones.iter().filter_map(|zone| zone["max_physical_memory"].as_u64()).sum();
        assert!(megabytes << 20 <= guest.machine.hardware().unwrap().memory, "{era}: {megabytes} MiB");
    }
}

#[test]
fn a_plan_changes_nothing_on_a_machine_that_is_set_up() {
    for era in Era::ALL {
        let Some(image) = Image::build(era) else { return };
        let mut guest = image.usual_guest("guest");
        guest.start_host();
        let plain = guest.boot(&guest.options());
        let before = guest.lasting();
        let mut options = guest.options();
        options.commands = ["storage", "identity", "setup", "init", "userscript"]
            .map(|phase| words(&format!("guest-init {phase} --plan")))
            .to_vec();
        let boot = guest.boot(&options);
        assert_eq!(boot.outputs.len(), 5, "{era}");
        for output in &boot.outputs {
            assert_eq!(output.status, Some(0), "{era} {output:?}");
            assert!(output.stdout.contains("nothing to do"), "{era} {output:?}");
        }
        assert_eq!(differences(&before, &guest.lasting()), [""; 0], "{era}");
        assert_eq!(boot.runtime.network, plain.runtime.network, "{era}");
    }
}
