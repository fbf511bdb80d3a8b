//! The tests of tests/shim/conformance, run by cargo for the illumos target, with the shim's launcher as its runner.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::time::Duration;

use kiln_harness::process;
use kiln_shim::{OLDEST_PLATFORM, Settings, guests};

fn conformance(settings: &Settings) {
    let mut cargo = guests::cargo();
    settings.apply(&mut cargo);
    cargo
        .env("CARGO_TARGET_X86_64_UNKNOWN_ILLUMOS_RUNNER", kiln_shim::launcher())
        // The tests share the process's signals and environment; and what one prints is lost when a panic ends all.
        .args([
            "test",
            "--quiet",
            "--package",
            "kiln-conformance",
            "--target",
            guests::ILLUMOS,
            "--test",
            "abi",
        ])
        .args(["--", "--test-threads=1", "--nocapture"]);
    let output = process::run(&mut cargo, Duration::from_mins(10)).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    let passed =
        text.lines().find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse().ok());
    assert!(passed.is_some_and(|passed: u32| passed >= 40), "{text}");
}

#[test]
fn today() {
    conformance(&Settings::default());
}

#[test]
fn the_oldest_platform() {
    conformance(&Settings::default().platform(OLDEST_PLATFORM));
}
