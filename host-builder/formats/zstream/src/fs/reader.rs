//! Objects become a tree.
//!
//! A stream is not to be trusted: folders may be in themselves, names be none, and a hundred thousand folders be in one another. So
//! nothing here calls itself, nothing is taken twice that could be taken without end, and paths are put together only when there is
//! something to say about one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::acl::{External, Foreign, MAX_ENTRIES};
use super::objects::{Object, Objects, Store};
use super::packed;
use super::plan::{AttributeObjects, Fixed, MASTER};
use super::sa::Schema;
use super::tree::{Attributes, Content, Kind, MAX_TARGET, NodeId, Tree};
use super::znode::{BONUS_SA, BONUS_ZNODE, Znode};
use crate::record::{MAX_PLAIN_BLOCK_SIZE, object_type};
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
pub(super) const OBJECT: u64 = (1 << 48) - 1;

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
    /// The names of those that it has among its own attributes.
    pub packed: BTreeSet<Vec<u8>>,
}

/// The tree in a dataset.
///
/// # Errors
/// [`ReadError`] for what a kernel would stumble over as well, and for users and groups by names of other systems (FUIDs).
pub fn read<S: Store + Send + Sync + 'static>(objects: Objects<S>) -> Result<FileSystem<S>, ReadError> {
    let objects = Arc::new(objects);
    let contents = |object: u64, size: u64| -> Arc<dyn Content> {
        Arc::new(Stored { objects: Arc::clone(&objects), object, size })
    };
    let Parts { tree, version, fixed, schema, places } = parts(&objects, &contents)?;
    Ok(FileSystem { tree, objects, version, fixed, schema, places })
}

/// What a file system is made of.
pub(super) struct Parts {
    pub tree: Tree,
    pub version: u64,
    pub fixed: Fixed,
    pub schema: Option<Schema>,
    pub places: Vec<Seat>,
}

/// Makes the contents of a file from its object and its size.
type MakeContents<'a> = &'a dyn Fn(u64, u64) -> Arc<dyn Content>;

/// The tree in a dataset and what belongs to it.
///
/// # Errors
/// As of [`read`].
pub(super) fn parts<S: Store>(objects: &Objects<S>, contents: MakeContents<'_>) -> Result<Parts, ReadError> {
    let master = Names::of(objects, MASTER).map_err(|trouble| trouble.at("the master node"))?;
    let wrong = |detail: &str| trouble(MASTER, detail).at("the master node");
    let number = |name: &str| master.get(name).ok_or_else(|| wrong(&format!("it has no {name}")));
    let version = number("VERSION")?;
    if version > 5 {
        return Err(wrong(&format!("file systems of version {version} are not known")));
    }
    let delete_queue = number("DELETE_QUEUE")?;
    let (schema, attributes) = match master.get("SA_ATTRS") {
        Some(number) => schema(objects, number)
            .map(|(schema, objects)| (Some(schema), objects))
            .map_err(|trouble| trouble.at("a table of attributes"))?,
        None if version >= 5 => return Err(wrong("it has no SA_ATTRS, so it cannot be mounted")),
        None => (None, None),
    };
    let fixed = Fixed { attributes, delete_queue };
    let root = number("ROOT")?;
    let mut reading = Reading {
        objects,
        contents,
        schema,
        nodes: HashMap::new(),
        taken: HashSet::new(),
        places: Vec::new(),
    };
    let top = |trouble: Trouble| trouble.at("/");
    let (attributes, znode) = reading.attributes(root).map_err(top)?;
    if znode.mode >> 12 != 0o4 {
        return Err(trouble(root, "the top folder is no folder").at("/"));
    }
    let mut tree = Tree::new(attributes);
    let node = tree.root();
    reading.nodes.insert(root, node);
    reading.seat(&mut tree, node, root, znode).map_err(top)?;
    let mut waiting = vec![(node, root)];
    while let Some((directory, object)) = waiting.pop() {
        let names =
            Names::of(objects, object).map_err(|trouble| trouble.at(&shown(&tree, directory, None)))?;
        for entry in names.0 {
            let found = reading.entry(&mut tree, directory, &entry);
            let found = found.map_err(|trouble| trouble.at(&shown(&tree, directory, Some(&entry.name))))?;
            waiting.extend(found);
        }
    }
    let Reading { schema, places, .. } = reading;
    Ok(Parts { tree, version, fixed, schema, places })
}

/// A path for people: of a folder, or of a name in it. Of long ones only the end, as anything can be in a stream.
fn shown(tree: &Tree, directory: NodeId, name: Option<&[u8]>) -> String {
    const LONGEST: usize = 1024;
    let mut path = tree.path(directory);
    if let Some(name) = name {
        if path != b"/" {
            path.push(b'/');
        }
        path.extend_from_slice(name);
    }
    match path.len().checked_sub(LONGEST) {
        None | Some(0) => String::from_utf8_lossy(&path).into_owned(),
        Some(more) => format!("\u{2026}{}", String::from_utf8_lossy(&path[more..])),
    }
}

