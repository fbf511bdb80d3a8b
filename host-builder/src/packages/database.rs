//! The database of installed packages in an image: a folder with a folder of `+` files for each (pkg_install, `lib/pkgdb.c`).

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use kiln_zstream::fs::tree::{Kind, Time};

use super::archive::About;
use super::packing_list::{PackingList, below};
use super::resolve::Present;
use crate::report::Hint;
use crate::zone::area::{Area, attributes};

/// Largest `+` file that is read, in bytes.
const FILE: u64 = 64 << 20;
/// Largest file of settings that is read, in bytes.
const SETTINGS: u64 = 1 << 20;

/// The `+` files of an installed package and their permissions, as pkg_add makes them.
const PERMISSIONS: [(&str, u16); 5] = [
    ("+CONTENTS", 0o644),
    ("+INSTALL", 0o555),
    ("+DEINSTALL", 0o555),
    ("+REQUIRED_BY", 0o644),
    ("+INSTALLED_INFO", 0o644),
];
/// Permissions of all others.
const READ_ONLY: u16 = 0o444;

/// What is installed in an image, and where that is written down.
#[derive(Clone, Debug)]
pub(super) struct Database {
    /// `PKG_DBDIR`.
    pub(super) folder: Vec<u8>,
    /// `PKG_REFCOUNT_DBDIR`: which package uses which folders, files, users and groups.
    pub(super) references: Vec<u8>,
    /// Packing lists by the names of packages.
    pub(super) packages: BTreeMap<String, PackingList>,
}

