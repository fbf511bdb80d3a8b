//! A file system as a tree, apart from ZFS and from any machine's files: what a stream is written from and read to.

use std::any::Any;
use std::collections::BTreeMap;
use std::collections::btree_map::{self, Entry};
use std::io;
use std::sync::Arc;

use super::acl::Ace;

/// The longest name in a folder, in bytes (`MAXNAMELEN` of illumos less its NUL).
pub const MAX_NAME: usize = 255;
/// The longest target of a symbolic link, in bytes (`MAXPATHLEN` of illumos less its NUL).
pub const MAX_TARGET: usize = 1023;

/// A node of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// Its number: below the [length](Tree::len) of its tree.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A point in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// Nanoseconds since that second, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// A device, in the numbers of illumos whatever machine it is read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

/// What all kinds of node have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The lower 12 bits of the mode: permissions, set-uid, set-gid and sticky.
    pub permissions: u16,
    /// Number of the owner.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// When it was read last.
    pub accessed: Time,
    /// When its contents changed last.
    pub modified: Time,
    /// When its contents or attributes changed last.
    pub changed: Time,
    /// When it was made.
    pub created: Time,
}

/// The contents of a file, wherever they are.
pub trait Content: Any + Send + Sync {
    /// The length in bytes.
    fn size(&self) -> u64;

    /// Gives pieces of the contents with their offsets to `sink`, in ascending order and without overlaps, none beyond the length. What is not given is zero.
    ///
    /// # Errors
    /// When the contents cannot be read, or those of `sink`.
    fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()>;
}

/// Contents in memory.
impl Content for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        if self.is_empty() { Ok(()) } else { sink(0, self) }
    }
}

/// What kind of node it is, and what only that kind has.
#[derive(Clone)]
pub enum Kind {
    /// A folder: names and what they stand for. Several names may stand for one node that is no folder (hard links).
    Directory(BTreeMap<Vec<u8>, NodeId>),
    /// A file.
    File(Arc<dyn Content>),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A character device.
    CharacterDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket, of no use without the process that made it.
    Socket,
    /// A door of illumos, likewise.
    Door,
}

impl Kind {
    /// The type of file as in the upper bits of a mode (`S_IFMT`), shifted down by 12: what directory entries have too.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Fifo => 0o1,
            Self::CharacterDevice(_) => 0o2,
            Self::Directory(_) => 0o4,
            Self::BlockDevice(_) => 0o6,
            Self::File(_) => 0o10,
            Self::Symlink(_) => 0o12,
            Self::Socket => 0o14,
            Self::Door => 0o15,
        }
    }
}

/// A folder, file, link, or device.
#[derive(Clone)]
pub struct Node {
    /// Mode, owner, times.
    pub attributes: Attributes,
    /// Its kind.
    pub kind: Kind,
    /// Extended attributes.
    pub extended: BTreeMap<Vec<u8>, Arc<dyn Content>>,
    /// The access control list, when it says more than the permissions.
    pub acl: Option<Vec<Ace>>,
}

/// Why a tree takes no such node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A name that no file system has.
    #[error("{} is no name for a file: a name has 1 to {MAX_NAME} bytes, none of them NUL or /, and is not . or ..", shown(.0))]
    Name(Vec<u8>),
    /// A target that no symbolic link has.
    #[error("a symbolic link has a target of 1 to {MAX_TARGET} bytes without NUL, not of {0}")]
    Target(usize),
    /// A name is taken.
    #[error("there are two of the name {}", shown(.0))]
    Taken(Vec<u8>),
    /// The node in which another is to be is no folder.
    #[error("what {} is to be put in is no folder", shown(.0))]
    NoDirectory(Vec<u8>),
    /// A folder has one name only.
    #[error("{} would be a second name of a folder", shown(.0))]
    LinkedDirectory(Vec<u8>),
    /// The tree is as large as it gets.
    #[error("there are more files than a tree takes")]
    Full,
}

fn shown(name: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(name))
}

