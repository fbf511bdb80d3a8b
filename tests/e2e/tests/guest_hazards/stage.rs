//! What the scenes share: guests, what is on their disks, and what holds after each boot.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

pub use kiln_e2e::disks::on_disks;
use kiln_e2e::first_boot::{Guest, Image, RSA_KEY, logs};
use kiln_simulator::storage::{Pool, Source};
use kiln_simulator::{Action, Boot, BootOptions, Disk, Era, Fault, Machine};
use serde_json::Value;

use super::owed;

/// The oldest platform.
pub const OLD: &str = Era::ALL[0];

/// A platform that has OpenSSH and knows pools in use elsewhere.
pub const NEW: &str = Era::ALL[4];

/// The disk for data of the usual machine.
pub const DATA: &str = "c2t0d0";

/// The address of the usual guest.
pub const OWN: &str = "192.0.2.10";

/// The image of a platform, which tests that run at the same time share; `None` after a loud skip.
pub fn image(stamp: &'static str) -> Option<Arc<Image>> {
    Image::shared(stamp)
}

/// The usual guest, whose host answers.
pub fn guest<'a>(image: &'a Image, name: &str) -> Guest<'a> {
    let mut guest = image.usual_guest(name);
    guest.start_host();
    guest
}

/// One that has set itself up already.
pub fn settled<'a>(image: &'a Image, name: &str) -> Guest<'a> {
    let guest = guest(image, name);
    all_is_well(&guest, &boot(&guest));
    guest
}

/// Switches a guest on and off.
pub fn boot(guest: &Guest<'_>) -> Boot {
    guest.boot(&guest.options())
}

/// Switches it on and off, while these commands fail.
pub fn boot_with(guest: &Guest<'_>, faults: &[Fault]) -> Boot {
    guest.machine.set_faults(faults).unwrap();
    let boot = boot(guest);
    guest.machine.set_faults(&[]).unwrap();
    boot
}

/// Switches it on; the power fails when the `nth` such command is half through or done.
pub fn boot_until(guest: &Guest<'_>, command: &str, arguments: &[&str], action: Action) {
    let boot = boot_with(guest, &[fault(command, arguments, action)]);
    assert!(boot.power_failed, "no {command} {arguments:?}\n{}", logs(&boot));
}

/// Commands of a name with these words among their arguments do not work.
pub fn fails(command: &str, arguments: &[&str]) -> Fault {
    let action = Action::Fail { status: 1, stderr: format!("{command}: it does not work today") };
    Fault { nth: 0, ..fault(command, arguments, action) }
}

/// The first command of a name with these words among its arguments goes so.
pub fn fault(command: &str, arguments: &[&str], action: Action) -> Fault {
    let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    Fault { command: command.to_owned(), arguments, nth: 1, action }
}

/// A further disk.
pub fn disk(name: &str, bytes: u64) -> Disk {
    Disk { name: name.to_owned(), bytes, removable: false, key: false, late: false, device: None }
}

/// Puts further disks into a machine.
pub fn add_disks(machine: &Machine, disks: &[Disk]) {
    let mut hardware = machine.hardware().unwrap();
    hardware.disks.extend(disks.iter().cloned());
    machine.set_hardware(&hardware).unwrap();
}

/// What the guest has told its host.
pub fn status(guest: &Guest<'_>) -> Value {
    let status = guest.kept()["customer_metadata"]["guest-init:status"].clone();
    serde_json::from_str(status.as_str().expect("the host was told")).expect("JSON")
}

/// The commands of a boot, a line each.
pub fn commands(boot: &Boot) -> Vec<String> {
    boot.calls.iter().map(|call| call.argv.join(" ")).collect()
}

/// Whether a pool was made, or tried to be.
pub fn makes_a_pool(boot: &Boot) -> bool {
    commands(boot).iter().any(|line| line.contains("zpool create"))
}

/// The services run without which nobody gets in.
pub fn can_be_reached(boot: &Boot) {
    assert_eq!(owed::services(boot), [""; 0], "{}", logs(boot));
}

