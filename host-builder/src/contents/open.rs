//! Opening images: taking off what they are wrapped in until something is left that can be read anywhere.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use kiln_zstream::StreamReader;
use kiln_zstream::fs::Objects;
use kiln_zstream::record::{Begin, ObjsetType};
use kiln_zstream::volume::{self, ExtractOptions, VolumeInfo};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::dataset::{Blocks, Dataset, Keep};
use super::origin::{self, DAMAGED, explained};
use super::scratch::{Scratch, SparseFile};
use super::shape::{self, Shape};
use super::source::Source;
use super::spool;
use crate::compression::{Compression, Reader};
use crate::digest::hex;
use crate::prefetch::Prefetch;
use crate::report::{Hint, Progress, Report};

/// Largest volume or expanded file in bytes, 8 TiB: what a sparse temporary file can hold on every file system.
pub(super) const MAX_EXPANDED: u64 = 8 << 40;
/// Most wrappings around each other that are taken off: a stream in gzip in gzip.
const MAX_WRAPPINGS: usize = 3;

/// Digests of bytes that passed, lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Number of the bytes.
    pub size: u64,
    /// Their SHA-1, the digest of image manifests.
    pub sha1: String,
    /// Their SHA-256.
    pub sha256: String,
}

/// What a send stream says about itself.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The first record; of a compound stream that of its first snapshot.
    pub snapshot: Begin,
    /// What the records add up to; `None` for streams that are no whole volume.
    pub volume: Option<VolumeInfo>,
}

impl Stream {
    /// Whether it changes a file system that is not at hand.
    pub fn lacks_origin(&self) -> bool {
        self.snapshot.objset_type == ObjsetType::FileSystem && self.snapshot.from_guid != 0
    }
}

/// What is inside the wrappings.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The bytes: a disk, an archive, or, for streams that are no whole volume, what the stream is in.
    pub source: Source,
    /// What they are; never [`Shape::Compressed`].
    pub shape: Shape,
    /// The compression that was taken off, of several the outermost.
    pub compression: Compression,
    /// The stream that was taken off.
    pub stream: Option<Stream>,
    /// The file system of [`Shape::Dataset`].
    pub dataset: Option<Arc<Dataset>>,
    /// Digests of the bytes inside the compression, when asked for.
    pub inflated: Option<Digests>,
    /// Where in the file something follows the gzip that is no part of it, in bytes.
    pub trailing: Option<u64>,
}

/// An image file and what is in it.
#[derive(Clone, Debug)]
pub struct Image {
    /// Where the file is.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Digests of the file, when asked for.
    pub digests: Option<Digests>,
    /// What is in it.
    pub contents: Contents,
    /// Where its temporary files go.
    pub scratch: Scratch,
}

/// How to open.
#[derive(Clone, Copy, Debug, Default)]
pub struct How<'a> {
    /// Compute digests and look for defects of file systems, which reads every byte.
    pub digests: bool,
    /// Whose contents are wanted of a file system in a stream.
    pub keep: Keep,
    /// Images that an incremental one may go on top of.
    pub origins: &'a [PathBuf],
}

/// Opens an image file, whatever it is.
///
/// # Errors
/// The file is missing or unreadable, or its compression or stream is damaged.
pub fn open(path: &Path, how: How<'_>, report: &Report) -> Result<Image> {
    let (source, scratch) = spool::open(path, report)?;
    let size = source.size();
    let file_hashes = how.digests.then(Hashes::shared);
    let contents = unwrap_hashing(&source, &scratch, report, how, file_hashes.as_ref())
        .with_context(|| format!("cannot read {}", path.display()))?;
    let digests = match file_hashes {
        Some(hashes) => {
            if contents.compression == Compression::None && contents.stream.is_none() {
                let progress = report.progress("reading", size);
                let reader = Hashing { inner: source.reader(), hashes: Some(Arc::clone(&hashes)) };
                drain(reader, &progress).with_context(|| format!("cannot read {}", path.display()))?;
            }
            Some(Hashes::finish(&hashes))
        }
        None => None,
    };
    Ok(Image { path: path.to_owned(), size, digests, contents, scratch })
}

