//! What extension records say about the member behind them: GNU's long names, and pax attributes.

use std::collections::BTreeMap;
use std::io;

use tar::EntryType;

use super::sparse::PaxSparse;
use super::{PATH_LIMIT, TarProblem};

/// Longest extension record that is read into memory, in bytes.
pub(super) const RECORD_LIMIT: u64 = 1 << 20;

/// What keywords of extended attributes begin with (source: star's manual star(5), "SCHILY.xattr").
pub const EXTENDED: &[u8] = b"SCHILY.xattr.";

/// What keywords about sparse files begin with (source: GNU tar's manual, "Storing Sparse Files").
const SPARSE: &[u8] = b"GNU.sparse.";

/// Attributes that take the place of those in the header.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    /// The path.
    pub path: Option<Vec<u8>>,
    /// A link's target.
    pub link: Option<Vec<u8>>,
    /// Bytes of contents in the archive.
    pub size: Option<u64>,
    /// Owner's number.
    pub uid: Option<u32>,
    /// Group's number.
    pub gid: Option<u32>,
    /// Owner's name.
    pub uname: Option<Vec<u8>>,
    /// Group's name.
    pub gname: Option<Vec<u8>>,
    /// Last modification, seconds since 1970, without the fraction.
    pub mtime: Option<i64>,
    /// Its fraction in nanoseconds.
    pub nanoseconds: u32,
    /// Major number of a device.
    pub major: Option<u32>,
    /// Minor number of a device.
    pub minor: Option<u32>,
    /// Extended attributes by name, as star and GNU tar write them.
    pub extended: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What makes a sparse file of the contents.
    pub(super) sparse: Option<PaxSparse>,
}

impl Extensions {
    /// Whether members of this type are extension records.
    pub(super) fn is_record(kind: EntryType) -> bool {
        kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions()
            // Solaris' own extended headers have the form of pax records.
            || kind.as_byte() == b'X'
    }

