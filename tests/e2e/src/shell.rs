//! What a shell makes of `/usbkey/config`, which the platform's scripts have one evaluate, as root.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

use kiln_harness::{scratch, tools};

/// The shells: that of Debian's `sh`, and that of the platform's scripts.
const SHELLS: [&str; 2] = ["dash", "bash"];

/// The work of `load_sdc_config`, as lib/sdc/config.sh does it on every platform (smartos-live `overlay/generic`, later
/// illumos-joyent usr/src/cmd/svc/milestone): lines without their leading blanks, of these the ones that begin with a letter,
/// `CONFIG_` before each, and all of them, joined by blanks, to `eval`. Then the variables, each ended by a zero byte.
const LOADER: &str = "set -a
eval $(sed -n -e 's/^ *//' -e '/^[a-zA-Z]/s/^/CONFIG_/p' config)
exec env -0";

/// What words in hostile metadata are to make, in the folder where the shell runs, if a shell evaluates them.
pub const CANARY: &str = "canary";

/// What is wrong when shells evaluate this file: files that come to be, output, errors, variables that are not what the file says.
/// Nothing after a loud skip where there is no such shell.
///
/// # Panics
/// The scratch folder cannot be used.
pub fn harm(config: &[u8]) -> Vec<String> {
    let shells = SHELLS.into_iter().filter_map(|name| Some((name, tools::require(name)?)));
    shells.flat_map(|(name, path)| harm_by(name, &path, config)).collect()
}

fn harm_by(name: &str, shell: &Path, config: &[u8]) -> Vec<String> {
    let folder = scratch::folder("shell");
    fs::write(folder.path().join("config"), config).expect("the scratch folder is writable");
    let output = Command::new(shell)
        .args(["-c", LOADER])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        .output()
        .expect("the shell starts");
    let mut harm = Vec::new();
    if !output.status.success() || !output.stderr.is_empty() {
        harm.push(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    for entry in fs::read_dir(folder.path()).expect("readable") {
        let made = entry.expect("readable").file_name();
        if made != "config" {
            harm.push(format!("{name}: there is a file {}", made.display()));
        }
    }
    let variables: BTreeMap<Vec<u8>, Vec<u8>> =
        output.stdout.split(|&byte| byte == 0).filter_map(assignment).collect();
    let lines = config.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_start);
    let said = lines.filter_map(assignment);
    let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (key, value) in said.filter(|(key, _)| key.first().is_some_and(u8::is_ascii_alphabetic)) {
        expected.insert([b"CONFIG_", &*key].concat(), value);
    }
    let found: BTreeMap<_, _> =
        variables.into_iter().filter(|(key, _)| key.starts_with(b"CONFIG_")).collect();
    if found != expected {
        harm.push(format!("{name}: the variables are {}", shown(&found)));
    }
    harm
}

fn assignment(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let at = line.iter().position(|&byte| byte == b'=')?;
    Some((line[..at].to_owned(), line[at + 1..].to_owned()))
}

fn shown(variables: &BTreeMap<Vec<u8>, Vec<u8>>) -> String {
    let text = |bytes: &Vec<u8>| std::ffi::OsString::from_vec(bytes.clone()).display().to_string();
    let words = variables.iter().map(|(key, value)| format!("{}={} ", text(key), text(value)));
    words.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_run_is_noticed() {
        assert_eq!(harm(b"# a comment; $(touch canary)\nadmin_nic=52:54:00:12:34:56\n  empty=\n"), [""; 0]);
        for line in [
            "hostname=a$(touch canary)",
            "hostname=`touch canary`",
            "hostname=a;touch canary",
            "hostname=a touch canary",
            "hostname=a\ntouch canary",
            "hostname=a|touch canary",
            "hostname=a&touch canary",
            "hostname=a>canary",
            "hostname=$PATH",
            "hostname=~",
            "hostname='a",
            "hostname=a\\b",
            "hostname=\"a\"",
        ] {
            if SHELLS.iter().any(|shell| tools::find(shell).is_some()) {
                assert_ne!(harm(line.as_bytes()), [""; 0], "{line}");
            }
        }
    }
}
