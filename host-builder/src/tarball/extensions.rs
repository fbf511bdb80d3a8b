//! What extension records say about the member behind them: GNU's long names, and pax attributes.

use tar::{EntryType, PaxExtensions};

use super::{PATH_LIMIT, TarProblem};

/// Longest extension record that is read into memory, in bytes.
pub(super) const RECORD_LIMIT: u64 = 1 << 20;

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
    /// Last modification, seconds since 1970, without the fraction.
    pub mtime: Option<i64>,
    /// Whether the contents are a sparse file in GNU's pax forms, which are shown as they are stored.
    pub pax_sparse: bool,
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
        for record in PaxExtensions::new(&data) {
            let record = record.map_err(TarProblem::Unreadable)?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => self.path = Some(bounded(value)?),
                b"linkpath" => self.link = Some(bounded(value)?),
                b"size" => self.size = Some(number(value, "a size")?),
                b"uid" => self.uid = Some(number(value, "an owner")?),
                b"gid" => self.gid = Some(number(value, "a group")?),
                b"mtime" => {
                    let whole = value.split(|&byte| byte == b'.').next().unwrap_or_default();
                    self.mtime = Some(number(whole, "a time")?);
                }
                key if key.starts_with(b"GNU.sparse.") => self.pax_sparse = true,
                _ => {}
            }
        }
        Ok(())
    }
}

fn bounded(path: &[u8]) -> Result<Vec<u8>, TarProblem> {
    if path.len() > PATH_LIMIT { Err(TarProblem::BadName) } else { Ok(path.to_vec()) }
}

fn number<N: std::str::FromStr>(value: &[u8], what: &'static str) -> Result<N, TarProblem> {
    let text = str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        // A record may be long; its beginning tells enough.
        let shown = &value[..value.len().min(40)];
        TarProblem::BadNumber { what, value: String::from_utf8_lossy(shown).into_owned() }
    })
}
