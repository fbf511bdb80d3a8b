//! Who uses what: folders, files, users and groups that several packages share, counted by files.
//!
//! pkgsrc's scripts keep a folder for each such thing below `PKG_REFCOUNT_DBDIR` (`dirs/PATH`, `files/PATH`, `users/NAME`,
//! `groups/NAME`) with a file for each package that uses it, which holds the folder of that package in the database. A file
//! `+PREEXISTING` says that the thing was there before the first of them, `+PERMISSIONS` what its owner and mode are to be
//! (`mk/pkginstall/dirs`, `files`, `usergroup`). Modes of single files and shells are not counted.

use anyhow::Result;
use kiln_zstream::fs::tree::{Kind, Time};

use super::database::{Database, put};
use super::packing_list::below;
use crate::zone::area::Area;

/// Largest file of the database of references, in bytes.
const TOKEN: u64 = 1 << 20;

/// What kind of thing is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shared<'a> {
    /// A folder by its absolute path.
    Folder(&'a [u8]),
    /// A file by its absolute path.
    File(&'a [u8]),
    /// A user.
    User(&'a str),
    /// A group.
    Group(&'a str),
}

/// How it is with a thing that one package does not use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The package had not used it.
    Unknown,
    /// Others use it.
    InUse,
    /// Nobody uses it; it was there before packages did.
    Preexisting,
    /// Nobody uses it.
    Unused,
}

impl Shared<'_> {
    fn folder(self, database: &Database) -> Vec<u8> {
        let references = &database.references[..];
        match self {
            Self::Folder(path) => [references, b"/dirs", path].concat(),
            Self::File(path) => [references, b"/files", path].concat(),
            Self::User(name) => [references, b"/users/", name.as_bytes()].concat(),
            Self::Group(name) => [references, b"/groups/", name.as_bytes()].concat(),
        }
    }

    /// Notes that a package uses it. `present` says whether it is there already.
    ///
    /// # Errors
    /// Something is in the way.
    pub(super) fn claim(
        self,
        area: &mut Area<'_>,
        database: &Database,
        package: &str,
        present: bool,
        permissions: Option<String>,
        time: Time,
    ) -> Result<()> {
        let folder = self.folder(database);
        if area.find(&folder).is_none() && present {
            let text = format!("{package}\n").into_bytes();
            put(area, &below(&folder, b"+PREEXISTING"), 0o644, text, time)?;
        }
        let token = below(&folder, package.as_bytes());
        let line = [&database.folder_of(package)[..], b"\n"].concat();
        let mut text = area.read(&token, TOKEN)?.unwrap_or_default();
        if !text.split_inclusive(|&byte| byte == b'\n').any(|known| *known == line) {
            text.extend_from_slice(&line);
        }
        put(area, &token, 0o644, text, time)?;
        if let Some(permissions) = permissions {
            put(
                area,
                &below(&folder, b"+PERMISSIONS"),
                0o644,
                format!("{permissions}\n").into_bytes(),
                time,
            )?;
        }
        Ok(())
    }

    /// Notes that a package does not use it any more.
    ///
    /// # Errors
    /// Something is in the way.
    pub(super) fn release(
        self,
        area: &mut Area<'_>,
        database: &Database,
        package: &str,
        time: Time,
    ) -> Result<Left> {
        let folder = self.folder(database);
        let token = below(&folder, package.as_bytes());
        let Some(text) = area.read(&token, TOKEN)? else { return Ok(Left::Unknown) };
        let line = [&database.folder_of(package)[..], b"\n"].concat();
        let others: Vec<&[u8]> =
            text.split_inclusive(|&byte| byte == b'\n').filter(|known| **known != line).collect();
        if !others.is_empty() {
            put(area, &token, 0o644, others.concat(), time)?;
            return Ok(Left::InUse);
        }
        area.remove(&token);
        let preexisting = area.find(&below(&folder, b"+PREEXISTING")).is_some();
        if has_other_tokens(area, &folder) {
            return Ok(Left::InUse);
        }
        area.remove(&below(&folder, b"+PREEXISTING"));
        area.remove(&below(&folder, b"+PERMISSIONS"));
        remove_empty(area, &folder, &database.references);
        Ok(if preexisting { Left::Preexisting } else { Left::Unused })
    }
}

/// Whether there are files of other packages. Those of the things below it are folders.
fn has_other_tokens(area: &Area<'_>, folder: &[u8]) -> bool {
    let Some(node) = area.find(folder) else { return false };
    let entries = area.tree.entries(node);
    let mut files = entries.filter(|(_, node)| matches!(area.tree.node(*node).kind, Kind::File(_)));
    files.any(|(name, _)| !name.starts_with(b"+"))
}

/// Removes a folder, and those above it up to `end`, as long as they are empty.
pub(super) fn remove_empty(area: &mut Area<'_>, folder: &[u8], end: &[u8]) {
    let mut path = folder;
    while path.len() > end.len() && path.starts_with(end) {
        let empty = area.find(path).is_some_and(|node| match &area.tree.node(node).kind {
            Kind::Directory(entries) => entries.is_empty(),
            _ => false,
        });
        if !empty {
            return;
        }
        area.remove(path);
        path = path.iter().rposition(|&byte| byte == b'/').map_or(&[][..], |at| &path[..at]);
    }
}
