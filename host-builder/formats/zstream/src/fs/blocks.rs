//! Contents cut into blocks.

use std::io;

use super::tree::Content;
use crate::zero::is_zero;

/// Cuts contents into blocks; kept to use its memory again.
#[derive(Debug, Default)]
pub struct Blocks {
    block: Vec<u8>,
}

impl Blocks {
    /// Gives each block of `contents` that is not all zeros to `sink` with its offset, in ascending order; the last filled up with zeros.
    ///
    /// # Errors
    /// Those of the contents and of `sink`, and when the contents are given out of order or beyond their length.
    pub fn of(
        &mut self,
        contents: &dyn Content,
        block_size: u32,
        sink: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.cut(contents.size(), block_size, |taker| contents.give(taker), sink)
    }

    /// Like [`of`](Blocks::of), of contents of this length that come by once: `give` gives them as [`Content::give`] does.
    ///
    /// # Errors
    /// As there.
    pub fn cut(
        &mut self,
        length: u64,
        block_size: u32,
        give: impl FnOnce(&mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()>,
        mut sink: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let size = block_size as usize;
        self.block.clear();
        self.block.resize(size, 0);
        let block = &mut self.block;
        // The block that is being filled, and where the contents given so far end.
        let (mut filling, mut end) = (None, 0);
        give(&mut |offset, piece| {
            let after = offset.checked_add(piece.len() as u64).filter(|&after| after <= length);
            let after = after.ok_or_else(|| io::Error::other("there is more than its length says"))?;
            if offset < end {
                return Err(io::Error::other("its contents come out of order"));
            }
            end = after;
            let (mut at, mut left) = (offset, piece);
            while !left.is_empty() {
                let inside = (at % size as u64) as usize;
                let start = at - inside as u64;
                if let Some(full) = filling.filter(|&filling| filling != start) {
                    flush(block, full, &mut sink)?;
                    filling = None;
                }
                let (now, rest) = left.split_at(left.len().min(size - inside));
                if now.len() == size {
                    if !is_zero(now) {
                        sink(start, now)?;
                    }
                } else {
                    filling = Some(start);
                    block[inside..inside + now.len()].copy_from_slice(now);
                }
                at += now.len() as u64;
                left = rest;
            }
            Ok(())
        })?;
        match filling {
            Some(last) => flush(block, last, &mut sink),
            None => Ok(()),
        }
    }
}

fn flush(block: &mut [u8], at: u64, sink: &mut impl FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
    if !is_zero(block) {
        sink(at, block)?;
        block.fill(0);
    }
    Ok(())
}