/// Takes the wrappings off bytes inside an image, such as a `custom.tgz`.
///
/// # Errors
/// The compression or stream is damaged, or there is no room to expand it.
pub fn unwrap(source: &Source, scratch: &Scratch, report: &Report) -> Result<Contents> {
    unwrap_hashing(source, scratch, report, How::default(), None)
}

fn unwrap_hashing(
    source: &Source,
    scratch: &Scratch,
    report: &Report,
    how: How<'_>,
    hashes: Option<&Arc<Mutex<Hashes>>>,
) -> Result<Contents> {
    let mut contents = Contents {
        source: source.clone(),
        shape: shape::of(source)?,
        compression: Compression::None,
        stream: None,
        dataset: None,
        inflated: None,
        trailing: None,
    };
    // Only the first reading passes over the file itself.
    let mut hashes = hashes.cloned();
    for _ in 0..MAX_WRAPPINGS {
        let wrapping = match contents.shape {
            Shape::Compressed(compression) => compression,
            Shape::Stream if contents.stream.is_none() => Compression::None,
            _ => break,
        };
        let expanded = {
            let again = || Reader::new(contents.source.reader(), wrapping);
            let snapshot = snapshot(again)?;
            let progress = report.progress("expanding", contents.source.size());
            let counted = progress.reader(contents.source.reader());
            let raw = Hashing { inner: counted, hashes: hashes.take() };
            let inner = (how.digests && wrapping != Compression::None).then(Hashes::shared);
            let mut reader = Hashing { inner: Reader::new(raw, wrapping), hashes: inner.clone() };
            let expanded = match snapshot {
                Some(snapshot) => expand_stream(&mut reader, snapshot, scratch, how, report)?,
                None => expand_file(&mut reader, scratch)?,
            };
            if contents.compression == Compression::None {
                contents.compression = wrapping;
            }
            contents.inflated = inner.as_ref().map(Hashes::finish).or(contents.inflated);
            contents.trailing = reader.inner.ignored_from().or(contents.trailing);
            // What follows a gzip is no part of the image, but it is part of the file.
            let mut raw = reader.inner.into_inner();
            if raw.hashes.is_some() {
                io::copy(&mut raw, &mut io::sink())?;
            }
            expanded
        };
        contents.shape = match (&expanded.source, &expanded.dataset) {
            (Some(source), _) => shape::of(source)?,
            (None, Some(_)) => Shape::Dataset,
            (None, None) => Shape::Stream,
        };
        contents.source = expanded.source.unwrap_or(contents.source);
        contents.stream = expanded.stream.or(contents.stream);
        contents.dataset = expanded.dataset;
    }
    if let Shape::Compressed(compression) = contents.shape {
        return Err(anyhow!("it is compressed more than {MAX_WRAPPINGS} times"))
            .hint(format!("expand it with {} first", compression.name()));
    }
    Ok(contents)
}

/// What came out of one wrapping.
#[derive(Default)]
struct Expanded {
    /// `None` for a stream that is no whole volume.
    source: Option<Source>,
    stream: Option<Stream>,
    dataset: Option<Arc<Dataset>>,
}

/// The first snapshot in a stream; `None` for what is no stream. `again` reads it from the beginning.
fn snapshot<R: Read>(again: impl Fn() -> R) -> Result<Option<Begin>> {
    let mut head = Vec::new();
    again()
        .take(shape::HEAD as u64)
        .read_to_end(&mut head)
        .hint("the file is damaged: copy or download it again, and compare its published checksum")?;
    if shape::is_stream(&head) { origin::first_snapshot(again()).map(Some) } else { Ok(None) }
}

/// Reads `from` to its end into a temporary file.
fn expand_file(from: &mut (impl Read + Send), scratch: &Scratch) -> Result<Expanded> {
    let file = scratch.file()?;
    let limited = from.take(MAX_EXPANDED);
    Prefetch::over(limited, |reader| SparseFile::new(&file).fill(reader, |_| {}))
        .hint("the file is damaged or the disk is full: compare the file with its published checksum")?;
    Ok(Expanded { source: Some(Source::file(file)?), ..Expanded::default() })
}

