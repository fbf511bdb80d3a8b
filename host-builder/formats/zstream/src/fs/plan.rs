//! Which object each node of a tree becomes.

use std::collections::BTreeMap;

use super::tree::{Kind, NodeId, Tree};
use super::writer::Version;

/// The object from which all others are found.
pub const MASTER: u64 = 1;

/// The objects that a file system has beside those of its nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    /// The name table of version 5 from which the next two are found.
    pub attributes: Option<AttributeObjects>,
    /// Files that were removed while they were open.
    pub delete_queue: u64,
}

/// The objects of version 5 that say what attributes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeObjects {
    /// The table with the other two.
    pub master: u64,
    /// The names of attributes.
    pub registry: u64,
    /// Their layouts.
    pub layouts: u64,
}

/// What a node is as an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub object: u64,
    /// Its generation.
    pub generation: u64,
    /// Object of a folder that it is in; of the top folder, itself.
    pub parent: u64,
    /// How many names it has; of folders, 2 and the folders in it.
    pub links: u64,
    /// The folder of its extended attributes, 0 for none; their files follow it, in the order of their names.
    pub extended: u64,
}

/// The objects of a file system.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Those that are no nodes.
    pub fixed: Fixed,
    /// Those that are, by node.
    pub places: Vec<Place>,
    /// All of them by number.
    pub objects: BTreeMap<u64, Role>,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The master node.
    Master,
    /// The table with registry and layouts.
    AttributeMaster,
    /// The names of attributes.
    Registry,
    /// The layouts of attributes.
    Layouts,
    /// The delete queue.
    DeleteQueue,
    /// A node of the tree.
    Node(NodeId),
    /// The folder with the extended attributes of a node.
    ExtendedDirectory(NodeId),
    /// One of them, by its place among their names.
    Extended(NodeId, usize),
}

impl Plan {
    /// Numbers for a new file system: first what is fixed, where ZFS itself has it, then the nodes as a walk meets them.
    pub fn new(tree: &Tree, version: Version) -> Self {
        let (fixed, root, next) = match version {
            // zfs-fuse of 2010 looks for the top folder at 3.
            Version::Four => (Fixed { attributes: None, delete_queue: 2 }, 3, 4),
            Version::Five => {
                let attributes = AttributeObjects { master: 2, registry: 5, layouts: 6 };
                (Fixed { attributes: Some(attributes), delete_queue: 3 }, 4, 7)
            }
        };
        let mut plan = Self { fixed, places: vec![Place::default(); tree.len()], objects: BTreeMap::new() };
        plan.objects.insert(MASTER, Role::Master);
        plan.objects.insert(fixed.delete_queue, Role::DeleteQueue);
        if let Some(attributes) = fixed.attributes {
            plan.objects.insert(attributes.master, Role::AttributeMaster);
            plan.objects.insert(attributes.registry, Role::Registry);
            plan.objects.insert(attributes.layouts, Role::Layouts);
        }
        let mut next = next;
        plan.number(tree, tree.root(), root, root, &mut next);
        plan.place_mut(tree.root()).links = 2;
        for step in tree.walk() {
            let parent = plan.place(step.directory).object;
            if plan.place(step.node).object == 0 {
                let object = next;
                next += 1;
                plan.number(tree, step.node, object, parent, &mut next);
            }
            if matches!(tree.node(step.node).kind, Kind::Directory(_)) {
                plan.place_mut(step.node).links = 2;
                plan.place_mut(step.directory).links += 1;
            } else {
                plan.place_mut(step.node).links += 1;
            }
        }
        plan
    }

    fn number(&mut self, tree: &Tree, node: NodeId, object: u64, parent: u64, next: &mut u64) {
        let mut place = Place { object, generation: 1, parent, links: 0, extended: 0 };
        self.objects.insert(object, Role::Node(node));
        let extended = tree.node(node).extended.len();
        if extended > 0 {
            place.extended = *next;
            self.objects.insert(*next, Role::ExtendedDirectory(node));
            for number in 0..extended {
                self.objects.insert(*next + 1 + number as u64, Role::Extended(node, number));
            }
            *next += 1 + extended as u64;
        }
        *self.place_mut(node) = place;
    }

    /// What a node is as an object.
    pub fn place(&self, node: NodeId) -> &Place {
        &self.places[node.index()]
    }

    fn place_mut(&mut self, node: NodeId) -> &mut Place {
        &mut self.places[node.index()]
    }
}
