//! Conversion of the disk of an image to other forms of disk images.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;

use anyhow::{Context, Result, anyhow};
use kiln_zstream::volume::{DEFAULT_BLOCK_SIZE, VolumeOptions, VolumeWriter};
use kiln_zstream::zero::is_zero;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Arguments, CHUNK, Form, qcow2};
use crate::cli::Ending;
use crate::contents::open::{self, How, Stream};
use crate::contents::output;
use crate::contents::scratch::SparseFile;
use crate::contents::shape::Shape;
use crate::contents::source::Source;
use crate::digest::hex;
use crate::jobs;
use crate::report::{Hint, Progress, Report};
use crate::staging::{self, StagedFile};
use crate::units;

/// Name of the snapshot in a stream that is made from a disk without one.
const DEFAULT_NAME: &str = "smartos/image@final";

/// Converts to a form of disk.
///
/// # Errors
/// The image is no disk or cannot be read, or the output exists or cannot be written.
pub fn convert(arguments: &Arguments, report: &Report) -> Result<Ending> {
    staging::refuse_existing(&arguments.output, arguments.force)?;
    let image = open::open(&arguments.image, How::default(), report)?;
    let contents = image.contents;
    let name = arguments.image.display();
    if contents.source.size() == 0 {
        return Err(anyhow!("{name} is empty")).hint("name a disk image");
    }
    match contents.shape {
        Shape::Stream | Shape::Dataset => {
            return Err(anyhow!("{name} is a stream without a whole volume in it")).hint(
                "disks come from full streams of volumes; files from others with --to tar, dir or mtree",
            );
        }
        Shape::Tar => {
            return Err(anyhow!("{name} is an archive, not a disk")).hint(
                "`kiln retro` builds a disk from a platform tarball; --to tar, dir and mtree take its files",
            );
        }
        Shape::Other if is_qcow2(&contents.source)? => {
            return Err(anyhow!("{name} is a qcow2 image, which kiln writes but does not read"))
                .hint("make it raw with `qemu-img convert -O raw`");
        }
        // A volume is a disk whatever is on it. A file shows it by its contents alone.
        Shape::Other if contents.stream.is_none() && !has_boot_signature(&contents.source)? => {
            return Err(anyhow!("{name} is no disk: its first sector does not end in 55 AA"))
                .hint("convert takes .zvol, .zvol.gz and raw disks, and bare FAT volumes and boot archives");
        }
        _ => {}
    }
    let disk = contents.source;
    let mut staged = StagedFile::create(&arguments.output)
        .hint("give OUT as a path in a folder that exists and that you may write to")?;
    let cannot = || format!("cannot write {}", arguments.output.display());
    match arguments.to {
        Form::Raw => raw(&disk, staged.file_mut(), report),
        Form::SparseRaw => {
            let progress = report.progress("writing", disk.size());
            let count = |bytes| progress.add(bytes as u64);
            SparseFile::new(staged.file()).fill(disk.reader(), count).map(drop).map_err(Into::into)
        }
        Form::Qcow2 => write_qcow2(&disk, staged.file_mut(), report),
        _ => zvol_gz(&disk, contents.stream.as_ref(), arguments, staged.file_mut(), report),
    }
    .with_context(cannot)
    .hint("its file system may be full: write it to a place with more room")?;
    let written = staged.file().metadata().with_context(cannot)?.len();
    staged.publish(arguments.force).hint("look whether its folder is still one that you may write to")?;
    summary(arguments, disk.size(), written, report)?;
    Ok(Ending::Done)
}

fn summary(arguments: &Arguments, disk: u64, written: u64, report: &Report) -> Result<()> {
    if report.is_json() {
        return output::object(&json!({
            "event": "converted",
            "output": arguments.output.display().to_string(),
            "form": arguments.to.name(),
            "disk_size": disk,
            "file_size": written,
        }));
    }
    output::text(&format!(
        "{}: {}, disk of {}, file of {}\n",
        arguments.output.display(),
        arguments.to.name(),
        units::size(disk),
        units::size(written)
    ))
}

fn is_qcow2(source: &Source) -> Result<bool> {
    Ok(source.head(4)? == b"QFI\xfb")
}

/// Whether the first sector ends as those of all partitioned or bootable disks do.
fn has_boot_signature(source: &Source) -> Result<bool> {
    Ok(source.head(512)?.get(510..) == Some(&[0x55, 0xAA]))
}

