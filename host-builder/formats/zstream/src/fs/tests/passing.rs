//! Streams that are changed object by object, with checksums that fit.

use super::*;
use crate::record::{Features, ObjsetType, object_type};
use crate::writer::{BeginOptions, ObjectHeader, StreamWriter};
use crate::zap;

pub type Read = Objects<DeviceStore<Vec<u8>>>;

/// An object on its way from one stream to another.
pub struct Passing {
    pub number: u64,
    pub header: ObjectHeader,
    pub bonus: Vec<u8>,
    pub blocks: Vec<(u64, Vec<u8>)>,
    pub spill: Option<Vec<u8>>,
    /// Whether it is left out.
    pub gone: bool,
}

impl Passing {
    /// An object that no stream has had yet.
    pub fn new(number: u64, object_type: u32, block: Vec<u8>) -> Self {
        let block_size = block.len() as u32;
        let header = ObjectHeader { object: number, object_type, block_size, bonus_type: 0, dnode_slots: 1 };
        Self { number, header, bonus: Vec::new(), blocks: vec![(0, block)], spill: None, gone: false }
    }

    /// The 64-bit number at this place of the bonus buffer.
    pub fn word(&mut self, at: usize) -> &mut [u8] {
        &mut self.bonus[at..at + 8]
    }

    /// Sets the 64-bit number at this place of the bonus buffer.
    pub fn set(&mut self, at: usize, number: u64) {
        self.word(at).copy_from_slice(&number.to_le_bytes());
    }

    /// Where the entry with this name begins in a table of one block.
    pub fn slot(&self, name: &str) -> usize {
        let block = &self.blocks[0].1;
        let is_it = |slot: &usize| {
            block[slot + 14..].starts_with(name.as_bytes()) && block[slot + 14 + name.len()] == 0
        };
        (64..block.len()).step_by(64).find(is_it).expect("the name is there")
    }

    /// Replaces the contents by a table.
    pub fn table(&mut self, table: &zap::Table, fat: bool) {
        let blocks = table.to_blocks(5, fat).unwrap();
        self.header.block_size = blocks.block_size;
        let size = blocks.block_size as usize;
        let numbered = blocks.bytes.chunks(size).enumerate();
        self.blocks = numbered.map(|(number, block)| ((number * size) as u64, block.to_vec())).collect();
    }
}

pub fn begin(features: Features) -> BeginOptions {
    BeginOptions {
        to_name: "zones/damaged@final".into(),
        to_guid: 1,
        creation_time: 0,
        objset_type: ObjsetType::FileSystem,
        features,
        from_guid: 0,
    }
}

/// The objects in a stream.
pub fn objects(stream: &[u8]) -> Read {
    let mut objects = Objects::new(DeviceStore::new(Vec::new()));
    objects.apply(stream).unwrap();
    objects
}

/// All objects in a stream, to be written to another.
pub fn passing(stream: &[u8]) -> Vec<Passing> {
    let objects = objects(stream);
    let passing = objects.iter().map(|(number, object)| {
        let header = ObjectHeader {
            object: number,
            object_type: object.object_type,
            block_size: object.block_size,
            bonus_type: object.bonus_type,
            dnode_slots: object.dnode_slots,
        };
        let blocks = object.offsets().map(|offset| {
            let mut block = Vec::new();
            objects.read(object, offset, &mut block).unwrap();
            (offset, block)
        });
        let (bonus, blocks, spill) = (object.bonus.clone(), blocks.collect(), object.spill.clone());
        Passing { number, header, bonus, blocks, spill, gone: false }
    });
    passing.collect()
}

/// The stream of these objects.
pub fn passed(passing: &[Passing], begin: &BeginOptions) -> Vec<u8> {
    let mut stream = StreamWriter::begin(Vec::new(), begin).unwrap();
    for one in passing.iter().filter(|one| !one.gone) {
        stream.object(&one.header, &one.bonus).unwrap();
        for (offset, block) in &one.blocks {
            stream.write(one.number, one.header.object_type, *offset, block).unwrap();
        }
        if let Some(spill) = &one.spill {
            stream.spill(one.number, spill).unwrap();
        }
    }
    stream.end().unwrap().0
}

/// The stream of a tree with its objects as `damage` leaves them.
pub fn damaged(tree: &Tree, version: Version, damage: impl Fn(&mut Vec<Passing>)) -> Vec<u8> {
    let mut passing = passing(&written(tree, version));
    damage(&mut passing);
    passed(&passing, &begin(Features::SA_SPILL))
}

/// The objects of a small tree: a file, a folder, a device and two links.
pub fn small() -> Tree {
    let mut tree = Tree::new(attributes(0o755));
    let (root, any) = (tree.root(), attributes(0o644));
    tree.add(root, b"file", any, Kind::File(Arc::new(b"contents".to_vec()))).unwrap();
    tree.add(root, b"folder", any, Kind::Directory(BTreeMap::new())).unwrap();
    tree.add(root, b"link", any, Kind::Symlink(b"target".to_vec())).unwrap();
    tree.add(root, b"long link", any, Kind::Symlink(vec![b't'; 500])).unwrap();
    tree.add(root, b"null", any, Kind::CharacterDevice(Device { major: 13, minor: 2 })).unwrap();
    tree
}

pub const ROOT: u64 = 4;
pub const LAYOUTS: u64 = 6;
pub const FILE: u64 = 7;
pub const FOLDER: u64 = 8;
pub const LINK: u64 = 9;
pub const LONG_LINK: u64 = 10;
pub const NULL: u64 = 11;

/// Places in a bonus buffer of the plain layout.
pub const MODE: usize = 8;
pub const SIZE: usize = 16;
pub const GENERATION: usize = 24;
pub const OWNER: usize = 32;
pub const PARENT: usize = 48;
pub const LINKS: usize = 128;
pub const ENTRIES: usize = 136;

/// The object with this number.
pub fn of(passing: &mut [Passing], number: u64) -> &mut Passing {
    passing.iter_mut().find(|one| one.number == number).expect("it is there")
}

/// An access control list in an object of its own.
pub fn list_object(number: u64, list: &[Ace]) -> Passing {
    let mut block = super::super::acl::encode(list);
    block.resize(block.len().next_multiple_of(512), 0);
    Passing::new(number, object_type::ACL, block)
}
