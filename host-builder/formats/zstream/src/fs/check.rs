//! What a receiver takes and then dies of, or cannot read: found without any ZFS.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::acl::AclError;
use super::objects::{Object, Objects, Store};
use super::plan::MASTER;
use super::reader::{OBJECT, parts};
use super::sa::{Attribute, SaError, Schema};
use super::tree::{Content, MAX_NAME};
use super::znode::{BONUS_SA, BONUS_ZNODE, Znode};
use crate::finding::{Finding, Harm, of_snapshot};
use crate::record::{Features, MAX_PLAIN_BLOCK_SIZE, object_type};
use crate::zap::{self, BlockSource, Entry};

/// The bytes of a dnode that are neither attributes nor a slot more: its head and one block pointer.
const DNODE_HEAD: usize = 64 + 128;
/// The pointer to a spill block, which stands at the end of a dnode.
const SPILL_POINTER: usize = 128;
/// The most slots of a dnode.
const MAX_SLOTS: u8 = 32;

/// Everything that is wrong with a file system, the worst first. Nothing is found in one that [`super::read`] can read and no kernel
/// stumbles over.
pub fn check<S: Store>(objects: &Objects<S>) -> Vec<Finding> {
    let mut check = Check {
        objects,
        schema: None,
        root: 0,
        findings: Vec::new(),
        znodes: HashMap::new(),
        extended: HashSet::new(),
        names: HashMap::new(),
        folders: HashMap::new(),
    };
    if let Some(info) = objects.info() {
        check.findings = of_snapshot(&info.name, info.guid, info.from_guid, info.snapshots);
    }
    check.tables();
    for (number, object) in objects.iter() {
        check.object(number, object);
        check.attributes(number, object);
    }
    for (number, object) in objects.iter() {
        if object.object_type == object_type::DIRECTORY {
            check.directory(number);
        }
    }
    check.links();
    check.reading();
    let mut findings = check.findings;
    findings.sort_by_key(|finding| (finding.harm, finding.object));
    findings
}

struct Check<'a, S> {
    objects: &'a Objects<S>,
    schema: Option<Schema>,
    /// The object of the top folder.
    root: u64,
    findings: Vec<Finding>,
    znodes: HashMap<u64, Znode>,
    /// Folders of extended attributes.
    extended: HashSet<u64>,
    /// How many names each object has in folders.
    names: HashMap<u64, u64>,
    /// What each folder has.
    folders: HashMap<u64, Folder>,
}

/// What is counted of a folder.
#[derive(Debug, Clone, Copy, Default)]
struct Folder {
    entries: u64,
    folders: u64,
}

