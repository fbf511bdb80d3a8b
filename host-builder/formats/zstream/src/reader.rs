//! Reading a stream record by record, in constant memory, with every checksum verified.

use std::io::Read;

use crate::checksum::{ByteOrder, Fletcher4};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::record::{self, Record, Undecodable};
use crate::wire::{RECORD_CHECKSUM_OFFSET, RECORD_SIZE};

/// The most payload bytes handed out at once.
pub const CHUNK_SIZE: usize = 64 << 10;

/// Reads a stream: [`next_record`](Self::next_record) until it gives `None`, and after each record as much of its
/// payload as wanted. What is not asked for is read and checksummed all the same.
///
/// The byte order is found from the first record. Of compound streams (`zfs send -R`), which are plain ones one after
/// the other in a wrapping, the records of the wrapping and of each part come in turn. Nothing is read beyond the end
/// of the stream.
#[derive(Debug)]
pub struct StreamReader<R> {
    input: R,
    order: ByteOrder,
    sum: Fletcher4,
    state: State,
    /// The record under way, or the next one between records.
    place: Place,
    /// Bytes of the stream read so far.
    offset: u64,
    payload_left: u64,
    chunk: Box<[u8]>,
    /// The record under way as it stands in the stream.
    bytes: [u8; RECORD_SIZE],
}

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first BEGIN.
    Start,
    /// Any record of a stream, or of a part of a compound one.
    Inside { compound: bool },
    /// The END of the wrapping's own beginning.
    Wrapping,
    /// The BEGIN of a part, or the END of the whole.
    BetweenParts,
    /// Nothing.
    Done,
}

impl<R: Read> StreamReader<R> {
    /// A reader at the beginning of a stream. Reads nothing yet.
    pub fn new(input: R) -> Self {
        Self {
            input,
            order: ByteOrder::Little,
            sum: Fletcher4::new(),
            state: State::Start,
            place: Place::default(),
            offset: 0,
            payload_left: 0,
            chunk: vec![0; CHUNK_SIZE].into_boxed_slice(),
            bytes: [0; RECORD_SIZE],
        }
    }

    /// The next record, `None` after the end of the stream.
    ///
    /// # Errors
    /// [`ErrorKind::NotAStream`], [`Truncated`](ErrorKind::Truncated), [`Checksum`](ErrorKind::Checksum),
    /// [`BadRecord`](ErrorKind::BadRecord), [`Unsupported`](ErrorKind::Unsupported) (raw, redacted and future
    /// streams), and [`Io`](ErrorKind::Io) from the input. A reader that failed is not to be used again.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        while self.next_chunk()?.is_some() {}
        if self.state == State::Done {
            return Ok(None);
        }
        if self.offset > 0 {
            self.place.record += 1;
        }
        self.place.offset = self.offset;

        let mut bytes = [0; RECORD_SIZE];
        let got = self.fill(&mut bytes)?;
        if self.state == State::Start {
            self.order = record::byte_order(&bytes).ok_or_else(|| {
                self.error(
                    ErrorKind::NotAStream,
                    "this is not a ZFS send stream: it does not begin with a BEGIN record",
                )
            })?;
        }
        if got < RECORD_SIZE {
            return Err(self.truncated());
        }

