//! Objects become a tree.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use super::objects::{Object, Objects, Store};
use super::plan::{AttributeObjects, Fixed, MASTER};
use super::sa::Schema;
use super::tree::{Attributes, Content, Kind, NodeId, Tree};
use super::znode::{BONUS_SA, BONUS_ZNODE, Znode};
use crate::record::object_type;
use crate::zap::{self, Entry};

/// Why objects are not a file system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail} (object {object}, {path})")]
pub struct ReadError {
    /// The object concerned.
    pub object: u64,
    /// Its path, or what it is.
    pub path: String,
    /// What is wrong.
    pub detail: String,
}

/// The part of the number in a folder's entry that is an object; above it is the type of file.
const OBJECT: u64 = (1 << 48) - 1;

/// A file system that was read.
pub struct FileSystem<S> {
    /// Its tree. Contents are those in the store of the objects.
    pub tree: Tree,
    /// The objects.
    pub objects: Arc<Objects<S>>,
    /// The version: 5 keeps system attributes, older ones do not.
    pub version: u64,
    /// The objects that are no nodes.
    pub(super) fixed: Fixed,
    /// What the attributes mean, of version 5.
    pub(super) schema: Option<Schema>,
    /// The objects of nodes, by node.
    pub(super) places: Vec<Seat>,
}

impl<S> FileSystem<S> {
    /// The object of a node.
    pub fn object_of(&self, node: NodeId) -> u64 {
        self.places[node.index()].object
    }
}

/// What a node is in the objects.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    /// Its object.
    pub object: u64,
    /// Its attributes.
    pub znode: Znode,
    /// The files of its extended attributes, by name.
    pub extended: BTreeMap<Vec<u8>, u64>,
}

/// The tree in a dataset.
///
/// # Errors
/// [`ReadError`] for what a kernel would stumble over as well, and for owners that are no plain numbers.
pub fn read<S: Store + Send + Sync + 'static>(objects: Objects<S>) -> Result<FileSystem<S>, ReadError> {
    let objects = Arc::new(objects);
    let master = Names::of(&objects, MASTER, "the master node")?;
    let version = master.number("VERSION")?;
    if version > 5 {
        return Err(master.error(format!("file systems of version {version} are not known")));
    }
    let delete_queue = master.number("DELETE_QUEUE")?;
    let (schema, attributes) = match master.get("SA_ATTRS") {
        Some(number) => schema(&objects, number).map(|(schema, objects)| (Some(schema), objects))?,
        None if version >= 5 => {
            return Err(master.error("it has no SA_ATTRS, so it cannot be mounted".into()));
        }
        None => (None, None),
    };
    let fixed = Fixed { attributes, delete_queue };
    let root = master.number("ROOT")?;
    let mut reading = Reading { objects, schema, nodes: HashMap::new(), places: Vec::new() };
    let (attributes, znode) = reading.attributes(root, "/")?;
    if znode.mode >> 12 != 0o4 {
        return Err(error(root, "/", "the top folder is no folder".into()));
    }
    let mut tree = Tree::new(attributes);
    reading.nodes.insert(root, tree.root());
    let top = tree.root();
    reading.seat(&mut tree, (top, root, "/"), znode)?;
    let mut waiting = vec![(top, root, String::new())];
    while let Some((directory, object, path)) = waiting.pop() {
        for entry in Names::of(&reading.objects, object, &path)?.entries {
            let path = format!("{path}/{}", String::from_utf8_lossy(&entry.name));
            if let Some((node, number)) = reading.entry(&mut tree, directory, &entry, &path)? {
                waiting.push((node, number, path));
            }
        }
    }
    let Reading { objects, schema, places, .. } = reading;
    Ok(FileSystem { tree, objects, version, fixed, schema, places })
}

fn error(object: u64, path: &str, detail: String) -> ReadError {
    ReadError { object, path: path.to_owned(), detail }
}

