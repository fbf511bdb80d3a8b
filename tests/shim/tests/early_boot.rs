//! Very early in the boot there is no `/dev/urandom`, and the oldest platform has no call for random numbers either.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::time::Duration;

use kiln_harness::process;
use kiln_shim::guests::{self, Profile};
use kiln_shim::{OLDEST_PLATFORM, Settings};

/// Runs one step of the probe without a source of random numbers; gives what it said and its exit status.
fn step(name: &str) -> (String, Option<i32>) {
    let probe = guests::illumos("kiln-probe", "kiln-probe", Profile::Shipped).unwrap();
    let settings =
        Settings::default().platform(OLDEST_PLATFORM).device("/dev/urandom", "/nonexistent/urandom");
    let mut command = kiln_shim::command(&probe, &settings);
    let output = process::run(command.arg(name), Duration::from_mins(1)).unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn hash_tables_work() {
    assert_eq!(step("hash"), ("ok hash: 1000 values\n".to_owned(), Some(0)));
}

#[test]
fn random_numbers_are_refused_and_not_made_up() {
    assert_eq!(step("random"), ("FAIL random: No such file or directory (os error 2)\n".to_owned(), Some(1)));
}