/// A file system in memory but for the contents of files.
#[derive(Clone)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// A tree with nothing but its top folder.
    #[must_use]
    pub fn new(root: Attributes) -> Self {
        let kind = Kind::Directory(BTreeMap::new());
        Self { nodes: vec![Node { attributes: root, kind, extended: BTreeMap::new(), acl: None }] }
    }

    /// The top folder.
    #[must_use]
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// How many nodes there are, those included that have lost their last name.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the top folder.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The attributes of a node, to be changed.
    pub fn attributes_mut(&mut self, id: NodeId) -> &mut Attributes {
        &mut self.nodes[id.0 as usize].attributes
    }

    /// The extended attributes of a node, to be changed.
    pub fn extended_mut(&mut self, id: NodeId) -> &mut BTreeMap<Vec<u8>, Arc<dyn Content>> {
        &mut self.nodes[id.0 as usize].extended
    }

    /// The access control list of a node, to be changed. Whoever changes the permissions of a node with a list has to say what becomes
    /// of it: illumos enforces the list.
    pub fn acl_mut(&mut self, id: NodeId) -> &mut Option<Vec<Ace>> {
        &mut self.nodes[id.0 as usize].acl
    }

    /// What a folder holds; nothing for other nodes.
    pub fn entries(&self, id: NodeId) -> impl Iterator<Item = (&[u8], NodeId)> {
        let entries = match &self.node(id).kind {
            Kind::Directory(entries) => Some(entries),
            _ => None,
        };
        entries.into_iter().flatten().map(|(name, &node)| (&name[..], node))
    }

    /// What a name in a folder stands for; nothing if there is no such name, or the node is no folder.
    #[must_use]
    pub fn entry(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.node(directory).kind {
            Kind::Directory(entries) => entries.get(name).copied(),
            _ => None,
        }
    }

    /// Puts a new node into a folder. A folder is put in empty.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn add(
        &mut self,
        directory: NodeId,
        name: &[u8],
        attributes: Attributes,
        kind: Kind,
    ) -> Result<NodeId, TreeError> {
        if let Kind::Symlink(target) = &kind
            && (!(1..=MAX_TARGET).contains(&target.len()) || target.contains(&0))
        {
            return Err(TreeError::Target(target.len()));
        }
        let id = NodeId(u32::try_from(self.nodes.len()).map_err(|_| TreeError::Full)?);
        let kind = match kind {
            Kind::Directory(_) => Kind::Directory(BTreeMap::new()),
            other => other,
        };
        self.name(directory, name, id)?;
        self.nodes.push(Node { attributes, kind, extended: BTreeMap::new(), acl: None });
        Ok(id)
    }

    /// Puts the top folder, with all it has, under this name into a new top folder with these attributes, and gives the tree with
    /// what the old one is in it. All other nodes keep their numbers.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn nested(mut self, top: Attributes, name: &[u8]) -> Result<(Self, NodeId), TreeError> {
        let new = Node {
            attributes: top,
            kind: Kind::Directory(BTreeMap::new()),
            extended: BTreeMap::new(),
            acl: None,
        };
        let id = NodeId(u32::try_from(self.nodes.len()).map_err(|_| TreeError::Full)?);
        let old = std::mem::replace(&mut self.nodes[0], new);
        self.nodes.push(old);
        self.name(self.root(), name, id)?;
        Ok((self, id))
    }

    /// Gives a node that is no folder another name.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn link(&mut self, directory: NodeId, name: &[u8], node: NodeId) -> Result<(), TreeError> {
        if matches!(self.node(node).kind, Kind::Directory(_)) {
            return Err(TreeError::LinkedDirectory(name.to_vec()));
        }
        self.name(directory, name, node)
    }

    fn name(&mut self, directory: NodeId, name: &[u8], node: NodeId) -> Result<(), TreeError> {
        let illegal = name == b"." || name == b".." || name.iter().any(|&byte| byte == 0 || byte == b'/');
        if illegal || !(1..=MAX_NAME).contains(&name.len()) {
            return Err(TreeError::Name(name.to_vec()));
        }
        let Kind::Directory(entries) = &mut self.nodes[directory.0 as usize].kind else {
            return Err(TreeError::NoDirectory(name.to_vec()));
        };
        match entries.entry(name.to_vec()) {
            Entry::Vacant(vacant) => {
                vacant.insert(node);
                Ok(())
            }
            Entry::Occupied(taken) => Err(TreeError::Taken(taken.key().clone())),
        }
    }

    /// Takes a name away, and with it all that is below. What has other names stays under them.
    ///
    /// Gives the node that the name stood for.
    pub fn remove(&mut self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        match &mut self.nodes[directory.0 as usize].kind {
            Kind::Directory(entries) => entries.remove(name),
            _ => None,
        }
    }

    /// Gives a file other contents, under all its names; does nothing to other nodes.
    pub fn set_contents(&mut self, file: NodeId, contents: Arc<dyn Content>) {
        if let Kind::File(before) = &mut self.nodes[file.0 as usize].kind {
            *before = contents;
        }
    }

    /// The node at a path of names.
    pub fn find<'a>(&self, path: impl IntoIterator<Item = &'a [u8]>) -> Option<NodeId> {
        path.into_iter().try_fold(self.root(), |at, name| self.entry(at, name))
    }

    /// All names with the folders that they are in and what they stand for, a folder before what it holds, sorted by bytes in each.
    pub fn walk(&self) -> Walk<'_> {
        Walk { tree: self, waiting: vec![(self.root(), self.directory(self.root()))] }
    }

    /// A path of a node, from `/` on.
    #[must_use]
    pub fn path(&self, id: NodeId) -> Vec<u8> {
        let mut path: Vec<&[u8]> = Vec::new();
        for step in self.walk() {
            path.truncate(step.depth);
            path.push(step.name);
            if step.node == id {
                return path.iter().flat_map(|name| [b"/", *name]).flatten().copied().collect();
            }
        }
        b"/".to_vec()
    }

    fn directory(&self, id: NodeId) -> btree_map::Iter<'_, Vec<u8>, NodeId> {
        match &self.node(id).kind {
            Kind::Directory(entries) => entries.iter(),
            _ => btree_map::Iter::default(),
        }
    }
}