/// Reads the stream in `from` to its end: a volume into a temporary file, and a file system into memory but for the contents
/// of its files. An increment is read for its checksums alone when there is nothing under it.
fn expand_stream(
    from: &mut (impl Read + Send),
    snapshot: Begin,
    scratch: &Scratch,
    how: How<'_>,
    report: &Report,
) -> Result<Expanded> {
    let file_system = snapshot.objset_type == ObjsetType::FileSystem;
    let whole_volume = snapshot.objset_type == ObjsetType::Volume && snapshot.from_guid == 0;
    let mut stream = Stream { snapshot, volume: None };
    if file_system && (stream.snapshot.from_guid == 0 || !how.origins.is_empty()) {
        let dataset = file_system_of(from, &stream.snapshot, scratch, how, report)?;
        return Ok(Expanded { stream: Some(stream), dataset: Some(Arc::new(dataset)), source: None });
    }
    if !whole_volume {
        if how.digests {
            read_to_the_end(from).hint(DAMAGED)?;
        }
        return Ok(Expanded { stream: Some(stream), ..Expanded::default() });
    }
    let mut file = scratch.file()?;
    let options = ExtractOptions { size_limit: MAX_EXPANDED, base: None };
    let volume = Prefetch::over(from, |reader| volume::extract(reader, &mut file, &options)).hint(DAMAGED)?;
    file.set_len(volume.size).context("cannot write a temporary file")?;
    stream.volume = Some(volume);
    Ok(Expanded { source: Some(Source::file(file)?), stream: Some(stream), dataset: None })
}

/// The file system that a stream and those under it make.
fn file_system_of(
    from: &mut (impl Read + Send),
    snapshot: &Begin,
    scratch: &Scratch,
    how: How<'_>,
    report: &Report,
) -> Result<Dataset> {
    let layers = origin::layers(snapshot, how.origins, report)?;
    let mut objects = Objects::new(Blocks::new(scratch.file()?, how.keep));
    for layer in &layers {
        Prefetch::over(layer.stream(), |reader| objects.apply(reader).map(drop))
            .map_err(explained)
            .with_context(|| format!("cannot read the origin {}", layer.origin.path.display()))?;
    }
    let info = Prefetch::over(from, |reader| objects.apply(reader).cloned()).map_err(explained)?;
    let origins = layers.into_iter().map(|layer| layer.origin).collect();
    Ok(Dataset::new(objects, info, origins, how.digests))
}

/// Verifies a stream whose contents are of no use here.
fn read_to_the_end(from: &mut (impl Read + Send)) -> Result<()> {
    Prefetch::over(from, |reader| {
        let mut stream = StreamReader::new(reader);
        while stream.next_record()?.is_some() {}
        let mut rest = stream.into_inner();
        if io::copy(&mut rest, &mut io::sink())? > 0 {
            return Err(anyhow!("the stream is followed by other data"));
        }
        Ok(())
    })
}

fn drain(mut reader: impl Read, progress: &Progress<'_>) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(got) => progress.add(got as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The digests under way. They are shared because the readers that feed them disappear inside other readers.
#[derive(Default)]
struct Hashes {
    size: u64,
    sha1: Sha1,
    sha256: Sha256,
}

impl Hashes {
    fn shared() -> Arc<Mutex<Hashes>> {
        Arc::default()
    }

    fn finish(shared: &Arc<Mutex<Hashes>>) -> Digests {
        let hashes = std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner));
        Digests {
            size: hashes.size,
            sha1: hex(&hashes.sha1.finalize()),
            sha256: hex(&hashes.sha256.finalize()),
        }
    }
}

/// Feeds what passes to the digests.
struct Hashing<R> {
    inner: R,
    hashes: Option<Arc<Mutex<Hashes>>>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        if let Some(hashes) = &self.hashes {
            let mut hashes = hashes.lock().unwrap_or_else(PoisonError::into_inner);
            hashes.size += got as u64;
            hashes.sha1.update(&buffer[..got]);
            hashes.sha256.update(&buffer[..got]);
        }
        Ok(got)
    }
}
