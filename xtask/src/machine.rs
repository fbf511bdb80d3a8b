//! The machine that a task runs on, and running programs there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};
use kiln_harness::scratch;

/// The folder of the workspace.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace").to_owned()
}

/// cargo, to be run in the folder of the workspace.
pub fn cargo() -> Command {
    // cargo sets the variable for what it runs, so that the same toolchain is used throughout.
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace_root());
    command
}

/// Builds the `kiln` executable that is tested and shown, and gives its path.
pub fn build_kiln() -> Result<PathBuf> {
    run(cargo().args(["build", "--release", "--package", "kiln"]))?;
    Ok(scratch::target_folder().join("release/kiln"))
}

/// Arguments by which cargo turns the feature `native-zfs` on and compiles little again. All dependencies of the workspace with
/// an end-to-end test, in the profile of tests, are those of the tests that have run before.
pub const NATIVE_ZFS: [&str; 5] = ["--workspace", "--features", "kiln/native-zfs", "--test", "native_zfs"];

/// Builds a `kiln` executable with the feature `native-zfs`, and gives its path. It is a copy: whoever builds kiln without the
/// feature overwrites what cargo has left.
pub fn build_native_kiln() -> Result<PathBuf> {
    run(cargo().arg("build").args(NATIVE_ZFS).args(["--bin", "kiln"]))?;
    let folder = scratch::target_folder().join("native-zfs");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let copy = folder.join("kiln");
    // Removed first: a test of another run may still have it open, or share it with a guest.
    let _ = fs::remove_file(&copy);
    fs::copy(scratch::target_folder().join("debug/kiln"), &copy).context("cannot copy kiln")?;
    Ok(copy)
}

/// The code name of the Debian release that this machine runs, such as `bookworm`.
pub fn debian_codename() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    codename_of(&text).context("this needs Debian: /etc/os-release names another system or no release")
}

fn codename_of(os_release: &str) -> Option<String> {
    let field = |name: &str| {
        os_release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    field("VERSION_CODENAME").filter(|_| field("ID").as_deref() == Some("debian"))
}

/// Does `work` for every item, as many at once as there are cores, tells of each that fails, and gives the names of those, sorted.
pub fn at_once<'a, T: Sync>(
    items: &'a [T],
    name: impl Fn(&'a T) -> &'a str + Sync,
    work: impl Fn(&'a T) -> Result<()> + Sync,
) -> Vec<&'a str> {
    let waiting = Mutex::new(items.iter());
    let failed = Mutex::new(Vec::new());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(item) = next() {
                    if let Err(error) = work(item) {
                        eprintln!("--- {}: {error:#}", name(item));
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(name(item));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_unstable();
    failed
}

/// Runs `command` with this process's terminal and fails unless it succeeds.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    if !status.success() {
        bail!("{} failed: {status}", command.get_program().to_string_lossy());
    }
    Ok(())
}

/// Runs `command` and gives its standard output, whatever its exit status, with whether it succeeded.
pub fn capture(command: &mut Command) -> Result<(bool, String)> {
    let output = command
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .output()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_items_have_their_turn_and_those_that_fail_are_named() {
        let done = Mutex::new(Vec::new());
        let names = ["c", "b", "a"];
        let failed = at_once(
            &names,
            |name| name,
            |name| {
                done.lock().unwrap().push(*name);
                if *name == "b" { Ok(()) } else { bail!("it is not b") }
            },
        );
        assert_eq!(failed, ["a", "c"]);
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, ["a", "b", "c"]);
    }

    #[test]
    fn the_release_is_read_only_on_debian() {
        let debian = "ID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(codename_of(debian).as_deref(), Some("bookworm"));
        assert_eq!(codename_of("ID=\"debian\"\nVERSION_CODENAME=\"trixie\"\n").as_deref(), Some("trixie"));
        assert_eq!(codename_of("ID=fedora\nVERSION_CODENAME=\"\"\n"), None);
        assert_eq!(codename_of("ID=debian\n"), None);
    }
}
