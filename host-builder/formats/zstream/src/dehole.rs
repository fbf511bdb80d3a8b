//! Full streams without their hole records.
//!
//! Senders from late 2016 on say which ranges and objects are empty (FREE and FREEOBJECTS), and receivers before
//! 20161108T160947Z fail at that (DATASET-1297). In a full stream those records say nothing that a new dataset does not know.

use std::io::{Read, Write};

use zerocopy::IntoBytes;
use zerocopy::byteorder::{BE, LE, U64};

use crate::checksum::{ByteOrder, Fletcher4};
use crate::error::{ErrorKind, Place, Result};
use crate::reader::StreamReader;
use crate::record::Record;
use crate::wire::{RECORD_CHECKSUM_OFFSET, RECORD_SIZE};

/// Where an END record has its checksum.
const END_CHECKSUM_OFFSET: usize = 8;
/// Where a BEGIN record has its flags.
const BEGIN_FLAGS_OFFSET: usize = 36;
/// The flag by which a sender promises to say all that is empty (`DRR_FLAG_FREERECORDS`).
const FREE_RECORDS: u32 = 4;

/// What became of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deholed {
    /// Records that were left out.
    pub skipped: u64,
    /// Records that were written.
    pub written: u64,
}

/// Copies a stream but for its hole records, and flushes the output. The byte order stays, and so do checksums inside records where
/// there are any.
///
/// # Errors
/// Those of [`StreamReader::next_record`]; [`ErrorKind::Unsupported`] for incremental streams, in which hole records are what was
/// deleted; [`ErrorKind::TrailingData`]; [`ErrorKind::Io`] from input and output. What was written up to there is worthless.
pub fn dehole<R: Read, W: Write>(input: R, mut output: W) -> Result<Deholed> {
    let mut stream = StreamReader::new(input);
    let mut sum = Fletcher4::new();
    let mut done = Deholed::default();
    let mut parts = 0;
    while let Some(record) = stream.next_record()? {
        let order = stream.byte_order();
        let mut bytes = *stream.record_bytes();
        match &record {
            Record::Free { .. } | Record::FreeObjects { .. } => {
                done.skipped += 1;
                continue;
            }
            Record::Begin(begin) => {
                if begin.from_guid != 0 {
                    return Err(stream.error(
                        ErrorKind::Unsupported,
                        "this is an incremental stream: its hole records are what was deleted, and are needed",
                    ));
                }
                parts += 1;
                sum = Fletcher4::new();
                let flags = order.u32(*bytes[BEGIN_FLAGS_OFFSET..].first_chunk().expect("it is inside"))
                    & !FREE_RECORDS;
                let flags = match order {
                    ByteOrder::Little => flags.to_le_bytes(),
                    ByteOrder::Big => flags.to_be_bytes(),
                };
                bytes[BEGIN_FLAGS_OFFSET..][..4].copy_from_slice(&flags);
            }
            // The END behind the parts of a compound stream has no checksum.
            Record::End { checksum } if *checksum != [0; 4] || parts == 1 => {
                put(&mut bytes, END_CHECKSUM_OFFSET, sum, order);
            }
            _ => {}
        }
        let (before, stored) = bytes.split_at(RECORD_CHECKSUM_OFFSET);
        let has_sum = !matches!(record, Record::Begin(_)) && stored.iter().any(|&byte| byte != 0);
        sum.update(before, order);
        if has_sum {
            put(&mut bytes, RECORD_CHECKSUM_OFFSET, sum, order);
        }
        sum.update(&bytes[RECORD_CHECKSUM_OFFSET..], order);
        let place = stream.place();
        write(&mut output, &bytes, place)?;
        while let Some(chunk) = stream.next_chunk()? {
            sum.update(chunk, order);
            write(&mut output, chunk, place)?;
        }
        done.written += 1;
    }
    stream.expect_end_of_input()?;
    output.flush().map_err(|source| stream.place().io("cannot write the stream", source))?;
    Ok(done)
}

/// Stores a checksum in a record.
fn put(bytes: &mut [u8; RECORD_SIZE], at: usize, sum: Fletcher4, order: ByteOrder) {
    let to = &mut bytes[at..][..32];
    match order {
        ByteOrder::Little => to.copy_from_slice(sum.words().map(U64::<LE>::new).as_bytes()),
        ByteOrder::Big => to.copy_from_slice(sum.words().map(U64::<BE>::new).as_bytes()),
    }
}

fn write<W: Write>(output: &mut W, bytes: &[u8], place: Place) -> Result<()> {
    output.write_all(bytes).map_err(|source| place.io("cannot write the stream", source))
}
