//! The repository of services that a seed begins with.
//!
//! kiln does not write repositories; one that is there goes in as it is, and what is to be other goes beside it
//! ([`crate::smf::site`]). A zone of the brand `joyent` starts with the repository in its image (source: smartos-live, the brands'
//! `README.smf`).

use std::path::Path;

use anyhow::{Result, anyhow};

use super::origin::Origin;
use crate::report::Hint;

/// Where it goes.
pub const PATH: &str = "etc/svc/repository.db";

/// The seed of zones that illumos delivers.
const NONGLOBAL: &str = "lib/svc/seed/nonglobal.db";
/// The repository that platforms since 2012 have for zones of the brand `joyent-minimal` (smartos-live, `tools/build_seeds`). In it
/// the import of manifests is off.
const MINIMAL: &str = "usr/lib/brand/joyent-minimal/repository.db";

/// Largest repository that is read, in bytes; real ones have up to 5,000,000.
const LIMIT: u64 = 64 << 20;

/// What every SQLite 2 file begins with; a number follows that tells the byte order, here that of SmartOS' machines (SQLite 2.8,
/// `src/btree.c`).
pub const MAGIC: &[u8; 48] = b"** This file contains an SQLite 2.1 database **\0";
/// That number.
pub const ORDER: [u8; 4] = 0xdae3_7528_u32.to_le_bytes();
/// Bytes of a page.
pub const PAGE: usize = 1024;

/// A repository, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Where it is from.
    pub place: String,
    /// Whether it is the one of the minimal brand, which imports no manifests by itself.
    pub minimal: bool,
}

/// The repository that is given, or else the one that an origin has for zones.
///
/// # Errors
/// There is none, or it is none.
pub fn find(given: Option<&Path>, origin: &dyn Origin) -> Result<Repository> {
    let repository = if let Some(path) = given {
        Repository {
            bytes: super::read_host_file(path, LIMIT)?,
            place: path.display().to_string(),
            minimal: false,
        }
    } else {
        let found = |path, minimal| {
            let found = origin.file(path, LIMIT)?;
            anyhow::Ok(found.map(|(bytes, place)| Repository { bytes, place, minimal }))
        };
        let found = match found(NONGLOBAL, false)? {
            None => found(MINIMAL, true)?,
            found => found,
        };
        found
            .ok_or_else(|| {
                let name = origin.name();
                anyhow!("{name} has no repository of services for zones: neither /{NONGLOBAL} nor /{MINIMAL}")
            })
            .hint("give one with --smf-repository FILE, such as the /etc/svc/repository.db of a zone that was never booted")?
    };
    check(&repository.bytes)
        .map_err(|problem| anyhow!("{} is no repository of services: {problem}", repository.place))
        .hint("a repository is a file of SQLite 2, as svc.configd keeps it in /etc/svc/repository.db")?;
    Ok(repository)
}

/// Whether bytes are a database as svc.configd has them, as far as its first page and its length tell.
fn check(bytes: &[u8]) -> Result<(), String> {
    if bytes.starts_with(b"SQLite format 3\0") {
        return Err("it is a database of SQLite 3".to_owned());
    }
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        return Err("it is no database of SQLite 2".to_owned());
    };
    if !rest.starts_with(&ORDER) {
        return Err("it was written in the byte order of another kind of machine".to_owned());
    }
    if !bytes.len().is_multiple_of(PAGE) {
        return Err(format!(
            "its {} bytes are no whole number of pages of {PAGE}: it is cut off",
            bytes.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_databases_of_sqlite_2_are_repositories() {
        let mut good = [&MAGIC[..], &ORDER].concat();
        good.resize(2 * PAGE, 0);
        assert_eq!(check(&good), Ok(()));
        let mut other = good.clone();
        other[48..52].reverse();
        assert!(check(&other).unwrap_err().contains("byte order"));
        assert!(check(&good[..=PAGE]).unwrap_err().contains("1025 bytes"));
        assert!(check(&good[..50]).unwrap_err().contains("byte order"));
        assert!(check(b"").unwrap_err().contains("no database"));
        assert!(check(b"SQLite format 3\0").unwrap_err().contains("SQLite 3"));
    }
}
