//! Digests of the contents of files, by which images that differ get GUIDs that differ.

use std::any::Any;
use std::hash::Hasher;
use std::io;

use kiln_zstream::fs::Blocks;
use kiln_zstream::fs::tree::Content;
use twox_hash::XxHash64;

/// The largest block, in bytes, of which contents are looked at for zeros.
const BLOCK: u64 = 128 << 10;
/// A multiple of which blocks are.
const SECTOR: u64 = 512;

/// A digest of 64 bits, as many as a GUID has: it tells contents apart that nobody has made to look alike. Who wants two images to
/// share a GUID may just say so, and a cryptographic digest takes several times as long.
pub type Sum = u64;

/// The digest of contents: of all blocks that are not zeros, and where they are, since it is all one whether zeros are stored.
///
/// # Errors
/// They cannot be read.
pub fn of(contents: &dyn Content, blocks: &mut Blocks) -> io::Result<Sum> {
    passing(contents.size(), blocks, |taker| contents.give(taker))
}

/// The digest of contents of this length that come by once: `give` gives them as [`Content::give`] does.
///
/// # Errors
/// Those of `give`, and when it gives them out of order or beyond their length.
pub fn passing(
    length: u64,
    blocks: &mut Blocks,
    give: impl FnOnce(&mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()>,
) -> io::Result<Sum> {
    let mut sum = XxHash64::default();
    let size = length.next_multiple_of(SECTOR).clamp(SECTOR, BLOCK) as u32;
    blocks.cut(length, size, give, |offset, block| {
        sum.write(&offset.to_le_bytes());
        sum.write(block);
        Ok(())
    })?;
    Ok(sum.finish())
}

/// The digest of contents, if it was taken when they came by.
pub fn known(contents: &dyn Content) -> Option<Sum> {
    let contents: &dyn Any = contents;
    contents.downcast_ref::<Summed>().map(|contents| contents.sum)
}

/// Contents whose digest is known.
pub struct Summed {
    contents: Box<dyn Content>,
    sum: Sum,
}

impl Summed {
    /// Contents whose digest is `sum`.
    pub fn new(contents: impl Content, sum: Sum) -> Summed {
        Summed { contents: Box::new(contents), sum }
    }
}

impl Content for Summed {
    fn size(&self) -> u64 {
        self.contents.size()
    }

    fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        self.contents.give(sink)
    }
}
