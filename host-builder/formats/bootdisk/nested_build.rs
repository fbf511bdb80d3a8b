//! A cargo call inside a build script: how the boot loader and the stand-in kernel are compiled for bare
//! x86-64 by the same `cargo build` that compiles the host programs, on a host of any architecture.
//!
//! A build script inherits the environment of the outer cargo, and much of it (`CARGO_ENCODED_RUSTFLAGS`, a
//! `RUSTC_WORKSPACE_WRAPPER` left by clippy, `CARGO_BUILD_TARGET`) would change the inner build or break it. So the
//! inner cargo starts without any `CARGO*` and `RUST*` variable but those that say where the toolchain is,
//! gets its compiler flags from here alone, and works in a target folder of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of the inner builds. rust-toolchain.toml lists it, so rustup installs it with the compiler.
pub const BARE_TARGET: &str = "x86_64-unknown-none";

/// Variables that locate the toolchain rather than steer a build; the inner cargo keeps them.
const KEPT: [&str; 3] = ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];

/// Compiles the crate in `folder` and returns the path of its program `program`.
///
/// `linker_script` is a file in `folder`; `flags` are further compiler flags. The bytes of the program depend on the
/// compiler and the sources alone: the folder is remapped to its last component.
///
/// # Panics
/// When the crate does not compile; the message names the missing rustup target if that is the reason.
pub fn build_bare(
    folder: &Path,
    program: &str,
    linker_script: &str,
    flags: &[&str],
    target_dir: &Path,
) -> PathBuf {
    let name = folder.file_name().expect("a crate has a folder of its own").to_string_lossy();
    let mut rustflags = vec![
        "-Crelocation-model=static".to_owned(),
        format!("-Clink-arg=-T{}", folder.join(linker_script).display()),
        "-Clink-arg=--build-id=none".to_owned(),
        format!("--remap-path-prefix={}={name}", folder.display()),
    ];
    rustflags.extend(flags.iter().map(|&flag| flag.to_owned()));

    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (variable, _) in env::vars_os() {
        let Some(text) = variable.to_str() else { continue };
        if (text.starts_with("CARGO") || text.starts_with("RUST")) && !KEPT.contains(&text) {
            cargo.env_remove(text);
        }
    }
    // Cargo would otherwise look for a compiler in PATH, which need not be the one that goes with it.
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    cargo
        .current_dir(folder)
        .env("RUSTC", &rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\x1f"))
        .args(["build", "--quiet", "--locked", "--release", "--target", BARE_TARGET, "--target-dir"])
        .arg(target_dir);
    let status = cargo.status().unwrap_or_else(|error| panic!("cannot start the inner cargo: {error}"));
    assert!(
        status.success(),
        "{}",
        if target_installed(&rustc) {
            format!("the inner build of {} failed", folder.display())
        } else {
            format!("the Rust target {BARE_TARGET} is not installed; run: rustup target add {BARE_TARGET}")
        }
    );
    target_dir.join(BARE_TARGET).join("release").join(program)
}

/// Whether the standard `core` for the bare target is installed beside the compiler.
fn target_installed(rustc: &std::ffi::OsStr) -> bool {
    let Ok(output) = Command::new(rustc).args(["--print", "target-libdir", "--target", BARE_TARGET]).output()
    else {
        return false;
    };
    output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
}
