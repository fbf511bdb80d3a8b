//! The shim has every function that a guest program may call.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

use std::fs;

use kiln_shim::guests::{self, Profile};

/// The names of `names` that a program's table of dynamic strings holds. Each stands there between two zero bytes, so one
/// that the program has elsewhere as a C string is found as well, and nothing is overlooked.
fn imports<'a>(program: &[u8], names: &'a [String]) -> Vec<&'a str> {
    let words: std::collections::HashSet<&[u8]> = program.split(|&byte| byte == 0).collect();
    names.iter().map(String::as_str).filter(|name| words.contains(name.as_bytes())).collect()
}

#[test]
fn everything_that_guest_programs_import_is_there() {
    let missing = kiln_shim::missing_functions();
    assert!(!missing.is_empty(), "{missing:?}");
    for (package, program) in [
        ("guest-mdata", "mdata"),
        ("guest-init", "guest-init"),
        ("kiln-probe", "kiln-probe"),
        ("kiln-conformance", "kiln-conformance"),
    ] {
        let executable = fs::read(guests::illumos(package, program, Profile::Shipped).unwrap()).unwrap();
        // What is looked for is found: all of them exit.
        assert_eq!(imports(&executable, &["exit".to_owned()]), ["exit"]);
        let imports = imports(&executable, &missing);
        // One program calls a function that the shim must not have, to see what happens.
        let wanted: &[&str] = if program == "kiln-conformance" { &["getpagesizes"] } else { &[] };
        assert_eq!(imports, wanted, "{program}");
    }
}
