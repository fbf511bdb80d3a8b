//! The objects of a file system as they are to be in a dataset.

use std::sync::Arc;

use super::acl::{self, MAX_ENTRIES};
use super::plan::{Place, Plan, Role};
use super::sa::{self, Layout, Numbering, Schema};
use super::tree::{Attributes, Content, Kind, Node, NodeId, Tree};
use super::znode::{Encoded, Znode};
use crate::record::object_type;
use crate::writer::ObjectHeader;
use crate::zap::{self, ZapError};

/// The largest block of a file, in bytes: that of a ZFS of 2013.
pub const MAX_BLOCK: u64 = 128 << 10;
/// The mode of a folder of extended attributes, and of what is in it.
const EXTENDED_DIRECTORY_MODE: u64 = 0o041_777;
const EXTENDED_MODE: u64 = 0o100_644;

/// An object.
pub struct Image {
    /// How it is declared.
    pub header: ObjectHeader,
    /// Its bonus buffer.
    pub bonus: Vec<u8>,
    /// Its spill block.
    pub spill: Option<Vec<u8>>,
    /// What bonus buffer and spill block say, unless it is a table of the file system.
    pub znode: Option<Znode>,
    /// Its contents; what is beyond them up to the end of a block is zero.
    pub contents: Option<Arc<dyn Content>>,
}

/// Why something in a tree cannot become an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// A folder whose names no table takes.
    #[error(transparent)]
    Names(#[from] ZapError),
    /// An access control list with entries that do not exist, or too many.
    #[error("its access control list has entries that are none, or more than {MAX_ENTRIES} of them")]
    List,
    /// An access control list that a file system of version 4 would keep in an object of its own.
    #[error(
        "its access control list does not fit a file system of version 4 as kiln writes it: take version 5"
    )]
    LongList,
}

/// Makes the objects of a tree, one by one.
pub struct Images<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// Which object is what.
    pub plan: &'a Plan,
    /// How attributes are kept.
    pub form: Form,
}

/// How a file system keeps the attributes of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// In bonus buffers of the old form.
    Old,
    /// As system attributes. The table of layouts is that of a new file system, or of one that lacks some of those that are needed.
    Attributes(Numbering, Option<zap::Table>),
}

impl Form {
    /// As system attributes, with the layouts that the nodes of a tree need.
    pub fn attributes(tree: &Tree, plan: &Plan, schema: &Schema) -> Self {
        let mut used = vec![sa::plain()];
        let mut note = |layout: Layout| {
            if !used.contains(&layout) {
                used.push(layout);
            }
        };
        for node in std::iter::once(tree.root()).chain(tree.walk().map(|step| step.node)) {
            let (layout, spilled) = znode(tree, plan, node).layouts();
            note(layout);
            spilled.into_iter().for_each(&mut note);
        }
        let (numbering, table) = schema.numbering(&used);
        Self::Attributes(numbering, table)
    }
}

