//! cargo inside a build script, a test or a task of xtask.

use std::env;
use std::ffi::OsStr;
use std::process::Command;

/// Variables that survive: where the toolchains and downloaded crates are, and how to reach the registry.
const KEPT: &[&str] = &[
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "RUSTUP_",
];

/// cargo for a build of its own: nothing that the outer build has set reaches it, and neither do flags and wrappers of
/// the user, so that it makes the same things for everybody. The caller names a target folder, because the outer cargo
/// may hold the lock of the usual one.
pub fn nested() -> Command {
    // cargo sets the variable for what it runs, so that the same toolchain is used throughout.
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        if is_cleared(&name) {
            command.env_remove(&name);
        }
    }
    command
}

fn is_cleared(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let of_the_toolchain = name.starts_with("CARGO") || name.starts_with("RUST");
    of_the_toolchain && !KEPT.iter().any(|kept| name.starts_with(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_and_the_toolchain_stays() {
        let cleared = |name: &str| is_cleared(OsStr::new(name));
        for name in ["CARGO", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "RUSTFLAGS", "RUSTC_WRAPPER"] {
            assert!(cleared(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "PATH"] {
            assert!(!cleared(name), "{name}");
        }
    }
}