/// Whether somebody outside can open a connection to the guest's SSH server at this address.
pub fn can_log_in(guest: &Guest<'_>, boot: &Boot, address: &str) -> bool {
    owed::login(&guest.machine, boot, address).is_empty()
}

/// A boot without trouble.
pub fn all_is_well(guest: &Guest<'_>, boot: &Boot) {
    can_be_reached(boot);
    assert!(!boot.console.contains("ERROR") && !boot.console.contains("RESCUE"), "{}", logs(boot));
    assert_eq!(status(guest)["result"], "ok", "{}", logs(boot));
    assert!(can_log_in(guest, boot, OWN), "{}", logs(boot));
    let keys = guest.machine.dataset("zones/opt").unwrap().join("custom/root/.ssh/authorized_keys");
    assert!(fs::read_to_string(keys).unwrap().contains(RSA_KEY), "{}", logs(boot));
    assert_eq!(owed::datasets(&guest.machine), [""; 0], "{}", logs(boot));
}

/// A boot in rescue mode for a reason with these words in it: the guest is on the network, its owner's keys are in, what `zpool
/// import` wrote lies with the reason, and no byte on a disk, on the key or in a pool is another than `before`.
pub fn rescued(guest: &Guest<'_>, boot: &Boot, reason: &str, before: &BTreeMap<String, String>) {
    let line = boot.console.lines().find(|line| line.contains("RESCUE MODE, no pool: "));
    assert!(line.is_some_and(|line| line.contains(reason)), "not for {reason:?}\n{}", logs(boot));
    assert_eq!(owed::untouched(&guest.machine, before), [""; 0], "{}", logs(boot));
    can_be_reached(boot);
    assert!(can_log_in(guest, boot, OWN), "{}", logs(boot));
    assert!(!makes_a_pool(boot));
    assert_eq!(status(guest)["result"], "rescue");
    let ramdisk = guest.machine.ramdisk();
    let keys = fs::read_to_string(ramdisk.join("root/.ssh/authorized_keys"));
    assert!(keys.is_ok_and(|keys| keys.contains(RSA_KEY)), "{}", logs(boot));
    let note = fs::read_to_string(ramdisk.join("etc/svc/volatile/guest-init.failed")).unwrap();
    assert!(note.contains(reason) && note.contains("\nzpool import:\n"), "{note}");
}

/// The one pool of the machine that has this number.
pub fn pool(guest: &Guest<'_>, guid: u64) -> Pool {
    guest.machine.pools().unwrap().into_iter().find(|pool| pool.guid == guid).expect("the pool is there")
}

/// Changes a pool that is not imported.
pub fn change_pool(guest: &Guest<'_>, change: impl FnOnce(&mut Pool)) {
    let mut pool = guest.machine.pools().unwrap().remove(0);
    change(&mut pool);
    pool.write(guest.machine.folder()).unwrap();
}

/// Puts a pool on a disk that looks like a guest's.
pub fn plant_own(machine: &Machine, disk: &str) -> u64 {
    let datasets = ["config", "opt", "var"];
    let planted = machine.plant_pool("zones", &[disk], &datasets, |pool| {
        for dataset in datasets {
            set(pool, dataset, "mountpoint", "legacy", Source::Local);
        }
    });
    planted.unwrap()
}

/// Sets a property of a dataset, which came from somewhere.
pub fn set(pool: &mut Pool, dataset: &str, property: &str, value: &str, source: Source) {
    let setting = kiln_simulator::storage::Setting { value: value.to_owned(), source };
    let dataset = pool.datasets.get_mut(dataset).expect("the dataset is there");
    dataset.properties.insert(property.to_owned(), setting);
}

/// A boot after which these commands are typed.
pub fn typing(guest: &Guest<'_>, commands: &[&[&str]]) -> BootOptions {
    let commands = commands.iter().map(|words| words.iter().map(|&word| word.to_owned()).collect()).collect();
    BootOptions { commands, ..guest.options() }
}