impl Database {
    /// Finds and reads the database of the packages below `prefix`. Its place is written in the settings of pkg_install, or is
    /// `.pkgdb` below the prefix, on older branches of SmartOS `pkg`.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub(super) fn open(area: &Area<'_>, prefix: &str) -> Result<Self> {
        let settings = settings(area, prefix)?;
        let is_folder = |path: &[u8]| {
            area.find(path).is_some_and(|node| matches!(area.tree.node(node).kind, Kind::Directory(_)))
        };
        let usual = [format!("{prefix}/.pkgdb"), format!("{prefix}/pkg")];
        let folder = match settings.get("PKG_DBDIR") {
            Some(folder) => Some(folder.clone()),
            None => usual.into_iter().map(String::into_bytes).find(|folder| is_folder(folder)),
        };
        let folder = folder
            .ok_or_else(|| anyhow!("there is no database of packages in {prefix} of the image"))
            .hint("packages are installed on top of a pkgsrc bootstrap: lay one over the image first")?;
        let usual = || [&folder[..], b".refcount"].concat();
        let references = settings.get("PKG_REFCOUNT_DBDIR").cloned().unwrap_or_else(usual);
        let mut database = Self { folder, references, packages: BTreeMap::new() };
        let Some(node) = area.find(&database.folder) else { return Ok(database) };
        let names: Vec<Vec<u8>> = area.tree.entries(node).map(|(name, _)| name.to_vec()).collect();
        for name in names {
            let path = below(&below(&database.folder, &name), b"+CONTENTS");
            let Some(text) = area.read(&path, FILE)? else { continue };
            let shown = String::from_utf8_lossy(&name).into_owned();
            let list = PackingList::parse(&text)
                .and_then(|list| {
                    ensure!(list.name == shown, "its packing list is that of {}", list.name);
                    Ok(list)
                })
                .with_context(|| format!("the installed package {shown}"))?;
            database.packages.insert(shown, list);
        }
        Ok(database)
    }

    /// What a resolver knows of the installed packages.
    pub(super) fn present(&self) -> BTreeMap<String, Present> {
        let known =
            |list: &PackingList| Present { depends: list.depends.clone(), conflicts: list.conflicts.clone() };
        self.packages.iter().map(|(name, list)| (name.clone(), known(list))).collect()
    }

    /// Which package each installed file is of, by absolute paths.
    pub(super) fn owners(&self) -> BTreeMap<Vec<u8>, String> {
        let files = self
            .packages
            .iter()
            .flat_map(|(name, list)| list.files().map(move |file| (list.absolute(&file.path), name.clone())));
        files.collect()
    }

    /// The folder of a package.
    pub(super) fn folder_of(&self, name: &str) -> Vec<u8> {
        below(&self.folder, name.as_bytes())
    }

    /// A file of a package.
    pub(super) fn path(&self, name: &str, file: &str) -> Vec<u8> {
        below(&self.folder_of(name), file.as_bytes())
    }

    /// Writes down a package: the files about it, and its helper scripts, which it needs to be removed one day.
    ///
    /// # Errors
    /// Something is in the way.
    pub(super) fn record(
        &mut self,
        area: &mut Area<'_>,
        list: PackingList,
        about: &About,
        helpers: &BTreeMap<String, Vec<u8>>,
        time: Time,
    ) -> Result<()> {
        let name = list.name.clone();
        area.make_folders(&self.folder_of(&name), attributes(0o755, 0, 0, time))?;
        for (file, bytes) in about {
            let known = PERMISSIONS.iter().find(|(known, _)| known == file);
            let permissions = known.map_or(READ_ONLY, |(_, permissions)| *permissions);
            put(area, &self.path(&name, file), permissions, bytes.clone(), time)?;
        }
        for (file, bytes) in helpers {
            put(area, &self.path(&name, file), 0o755, bytes.clone(), time)?;
        }
        self.packages.insert(name, list);
        Ok(())
    }

    /// Marks a package as installed only because others need it, or as asked for.
    ///
    /// # Errors
    /// Something is in the way.
    pub(super) fn mark(&self, area: &mut Area<'_>, name: &str, automatic: bool, time: Time) -> Result<()> {
        let path = self.path(name, "+INSTALLED_INFO");
        let text = area.read(&path, FILE)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("automatic=")).collect();
        if automatic {
            lines.push("automatic=yes");
        }
        write_lines(area, &path, &lines, time)
    }

    /// Notes with each package that `name` needs that it does.
    ///
    /// # Errors
    /// Something is in the way.
    pub(super) fn require(
        &self,
        area: &mut Area<'_>,
        name: &str,
        needs: &[String],
        time: Time,
    ) -> Result<()> {
        for needed in needs {
            let path = self.path(needed, "+REQUIRED_BY");
            let text = area.read(&path, FILE)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let mut lines: Vec<&str> = text.lines().collect();
            if !lines.contains(&name) {
                lines.push(name);
            }
            write_lines(area, &path, &lines, time)?;
        }
        Ok(())
    }

    /// Takes `name` out of what packages know about who needs them.
    ///
    /// # Errors
    /// Something is in the way.
    pub(super) fn release(&self, area: &mut Area<'_>, name: &str, time: Time) -> Result<()> {
        for needed in self.packages.keys() {
            let path = self.path(needed, "+REQUIRED_BY");
            let Some(text) = area.read(&path, FILE)? else { continue };
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().filter(|line| *line != name).collect();
            if lines.len() != text.lines().count() {
                write_lines(area, &path, &lines, time)?;
            }
        }
        Ok(())
    }

    /// A `+` file of an installed package.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read(&self, area: &Area<'_>, name: &str, file: &str) -> Result<Option<Vec<u8>>> {
        Ok(area.read(&self.path(name, file), FILE)?)
    }
}

/// Writes lines to a file of root, or removes it when there are none.
fn write_lines(area: &mut Area<'_>, path: &[u8], lines: &[&str], time: Time) -> Result<()> {
    if lines.is_empty() {
        area.remove(path);
        return Ok(());
    }
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    put(area, path, 0o644, text.into_bytes(), time)
}

/// Puts a file of root.
///
/// # Errors
/// Something is in the way.
pub(super) fn put(
    area: &mut Area<'_>,
    path: &[u8],
    permissions: u16,
    bytes: Vec<u8>,
    time: Time,
) -> Result<()> {
    area.put(path, attributes(permissions, 0, 0, time), Kind::File(Arc::new(bytes)))?;
    Ok(())
}

/// Absolute paths in the settings of pkg_install, `NAME=VALUE` lines.
fn settings(area: &Area<'_>, prefix: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let path = format!("{prefix}/etc/pkg_install.conf");
    let text =
        area.read(path.as_bytes(), SETTINGS).with_context(|| format!("cannot read {path} of the image"))?;
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let paths = lines.filter(|(_, value)| value.starts_with('/') && !value.contains("/.."));
    Ok(paths.map(|(name, value)| (name.trim().to_owned(), value.trim_end().as_bytes().to_vec())).collect())
}