/// What is wrong with an object whose path is not known yet.
#[derive(Debug)]
struct Trouble {
    object: u64,
    detail: String,
}

impl Trouble {
    fn at(self, path: &str) -> ReadError {
        ReadError { object: self.object, path: path.to_owned(), detail: self.detail }
    }
}

fn trouble(object: u64, detail: impl Into<String>) -> Trouble {
    Trouble { object, detail: detail.into() }
}

/// What attributes mean, and the objects that say so if all of them are there.
fn schema<S: Store>(
    objects: &Objects<S>,
    number: u64,
) -> Result<(Schema, Option<AttributeObjects>), Trouble> {
    let master = Names::of(objects, number)?;
    let names = |name: &str| match master.get(name) {
        Some(number) => Names::of(objects, number).map(|names| names.0),
        None => Ok(Vec::new()),
    };
    let (registry, layouts) = (names("REGISTRY")?, names("LAYOUTS")?);
    let schema = Schema::read(&registry, &layouts).map_err(|error| trouble(number, error.to_string()))?;
    let registry_and_layouts = master.get("REGISTRY").zip(master.get("LAYOUTS"));
    let objects = registry_and_layouts.map(|(registry, layouts)| AttributeObjects {
        master: number,
        registry,
        layouts,
    });
    Ok((schema, objects))
}

/// A name table.
struct Names(Vec<Entry>);

impl Names {
    fn of<S: Store>(objects: &Objects<S>, number: u64) -> Result<Self, Trouble> {
        let object = objects.get(number).ok_or_else(|| trouble(number, "it is not there"))?;
        let entries =
            zap::read(object, objects.byte_order()).map_err(|error| trouble(number, error.to_string()))?;
        Ok(Self(entries))
    }

    fn get(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|entry| entry.name == name.as_bytes()).and_then(|entry| entry.value.number())
    }
}

struct Reading<'a, S> {
    objects: &'a Objects<S>,
    contents: MakeContents<'a>,
    schema: Option<Schema>,
    /// The node of each object that was met.
    nodes: HashMap<u64, NodeId>,
    /// Folders of extended attributes and objects of lists that were met: each belongs to one node.
    taken: HashSet<u64>,
    places: Vec<Seat>,
}

