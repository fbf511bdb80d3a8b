//! A folder of a tree as the root of paths: what `/` is to a zone, a *proto area* in the words of those who build systems.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use kiln_zstream::fs::tree::{Attributes, Content, Kind, NodeId, Time, Tree, TreeError};

/// Why a path cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AreaError {
    /// The path leads upwards.
    #[error("{} leads upwards", .0)]
    Upwards(String),
    /// The path is that of the area itself.
    #[error("there is no name in the path {}", .0)]
    NoName(String),
    /// Something on the way is no folder. Links are not followed.
    #[error("{path} cannot be put there: {what} is no folder")]
    NoFolder {
        /// The whole path.
        path: String,
        /// What is in the way.
        what: String,
    },
    /// There is a folder where something else is to be put.
    #[error("{} is a folder, and is not to be replaced", .0)]
    Folder(String),
    /// The tree takes no such node.
    #[error("{path} is not possible")]
    Tree {
        /// The whole path.
        path: String,
        /// Why.
        #[source]
        source: TreeError,
    },
}

/// Attributes with one time in all places.
pub fn attributes(permissions: u16, uid: u32, gid: u32, time: Time) -> Attributes {
    Attributes { permissions, uid, gid, accessed: time, modified: time, changed: time, created: time }
}

/// A folder of a tree, and paths from there. Paths are bytes; whether they begin with `/` makes no difference, and symbolic links
/// are not followed.
pub struct Area<'a> {
    /// The tree.
    pub tree: &'a mut Tree,
    /// The folder.
    pub root: NodeId,
}

impl<'a> Area<'a> {
    /// The area below a folder of the tree.
    pub fn new(tree: &'a mut Tree, root: NodeId) -> Self {
        Self { tree, root }
    }

    /// The node at a path; the folder itself for an empty one.
    pub fn find(&self, path: &[u8]) -> Option<NodeId> {
        find(self.tree, self.root, path)
    }

    /// The folder at a path. It and those above it that are missing are made with `attributes`.
    ///
    /// # Errors
    /// [`AreaError`].
    pub fn make_folders(&mut self, path: &[u8], attributes: Attributes) -> Result<NodeId, AreaError> {
        let mut at = self.root;
        for name in names(path) {
            if name == b".." {
                return Err(AreaError::Upwards(shown(path)));
            }
            let next = match &self.tree.node(at).kind {
                Kind::Directory(entries) => entries.get(name).copied(),
                _ => None,
            };
            at = match next {
                Some(node) if matches!(self.tree.node(node).kind, Kind::Directory(_)) => node,
                Some(_) => {
                    return Err(AreaError::NoFolder { path: shown(path), what: shown(name) });
                }
                None => self
                    .tree
                    .add(at, name, attributes, Kind::Directory(BTreeMap::new()))
                    .map_err(|source| AreaError::Tree { path: shown(path), source })?,
            };
        }
        Ok(at)
    }

    /// Puts something that is no folder at a path, in place of what was there. Folders above it that are missing are made, of root
    /// with mode 0755 and the same times.
    ///
    /// # Errors
    /// [`AreaError`].
    pub fn put(&mut self, path: &[u8], attributes: Attributes, kind: Kind) -> Result<NodeId, AreaError> {
        let mut above: Vec<&[u8]> = names(path).collect();
        let Some(name) = above.pop() else { return Err(AreaError::NoName(shown(path))) };
        let folder = self::attributes(0o755, 0, 0, attributes.modified);
        let directory = self.make_folders(&above.join(&b'/'), folder)?;
        if let Some(before) = find(self.tree, directory, name) {
            if matches!(self.tree.node(before).kind, Kind::Directory(_)) {
                return Err(AreaError::Folder(shown(path)));
            }
            self.tree.remove(directory, name);
        }
        self.tree
            .add(directory, name, attributes, kind)
            .map_err(|source| AreaError::Tree { path: shown(path), source })
    }

    /// Puts a file of these bytes at a path; one that is there keeps its attributes but for the time, and another gets those given.
    ///
    /// # Errors
    /// [`AreaError`].
    pub fn write(
        &mut self,
        path: &[u8],
        attributes: Attributes,
        bytes: Vec<u8>,
    ) -> Result<NodeId, AreaError> {
        let attributes = match self.find(path).map(|node| self.tree.node(node)) {
            Some(node) if matches!(node.kind, Kind::File(_)) => {
                let Attributes { permissions, uid, gid, .. } = node.attributes;
                Attributes { permissions, uid, gid, ..attributes }
            }
            _ => attributes,
        };
        self.put(path, attributes, Kind::File(Arc::new(bytes)))
    }