impl<S: Store> Check<'_, S> {
    fn find(&mut self, object: u64, harm: Harm, detail: impl Into<String>) {
        self.findings.push(Finding { object, harm, detail: detail.into() });
    }

    /// The names in a table; nothing where there is none, which is found wanting.
    fn names(&mut self, number: u64, harm: Harm) -> BTreeMap<Vec<u8>, Entry> {
        let order = self.objects.byte_order();
        let Some(object) = self.objects.get(number) else {
            self.find(number, harm, "it is not there");
            return BTreeMap::new();
        };
        let entries = match zap::read(object, order) {
            Ok(entries) => entries,
            Err(error) => {
                self.find(number, harm, error.to_string());
                return BTreeMap::new();
            }
        };
        let salt = object.block(0).and_then(|block| zap::salt(block, order)).unwrap_or(0);
        if salt == 0 {
            self.find(
                number,
                Harm::Panic,
                "the salt of its table is 0, which kernels made for testing assert",
            );
        }
        if let Some((one, other)) = zap::clash(salt, &entries) {
            let (one, other) = (String::from_utf8_lossy(&one.name), String::from_utf8_lossy(&other.name));
            self.find(
                number,
                Harm::Panic,
                format!("the names {one:?} and {other:?} of its table are the same, or have the same hash and differentiator"),
            );
        }
        if let Some(name) = zap::misplaced(object, order) {
            let name = String::from_utf8_lossy(&name).into_owned();
            self.find(
                number,
                Harm::Lost,
                format!("the name {name:?} is where nobody looks for it in its table"),
            );
        }
        entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect()
    }

    /// The tables from which everything is found.
    fn tables(&mut self) {
        let master = self.names(MASTER, Harm::Unmountable);
        let number = |names: &BTreeMap<Vec<u8>, Entry>, name: &str| {
            names.get(name.as_bytes()).and_then(|entry| entry.value.number())
        };
        for name in ["VERSION", "ROOT", "DELETE_QUEUE"] {
            if number(&master, name).is_none() {
                self.find(MASTER, Harm::Unmountable, format!("the master node has no {name}"));
            }
        }
        if let Some(version) = number(&master, "VERSION").filter(|&version| version > 5) {
            self.find(
                MASTER,
                Harm::Unmountable,
                format!("the file system is of version {version}, which no ZFS knows"),
            );
        }
        if let Some(queue) = number(&master, "DELETE_QUEUE") {
            self.names(queue, Harm::Unmountable);
        }
        if let Some(root) = number(&master, "ROOT") {
            self.root = root;
            if self.objects.get(root).is_none_or(|root| root.object_type != object_type::DIRECTORY) {
                self.find(root, Harm::Unmountable, "the top folder is not there");
            }
        }
        match (number(&master, "SA_ATTRS"), number(&master, "VERSION")) {
            (Some(attributes), _) => {
                let tables = self.names(attributes, Harm::Unmountable);
                let mut entries = |name| match number(&tables, name) {
                    Some(table) => self.names(table, Harm::Unmountable).into_values().collect(),
                    None => Vec::new(),
                };
                let (registry, layouts): (Vec<Entry>, Vec<Entry>) = (entries("REGISTRY"), entries("LAYOUTS"));
                match Schema::read(&registry, &layouts) {
                    Ok(schema) => {
                        if let Some(fault) = schema.faults() {
                            self.find(attributes, Harm::Panic, fault);
                        }
                        self.schema = Some(schema);
                    }
                    Err(error) => self.find(attributes, Harm::Unmountable, error.to_string()),
                }
            }
            (None, Some(5..)) => {
                self.find(
                    MASTER,
                    Harm::Unmountable,
                    "the master node of a file system of version 5 has no SA_ATTRS",
                );
            }
            (None, _) => {}
        }
    }

    /// What receivers want of any object.
    fn object(&mut self, number: u64, object: &Object) {
        let size = object.block_size;
        let features = self.objects.features();
        if object.offsets().any(|offset| offset > 0) && !size.is_power_of_two() {
            let detail = format!("it has several blocks of {size} bytes, which is no power of two");
            self.find(number, Harm::Panic, detail);
        }
        if size > MAX_PLAIN_BLOCK_SIZE && !features.contains(Features::LARGE_BLOCKS) {
            let detail = format!("its blocks have {size} bytes, which the stream does not announce");
            self.find(number, Harm::Panic, detail);
        }
        if object.dnode_slots > 1 && !features.contains(Features::LARGE_DNODE)
            || object.dnode_slots > MAX_SLOTS
        {
            let detail =
                format!("its dnode takes {} slots, which the stream does not announce", object.dnode_slots);
            self.find(number, Harm::Refused, detail);
        }
        if object.object_type == 0 {
            self.find(number, Harm::Refused, "it has no type");
        }
        // Only system attributes may be of no length.
        if (object.bonus_type == 0) != object.bonus.is_empty() && object.bonus_type != BONUS_SA {
            self.find(
                number,
                Harm::Refused,
                "its bonus buffer has a type and no length, or a length and no type",
            );
        }
        let room = usize::from(object.dnode_slots) * 512 - DNODE_HEAD;
        let length = object.bonus.len();
        if length > room {
            let detail = format!("its bonus buffer has {length} bytes, and its dnode room for {room}");
            self.find(number, Harm::Refused, detail);
        }
        let Some(spill) = &object.spill else { return };
        if object.bonus_type != BONUS_SA {
            self.find(number, Harm::Refused, "it has a spill block and no system attributes");
        }
        if !spill.len().is_multiple_of(512) || spill.len() > MAX_PLAIN_BLOCK_SIZE as usize {
            self.find(number, Harm::Refused, format!("its spill block has {} bytes", spill.len()));
        }
        if length <= room && length + SPILL_POINTER > room {
            self.find(
                number,
                Harm::Panic,
                format!(
                    "its bonus buffer has {length} bytes, and beside a spill block there is room for {}",
                    room - SPILL_POINTER
                ),
            );
        }
    }

    fn attributes(&mut self, number: u64, object: &Object) {
        if ![object_type::FILE, object_type::DIRECTORY].contains(&object.object_type) {
            return;
        }
        let order = self.objects.byte_order();
        let znode = match (object.bonus_type, &self.schema) {
            (BONUS_ZNODE, _) => Znode::from_old(&object.bonus, order).map_err(|error| found(&error)),
            (BONUS_SA, Some(schema)) => {
                let accounted = schema.is_accounted(&object.bonus, order);
                let has_list = has_list(schema, object, order);
                let spill = object.spill.as_deref();
                let znode = Znode::from_attributes(schema, &object.bonus, spill, order)
                    .map_err(|error| found(&error));
                if znode.is_ok() && !accounted {
                    let detail = "its attributes do not begin with mode, size, generation, owner, group and parent, where the \
                                  space it takes is counted for its owner";
                    self.find(number, Harm::Lost, detail);
                }
                if znode.is_ok() && !has_list {
                    let detail = "it has no access control list, without which illumos lets nobody open it";
                    self.find(number, Harm::Lost, detail);
                }
                znode
            }
            // That there is no schema was found already.
            (BONUS_SA, None) => return,
            _ => Err((Harm::Panic, "it has no attributes".to_owned())),
        };
        match znode {
            Ok(znode) => {
                self.znode(number, object, &znode);
                self.znodes.insert(number, znode);
            }
            Err((harm, detail)) => self.find(number, harm, detail),
        }
    }

    fn znode(&mut self, number: u64, object: &Object, znode: &Znode) {
        if znode.generation == 0 {
            self.find(number, Harm::Lost, "its generation is 0, so it cannot be opened");
        }
        let kind = znode.mode >> 12;
        match kind {
            0o2 | 0o6 if znode.device.is_none() => {
                self.find(number, Harm::Panic, "it is a device without the numbers of one");
            }
            0o12 => self.symlink(number, object, znode),
            0o10 if znode.size > object.block_size.into() && !object.block_size.is_power_of_two() => {
                self.find(
                    number,
                    Harm::Panic,
                    format!(
                        "it has {} bytes in blocks of {}, which is no power of two",
                        znode.size, object.block_size
                    ),
                );
            }
            0o1 | 0o2 | 0o4 | 0o6 | 0o10 | 0o14 | 0o15 => {}
            _ => self.find(number, Harm::Lost, format!("its mode {:o} is of no kind", znode.mode)),
        }
        if (kind == 0o4) != (object.object_type == object_type::DIRECTORY) {
            let detail =
                format!("its mode is {:o}, and its object of type {}", znode.mode, object.object_type);
            self.find(number, Harm::Panic, detail);
        }
        if znode.extended != 0 {
            self.extended.insert(znode.extended);
            let folder = self.objects.get(znode.extended);
            if folder.is_none_or(|folder| folder.object_type != object_type::DIRECTORY) {
                self.find(number, Harm::Lost, "the folder of its extended attributes is not there");
            }
        }
    }

    fn symlink(&mut self, number: u64, object: &Object, znode: &Znode) {
        let length = match &znode.target {
            Some(target) => Some(target.len() as u64),
            // Old ones keep long targets as contents.
            None if object.bonus_type == BONUS_ZNODE && object.has(0) => Some(znode.size),
            None => None,
        };
        match length {
            Some(length) if length != znode.size => {
                let detail = format!("its target has {length} bytes, and its size is {}", znode.size);
                self.find(number, Harm::Lost, detail);
            }
            None => self.find(number, Harm::Lost, "it is a symbolic link without a target"),
            Some(_) => {}
        }
    }

    fn directory(&mut self, number: u64) {
        let mut folder = Folder::default();
        for (name, entry) in self.names(number, Harm::Lost) {
            folder.entries += 1;
            let shown = String::from_utf8_lossy(&name).into_owned();
            // Linux takes any name for an extended attribute.
            let is_illegal = name.contains(&b'/') || name == b"." || name == b".." || name.len() > MAX_NAME;
            if is_illegal && !self.extended.contains(&number) {
                self.find(
                    number,
                    Harm::Lost,
                    format!("the entry {shown:?} has a name that no file can have"),
                );
            }
            let Some(value) = entry.value.number() else {
                self.find(number, Harm::Lost, format!("the entry {shown:?} is no number"));
                continue;
            };
            let (object, code) = (value & OBJECT, value >> 60);
            *self.names.entry(object).or_default() += 1;
            if code == 0o4 {
                folder.folders += 1;
                self.folder(number, &shown, object);
            }
            match self.znodes.get(&object).map(|znode| znode.mode >> 12) {
                None if self.objects.get(object).is_none() => {
                    let detail = format!("the entry {shown:?} is of object {object}, which is not there");
                    self.find(number, Harm::Lost, detail);
                }
                Some(kind) if kind != code => {
                    let detail =
                        format!("the entry {shown:?} has type {code}, and object {object} has type {kind}");
                    self.find(number, Harm::Lost, detail);
                }
                _ => {}
            }
        }
        self.folders.insert(number, folder);
    }

    /// A folder that has a name in another: no other may have it, or paths would have no end.
    fn folder(&mut self, number: u64, name: &str, object: u64) {
        if object == self.root || self.names.get(&object).is_some_and(|names| *names > 1) {
            let detail = format!("the entry {name:?} is a second name of the folder with object {object}");
            self.find(number, Harm::Lost, detail);
        } else if let Some(parent) =
            self.znodes.get(&object).map(|znode| znode.parent).filter(|parent| *parent != number)
        {
            let detail =
                format!("the folder {name:?} says that it is in object {parent}, where its .. leads");
            self.find(number, Harm::Lost, detail);
        }
    }

    /// Whether everything has as many names as it says, and folders as many entries.
    fn links(&mut self) {
        let mut numbers: Vec<u64> = self.znodes.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let (links, size) = (self.znodes[&number].links, self.znodes[&number].size);
            match (self.folders.get(&number), self.names.get(&number)) {
                (Some(&Folder { entries, folders }), _) => {
                    if size != entries + 2 {
                        let detail = format!(
                            "its size is that of a folder of {} names, and it has {entries}",
                            size.wrapping_sub(2)
                        );
                        self.find(number, Harm::Lost, detail);
                    }
                    if links != folders + 2 {
                        let detail = format!(
                            "it says that it is linked {links} times, and has {folders} folders, which makes {}",
                            folders + 2
                        );
                        self.find(number, Harm::Lost, detail);
                    }
                }
                // What was removed while it was open has none.
                (None, Some(&names)) if names != links => {
                    let detail = format!("it says that it has {links} names, and has {names}");
                    self.find(number, Harm::Lost, detail);
                }
                (None, _) => {}
            }
        }
    }

    /// What nothing of the above found, and still is no tree.
    fn reading(&mut self) {
        let Err(error) = parts(self.objects, &|_, size| Arc::new(Absent(size))) else { return };
        let known: HashSet<u64> = self.findings.iter().map(|finding| finding.object).collect();
        if !known.contains(&error.object) {
            self.find(error.object, Harm::Unread, format!("{} ({})", error.detail, error.path));
        }
    }
}

/// What comes of attributes that cannot be read.
fn found(error: &SaError) -> (Harm, String) {
    let harm = match error {
        SaError::Magic | SaError::Layout(_) | SaError::Short => Harm::Panic,
        SaError::Table(_) => Harm::Unmountable,
        SaError::List(AclError::Foreign(_)) => Harm::Unread,
        SaError::List(_) => Harm::Lost,
    };
    (harm, error.to_string())
}

/// Whether system attributes have an access control list among them.
fn has_list(schema: &Schema, object: &Object, order: crate::checksum::ByteOrder) -> bool {
    let mut values = BTreeMap::new();
    // Errors are found with the attributes as such.
    let decoded = [Some(&object.bonus[..]), object.spill.as_deref()]
        .into_iter()
        .flatten()
        .all(|buffer| schema.decode(buffer, order, &mut values).is_ok());
    !decoded || values.contains_key(&Attribute::DaclAces) || values.contains_key(&Attribute::ZnodeAcl)
}

/// Contents that nobody asks for.
struct Absent(u64);

impl Content for Absent {
    fn size(&self) -> u64 {
        self.0
    }

    fn give(&self, _sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        Ok(())
    }
}