impl<S: Store> Reading<'_, S> {
    /// Puts what an entry of a folder stands for into the tree; gives node and object if that is a folder to be read.
    fn entry(
        &mut self,
        tree: &mut Tree,
        directory: NodeId,
        entry: &Entry,
    ) -> Result<Option<(NodeId, u64)>, Trouble> {
        let value = entry.value.number().ok_or_else(|| trouble(0, "its entry is no number"))?;
        let (object, code) = (value & OBJECT, (value >> 60) as u8);
        if let Some(&node) = self.nodes.get(&object) {
            tree.link(directory, &entry.name, node).map_err(|error| trouble(object, error.to_string()))?;
            return Ok(None);
        }
        let (attributes, znode) = self.attributes(object)?;
        let kind = self.kind(object, &znode)?;
        if kind.code() != code {
            let detail = format!("its mode {:o} is not that of an entry of type {code}", znode.mode);
            return Err(trouble(object, detail));
        }
        let is_directory = matches!(kind, Kind::Directory(_));
        let added = tree.add(directory, &entry.name, attributes, kind);
        let node = added.map_err(|error| trouble(object, error.to_string()))?;
        self.nodes.insert(object, node);
        self.seat(tree, node, object, znode)?;
        Ok(is_directory.then_some((node, object)))
    }

    fn kind(&self, object: u64, znode: &Znode) -> Result<Kind, Trouble> {
        let device =
            || znode.device.ok_or_else(|| trouble(object, "it is a device without the numbers of one"));
        Ok(match znode.mode >> 12 {
            0o1 => Kind::Fifo,
            0o2 => Kind::CharacterDevice(device()?),
            0o4 => Kind::Directory(BTreeMap::new()),
            0o6 => Kind::BlockDevice(device()?),
            0o10 => Kind::File((self.contents)(object, znode.size)),
            0o12 => Kind::Symlink(match &znode.target {
                Some(target) => target.clone(),
                None => self.target(object, znode.size)?,
            }),
            0o14 => Kind::Socket,
            0o15 => Kind::Door,
            _ => {
                return Err(trouble(object, format!("it has mode {:o}, which is of no kind", znode.mode)));
            }
        })
    }

    /// The target of a symbolic link that is kept as contents.
    fn target(&self, object: u64, size: u64) -> Result<Vec<u8>, Trouble> {
        let holder = self.object(object)?;
        let longest = (MAX_TARGET as u64).min(holder.block_size.into());
        if size > longest || holder.block_size > MAX_PLAIN_BLOCK_SIZE {
            return Err(trouble(object, "its target is too long, or not all there"));
        }
        let mut target = Vec::new();
        self.objects.read(holder, 0, &mut target).map_err(|error| trouble(object, error.to_string()))?;
        target.truncate(size as usize);
        Ok(target)
    }

    /// Notes the object of a node, and adds its extended attributes and its list, if it has any.
    fn seat(&mut self, tree: &mut Tree, node: NodeId, object: u64, znode: Znode) -> Result<(), Trouble> {
        let mut extended = BTreeMap::new();
        if znode.extended != 0 {
            if !self.taken.insert(znode.extended) {
                return Err(trouble(
                    znode.extended,
                    "its extended attributes are those of something else, too",
                ));
            }
            for entry in Names::of(self.objects, znode.extended)?.0 {
                let value =
                    entry.value.number().ok_or_else(|| trouble(znode.extended, "an entry is no number"))?;
                let file = value & OBJECT;
                let (_, attribute) = self.attributes(file)?;
                let contents = (self.contents)(file, attribute.size);
                tree.extended_mut(node).insert(entry.name.clone(), contents);
                extended.insert(entry.name, file);
            }
        }
        let mut names = BTreeSet::new();
        if let Some(bytes) = &znode.packed {
            // Of two with one name the one among its own attributes is what ZFS finds first.
            for (name, value) in packed::decode(bytes).map_err(|error| trouble(object, error.to_string()))? {
                tree.extended_mut(node).insert(name.clone(), Arc::new(value));
                names.insert(name);
            }
        }
        tree.acl_mut(node).clone_from(&znode.acl);
        self.places.push(Seat { object, znode, extended, packed: names });
        Ok(())
    }

    fn object(&self, number: u64) -> Result<&Object, Trouble> {
        self.objects.get(number).ok_or_else(|| trouble(number, "its object is not there"))
    }

    fn attributes(&mut self, number: u64) -> Result<(Attributes, Znode), Trouble> {
        let object = self.object(number)?;
        let order = self.objects.byte_order();
        let fail = |detail: &str| trouble(number, detail);
        let znode = match (object.bonus_type, &self.schema) {
            (BONUS_ZNODE, _) => Znode::from_old(&object.bonus, order),
            (BONUS_SA, Some(schema)) => {
                Znode::from_attributes(schema, &object.bonus, object.spill.as_deref(), order)
            }
            _ => return Err(fail("it has no attributes")),
        };
        let mut znode = znode.map_err(|error| trouble(number, error.to_string()))?;
        if ![object_type::FILE, object_type::DIRECTORY].contains(&object.object_type) {
            return Err(fail("it is neither a file nor a folder"));
        }
        if znode.generation == 0 {
            return Err(fail("its generation is 0, so it cannot be opened"));
        }
        if let Some(external) = znode.external {
            self.list(number, external, &mut znode)?;
        }
        let of_here = |id: u64, what: &str| {
            u32::try_from(id).map_err(|_| {
                let detail = format!(
                    "its {what} is {} of another system (a FUID), and no number: kiln cannot translate such names, so \
                     give it to a user of this system with chown or chgrp and send it again",
                    Foreign(id)
                );
                trouble(number, detail)
            })
        };
        let [accessed, modified, changed, created] = znode.times;
        let attributes = Attributes {
            permissions: znode.mode as u16 & 0o7777,
            uid: of_here(znode.uid, "owner")?,
            gid: of_here(znode.gid, "group")?,
            accessed,
            modified,
            changed,
            created,
        };
        Ok((attributes, znode))
    }

    /// Reads an access control list that has an object of its own.
    fn list(&mut self, number: u64, external: External, znode: &mut Znode) -> Result<(), Trouble> {
        let holder = self.object(external.object)?;
        let is_list = [object_type::ACL, object_type::OLD_ACL].contains(&holder.object_type);
        if !is_list || holder.block_size > MAX_PLAIN_BLOCK_SIZE {
            return Err(trouble(number, "the object of its access control list is none"));
        }
        // As long as the longest list can be.
        let (mut contents, mut block) = (Vec::new(), Vec::new());
        for offset in (0..(MAX_ENTRIES * 48) as u64).step_by(holder.block_size as usize) {
            self.objects
                .read(holder, offset, &mut block)
                .map_err(|error| trouble(number, error.to_string()))?;
            contents.extend_from_slice(&block);
        }
        let list = external.decode(&contents, self.objects.byte_order());
        znode.take_list(list.map_err(|error| trouble(number, error.to_string()))?);
        if !self.taken.insert(external.object) {
            return Err(trouble(number, "its access control list is that of something else, too"));
        }
        Ok(())
    }
}

/// The contents of a file in the store.
struct Stored<S> {
    objects: Arc<Objects<S>>,
    object: u64,
    size: u64,
}

impl<S: Store + Send + Sync + 'static> Content for Stored<S> {
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
