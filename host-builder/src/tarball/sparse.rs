//! Sparse members of GNU tar's first form: where their stored bytes belong. Template disk images are packed like that.

use std::io::{self, Read};
use std::ops::Range;

use positioned_io::ReadAt;
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::{Entries, Input, TarProblem};

/// Most stored stretches of one member.
const STRETCH_LIMIT: usize = 1 << 16;

/// A stretch of a file that is stored.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// Where it belongs in the file.
    offset: u64,
    /// How long it is; never 0.
    length: u64,
    /// Where it is among the stored bytes.
    stored: u64,
}

/// Where the stored bytes of a member belong in its file.
#[derive(Clone, Debug)]
pub struct SparseMap {
    /// Ascending and apart.
    stretches: Vec<Stretch>,
    size: u64,
}

/// What a place in a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// So many zeros from here on, 0 at the end of the file.
    Hole(u64),
    /// Stored bytes.
    Stored {
        /// Where they are among the stored bytes.
        at: u64,
        /// How many there are from here on; never 0.
        length: u64,
    },
}

impl SparseMap {
    /// The map of an ordinary file.
    pub fn dense(size: u64) -> SparseMap {
        let all = Stretch { offset: 0, length: size, stored: 0 };
        SparseMap { stretches: (size > 0).then_some(all).into_iter().collect(), size }
    }

    /// Reads the map of a sparse member: four stretches in the header, the rest in blocks behind it.
    pub(super) fn read(header: &Header, archive: &mut impl Read) -> Result<(SparseMap, u64), TarProblem> {
        let gnu = header.as_gnu().ok_or(TarProblem::BadSparseMap)?;
        let size = gnu.real_size().map_err(|_| TarProblem::BadSparseMap)?;
        let mut map = SparseMap { stretches: Vec::new(), size };
        map.add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        let mut blocks = 0;
        while more {
            let mut block = GnuExtSparseHeader::new();
            archive.read_exact(block.as_mut_bytes()).map_err(TarProblem::Unreadable)?;
            map.add(block.sparse())?;
            more = block.is_extended();
            blocks += 1;
            // Blocks without a stretch add nothing to the map that would end this.
            if blocks > STRETCH_LIMIT as u64 {
                return Err(TarProblem::BadSparseMap);
            }
        }
        Ok((map, blocks))
    }

    fn add(&mut self, stretches: &[GnuSparseHeader]) -> Result<(), TarProblem> {
        for stretch in stretches.iter().filter(|stretch| !stretch.is_empty()) {
            let (Ok(offset), Ok(length)) = (stretch.offset(), stretch.length()) else {
                return Err(TarProblem::BadSparseMap);
            };
            let floor = self.stretches.last().map_or(0, |last| last.offset + last.length);
            let end = offset.checked_add(length).filter(|&end| end <= self.size);
            if offset < floor || end.is_none() || self.stretches.len() >= STRETCH_LIMIT {
                return Err(TarProblem::BadSparseMap);
            }
            // Packers mark the end of the file with a stretch of nothing.
            if length > 0 {
                self.stretches.push(Stretch { offset, length, stored: self.stored() });
            }
        }
        Ok(())
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Number of the stored bytes.
    pub fn stored(&self) -> u64 {
        self.stretches.last().map_or(0, |last| last.stored + last.length)
    }

    /// Number of stored stretches.
    pub fn stretches(&self) -> usize {
        self.stretches.len()
    }

    /// Where in the file the stored bytes belong.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.stretches.iter().map(|stretch| stretch.offset..stretch.offset + stretch.length)
    }

    /// What is at byte `at` of the file.
    fn locate(&self, at: u64) -> Piece {
        let next = self.stretches.partition_point(|stretch| stretch.offset + stretch.length <= at);
        match self.stretches.get(next) {
            Some(stretch) if stretch.offset <= at => {
                let into = at - stretch.offset;
                Piece::Stored { at: stretch.stored + into, length: stretch.length - into }
            }
            Some(stretch) => Piece::Hole(stretch.offset - at),
            None => Piece::Hole(self.size.saturating_sub(at)),
        }
    }
}

/// Reads a file from its stored bytes, with its holes filled in.
#[derive(Debug)]
pub struct Expanded<S> {
    map: SparseMap,
    stored: S,
    at: u64,
}

impl<S> Expanded<S> {
    /// The file whose stored bytes are `stored`.
    pub fn new(map: SparseMap, stored: S) -> Expanded<S> {
        Expanded { map, stored, at: 0 }
    }

    /// Fills `buffer` from byte `at` on as far as one piece goes; `stored` reads stored bytes.
    fn piece(
        map: &SparseMap,
        at: u64,
        buffer: &mut [u8],
        stored: impl FnOnce(u64, &mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let up_to = |length: u64| usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
        match map.locate(at) {
            Piece::Hole(length) => {
                let length = up_to(length);
                buffer[..length].fill(0);
                Ok(length)
            }
            Piece::Stored { at, length } => {
                let length = up_to(length);
                stored(at, &mut buffer[..length])
            }
        }
    }
}

/// In order, from a stream of members.
impl<R: Input> Read for Expanded<&mut Entries<R>> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Expanded { map, stored, at } = self;
        let got = Self::piece(map, *at, buffer, |_, buffer| stored.read_stored(buffer))?;
        *at += got as u64;
        Ok(got)
    }
}

/// Anywhere, from an archive that can be read anywhere.
impl<S: ReadAt> ReadAt for Expanded<S> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        Self::piece(&self.map, offset, buffer, |at, buffer| self.stored.read_at(at, buffer))
    }
}