/// See [`Tree::walk`].
pub struct Walk<'a> {
    tree: &'a Tree,
    waiting: Vec<(NodeId, btree_map::Iter<'a, Vec<u8>, NodeId>)>,
}

/// A name on a [`Walk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// The folder.
    pub directory: NodeId,
    /// The name in it.
    pub name: &'a [u8],
    /// What it stands for.
    pub node: NodeId,
    /// How many folders the folder is below the top.
    pub depth: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        loop {
            let depth = self.waiting.len().checked_sub(1)?;
            let (directory, entries) = &mut self.waiting[depth];
            let directory = *directory;
            let Some((name, &node)) = entries.next() else {
                self.waiting.pop();
                continue;
            };
            if matches!(self.tree.node(node).kind, Kind::Directory(_)) {
                self.waiting.push((node, self.tree.directory(node)));
            }
            return Some(Step { directory, name, node, depth });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(contents: &str) -> Kind {
        Kind::File(Arc::new(contents.as_bytes().to_vec()))
    }

    #[test]
    fn a_walk_meets_folders_before_what_they_hold() {
        let mut tree = Tree::new(Attributes::default());
        let any = Attributes::default();
        let b = tree.add(tree.root(), b"b", any, Kind::Directory(BTreeMap::new())).unwrap();
        let x = tree.add(b, b"x", any, file("x")).unwrap();
        tree.add(tree.root(), b"a", any, file("a")).unwrap();
        tree.link(tree.root(), b"c", x).unwrap();
        let walk: Vec<_> = tree.walk().map(|step| (step.name, step.depth)).collect();
        assert_eq!(walk, [(&b"a"[..], 0), (b"b", 0), (b"x", 1), (b"c", 0)]);
        assert_eq!(tree.find([&b"b"[..], b"x"]), Some(x));
        assert_eq!(tree.find([&b"a"[..], b"x"]), None);
    }

    #[test]
    fn a_top_folder_can_be_put_into_another() {
        let mut tree = Tree::new(Attributes { uid: 7, ..Attributes::default() });
        let (root, any) = (tree.root(), Attributes::default());
        let file = tree.add(root, b"file", any, file("1")).unwrap();
        tree.extended_mut(root).insert(b"x".to_vec(), Arc::new(b"y".to_vec()));
        *tree.acl_mut(root) = Some(Vec::new());
        assert!(matches!(tree.clone().nested(any, b"a/b"), Err(TreeError::Name(_))));
        let (tree, old) = tree.nested(any, b"root").unwrap();
        let walk: Vec<_> = tree.walk().map(|step| (step.name, step.node)).collect();
        assert_eq!(walk, [(&b"root"[..], old), (b"file", file)]);
        let (top, old) = (tree.node(tree.root()), tree.node(old));
        assert_eq!((top.attributes.uid, top.extended.len(), top.acl.is_some()), (0, 0, false));
        assert_eq!((old.attributes.uid, old.extended.len(), old.acl.is_some()), (7, 1, true));
    }

    #[test]
    fn what_lost_its_name_is_met_no_more() {
        let mut tree = Tree::new(Attributes::default());
        let (root, any) = (tree.root(), Attributes::default());
        let folder = tree.add(root, b"folder", any, Kind::Directory(BTreeMap::new())).unwrap();
        let linked = tree.add(folder, b"linked", any, file("1")).unwrap();
        tree.add(folder, b"alone", any, file("2")).unwrap();
        tree.link(root, b"other", linked).unwrap();
        assert_eq!(tree.remove(root, b"folder"), Some(folder));
        assert_eq!(tree.remove(root, b"folder"), None);
        assert_eq!(tree.remove(linked, b"folder"), None);
        tree.set_contents(linked, Arc::new(b"12345".to_vec()));
        let walk: Vec<_> = tree.walk().map(|step| (step.name, step.node)).collect();
        assert_eq!(walk, [(&b"other"[..], linked)]);
        assert!(matches!(&tree.node(linked).kind, Kind::File(contents) if contents.size() == 5));
    }

    #[test]
    fn a_tree_takes_only_what_a_file_system_can_hold() {
        let mut tree = Tree::new(Attributes::default());
        let (root, any) = (tree.root(), Attributes::default());
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'n'; 256]] {
            assert!(matches!(tree.add(root, name, any, Kind::Fifo), Err(TreeError::Name(_))));
        }
        let fifo = tree.add(root, &[0xff; 255], any, Kind::Fifo).unwrap();
        assert!(matches!(tree.add(root, &[0xff; 255], any, Kind::Fifo), Err(TreeError::Taken(_))));
        assert!(matches!(tree.add(fifo, b"a", any, Kind::Fifo), Err(TreeError::NoDirectory(_))));
        for target in [vec![], vec![b't'; 1024], vec![0]] {
            assert!(matches!(tree.add(root, b"l", any, Kind::Symlink(target)), Err(TreeError::Target(_))));
        }
        let folder = tree.add(root, b"d", any, Kind::Directory(BTreeMap::new())).unwrap();
        assert!(matches!(tree.link(folder, b"e", folder), Err(TreeError::LinkedDirectory(_))));
        assert_eq!(tree.len(), 3);
    }
}
