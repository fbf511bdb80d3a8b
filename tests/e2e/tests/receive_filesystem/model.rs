//! Trees that can be edited, and random ones.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use kiln_e2e::trees::Dice;
use kiln_zstream::fs::Tree;
use kiln_zstream::fs::tree::{Attributes, Content, Device, Kind, MAX_TARGET, NodeId, Time};

/// The length of a piece of [`Sparse`] contents in bytes.
const PIECE: u64 = 128 << 10;

/// Contents with holes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sparse {
    size: u64,
    /// By number; the last may reach beyond the end.
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Sparse {
    /// Nothing but a hole.
    pub fn hole(size: u64) -> Self {
        Self { size, pieces: BTreeMap::new() }
    }

    /// Without a hole.
    pub fn full(bytes: &[u8]) -> Self {
        let mut sparse = Self::default();
        sparse.write(0, bytes);
        sparse
    }

    /// Writes bytes, which may make it longer.
    pub fn write(&mut self, mut offset: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let inside = (offset % PIECE) as usize;
            let (now, later) = bytes.split_at(bytes.len().min(PIECE as usize - inside));
            let piece = self.pieces.entry(offset / PIECE).or_insert_with(|| vec![0; PIECE as usize]);
            piece[inside..inside + now.len()].copy_from_slice(now);
            offset += now.len() as u64;
            bytes = later;
        }
        self.size = self.size.max(offset);
    }

    /// Cuts it off, or makes it longer with a hole.
    pub fn set_size(&mut self, size: u64) {
        self.pieces.split_off(&size.div_ceil(PIECE));
        if let Some(last) = self.pieces.get_mut(&(size / PIECE)) {
            last[(size % PIECE) as usize..].fill(0);
        }
        self.size = size;
    }

    /// Makes a hole of the pieces in a range.
    fn punch(&mut self, from: u64, to: u64) {
        self.pieces.retain(|number, _| !(from..to).contains(&(number * PIECE)));
    }

    fn of(content: &dyn Content) -> Self {
        let mut sparse = Self::hole(content.size());
        let given = content.give(&mut |offset, bytes| {
            if bytes.iter().any(|&byte| byte != 0) {
                sparse.write(offset, bytes);
            }
            Ok(())
        });
        given.expect("contents of tests can be read");
        sparse
    }
}

impl Content for Sparse {
    fn size(&self) -> u64 {
        self.size
    }

    fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        self.pieces.iter().try_for_each(|(number, piece)| {
            let offset = number * PIECE;
            sink(offset, &piece[..(self.size - offset).min(PIECE) as usize])
        })
    }
}

/// What there is under a name.
#[derive(Debug, Clone)]
struct Item {
    attributes: Attributes,
    what: What,
    extended: BTreeMap<Vec<u8>, Sparse>,
}

#[derive(Debug, Clone)]
enum What {
    Directory(BTreeMap<Vec<u8>, usize>),
    File(Sparse),
    Symlink(Vec<u8>),
    Device { block: bool, numbers: Device },
    Fifo,
    Socket,
}

/// A tree that can be edited. Nothing forgets what has no name any more, but nobody finds it.
#[derive(Debug, Clone)]
pub struct Model {
    items: Vec<Item>,
}

/// A name: the folder that has it, and the name in it.
type Name = (usize, Vec<u8>);

impl Model {
    /// An editable copy.
    pub fn of(tree: &Tree) -> Self {
        let mut items = vec![None; tree.len()];
        let convert = |id: NodeId| {
            let node = tree.node(id);
            let what = match &node.kind {
                Kind::Directory(entries) => {
                    What::Directory(entries.iter().map(|(name, id)| (name.clone(), id.index())).collect())
                }
                Kind::File(content) => What::File(Sparse::of(&**content)),
                Kind::Symlink(target) => What::Symlink(target.clone()),
                Kind::CharacterDevice(numbers) => What::Device { block: false, numbers: *numbers },
                Kind::BlockDevice(numbers) => What::Device { block: true, numbers: *numbers },
                Kind::Fifo => What::Fifo,
                Kind::Socket => What::Socket,
                Kind::Door => panic!("Linux has no doors"),
            };
            let extended =
                node.extended.iter().map(|(name, value)| (name.clone(), Sparse::of(&**value))).collect();
            Item { attributes: node.attributes, what, extended }
        };
        items[0] = Some(convert(tree.root()));
        for step in tree.walk() {
            items[step.node.index()].get_or_insert_with(|| convert(step.node));
        }
        Self { items: items.into_iter().map(|item| item.expect("every node has a name")).collect() }
    }

