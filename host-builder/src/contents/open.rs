//! Opening images: taking off what they are wrapped in until something is left that can be read anywhere.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use kiln_zstream::record::{Begin, ObjsetType};
use kiln_zstream::volume::{self, ExtractOptions, VolumeInfo};
use kiln_zstream::{Record, StreamReader};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::scratch::{Scratch, SparseFile};
use super::shape::{self, Shape};
use super::source::Source;
use super::spool;
use crate::digest::hex;
use crate::prefetch::Prefetch;
use crate::report::{Hint, Progress, Report};

/// Largest volume or expanded file in bytes, 8 TiB: what a sparse temporary file can hold on every file system.
pub(super) const MAX_EXPANDED: u64 = 8 << 40;
/// Most wrappings around each other that are taken off: a stream in gzip in gzip.
const MAX_WRAPPINGS: usize = 3;
/// Bytes that show whether a gzip holds a stream: one record.
const STREAM_HEAD: usize = 312;

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
    /// The first record.
    pub begin: Begin,
    /// What the records add up to; `None` for streams that are no whole volume, which are not expanded.
    pub volume: Option<VolumeInfo>,
}

/// What is inside the wrappings.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The bytes: a disk, an archive, or, for streams that are no whole volume, the stream.
    pub source: Source,
    /// What they are; never [`Shape::Gzip`].
    pub shape: Shape,
    /// Whether a gzip was taken off.
    pub compressed: bool,
    /// The stream that was taken off.
    pub stream: Option<Stream>,
    /// Digests of the bytes inside the gzip, when asked for.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// Compute digests, which reads every byte.
    pub digests: bool,
}

/// Opens an image file, whatever it is.
///
/// # Errors
/// The file is missing or unreadable, or its compression or stream is damaged.
pub fn open(path: &Path, how: How, report: &Report) -> Result<Image> {
    let (source, scratch) = spool::open(path, report)?;
    let size = source.size();
    let file_hashes = how.digests.then(Hashes::shared);
    let contents = unwrap_hashing(&source, &scratch, report, how, file_hashes.as_ref())
        .with_context(|| format!("cannot read {}", path.display()))?;
    let digests = match file_hashes {
        Some(hashes) => {
            if !contents.compressed && contents.stream.is_none() {
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
    how: How,
    hashes: Option<&Arc<Mutex<Hashes>>>,
) -> Result<Contents> {
    let mut contents = Contents {
        source: source.clone(),
        shape: shape::of(source)?,
        compressed: false,
        stream: None,
        inflated: None,
        trailing: None,
    };
    // Only the first reading passes over the file itself.
    let mut hashes = hashes.cloned();
    for _ in 0..MAX_WRAPPINGS {
        let progress = report.progress("expanding", contents.source.size());
        let counted = progress.reader(contents.source.reader());
        let mut raw = Hashing { inner: counted, hashes: hashes.take() };
        let expanded = match contents.shape {
            Shape::Gzip => {
                let head = inflated_head(&contents.source)?;
                let inner = how.digests.then(Hashes::shared);
                let mut gzip = Hashing { inner: kiln_pgzip::Reader::new(raw), hashes: inner.clone() };
                let expanded = expand(&mut gzip, &head, scratch, how)?;
                contents.compressed = true;
                contents.inflated = inner.as_ref().map(Hashes::finish);
                contents.trailing = gzip.inner.ignored_from();
                // What follows the gzip is no part of the image, but it is part of the file.
                raw = gzip.inner.into_inner();
                expanded
            }
            Shape::Stream if contents.stream.is_none() => {
                let head = contents.source.head(STREAM_HEAD)?;
                expand(&mut raw, &head, scratch, how)?
            }
            _ => break,
        };
        if raw.hashes.is_some() {
            io::copy(&mut raw, &mut io::sink())?;
        }
        contents.shape = match &expanded.source {
            Some(source) => shape::of(source)?,
            None => Shape::Stream,
        };
        contents.source = expanded.source.unwrap_or(contents.source);
        contents.stream = expanded.stream.or(contents.stream);
    }
    if contents.shape == Shape::Gzip {
        return Err(anyhow!("it is compressed more than {MAX_WRAPPINGS} times"))
            .hint("expand it with gzip first");
    }
    Ok(contents)
}

/// What came out of one wrapping.
struct Expanded {
    /// `None` for a stream that is no whole volume: there is nothing to expand it onto.
    source: Option<Source>,
    stream: Option<Stream>,
}

/// Reads `from` to its end into a temporary file. `head` is its beginning.
fn expand(from: &mut (impl Read + Send), head: &[u8], scratch: &Scratch, how: How) -> Result<Expanded> {
    if !shape::is_stream(head) {
        let file = scratch.file()?;
        let limited = from.take(MAX_EXPANDED);
        Prefetch::over(limited, |reader| SparseFile::new(&file).fill(reader, |_| {}))
            .hint("the file is damaged or the disk is full: compare the file with its published checksum")?;
        return Ok(Expanded { source: Some(Source::file(file)?), stream: None });
    }
    let damaged = "the stream is damaged: copy or download it again, and compare its published checksum";
    let Some(Record::Begin(begin)) = StreamReader::new(head).next_record().hint(damaged)? else {
        return Err(anyhow!("the stream does not begin with its first record")).hint(damaged);
    };
    let whole_volume = begin.compound || (begin.objset_type == ObjsetType::Volume && begin.from_guid == 0);
    if !whole_volume {
        if how.digests {
            read_to_the_end(from).hint(damaged)?;
        }
        return Ok(Expanded { source: None, stream: Some(Stream { begin, volume: None }) });
    }
    let mut file = scratch.file()?;
    let options = ExtractOptions { size_limit: MAX_EXPANDED, base: None };
    let volume = Prefetch::over(from, |reader| volume::extract(reader, &mut file, &options)).hint(damaged)?;
    file.set_len(volume.size).context("cannot write a temporary file")?;
    Ok(Expanded { source: Some(Source::file(file)?), stream: Some(Stream { begin, volume: Some(volume) }) })
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

/// The first bytes inside a gzip.
fn inflated_head(source: &Source) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    kiln_pgzip::Reader::new(source.reader())
        .take(STREAM_HEAD as u64)
        .read_to_end(&mut head)
        .hint("the file is damaged: copy or download it again, and compare its published checksum")?;
    Ok(head)
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
