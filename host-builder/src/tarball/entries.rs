//! From header to header, with bounds on everything that an archive claims.

use std::io::{self, Read};

use kiln_zstream::zero::is_zero;
use tar::{EntryType, Header};

use super::extensions::{Extensions, RECORD_LIMIT};
use super::{BLOCK, Expanded, Limits, PATH_LIMIT, SparseMap, TarError, TarProblem};

/// An archive, uncompressed, read in order.
pub trait Input: Read {
    /// Passes over `bytes` bytes.
    ///
    /// # Errors
    /// There are not so many, which is [`io::ErrorKind::UnexpectedEof`], or they cannot be read.
    fn skip(&mut self, bytes: u64) -> io::Result<()>;
}

/// An archive that can only be read, so that bytes are passed over by reading them.
#[derive(Debug)]
pub struct Stream<R>(pub R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Input for Stream<R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let got = io::copy(&mut (&mut self.0).take(bytes), &mut io::sink())?;
        if got < bytes { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// A member as its headers describe it. Nothing about it has been judged but its size and the lengths of its names.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The number of its header, from 1.
    pub number: u64,
    /// Where its header stands in the archive, in bytes.
    pub offset: u64,
    /// Where its stored bytes start in the archive.
    pub contents: u64,
    /// The header itself.
    pub header: Header,
    /// What extension records before it say.
    pub extensions: Extensions,
    /// The path as written.
    pub name: Vec<u8>,
    /// Its contents: stored bytes, and where they belong.
    pub map: SparseMap,
}

impl Entry {
    /// The type in the header.
    pub fn kind(&self) -> EntryType {
        self.header.entry_type()
    }

    /// A link's target as written.
    ///
    /// # Errors
    /// There is none.
    pub fn target(&self) -> Result<Vec<u8>, TarProblem> {
        let in_header = || self.header.link_name_bytes().map(std::borrow::Cow::into_owned);
        self.extensions.link.clone().or_else(in_header).ok_or(TarProblem::NoTarget)
    }

    /// The error that something is wrong with this member.
    pub fn error(&self, problem: TarProblem) -> TarError {
        let member = Some(String::from_utf8_lossy(&self.name).into_owned());
        TarError { member, number: self.number, offset: self.offset, problem }
    }
}

/// The members of an archive, one after the other.
#[derive(Debug)]
pub struct Entries<R> {
    input: R,
    limits: Limits,
    /// Where the next unread header or contents start, in bytes.
    at: u64,
    /// Headers so far.
    number: u64,
    /// Bytes of all files so far.
    total: u64,
    /// Stored bytes of the present member that were not read yet.
    left: u64,
    /// Bytes from its end to the next block.
    padding: u64,
}

impl<R: Input> Entries<R> {
    /// The members of the archive that `input` stands at the beginning of.
    pub fn new(input: R, limits: Limits) -> Entries<R> {
        Entries { input, limits, at: 0, number: 0, total: 0, left: 0, padding: 0 }
    }

    /// The next member; what was not read of the one before is passed over. `None` at the end: a block of zeros, or the
    /// end of the input between members.
    ///
    /// # Errors
    /// The archive is damaged here or claims more than the limits allow.
    pub fn advance(&mut self) -> Result<Option<Entry>, TarError> {
        let before = self.place();
        self.pass_over().map_err(&before)?;
        let mut extensions = Extensions::default();
        loop {
            let offset = self.at;
            self.number += 1;
            let unnamed = self.place();
            let Some(header) = read_header(&mut self.input).map_err(&unnamed)? else { return Ok(None) };
            self.at = self.at.saturating_add(BLOCK);
            if self.number > self.limits.members {
                return Err(unnamed(TarProblem::TooManyMembers(self.limits.members)));
            }
            let kind = header.entry_type();
            let claimed = header.entry_size().map_err(|error| unnamed(TarProblem::Unreadable(error)))?;
            if Extensions::is_record(kind) {
                let data = self.record(claimed).map_err(&unnamed)?;
                extensions.take(kind, data).map_err(&unnamed)?;
                continue;
            }
            let real_name = extensions.sparse.as_ref().and_then(|sparse| sparse.name.as_ref());
            let name = real_name.or(extensions.path.as_ref()).cloned();
            let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
            let mut entry = Entry {
                number: self.number,
                offset,
                contents: self.at,
                header,
                extensions,
                name,
                map: SparseMap::dense(0),
            };
            self.enter(&mut entry, claimed).map_err(|problem| entry.error(problem))?;
            return Ok(Some(entry));
        }
    }

    /// Judges the size of a member, and gets ready to read its contents.
    fn enter(&mut self, entry: &mut Entry, claimed: u64) -> Result<(), TarProblem> {
        if entry.name.len() > PATH_LIMIT {
            return Err(TarProblem::BadName);
        }
        let mut stored =
            if has_contents(entry.kind()) { entry.extensions.size.unwrap_or(claimed) } else { 0 };
        entry.map = SparseMap::dense(stored);
        if entry.kind().is_gnu_sparse() {
            let (map, blocks) = SparseMap::read(&entry.header, &mut self.input)?;
            if map.stored() != stored {
                return Err(TarProblem::BadSparseMap);
            }
            self.at = self.at.saturating_add(blocks * BLOCK);
            entry.map = map;
        } else if let Some(sparse) = entry.extensions.sparse.as_ref().filter(|_| is_file(entry.kind())) {
            let (map, taken) = sparse.read(stored, &mut self.input)?;
            self.at = self.at.saturating_add(taken);
            stored -= taken;
            entry.map = map;
        }
        entry.contents = self.at;
        let size = entry.map.size();
        let limit = self.limits.file_bytes;
        if size > limit {
            return Err(TarProblem::TooLarge { claimed: size, limit });
        }
        self.total = self.total.saturating_add(size);
        if self.total > self.limits.total_bytes {
            return Err(TarProblem::TotalTooLarge(self.limits.total_bytes));
        }
        self.left = stored;
        self.padding = stored.wrapping_neg() % BLOCK;
        self.at = self.at.saturating_add(stored).saturating_add(self.padding);
        Ok(())
    }

    /// The file contents of the member that was given last, with its holes filled in.
    pub fn contents(&mut self, map: SparseMap) -> Expanded<&mut Entries<R>> {
        Expanded::new(map, self)
    }

    /// Reads stored bytes of the present member; none only at their end.
    ///
    /// # Errors
    /// The archive is cut off, or cannot be read.
    pub fn read_stored(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.input.read(&mut buffer[..length])?;
        if got == 0 && length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= got as u64;
        Ok(got)
    }

    /// Reads the rest of the input, so that a checksum of a wrapping compression is verified too.
    ///
    /// # Errors
    /// Those of the input.
    pub fn finish(mut self) -> Result<(), TarError> {
        let here = self.place();
        io::copy(&mut self.input, &mut io::sink()).map_err(|error| here(TarProblem::Unreadable(error)))?;
        Ok(())
    }

    fn pass_over(&mut self) -> Result<(), TarProblem> {
        let rest = self.left + self.padding;
        (self.left, self.padding) = (0, 0);
        self.input.skip(rest).map_err(TarProblem::of)
    }

    /// The contents of an extension record of `size` bytes.
    fn record(&mut self, size: u64) -> Result<Vec<u8>, TarProblem> {
        if size > RECORD_LIMIT {
            return Err(TarProblem::TooLarge { claimed: size, limit: RECORD_LIMIT });
        }
        let padded = size.next_multiple_of(BLOCK);
        let mut data = vec![0; padded as usize];
        self.input.read_exact(&mut data).map_err(TarProblem::Unreadable)?;
        data.truncate(size as usize);
        self.at = self.at.saturating_add(padded);
        Ok(data)
    }

    fn place(&self) -> impl Fn(TarProblem) -> TarError + use<R> {
        let (number, offset) = (self.number, self.at);
        move |problem| TarError { member: None, number, offset, problem }
    }
}

/// Whether contents follow the header. The sizes of directories, links and devices stand for other things (POSIX.1
/// pax, "ustar Interchange Format", typeflag).
fn has_contents(kind: EntryType) -> bool {
    let without = kind.is_dir()
        || kind.is_hard_link()
        || kind.is_symlink()
        || kind.is_character_special()
        || kind.is_block_special()
        || kind.is_fifo();
    !without
}

fn is_file(kind: EntryType) -> bool {
    kind.is_file() || kind.is_contiguous()
}

/// Whether bytes begin like a tar archive: a header whose checksum holds.
pub fn is_header(bytes: &[u8]) -> bool {
    let Some(block) = bytes.get(..BLOCK as usize) else { return false };
    !is_zero(block) && checksum_holds(block)
}

fn checksum_holds(block: &[u8]) -> bool {
    // The checksum is taken with its own field (bytes 148 to 155) read as blanks.
    let summed = block[..148].iter().chain(&block[156..]);
    let sum = summed.fold(8 * u32::from(b' '), |sum, &byte| sum + u32::from(byte));
    Header::from_byte_slice(block).cksum().is_ok_and(|stored| stored == sum)
}

/// The next header, or `None` at the end of the archive.
fn read_header(archive: &mut impl Read) -> Result<Option<Header>, TarProblem> {
    let mut header = Header::new_old();
    let block = header.as_mut_bytes();
    let mut filled = 0;
    while filled < block.len() {
        match archive.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(TarProblem::CutOff),
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(TarProblem::Unreadable(error)),
        }
    }
    if is_zero(block) {
        return Ok(None);
    }
    if checksum_holds(block) { Ok(Some(header)) } else { Err(TarProblem::NoHeader) }
}
