//! Images that others build on: incremental streams say by a GUID which they need.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use kiln_zstream::record::{Begin, ObjsetType, Record};
use kiln_zstream::{ErrorKind, StreamReader};

use super::shape::{self, Shape};
use super::source::Source;
use super::{dataset, spool};
use crate::compression::{self, Compression};
use crate::report::{Hint, Report, with_hint};

/// Most wrappings of an origin that are taken off.
const MAX_WRAPPINGS: usize = 3;

/// What to do about a stream that is not as it was sent.
pub const DAMAGED: &str =
    "the stream is damaged: copy or download it again, and compare its published checksum";

/// The images under an incremental one.
#[derive(Args, Clone, Debug, Default)]
pub struct Origins {
    /// Image that an incremental one goes on top of; again for what that one goes on top of, in any order. Those that
    /// nothing goes on top of are not read
    #[arg(long = "origin", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// The first record of a stream that belongs to a snapshot; that of a compound one stands in its wrapping.
///
/// # Errors
/// The stream is damaged up to there, or of a kind that is not read.
pub fn first_snapshot(stream: impl Read) -> Result<Begin> {
    let mut records = StreamReader::new(stream);
    while let Some(record) = records.next_record().map_err(explained)? {
        if let Record::Begin(begin) = record
            && !begin.compound
        {
            return Ok(begin);
        }
    }
    Err(anyhow!("there is no snapshot in the stream")).hint("send a snapshot of a file system or volume")
}

/// An error of a stream, with what can be done about it.
pub fn explained(error: kiln_zstream::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        ErrorKind::Unsupported => {
            "send the snapshot again with plain `zfs send`, without -w and what else only newer systems know"
        }
        ErrorKind::WrongBase | ErrorKind::BadFileSystem => {
            "send one snapshot alone, with plain `zfs send`, or with -i from the one that the origin was made of"
        }
        _ => DAMAGED,
    };
    with_hint(error, remedy)
}

/// An origin that is needed, and how to read its stream.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The file that was named, and the GUID of its snapshot.
    pub origin: dataset::Origin,
    /// The bytes of the file.
    pub source: Source,
    /// What is to be taken off them, from the outside in.
    pub wrappings: Vec<Compression>,
}

impl Layer {
    /// The stream in the file.
    pub fn stream(&self) -> Box<dyn Read + Send> {
        let bytes: Box<dyn Read + Send> = Box::new(self.source.reader());
        self.wrappings
            .iter()
            .fold(bytes, |inner, &wrapping| Box::new(compression::Reader::new(inner, wrapping)))
    }
}

/// The origins that a stream needs, the oldest first.
///
/// # Errors
/// One is missing among `files`, or one of those cannot be read or is no stream of a file system.
pub fn layers(snapshot: &Begin, files: &[PathBuf], report: &Report) -> Result<Vec<Layer>> {
    let mut known = files.iter().map(|path| look_into(path, report)).collect::<Result<Vec<_>>>()?;
    let mut layers = Vec::new();
    let mut needed = snapshot.from_guid;
    while needed != 0 {
        let Some(at) = known.iter().position(|(layer, _)| layer.origin.guid == needed) else {
            let above = layers.last().map(|layer: &Layer| layer.origin.path.as_path());
            return Err(missing(above, needed, &known));
        };
        let (layer, below) = known.swap_remove(at);
        layers.push(layer);
        needed = below;
    }
    layers.reverse();
    Ok(layers)
}

/// The stream in a file, and the GUID of what it goes on top of.
fn look_into(path: &Path, report: &Report) -> Result<(Layer, u64)> {
    let (source, _) = spool::open(path, report)?;
    let cannot = || format!("cannot read the origin {}", path.display());
    let mut layer =
        Layer { origin: dataset::Origin { path: path.to_owned(), guid: 0 }, source, wrappings: Vec::new() };
    loop {
        let mut head = Vec::new();
        layer.stream().take(shape::HEAD as u64).read_to_end(&mut head).with_context(cannot)?;
        let head_size = head.len() as u64;
        match shape::of(&Source::new(head, head_size)).with_context(cannot)? {
            Shape::Compressed(compression) if layer.wrappings.len() < MAX_WRAPPINGS => {
                layer.wrappings.push(compression);
            }
            Shape::Stream => break,
            _ => {
                return Err(anyhow!("the origin {} is no ZFS send stream", path.display()))
                    .hint("name the file of an image, such as IMAGE.zfs.gz");
            }
        }
    }
    let snapshot = first_snapshot(layer.stream()).with_context(cannot)?;
    if snapshot.objset_type != ObjsetType::FileSystem {
        return Err(anyhow!("the origin {} is the stream of a volume", path.display()))
            .hint("the origin of a zone's image is a zone's image");
    }
    layer.origin.guid = snapshot.to_guid;
    Ok((layer, snapshot.from_guid))
}

/// The error that the snapshot `needed` is not among the origins that were named. `above` is the origin that needs it, if it
/// is not the image itself.
fn missing(above: Option<&Path>, needed: u64, known: &[(Layer, u64)]) -> anyhow::Error {
    let what = match above {
        Some(path) => format!("the origin {}", path.display()),
        None => "the stream".to_owned(),
    };
    let others: Vec<String> = known
        .iter()
        .map(|(layer, _)| format!("{} is that with GUID {}", layer.origin.path.display(), layer.origin.guid))
        .collect();
    let others = if others.is_empty() { String::new() } else { format!("; {}", others.join(", ")) };
    with_hint(
        anyhow!("{what} is incremental and goes on top of the snapshot with GUID {needed}{others}"),
        "name the image of that snapshot with --origin FILE; its manifest says the GUID as dataset_guid, and the \
         manifest of the incremental image names it as its origin",
    )
}

/// The error that an incremental stream of a file system was opened without any origin.
pub fn none_named(snapshot: &Begin) -> anyhow::Error {
    missing(None, snapshot.from_guid, &[])
}
