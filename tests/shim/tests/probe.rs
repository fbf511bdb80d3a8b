//! The probe, as it would be shipped, takes every step on the shim: on a platform of today and on the oldest, with the
//! machine's files around it and in a root folder of its own.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use kiln_harness::{process, scratch};
use kiln_shim::guests::{self, Profile};
use kiln_shim::{OLDEST_PLATFORM, Root, Settings};

static PROBE: LazyLock<PathBuf> =
    LazyLock::new(|| guests::illumos("kiln-probe", "kiln-probe", Profile::Shipped).unwrap());

/// Steps that need programs which a bare root folder lacks.
const NOT_IN_A_ROOT: [&str; 2] = ["spawn", "spawn-elsewhere"];

/// Runs the probe and gives the names of the steps that were taken.
fn steps(command: &mut Command) -> Vec<String> {
    let output = process::run(command, Duration::from_mins(2)).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    text.lines()
        .map(|line| {
            let step = line.strip_prefix("ok ").and_then(|line| line.split_once(':'));
            step.unwrap_or_else(|| panic!("the probe said: {line}")).0.to_owned()
        })
        .collect()
}

/// All steps, asked of a run in which they all succeed.
static ALL: LazyLock<Vec<String>> =
    LazyLock::new(|| steps(&mut kiln_shim::command(&PROBE, &Settings::default())));

#[test]
fn today() {
    assert!(ALL.len() >= 16, "{ALL:?}");
}

#[test]
fn the_oldest_platform() {
    let settings = Settings::default().platform(OLDEST_PLATFORM);
    assert_eq!(steps(&mut kiln_shim::command(&PROBE, &settings)), *ALL);
}

#[test]
fn in_a_root_of_its_own() {
    for settings in [Settings::default(), Settings::default().platform(OLDEST_PLATFORM)] {
        let folder = scratch::folder("probe");
        let root = Root::create(folder.path(), &settings).unwrap();
        fs::create_dir(root.host_path("/tmp")).unwrap();
        fs::create_dir(root.host_path("/etc")).unwrap();
        fs::write(root.host_path("/etc/passwd"), "root:x:0:0:Super-User:/root:/usr/bin/bash\n").unwrap();
        fs::write(root.host_path("/etc/group"), "root::0:\n").unwrap();
        root.install(&PROBE, "/usr/bin/probe").unwrap();
        // The very bytes that would be in an image.
        assert_eq!(fs::read(&*PROBE).unwrap(), fs::read(root.host_path("/usr/bin/probe")).unwrap());

        let wanted: Vec<String> =
            ALL.iter().filter(|step| !NOT_IN_A_ROOT.contains(&step.as_str())).cloned().collect();
        let mut command = root.command("/usr/bin/probe", &root.settings());
        assert_eq!(steps(command.args(&wanted)), wanted);
    }
}