impl Images<'_> {
    /// The object with this number and role.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn image(&self, object: u64, role: Role) -> Result<Image, ImageError> {
        let fixed = self.plan.fixed;
        let image = match role {
            Role::Master => {
                let mut entries = vec![
                    ("VERSION", if fixed.attributes.is_some() { 5 } else { 4 }),
                    ("ROOT", self.plan.place(self.tree.root()).object),
                    ("DELETE_QUEUE", fixed.delete_queue),
                    ("normalization", 0),
                    ("utf8only", 0),
                    ("casesensitivity", 0),
                ];
                entries.extend(fixed.attributes.map(|attributes| ("SA_ATTRS", attributes.master)));
                table(object, object_type::MASTER_NODE, &numbers(&entries), false)
            }
            Role::AttributeMaster => {
                let entries = fixed
                    .attributes
                    .map(|objects| [("REGISTRY", objects.registry), ("LAYOUTS", objects.layouts)]);
                table(
                    object,
                    object_type::SA_MASTER_NODE,
                    &numbers(entries.as_ref().map_or(&[], |two| two)),
                    false,
                )
            }
            Role::Registry => table(object, object_type::SA_REGISTRY, &sa::registry(), false),
            // ZFS takes this table for a fat one without looking.
            Role::Layouts => match &self.form {
                Form::Attributes(_, Some(layouts)) => table(object, object_type::SA_LAYOUTS, layouts, true),
                _ => table(object, object_type::SA_LAYOUTS, &zap::Table::new(), true),
            },
            Role::DeleteQueue => table(object, object_type::DELETE_QUEUE, &zap::Table::new(), false),
            Role::Node(id) => return self.node(id),
            Role::ExtendedDirectory(id) => self.extended_directory(object, id),
            Role::Extended(id, number) => Ok(self.extended(object, id, number)),
        };
        Ok(image?)
    }

    fn node(&self, id: NodeId) -> Result<Image, ImageError> {
        let (node, place) = (self.tree.node(id), self.plan.place(id));
        let mut znode = znode(self.tree, self.plan, id);
        if node.acl.as_ref().is_some_and(|list| !acl::is_sound(list)) {
            return Err(ImageError::List);
        }
        if self.form == Form::Old && !znode.fits_old() {
            return Err(ImageError::LongList);
        }
        match &node.kind {
            Kind::Directory(entries) => {
                let mut names = zap::Table::new();
                for (name, &entry) in entries {
                    let code = u64::from(self.tree.node(entry).kind.code());
                    names.insert(name, self.plan.place(entry).object | code << 60)?;
                }
                znode.size = entries.len() as u64 + 2;
                let mut image = table(place.object, object_type::DIRECTORY, &names, false)?;
                self.describe(&mut image, &znode);
                Ok(image)
            }
            Kind::File(content) => {
                znode.size = content.size();
                Ok(self.file(place.object, &znode, Some(Arc::clone(content))))
            }
            _ => Ok(self.file(place.object, &znode, None)),
        }
    }

    fn extended_directory(&self, object: u64, id: NodeId) -> Result<Image, ZapError> {
        let (node, place) = (self.tree.node(id), self.plan.place(id));
        let files = &self.plan.extended[&id];
        let mut names = zap::Table::new();
        for (number, name) in node.extended.keys().enumerate() {
            if let Some(file) = files.get(&number) {
                names.insert(name, file | 0o10 << 60)?;
            }
        }
        let mut image = table(object, object_type::DIRECTORY, &names, false)?;
        let place = Place { object, parent: place.object, links: 2, extended: 0, ..*place };
        let size = files.len() as u64 + 2;
        self.describe(&mut image, &extended_znode(node, &place, EXTENDED_DIRECTORY_MODE, size));
        Ok(image)
    }

    fn extended(&self, object: u64, id: NodeId, number: usize) -> Image {
        let (node, place) = (self.tree.node(id), self.plan.place(id));
        let content = node.extended.values().nth(number).expect("the plan counts them");
        let place = Place { object, parent: place.extended, links: 1, extended: 0, ..*place };
        let znode = extended_znode(node, &place, EXTENDED_MODE, content.size());
        self.file(object, &znode, Some(Arc::clone(content)))
    }

    /// Whatever is not a folder. Its contents are those given, or those that its attributes need.
    fn file(&self, object: u64, znode: &Znode, contents: Option<Arc<dyn Content>>) -> Image {
        let object_type = object_type::FILE;
        let header = ObjectHeader { object, object_type, block_size: 512, bonus_type: 0, dnode_slots: 1 };
        let mut image = Image { header, bonus: Vec::new(), spill: None, znode: None, contents };
        self.describe(&mut image, znode);
        let size = image.contents.as_ref().map_or(0, |contents| contents.size());
        image.header.block_size = block_size(size);
        image
    }

    /// Adds the attributes of an object.
    fn describe(&self, image: &mut Image, znode: &Znode) {
        let Encoded { bonus_type, bonus, spill, contents } = match &self.form {
            Form::Old => znode.to_old(),
            Form::Attributes(numbering, _) => znode.to_attributes(numbering),
        };
        image.znode = Some(znode.clone());
        image.header.bonus_type = bonus_type;
        (image.bonus, image.spill) = (bonus, spill);
        if let Some(contents) = contents {
            image.contents = Some(Arc::new(contents));
        }
    }
}

