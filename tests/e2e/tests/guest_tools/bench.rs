//! What the tests share: commands as an owner types them, and images to make zones of.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use kiln_e2e::disks::{digests, on_disks};
use kiln_e2e::first_boot::{Guest, Image, PROGRAM};
use kiln_simulator::{Boot, BootOptions, Era, static_program};
use serde_json::{Value, json};

/// The oldest platform.
pub const OLD: &str = Era::ALL[0];

/// A platform that has OpenSSH, and brands for Linux.
pub const NEW: &str = Era::ALL[4];

/// The phases, in the order of a boot.
pub const PHASES: [&str; 5] = ["storage", "identity", "setup", "init", "userscript"];

/// The image of a platform, which tests that run at the same time share; `None` after a loud skip.
pub fn image(stamp: &'static str) -> Option<Arc<Image>> {
    Image::shared(stamp)
}

/// Lines as they are typed; `guest-init` stands for its path.
pub fn words(lines: &[&str]) -> Vec<Vec<String>> {
    let word = |word: &str| if word == "guest-init" { PROGRAM.to_owned() } else { word.to_owned() };
    lines.iter().map(|line| line.split(' ').map(word).collect()).collect()
}

/// How much faster than real the guest's clocks run: commands have a minute each, and these tests wait for nobody who is silent.
const TIME_SCALE: u32 = 5;

/// A boot after which these lines are typed.
pub fn typing(guest: &Guest<'_>, lines: &[&str]) -> BootOptions {
    let options = guest.options();
    BootOptions { commands: words(lines), settings: options.settings.time_scale(TIME_SCALE), ..options }
}

/// Switches a guest on and off, and types nothing.
pub fn switch_on(guest: &Guest<'_>) -> Boot {
    guest.boot(&typing(guest, &[]))
}

/// What is typed on a machine on which only these services have run.
pub fn typing_after(guest: &Guest<'_>, services: &[&str], lines: &[&str]) -> BootOptions {
    let methods = services.iter().map(|&service| service.to_owned()).collect();
    BootOptions { services: false, methods, ..typing(guest, lines) }
}

/// The services of the phases that come before `setup`, with what the platform does for the network meanwhile.
pub const BEFORE_SETUP: [&str; 4] = [
    "svc:/system/filesystem/smartdc:default",
    "svc:/system/smartdc/config:default",
    "svc:/network/loopback:default",
    "svc:/network/physical:default",
];

/// With a program at `/usr/bin/both` that runs all these lines at the same time.
pub fn with_both(guest: &Guest<'_>, options: BootOptions, lines: &[&str]) -> BootOptions {
    let script: Vec<String> = words(lines).iter().map(|line| format!("& {}", line.join(" "))).collect();
    with_script(guest, options, "both", &script.join("\n"))
}

/// With a program in `/usr/bin` that runs a script of the simulator's language.
pub fn with_script(guest: &Guest<'_>, mut options: BootOptions, name: &str, script: &str) -> BootOptions {
    let folder = guest.machine.folder().join("scripts");
    fs::create_dir_all(folder.join("etc/scripted")).unwrap();
    fs::write(folder.join("etc/scripted").join(name), script).unwrap();
    options.overlays.push((folder, "/".into()));
    options.programs.push((static_program("scripted").unwrap(), format!("/usr/bin/{name}")));
    options
}

/// Changes a metadata key on the host.
pub fn tell(guest: &mut Guest<'_>, key: &str, value: &Value) {
    guest.stop_host();
    let mut kept = guest.kept();
    kept["customer_metadata"][key] = value.clone();
    guest.set_metadata(&kept);
    guest.start_host();
}

/// What the guest has told its host.
pub fn status(guest: &Guest<'_>) -> Value {
    let status = guest.kept()["customer_metadata"]["guest-init:status"].clone();
    serde_json::from_str(status.as_str().expect("the host was told")).expect("JSON")
}

/// An image for zones of SmartOS that every platform can use.
pub const BASE: &str = "390639d4-f146-11e1-9280-37ae5c6d53d4";