    /// A random one, of about so many names.
    pub fn random(dice: &mut Dice, names: usize) -> Self {
        let root = Item {
            attributes: attributes(dice),
            what: What::Directory(BTreeMap::new()),
            extended: BTreeMap::new(),
        };
        let mut model = Self { items: vec![root] };
        for _ in 0..names {
            model.add_something(dice);
        }
        model
    }

    /// As it is now.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new(self.items[0].attributes);
        let mut nodes = BTreeMap::from([(0, tree.root())]);
        let root = tree.root();
        self.describe(&mut tree, 0, root);
        let mut waiting = vec![0];
        while let Some(directory) = waiting.pop() {
            let What::Directory(entries) = &self.items[directory].what else { continue };
            let parent = nodes[&directory];
            for (name, &item) in entries {
                if let Some(&node) = nodes.get(&item) {
                    tree.link(parent, name, node).expect("names are legal");
                    continue;
                }
                let Item { attributes, what, .. } = &self.items[item];
                let kind = match what {
                    What::Directory(_) => Kind::Directory(BTreeMap::new()),
                    What::File(sparse) => Kind::File(Arc::new(sparse.clone())),
                    What::Symlink(target) => Kind::Symlink(target.clone()),
                    What::Device { block: false, numbers } => Kind::CharacterDevice(*numbers),
                    What::Device { block: true, numbers } => Kind::BlockDevice(*numbers),
                    What::Fifo => Kind::Fifo,
                    What::Socket => Kind::Socket,
                };
                let node = tree.add(parent, name, *attributes, kind).expect("names are legal");
                self.describe(&mut tree, item, node);
                nodes.insert(item, node);
                waiting.push(item);
            }
        }
        tree
    }

    fn describe(&self, tree: &mut Tree, item: usize, node: NodeId) {
        for (name, value) in &self.items[item].extended {
            tree.extended_mut(node).insert(name.clone(), Arc::new(value.clone()));
        }
    }

    fn entries(&mut self, directory: usize) -> &mut BTreeMap<Vec<u8>, usize> {
        match &mut self.items[directory].what {
            What::Directory(entries) => entries,
            _ => panic!("it is no folder"),
        }
    }

    /// All names, of very large folders only some.
    fn names(&self) -> Vec<Name> {
        const FEW: usize = 60;
        let (mut names, mut waiting) = (Vec::new(), vec![0]);
        while let Some(directory) = waiting.pop() {
            let What::Directory(entries) = &self.items[directory].what else { continue };
            for (name, &item) in entries.iter().step_by(entries.len().div_ceil(FEW).max(1)) {
                names.push((directory, name.clone()));
                waiting.push(item);
            }
        }
        names
    }

    fn directories(&self) -> Vec<usize> {
        let (mut found, mut next) = (vec![0], 0);
        while let Some(&directory) = found.get(next) {
            next += 1;
            let What::Directory(entries) = &self.items[directory].what else { continue };
            found.extend(
                entries.values().filter(|&&item| matches!(self.items[item].what, What::Directory(_))),
            );
        }
        found
    }

    /// A folder, and a name that it does not have.
    fn free_name(&self, dice: &mut Dice) -> Name {
        let directory = *dice.pick(&self.directories());
        let What::Directory(entries) = &self.items[directory].what else { panic!("it is a folder") };
        loop {
            let name = name(dice);
            if !entries.contains_key(&name) {
                return (directory, name);
            }
        }
    }

    fn add_something(&mut self, dice: &mut Dice) {
        let what = match dice.below(16) {
            0..3 => What::Directory(BTreeMap::new()),
            3 => What::Symlink(target(dice)),
            4 => What::Device { block: dice.below(2) == 0, numbers: device(dice) },
            5 => What::Fifo,
            6 => What::Socket,
            7 => {
                if !self.names().is_empty() {
                    self.add_link(dice);
                }
                return;
            }
            _ => What::File(contents(dice)),
        };
        let may_have_notes = matches!(what, What::Directory(_) | What::File(_));
        let attributes = attributes(dice);
        let (directory, name) = self.free_name(dice);
        let item = self.items.len();
        self.items.push(Item { attributes, what, extended: BTreeMap::new() });
        self.entries(directory).insert(name, item);
        if may_have_notes && dice.below(4) == 0 {
            self.annotate(item, dice);
        }
    }

    fn add_link(&mut self, dice: &mut Dice) {
        let (directory, name) = dice.pick(&self.names()).clone();
        let item = self.entries(directory)[&name];
        if !matches!(self.items[item].what, What::Directory(_)) {
            let (directory, name) = self.free_name(dice);
            self.entries(directory).insert(name, item);
        }
    }

    /// Sets or removes an extended attribute.
    fn annotate(&mut self, item: usize, dice: &mut Dice) {
        let plain = matches!(self.items[item].what, What::Directory(_) | What::File(_));
        let kind = if plain { "user" } else { "trusted" };
        let name = format!("{kind}.{}", dice.below(4)).into_bytes();
        let extended = &mut self.items[item].extended;
        if dice.below(3) == 0 && extended.remove(&name).is_some() {
            return;
        }
        let length = *dice.pick(&[0, 1, 20, 513, 5000, 65_536]);
        extended.insert(name, Sparse::full(&dice.bytes(length)));
    }

    /// Makes so many random changes.
    pub fn edit(&mut self, dice: &mut Dice, changes: usize) {
        for _ in 0..changes {
            let names = self.names();
            if names.is_empty() {
                self.add_something(dice);
                continue;
            }
            let (directory, name) = dice.pick(&names).clone();
            let item = self.entries(directory)[&name];
            match dice.below(12) {
                0 | 1 => self.add_something(dice),
                2 => {
                    self.entries(directory).remove(&name);
                }
                3 => self.rename((directory, name), item, dice),
                4 => self.annotate(item, dice),
                5 => {
                    let attributes = &mut self.items[item].attributes;
                    attributes.permissions ^= 1 << dice.below(12);
                    set_time(attributes, time(dice));
                }
                6 => {
                    // Something else of the same name.
                    let free = self.items.len();
                    self.add_something(dice);
                    if self.items.len() > free {
                        self.entries(directory).insert(name, free);
                        self.unlink_elsewhere(free, directory);
                    }
                }
                7 => {
                    let attributes = &mut self.items[item].attributes;
                    attributes.uid = dice.below(1 << 31) as u32;
                    set_time(attributes, time(dice));
                }
                _ => self.change(item, dice),
            }
        }
    }

    /// Leaves a new folder only the name that it has in `directory`.
    fn unlink_elsewhere(&mut self, item: usize, directory: usize) {
        for other in self.directories() {
            if other != directory {
                self.entries(other).retain(|_, entry| *entry != item);
            }
        }
        let mut met = false;
        let is_directory = matches!(self.items[item].what, What::Directory(_));
        self.entries(directory)
            .retain(|_, entry| *entry != item || !is_directory || !std::mem::replace(&mut met, true));
    }

    fn rename(&mut self, (directory, name): Name, item: usize, dice: &mut Dice) {
        let (to, new) = self.free_name(dice);
        // A folder does not go into itself.
        if !self.holds(item, to) {
            self.entries(directory).remove(&name);
            self.entries(to).insert(new, item);
        }
    }

    /// Whether a folder is another, or has it somewhere below.
    fn holds(&self, outer: usize, inner: usize) -> bool {
        let What::Directory(entries) = &self.items[outer].what else { return false };
        outer == inner || entries.values().any(|&entry| self.holds(entry, inner))
    }

    /// Changes what is particular to its kind.
    fn change(&mut self, item: usize, dice: &mut Dice) {
        let many = dice.below(40) == 0;
        let Item { attributes, what, .. } = &mut self.items[item];
        match what {
            What::File(sparse) => {
                change_contents(sparse, dice);
                set_time(attributes, time(dice));
            }
            What::Symlink(old) => *old = target(dice),
            What::Device { numbers, .. } => *numbers = device(dice),
            What::Directory(_) if many => {
                let fifo = Item { attributes: *attributes, what: What::Fifo, extended: BTreeMap::new() };
                let item_of_all = self.items.len();
                self.items.push(fifo);
                for number in 0..2100 {
                    self.entries(item).insert(format!("many {number}").into_bytes(), item_of_all);
                }
            }
            What::Directory(entries) => {
                let gone: Vec<Vec<u8>> = entries.keys().step_by(3).cloned().collect();
                if dice.below(3) == 0 {
                    entries.retain(|name, _| !gone.contains(name));
                }
            }
            What::Fifo | What::Socket => {}
        }
    }
}