/// What attributes mean, and the objects that say so if all of them are there.
fn schema<S: Store>(
    objects: &Objects<S>,
    number: u64,
) -> Result<(Schema, Option<AttributeObjects>), ReadError> {
    let master = Names::of(objects, number, "the table of attribute tables")?;
    let names = |name: &str| match master.get(name) {
        Some(number) => Names::of(objects, number, "a table of attributes").map(|names| names.entries),
        None => Ok(Vec::new()),
    };
    let (registry, layouts) = (names("REGISTRY")?, names("LAYOUTS")?);
    let schema = Schema::read(&registry, &layouts).map_err(|error| master.error(error.to_string()))?;
    let registry_and_layouts = master.get("REGISTRY").zip(master.get("LAYOUTS"));
    let objects = registry_and_layouts.map(|(registry, layouts)| AttributeObjects {
        master: number,
        registry,
        layouts,
    });
    Ok((schema, objects))
}

/// A name table.
struct Names<'a> {
    object: u64,
    path: &'a str,
    entries: Vec<Entry>,
}

impl<'a> Names<'a> {
    fn of<S: Store>(objects: &Objects<S>, number: u64, path: &'a str) -> Result<Self, ReadError> {
        let object = objects.get(number).ok_or_else(|| error(number, path, "it is not there".into()))?;
        let entries = zap::read(object, objects.byte_order())
            .map_err(|source| error(number, path, source.to_string()))?;
        Ok(Self { object: number, path, entries })
    }

    fn get(&self, name: &str) -> Option<u64> {
        self.entries.iter().find(|entry| entry.name == name.as_bytes()).and_then(|entry| entry.value.number())
    }

    fn number(&self, name: &str) -> Result<u64, ReadError> {
        self.get(name).ok_or_else(|| self.error(format!("it has no {name}")))
    }

    fn error(&self, detail: String) -> ReadError {
        error(self.object, self.path, detail)
    }
}

struct Reading<S> {
    objects: Arc<Objects<S>>,
    schema: Option<Schema>,
    /// The node of each object that was met.
    nodes: HashMap<u64, NodeId>,
    places: Vec<Seat>,
}

