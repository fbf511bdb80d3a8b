//! What a disk is made of: a sorted list of extents, each a byte source, with zeros in between.

use std::io;
use std::sync::Arc;

use positioned_io::{ReadAt, Size};
use thiserror::Error;

/// The caller's number for a byte source, such as a file it will open while the disk is streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// Where the bytes of an extent come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes; as many as the extent is long.
    Bytes(Arc<[u8]>),
    /// A piece of one of the caller's files.
    File {
        /// Which file.
        file: FileId,
        /// Offset in that file, in bytes.
        offset: u64,
    },
}

/// A piece of a disk that is not known to be zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Offset on the disk, in bytes.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub length: u64,
    /// Where the bytes come from.
    pub content: Content,
}

/// Extents that do not make up a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Two extents claim the same byte.
    #[error("two extents of the disk overlap at byte {offset}")]
    Overlap {
        /// The first byte claimed twice.
        offset: u64,
    },
    /// An extent ends behind the disk.
    #[error("the extent at byte {offset} ends behind the disk of {size} bytes")]
    BehindEnd {
        /// Where the extent starts.
        offset: u64,
        /// The disk's size in bytes.
        size: u64,
    },
}

/// A whole disk as extents, sorted by offset and free of overlaps. Everything between them is zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskLayout {
    size: u64,
    extents: Vec<Extent>,
}

impl DiskLayout {
    /// Puts extents in order. Empty ones are dropped.
    pub fn new(size: u64, mut extents: Vec<Extent>) -> Result<DiskLayout, LayoutError> {
        extents.retain(|extent| extent.length > 0);
        extents.sort_by_key(|extent| extent.offset);
        let mut end = 0;
        for extent in &extents {
            if extent.offset < end {
                return Err(LayoutError::Overlap { offset: extent.offset });
            }
            end = match extent.offset.checked_add(extent.length) {
                Some(end) if end <= size => end,
                _ => return Err(LayoutError::BehindEnd { offset: extent.offset, size }),
            };
        }
        Ok(DiskLayout { size, extents })
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The extents, sorted by offset, none overlapping another.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The disk as a device to read from. `open` gives the byte source of a file; a file it does not know
    /// reads as an error.
    pub fn view<'a, F>(&'a self, open: F) -> DiskView<'a, F>
    where
        F: Fn(FileId) -> Option<&'a dyn ReadAt>,
    {
        DiskView { layout: self, open }
    }
}

/// A planned disk as a device; see [`DiskLayout::view`].
pub struct DiskView<'a, F> {
    layout: &'a DiskLayout,
    open: F,
}

impl<'a, F: Fn(FileId) -> Option<&'a dyn ReadAt>> ReadAt for DiskView<'a, F> {
    fn read_at(&self, pos: u64, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.layout.size.saturating_sub(pos);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..length];
        buf.fill(0);
        let end = pos + length as u64;
        let first = self.layout.extents.partition_point(|extent| extent.offset + extent.length <= pos);
        for extent in self.layout.extents[first..].iter().take_while(|extent| extent.offset < end) {
            let from = extent.offset.max(pos);
            let until = (extent.offset + extent.length).min(end);
            let target = &mut buf[(from - pos) as usize..(until - pos) as usize];
            let skip = from - extent.offset;
            match &extent.content {
                Content::Bytes(bytes) => {
                    target.copy_from_slice(&bytes[skip as usize..skip as usize + target.len()]);
                }
                Content::File { file, offset } => {
                    let source = (self.open)(*file).ok_or_else(|| {
                        io::Error::new(io::ErrorKind::NotFound, format!("file number {} is not open", file.0))
                    })?;
                    source.read_exact_at(offset + skip, target)?;
                }
            }
        }
        Ok(length)
    }
}

impl<F> Size for DiskView<'_, F> {
    fn size(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.layout.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(offset: u64, bytes: &[u8]) -> Extent {
        Extent { offset, length: bytes.len() as u64, content: Content::Bytes(bytes.into()) }
    }

    #[test]
    fn a_view_reads_across_extents_and_gaps() {
        let file = Extent { offset: 4, length: 2, content: Content::File { file: FileId(7), offset: 1 } };
        let layout =
            DiskLayout::new(12, vec![bytes(8, b"xyz"), file, bytes(0, b"ab"), bytes(5, b"")]).unwrap();
        let source: &[u8] = b"0123";
        let view = layout.view(|id| (id == FileId(7)).then_some(&source as &dyn ReadAt));
        let whole = b"ab\0\x0012\0\0xyz\0";
        for start in 0..=12 {
            let mut buf = vec![0xAA; 20];
            let n = view.read_at(start as u64, &mut buf).unwrap();
            assert_eq!(&buf[..n], &whole[start..]);
        }
        assert!(layout.view(|_| None).read_at(0, &mut [0; 12]).is_err());
    }

    #[test]
    fn overlaps_and_overruns_are_refused() {
        let overlap = DiskLayout::new(12, vec![bytes(0, b"abc"), bytes(2, b"x")]);
        assert_eq!(overlap, Err(LayoutError::Overlap { offset: 2 }));
        let behind = DiskLayout::new(12, vec![bytes(11, b"ab")]);
        assert_eq!(behind, Err(LayoutError::BehindEnd { offset: 11, size: 12 }));
    }
}
