//! The file system in an image that is there, with those underneath it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use kiln_zstream::fs::objects::DeviceStore;
use kiln_zstream::fs::{FileSystem, Objects, read};
use kiln_zstream::record::{Begin, ObjsetType};

use crate::compression::{self, Compression, MAGIC_BYTES};
use crate::contents::origin::{self, DAMAGED};
use crate::contents::scratch::Scratch;
use crate::contents::source::Source;
use crate::contents::{shape, spool};
use crate::prefetch::Prefetch;
use crate::report::{Hint, Report};

/// A file system whose files are kept in a temporary file.
pub type ImageTree = FileSystem<DeviceStore<File>>;

/// The file of an image, plain or compressed, of which no more is read than the beginning.
#[derive(Debug)]
pub struct ImageFile {
    path: PathBuf,
    source: Source,
    scratch: Scratch,
    compression: Compression,
    /// What it says of its snapshot.
    pub snapshot: Begin,
}

impl ImageFile {
    /// Opens the file of an image. What comes through a pipe is kept in a temporary file.
    ///
    /// # Errors
    /// It cannot be read, or holds no stream of a file system.
    pub fn open(path: &Path, report: &Report) -> Result<ImageFile> {
        let cannot = || format!("cannot read {}", path.display());
        let (source, scratch) = spool::open(path, report)?;
        let compression = Compression::of(&source.head(MAGIC_BYTES).with_context(cannot)?);
        let stream = || compression::Reader::new(source.reader(), compression);
        let mut head = Vec::new();
        stream().take(shape::HEAD as u64).read_to_end(&mut head).with_context(cannot).hint(DAMAGED)?;
        if !shape::is_stream(&head) {
            return Err(anyhow!("{} is no ZFS stream", path.display()))
                .hint("name the file of an image, such as IMAGE.zfs.gz, or what zfs send wrote");
        }
        let snapshot = origin::first_snapshot(stream()).with_context(cannot)?;
        if snapshot.objset_type != ObjsetType::FileSystem {
            return Err(anyhow!("{} is the stream of a volume", path.display()))
                .hint("zone images are made of file systems; `kiln convert` turns volumes into disks");
        }
        Ok(ImageFile { path: path.to_owned(), source, scratch, compression, snapshot })
    }

    /// Reads its file system. An incremental one needs its origins.
    ///
    /// # Errors
    /// The stream is damaged, holds several snapshots, or its origins are missing or others.
    pub fn read(&self, origins: &[PathBuf], report: &Report) -> Result<ImageTree> {
        let mut objects = Objects::new(DeviceStore::new(self.scratch.file()?));
        let layers = origin::layers(&self.snapshot, origins, report)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        for layer in layers {
            let progress = report.progress("read-origin", 0);
            apply(&mut objects, progress.reader(layer.stream()), &layer.origin.path)?;
        }
        let progress = report.progress("read-image", self.source.size());
        let stream = compression::Reader::new(progress.reader(self.source.reader()), self.compression);
        apply(&mut objects, stream, &self.path)?;
        file_system(objects, &self.path)
    }
}

/// Reads an image of a file system, plain or compressed. An incremental one needs its origins.
///
/// # Errors
/// A file is missing or damaged, holds no file system, or does not go on top of the one before.
pub fn open(origins: &[PathBuf], image: &Path, report: &Report) -> Result<ImageTree> {
    ImageFile::open(image, report)?.read(origins, report)
}

/// Reads a whole file system from a stream as it comes from `name`.
///
/// # Errors
/// The stream is damaged, incremental, or none of one file system.
pub fn receive(stream: impl Read + Send, name: &Path, report: &Report) -> Result<ImageTree> {
    let mut objects = Objects::new(DeviceStore::new(Scratch::of_the_system().file()?));
    let progress = report.progress("read-image", 0);
    apply(&mut objects, progress.reader(stream), name)?;
    file_system(objects, name)
}

fn apply(objects: &mut Objects<DeviceStore<File>>, stream: impl Read + Send, path: &Path) -> Result<()> {
    let applied = Prefetch::over(stream, |mut reader| -> Result<u64> {
        let snapshots = objects.apply(&mut reader).map_err(origin::explained)?.snapshots;
        // To its end, where the compression has a checksum of its own.
        io::copy(&mut reader, &mut io::sink()).hint(DAMAGED)?;
        Ok(snapshots)
    });
    match applied.with_context(|| format!("cannot read {}", path.display()))? {
        1 => Ok(()),
        several => Err(anyhow!("{} holds {several} snapshots", path.display()))
            .hint("an image has one: send it with zfs send, without -R and -I"),
    }
}

/// A file system, of which the stream in `path` was the last.
fn file_system(objects: Objects<DeviceStore<File>>, path: &Path) -> Result<ImageTree> {
    read(objects)
        .with_context(|| format!("cannot read the file system in {}", path.display()))
        .hint("`kiln verify` lists what is wrong with it")
}