impl<S: Store + Send + Sync + 'static> Reading<S> {
    /// Puts what an entry of a folder stands for into the tree; gives node and object if that is a folder to be read.
    fn entry(
        &mut self,
        tree: &mut Tree,
        directory: NodeId,
        entry: &Entry,
        path: &str,
    ) -> Result<Option<(NodeId, u64)>, ReadError> {
        let value = entry.value.number().ok_or_else(|| error(0, path, "its entry is no number".into()))?;
        let (object, code) = (value & OBJECT, (value >> 60) as u8);
        let in_tree = |source: super::tree::TreeError| error(object, path, source.to_string());
        if let Some(&node) = self.nodes.get(&object) {
            tree.link(directory, &entry.name, node).map_err(in_tree)?;
            return Ok(None);
        }
        let (attributes, znode) = self.attributes(object, path)?;
        let kind = self.kind(object, &znode, path)?;
        if kind.code() != code {
            let detail = format!("its mode {:o} is not that of an entry of type {code}", znode.mode);
            return Err(error(object, path, detail));
        }
        let is_directory = matches!(kind, Kind::Directory(_));
        let node = tree.add(directory, &entry.name, attributes, kind).map_err(in_tree)?;
        self.nodes.insert(object, node);
        self.seat(tree, (node, object, path), znode)?;
        Ok(is_directory.then_some((node, object)))
    }

    fn kind(&self, object: u64, znode: &Znode, path: &str) -> Result<Kind, ReadError> {
        let device = || {
            znode
                .device
                .ok_or_else(|| error(object, path, "it is a device without the numbers of one".into()))
        };
        Ok(match znode.mode >> 12 {
            0o1 => Kind::Fifo,
            0o2 => Kind::CharacterDevice(device()?),
            0o4 => Kind::Directory(BTreeMap::new()),
            0o6 => Kind::BlockDevice(device()?),
            0o10 => Kind::File(self.content(object, znode.size)),
            0o12 => Kind::Symlink(match &znode.target {
                Some(target) => target.clone(),
                None => self.target(object, znode.size, path)?,
            }),
            0o14 => Kind::Socket,
            0o15 => Kind::Door,
            _ => {
                return Err(error(
                    object,
                    path,
                    format!("it has mode {:o}, which is of no kind", znode.mode),
                ));
            }
        })
    }

    /// The target of a symbolic link that is kept as contents.
    fn target(&self, object: u64, size: u64, path: &str) -> Result<Vec<u8>, ReadError> {
        let holder = self.object(object, path)?;
        let mut target = Vec::new();
        self.objects
            .read(holder, 0, &mut target)
            .map_err(|source| error(object, path, source.to_string()))?;
        if size > target.len() as u64 {
            return Err(error(object, path, "its target is not all there".into()));
        }
        target.truncate(size as usize);
        Ok(target)
    }

    fn content(&self, object: u64, size: u64) -> Arc<dyn Content> {
        Arc::new(Stored { objects: Arc::clone(&self.objects), object, size })
    }

    /// Notes the object of a node, and adds its extended attributes, if it has any.
    fn seat(
        &mut self,
        tree: &mut Tree,
        (node, object, path): (NodeId, u64, &str),
        znode: Znode,
    ) -> Result<(), ReadError> {
        let mut extended = BTreeMap::new();
        if znode.extended != 0 {
            for entry in Names::of(&self.objects, znode.extended, path)?.entries {
                let value =
                    entry.value.number().ok_or_else(|| error(0, path, "its entry is no number".into()))?;
                let object = value & OBJECT;
                let (_, attribute) = self.attributes(object, path)?;
                tree.extended_mut(node).insert(entry.name.clone(), self.content(object, attribute.size));
                extended.insert(entry.name, object);
            }
        }
        self.places.push(Seat { object, znode, extended });
        Ok(())
    }

    fn object(&self, number: u64, path: &str) -> Result<&Object, ReadError> {
        self.objects.get(number).ok_or_else(|| error(number, path, "its object is not there".into()))
    }

    fn attributes(&self, number: u64, path: &str) -> Result<(Attributes, Znode), ReadError> {
        let object = self.object(number, path)?;
        let order = self.objects.byte_order();
        let fail = |detail: String| error(number, path, detail);
        let znode = match (object.bonus_type, &self.schema) {
            (BONUS_ZNODE, _) => Znode::from_old(&object.bonus, order)
                .ok_or_else(|| fail("its attributes are not all there".into()))?,
            (BONUS_SA, Some(schema)) => {
                Znode::from_attributes(schema, &object.bonus, object.spill.as_deref(), order)
                    .map_err(|source| fail(source.to_string()))?
            }
            _ => return Err(fail("it has no attributes".into())),
        };
        if ![object_type::FILE, object_type::DIRECTORY].contains(&object.object_type) {
            return Err(fail("it is neither a file nor a folder".into()));
        }
        if znode.generation == 0 {
            return Err(fail("its generation is 0, so it cannot be opened".into()));
        }
        let number = |id: u64, what: &str| {
            u32::try_from(id)
                .map_err(|_| fail(format!("its {what} is a name of another system, and no number")))
        };
        let [accessed, modified, changed, created] = znode.times;
        let attributes = Attributes {
            permissions: znode.mode as u16 & 0o7777,
            uid: number(znode.uid, "owner")?,
            gid: number(znode.gid, "group")?,
            accessed,
            modified,
            changed,
            created,
        };
        Ok((attributes, znode))
    }
}

/// The contents of a file in the store.
struct Stored<S> {
    objects: Arc<Objects<S>>,
    object: u64,
    size: u64,
}

impl<S: Store + Send + Sync> Content for Stored<S> {
    fn size(&self) -> u64 {
        self.size
    }

    fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let Some(object) = self.objects.get(self.object) else { return Ok(()) };
        let mut block = Vec::new();
        for offset in object.offsets().take_while(|&offset| offset < self.size) {
            self.objects.read(object, offset, &mut block)?;
            let length = (block.len() as u64).min(self.size - offset);
            sink(offset, &block[..length as usize])?;
        }
        Ok(())
    }
}
