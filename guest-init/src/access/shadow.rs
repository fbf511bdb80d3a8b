//! `/etc/shadow`: root's password, and nobody else's.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result};

use crate::files::{self, Owner};

const SHADOW: &str = "/etc/shadow";

/// The longest that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// A password that no password matches; unlike `*LK*` it leaves logins by key alone.
pub const NO_PASSWORD: &str = "NP";

/// Root's line without a password, for a file that lacks it.
const ROOT: [&str; 2] = ["root", "6445::::::"];

/// Whether root's hash is this one.
pub fn is_root(hash: &str) -> Result<bool> {
    Ok(root_hash(&read()?).as_deref() == Some(hash.as_bytes()))
}

/// Whether there is a password with which root can log in.
pub fn has_root_password() -> Result<bool> {
    let hash = root_hash(&read()?).unwrap_or_default();
    let hash = String::from_utf8_lossy(&hash);
    Ok(hash != NO_PASSWORD && is_hash(&hash))
}

/// Gives root this hash. The file stays root's alone, and the other lines stay as they are.
pub fn set_root(hash: &str) -> Result<()> {
    let text = with_root_hash(&read()?, hash);
    let ids = match fs::metadata(SHADOW) {
        Ok(found) => (found.uid(), found.gid()),
        Err(_) => (0, 0),
    };
    files::replace(Path::new(SHADOW), &text, Owner { mode: 0o400, ids: Some(ids) })
        .with_context(|| format!("cannot write {SHADOW}"))
}

fn read() -> Result<Vec<u8>> {
    match files::read(Path::new(SHADOW), LONGEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.with_context(|| format!("cannot read {SHADOW}")),
    }
}

/// Whether this can be the hash of a password in the file: what crypt(3C) makes, or [`NO_PASSWORD`].
pub fn is_hash(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"./$=,-_".contains(&byte);
    let is_long_enough = text.starts_with('$') && text.matches('$').count() >= 3 && text.len() >= 12;
    text == NO_PASSWORD || (is_long_enough && text.len() <= 256 && text.bytes().all(is_digit))
}

/// Root's hash in this text.
pub fn root_hash(text: &[u8]) -> Option<Vec<u8>> {
    let line = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"root:"))?;
    line.split(|&byte| byte == b':').next().map(<[u8]>::to_vec)
}

/// The text with another hash in root's line, of which there is one afterwards.
pub fn with_root_hash(text: &[u8], hash: &str) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len() + hash.len() + 32);
    let mut is_there = false;
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        match line.strip_prefix(b"root:") {
            Some(_) if is_there => continue,
            Some(fields) => {
                is_there = true;
                let rest =
                    fields.iter().position(|&byte| byte == b':').map_or(&b":"[..], |colon| &fields[colon..]);
                written.extend_from_slice(b"root:");
                written.extend_from_slice(hash.as_bytes());
                written.extend_from_slice(rest);
            }
            None => written.extend_from_slice(line),
        }
        written.push(b'\n');
    }
    if is_there {
        return written;
    }
    let [name, rest] = ROOT;
    let mut with_root = format!("{name}:{hash}:{rest}\n").into_bytes();
    with_root.append(&mut written);
    with_root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_hash_of_root_changes() {
        let text = b"daemon:NP:6445::::::\nroot:NP:15000::99999::::\nrootless:x:1\n";
        let changed = with_root_hash(text, "$5$a$b");
        assert_eq!(changed, b"daemon:NP:6445::::::\nroot:$5$a$b:15000::99999::::\nrootless:x:1\n");
        assert_eq!(root_hash(&changed), Some(b"$5$a$b".to_vec()));
        assert_eq!(with_root_hash(b"root", "NP"), b"root:NP:6445::::::\nroot\n");
        assert_eq!(with_root_hash(b"root:", "NP"), b"root:NP:\n");
        assert_eq!(with_root_hash(b"", "NP"), b"root:NP:6445::::::\n");
    }

    #[test]
    fn what_is_no_hash() {
        let good = "$5$2HOHRnK3$NvLlm.1KQBbB0WjoP7xcIwGnllhzp2HnT.mDO7DpxYA";
        assert!(is_hash(good) && is_hash("NP") && is_hash("$2a$10$abcdefghijklmnopqrstuv"));
        for bad in
            ["", "root", "*LK*", "$5$a:b$cccccccc", "$5$a$b\nx:y", "$5$", "$5$salt$", "$5$a b$cccccccccc"]
        {
            assert!(!is_hash(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_file_keeps_its_other_lines(text in "([a-z]{0,5}|root)(:[a-zA-Z*]{0,4}){0,3}(\n([a-z]{0,5}|root)(:[a-z]{0,4}){0,3}){0,6}\n?") {
            let changed = with_root_hash(text.as_bytes(), "NP");
            prop_assert_eq!(root_hash(&changed), Some(b"NP".to_vec()));
            prop_assert_eq!(with_root_hash(&changed, "NP"), changed.clone());
            let others = |text: &[u8]| -> Vec<Vec<u8>> {
                text.split(|&byte| byte == b'\n')
                    .filter(|line| !line.is_empty() && !line.starts_with(b"root:"))
                    .map(<[u8]>::to_vec)
                    .collect()
            };
            prop_assert_eq!(others(text.as_bytes()), others(&changed));
        }
    }
}