        let (record, payload) = record::decode(&bytes, self.order).map_err(|why| match why {
            Undecodable::Bad(words) => self.error(ErrorKind::BadRecord, words),
            Undecodable::Unsupported(words) => self.error(ErrorKind::Unsupported, words),
        })?;
        let next = self.follow(&record)?;
        self.verify(&bytes, &record)?;
        self.state = next;
        self.bytes = bytes;
        self.payload_left = payload;
        Ok(Some(record))
    }

    /// The next piece of the payload of the last record, at most [`CHUNK_SIZE`] bytes and a multiple of 4 long; `None`
    /// when there is no more.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`], and [`Io`](ErrorKind::Io) from the input.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>> {
        if self.payload_left == 0 {
            return Ok(None);
        }
        let length = self.payload_left.min(CHUNK_SIZE as u64) as usize;
        // The buffer is lent to `fill` by value because that borrows the whole reader.
        let mut chunk = std::mem::take(&mut self.chunk);
        let got = self.fill(&mut chunk[..length]);
        self.chunk = chunk;
        if got? < length {
            return Err(self.truncated());
        }
        self.payload_left -= length as u64;
        let chunk = &self.chunk[..length];
        self.sum.update(chunk, self.order);
        Ok(Some(chunk))
    }

    /// The whole rest of the payload of the last record, in place of what `into` held. Except for BEGIN a payload has
    /// at most [`record::MAX_BLOCK_SIZE`] bytes.
    ///
    /// # Errors
    /// As [`next_chunk`](Self::next_chunk).
    pub fn read_payload(&mut self, into: &mut Vec<u8>) -> Result<()> {
        into.clear();
        while let Some(chunk) = self.next_chunk()? {
            into.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// The last record as it stands in the stream.
    pub(crate) fn record_bytes(&self) -> &[u8; RECORD_SIZE] {
        &self.bytes
    }

    /// The byte order of the stream, as soon as there was a record.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// The number of records read so far.
    pub fn records(&self) -> u64 {
        if self.offset == 0 { 0 } else { self.place.record + 1 }
    }

    /// The number of bytes of the stream read so far.
    pub fn position(&self) -> u64 {
        self.offset
    }

    /// The input, positioned after what was read.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// Fails when the input goes on behind the end of the stream.
    pub(crate) fn expect_end_of_input(&mut self) -> Result<()> {
        if self.fill(&mut [0])? == 0 {
            Ok(())
        } else {
            Err(self.error(ErrorKind::TrailingData, "the stream is followed by other data"))
        }
    }

    /// An error at the record under way.
    pub(crate) fn error(&self, kind: ErrorKind, detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        self.place.error(kind, detail)
    }

    /// The place of the record under way.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    fn truncated(&self) -> Error {
        self.error(ErrorKind::Truncated, "the stream ends before its END record")
    }

    /// Reads until `bytes` is full or the input ends, and says how much that was.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let mut got = 0;
        while got < bytes.len() {
            match self.input.read(&mut bytes[got..]) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.place.io("cannot read the stream", error)),
            }
        }
        self.offset += got as u64;
        Ok(got)
    }

    /// The state after `record`, if it may stand here.
    fn follow(&self, record: &Record) -> Result<State> {
        match (self.state, record) {
            (State::Start, Record::Begin(begin)) if begin.compound => Ok(State::Wrapping),
            (State::Start, Record::Begin(_)) => Ok(State::Inside { compound: false }),
            (State::BetweenParts, Record::Begin(begin)) if !begin.compound => {
                Ok(State::Inside { compound: true })
            }
            (State::Wrapping | State::Inside { compound: true }, Record::End { .. }) => {
                Ok(State::BetweenParts)
            }
            (State::Inside { compound: false } | State::BetweenParts, Record::End { .. }) => Ok(State::Done),
            (State::Inside { .. }, Record::Begin(_)) => {
                Err(self.error(ErrorKind::BadRecord, "BEGIN inside a stream"))
            }
            (State::Inside { .. }, _) => Ok(self.state),
            _ => Err(self.error(ErrorKind::BadRecord, "a record between the parts of a compound stream")),
        }
    }

    /// Runs the checksum over the record and compares the ones it holds.
    fn verify(&mut self, bytes: &[u8; RECORD_SIZE], record: &Record) -> Result<()> {
        if matches!(record, Record::Begin(_)) {
            // A checksum begins anew with each part, and the last bytes of BEGIN belong to its name.
            self.sum = Fletcher4::new();
            self.sum.update(bytes, self.order);
            return Ok(());
        }
        // The END of a whole compound stream stands outside every checksum and is zero but for its type.
        if let Record::End { checksum } = record
            && self.state != State::BetweenParts
            && *checksum != self.sum.words()
        {
            return Err(self.error(
                ErrorKind::Checksum,
                "the checksum at the end of the stream does not match its contents",
            ));
        }
        let (before, stored) = bytes.split_at(RECORD_CHECKSUM_OFFSET);
        self.sum.update(before, self.order);
        let expected = record::checksum_at(bytes, RECORD_CHECKSUM_OFFSET, self.order);
        if self.state != State::BetweenParts && expected != [0; 4] && expected != self.sum.words() {
            return Err(self.error(
                ErrorKind::Checksum,
                "the checksum in this record does not match the stream before it",
            ));
        }
        self.sum.update(stored, self.order);
        Ok(())
    }
}