/// An older one.
pub const OLDER: &str = "1fc068b0-13b0-11e2-9f4e-2f3f6a96d9bc";

/// An image for zones of Linux.
pub const LINUX: &str = "63d6e664-3f1f-11e8-aef6-a3120cf8dd9d";

/// An image for virtual machines.
pub const MACHINE: &str = "c3321aac-a07c-11e3-9430-fbb1cc12d1df";

/// Installs these images.
pub fn install(guest: &Guest<'_>, uuids: &[&str]) {
    let manifest = |uuid: &str| {
        json!({"manifest": match uuid {
            BASE => json!({"uuid": uuid, "name": "base64", "version": "1.8.1", "type": "zone-dataset", "os": "smartos",
                           "published_at": "2012-08-28T22:23:53Z"}),
            OLDER => json!({"uuid": uuid, "name": "base64", "version": "1.7.0", "type": "zone-dataset", "os": "smartos",
                            "published_at": "2012-05-30T08:00:00Z"}),
            LINUX => json!({"uuid": uuid, "name": "debian-9", "version": "20180413", "type": "lx-dataset", "os": "linux",
                            "published_at": "2018-04-13T15:00:00Z", "tags": {"kernel_version": "4.10"},
                            "requirements": {"brand": "lx"}}),
            _ => json!({"uuid": uuid, "name": "centos-7", "version": "20190101", "type": "zvol", "os": "linux",
                        "published_at": "2019-01-01T00:00:00Z"}),
        }})
    };
    let images: Vec<Value> = uuids.iter().map(|uuid| manifest(uuid)).collect();
    fs::write(guest.machine.folder().join("images.json"), json!(images).to_string()).unwrap();
}

/// The zones that were made.
pub fn zones(guest: &Guest<'_>) -> Vec<Value> {
    fs::read(guest.machine.folder().join("zones.json"))
        .map_or_else(|_| Vec::new(), |bytes| serde_json::from_slice(&bytes).unwrap())
}

/// The calls of commands that somebody typed `count` of, after those of a boot.
pub fn calls_after<'a>(plain: &Boot, boot: &'a Boot) -> Vec<&'a [String]> {
    let lines = |boot: &Boot| boot.calls.iter().map(|call| call.argv.join(" ")).collect::<Vec<_>>();
    let (before, all) = (lines(plain), lines(boot));
    assert_eq!(before, all[..before.len()], "a boot like the one before");
    boot.calls[before.len()..].iter().map(|call| call.argv.as_slice()).collect()
}

/// Whether a command only looks.
pub fn only_looks(argv: &[String]) -> bool {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let name = words[0].rsplit('/').next().unwrap_or_default();
    matches!(
        (name, &words[1..]),
        ("bootparams", [])
            | ("ifconfig", ["-a"])
            | ("netstat", ["-rn"])
            | ("ping", ["-n", _, "1"])
            | ("zpool", ["list", ..] | ["import"] | ["import", "-D"])
            | ("zfs", ["list", ..])
            // What it does for drivers is done at each boot in any case.
            | ("dladm", ["show-phys", ..] | ["init-phys"])
            | ("ipf", ["-n", ..])
            | ("ipfstat", ["-io"] | ["-6", "-io"])
            | ("ipnat", ["-l"] | ["-n", ..])
            | ("vmadm", ["lookup", "-j"])
            | ("imgadm", ["list", "-j"])
    )
}

/// Everything that a command could change: what outlasts the boot, and the ramdisk.
pub fn everything(guest: &Guest<'_>) -> BTreeMap<String, String> {
    let mut found = on_disks(&guest.machine);
    for folder in ["dev", "etc", "root", "opt", "tmp", "usbkey", "var"] {
        let path = guest.machine.ramdisk().join(folder);
        // A link leads elsewhere out here.
        if !path.is_symlink() {
            digests(&path, folder, &mut found);
        }
    }
    found
}

/// Whether a plan of a phase has this line.
pub fn says(plan: &str, phase: &str, line: &str) -> bool {
    plan.lines().any(|said| said == format!("guest-init {phase}: {line}"))
}
