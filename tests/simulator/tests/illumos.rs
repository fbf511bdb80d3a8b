//! Programs for illumos in a simulated machine: they see what is mounted, and die with the machine.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::fs;

use kiln_harness::scratch;
use kiln_shim::guests::{self, Profile};
use kiln_shim::power::Policy;
use kiln_shim::{Moment, Settings};
use kiln_simulator::{BootOptions, Era, Hardware, Machine};

/// Mounts the key and lets a program write a file there, change by change.
fn options(settings: Settings) -> BootOptions {
    let program = guests::illumos("kiln-conformance", "kiln-conformance", Profile::Quick).unwrap();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut change = words("/sbin/program change");
    change.extend(["write /usbkey/new text", "rename /usbkey/new /usbkey/file"].map(str::to_owned));
    BootOptions {
        settings,
        programs: vec![(program, "/sbin/program".into())],
        services: false,
        commands: vec![
            words("/usr/sbin/devfsadm -c disk"),
            words("/usr/sbin/mount -F pcfs -o foldcase /dev/dsk/c1t0d0p1 /usbkey"),
            change,
            words("/usr/sbin/umount /usbkey"),
        ],
        ..BootOptions::default()
    }
}

#[test]
fn a_program_writes_to_the_key_and_a_kill_switches_the_machine_off() {
    let folder = scratch::folder("simulator-illumos");
    let machine = Machine::new(folder.path(), &Hardware::usual(Era::ALL[0])).unwrap();
    let boot = machine.boot(&options(Settings::default())).unwrap();
    assert!(boot.outputs.iter().all(|output| output.status == Some(0)), "{:?}", boot.outputs);
    assert_eq!(boot.outputs.len(), 4);
    assert_eq!(fs::read_to_string(machine.key().join("file")).unwrap(), "text");

    fs::remove_file(machine.key().join("file")).unwrap();
    let killed = BootOptions {
        power_failure: Some(Policy::Keep),
        ..options(Settings::default().kill_at(1, Moment::Before))
    };
    let boot = machine.boot(&killed).unwrap();
    assert!(boot.power_failed, "{boot:?}");
    assert_eq!(boot.outputs.len(), 2, "what came before the kill");
    assert!(!machine.key().join("file").exists());
}
