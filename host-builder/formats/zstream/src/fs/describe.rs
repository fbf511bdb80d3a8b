//! What passes by in a stream, for who prints it record by record.

use std::collections::BTreeMap;

use super::acl;
use super::packed;
use super::sa::{Attribute, MAGIC, Schema};
use super::tree::{Device, Time};
use super::znode::{BONUS_SA, BONUS_ZNODE, Znode};
use crate::checksum::ByteOrder;
use crate::compress::{Failure, expand};
use crate::record::object_type;
use crate::zap::{self, BlockSource};

/// The most bytes of the tables of attributes that are kept.
const MAX_TABLES: usize = 1 << 20;

/// Says what bonus buffers and spill blocks mean. What the attributes of version 5 mean stands in tables that pass by as well; what
/// comes before them is understood in part.
#[derive(Debug)]
pub struct Describer {
    order: ByteOrder,
    registry: Table,
    layouts: Table,
    schema: Option<Schema>,
}

/// The blocks of a table that passed by.
#[derive(Debug, Default)]
struct Table(BTreeMap<u64, Vec<u8>>);

impl BlockSource for Table {
    fn block(&self, number: u64) -> Option<&[u8]> {
        self.0.get(&number).map(Vec::as_slice)
    }
}

/// What a bonus buffer says of a file, folder or other node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Type and permissions, as `stat` gives them.
    pub mode: u64,
    /// Length in bytes; of folders the number of entries and 2.
    pub size: u64,
    /// Tells it apart from others that have had its object number.
    pub generation: u64,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Object of a folder that it is in.
    pub parent: u64,
    /// The rest, if the tables that say where it stands have passed by.
    pub more: Option<More>,
}

/// What only a whole bonus buffer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct More {
    /// How many names it has; of folders, 2 and the folders in it.
    pub links: u64,
    /// When its contents changed last.
    pub modified: Time,
    /// Object of the folder with its extended attributes, 0 for none.
    pub extended: u64,
    /// What device it is.
    pub device: Option<Device>,
    /// What else may as well be in a spill block.
    pub spilled: Spilled,
}

/// What may be in a spill block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spilled {
    /// Where a symbolic link leads.
    pub target: Option<Vec<u8>>,
    /// The entries of an access control list that says more than the mode.
    pub list: Option<usize>,
    /// Names of extended attributes.
    pub extended: Vec<Vec<u8>>,
}

impl Describer {
    /// A describer of a stream in this byte order.
    #[must_use]
    pub fn new(order: ByteOrder) -> Self {
        Self { order, registry: Table::default(), layouts: Table::default(), schema: None }
    }

    /// The contents of a block as the record says they are compressed.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub fn expand(compression: u8, payload: &[u8], length: u64) -> Result<Vec<u8>, String> {
        // Decoding a record bounds the length of its block.
        let mut block = vec![0; length as usize];
        match expand(compression, payload, &mut block) {
            Ok(()) => Ok(block),
            Err(Failure::Unsupported(words)) => Err(words.to_owned()),
            Err(Failure::Corrupt(name)) => Err(format!("a block that is to be {name} cannot be expanded")),
        }
    }

    /// Takes note of a block of an object if it is one of the tables of attributes.
    pub fn note(&mut self, object_type: u32, offset: u64, block: &[u8]) {
        let table = match object_type {
            object_type::SA_REGISTRY => &mut self.registry,
            object_type::SA_LAYOUTS => &mut self.layouts,
            _ => return,
        };
        let held: usize = table.0.values().map(Vec::len).sum();
        if held + block.len() > MAX_TABLES {
            return;
        }
        table.0.insert(offset.checked_div(block.len() as u64).unwrap_or(0), block.to_vec());
        let read = |table: &Table| zap::read(table, self.order).unwrap_or_default();
        let layouts = read(&self.layouts);
        if !layouts.is_empty() {
            self.schema = Schema::read(&read(&self.registry), &layouts).ok();
        }
    }

    /// What a bonus buffer says; nothing if it is none of a node.
    pub fn bonus(&self, bonus_type: u32, bonus: &[u8]) -> Option<Facts> {
        match bonus_type {
            BONUS_ZNODE => Znode::from_old(bonus, self.order).ok().map(|znode| facts(&znode, true)),
            BONUS_SA => {
                let whole = self
                    .schema
                    .as_ref()
                    .and_then(|schema| Znode::from_attributes(schema, bonus, None, self.order).ok());
                match whole {
                    Some(znode) => Some(facts(&znode, true)),
                    None => self.first_words(bonus).map(|znode| facts(&znode, false)),
                }
            }
            _ => None,
        }
    }

    /// What system attributes begin with whatever their layout: ZFS itself looks for owner and group there without asking for it.
    fn first_words(&self, bonus: &[u8]) -> Option<Znode> {
        let order = self.order;
        if order.u32(*bonus.first_chunk()?) != MAGIC {
            return None;
        }
        let header = usize::from(order.u16(*bonus.get(4..)?.first_chunk()?) >> 10) * 8;
        let word = |number: usize| Some(order.u64(*bonus.get(header + number * 8..)?.first_chunk()?));
        Some(Znode {
            mode: word(0)?,
            size: word(1)?,
            generation: word(2)?,
            uid: word(3)?,
            gid: word(4)?,
            parent: word(5)?,
            ..Znode::default()
        })
    }

    /// What a spill block says; nothing if the tables that explain it have not passed by.
    pub fn spill(&self, block: &[u8]) -> Option<Spilled> {
        let mut values = BTreeMap::new();
        self.schema.as_ref()?.decode(block, self.order, &mut values).ok()?;
        Some(Spilled {
            target: values.get(&Attribute::Symlink).cloned(),
            list: values.get(&Attribute::DaclAces).map(|list| acl::count(list, self.order)),
            extended: values.get(&Attribute::Dxattr).map_or_else(Vec::new, |bytes| names(bytes)),
        })
    }
}

fn facts(znode: &Znode, is_whole: bool) -> Facts {
    let spilled = || Spilled {
        target: znode.target.clone(),
        list: znode.acl.as_ref().map(Vec::len),
        extended: znode.packed.as_ref().map_or_else(Vec::new, |bytes| names(bytes)),
    };
    Facts {
        mode: znode.mode,
        size: znode.size,
        generation: znode.generation,
        uid: znode.uid,
        gid: znode.gid,
        parent: znode.parent,
        more: is_whole.then(|| More {
            links: znode.links,
            modified: znode.times[1],
            extended: znode.extended,
            device: znode.device,
            spilled: spilled(),
        }),
    }
}

/// The names of packed extended attributes.
fn names(bytes: &[u8]) -> Vec<Vec<u8>> {
    packed::decode(bytes).map_or_else(|_| Vec::new(), |values| values.into_keys().collect())
}
