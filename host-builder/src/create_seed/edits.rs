//! What a zone has differently from the global zone: files that go, accounts that go, and an order (source: imagetools,
//! `create-seed`).

use anyhow::{Context, Result};
use kiln_zstream::fs::tree::Time;

use crate::report::Hint;
use crate::retro::accounts::lock_root_password;
use crate::zone::area::{Area, attributes};

/// Largest text that is edited, in bytes.
const TEXT_LIMIT: u64 = 4 << 20;

/// Files that are the global zone's alone.
const REMOVED: [&str; 2] = ["etc/issue", "etc/cron.d/crontabs/root"];

/// Accounts that packages of pkgsrc make for themselves, with numbers of their own.
const CLASHING: [&str; 6] = ["lp", "gdm", "mysql", "openldap", "webservd", "postgres"];

/// Accounts with rights of their own that zones do not have.
const PRIVILEGED: [&str; 2] = ["lp", "admin"];

/// A function from the text of a file to a new one.
type Edit = fn(&[u8]) -> Vec<u8>;

/// Files and what is done to their text. Those that are not there are left so.
const EDITS: [(&str, Edit); 5] = [
    ("etc/profile", without_i386),
    ("etc/passwd", |text| sorted_by_number(&without(text, &CLASHING))),
    ("etc/group", |text| sorted_by_number(&without(text, &CLASHING))),
    ("etc/shadow", |text| without(text, &CLASHING)),
    ("etc/user_attr", |text| without(text, &PRIVILEGED)),
];

/// Makes the edits. Says in a few words what they were.
///
/// # Errors
/// A file cannot be read, or there is no sensible account root.
pub fn apply(area: &mut Area<'_>, time: Time) -> Result<String> {
    let mut changed = Vec::new();
    for path in scripts(area).iter().map(String::as_str).chain(REMOVED) {
        if area.remove(path.as_bytes()) {
            changed.push(format!("no /{path}"));
        }
    }
    for (path, edit) in EDITS {
        let text = read(area, path)?;
        if let Some(text) = text {
            let edited = edit(&text);
            if edited != text {
                area.write(path.as_bytes(), attributes(0o644, 0, 0, time), edited)?;
                changed.push(format!("/{path}"));
            }
        }
    }
    // The password of a platform is printed in its tarball, and an empty one is none.
    if let Some(shadow) = read(area, "etc/shadow")?
        && let Some(locked) = lock_root_password(&shadow).context("cannot edit /etc/shadow")?
    {
        area.write(b"etc/shadow", attributes(0o400, 0, 0, time), locked)?;
        changed.push("no password of root".to_owned());
    }
    Ok(changed.join(", "))
}

fn read(area: &Area<'_>, path: &str) -> Result<Option<Vec<u8>>> {
    area.read(path.as_bytes(), TEXT_LIMIT)
        .with_context(|| format!("cannot read /{path}"))
        .hint("what the seed is made from is damaged: get it again")
}

/// The scripts that init would run in the second run level, which all belong to the global zone.
fn scripts(area: &Area<'_>) -> Vec<String> {
    let folder = area.find(b"etc/rc2.d");
    let names = folder.into_iter().flat_map(|folder| area.tree.entries(folder));
    let scripts =
        names.filter_map(|(name, _)| std::str::from_utf8(name).ok()).filter(|name| name.starts_with('S'));
    scripts.map(|name| format!("etc/rc2.d/{name}")).collect()
}

/// A table without the lines of these accounts.
fn without(text: &[u8], accounts: &[&str]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let name = line.split(|&byte| byte == b':' || byte == b'\n').next().unwrap_or_default();
        if !accounts.iter().any(|account| account.as_bytes() == name) {
            kept.extend_from_slice(line);
        }
    }
    kept
}

/// A table sorted by the number in the third field, as `sort -t: -k3,3n` in the C locale: lines of one number by their bytes, and
/// those without one first.
fn sorted_by_number(text: &[u8]) -> Vec<u8> {
    let number = |line: &[u8]| {
        let field = line.split(|&byte| byte == b':').nth(2).unwrap_or_default();
        std::str::from_utf8(field).ok().and_then(|field| field.trim().parse::<i64>().ok()).unwrap_or(0)
    };
    let mut lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    // What follows the last end of line is no line.
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines.sort_by(|a, b| number(a).cmp(&number(b)).then_with(|| a.cmp(b)));
    lines.into_iter().flat_map(|line| [line, b"\n"]).flatten().copied().collect()
}

/// The profile of logins with `uname` in the place of `/bin/i386`, a program that later platforms do not have.
fn without_i386(text: &[u8]) -> Vec<u8> {
    const OLD: &[u8] = b"/bin/i386";
    const NEW: &[u8] = b"[ \"`uname -p`\" = i386 ]";
    let mut edited = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(OLD.len()).position(|window| window == OLD) {
        edited.extend_from_slice(&rest[..at]);
        edited.extend_from_slice(NEW);
        rest = &rest[at + OLD.len()..];
    }
    edited.extend_from_slice(rest);
    edited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_lose_accounts_and_get_an_order() {
        let passwd = b"root:x:0:0::/root:/bin/sh\nlp:x:71:8::/:\nwww:x:80:80::/:\nadm:x:4:4::/:\nlpx:x:9:9::/:\nbin:x:2:2::/:";
        let edited = sorted_by_number(&without(passwd, &CLASHING));
        let expected =
            b"root:x:0:0::/root:/bin/sh\nbin:x:2:2::/:\nadm:x:4:4::/:\nlpx:x:9:9::/:\nwww:x:80:80::/:\n";
        assert_eq!(edited.escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!(sorted_by_number(b"b::5:\na::5:\nnone\n"), b"none\na::5:\nb::5:\n");
        assert_eq!(sorted_by_number(b""), b"");
    }

    #[test]
    fn the_profile_asks_uname() {
        let text = b"if /bin/i386\nthen\n";
        assert_eq!(without_i386(text), b"if [ \"`uname -p`\" = i386 ]\nthen\n");
        assert_eq!(without_i386(b"plain\n"), b"plain\n");
    }
}
