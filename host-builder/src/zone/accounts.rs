//! Owners by name: the accounts of an image, which are not those of the machine that builds it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};

use super::area::Area;
use crate::report::Hint;

/// Largest table of accounts that is read, in bytes.
const TABLE_LIMIT: u64 = 4 << 20;

/// The tables `/etc/passwd` and `/etc/group` of an image as numbers by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Numbers of users.
    pub users: BTreeMap<String, u32>,
    /// Numbers of groups.
    pub groups: BTreeMap<String, u32>,
}

impl Accounts {
    /// Reads the tables of a zone's root.
    ///
    /// # Errors
    /// One of them is missing, too large, or has a line that is none.
    pub fn of(area: &Area<'_>) -> Result<Self> {
        let table = |path: &str| {
            let text = area
                .read(path.as_bytes(), TABLE_LIMIT)
                .with_context(|| format!("cannot read /{path} of the image"))?
                .ok_or_else(|| anyhow!("there is no /{path} in the image"))
                .hint(
                    "owners by name need the image's own tables of accounts; give numbers, or add the file",
                )?;
            parse(&text).with_context(|| format!("/{path} of the image"))
        };
        Ok(Self { users: table("etc/passwd")?, groups: table("etc/group")? })
    }

    /// The number of a user, given by name or as a number.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.users.get(name).copied().or_else(|| name.parse().ok())
    }

    /// The number of a group, given by name or as a number.
    pub fn gid(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied().or_else(|| name.parse().ok())
    }
}

/// Names and numbers of a table: the first and the third field of each line (source: illumos passwd(5) and group(5)). Of two lines of
/// one name the first counts, as it does to those who look names up.
fn parse(text: &[u8]) -> Result<BTreeMap<String, u32>> {
    let mut numbers = BTreeMap::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        // Lines of + and - are those of a name service.
        if line.is_empty() || line.starts_with(b"#") || line.starts_with(b"+") || line.starts_with(b"-") {
            continue;
        }
        let bad = || anyhow!("line {} is none of a table of accounts", index + 1);
        let line = std::str::from_utf8(line).map_err(|_| bad())?;
        let mut fields = line.split(':');
        let (name, number) = (fields.next().unwrap_or_default(), fields.nth(1));
        let number = number.and_then(|number| number.parse().ok()).ok_or_else(bad)?;
        numbers.entry(name.to_owned()).or_insert(number);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_the_numbers_of_the_image() {
        let users = parse(b"root:x:0:0::/root:/bin/sh\n# no\n+\nwww:x:80:80::/:\nwww:x:81:80::/:\n").unwrap();
        let accounts = Accounts { users, groups: parse(b"root::0:\nstaff::10:www\n").unwrap() };
        assert_eq!(accounts.uid("www"), Some(80));
        assert_eq!(accounts.uid("1234"), Some(1234));
        assert_eq!(accounts.uid("nobody"), None);
        assert_eq!(accounts.gid("staff"), Some(10));
        assert_eq!(
            parse(b"root:x:0\nbroken\n").unwrap_err().to_string(),
            "line 2 is none of a table of accounts"
        );
        parse(b"root:x:-1:\n").unwrap_err();
        parse(b"\xff:x:1:\n").unwrap_err();
    }
}
