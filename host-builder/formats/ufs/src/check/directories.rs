//! The second pass: the records of every directory, and the references they make.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use positioned_io::ReadAt;

use super::Checker;
use super::finding::{FindingKind, Location};
use super::inodes::Directory;
use crate::error::Result;
use crate::layout::{
    DIR_CHUNK, DIR_HEADER, MODE_ATTRIBUTE_DIRECTORY, MODE_DIRECTORY, MODE_SHADOW, NAME_MAX, ROOT_INODE,
    dir_entry_size,
};

/// A record of a directory chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Bytes from the chunk's start.
    pub(super) offset: usize,
    /// Inode; 0 in an empty record, whose name means nothing.
    pub(super) inode: u32,
    /// Bytes to the next record.
    pub(super) reclen: usize,
    /// The name, which may still contain anything.
    pub(super) name: &'a [u8],
    /// Whether a NUL follows the name.
    pub(super) terminated: bool,
    /// Whether the bytes behind that NUL up to the record's least length are zero.
    pub(super) padded: bool,
}

/// A record that does not fit, and with it the end of its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken {
    /// Bytes from the chunk's start.
    pub(super) offset: usize,
    reclen: u16,
    namlen: u16,
}

/// The records of a chunk: they fill it exactly, or the last item is the record that breaks the chain.
pub(super) struct Records<'a> {
    chunk: &'a [u8],
    offset: usize,
}

impl<'a> Records<'a> {
    /// The records of one chunk of [`DIR_CHUNK`] bytes.
    pub(super) fn new(chunk: &'a [u8]) -> Self {
        Self { chunk, offset: 0 }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = std::result::Result<Record<'a>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.chunk.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let offset = self.offset;
        self.offset = self.chunk.len();
        let Some((header, _)) = rest.split_first_chunk::<DIR_HEADER>() else {
            return Some(Err(Broken { offset, reclen: 0, namlen: 0 }));
        };
        let [i0, i1, i2, i3, r0, r1, n0, n1] = *header;
        let inode = u32::from_le_bytes([i0, i1, i2, i3]);
        let (reclen, namlen) = (u16::from_le_bytes([r0, r1]), u16::from_le_bytes([n0, n1]));
        let (len, name_len) =
            if inode == 0 { (DIR_HEADER, 0) } else { (dir_entry_size(namlen.into()), namlen) };
        let fits = reclen.is_multiple_of(4)
            && usize::from(reclen) >= len
            && usize::from(reclen) <= rest.len()
            && (inode == 0 || (1..=NAME_MAX).contains(&usize::from(namlen)));
        if !fits {
            return Some(Err(Broken { offset, reclen, namlen }));
        }
        self.offset = offset + usize::from(reclen);
        let name_end = DIR_HEADER + usize::from(name_len);
        let name = rest.get(DIR_HEADER..name_end).unwrap_or_default();
        let padding = rest.get(name_end..len).unwrap_or_default();
        let terminated = inode == 0 || padding.first() == Some(&0);
        let padded = padding.iter().skip(1).all(|&byte| byte == 0);
        Some(Ok(Record { offset, inode, reclen: usize::from(reclen), name, terminated, padded }))
    }
}

/// Whether a chunk behind the end of a directory is zero, or an unused chunk: newfs leaves one behind the root.
fn is_blank(chunk: &[u8]) -> bool {
    let [low, high] = (DIR_CHUNK as u16).to_le_bytes();
    let empty = [0, 0, 0, 0, low, high];
    let rest = chunk.strip_prefix(&empty).unwrap_or(chunk);
    rest.iter().all(|&byte| byte == 0)
}

/// Names of one directory that are compared with each other; in a directory of more, the others are not.
const NAMES_COMPARED: usize = 1 << 20;

/// What is remembered while one directory is read.
#[derive(Default)]
struct Reading {
    /// Hashes of the names so far.
    names: HashSet<u64>,
    dot: bool,
    dotdot: Option<u32>,
}

