//! Edits to the account and driver tables of a boot archive, as functions from old text to new.

use anyhow::{Result, anyhow};

use crate::report::Hint;

/// What `/etc/shadow` holds for root in a retro image: nothing that a password could match, but not a locked account
/// either, so that keys work (source: illumos passwd(1), where `-N` makes such an entry and `-s` shows it as "NP";
/// locked ones begin with `*LK*`).
const NO_PASSWORD: &[u8] = b"NP";

/// What to do about an archive without a sensible root account.
const NOT_A_PLATFORM: &str = "every platform has the account root: download this one again, or mend the file that it \
     was built with";

/// `/etc/shadow` with root's password field set to `NP`; `None` when it is so already.
///
/// # Errors
/// The file has no line for root, or nothing follows the password field there.
pub fn lock_root_password(shadow: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut edited = Vec::with_capacity(shadow.len());
    let mut found = false;
    for (index, line) in shadow.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let mut fields = line.splitn(3, |&byte| byte == b':');
        match (fields.next(), fields.next(), fields.next()) {
            (Some(b"root"), Some(_), Some(rest)) => {
                found = true;
                edited.extend_from_slice(b"root:");
                edited.extend_from_slice(NO_PASSWORD);
                edited.push(b':');
                edited.extend_from_slice(rest);
            }
            (Some(b"root"), _, _) => {
                return Err(anyhow!("line {}, that of root, has too few fields", index + 1))
                    .hint(NOT_A_PLATFORM);
            }
            _ => edited.extend_from_slice(line),
        }
    }
    if !found {
        return Err(anyhow!("there is no line for root")).hint(NOT_A_PLATFORM);
    }
    Ok((edited != shadow).then_some(edited))
}

/// Whether `/etc/name_to_major` knows a driver, which is how a platform says that it has it.
pub fn has_driver(name_to_major: &[u8], driver: &str) -> bool {
    name_to_major.split(|&byte| byte == b'\n').any(|line| {
        line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()) == Some(driver.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_of_root_changes() {
        let shadow = b"daemon:NP:6445::::::\nroot:$5$x$y:6445::::::\nrootless:*:1\n";
        let edited = lock_root_password(shadow).unwrap().unwrap();
        assert_eq!(edited, b"daemon:NP:6445::::::\nroot:NP:6445::::::\nrootless:*:1\n");
        assert_eq!(lock_root_password(&edited).unwrap(), None);
    }

    #[test]
    fn a_shadow_without_root_is_an_error() {
        lock_root_password(b"").unwrap_err();
        lock_root_password(b"rooted:x:1\n").unwrap_err();
        lock_root_password(b"root\n").unwrap_err();
    }

    #[test]
    fn drivers_are_found_by_whole_names() {
        let table = b"cn 0\nvmmeter 7\n\n  vmm\t300\n";
        assert!(has_driver(table, "vmm"));
        assert!(!has_driver(table, "vm"));
        assert!(!has_driver(b"", "vmm"));
    }
}
