//! Hostile disks and streams for the fuzz targets.
//!
//! An image is megabytes of mostly nothing, which a fuzzer would mutate in vain. So the input is not the image but a
//! list of changes to a good one, each to a sector that has something in it.

#![forbid(unsafe_code)]

use std::cmp::min;
use std::collections::BTreeMap;
use std::ops::Range;
use std::{io, iter};

use kiln_bootdisk::disk::{BootArea, DiskOptions, DiskPlan, smallest_disk_size};
use kiln_bootdisk::extent::{Content, DiskLayout, DiskView, FileId};
use kiln_bootdisk::fat32::Entry;
use kiln_zstream::checksum::{ByteOrder, Fletcher4};
use kiln_zstream::{ErrorKind, Record, StreamReader};
use positioned_io::{ReadAt, WriteAt};

const SECTOR: usize = 512;

/// A good image, and where it has content.
pub struct Base<B> {
    image: B,
    length: u64,
    /// Sectors with content, ascending.
    sectors: Vec<u64>,
}

impl<B: ReadAt> Base<B> {
    /// An image of `length` bytes that has content in the given ranges of bytes only; within those, sectors of zeros
    /// are no content either.
    pub fn new(image: B, length: u64, content: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut sectors = Vec::new();
        for range in content {
            for sector in range.start / SECTOR as u64..range.end.div_ceil(SECTOR as u64) {
                let mut bytes = [0; SECTOR];
                let got = image.read_at(sector * SECTOR as u64, &mut bytes).expect("the base can be read");
                if bytes[..got].iter().any(|&byte| byte != 0) {
                    sectors.push(sector);
                }
            }
        }
        sectors.dedup();
        Self { image, length, sectors }
    }

    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The image with the changes of `input`: each is 2 bytes that choose a sector with content, 2 that choose a
    /// place in it (their low 9 bits) and a length of 1 to 16 (the next 4), and so many new bytes.
    pub fn changed(&self, input: &[u8]) -> Changed<'_, B> {
        let mut changed = Changed { base: self, sectors: BTreeMap::new() };
        let mut rest = input;
        while let Some((&[a, b, c, d], after)) = rest.split_first_chunk() {
            let sector = self.sectors[usize::from(u16::from_le_bytes([a, b])) % self.sectors.len()];
            let place = u16::from_le_bytes([c, d]);
            let length = min(usize::from(place >> 9 & 15) + 1, after.len());
            let (bytes, next) = after.split_at(length);
            let start = usize::from(place & 511);
            let fitting = min(length, SECTOR - start);
            changed.write(sector * SECTOR as u64 + start as u64, &bytes[..fitting]);
            rest = next;
        }
        changed
    }
}

/// A [`Base`] with some sectors changed, in memory.
pub struct Changed<'a, B> {
    base: &'a Base<B>,
    sectors: BTreeMap<u64, [u8; SECTOR]>,
}

impl<B: ReadAt> Changed<'_, B> {
    fn write(&mut self, position: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = position + done as u64;
            let start = (at % SECTOR as u64) as usize;
            let length = min(bytes.len() - done, SECTOR - start);
            let base = self.base;
            let sector = self.sectors.entry(at / SECTOR as u64).or_insert_with_key(|&sector| {
                let mut old = [0; SECTOR];
                base.image.read_at(sector * SECTOR as u64, &mut old).expect("the base can be read");
                old
            });
            sector[start..start + length].copy_from_slice(&bytes[done..done + length]);
            done += length;
        }
    }
}

impl<B: ReadAt> ReadAt for Changed<'_, B> {
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = min(buffer.len() as u64, self.base.length.saturating_sub(position)) as usize;
        let buffer = &mut buffer[..wanted];
        // The image may end before the length of the device does; the rest is zero.
        let got = self.base.image.read_at(position, buffer)?;
        buffer[got..].fill(0);
        let end = position + wanted as u64;
        for (sector, bytes) in self.sectors.range(position / SECTOR as u64..end.div_ceil(SECTOR as u64)) {
            let start = sector * SECTOR as u64;
            let (from, to) = (start.max(position), (start + SECTOR as u64).min(end));
            let into = (from - position) as usize..(to - position) as usize;
            buffer[into].copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
        }
        Ok(wanted)
    }
}

