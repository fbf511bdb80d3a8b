//! Expansion, in constant memory.

use std::io::{self, Read};

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::error::{Error, ErrorKind};
use crate::header::{DEFLATE, FIXED, MAGIC, flag};

/// Bytes of compressed input read at once.
const BUFFER: usize = 64 << 10;

/// Expands a gzip file of any number of members.
///
/// What follows the last member and is not another one is left alone, whether the zeros tapes are padded with or
/// anything else: [`ignored_from`](Self::ignored_from) tells where that begins. (`gzip -dc` warns of it; `gzip -cdf`
/// copies it to its output, where `zfs receive` ignores what stands behind the stream.) A member is recognised by its
/// first two bytes, and from there on anything wrong with it is an error. Every error but those of the input is an
/// [`Error`], found by [`Error::of`]. After an error there is nothing more to read.
#[derive(Debug)]
pub struct Reader<R> {
    input: Input<R>,
    inflate: Decompress,
    crc: Crc,
    state: State,
    ignored_from: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Before a member; the first one must be there.
    Between { first: bool },
    /// In the deflate data of a member.
    Inside,
    /// After the last member.
    Done,
    /// After an error in the compressed data.
    Failed(Error),
    /// After an error of the input, which may have struck in the middle of a header.
    Broken,
}

impl<R: Read> Reader<R> {
    /// A reader at the beginning of a gzip file. Reads nothing yet.
    pub fn new(input: R) -> Self {
        Self {
            input: Input {
                inner: input,
                buffer: vec![0; BUFFER].into_boxed_slice(),
                at: 0,
                end: 0,
                before: 0,
            },
            inflate: Decompress::new(false),
            crc: Crc::new(),
            state: State::Between { first: true },
            ignored_from: None,
        }
    }

    /// How much of the compressed input has been expanded, in bytes. The input itself may have been read further.
    pub fn position(&self) -> u64 {
        self.input.position()
    }

    /// The offset in the compressed input of what stands behind the last member, once that was reached and when
    /// something does.
    pub fn ignored_from(&self) -> Option<u64> {
        self.ignored_from
    }

    /// The input, which may have been read beyond [`position`](Self::position).
    pub fn into_inner(self) -> R {
        self.input.inner
    }

    /// Reads the header of the next member, or finds that there is none.
    fn begin_member(&mut self, first: bool) -> io::Result<State> {
        let start = self.input.position();
        let none = |reader: &mut Self| {
            if first {
                return Err(Error::new(ErrorKind::NotGzip, start).into());
            }
            reader.ignored_from = Some(start);
            Ok(State::Done)
        };
        let Some(byte) = self.input.next()? else {
            return if first { none(self) } else { Ok(State::Done) };
        };
        if byte != MAGIC[0] || self.input.next()? != Some(MAGIC[1]) {
            return none(self);
        }
        let mut fixed = [MAGIC[0], MAGIC[1], 0, 0, 0, 0, 0, 0, 0, 0];
        let mut crc = Crc::new();
        for byte in &mut fixed[2..FIXED] {
            *byte = self.input.need()?;
        }
        let flags = fixed[3];
        if fixed[2] != DEFLATE || flags & flag::RESERVED != 0 {
            return Err(Error::new(ErrorKind::BadHeader, start).into());
        }
        crc.update(&fixed);
        if flags & flag::EXTRA != 0 {
            let length = [self.input.need()?, self.input.need()?];
            crc.update(&length);
            for _ in 0..u16::from_le_bytes(length) {
                crc.update(&[self.input.need()?]);
            }
        }
        for _ in [flag::NAME, flag::COMMENT].into_iter().filter(|text| flags & text != 0) {
            loop {
                let byte = self.input.need()?;
                crc.update(&[byte]);
                if byte == 0 {
                    break;
                }
            }
        }
        if flags & flag::HEADER_CRC != 0 {
            let expected = [self.input.need()?, self.input.need()?];
            if u16::from_le_bytes(expected) != crc.sum() as u16 {
                return Err(Error::new(ErrorKind::BadHeader, start).into());
            }
        }
        self.inflate.reset(false);
        self.crc.reset();
        Ok(State::Inside)
    }

    /// Reads the checksum and length a member ends with.
    fn end_member(&mut self) -> io::Result<()> {
        let start = self.input.position();
        let mut trailer = [0; 8];
        for byte in &mut trailer {
            *byte = self.input.need()?;
        }
        let [a, b, c, d, length @ ..] = trailer;
        let length = u32::from_le_bytes(length);
        // The length is modulo 2^32 by definition.
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum() || length != self.inflate.total_out() as u32 {
            return Err(Error::new(ErrorKind::Checksum, start).into());
        }
        Ok(())
    }

    /// Expands some of the member into `data`, which is not empty. Gives 0 at the end of the member.
    fn expand(&mut self, data: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = self.input.fill()?;
            let at_end = input.is_empty();
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, data, FlushDecompress::None);
            let used = (self.inflate.total_in() - before_in) as usize;
            let made = (self.inflate.total_out() - before_out) as usize;
            self.input.consume(used);
            let status =
                status.map_err(|_| io::Error::from(Error::new(ErrorKind::BadData, self.input.position())))?;
            self.crc.update(&data[..made]);
            if made > 0 || status == Status::StreamEnd {
                if status == Status::StreamEnd {
                    self.end_member()?;
                    self.state = State::Between { first: false };
                }
                return Ok(made);
            }
            if at_end {
                return Err(Error::new(ErrorKind::Truncated, self.input.position()).into());
            }
            // There was input and room, so nothing used either would go on for ever.
            if used == 0 {
                return Err(Error::new(ErrorKind::BadData, self.input.position()).into());
            }
        }
    }

    fn read_some(&mut self, data: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.state {
                State::Between { first } => self.state = self.begin_member(first)?,
                State::Inside => match self.expand(data)? {
                    0 => {}
                    made => return Ok(made),
                },
                State::Done => return Ok(0),
                State::Failed(error) => return Err(error.into()),
                State::Broken => return Err(io::Error::other("the compressed input failed before")),
            }
        }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        self.read_some(data).inspect_err(|error| {
            self.state = Error::of(error).map_or(State::Broken, |&error| State::Failed(error));
        })
    }
}

/// The compressed input, buffered, with its position.
#[derive(Debug)]
struct Input<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// What is in the buffer and not used yet.
    at: usize,
    end: usize,
    /// Bytes of input before the buffer.
    before: u64,
}

impl<R: Read> Input<R> {
    fn position(&self) -> u64 {
        self.before + self.at as u64
    }

    /// Bytes not used yet, none only at the end of the input.
    fn fill(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end {
            self.before += self.end as u64;
            (self.at, self.end) = (0, 0);
            self.end = loop {
                match self.inner.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result?,
                }
            };
        }
        Ok(&self.buffer[self.at..self.end])
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.fill()?.first().copied();
        self.at += usize::from(byte.is_some());
        Ok(byte)
    }

    /// A byte of a member, which must go on.
    fn need(&mut self) -> io::Result<u8> {
        self.next()?.ok_or_else(|| Error::new(ErrorKind::Truncated, self.position()).into())
    }
}
