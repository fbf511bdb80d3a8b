//! A tree becomes the file of an image: a compressed stream of one snapshot, with its digests.

use std::io::{self, Write};
use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use kiln_zstream::fs::objects::DeviceStore;
use kiln_zstream::fs::tree::{Kind, Tree};
use kiln_zstream::fs::{FileSystemOptions, IncrementOptions, Summary, Version, write_increment};
use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::stream::ImageTree;
use crate::digest::{Hashing, hex};
use crate::report::{Hint, Report};
use crate::staging::StagedFile;

/// What to do when a result cannot be written.
pub const NO_ROOM: &str = "the file system of the output may be full: choose another with --output";

/// The snapshot in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// `dataset@snapshot`; imgadm wants the snapshot `@final` (source: smartos-live, src/img/lib/imgadm.js).
    pub name: String,
    /// When it was made, seconds since 1970.
    pub creation_time: u64,
    /// Its GUID; none to derive it from all that is in the image, so that images that differ never share one.
    pub guid: Option<u64>,
    /// The version of its file system; of an image on an origin, the origin's counts.
    pub version: Version,
}

/// How the file of an image is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// With gzip, by several threads; the bytes do not depend on their number.
    Gzip {
        /// Threads.
        jobs: NonZeroUsize,
        /// Level, 1 to 12.
        level: u8,
    },
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Size of the file in bytes.
    pub size: u64,
    /// SHA-1 of the file, lower-case hex.
    pub sha1: String,
    /// GUID of the snapshot, the `dataset_guid` of manifests.
    pub guid: u64,
    /// SHA-1 of the stream inside, lower-case hex.
    pub stream_sha1: String,
    /// What the stream amounts to.
    pub stream: Summary,
}

/// Writes a tree as an image into `output`: a full one, or what makes it of `origin`.
///
/// The tree is read twice when its GUID is to be derived.
///
/// # Errors
/// Contents cannot be read, the tree is none that a file system could hold, or the output cannot be written.
pub fn write(
    tree: &Tree,
    origin: Option<&ImageTree>,
    snapshot: &Snapshot,
    compression: Compression,
    output: &mut StagedFile,
    report: &Report,
) -> Result<Written> {
    let guid = match snapshot.guid {
        Some(guid) => guid,
        None => derive_guid(tree, origin, snapshot, report)?,
    };
    let name = output.target().display().to_string();
    let cannot_write = || format!("cannot write {name}");
    let progress = report.progress("write-image", contents_of(tree));
    let file = Hashing::<_, Sha1>::new(output.file_mut());
    let stream = |output: &mut dyn Write| -> Result<(String, Summary)> {
        let output = progress.writer(Hashing::<_, Sha1>::new(output));
        let (output, summary) = write_stream(output, tree, origin, snapshot, guid)?;
        Ok((hex(&output.into_inner().sum.finalize()), summary))
    };
    let (file, (stream_sha1, summary)) = match compression {
        Compression::None => {
            let mut buffered = io::BufWriter::with_capacity(1 << 20, file);
            let done = stream(&mut buffered).with_context(cannot_write).hint(NO_ROOM)?;
            (buffered.into_inner().map_err(io::IntoInnerError::into_error).with_context(cannot_write)?, done)
        }
        Compression::Gzip { jobs, level } => {
            let options = kiln_pgzip::Options { level, threads: jobs, ..kiln_pgzip::Options::default() };
            let mut gzip = kiln_pgzip::Writer::new(file, options).with_context(cannot_write)?;
            let done = stream(&mut gzip).with_context(cannot_write).hint(NO_ROOM)?;
            let (file, _) = gzip.finish().with_context(cannot_write).hint(NO_ROOM)?;
            (file, done)
        }
    };
    Ok(Written { size: file.size, sha1: hex(&file.sum.finalize()), guid, stream_sha1, stream: summary })
}

/// A GUID that follows from everything in the image: the digest of the stream as it would be with the GUID of all ones.
fn derive_guid(tree: &Tree, origin: Option<&ImageTree>, snapshot: &Snapshot, report: &Report) -> Result<u64> {
    let progress = report.progress("derive-guid", contents_of(tree));
    let sink = progress.writer(Hashing::<_, Sha256>::new(io::sink()));
    let (sink, _) = write_stream(sink, tree, origin, snapshot, u64::MAX)?;
    let digest = sink.into_inner().sum.finalize();
    let guid = u64::from_be_bytes(*digest.first_chunk().expect("a SHA-256 has 32 bytes"));
    Ok(guid.max(1))
}

fn write_stream<W: Write>(
    output: W,
    tree: &Tree,
    origin: Option<&ImageTree>,
    snapshot: &Snapshot,
    guid: u64,
) -> Result<(W, Summary), kiln_zstream::Error> {
    let Snapshot { name, creation_time, version, .. } = snapshot.clone();
    match origin {
        None => {
            let options = FileSystemOptions { to_name: name, to_guid: guid, creation_time, version };
            kiln_zstream::fs::write(output, tree, &options)
        }
        Some(origin) => {
            let options = IncrementOptions { to_name: name, to_guid: guid, creation_time };
            write_increment::<_, DeviceStore<std::fs::File>>(output, tree, origin, &options)
        }
    }
}

/// The bytes in all files of a tree.
fn contents_of(tree: &Tree) -> u64 {
    let sizes = tree.walk().map(|step| match &tree.node(step.node).kind {
        Kind::File(contents) => contents.size(),
        _ => 0,
    });
    sizes.fold(0, u64::saturating_add)
}