fn change_contents(sparse: &mut Sparse, dice: &mut Dice) {
    let size = sparse.size;
    let somewhere = dice.below(size + 1);
    let length = length(dice);
    let bytes = dice.bytes(length.min(400_000) as usize);
    match dice.below(8) {
        0 => sparse.write(size, &bytes),
        1 => sparse.set_size(somewhere),
        2 => sparse.set_size(size + length),
        3 => sparse.set_size(0),
        4 => sparse.write(somewhere, &bytes),
        5 => sparse.punch(somewhere, somewhere + 3 * PIECE),
        6 => sparse.write(somewhere, &vec![0; bytes.len()]),
        _ => *sparse = Sparse::full(&bytes),
    }
}

/// A length near a limit of blocks, or any.
fn length(dice: &mut Dice) -> u64 {
    match dice.below(8) {
        0 => dice.below(2),
        1 => 511 + dice.below(3),
        2 => 131_071 + dice.below(3),
        3 => 262_143 + dice.below(3),
        4 => dice.below(600_000),
        _ => dice.below(5000),
    }
}

fn contents(dice: &mut Dice) -> Sparse {
    let size = length(dice);
    if size > PIECE && dice.below(2) == 0 {
        let mut sparse = Sparse::hole(size * 4);
        sparse.write(dice.below(size * 3), b"in a hole");
        return sparse;
    }
    Sparse::full(&dice.bytes(size as usize))
}