/// Shows the whole disk, piece by piece, with offsets.
fn for_each_chunk(
    disk: &Source,
    progress: &Progress<'_>,
    mut work: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut offset = 0;
    while offset < disk.size() {
        let got = disk.read_up_to(offset, &mut buffer).context("cannot read the disk")?;
        if got == 0 {
            return Err(anyhow!("the disk ends at byte {offset} instead of {}", disk.size()))
                .hint("the file became shorter while it was read");
        }
        work(offset, &buffer[..got])?;
        progress.add(got as u64);
        offset += got as u64;
    }
    Ok(())
}

fn raw(disk: &Source, file: &mut File, report: &Report) -> Result<()> {
    let progress = report.progress("writing", disk.size());
    for_each_chunk(disk, &progress, |_, chunk| Ok(file.write_all(chunk)?))
}

fn write_qcow2(disk: &Source, file: &mut File, report: &Report) -> Result<()> {
    let cluster = qcow2::CLUSTER as usize;
    let mut used = Vec::new();
    let progress = report.progress("finding zeros", disk.size());
    for_each_chunk(disk, &progress, |_, chunk| {
        used.extend(chunk.chunks(cluster).map(|piece| !is_zero(piece)));
        Ok(())
    })?;
    drop(progress);
    // QEMU counts in sectors; the last one is filled up with zeros.
    let layout = qcow2::Layout::new(disk.size().next_multiple_of(512), used)
        .hint("convert to sparse-raw instead, which every hypervisor takes")?;
    let mut out = BufWriter::with_capacity(CHUNK, file);
    layout.write_metadata(&mut out)?;
    let progress = report.progress("writing", layout.data_offsets().count() as u64 * qcow2::CLUSTER);
    let mut buffer = vec![0; cluster];
    for offset in layout.data_offsets() {
        let got = disk.read_up_to(offset, &mut buffer).context("cannot read the disk")?;
        buffer[got..].fill(0);
        out.write_all(&buffer)?;
        progress.add(qcow2::CLUSTER);
    }
    Ok(out.flush()?)
}

fn zvol_gz(
    disk: &Source,
    stream: Option<&Stream>,
    arguments: &Arguments,
    file: &mut File,
    report: &Report,
) -> Result<()> {
    let volume = stream.and_then(|stream| stream.volume.as_ref());
    let block_size = volume.map_or(DEFAULT_BLOCK_SIZE, |volume| volume.block_size);
    let size = disk.size().next_multiple_of(u64::from(block_size));
    let to_guid = match volume {
        Some(volume) => volume.guid,
        None => content_guid(disk, size, report)?,
    };
    let inherited = volume.map(|volume| volume.name.clone());
    let options = VolumeOptions {
        to_name: arguments.name.clone().or(inherited).unwrap_or_else(|| DEFAULT_NAME.to_owned()),
        to_guid,
        creation_time: arguments.creation_time.or(volume.map(|volume| volume.creation_time)).unwrap_or(0),
        size,
        block_size,
    };
    let threads = match arguments.jobs {
        Some(jobs) => NonZeroUsize::new(usize::from(jobs)).unwrap_or(NonZeroUsize::MIN),
        None => jobs::default(),
    };
    let gzip_options = kiln_pgzip::Options { level: arguments.level, threads, ..Default::default() };
    let gzip = kiln_pgzip::Writer::new(file, gzip_options)?;
    let mut writer =
        VolumeWriter::new(gzip, &options).hint("choose another name with --name DATASET@SNAPSHOT")?;
    let progress = report.progress("compressing", disk.size());
    for_each_chunk(disk, &progress, |offset, chunk| {
        // Gaps are zero, so a piece of zeros needs not be looked at again block by block.
        if is_zero(chunk) { Ok(()) } else { Ok(writer.write_at(offset, chunk)?) }
    })?;
    let (gzip, _) = writer.finish()?;
    gzip.finish()?;
    Ok(())
}

/// A GUID for the snapshot of a disk, from its contents as far as they are not zero, so that equal disks give equal
/// streams and different ones can be told apart by ZFS.
fn content_guid(disk: &Source, size: u64, report: &Report) -> Result<u64> {
    let mut digest = Sha256::new();
    digest.update(b"kiln volume\0");
    digest.update(size.to_le_bytes());
    let progress = report.progress("digesting", disk.size());
    for_each_chunk(disk, &progress, |offset, chunk| {
        for (piece, at) in chunk.chunks(4096).zip((offset..).step_by(4096)) {
            if !is_zero(piece) {
                digest.update(at.to_le_bytes());
                digest.update(piece);
            }
        }
        Ok(())
    })?;
    let bytes: [u8; 32] = digest.finalize().into();
    tracing::debug!(sha256 = hex(&bytes), "contents of the disk");
    let guid = bytes.iter().take(8).fold(0, |guid, byte| guid << 8 | u64::from(*byte));
    Ok(guid.max(1))
}
