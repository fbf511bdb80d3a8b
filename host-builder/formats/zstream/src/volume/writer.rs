//! A volume, pushed as extents in ascending order, becomes a full stream.

use std::io::Write;

use super::{DISK, PROPERTIES, SIZE_NAME, check_geometry};
use crate::error::{ErrorKind, Result};

use crate::record::{Features, MAX_PLAIN_BLOCK_SIZE, ObjsetType, object_type};
use crate::writer::{BeginOptions, ObjectHeader, StreamWriter};
use crate::zap;
use crate::zero::is_zero;

/// ZFS takes a random salt against names made to collide; one name cannot, and a constant keeps streams reproducible.
const SALT: u64 = 1;

/// What a volume stream says about its volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeOptions {
    /// `dataset@snapshot`, by custom ending in `@final`.
    pub to_name: String,
    /// GUID of the snapshot, not 0; see [`BeginOptions::to_guid`].
    pub to_guid: u64,
    /// Creation time of the snapshot, seconds since 1970.
    pub creation_time: u64,
    /// Size of the volume in bytes, a positive multiple of the block size.
    pub size: u64,
    /// Block size in bytes, a power of two from 512 to 131072; [`super::DEFAULT_BLOCK_SIZE`] unless there is a reason.
    pub block_size: u32,
}

/// Writes the stream of a volume with one snapshot.
///
/// The contents come by [`write_at`](Self::write_at) in ascending order; what is never given is zero. Blocks that are
/// all zero are left out of the stream, so the receiver has holes there. Whole blocks go from the caller's slice to the
/// output as they are; only a block that comes in pieces is assembled in a buffer. Nothing is allocated per block.
#[derive(Debug)]
pub struct VolumeWriter<W> {
    stream: StreamWriter<W>,
    size: u64,
    /// The end of what was given so far.
    end: u64,
    /// The block that comes in pieces; zero wherever nothing was given.
    partial: Box<[u8]>,
    /// Where that block begins, when there is one.
    partial_at: Option<u64>,
    blocks_written: u64,
}

/// What a finished volume stream amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Records of the stream.
    pub records: u64,
    /// Blocks of the disk that are in the stream.
    pub blocks_written: u64,
    /// Blocks of the disk that are left out because they are zero.
    pub blocks_skipped: u64,
    /// Length of the stream in bytes.
    pub stream_bytes: u64,
    /// The fletcher-4 checksum in the END record.
    pub checksum: [u64; 4],
}

impl<W: Write> VolumeWriter<W> {
    /// Begins the stream.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when the options break the rules they are described with, and [`ErrorKind::Io`] from
    /// `output`.
    pub fn new(output: W, options: &VolumeOptions) -> Result<Self> {
        let invalid = |words: String| crate::error::Place::default().error(ErrorKind::InvalidInput, words);
        check_geometry(options.size, options.block_size).map_err(invalid)?;
        if options.block_size > MAX_PLAIN_BLOCK_SIZE {
            return Err(invalid(format!("a block size of {} bytes needs a newer ZFS", options.block_size)));
        }
        let begin = BeginOptions {
            to_name: options.to_name.clone(),
            to_guid: options.to_guid,
            creation_time: options.creation_time,
            objset_type: ObjsetType::Volume,
            features: Features::default(),
            from_guid: 0,
        };
        let mut stream = StreamWriter::begin(output, &begin)?;
        stream.object(&header(DISK, object_type::ZVOL, options.block_size), &[])?;
        Ok(Self {
            stream,
            size: options.size,
            end: 0,
            partial: vec![0; options.block_size as usize].into_boxed_slice(),
            partial_at: None,
            blocks_written: 0,
        })
    }

    /// Gives the contents of the volume from `offset` on. Offsets and lengths are free, but no call may begin before
    /// the end of the one before.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for data out of order or beyond the end of the volume; nothing was taken then.
    /// [`ErrorKind::Io`] from the output, after which the writer is not to be used again.
    pub fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        if offset < self.end {
            return Err(self.stream.error(
                ErrorKind::InvalidInput,
                format!("volume data at {offset} comes after data up to {}", self.end),
            ));
        }
        let end = offset.checked_add(data.len() as u64).filter(|&end| end <= self.size).ok_or_else(|| {
            self.stream.error(
                ErrorKind::InvalidInput,
                format!("{} bytes at {offset} do not fit a volume of {} bytes", data.len(), self.size),
            )
        })?;

        let block_size = self.partial.len();
        let (mut at, mut left) = (offset, data);
        while !left.is_empty() {
            let inside = (at % block_size as u64) as usize;
            let block = at - inside as u64;
            if self.partial_at.is_some_and(|partial| partial != block) {
                self.finish_partial()?;
            }
            let (piece, rest) = left.split_at(left.len().min(block_size - inside));
            if piece.len() == block_size {
                self.put(block, piece)?;
            } else {
                self.partial_at = Some(block);
                self.partial[inside..inside + piece.len()].copy_from_slice(piece);
            }
            at += piece.len() as u64;
            left = rest;
        }
        self.end = end;
        Ok(())
    }

    /// Ends the stream: what was not given is zero. Flushes the output and gives it back.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] from the output.
    pub fn finish(mut self) -> Result<(W, Summary)> {
        self.finish_partial()?;
        let mut properties = zap::Table::new();
        properties.insert(SIZE_NAME.as_bytes(), self.size).expect("a short name fits an empty table");
        let block = properties.to_blocks(SALT, false).expect("one name collides with no other");
        self.stream.object(&header(PROPERTIES, object_type::ZVOL_PROP, block.block_size), &[])?;
        self.stream.write(PROPERTIES, object_type::ZVOL_PROP, 0, &block.bytes)?;
        let (output, totals) = self.stream.end()?;
        let summary = Summary {
            records: totals.records,
            blocks_written: self.blocks_written,
            blocks_skipped: self.size / self.partial.len() as u64 - self.blocks_written,
            stream_bytes: totals.bytes,
            checksum: totals.checksum,
        };
        Ok((output, summary))
    }

    fn finish_partial(&mut self) -> Result<()> {
        let Some(at) = self.partial_at.take() else { return Ok(()) };
        if !is_zero(&self.partial) {
            self.stream.write(DISK, object_type::ZVOL, at, &self.partial)?;
            self.blocks_written += 1;
            self.partial.fill(0);
        }
        Ok(())
    }

    fn put(&mut self, at: u64, block: &[u8]) -> Result<()> {
        if !is_zero(block) {
            self.stream.write(DISK, object_type::ZVOL, at, block)?;
            self.blocks_written += 1;
        }
        Ok(())
    }
}

/// The objects of a volume have no bonus buffers.
fn header(object: u64, object_type: u32, block_size: u32) -> ObjectHeader {
    ObjectHeader { object, object_type, block_size, bonus_type: 0, dnode_slots: 1 }
}
