//! Sparse members, in all forms that GNU tar and libarchive write: where their stored bytes belong. Template disk images are packed
//! like that.

use std::io::{self, Read};
use std::ops::Range;

use positioned_io::ReadAt;
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::extensions::{bounded, number};
use super::{BLOCK, Entries, Input, TarProblem};

/// Most stored stretches of one member.
const STRETCH_LIMIT: usize = 1 << 16;

/// Most offsets and lengths of one member: those of the stretches, and of one that marks the end.
const NUMBERS_LIMIT: usize = 2 * (STRETCH_LIMIT + 1);

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
            self.push(offset, length)?;
        }
        Ok(())
    }

    fn push(&mut self, offset: u64, length: u64) -> Result<(), TarProblem> {
        let floor = self.stretches.last().map_or(0, |last| last.offset + last.length);
        let end = offset.checked_add(length).filter(|&end| end <= self.size);
        if offset < floor || end.is_none() {
            return Err(TarProblem::BadSparseMap);
        }
        // Packers mark the end of the file with a stretch of nothing.
        if length > 0 {
            if self.stretches.len() >= STRETCH_LIMIT {
                return Err(TarProblem::TooManyPieces(STRETCH_LIMIT));
            }
            self.stretches.push(Stretch { offset, length, stored: self.stored() });
        }
        Ok(())
    }

    /// Whether there are no holes, so that the stored bytes are the file.
    pub fn is_dense(&self) -> bool {
        self.stored() == self.size
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

/// What pax records say about a sparse file (source: GNU tar's manual, "Storing Sparse Files").
#[derive(Clone, Debug, Default)]
pub struct PaxSparse {
    /// The version of the form: 0.0 and 0.1 have the map in the records, and 1.0 has it before the stored bytes.
    major: u64,
    minor: u64,
    /// The path, which the member itself may not have.
    pub(super) name: Option<Vec<u8>>,
    /// Size of the file in bytes.
    size: Option<u64>,
    /// Offsets and lengths by turns.
    map: Vec<u64>,
}

impl PaxSparse {
    /// Takes in a record; `key` is what follows `GNU.sparse.`.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarProblem> {
        let about = "a place in a sparse file";
        match key {
            b"major" => self.major = number(value, about)?,
            b"minor" => self.minor = number(value, about)?,
            b"name" => self.name = Some(bounded(value)?),
            b"size" | b"realsize" => self.size = Some(number(value, about)?),
            b"offset" if self.map.len().is_multiple_of(2) => self.map.push(number(value, about)?),
            b"numbytes" if !self.map.len().is_multiple_of(2) => self.map.push(number(value, about)?),
            b"offset" | b"numbytes" => return Err(TarProblem::BadSparseMap),
            b"map" => {
                let numbers = value.split(|&byte| byte == b',').filter(|_| !value.is_empty());
                self.map = numbers.map(|text| number(text, about)).collect::<Result<_, _>>()?;
            }
            _ => {}
        }
        if self.map.len() > NUMBERS_LIMIT { Err(TarProblem::TooManyPieces(STRETCH_LIMIT)) } else { Ok(()) }
    }

    /// The map of the file of which `stored` bytes follow, and how many of those are the map itself.
    pub(super) fn read(&self, stored: u64, archive: &mut impl Read) -> Result<(SparseMap, u64), TarProblem> {
        let (in_contents, taken) = match (self.major, self.minor) {
            (0, 0 | 1) => (None, 0),
            (1, 0) => {
                let (map, taken) = read_numbers(stored, archive)?;
                (Some(map), taken)
            }
            _ => return Err(TarProblem::UnknownSparse),
        };
        let numbers = in_contents.as_ref().unwrap_or(&self.map);
        let (pairs, rest) = numbers.as_chunks::<2>();
        let size = self.size.filter(|_| rest.is_empty()).ok_or(TarProblem::BadSparseMap)?;
        let mut map = SparseMap { stretches: Vec::new(), size };
        for &[offset, length] in pairs {
            map.push(offset, length)?;
        }
        if map.stored() == stored - taken { Ok((map, taken)) } else { Err(TarProblem::BadSparseMap) }
    }
}

/// The offsets and lengths that stand before stored bytes: decimal numbers, each with an end of line, the first of which says how many
/// pairs follow, filled up to a block. Also how many bytes that were, at most `stored`.
fn read_numbers(stored: u64, archive: &mut impl Read) -> Result<(Vec<u64>, u64), TarProblem> {
    // So long are the longest numbers with their ends of line.
    const LIMIT: u64 = (NUMBERS_LIMIT as u64 + 1) * 21;
    let (mut numbers, mut wanted, mut taken) = (Vec::new(), None, 0);
    let mut number: Option<u64> = None;
    loop {
        if stored - taken < BLOCK || taken > LIMIT {
            return Err(TarProblem::BadSparseMap);
        }
        let mut block = [0; BLOCK as usize];
        archive.read_exact(&mut block).map_err(TarProblem::of)?;
        taken += BLOCK;
        for byte in block {
            let ended = match byte {
                b'0'..=b'9' => {
                    let more =
                        number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add((byte - b'0').into()));
                    number = Some(more.ok_or(TarProblem::BadSparseMap)?);
                    continue;
                }
                b'\n' => number.take().ok_or(TarProblem::BadSparseMap)?,
                _ => return Err(TarProblem::BadSparseMap),
            };
            match wanted {
                None if ended > NUMBERS_LIMIT as u64 / 2 => {
                    return Err(TarProblem::TooManyPieces(STRETCH_LIMIT));
                }
                None => wanted = Some(2 * ended as usize),
                Some(_) => numbers.push(ended),
            }
            if wanted == Some(numbers.len()) {
                return Ok((numbers, taken));
            }
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