    /// Takes away what is at a path, with all below it; says whether there was something.
    pub fn remove(&mut self, path: &[u8]) -> bool {
        let mut above: Vec<&[u8]> = names(path).collect();
        let Some(name) = above.pop() else { return false };
        let directory = find(self.tree, self.root, &above.join(&b'/'));
        directory.is_some_and(|directory| self.tree.remove(directory, name).is_some())
    }

    /// The contents of the file at a path, `None` where there is no file.
    ///
    /// # Errors
    /// It is longer than `limit` bytes, or cannot be read.
    pub fn read(&self, path: &[u8], limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.find(path).map(|node| &self.tree.node(node).kind) {
            Some(Kind::File(contents)) => contents_of(&**contents, limit).map(Some),
            _ => Ok(None),
        }
    }
}

/// The node at a path below a folder, links not followed.
pub fn find(tree: &Tree, root: NodeId, path: &[u8]) -> Option<NodeId> {
    names(path).try_fold(root, |at, name| match &tree.node(at).kind {
        Kind::Directory(entries) => entries.get(name).copied(),
        _ => None,
    })
}

/// Contents as bytes.
///
/// # Errors
/// They are longer than `limit` bytes, or cannot be read.
pub fn contents_of(contents: &dyn Content, limit: u64) -> io::Result<Vec<u8>> {
    let size = contents.size();
    if size > limit {
        return Err(io::Error::other(format!("it has {size} bytes, more than the {limit} that make sense")));
    }
    let mut bytes = vec![0; size as usize];
    contents.give(&mut |offset, piece| {
        let place =
            usize::try_from(offset).ok().and_then(|start| bytes.get_mut(start..)?.get_mut(..piece.len()));
        place.ok_or_else(|| io::Error::other("there is more than its length says"))?.copy_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

/// The names in a path. `.` is none.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> Kind {
        Kind::File(Arc::new(bytes.to_vec()))
    }

    #[test]
    fn things_are_put_found_read_and_removed_by_paths() {
        let mut tree = Tree::new(Attributes::default());
        let root = tree.root();
        let base = Area::new(&mut tree, root).make_folders(b"root", Attributes::default()).unwrap();
        let mut area = Area::new(&mut tree, base);
        let time = Time { seconds: 5, nanoseconds: 0 };
        let node = area.put(b"/etc/./inner//file", attributes(0o600, 1, 2, time), file(b"one")).unwrap();
        assert_eq!(area.find(b"etc/inner/file"), Some(node));
        let made = area.tree.node(area.find(b"etc/inner").unwrap()).attributes;
        assert_eq!(made, attributes(0o755, 0, 0, time));
        assert_eq!(area.read(b"etc/inner/file", 3).unwrap().unwrap(), b"one");
        assert!(area.read(b"etc/inner/file", 2).is_err());
        assert_eq!(area.read(b"etc/inner", 9).unwrap(), None);

        let later = Time { seconds: 6, nanoseconds: 0 };
        let node = area.write(b"etc/inner/file", attributes(0o644, 0, 0, later), b"two".to_vec()).unwrap();
        assert_eq!(area.tree.node(node).attributes, attributes(0o600, 1, 2, later));
        assert!(area.remove(b"etc/inner"));
        assert!(!area.remove(b"etc/inner"));
        assert!(!area.remove(b""));
        assert_eq!(area.find(b"etc/inner/file"), None);
        assert_eq!(area.find(b"").unwrap(), base);
    }

    #[test]
    fn what_is_in_the_way_is_told() {
        let mut tree = Tree::new(Attributes::default());
        let root = tree.root();
        let mut area = Area::new(&mut tree, root);
        let any = Attributes::default();
        area.put(b"bin", any, Kind::Symlink(b"usr/bin".to_vec())).unwrap();
        area.make_folders(b"usr/bin", any).unwrap();
        let said = |error: Result<NodeId, AreaError>| error.unwrap_err().to_string();
        assert_eq!(said(area.put(b"bin/ls", any, file(b""))), "bin cannot be put there: bin is no folder");
        assert_eq!(
            said(area.put(b"usr/bin", any, file(b""))),
            "usr/bin is a folder, and is not to be replaced"
        );
        assert_eq!(said(area.put(b"usr/../x", any, file(b""))), "usr/.. leads upwards");
        assert_eq!(said(area.put(b"/", any, file(b""))), "there is no name in the path /");
        assert!(said(area.put(&[b'x'; 300], any, file(b""))).ends_with("is not possible"));
    }
}
