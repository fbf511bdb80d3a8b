//! A tree becomes the file of an image: a compressed stream of one snapshot, with its digests.

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;

use anyhow::{Context, Result, anyhow};
use kiln_pgzip::Members;
use kiln_zstream::StreamReader;
use kiln_zstream::fs::objects::DeviceStore;
use kiln_zstream::fs::tree::{self, Tree};
use kiln_zstream::fs::{FileSystemOptions, IncrementOptions, Summary, Version, write_increment};
use kiln_zstream::record::Record;
use sha1::{Digest, Sha1};

use super::guid;
use super::stream::ImageTree;
use crate::behind::{Behind, Both};
use crate::compression::{self, Compression as Kind};
use crate::digest::{Hashing, hex};
use crate::direct::Direct;
use crate::jobs;
use crate::prefetch::Prefetch;
use crate::report::{Hint, Report, with_hint};
use crate::staging::{NO_ROOM, StagedFile};

/// The name of the snapshot in an image: that which `zfs` and imgadm know is [`SNAPSHOT`], and that of the dataset is of no
/// consequence, since imgadm receives under a name of its own.
pub fn snapshot_name(snapshot: &str) -> String {
    format!("kiln/zone@{snapshot}")
}

/// What imgadm wants a snapshot to be called; it renames others (source: smartos-live, `src/img/lib/imgadm.js`).
pub const SNAPSHOT: &str = "final";

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

impl Snapshot {
    /// What its stream is to say, with this GUID.
    fn options(&self, guid: u64) -> FileSystemOptions {
        let Snapshot { name, creation_time, version, .. } = self.clone();
        FileSystemOptions { to_name: name, to_guid: guid, creation_time, version }
    }
}

/// How the file of an image is compressed. The bytes do not depend on the number of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// With gzip.
    Gzip {
        /// Threads.
        jobs: NonZeroUsize,
        /// Level, 1 to 12.
        level: u8,
    },
    /// With bzip2, by one thread.
    Bzip2 {
        /// Level, 1 to 9.
        level: u8,
    },
    /// With xz.
    Xz {
        /// Threads, each of which takes some 130 MiB.
        jobs: NonZeroUsize,
        /// Level, 0 to 6.
        level: u8,
    },
}

impl Compression {
    /// The kind of compression.
    pub fn kind(self) -> Kind {
        match self {
            Compression::None => Kind::None,
            Compression::Gzip { .. } => Kind::Gzip,
            Compression::Bzip2 { .. } => Kind::Bzip2,
            Compression::Xz { .. } => Kind::Xz,
        }
    }

    /// What the name of an image ends in.
    pub fn ending(self) -> String {
        format!(".zfs{}", self.kind().suffix())
    }

    /// Threads for what is not compression, as many as those that compress if there are several.
    fn jobs(self) -> NonZeroUsize {
        match self {
            Compression::None | Compression::Bzip2 { .. } => jobs::default(),
            Compression::Gzip { jobs, .. } | Compression::Xz { jobs, .. } => jobs,
        }
    }

    fn writer<W: Write>(self, output: W) -> io::Result<compression::Writer<W>> {
        let one = NonZeroUsize::MIN;
        let (level, jobs) = match self {
            Compression::None => (None, one),
            Compression::Bzip2 { level } => (Some(level), one),
            Compression::Gzip { jobs, level } | Compression::Xz { jobs, level } => (Some(level), jobs),
        };
        compression::Writer::with_level(output, self.kind(), level, jobs)
    }
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
    /// Of gzip, where the members of the file end.
    members: Option<Members>,
}

impl Written {
    /// What stands for a finished image where none is there yet.
    pub fn stand_in() -> Written {
        Written {
            size: 1,
            sha1: "0".repeat(40),
            guid: 1,
            stream_sha1: "0".repeat(40),
            stream: Summary { records: 0, objects: 0, stream_bytes: 0, checksum: [0; 4] },
            members: None,
        }
    }
}

