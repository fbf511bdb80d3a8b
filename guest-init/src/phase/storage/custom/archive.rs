//! Unpacks `custom.tgz` into a folder, and never outside it.
//!
//! The tarball's digest was checked before, so it is the image's own. It is read with care all the same: its owner may have
//! packed it from anything.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use tar::EntryType;

use super::delivered::{Item, Items, hex};

/// The one folder at the top of the tarball.
const TOP: &str = "custom";

/// The most entries.
const MOST: usize = 200_000;

/// The most bytes of all files together.
const LARGEST: u64 = 3 << 30;

/// The longest path, in bytes, and the most folders that lie in each other.
const LONGEST_PATH: usize = 1023;
const DEEPEST: usize = 64;

/// The longest member that only tells something about the next one, in bytes. They are held in memory.
const LONGEST_EXTENSION: u64 = 64 << 10;

/// Unpacks the tarball in `source` into the folder `to`, which is there and empty. Everything belongs to `owner`, user and
/// group, and only the owner may write. Gives what was unpacked.
pub fn unpack(source: impl Read, to: &Path, owner: (u32, u32)) -> Result<Items> {
    let mut unpacking = Unpacking { to, owner, items: BTreeMap::new(), left: LARGEST };
    // What follows the end of the tarball is not read, and what is too much ends it.
    let mut archive = tar::Archive::new(source.take(LARGEST + (MOST as u64) * 4096));
    let mut count = 0;
    let mut extensions = Extensions::default();
    // Raw: else long names would be read into memory here, however long they are.
    for entry in archive.entries().context("it is no tarball")?.raw(true) {
        count += 1;
        if count > MOST {
            bail!("it has more than {MOST} entries");
        }
        let mut entry = entry.context("it is cut short or damaged")?;
        if !extensions.take_from(&mut entry).context("it tells nonsense about an entry")? {
            unpacking.entry(entry, std::mem::take(&mut extensions))?;
        }
    }
    if count == 0 {
        bail!("it is empty");
    }
    if extensions != Extensions::default() {
        bail!("it ends where an entry was to begin");
    }
    finish_folder(to, owner, 0o755)?;
    Ok(unpacking.items)
}

