//! The walk of a build: every member is judged, and only what stays inside is shown.

use std::collections::HashMap;
use std::io::Read;

use tar::EntryType;

use super::entries::{Entries, Entry, Stream};
use super::paths::{clean, stays_inside};
use super::{Limits, SparseMap, TarError, TarProblem};

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file; the visitor gets its contents.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with its target as written, which has been proved to stay inside the archive's own tree.
    Symlink(String),
    /// Another name of the member with this path.
    HardLink(String),
}

/// One member of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Relative path without `.`, `..`, empty components or a trailing slash; never empty.
    pub path: String,
    /// What it is.
    pub kind: MemberKind,
    /// Bytes of contents; 0 for all but files.
    pub size: u64,
}

/// Walks `archive` (uncompressed) to its end and shows every member to `visit`, files with their contents.
///
/// The input is read to its very end, so that a checksum of a wrapping compression is verified too.
///
/// # Errors
/// The archive is damaged or holds what [`TarProblem`] lists; or the visitor failed.
pub fn walk<R: Read>(
    archive: R,
    limits: Limits,
    mut visit: impl FnMut(&Member, &mut dyn Read) -> anyhow::Result<()>,
) -> Result<(), TarError> {
    let mut entries = Entries::new(Stream(archive), limits);
    let mut seen: HashMap<String, String> = HashMap::new();
    while let Some(entry) = entries.advance()? {
        let here = |problem| entry.error(problem);
        let Some((path, kind)) = judge(&entry).map_err(here)? else { continue };
        if let Some(other) = seen.insert(path.to_lowercase(), path.clone())
            && !(kind == MemberKind::Directory && other == path)
        {
            return Err(here(TarProblem::Duplicate(other)));
        }
        // What lies behind the header of anything but a file is passed over, not shown.
        let map = if kind == MemberKind::File { entry.map.clone() } else { SparseMap::dense(0) };
        let member = Member { path, kind, size: map.size() };
        visit(&member, &mut entries.contents(map)).map_err(|error| here(TarProblem::Visitor(error)))?;
    }
    entries.finish()
}

/// The path and kind of a member that may pass; `None` for the archive's own root.
fn judge(entry: &Entry) -> Result<Option<(String, MemberKind)>, TarProblem> {
    let name = str::from_utf8(&entry.name).map_err(|_| TarProblem::BadName)?;
    let target = || String::from_utf8(entry.target()?).map_err(|_| TarProblem::BadName);
    let path = clean(name)?;
    let kind = match entry.kind() {
        EntryType::Regular | EntryType::Continuous if !name.ends_with('/') => MemberKind::File,
        EntryType::GNUSparse => MemberKind::File,
        // Old archives mark a directory by nothing but a slash at the end of a regular member's name.
        EntryType::Directory | EntryType::Regular => MemberKind::Directory,
        EntryType::Symlink => {
            let target = target()?;
            stays_inside(path.as_deref().unwrap_or(""), &target)?;
            MemberKind::Symlink(target)
        }
        EntryType::Link => {
            let target = target()?;
            match clean(&target) {
                Ok(Some(path)) => MemberKind::HardLink(path),
                _ => return Err(TarProblem::LinkLeadsOut(target)),
            }
        }
        other => return Err(TarProblem::UnexpectedType(other.as_byte() as char)),
    };
    Ok(path.map(|path| (path, kind)))
}
