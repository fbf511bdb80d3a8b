//! The zone in the making: the tree of its dataset, and the paths in it as the zone will see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use kiln_zstream::fs::tree::{Attributes, Kind, NodeId, Time, Tree};

use super::config::Wanted;
use crate::packages::FirstBoot;
use crate::packages::first_boot::Entry;
use crate::zone::area::{Area, attributes, contents_of, find};

/// Largest file that is edited, in bytes.
const TEXT_LIMIT: u64 = 4 << 20;
/// How many symbolic links are followed on one way, as in illumos (`MAXSYMLINKS`).
const LINKS: usize = 20;

/// A zone in the making.
pub struct Proto {
    /// What it will be.
    pub wanted: Wanted,
    /// The tree of its dataset.
    pub tree: Tree,
    /// The folder of the dataset that the zone sees as `/`.
    pub root: NodeId,
    /// The time of all that is written.
    pub time: Time,
    /// What is left for the first boot.
    pub first_boot: FirstBoot,
    /// Versions of the packages that are installed, by name.
    pub installed: BTreeMap<String, String>,
}

impl Proto {
    /// What the zone sees.
    pub fn area(&mut self) -> Area<'_> {
        Area::new(&mut self.tree, self.root)
    }

    /// Attributes with the time of the build.
    pub fn attributes(&self, permissions: u16, uid: u32, gid: u32) -> Attributes {
        attributes(permissions, uid, gid, self.time)
    }

    /// Leaves commands, words with blanks between them, for the first boot. They are run one after the other until one fails.
    pub fn later(&mut self, why: &str, commands: &[String]) {
        let words = |command: &String| command.split(' ').map(str::to_owned).collect();
        let commands = commands.iter().map(words).collect();
        self.first_boot.push(Entry { why: why.to_owned(), commands, ..Entry::default() });
    }

    /// Whether a package of that name is installed.
    pub fn has_package(&self, name: &str) -> bool {
        self.installed.contains_key(name)
    }

    /// What stands at a path in the zone, links followed.
    pub fn node(&self, path: &str) -> Option<NodeId> {
        let path = self.resolve(path).ok()?;
        find(&self.tree, self.root, &path)
    }

    /// The path at which something stands when all symbolic links on the way are followed inside the zone. What does not exist yet
    /// has the path that it would be made at.
    ///
    /// # Errors
    /// The links lead in a circle.
    pub fn resolve(&self, path: &str) -> Result<Vec<u8>> {
        // Names still to go, the next one last.
        let mut ahead: Vec<Vec<u8>> =
            path.as_bytes().split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec).collect();
        let mut at: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    at.pop();
                    continue;
                }
                _ => at.push(name),
            }
            let here = at.join(&b'/');
            let node = find(&self.tree, self.root, &here).map(|node| &self.tree.node(node).kind);
            if let Some(Kind::Symlink(target)) = node {
                links += 1;
                if links > LINKS {
                    return Err(anyhow!("the links at {path} lead in a circle"));
                }
                if target.starts_with(b"/") {
                    at.clear();
                } else {
                    at.pop();
                }
                ahead.extend(target.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec));
            }
        }
        Ok(at.join(&b'/'))
    }

    /// The text of a file, none where there is no file. Bytes that are no UTF-8 are an error: what is edited are files of words.
    ///
    /// # Errors
    /// It cannot be read, is no text, or is larger than files of words are.
    pub fn text(&self, path: &str) -> Result<Option<String>> {
        let cannot = || format!("cannot read {path} of the seed");
        let node = find(&self.tree, self.root, &self.resolve(path)?);
        let Some(Kind::File(contents)) = node.map(|node| &self.tree.node(node).kind) else { return Ok(None) };
        let bytes = contents_of(&**contents, TEXT_LIMIT).with_context(cannot)?;
        String::from_utf8(bytes).map(Some).map_err(|_| anyhow!("it is no text in UTF-8")).with_context(cannot)
    }

    /// Writes a file of root. One that is there keeps mode and owner; another gets `permissions`.
    ///
    /// # Errors
    /// It cannot be put there.
    pub fn write(&mut self, path: &str, permissions: u16, bytes: impl Into<Vec<u8>>) -> Result<()> {
        let attributes = self.attributes(permissions, 0, 0);
        let place = self.resolve(path)?;
        self.area()
            .write(&place, attributes, bytes.into())
            .with_context(|| format!("cannot write {path}"))?;
        Ok(())
    }

    /// Writes a file of root unless there is something already; says whether it did.
    ///
    /// # Errors
    /// Those of [`Proto::write`].
    pub fn write_new(&mut self, path: &str, permissions: u16, bytes: impl Into<Vec<u8>>) -> Result<bool> {
        if self.node(path).is_some() {
            return Ok(false);
        }
        self.write(path, permissions, bytes).map(|()| true)
    }

    /// Changes the text of a file, or that of none if it is missing; says whether that made a difference.
    ///
    /// # Errors
    /// Those of [`Proto::text`] and [`Proto::write`].
    pub fn edit(
        &mut self,
        path: &str,
        permissions: u16,
        change: impl FnOnce(String) -> String,
    ) -> Result<bool> {
        let before = self.text(path)?;
        let after = change(before.clone().unwrap_or_default());
        if before.as_ref() == Some(&after) {
            return Ok(false);
        }
        self.write(path, permissions, after).map(|()| true)
    }

    /// Like [`Proto::edit`] for a file that may be missing, which then stays so.
    ///
    /// # Errors
    /// Those of [`Proto::text`] and [`Proto::write`].
    pub fn edit_if_there(&mut self, path: &str, change: impl FnOnce(String) -> String) -> Result<bool> {
        match self.text(path)? {
            Some(_) => self.edit(path, 0o644, change),
            None => Ok(false),
        }
    }

    /// Makes a folder of root with those above it.
    ///
    /// # Errors
    /// Something else is in the way.
    pub fn make_folder(&mut self, path: &str, permissions: u16) -> Result<()> {
        let attributes = self.attributes(permissions, 0, 0);
        let place = self.resolve(path)?;
        self.area()
            .make_folders(&place, attributes)
            .with_context(|| format!("cannot make the folder {path}"))?;
        Ok(())
    }

    /// Puts a symbolic link of root at a path, in place of what was there.
    ///
    /// # Errors
    /// Something else is in the way.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let attributes = self.attributes(0o777, 0, 0);
        let kind = Kind::Symlink(target.as_bytes().to_vec());
        self.area()
            .put(path.as_bytes(), attributes, kind)
            .with_context(|| format!("cannot make the link {path}"))?;
        Ok(())
    }

    /// Where the symbolic link at a path leads, if there is one.
    pub fn link_target(&self, path: &str) -> Option<Vec<u8>> {
        match &self.tree.node(find(&self.tree, self.root, path.as_bytes())?).kind {
            Kind::Symlink(target) => Some(target.clone()),
            _ => None,
        }
    }

    /// Takes away what stands at a path, itself if it is a link; says whether there was something.
    pub fn remove(&mut self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Ok(mut place) = self.resolve(folder) else { return false };
        place.push(b'/');
        place.extend_from_slice(name.as_bytes());
        self.area().remove(&place)
    }

    /// The names in a folder, links on the way to it followed, sorted; none where there is no folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Some(node) = self.node(folder) else { return Vec::new() };
        self.tree.entries(node).map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// The paths of all files below a folder, or of the file that is there itself, sorted. Links are not followed below it.
    pub fn files_below(&self, path: &str) -> Vec<String> {
        let Some(top) = self.node(path) else { return Vec::new() };
        let mut files = Vec::new();
        let mut waiting = vec![(path.trim_end_matches('/').to_owned(), top)];
        while let Some((path, node)) = waiting.pop() {
            match &self.tree.node(node).kind {
                Kind::File(_) => files.push(path),
                _ => waiting.extend(
                    self.tree
                        .entries(node)
                        .map(|(name, node)| (format!("{path}/{}", String::from_utf8_lossy(name)), node)),
                ),
            }
        }
        files.sort_unstable();
        files
    }

    /// Gives a file other contents and keeps all else; does nothing where there is no file.
    pub fn set_contents(&mut self, path: &str, bytes: Vec<u8>) {
        if let Some(node) = self.node(path) {
            self.tree.set_contents(node, Arc::new(bytes));
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::install_base::config::tests::wanted;

    /// The time of what tests write.
    pub const TIME: Time = Time { seconds: 1_414_657_021, nanoseconds: 0 };

    /// A zone of nothing but these files.
    pub fn proto(name: &str, files: &[(&str, &str)]) -> Proto {
        let mut tree = Tree::new(attributes(0o755, 0, 0, TIME));
        let top = tree.root();
        let folder = Kind::Directory(BTreeMap::new());
        let root = tree.add(top, b"root", attributes(0o755, 0, 0, TIME), folder).unwrap();
        let wanted = wanted(name, "23.4.0", "2023Q4-x86_64");
        let (first_boot, installed) = (FirstBoot::default(), BTreeMap::new());
        let mut proto = Proto { wanted, tree, root, time: TIME, first_boot, installed };
        for (path, text) in files {
            proto.write(path, 0o640, *text).unwrap();
        }
        proto
    }

    #[test]
    fn links_are_followed_inside_the_zone() {
        let mut proto = proto("minimal-64", &[("/etc/inet/hosts", "old\n"), ("/opt/real/file", "")]);
        proto.link("/etc/hosts", "./inet/hosts").unwrap();
        proto.link("/opt/link", "/opt/../opt/real").unwrap();
        proto.link("/opt/one", "two").unwrap();
        proto.link("/opt/two", "one").unwrap();
        assert!(proto.edit("/etc/hosts", 0o644, |text| text + "new\n").unwrap());
        assert!(!proto.edit("/etc/hosts", 0o644, |text| text).unwrap());
        assert_eq!(proto.text("/etc/inet/hosts").unwrap().unwrap(), "old\nnew\n");
        let node = proto.node("/etc/hosts").unwrap();
        assert_eq!(proto.tree.node(node).attributes, attributes(0o640, 0, 0, TIME));
        assert_eq!(proto.resolve("/opt/link/new").unwrap(), b"opt/real/new");
        assert_eq!(proto.resolve("opt/../../etc/x").unwrap(), b"etc/x");
        assert_eq!(
            proto.resolve("/opt/one").unwrap_err().to_string(),
            "the links at /opt/one lead in a circle"
        );
        assert_eq!(proto.files_below("/opt"), ["/opt/real/file"]);
        assert!(proto.remove("/opt/link/file") && proto.remove("/opt/link") && !proto.remove("/opt/none"));
        assert_eq!(proto.names("/opt"), ["one", "real", "two"]);
        assert!(!proto.write_new("/etc/hosts", 0o644, "").unwrap());
        assert!(!proto.edit_if_there("/etc/none", |_| "x".into()).unwrap());
        assert_eq!(proto.text("/etc/none").unwrap(), None);
    }

    #[test]
    fn what_is_no_text_is_not_edited() {
        let mut proto = proto("minimal-64", &[]);
        proto.write("/etc/motd", 0o644, b"\xff".to_vec()).unwrap();
        assert_eq!(
            format!("{:#}", proto.edit("/etc/motd", 0o644, |text| text).unwrap_err()),
            "cannot read /etc/motd of the seed: it is no text in UTF-8"
        );
        assert!(proto.write("/etc", 0o644, "").is_err());
        assert!(proto.make_folder("/etc/motd/x", 0o755).is_err());
    }
}
