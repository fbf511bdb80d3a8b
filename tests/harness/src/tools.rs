//! Foreign programs that judge kiln's output.

use std::env;
use std::path::{Path, PathBuf};

/// Folders that hold administrators' programs. A user's `PATH` often leaves them out, and most of what looks at
/// file systems is there.
const SYSTEM_FOLDERS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The environment variable that forbids skipping.
pub const REQUIRE: &str = "KILN_REQUIRE_TOOLS";

/// The environment variable that names the `kiln` executable under test.
pub const KILN_BIN: &str = "KILN_BIN";

/// The environment variable that names the executable of kiln's development commands.
pub const XTASK_BIN: &str = "KILN_XTASK_BIN";

/// Finds the program `name` in `PATH` and in the folders of administrators' programs.
///
/// Without it the calling test has to return: the skip has been reported on the standard error.
///
/// # Panics
/// When the program is missing and `KILN_REQUIRE_TOOLS` is set.
pub fn require(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        missing(&format!("the program {name}"));
    }
    found
}

/// Finds the program `name` and says nothing if it is missing.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Finds the `kiln` executable that `KILN_BIN` names; `cargo xtask test` builds it and sets the variable.
///
/// # Panics
/// When the variable names no file, and when it is not set but `KILN_REQUIRE_TOOLS` is.
pub fn kiln() -> Option<PathBuf> {
    named_by(KILN_BIN)
}

/// Finds the executable of kiln's development commands that `KILN_XTASK_BIN` names; `cargo xtask test` sets the variable.
///
/// # Panics
/// As [`kiln`].
pub fn xtask() -> Option<PathBuf> {
    named_by(XTASK_BIN)
}

fn named_by(variable: &str) -> Option<PathBuf> {
    let Some(path) = env::var_os(variable).map(PathBuf::from) else {
        missing(&format!("{variable}, an executable to test (`cargo xtask test` sets it)"));
        return None;
    };
    assert!(is_executable(&path), "{variable} is {}, which is no executable file", path.display());
    Some(path)
}

/// Reports that something a test needs is missing, so that the test has to be skipped.
///
/// # Panics
/// When `KILN_REQUIRE_TOOLS` is set: nothing may be skipped then.
pub fn missing(what: &str) {
    assert!(env::var_os(REQUIRE).is_none(), "{REQUIRE} is set, and {what} is missing");
    let current = std::thread::current();
    let test = current.name().unwrap_or("a test");
    // The test runner hides what `eprintln!` prints in tests that pass, and a skip has to be seen.
    let line = format!("\n*** SKIPPED {test}: {what} is missing ***\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name() {
        let shell = find("sh").unwrap();
        assert!(shell.is_absolute() && shell.ends_with("sh"), "{}", shell.display());
        assert_eq!(find("no-such-program-anywhere"), None);
    }

    #[test]
    fn a_file_that_cannot_be_executed_is_no_program() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_executable(file.path()));
        assert!(!is_executable(Path::new("/usr")));
    }
}