/// Writes a tree as an image into `output`: a full one, or what makes it of `origin`.
///
/// The contents of the tree are read twice when its GUID is to be derived, which every record of the stream has.
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
    let guid = if let Some(guid) = snapshot.guid {
        guid
    } else {
        let underneath = origin.and_then(|origin| origin.objects.info()).map_or(0, |info| info.guid);
        guid::derive(tree, underneath, snapshot, compression.jobs(), report)?
    };
    let name = output.target().display().to_string();
    let cannot_write = || format!("cannot write {name}");
    let progress = report.progress("write-image", contents_of(tree));
    let (packed, sum, file) = Behind::over_both(digest(), Direct::new(output.file()), |file| -> Result<_> {
        let mut packed = compression.writer(file).with_context(cannot_write)?;
        let (stream_sum, stream) = if compression == Compression::None {
            // The file is the stream, and so is its digest.
            (None, write_stream(progress.writer(&mut packed), tree, origin, snapshot, guid))
        } else {
            let (stream, sum) = Behind::over(digest(), |sum| {
                let output = progress.writer(Both(&mut packed, sum));
                write_stream(output, tree, origin, snapshot, guid)
            });
            (Some(hex(&sum?.sum.finalize())), stream)
        };
        let stream =
            stream.map_err(|error| explained(error.into())).with_context(cannot_write).hint(NO_ROOM)?;
        let (_, members) = packed.finish().with_context(cannot_write).hint(NO_ROOM)?;
        Ok((stream_sum, stream, members))
    });
    // When the file could not be written, what came before it saw no more than that.
    file.with_context(cannot_write).hint(NO_ROOM)?;
    let sum = sum?;
    let (stream_sha1, stream, members) = packed?;
    let (size, sha1) = (sum.size, hex(&sum.sum.finalize()));
    let stream_sha1 = stream_sha1.unwrap_or_else(|| sha1.clone());
    Ok(Written { size, sha1, guid, stream_sha1, stream, members })
}

fn digest() -> Hashing<io::Sink, Sha1> {
    Hashing::new(io::sink())
}

/// Reads an image back and holds its stream against what was written: its records and its checksum. Meanwhile the disk takes what it
/// has not got yet.
///
/// # Errors
/// It cannot be read, is not what was written, or the disk does not take it.
pub fn verify(file: &File, compression: Compression, written: &Written, report: &Report) -> Result<()> {
    std::thread::scope(|scope| {
        let synchronised = scope.spawn(|| file.sync_data());
        read_back(file, compression, written, report)?;
        let synchronised = synchronised.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        synchronised.context("cannot write the image to the disk").hint(NO_ROOM)
    })
}

fn read_back(file: &File, compression: Compression, written: &Written, report: &Report) -> Result<()> {
    let hint = "the disk or the memory of this machine may be at fault: build the image again";
    let progress = report.progress("verify-image", written.size);
    let read = Prefetch::over(progress.reader(Direct::new(file)), |packed| {
        match (&written.members, compression.kind()) {
            (Some(members), _) => members.expand(packed, compression.jobs(), checksum),
            (None, Kind::None) => checksum(packed),
            (None, kind) => Prefetch::over(compression::Reader::new(packed, kind), checksum),
        }
    });
    let (end, rest) = read.context("the image cannot be read back").hint(hint)?;
    if end != Some(written.stream.checksum) || rest > 0 {
        return Err(anyhow!("the image is not what was written")).hint(hint);
    }
    Ok(())
}

/// The checksum of a stream, and how many bytes follow it.
fn checksum(stream: impl Read) -> Result<(Option<[u64; 4]>, u64)> {
    let (mut stream, mut end) = (StreamReader::new(stream), None);
    while let Some(record) = stream.next_record()? {
        if let Record::End { checksum } = record {
            end = Some(checksum);
        }
    }
    // To its end, where the compression has a checksum of its own.
    Ok((end, io::copy(&mut stream.into_inner(), &mut io::sink())?))
}

/// Contents that could not be read where the tree was made from. Errors of this kind say what to do about it themselves.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub struct Unreadable {
    /// What went wrong.
    pub problem: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl Unreadable {
    /// The error as contents give it.
    pub fn error(problem: impl Into<String>, hint: &'static str) -> io::Error {
        io::Error::other(Unreadable { problem: problem.into(), hint })
    }
}

/// An error with the hint of contents that could not be read, if that is what it is.
pub(super) fn explained(error: anyhow::Error) -> anyhow::Error {
    let unreadable = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref::<Unreadable>())
        .map(|unreadable| unreadable.hint)
        .next();
    match unreadable {
        Some(hint) => with_hint(error, hint),
        None => error,
    }
}

fn write_stream<W: Write>(
    output: W,
    tree: &Tree,
    origin: Option<&ImageTree>,
    snapshot: &Snapshot,
    guid: u64,
) -> Result<Summary, kiln_zstream::Error> {
    let options = snapshot.options(guid);
    let written = match origin {
        None => kiln_zstream::fs::write(output, tree, &options),
        Some(origin) => {
            let FileSystemOptions { to_name, to_guid, creation_time, .. } = options;
            let options = IncrementOptions { to_name, to_guid, creation_time };
            write_increment::<_, DeviceStore<File>>(output, tree, origin, &options)
        }
    };
    Ok(written?.1)
}

/// The bytes in all files of a tree.
fn contents_of(tree: &Tree) -> u64 {
    let sizes = tree.walk().map(|step| match &tree.node(step.node).kind {
        tree::Kind::File(contents) => contents.size(),
        _ => 0,
    });
    sizes.fold(0, u64::saturating_add)
}
