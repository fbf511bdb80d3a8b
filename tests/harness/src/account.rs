//! Whose account a program runs under.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use crate::tools;

/// The user and group of nobody on every Linux: the numbers that the kernel itself gives to owners it cannot name.
pub const NOBODY: u32 = 65_534;

/// The effective user of this process.
///
/// # Panics
/// When `/proc` is not mounted.
pub fn user() -> u32 {
    // A process owns its own folder in /proc under its effective user.
    fs::metadata("/proc/self").expect("/proc is mounted").uid()
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    user() == 0
}

/// `program`, to be run without any privilege: under [`NOBODY`] and stripped of its capabilities when this process is
/// root's, and as it stands when it is not. The second value is the user whose files it will write.
///
/// Without setpriv, which root needs for that, the calling test has to return: the skip has been reported.
///
/// # Panics
/// When setpriv is needed and missing and `KILN_REQUIRE_TOOLS` is set.
pub fn unprivileged(program: &Path) -> Option<(Command, u32)> {
    if !is_root() {
        return Some((Command::new(program), user()));
    }
    let mut command = Command::new(tools::require("setpriv")?);
    command.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
    command.args(["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]).arg(program);
    // No home and no name of root's.
    command.env("HOME", "/nonexistent").env("USER", "nobody").env("LOGNAME", "nobody");
    Some((command, NOBODY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_not_root() {
        let id = tools::find("id").unwrap();
        let Some((mut command, user)) = unprivileged(&id) else { return };
        assert_ne!(user, 0);
        let said = command.arg("-u").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), user.to_string());
    }
}
