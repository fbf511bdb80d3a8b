//! `/usbkey/config` as the platform's scripts read it: `load_sdc_config` of lib/sdc/config.sh (smartos-live `overlay/generic`,
//! later illumos-joyent usr/src/cmd/svc/milestone), the same 2013 to 2022.
//!
//! The shell's reader takes the lines that begin with a letter, puts `CONFIG_` before each and has the shell evaluate all of
//! them as one command. So a value with a character that means something to the shell is run: whoever writes such a value has
//! made a mistake, which is told here.

use std::collections::BTreeMap;
use std::fs;

use crate::World;

/// The configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<String, String>,
}

impl Config {
    /// Reads the texts one after the other, the last assignment winning. Also returns what the shell would have evaluated.
    pub fn read(texts: &[&str]) -> (Self, Vec<String>) {
        let mut config = Self::default();
        let mut evaluated = Vec::new();
        for line in texts.iter().flat_map(|text| text.split('\n')) {
            let line = line.trim_start_matches(' ');
            if !line.starts_with(|first: char| first.is_ascii_alphabetic()) {
                continue;
            }
            let assignment = line
                .split_once('=')
                .filter(|(key, _)| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
            match assignment.and_then(|(key, value)| Some((key, literal(value)?))) {
                Some((key, value)) => {
                    config.values.insert(key.to_owned(), value.to_owned());
                }
                None => evaluated.push(line.to_owned()),
            }
        }
        (config, evaluated)
    }

    /// The configuration of a machine: `/usbkey/config`, else `/mnt/usbkey/config`, else `/opt/smartdc/config/node.config`, with
    /// `config.inc/generic` beside it read first. Complains of what would be evaluated.
    pub fn of(world: &World) -> Self {
        let read = |path: &str| {
            fs::read(world.path(path)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        for (file, folder) in [
            ("/usbkey/config", "/usbkey"),
            ("/mnt/usbkey/config", "/mnt/usbkey"),
            ("/opt/smartdc/config/node.config", "/opt/smartdc/config"),
        ] {
            let Some(text) = read(file) else { continue };
            let generic = read(&format!("{folder}/config.inc/generic")).unwrap_or_default();
            let (config, evaluated) = Self::read(&[&generic, &text]);
            for line in evaluated {
                // A machine within one process has no file for complaints.
                let _ =
                    world.complain(&format!("{file}: the platform's shell would evaluate the line {line:?}"));
            }
            return config;
        }
        Self::default()
    }

    /// A value that is set and not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The tags: keys that end in `_nic`, with their device's address.
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().filter_map(|(key, value)| Some((key.strip_suffix("_nic")?, value.as_str())))
    }
}

/// What the shell makes of a value, if it is only that: without quotes and with nothing that means anything, or in one pair of
/// quotes with single blanks at most.
fn literal(value: &str) -> Option<&str> {
    let plain = |text: &str, more: &[u8]| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:,/@+-=%".contains(&byte);
        text.bytes().all(|byte| is_plain(byte) || more.contains(&byte))
    };
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return (plain(inner, b" ") && !inner.contains("  ")).then_some(inner);
        }
    }
    plain(value, b"").then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_assignment_of_a_letters_line_counts() {
        let generic = "ntp_hosts=pool.ntp.org\nadmin_ip=1.1.1.1\n";
        let text = "# comment\n  admin_ip=10.0.0.2\n_x=1\n1y=2\nadmin_nic=52:54:0:12:34:56\n\nroot_shadow='a/b'\nempty=\n";
        let (config, evaluated) = Config::read(&[generic, text]);
        assert!(evaluated.is_empty(), "{evaluated:?}");
        assert_eq!(config.get("admin_ip"), Some("10.0.0.2"));
        assert_eq!(config.get("root_shadow"), Some("a/b"));
        assert_eq!(config.get("ntp_hosts"), Some("pool.ntp.org"));
        assert_eq!(config.get("empty"), None);
        assert_eq!(config.tags().collect::<Vec<_>>(), [("admin", "52:54:0:12:34:56")]);
        assert!(config.keys().all(|key| !key.starts_with(['_', '1'])));
    }

    #[test]
    fn whatever_the_shell_would_run_is_told() {
        for line in [
            "hostname=$(reboot)",
            "hostname=`reboot`",
            "hostname=a;reboot",
            "hostname=a b",
            "hostname=a\tb",
            "hostname=$HOME",
            "hostname=\"$HOME\"",
            "hostname='a'b'",
            "hostname=*",
            "hostname=a&b",
            "hostname=a>b",
            "hostname=a\\b",
            "hostname=~root",
            "host-name=a",
            "reboot",
            "root_shadow=$5$salt$hash",
        ] {
            let (config, evaluated) = Config::read(&[line]);
            assert_eq!(evaluated, [line]);
            assert_eq!(config, Config::default());
        }
    }
}