/// What members of their own tell about the one that follows them: names that are too long for its header.
#[derive(Debug, Default, PartialEq, Eq)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extensions {
    /// Takes in what a member tells of the next one. Tells whether it is such a member.
    fn take_from(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<bool> {
        match entry.header().entry_type() {
            EntryType::GNULongName => set(&mut self.path, gnu_name(entry)?)?,
            EntryType::GNULongLink => set(&mut self.target, gnu_name(entry)?)?,
            EntryType::XHeader => self.take_from_pax(&contents(entry)?)?,
            EntryType::XGlobalHeader => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_from_pax(&mut self, records: &[u8]) -> Result<()> {
        for record in tar::PaxExtensions::new(records) {
            let record = record?;
            let value = record.value_bytes();
            match record.key_bytes() {
                b"path" => set(&mut self.path, value.to_vec())?,
                b"linkpath" => set(&mut self.target, value.to_vec())?,
                b"size" => self.size = Some(record.value()?.parse()?),
                key if key.starts_with(b"GNU.sparse.") => bail!("it has holes"),
                _ => {}
            }
        }
        Ok(())
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<()> {
    if place.replace(value).is_some() {
        bail!("it is told twice");
    }
    Ok(())
}

/// A name, which a zero ends.
fn gnu_name(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>> {
    let mut name = contents(entry)?;
    name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(name.len()));
    Ok(name)
}

fn contents(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>> {
    let size = entry.size();
    if size > LONGEST_EXTENSION {
        bail!("it has {size} bytes");
    }
    let mut contents = Vec::new();
    entry.read_to_end(&mut contents)?;
    if contents.len() as u64 != size {
        bail!("it is cut short");
    }
    Ok(contents)
}

struct Unpacking<'a> {
    to: &'a Path,
    owner: (u32, u32),
    items: Items,
    left: u64,
}

impl Unpacking<'_> {
    fn entry(&mut self, mut entry: tar::Entry<'_, impl Read>, told: Extensions) -> Result<()> {
        let kind = entry.header().entry_type();
        let raw = told.path.unwrap_or_else(|| entry.path_bytes().into_owned());
        let shown = String::from_utf8_lossy(&raw).escape_debug().to_string();
        let Some(path) = inside(&raw).with_context(|| shown.clone())? else {
            if kind == EntryType::Directory {
                return Ok(());
            }
            bail!("{shown} is no folder");
        };
        if told.size.is_some_and(|size| size != entry.size()) {
            bail!("{shown} has two sizes");
        }
        let target = told.target.or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned));
        let mode = entry.header().mode().with_context(|| shown.clone())? & 0o755;
        self.parents(&path).with_context(|| shown.clone())?;
        match kind {
            EntryType::Directory => self.folder(&path, mode),
            EntryType::Regular | EntryType::Continuous => {
                let size = entry.size();
                self.left = self.left.checked_sub(size).context("the files are too large")?;
                self.file(&path, mode, &mut entry, size)
            }
            EntryType::Symlink => self.link(&path, &target.context("the link leads nowhere")?),
            EntryType::Link => self.hard_link(&path, &target.context("the link leads nowhere")?),
            _ => bail!("it is neither file, folder nor link"),
        }
        .with_context(|| shown)
    }

    /// Makes the folders above `path` that the tarball did not mention. All of them are folders of this tarball: a link cannot
    /// be walked through.
    fn parents(&mut self, path: &Path) -> Result<()> {
        let above: Vec<_> = path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
        for folder in above.into_iter().rev() {
            match self.items.get(name(folder)?) {
                Some(Item::Folder) => {}
                Some(_) => bail!("{} is no folder", folder.display()),
                None => self.folder(folder, 0o755)?,
            }
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path, mode: u32) -> Result<()> {
        match self.items.get(name(path)?) {
            Some(Item::Folder) => {}
            Some(_) => bail!("there is something else of this name"),
            None => {
                fs::create_dir(self.to.join(path))?;
                self.items.insert(name(path)?.to_owned(), Item::Folder);
            }
        }
        finish_folder(&self.to.join(path), self.owner, mode | 0o700)
    }

    fn file(&mut self, path: &Path, mode: u32, contents: &mut impl Read, size: u64) -> Result<()> {
        self.make_room(path)?;
        let place = self.to.join(path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        let mut written = 0_u64;
        loop {
            let count = match contents.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            file.write_all(&buffer[..count])?;
            written += count as u64;
        }
        if written != size {
            bail!("it is cut short");
        }
        chown(&place, Some(self.owner.0), Some(self.owner.1))?;
        file.set_permissions(fs::Permissions::from_mode(mode | 0o400))?;
        file.sync_all()?;
        self.items.insert(name(path)?.to_owned(), Item::File(hex(&hash.finalize())));
        Ok(())
    }

    fn link(&mut self, path: &Path, target: &[u8]) -> Result<()> {
        self.make_room(path)?;
        let target = std::str::from_utf8(target).context("its target is not UTF-8")?;
        // Wherever it leads: nothing of the tarball is put behind a link, and many a tool lives elsewhere.
        if target.is_empty() || target.len() > LONGEST_PATH {
            bail!("its target is empty or too long");
        }
        let place = self.to.join(path);
        symlink(target, &place)?;
        lchown(&place, Some(self.owner.0), Some(self.owner.1))?;
        self.items.insert(name(path)?.to_owned(), Item::Link(target.to_owned()));
        Ok(())
    }

    fn hard_link(&mut self, path: &Path, target: &[u8]) -> Result<()> {
        let Some(target) = inside(target)? else { bail!("it is a link to a folder") };
        let Some(item @ Item::File(_)) = self.items.get(name(&target)?).cloned() else {
            bail!("{} is no file that came before", target.display());
        };
        if target == path {
            return Ok(());
        }
        self.make_room(path)?;
        fs::hard_link(self.to.join(&target), self.to.join(path))?;
        self.items.insert(name(path)?.to_owned(), item);
        Ok(())
    }

    /// A later entry takes the place of an earlier one, but for folders.
    fn make_room(&mut self, path: &Path) -> Result<()> {
        match self.items.get(name(path)?) {
            None => Ok(()),
            Some(Item::Folder) => bail!("there is a folder of this name"),
            Some(_) => Ok(fs::remove_file(self.to.join(path))?),
        }
    }
}

fn name(path: &Path) -> Result<&str> {
    path.to_str().context("its name is not UTF-8")
}

/// A member's path below the top folder; none for that folder itself.
fn inside(path: &[u8]) -> Result<Option<PathBuf>> {
    if path.len() > LONGEST_PATH {
        bail!("its path is too long");
    }
    let path = Path::new(std::str::from_utf8(path).context("its name is not UTF-8")?);
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part),
            _ => bail!("it leads outside"),
        }
    }
    if parts.len() > DEEPEST {
        bail!("it lies too deep");
    }
    match parts.split_first() {
        Some((top, below)) if *top == TOP => {
            let below: PathBuf = below.iter().collect();
            Ok(Some(below).filter(|below| !below.as_os_str().is_empty()))
        }
        _ => bail!("it is not in the folder {TOP}"),
    }
}

fn finish_folder(path: &Path, owner: (u32, u32), mode: u32) -> Result<()> {
    chown(path, Some(owner.0), Some(owner.1))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

#[cfg(test)]
mod tests;