impl<B: ReadAt> WriteAt for Changed<'_, B> {
    fn write_at(&mut self, position: u64, buffer: &[u8]) -> io::Result<usize> {
        let fitting = min(buffer.len() as u64, self.base.length.saturating_sub(position)) as usize;
        self.write(position, &buffer[..fitting]);
        Ok(fitting)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What opens the files that a disk is made of; those here are all in memory.
pub type Open = fn(FileId) -> Option<&'static dyn ReadAt>;

/// The smallest disk that holds these files, with a FAT32 volume at byte `VOLUME`. Changes go to what stands from byte
/// `from` on.
pub fn small_disk(entries: &[Entry], area: &BootArea, from: u64) -> Base<DiskView<'static, Open>> {
    let size = smallest_disk_size(entries, 0).expect("the entries are good");
    let options =
        DiskOptions { size, signature: 1, serial: 2, label: "FUZZ".to_owned(), modified: 0, reserve: 0 };
    let plan = DiskPlan::new(&options, entries).expect("the smallest size is enough");
    // Targets make one disk, and use it to their end.
    let layout: &'static DiskLayout = Box::leak(Box::new(plan.finish(area).expect("the boot area fits")));
    let content: Vec<_> = layout
        .extents()
        .iter()
        .filter(|extent| matches!(extent.content, Content::Bytes(_)) && extent.offset >= from)
        .map(|extent| extent.offset..extent.offset + extent.length)
        .collect();
    Base::new(layout.view((|_| None) as Open), size, content)
}

/// Where the volume of a [`small_disk`] begins, in bytes.
pub const VOLUME: u64 = 1 << 20;

/// The populated file system of the fixtures: 16 MiB, every kind of entry.
pub fn populated_ufs() -> Base<Vec<u8>> {
    let mut image = Vec::new();
    let packed = include_bytes!("../../fixtures/ufs/populated16m.img.gz");
    io::Read::read_to_end(&mut kiln_pgzip::Reader::new(packed.as_slice()), &mut image)
        .expect("the fixture is gzip");
    let length = image.len() as u64;
    Base::new(image, length, iter::once(0..length))
}

/// The size of a record of a send stream, and where the checksums in it stand: in END that of the stream before it,
/// and in every record but BEGIN one of everything up to there.
const RECORD: usize = 312;
/// The kind of END records.
const END: u8 = 5;
const END_CHECKSUM: Range<usize> = 8..40;
const RECORD_CHECKSUM: Range<usize> = 280..312;

/// How many checksums of a stream are put right.
const SEALS: usize = 32;

/// The send stream `input` with checksums that match, so that the reader's other checks see what was changed.
pub fn sealed(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..SEALS {
        let Some((begin, at, order)) = broken_seal(&bytes) else { break };
        let Some((part, record)) =
            bytes.get_mut(begin..at + RECORD).map(|through| through.split_at_mut(at - begin))
        else {
            break;
        };
        let mut sum = Fletcher4::new();
        sum.update(part, order);
        let seal = |record: &mut [u8], place: Range<usize>, sum: Fletcher4| {
            for (bytes, word) in record[place].chunks_exact_mut(8).zip(sum.words()) {
                bytes.copy_from_slice(&match order {
                    ByteOrder::Little => word.to_le_bytes(),
                    ByteOrder::Big => word.to_be_bytes(),
                });
            }
        };
        let is_end = match order {
            ByteOrder::Little => record[0] == END,
            ByteOrder::Big => record[3] == END,
        };
        if is_end {
            seal(record, END_CHECKSUM, sum);
        }
        sum.update(&record[..RECORD_CHECKSUM.start], order);
        seal(record, RECORD_CHECKSUM, sum);
    }
    bytes
}

/// Where the part begins whose checksum is the first that does not match, where the record stands that holds it, and
/// the byte order.
fn broken_seal(stream: &[u8]) -> Option<(usize, usize, ByteOrder)> {
    let mut reader = StreamReader::new(stream);
    let mut begin = 0;
    loop {
        match reader.next_record() {
            Ok(Some(Record::Begin(_))) => begin = reader.position() as usize - RECORD,
            Ok(Some(_)) => {}
            Err(error) if error.kind() == ErrorKind::Checksum => {
                return Some((begin, error.offset() as usize, reader.byte_order()));
            }
            Ok(None) | Err(_) => return None,
        }
    }
}
