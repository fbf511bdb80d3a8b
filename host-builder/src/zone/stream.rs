//! The file system in an image that is there, with those underneath it.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use kiln_zstream::ErrorKind;
use kiln_zstream::fs::objects::DeviceStore;
use kiln_zstream::fs::{FileSystem, Objects, read};

use crate::compression::{self, Compression, MAGIC_BYTES};
use crate::contents::spool;
use crate::prefetch::Prefetch;
use crate::report::Report;

/// A file system whose files are kept in a temporary file.
pub type ImageTree = FileSystem<DeviceStore<File>>;

/// Reads an image of a file system, plain or compressed with gzip, bzip2 or xz. An incremental one needs its origins, the oldest first.
///
/// # Errors
/// A file is missing or damaged, holds no file system, or does not go on top of the one before.
pub fn open(origins: &[PathBuf], image: &Path, report: &Report) -> Result<ImageTree> {
    let mut objects: Option<Objects<DeviceStore<File>>> = None;
    for path in origins.iter().map(PathBuf::as_path).chain([image]) {
        let cannot = || format!("cannot read {}", path.display());
        let (source, scratch) = spool::open(path, report)?;
        let objects = match &mut objects {
            Some(objects) => objects,
            none => none.insert(Objects::new(DeviceStore::new(scratch.file()?))),
        };
        let progress = report.progress("read-image", source.size());
        let counted = progress.reader(source.reader());
        let compression = Compression::of(&source.head(MAGIC_BYTES).with_context(cannot)?);
        let expanded = compression::Reader::new(counted, compression);
        let applied = Prefetch::over(expanded, |reader| objects.apply(reader).map(drop));
        applied.map_err(|error| explained(error, path))?;
    }
    let objects = objects.context("there is no image")?;
    read(objects).with_context(|| format!("cannot read the file system in {}", image.display()))
}

/// An error of a stream with what to do about it.
fn explained(error: kiln_zstream::Error, path: &Path) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::NotAStream => {
            "name a ZFS stream, plain or compressed: the file of an image, such as IMAGE.zfs.gz"
        }
        ErrorKind::WrongBase => "name the image that it goes on top of with --origin FILE, the oldest first",
        ErrorKind::BadFileSystem | ErrorKind::Unsupported => {
            "zone images are made of whole file systems (zfs send without -R, -w or -t)"
        }
        _ => "the file is damaged: copy or download it again, and compare its published checksum",
    };
    let error = anyhow!(error).context(format!("cannot read {}", path.display()));
    crate::report::with_hint(error, hint)
}
