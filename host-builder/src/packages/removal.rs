//! A package goes out of the tree, because another version takes its place: the steps of pkg_delete.

use std::collections::BTreeSet;

use anyhow::Result;
use kiln_zstream::fs::tree::Kind;

use super::archive::About;
use super::installer::Installer;
use super::packing_list::{Check, File, PackingList};
use super::place::{End, below_prefix, resolve};
use super::references::{Left, Shared, remove_empty};
use super::script::{Example, Script};
use super::spool::md5_of;
use crate::zone::area::contents_of;

/// Files about a package that its next version inherits.
const INHERITED: [&str; 3] = ["+REQUIRED_BY", "+PRESERVE", "+INSTALLED_INFO"];
/// Largest configuration file that is compared with its example, in bytes.
const COMPARED: u64 = 16 << 20;

impl Installer<'_> {
    /// Removes an installed package, and gives the files about it that its next version inherits.
    pub(super) fn remove(&mut self, name: &str) -> Result<About> {
        let Some(list) = self.database.packages.get(name).cloned() else { return Ok(About::new()) };
        let mut inherited = About::new();
        for file in INHERITED {
            if let Some(bytes) = self.database.read(&self.area, name, file)? {
                inherited.insert(file.to_owned(), bytes);
            }
        }
        let read = |file| -> Result<Script> {
            let text = self.database.read(&self.area, name, file)?;
            Ok(text.map(|text| Script::read(&text)).transpose()?.unwrap_or_default())
        };
        let (script, last_words) = (read("+INSTALL")?, read("+DEINSTALL")?);
        if let Some(why) = last_words.beyond {
            let note = format!("{name} was replaced, and its script +DEINSTALL not run: {why}");
            self.installed.notes.push(note);
        }
        for example in &script.files {
            self.release_example(name, &list, example)?;
        }
        self.remove_files(name, &list)?;
        for folder in &script.folders {
            let path = list.absolute(&folder.path);
            let left = Shared::Folder(&path).release(&mut self.area, &self.database, name, self.time)?;
            if left == Left::Unused && folder.make {
                let place = resolve(&self.area, &path, End::Target)?;
                remove_empty(&mut self.area, &place, b"/");
            }
        }
        for user in &script.users {
            Shared::User(&user.name).release(&mut self.area, &self.database, name, self.time)?;
        }
        for (group, _) in &script.groups {
            Shared::Group(group).release(&mut self.area, &self.database, name, self.time)?;
        }
        self.database.release(&mut self.area, name, self.time)?;
        self.area.remove(&self.database.folder_of(name));
        self.database.packages.remove(name);
        Ok(inherited)
    }

    /// A configuration file goes when nobody uses it and nobody changed it.
    fn release_example(&mut self, name: &str, list: &PackingList, example: &Example) -> Result<()> {
        let path = list.absolute(&example.path);
        let left = Shared::File(&path).release(&mut self.area, &self.database, name, self.time)?;
        if left != Left::Unused || !example.copy {
            return Ok(());
        }
        let place = resolve(&self.area, &path, End::Itself)?;
        let source = resolve(&self.area, &list.absolute(&example.source), End::Target)?;
        if self.same_contents(&place, &source)? {
            self.area.remove(&place);
        }
        Ok(())
    }

    fn same_contents(&self, one: &[u8], other: &[u8]) -> Result<bool> {
        let contents = |path: &[u8]| match self.area.find(path).map(|node| &self.area.tree.node(node).kind) {
            Some(Kind::File(contents)) if contents.size() <= COMPARED => Some(contents.clone()),
            _ => None,
        };
        let (Some(one), Some(other)) = (contents(one), contents(other)) else { return Ok(false) };
        Ok(one.size() == other.size() && contents_of(&*one, COMPARED)? == contents_of(&*other, COMPARED)?)
    }

    /// Removes the files of a package that are as it brought them, and the folders that are empty then. Those that other packages
    /// manage (`@pkgdir`) stay.
    fn remove_files(&mut self, name: &str, list: &PackingList) -> Result<()> {
        let others = self.database.packages.iter().filter(|(other, _)| *other != name);
        let managed: BTreeSet<Vec<u8>> = others.flat_map(|(_, list)| list.folders()).collect();
        let mut emptied = BTreeSet::new();
        for file in list.files() {
            let path = list.absolute(&file.path);
            self.owners.remove(&path);
            let place = below_prefix(&self.area, &list.prefix, &path)?;
            if self.as_brought(&place, file)? {
                self.area.remove(&place);
                let slash = place.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                emptied.insert(place[..slash].to_vec());
            } else if self.area.find(&place).is_some() {
                let path = String::from_utf8_lossy(&path);
                self.installed.notes.push(format!("{path} of {name} was changed since, and stays"));
            }
        }
        for folder in list.folders() {
            emptied.insert(resolve(&self.area, &folder, End::Target)?);
        }
        // The deepest first.
        for folder in emptied.iter().rev() {
            let above = |kept: &&Vec<u8>| {
                folder.strip_prefix(&kept[..]).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            };
            let end = managed.iter().filter(above).max_by_key(|kept| kept.len());
            let end = end.map_or(&list.prefix[..], |kept| &kept[..]);
            remove_empty(&mut self.area, folder, end);
        }
        Ok(())
    }

    /// Whether a file is the one that the packing list is about.
    fn as_brought(&self, place: &[u8], file: &File) -> Result<bool> {
        let Some(node) = self.area.find(place) else { return Ok(false) };
        Ok(match (&self.area.tree.node(node).kind, &file.check) {
            (Kind::File(contents), Some(Check::Md5(md5))) => md5_of(&**contents)? == *md5,
            (Kind::Symlink(target), Some(Check::Symlink(listed))) => target == listed,
            (Kind::Directory(_), _) | (_, Some(_)) => false,
            (_, None) => true,
        })
    }
}
