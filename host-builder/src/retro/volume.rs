//! From a planned disk to the compressed stream of a volume, in one pass.

use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use kiln_bootdisk::extent::{Content, DiskLayout};
use kiln_zstream::volume::{VolumeOptions, VolumeWriter};
use positioned_io::ReadAt;
use sha1::{Digest, Sha1};

use super::sources::Sources;
use crate::digest::{Hashing, hex};
use crate::report::Progress;
use crate::staging::StagedFile;

/// Bytes read at once from a source.
const CHUNK: usize = 1 << 20;

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Size of the compressed file in bytes.
    pub size: u64,
    /// SHA-1 of the compressed file, lower-case hex.
    pub sha1: String,
    /// Size of the stream inside, in bytes.
    pub stream_size: u64,
    /// SHA-1 of the stream inside, lower-case hex.
    pub stream_sha1: String,
    /// Blocks of the volume that are in the stream.
    pub blocks: u64,
}

/// How to compress.
#[derive(Clone, Copy, Debug)]
pub struct Compression {
    /// Threads.
    pub jobs: NonZeroUsize,
    /// Level, 1 to 12.
    pub level: u8,
}

/// Streams `layout` into `output` as a compressed volume stream.
///
/// # Errors
/// A source cannot be read or the output cannot be written.
pub fn write(
    layout: &DiskLayout,
    sources: &Sources,
    options: &VolumeOptions,
    compression: Compression,
    output: &mut StagedFile,
    progress: &Progress<'_>,
) -> Result<Written> {
    let name = output.target().display().to_string();
    let cannot_write = || format!("cannot write {name}");
    let compressed = Hashing::<_, Sha1>::new(output.file_mut());
    let gzip = kiln_pgzip::Writer::new(
        compressed,
        kiln_pgzip::Options {
            level: compression.level,
            threads: compression.jobs,
            ..kiln_pgzip::Options::default()
        },
    )
    .with_context(cannot_write)?;
    let mut volume = VolumeWriter::new(Hashing::<_, Sha1>::new(gzip), options).with_context(cannot_write)?;

    let mut buffer = vec![0; CHUNK];
    for extent in layout.extents() {
        match &extent.content {
            Content::Bytes(bytes) => {
                volume.write_at(extent.offset, bytes).with_context(cannot_write)?;
            }
            Content::File { file, offset } => {
                let source = sources.open(*file).context("the disk layout names an unknown file")?;
                let mut done = 0;
                while done < extent.length {
                    let length = CHUNK.min(usize::try_from(extent.length - done).unwrap_or(CHUNK));
                    source
                        .read_exact_at(offset + done, &mut buffer[..length])
                        .context("cannot read a temporary file back")?;
                    volume.write_at(extent.offset + done, &buffer[..length]).with_context(cannot_write)?;
                    done += length as u64;
                    progress.add(length as u64);
                }
            }
        }
    }
    let (stream, summary) = volume.finish().with_context(cannot_write)?;
    let Hashing { inner: gzip, sum: stream_sum, size: stream_size } = stream;
    let (compressed, _) = gzip.finish().with_context(cannot_write)?;
    Ok(Written {
        size: compressed.size,
        sha1: hex(&compressed.sum.finalize()),
        stream_size,
        stream_sha1: hex(&stream_sum.finalize()),
        blocks: summary.blocks_written,
    })
}
