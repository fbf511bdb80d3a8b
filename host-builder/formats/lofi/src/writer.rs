//! Compressing, as `lofiadm -C` does.

use std::io::{self, Read, Seek, SeekFrom, Write};

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::header::{ENTRY, HEADER, NAME};
use crate::segment::{COMPRESSED, STORED};

/// Bytes that compression has to save of a full segment to be worth it (lofiadm's `COMPRESS_THRESHOLD`).
const THRESHOLD: usize = 2048;

/// How to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Bytes of a segment: a power of two from 512 to [`MAX_SEGMENT`](crate::MAX_SEGMENT). The default is lofiadm's, 131,072.
    pub segment: u32,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { segment: 128 << 10 }
    }
}

/// Compresses the `length` bytes of `plain` with gzip and writes them to `output`, from its beginning on.
///
/// # Errors
/// There are not so many bytes, or none at all, which lofiadm does not compress; the size of segments is not possible; or those of
/// reading and writing.
pub fn write(
    mut plain: impl Read,
    length: u64,
    options: &WriteOptions,
    output: &mut (impl Write + Seek),
) -> io::Result<()> {
    let segment = options.segment;
    let wrong = |words| io::Error::new(io::ErrorKind::InvalidInput, words);
    if !segment.is_power_of_two() || !(512..=crate::MAX_SEGMENT).contains(&segment) {
        return Err(wrong("the size of segments is no power of two from 512 to 16 MiB"));
    }
    let segments = length.div_ceil(u64::from(segment));
    let entries =
        u32::try_from(segments + 1).map_err(|_| wrong("there is too much for segments of this size"))?;
    let last = length.checked_sub(1).ok_or(wrong("there is nothing to compress"))? % u64::from(segment) + 1;

    let mut header = [0; HEADER];
    header[..4].copy_from_slice(b"gzip");
    for (place, number) in [segment, entries, last as u32].into_iter().enumerate() {
        header[NAME + 4 * place..][..4].copy_from_slice(&number.to_be_bytes());
    }
    output.seek(SeekFrom::Start(HEADER as u64 + u64::from(entries) * ENTRY))?;
    let mut index = Vec::with_capacity((u64::from(entries) * ENTRY) as usize);
    let mut offset = 0_u64;
    let mut buffer = vec![0; segment as usize];
    let mut packed = vec![0; segment as usize];
    for number in 0..segments {
        let size = if number + 1 == segments { last as usize } else { segment as usize };
        plain.read_exact(&mut buffer[..size])?;
        index.extend_from_slice(&offset.to_be_bytes());
        let (how, data) = match compressed(&buffer[..size], &mut packed)? {
            Some(size) => (COMPRESSED, &packed[..size]),
            None => (STORED, &buffer[..size]),
        };
        output.write_all(&[how])?;
        output.write_all(data)?;
        offset += 1 + data.len() as u64;
    }
    index.extend_from_slice(&offset.to_be_bytes());
    // lofi takes only files of whole sectors.
    let end = HEADER as u64 + index.len() as u64 + offset;
    output.write_all(&vec![0; (end.wrapping_neg() % 512) as usize])?;
    output.seek(SeekFrom::Start(0))?;
    output.write_all(&header)?;
    output.write_all(&index)?;
    output.flush()
}

/// Compresses a segment into `packed`; `None` when that saves too little. A last segment that is shorter is judged as a full one, as
/// lofiadm does.
fn compressed(plain: &[u8], packed: &mut [u8]) -> io::Result<Option<usize>> {
    let room = packed.len().saturating_sub(THRESHOLD);
    if room == 0 {
        return Ok(None);
    }
    let mut deflate = Compress::new(Compression::new(6), true);
    let status =
        deflate.compress(plain, &mut packed[..room], FlushCompress::Finish).map_err(io::Error::other)?;
    Ok((status == Status::StreamEnd).then_some(deflate.total_out() as usize))
}
