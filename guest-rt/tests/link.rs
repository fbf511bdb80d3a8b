//! Programs are linked for illumos, as a user's cargo would do it, and must or must not link.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use kiln_harness::process;
use kiln_workshop::cargo;

const TARGET: &str = "x86_64-unknown-illumos";

/// Builds a program of one file. Everything happens in a folder of its own, so that tests run side by side.
fn build(name: &str, source: &str, rustflags: Option<&str>) -> Output {
    let guest_rt = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n[dependencies]\nguest-rt = {{ path = \"{}\" }}\n\
         [profile.dev]\npanic = \"abort\"\n[workspace]\n",
        guest_rt.display()
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/main.rs"), source).unwrap();
    let mut command = cargo::nested();
    command
        .args(["build", "--offline", "--target", TARGET, "--target-dir", "target"])
        .env("CARGO_TARGET_X86_64_UNKNOWN_ILLUMOS_LINKER", guest_rt.join("illumos-ld"))
        .current_dir(&folder);
    if let Some(flags) = rustflags {
        command.env("RUSTFLAGS", flags);
    }
    process::run(&mut command, Duration::from_mins(10)).unwrap()
}

/// Builds a program that calls `function` and gives what the linker wrapper says.
fn refusal(name: &str, function: &str) -> Vec<String> {
    let source = format!(
        "use guest_rt as _;\nunsafe extern \"C\" {{ fn {function}(); }}\nfn main() {{ unsafe {{ {function}() }} }}\n"
    );
    let output = build(name, &source, None);
    assert!(!output.status.success(), "a program that calls {function} links");
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(messages.contains(&format!("undefined symbol: {function}")), "{messages}");
    messages
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("illumos-ld: "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_program_links_whatever_the_users_flags_are() {
    for (name, flags) in [("no-flags", ""), ("some-flags", "-Cdebuginfo=0 -Copt-level=1")] {
        let source = "use guest_rt as _;\nfn main() { println!(\"{:?}\", std::env::args()) }\n";
        let output = build(name, source, Some(flags));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).join("target").join(TARGET);
        let bytes = fs::read(program.join("debug").join(name)).unwrap();
        // An executable for Solaris, with a fixed address.
        assert_eq!((&bytes[..4], bytes[7], bytes[16]), (&b"\x7fELF"[..], 6, 2));
    }
}

#[test]
fn a_function_of_2014_does_not_link_and_the_reason_is_said() {
    let reason =
        "epoll_create1 is not in SmartOS 20130506's libc: it came in 2014-04. See guest-rt/symbols.txt.";
    assert_eq!(refusal("uses-epoll", "epoll_create1"), [reason]);
}

#[test]
fn a_function_of_2021_does_not_link_and_the_reason_is_said() {
    let reason = "memrchr is not in SmartOS 20130506's libc: it came in 2021-08. See guest-rt/symbols.txt.";
    assert_eq!(refusal("uses-memrchr", "memrchr"), [reason]);
}

#[test]
fn an_unknown_function_does_not_link_and_the_list_is_named() {
    let [reason] = &refusal("uses-unknown", "frobnicate")[..] else { panic!("not one line") };
    assert!(reason.starts_with("frobnicate is not in guest-rt/symbols.txt, which lists"), "{reason}");
}

#[test]
fn a_program_that_forgets_this_crate_is_told_so() {
    let output = build("forgetful", "fn main() { println!(\"hello\") }\n", None);
    assert!(!output.status.success());
    let messages = String::from_utf8(output.stderr).unwrap();
    let said =
        "illumos-ld: the program takes nothing from guest-rt: its main file must say `use guest_rt as _;`.";
    assert!(messages.contains(said), "{messages}");
}
