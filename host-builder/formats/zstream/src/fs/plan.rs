//! Which object each node of a tree becomes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    /// The folder of its extended attributes, 0 for none.
    pub extended: u64,
}

/// The objects of a file system.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Those that are no nodes.
    pub fixed: Fixed,
    /// Those that are, by node.
    pub places: Vec<Place>,
    /// The files of extended attributes by their place among the names of all, by node. What the node keeps in its own attributes
    /// has none.
    pub extended: HashMap<NodeId, BTreeMap<usize, u64>>,
    /// What nodes keep of an origin.
    pub inherited: HashMap<NodeId, Inherited>,
    /// All of them by number.
    pub objects: BTreeMap<u64, Role>,
}

/// What the object of a node has in the origin of an increment and is to have again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Extended attributes among its own: as they stand, and their names.
    pub packed: Option<(Vec<u8>, BTreeSet<Vec<u8>>)>,
    /// Whether there is a spill block.
    pub spills: bool,
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
    /// One of them, by its place among the names of all.
    Extended(NodeId, usize),
}

/// Where objects get their numbers from.
pub trait Numbers {
    /// The object of a node, and its generation.
    fn node(&mut self, node: NodeId) -> (u64, u64);
    /// The folder in which a node with several names is to be said to be, if it can.
    fn parent(&self, node: NodeId) -> Option<u64>;
    /// The folder of its extended attributes.
    fn extended_directory(&mut self, node: NodeId) -> u64;
    /// One of them.
    fn extended(&mut self, node: NodeId, name: &[u8]) -> u64;
    /// What the node keeps of an origin.
    fn inherited(&mut self, node: NodeId) -> Inherited;
}

/// The numbers of a new file system: one after the other, the top folder apart.
struct New {
    root: u64,
    next: u64,
}

impl New {
    fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

impl Numbers for New {
    fn node(&mut self, node: NodeId) -> (u64, u64) {
        (if node.index() == 0 { self.root } else { self.take() }, 1)
    }

    fn parent(&self, _node: NodeId) -> Option<u64> {
        None
    }

    fn extended_directory(&mut self, _node: NodeId) -> u64 {
        self.take()
    }

    fn extended(&mut self, _node: NodeId, _name: &[u8]) -> u64 {
        self.take()
    }

    fn inherited(&mut self, _node: NodeId) -> Inherited {
        Inherited::default()
    }
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
        let mut numbers = New { root, next };
        let mut plan = Self::with(tree, fixed, &mut numbers);
        plan.objects.insert(MASTER, Role::Master);
        plan.objects.insert(fixed.delete_queue, Role::DeleteQueue);
        if let Some(attributes) = fixed.attributes {
            plan.objects.insert(attributes.master, Role::AttributeMaster);
            plan.objects.insert(attributes.registry, Role::Registry);
            plan.objects.insert(attributes.layouts, Role::Layouts);
        }
        plan
    }

    /// The objects of nodes alone, with the numbers that `numbers` gives.
    pub fn with(tree: &Tree, fixed: Fixed, numbers: &mut dyn Numbers) -> Self {
        let mut plan = Self {
            fixed,
            places: vec![Place::default(); tree.len()],
            extended: HashMap::new(),
            inherited: HashMap::new(),
            objects: BTreeMap::new(),
        };
        plan.number(tree, tree.root(), None, numbers);
        plan.place_mut(tree.root()).links = 2;
        for step in tree.walk() {
            let directory = plan.place(step.directory).object;
            if plan.place(step.node).object == 0 {
                plan.number(tree, step.node, Some(directory), numbers);
            } else if numbers.parent(step.node) == Some(directory) {
                plan.place_mut(step.node).parent = directory;
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

    fn number(&mut self, tree: &Tree, node: NodeId, directory: Option<u64>, numbers: &mut dyn Numbers) {
        let (object, generation) = numbers.node(node);
        self.objects.insert(object, Role::Node(node));
        let mut extended = 0;
        let inherited = numbers.inherited(node);
        let names = tree.node(node).extended.keys().enumerate();
        let names = names
            .filter(|(_, name)| inherited.packed.as_ref().is_none_or(|(_, packed)| !packed.contains(*name)));
        let mut names = names.peekable();
        if names.peek().is_some() {
            extended = numbers.extended_directory(node);
            self.objects.insert(extended, Role::ExtendedDirectory(node));
            let files = names.map(|(place, name)| {
                let object = numbers.extended(node, name);
                self.objects.insert(object, Role::Extended(node, place));
                (place, object)
            });
            let files = files.collect();
            self.extended.insert(node, files);
        }
        if inherited != Inherited::default() {
            self.inherited.insert(node, inherited);
        }
        let parent = directory.unwrap_or(object);
        *self.place_mut(node) = Place { object, generation, parent, links: 0, extended };
    }

    /// What a node is as an object.
    pub fn place(&self, node: NodeId) -> &Place {
        &self.places[node.index()]
    }

    fn place_mut(&mut self, node: NodeId) -> &mut Place {
        &mut self.places[node.index()]
    }
}