/// The blocks of a file of so many bytes: one that just holds it, or of the largest size.
fn block_size(size: u64) -> u32 {
    size.clamp(1, MAX_BLOCK).next_multiple_of(512) as u32
}

/// The attributes of a node; of folders and files all but the size.
fn znode(tree: &Tree, plan: &Plan, id: NodeId) -> Znode {
    let node = tree.node(id);
    let inherited = plan.inherited.get(&id);
    let packed = inherited.and_then(|inherited| inherited.packed.as_ref());
    Znode {
        acl: node.acl.clone(),
        flags: Znode::flags(mode(node), node.acl.as_deref(), false),
        packed: packed.map(|(bytes, _)| bytes.clone()),
        spills: inherited.is_some_and(|inherited| inherited.spills),
        ..plain_znode(node, plan.place(id))
    }
}

/// Type and permissions.
fn mode(node: &Node) -> u64 {
    u64::from(node.kind.code()) << 12 | u64::from(node.attributes.permissions & 0o7777)
}

/// The attributes that a node has whatever it was before, with a list that says no more than its mode.
fn plain_znode(node: &Node, place: &Place) -> Znode {
    let Attributes { permissions: _, uid, gid, accessed, modified, changed, created } = node.attributes;
    let mode = mode(node);
    let (mut device, mut target) = (None, None);
    match &node.kind {
        Kind::CharacterDevice(numbers) | Kind::BlockDevice(numbers) => device = Some(*numbers),
        Kind::Symlink(path) => target = Some(path.clone()),
        _ => {}
    }
    Znode {
        mode,
        size: target.as_ref().map_or(0, |target| target.len() as u64),
        generation: place.generation,
        parent: place.parent,
        links: place.links,
        uid: uid.into(),
        gid: gid.into(),
        flags: Znode::flags(mode, None, false),
        times: [accessed, modified, changed, created],
        extended: place.extended,
        device,
        target,
        ..Znode::default()
    }
}

/// The attributes of extended attributes, which are those of what has them but for kind, mode and size.
fn extended_znode(node: &Node, place: &Place, mode: u64, size: u64) -> Znode {
    let flags = Znode::flags(mode, None, true);
    Znode { mode, size, flags, device: None, target: None, ..plain_znode(node, place) }
}

fn numbers(entries: &[(&str, u64)]) -> zap::Table {
    let mut table = zap::Table::new();
    for (name, number) in entries {
        table.insert(name.as_bytes(), *number).expect("the names are short and differ");
    }
    table
}

/// An object that is a name table, without attributes.
fn table(object: u64, object_type: u32, names: &zap::Table, fat: bool) -> Result<Image, ZapError> {
    // Names that were chosen to collide with one salt do not with the next.
    const ATTEMPTS: u64 = 8;
    let mut attempt = 0;
    let blocks = loop {
        match names.to_blocks(salt(object, attempt), fat) {
            Err(ZapError::Collisions) if attempt + 1 < ATTEMPTS => attempt += 1,
            other => break other?,
        }
    };
    Ok(Image {
        header: ObjectHeader {
            object,
            object_type,
            block_size: blocks.block_size,
            bonus_type: 0,
            dnode_slots: 1,
        },
        bonus: Vec::new(),
        spill: None,
        znode: None,
        contents: Some(Arc::new(blocks.bytes)),
    })
}

/// The salt of the name table of an object: any number but 0, another for each, always the same (the mixing function of SplitMix64).
fn salt(object: u64, attempt: u64) -> u64 {
    let mut mixed = (object << 3 | attempt).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ mixed >> 31) | 1
}
