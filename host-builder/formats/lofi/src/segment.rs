//! One segment: a byte that tells how it is stored, and the data.

use std::io::Read;

use lzma_rust2::LzmaReader;

use crate::header::Algorithm;

/// First byte of a segment whose data is as it was.
pub const STORED: u8 = 0;
/// First byte of a compressed segment.
pub const COMPRESSED: u8 = 1;

/// Bytes before LZMA's data: the byte of its parameters, the size of its dictionary, and a length that the driver ignores.
const LZMA_HEADER: usize = 13;
/// The smallest dictionary that LZMA has, in bytes.
const LZMA_DICTIONARY: u32 = 4096;

/// The data of a stored segment (with its first byte), which has to be `size` bytes before compression; `None` when it is not.
pub fn decompress(stored: &[u8], algorithm: Algorithm, size: u32) -> Option<Vec<u8>> {
    let (&how, data) = stored.split_first()?;
    let mut plain = vec![0; size as usize];
    match (how, algorithm) {
        (STORED, _) if data.len() == plain.len() => plain.copy_from_slice(data),
        (COMPRESSED, Algorithm::Gzip) => {
            let mut reader = flate2::read::ZlibDecoder::new(data);
            reader.read_exact(&mut plain).ok()?;
            // At the end the checksum is compared; anything more would have to be cut off.
            (reader.read(&mut [0]).ok()? == 0).then_some(())?;
        }
        (COMPRESSED, Algorithm::Lzma) => {
            let (header, data) = data.split_at_checked(LZMA_HEADER)?;
            let dictionary = u32::from_le_bytes(*header[1..].first_chunk()?);
            // No distance in a segment is larger than the segment, whatever the writer thought it might need.
            let dictionary = dictionary.min(size).max(LZMA_DICTIONARY);
            let reader = LzmaReader::new_with_props(data, u64::from(size), header[0], dictionary, None);
            reader.ok()?.read_exact(&mut plain).ok()?;
        }
        _ => return None,
    }
    Some(plain)
}