    /// Takes in the contents of one record.
    pub(super) fn take(&mut self, kind: EntryType, mut data: Vec<u8>) -> Result<(), TarProblem> {
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            while data.last() == Some(&0) {
                data.pop();
            }
            let field = if kind.is_gnu_longname() { &mut self.path } else { &mut self.link };
            *field = Some(bounded(&data)?);
            return Ok(());
        }
        // Global records hold comments in practice (git writes the commit there).
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        let mut rest = &data[..];
        while let Some((key, value)) = next_record(&mut rest)? {
            match key {
                b"path" => self.path = Some(bounded(value)?),
                b"linkpath" => self.link = Some(bounded(value)?),
                b"size" => self.size = Some(number(value, "a size")?),
                b"uid" => self.uid = Some(number(value, "an owner")?),
                b"gid" => self.gid = Some(number(value, "a group")?),
                b"uname" => self.uname = Some(value.to_vec()),
                b"gname" => self.gname = Some(value.to_vec()),
                b"mtime" => {
                    let (seconds, nanoseconds) = time(value)?;
                    (self.mtime, self.nanoseconds) = (Some(seconds), nanoseconds);
                }
                b"SCHILY.devmajor" | b"SUN.devmajor" => self.major = Some(number(value, "a device")?),
                b"SCHILY.devminor" | b"SUN.devminor" => self.minor = Some(number(value, "a device")?),
                key if key.starts_with(EXTENDED) => {
                    self.extended.insert(unquoted(&key[EXTENDED.len()..]), value.to_vec());
                }
                key if key.starts_with(SPARSE) => {
                    self.sparse.get_or_insert_default().take(&key[SPARSE.len()..], value)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Keyword and value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// The next of the records `LENGTH KEY=VALUE` in pax form, whose length counts everything up to the end of line behind it: values may
/// have ends of line of their own. `None` at the end, or where padding begins.
fn next_record<'a>(rest: &mut &'a [u8]) -> Result<Option<Record<'a>>, TarProblem> {
    let data = *rest;
    if matches!(data.first(), None | Some(0 | b'\n')) {
        return Ok(None);
    }
    let cut = || {
        let blank = data.iter().take(20).position(|&byte| byte == b' ')?;
        let length: usize = str::from_utf8(&data[..blank]).ok()?.parse().ok()?;
        let record = data.get(blank + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        Some((&record[..equals], &record[equals + 1..], length))
    };
    let damaged = || TarProblem::Unreadable(io::Error::other("malformed pax extension"));
    let (key, value, length) = cut().ok_or_else(damaged)?;
    *rest = &data[length..];
    Ok(Some((key, value)))
}

/// Seconds and nanoseconds of a time such as `12.5`; those before 1970 are `-12.5`.
fn time(value: &[u8]) -> Result<(i64, u32), TarProblem> {
    let mut parts = value.splitn(2, |&byte| byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let seconds: i64 = number(whole, "a time")?;
    let mut digits = parts.next().unwrap_or_default().to_vec();
    digits.resize(9, b'0');
    let nanoseconds: u32 = number(&digits, "a time")?;
    Ok(if whole.starts_with(b"-") && nanoseconds > 0 {
        (seconds.saturating_sub(1), 1_000_000_000 - nanoseconds)
    } else {
        (seconds, nanoseconds)
    })
}

/// The name of an extended attribute from a keyword, in which GNU tar writes `=` as `%3D` and `%` as `%25`.
fn unquoted(keyword: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(keyword.len());
    let mut rest = keyword;
    while let [first, tail @ ..] = rest {
        let byte;
        (byte, rest) = match tail {
            [b'3', b'D' | b'd', tail @ ..] if *first == b'%' => (b'=', tail),
            [b'2', b'5', tail @ ..] if *first == b'%' => (b'%', tail),
            tail => (*first, tail),
        };
        name.push(byte);
    }
    name
}

pub(super) fn bounded(path: &[u8]) -> Result<Vec<u8>, TarProblem> {
    if path.len() > PATH_LIMIT { Err(TarProblem::BadName) } else { Ok(path.to_vec()) }
}

pub(super) fn number<N: std::str::FromStr>(value: &[u8], what: &'static str) -> Result<N, TarProblem> {
    let text = str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        // A record may be long; its beginning tells enough.
        let shown = &value[..value.len().min(40)];
        TarProblem::BadNumber { what, value: String::from_utf8_lossy(shown).into_owned() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions() {
        for (text, parsed) in [
            ("12", (12, 0)),
            ("12.5", (12, 500_000_000)),
            ("0.000000001", (0, 1)),
            ("-1.25", (-2, 750_000_000)),
            ("-0.5", (-1, 500_000_000)),
            ("-3", (-3, 0)),
            ("1.0000000019", (1, 1)),
        ] {
            assert_eq!(time(text.as_bytes()).unwrap(), parsed, "{text}");
        }
        for text in ["", "x", "1.x", "--1"] {
            assert!(time(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn values_may_have_ends_of_line() {
        let mut extensions = Extensions::default();
        let data = b"29 SCHILY.xattr.user.a=1\n2=3\n12 uname=bob\n\0\0".to_vec();
        extensions.take(EntryType::XHeader, data).unwrap_err();
        let data = b"28 SCHILY.xattr.user.a=1\n2=\n13 uname=bob\n\0\0".to_vec();
        extensions.take(EntryType::XHeader, data).unwrap();
        assert_eq!(extensions.extended[&b"user.a"[..]], b"1\n2=");
        assert_eq!(extensions.uname.as_deref(), Some(&b"bob"[..]));
        for data in ["5 a\n", "99 a=b\n", "x a=b\n", "5 a=bc\n", "2 a=b\n", "7"] {
            assert!(extensions.take(EntryType::XHeader, data.into()).is_err(), "{data}");
        }
    }

    #[test]
    fn names_of_attributes_are_quoted() {
        assert_eq!(unquoted(b"user.a%3Db%25c%d%"), b"user.a=b%c%d%");
    }
}
