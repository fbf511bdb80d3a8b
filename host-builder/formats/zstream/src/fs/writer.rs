//! A tree becomes a full stream.

use std::io::{self, Write};

use super::blocks::Blocks;
use super::image::{Form, ImageError, Images};
use super::plan::{Plan, Role};
use super::sa::Schema;
use super::tree::{NodeId, Tree};
use crate::error::{Error, ErrorKind, Result};
use crate::record::{Features, ObjsetType};
use crate::writer::{BeginOptions, StreamWriter, Totals};

/// The version of a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// Of pools from version 15 on, which zfs-fuse of 2010 takes too.
    Four,
    /// Of pools from version 24 on: what every image of SmartOS has.
    #[default]
    Five,
}

impl Version {
    /// The feature flags of streams of such a file system.
    fn features(self) -> Features {
        match self {
            Self::Four => Features::default(),
            Self::Five => Features::SA_SPILL,
        }
    }
}

/// How a tree becomes a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystemOptions {
    /// `dataset@snapshot`. The part before the `@` is of no consequence to most receivers.
    pub to_name: String,
    /// GUID of the snapshot, not 0. Two snapshots of one pool with the same GUID make later clone streams pick the wrong origin.
    pub to_guid: u64,
    /// Creation time of the snapshot, seconds since 1970.
    pub creation_time: u64,
    /// The version of the file system.
    pub version: Version,
}

/// What a finished stream amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Records, BEGIN and END included.
    pub records: u64,
    /// Objects of the file system.
    pub objects: u64,
    /// Length of the stream in bytes.
    pub stream_bytes: u64,
    /// The checksum in the END record.
    pub checksum: [u64; 4],
}

impl Summary {
    pub(super) fn new(totals: Totals, objects: u64) -> Self {
        Self { records: totals.records, objects, stream_bytes: totals.bytes, checksum: totals.checksum }
    }
}

/// Writes a tree as a full stream of one snapshot and gives the output back.
///
/// The order of objects follows from the tree alone, and contents are asked for in that order, once. Beyond the tree itself memory
/// is needed for the name table of one folder at a time.
///
/// # Errors
/// [`ErrorKind::InvalidInput`] when name or GUID are none, or a node cannot be written, [`ErrorKind::Io`] from the output, and of contents that cannot be read or are
/// not as long as they said; the words name the path then.
pub fn write<W: Write>(output: W, tree: &Tree, options: &FileSystemOptions) -> Result<(W, Summary)> {
    let begin = BeginOptions {
        to_name: options.to_name.clone(),
        to_guid: options.to_guid,
        creation_time: options.creation_time,
        objset_type: ObjsetType::FileSystem,
        features: options.version.features(),
        from_guid: 0,
    };
    let mut stream = StreamWriter::begin(output, &begin)?;
    let plan = Plan::new(tree, options.version);
    let form = match options.version {
        Version::Four => Form::Old,
        Version::Five => Form::attributes(tree, &plan, &Schema::new()),
    };
    let images = Images { tree, plan: &plan, form };
    let mut blocks = Blocks::default();
    for (&object, &role) in &plan.objects {
        let image = images.image(object, role).map_err(|error| unwritable(&stream, tree, role, &error))?;
        stream.object(&image.header, &image.bonus)?;
        if let Some(contents) = &image.contents {
            let mut failed = None;
            let given = blocks.of(&**contents, image.header.block_size, |offset, block| {
                stream.write(object, image.header.object_type, offset, block).map_err(|error| {
                    failed = Some(error);
                    io::Error::other("the stream cannot be written")
                })
            });
            given.map_err(|error| failed.take().unwrap_or_else(|| unreadable(&stream, tree, role, error)))?;
        }
        if let Some(spill) = &image.spill {
            stream.spill(object, spill)?;
        }
    }
    let (output, totals) = stream.end()?;
    Ok((output, Summary::new(totals, plan.objects.len() as u64)))
}

/// A node that cannot become an object.
pub(super) fn unwritable<W: Write>(
    stream: &StreamWriter<W>,
    tree: &Tree,
    role: Role,
    error: &ImageError,
) -> Error {
    stream.error(ErrorKind::InvalidInput, format!("{}: {error}", path(tree, role)))
}

/// Contents that cannot be read.
pub(super) fn unreadable<W: Write>(
    stream: &StreamWriter<W>,
    tree: &Tree,
    role: Role,
    error: io::Error,
) -> Error {
    stream.place().io(format!("cannot read {}", path(tree, role)), error)
}

/// The path of what an object is, for people.
fn path(tree: &Tree, role: Role) -> String {
    let shown = |id: NodeId| String::from_utf8_lossy(&tree.path(id)).into_owned();
    match role {
        Role::Node(id) => shown(id),
        Role::ExtendedDirectory(id) => format!("the extended attributes of {}", shown(id)),
        Role::Extended(id, number) => {
            let name = tree
                .node(id)
                .extended
                .keys()
                .nth(number)
                .map(|name| String::from_utf8_lossy(name).into_owned());
            format!("the extended attribute {} of {}", name.unwrap_or_default(), shown(id))
        }
        _ => "a table of the file system".to_owned(),
    }
}
