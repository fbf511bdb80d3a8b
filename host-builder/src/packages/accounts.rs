//! Users and groups that packages need, in the tables of the image.

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use kiln_zstream::fs::tree::Time;

use super::script::User;
use crate::report::Hint;
use crate::zone::accounts::Accounts;
use crate::zone::area::{Area, attributes};

/// Largest table, in bytes.
const TABLE: u64 = 4 << 20;
/// The first number that is given to anybody: those below belong to the system (illumos `useradd(8)`).
const FIRST: u32 = 100;
/// The numbers from here on are not counted as given: nobody and noaccess have them.
const SPECIAL: u32 = 60_000;

/// Adds a group unless it is there.
///
/// # Errors
/// It has another number, or the number is another group's.
pub(super) fn ensure_group(area: &mut Area<'_>, name: &str, number: Option<u32>, time: Time) -> Result<bool> {
    let accounts = Accounts::of(area)?;
    if !is_new(&accounts.groups, name, number, "group")? {
        return Ok(false);
    }
    let number = number.unwrap_or_else(|| next(accounts.groups.values()));
    append(area, b"etc/group", &format!("{name}::{number}:"), 0o644, time)?;
    Ok(true)
}

/// Adds a user unless it is there. What the package does not say about it comes from `defaults`, home and shell.
///
/// # Errors
/// It has another number, the number is another user's, or there is no such group.
pub(super) fn ensure_user(
    area: &mut Area<'_>,
    user: &User,
    package_base: &str,
    defaults: &(String, String),
    time: Time,
) -> Result<bool> {
    let accounts = Accounts::of(area)?;
    let User { name, group, .. } = user;
    if !is_new(&accounts.users, name, user.uid, "user")? {
        return Ok(false);
    }
    let gid = accounts.groups.get(group).copied();
    let gid =
        gid.ok_or_else(|| anyhow!("the user {name} is to be of the group {group}, which is not there"))?;
    let uid = user.uid.unwrap_or_else(|| next(accounts.users.values()));
    let described =
        if name == package_base { format!("{name} user") } else { format!("{package_base} {name} user") };
    let or = |given: &str, other: &str| if given.is_empty() { other.to_owned() } else { given.to_owned() };
    let description = or(&user.description, &described);
    let (home, shell) = (or(&user.home, &defaults.0), or(&user.shell, &defaults.1));
    if [&description, &home, &shell].iter().any(|field| field.contains([':', '\n', '\0'])) {
        bail!("the user {name} has a colon in its description, home or shell");
    }
    append(area, b"etc/passwd", &format!("{name}:x:{uid}:{gid}:{description}:{home}:{shell}"), 0o644, time)?;
    // Nobody logs in with a password, as of all users that useradd makes.
    append(area, b"etc/shadow", &format!("{name}:*LK*:::::::"), 0o400, time)?;
    Ok(true)
}

/// Whether a name is to be added.
fn is_new(
    table: &std::collections::BTreeMap<String, u32>,
    name: &str,
    number: Option<u32>,
    kind: &str,
) -> Result<bool> {
    let hint = "packages and image do not fit together: take packages of the image's own branch";
    if let Some(&known) = table.get(name) {
        return match number {
            Some(number) if number != known => {
                Err(anyhow!("the {kind} {name} is to have the number {number}, and has {known} in the image"))
                    .hint(hint)
            }
            _ => Ok(false),
        };
    }
    let taken = table.iter().find(|(_, known)| number == Some(**known));
    match taken {
        Some((other, known)) => {
            Err(anyhow!("the {kind} {name} is to have the number {known}, which {other} has in the image"))
                .hint(hint)
        }
        None => Ok(true),
    }
}

/// The number after the highest that was given, as `useradd` and `groupadd` of illumos choose; when there is none, the lowest that is
/// free.
fn next<'a>(numbers: impl Iterator<Item = &'a u32>) -> u32 {
    let given: BTreeSet<u32> = numbers.copied().collect();
    let after = given.range(..SPECIAL).next_back().map_or(FIRST, |&highest| (highest + 1).max(FIRST));
    if after < SPECIAL {
        after
    } else {
        (FIRST..SPECIAL).find(|number| !given.contains(number)).unwrap_or(SPECIAL)
    }
}

/// Adds a line at the end of a table.
fn append(area: &mut Area<'_>, path: &[u8], line: &str, permissions: u16, time: Time) -> Result<()> {
    let mut text = area.read(path, TABLE)?.unwrap_or_default();
    if text.last().is_some_and(|&last| last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(line.as_bytes());
    text.push(b'\n');
    area.write(path, attributes(permissions, 0, 3, time), text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_highest_that_was_given() {
        assert_eq!(next([0, 3, 60_001, 65_534].iter()), 100);
        assert_eq!(next([0, 105, 200, 60_001].iter()), 201);
        assert_eq!(next([100, 59_999].iter()), 101);
        assert_eq!(next([].iter()), 100);
    }
}
