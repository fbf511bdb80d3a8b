//! What a receiver takes and then dies of, or cannot read: found without any ZFS.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::objects::{Object, Objects, Store};
use super::plan::MASTER;
use super::sa::{SaError, Schema};
use super::znode::{BONUS_SA, BONUS_ZNODE, Znode};
use crate::record::{Features, MAX_PLAIN_BLOCK_SIZE, object_type};
use crate::zap::{self, Entry};

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The object.
    pub object: u64,
    /// What comes of it.
    pub harm: Harm,
    /// What is wrong.
    pub detail: String,
}

/// What comes of it when a machine has received such a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// The kernel panics, while it receives the stream or when somebody looks.
    Panic,
    /// The file system cannot be mounted.
    Unmountable,
    /// A file cannot be opened, or is not what it should be.
    Lost,
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Panic => "panics the machine that received it",
            Self::Unmountable => "cannot be mounted",
            Self::Lost => "is lost",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {}: {} ({})", self.object, self.detail, self.harm)
    }
}

/// Everything that is wrong with a file system, by object.
pub fn check<S: Store>(objects: &Objects<S>) -> Vec<Finding> {
    let mut check = Check { objects, schema: None, findings: Vec::new(), znodes: HashMap::new() };
    check.tables();
    for (number, object) in objects.iter() {
        check.blocks(number, object);
        check.attributes(number, object);
    }
    for (number, object) in objects.iter().filter(|(_, object)| object.object_type == object_type::DIRECTORY)
    {
        check.directory(number, object);
    }
    let mut findings = check.findings;
    findings.sort_by_key(|finding| (finding.harm, finding.object));
    findings
}

struct Check<'a, S> {
    objects: &'a Objects<S>,
    schema: Option<Schema>,
    findings: Vec<Finding>,
    znodes: HashMap<u64, Znode>,
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
        let salt = zap::BlockSource::block(object, 0).and_then(|block| zap::salt(block, order));
        if let Some((one, other)) = zap::clash(salt.unwrap_or(0), &entries) {
            let (one, other) = (String::from_utf8_lossy(&one.name), String::from_utf8_lossy(&other.name));
            self.find(
                number,
                Harm::Panic,
                format!("the names {one:?} and {other:?} of its table are the same, or have the same hash and differentiator"),
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
        if let Some(root) = number(&master, "ROOT")
            && self.objects.get(root).is_none_or(|root| root.object_type != object_type::DIRECTORY)
        {
            self.find(root, Harm::Unmountable, "the top folder is not there");
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
                    Ok(schema) => self.schema = Some(schema),
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

    fn blocks(&mut self, number: u64, object: &Object) {
        let size = object.block_size;
        let has_several = object.offsets().any(|offset| offset > 0);
        if has_several && !size.is_power_of_two() {
            self.find(
                number,
                Harm::Panic,
                format!("it has several blocks of {size} bytes, which is no power of two"),
            );
        }
        if size > MAX_PLAIN_BLOCK_SIZE
            && self.objects.info().is_none_or(|info| !info.features.contains(Features::LARGE_BLOCKS))
        {
            self.find(
                number,
                Harm::Panic,
                format!("its blocks have {size} bytes, which the stream does not announce"),
            );
        }
    }

    fn attributes(&mut self, number: u64, object: &Object) {
        if ![object_type::FILE, object_type::DIRECTORY].contains(&object.object_type) {
            return;
        }
        let order = self.objects.byte_order();
        let znode = match (object.bonus_type, &self.schema) {
            (BONUS_ZNODE, _) => Znode::from_old(&object.bonus, order)
                .ok_or((Harm::Panic, "its attributes are not all there".to_owned())),
            (BONUS_SA, Some(schema)) => {
                Znode::from_attributes(schema, &object.bonus, object.spill.as_deref(), order).map_err(
                    |error| match error {
                        SaError::Magic | SaError::Layout(_) | SaError::Short => {
                            (Harm::Panic, error.to_string())
                        }
                        SaError::Table(_) => (Harm::Unmountable, error.to_string()),
                    },
                )
            }
            // That there is no schema was found already.
            (BONUS_SA, None) => return,
            _ => Err((Harm::Panic, "it has no attributes".to_owned())),
        };
        let znode = match znode {
            Ok(znode) => znode,
            Err((harm, detail)) => return self.find(number, harm, detail),
        };
        if znode.generation == 0 {
            self.find(number, Harm::Lost, "its generation is 0, so it cannot be opened");
        }
        let is_device = [0o2, 0o6].contains(&(znode.mode >> 12));
        if is_device && znode.device.is_none() {
            self.find(number, Harm::Panic, "it is a device without the numbers of one");
        }
        if znode.extended != 0 && self.objects.get(znode.extended).is_none() {
            self.find(number, Harm::Lost, "the folder of its extended attributes is not there");
        }
        self.znodes.insert(number, znode);
    }

    fn directory(&mut self, number: u64, _object: &Object) {
        for (name, entry) in self.names(number, Harm::Lost) {
            let name = String::from_utf8_lossy(&name).into_owned();
            let Some(value) = entry.value.number() else {
                self.find(number, Harm::Lost, format!("the entry {name:?} is no number"));
                continue;
            };
            let (object, code) = (value & ((1 << 48) - 1), value >> 60);
            match self.znodes.get(&object).map(|znode| znode.mode >> 12) {
                None if self.objects.get(object).is_none() => {
                    self.find(
                        number,
                        Harm::Lost,
                        format!("the entry {name:?} is of object {object}, which is not there"),
                    );
                }
                Some(kind) if kind != code => {
                    self.find(
                        number,
                        Harm::Lost,
                        format!("the entry {name:?} has type {code}, and object {object} has type {kind}"),
                    );
                }
                _ => {}
            }
        }
    }
}