fn target(dice: &mut Dice) -> Vec<u8> {
    let length = *dice.pick(&[1, 20, 56, 57, 142, 143, 144, 145, 400, MAX_TARGET]);
    (0..length).map(|_| b'a' + dice.below(26) as u8).collect()
}

fn name(dice: &mut Dice) -> Vec<u8> {
    match dice.below(12) {
        0 => vec![0x80 + dice.below(128) as u8; 1 + dice.below(255) as usize],
        1 => format!("{:>49}", dice.below(1000)).into_bytes(),
        2 => format!("{:>50}", dice.below(1000)).into_bytes(),
        _ => format!("name {}", dice.below(1000)).into_bytes(),
    }
}

fn device(dice: &mut Dice) -> Device {
    Device { major: dice.below(1 << 14) as u32, minor: dice.number() as u32 }
}

/// A time, one of few, so that files often have the same.
fn time(dice: &mut Dice) -> Time {
    Time { seconds: 1_400_000_000 + dice.below(50) as i64, nanoseconds: dice.below(4) as u32 * 250_000_000 }
}

/// Increments do not send times that nobody sets unless something else differs, so all of them are the same here.
fn set_time(attributes: &mut Attributes, time: Time) {
    (attributes.accessed, attributes.modified, attributes.changed, attributes.created) =
        (time, time, time, time);
}

fn attributes(dice: &mut Dice) -> Attributes {
    let (uid, gid) = (dice.below(100_000) as u32, dice.below(100_000) as u32);
    let mut attributes =
        Attributes { permissions: dice.below(0o10000) as u16, uid, gid, ..Attributes::default() };
    set_time(&mut attributes, time(dice));
    attributes
}