impl<D: ReadAt> Checker<'_, D> {
    /// Reads every directory.
    pub(super) fn check_directories(&mut self) -> Result<()> {
        let mut block = vec![0; self.geometry.bsize as usize];
        for index in 0..self.directories.len() {
            let mut reading = Reading::default();
            let mut run = 0;
            while let Some((offset, bytes, lbn)) = self.read_run(index, run, &mut block)? {
                let size = self.directories[index].size;
                let start = u64::from(lbn) * u64::from(self.geometry.bsize);
                let valid = size.saturating_sub(start).min(bytes.len() as u64) as usize;
                let (records, tail) = bytes.split_at(valid);
                let directory = self.directories[index].inode;
                for (number, chunk) in (0..).zip(records.chunks_exact(DIR_CHUNK as usize)) {
                    let chunk_offset = offset + number * u64::from(DIR_CHUNK);
                    let first = lbn == 0 && number == 0;
                    self.check_chunk(directory, chunk, chunk_offset, first, &mut reading);
                }
                for (number, chunk) in (0..).zip(tail.chunks(DIR_CHUNK as usize)) {
                    if !is_blank(chunk) {
                        let at = offset + (valid as u64) + number * u64::from(DIR_CHUNK);
                        let detail = format_args!("behind its {size} bytes");
                        self.report_entry(FindingKind::DirectoryTail, directory, at, detail);
                    }
                }
                run += 1;
            }
            self.directories[index].dotdot = reading.dotdot;
        }
        Ok(())
    }

    /// Reads one run of a directory's blocks: its byte offset on the device, its bytes and its block number in the
    /// directory; `None` behind the last.
    pub(super) fn read_run<'b>(
        &self,
        directory: usize,
        run: usize,
        block: &'b mut [u8],
    ) -> Result<Option<(u64, &'b [u8], u32)>> {
        let Some(&run) = self.directories.get(directory).and_then(|found| found.runs.get(run)) else {
            return Ok(None);
        };
        let offset = self.geometry.frag_offset(run.frag);
        let bytes = &mut block[..(run.frags * self.geometry.fsize) as usize];
        self.device.read("directory", offset, bytes)?;
        Ok(Some((offset, bytes, run.lbn)))
    }

    fn report_entry(
        &mut self,
        kind: FindingKind,
        directory: u32,
        offset: u64,
        detail: std::fmt::Arguments<'_>,
    ) {
        let location = Location { inode: Some(directory), offset: Some(offset), ..Location::default() };
        self.findings.add(kind, location, detail);
    }

    fn check_chunk(&mut self, directory: u32, chunk: &[u8], offset: u64, first: bool, reading: &mut Reading) {
        for (index, record) in Records::new(chunk).enumerate() {
            match record {
                Ok(record) => {
                    let at = offset + record.offset as u64;
                    // The place that belongs to `.` or `..` alone.
                    let place = if first { Some(index) } else { None };
                    self.check_record(directory, &record, at, place, reading);
                }
                Err(broken) => {
                    let Broken { reclen, namlen, .. } = broken;
                    let at = offset + broken.offset as u64;
                    let detail = format_args!("record of {reclen} bytes with a name of {namlen}");
                    self.report_entry(FindingKind::DirectoryRecord, directory, at, detail);
                }
            }
        }
        if first && !reading.dot {
            self.report_entry(FindingKind::DotEntry, directory, offset, format_args!("missing"));
        }
        if first && reading.dotdot.is_none() {
            self.report_entry(FindingKind::DotDotEntry, directory, offset, format_args!("missing"));
        }
    }

    /// One record; `place` is its index in the first chunk of the directory.
    fn check_record(
        &mut self,
        directory: u32,
        record: &Record<'_>,
        offset: u64,
        place: Option<usize>,
        reading: &mut Reading,
    ) {
        if record.inode == 0 {
            return;
        }
        let name = record.name.escape_ascii();
        if !record.terminated || record.name.contains(&0) || record.name.contains(&b'/') {
            let detail = format_args!("\"{name}\"");
            self.report_entry(FindingKind::DirectoryName, directory, offset, detail);
        } else if !record.padded {
            let detail = format_args!("\"{}\"", name.clone());
            self.report_entry(FindingKind::DirectoryPadding, directory, offset, detail);
        }
        if reading.names.len() < NAMES_COMPARED {
            let mut hasher = DefaultHasher::new();
            record.name.hash(&mut hasher);
            if !reading.names.insert(hasher.finish()) {
                let detail = format_args!("\"{}\"", record.name.escape_ascii());
                self.report_entry(FindingKind::DuplicateName, directory, offset, detail);
            }
        }
        match record.name {
            b"." => {
                let right = record.inode == directory && record.reclen == dir_entry_size(1);
                if place != Some(0) || !right {
                    let detail = format_args!(
                        "inode {} in a record of {} bytes, number {place:?}",
                        record.inode, record.reclen
                    );
                    self.report_entry(FindingKind::DotEntry, directory, offset, detail);
                }
                reading.dot = true;
            }
            b".." => {
                if place != Some(1) {
                    let detail = format_args!("not the second record");
                    self.report_entry(FindingKind::DotDotEntry, directory, offset, detail);
                }
                reading.dotdot = reading.dotdot.or(Some(record.inode));
            }
            _ => self.check_target(directory, record, offset),
        }
    }

    /// The inode that an ordinary entry names.
    fn check_target(&mut self, directory: u32, record: &Record<'_>, offset: u64) {
        let (inode, name) = (record.inode, record.name.escape_ascii());
        if inode < ROOT_INODE || inode >= self.geometry.inodes() {
            let detail = format_args!("\"{name}\" is inode {inode} of {}", self.geometry.inodes());
            self.report_entry(FindingKind::EntryOutOfRange, directory, offset, detail);
            return;
        }
        match self.inodes.mode_type(inode) {
            0 => {
                let detail = format_args!("\"{name}\" is inode {inode}");
                self.report_entry(FindingKind::EntryToFreeInode, directory, offset, detail);
            }
            mode_type @ (MODE_SHADOW | MODE_ATTRIBUTE_DIRECTORY) => {
                let detail = format_args!("\"{name}\" is inode {inode} of type {mode_type:#o}");
                self.report_entry(FindingKind::EntryType, directory, offset, detail);
            }
            MODE_DIRECTORY => self.adopt(directory, inode, record.name),
            _ => self.inodes.refer(inode),
        }
    }

    /// An entry of `parent` names the directory `child`. A directory has one parent; of a second one only the first
    /// is remembered, in case that `..` declares it the right one.
    fn adopt(&mut self, parent: u32, child: u32, name: &[u8]) {
        let Some(directory) = self.directory_mut(child) else { return };
        if child != ROOT_INODE && directory.parent.is_none() {
            directory.parent = Some((parent, name.into()));
            return;
        }
        if child != ROOT_INODE && directory.rival.is_none() {
            directory.rival = Some((parent, name.into()));
        }
        let detail = format_args!("also \"{}\" in directory {parent}", name.escape_ascii());
        self.findings.add(FindingKind::DirectorySecondLink, Location::inode(child), detail);
    }

    /// The directory of an inode.
    pub(super) fn directory(&self, inode: u32) -> Option<&Directory> {
        let index = self.directories.binary_search_by_key(&inode, |directory| directory.inode).ok()?;
        self.directories.get(index)
    }

    fn directory_mut(&mut self, inode: u32) -> Option<&mut Directory> {
        let index = self.directories.binary_search_by_key(&inode, |directory| directory.inode).ok()?;
        self.directories.get_mut(index)
    }
}
