//! Fixtures in memory, and the places to damage in them. The offsets are computed from the numbers that all fixtures
//! share (blocks of 4096, fragments of 1024, 384 inodes a group), not by the code under test.

use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

use super::super::{FindingKind, Report, check};

/// Byte offset of the primary superblock.
pub const SUPERBLOCK: usize = 8192;
const FRAG: usize = 1024;
const INODES_PER_GROUP: usize = 384;
/// Fragments from a group's base to its header and inodes.
const HEADER: usize = 24;
const INODES: usize = 28;

/// Fields of an inode, as byte offsets in it.
pub mod field {
    pub const MODE: usize = 0;
    pub const NLINK: usize = 2;
    pub const SHORT_UID: usize = 4;
    pub const SIZE: usize = 8;
    pub const DIRECT: usize = 40;
    pub const INDIRECT: usize = 88;
    pub const FLAGS: usize = 100;
    pub const BLOCKS: usize = 104;
    pub const SHADOW: usize = 112;
    pub const UID: usize = 116;
    pub const GID: usize = 120;
    pub const ATTRIBUTES: usize = 124;
}

/// A fixture that a test may damage.
#[derive(Clone)]
pub struct Image {
    pub bytes: Vec<u8>,
}

fn unpack(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/ufs");
    let packed = std::fs::read(folder.join(name)).expect("the fixture is in the repository");
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("the fixture is gzip");
    bytes
}

impl Image {
    /// An unchanged fixture, by its name without `.img.gz`.
    pub fn fixture(name: &str) -> Self {
        Self { bytes: unpack(&format!("{name}.img.gz")) }
    }

    /// The populated file system of 16 MiB, which most tests damage.
    pub fn populated() -> Self {
        static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
        Self { bytes: BYTES.get_or_init(|| unpack("populated16m.img.gz")).clone() }
    }

    pub fn check(&self) -> Report {
        check(&self.bytes, self.bytes.len() as u64).expect("a file system in memory is readable")
    }

    /// The kinds found, in order, each once.
    pub fn kinds(&self) -> Vec<FindingKind> {
        self.check().counts().map(|(kind, _)| kind).collect()
    }

    /// The kinds found at inodes, in order, each once: what remains when a damaged pointer also leaves fragments
    /// behind that the maps and counts still know.
    pub fn inode_kinds(&self) -> Vec<FindingKind> {
        let findings = self.check().findings;
        let mut kinds: Vec<FindingKind> =
            findings.iter().filter(|found| found.location.inode.is_some()).map(|found| found.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes[at..at + 2].try_into().unwrap())
    }

    pub fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    pub fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub fn put_u16(&mut self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn put_u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn put_u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    /// Adds to a 32-bit word.
    pub fn add_u32(&mut self, at: usize, difference: i32) {
        self.put_u32(at, self.u32(at).wrapping_add_signed(difference));
    }

    /// Adds to a 16-bit word.
    pub fn add_u16(&mut self, at: usize, difference: i16) {
        self.put_u16(at, self.u16(at).wrapping_add_signed(difference));
    }

    /// Byte offset of a fragment.
    pub fn frag(frag: u32) -> usize {
        frag as usize * FRAG
    }

    /// Byte offset of group `group`'s first fragment.
    pub fn group(&self, group: usize) -> usize {
        let frags_per_group = self.u32(SUPERBLOCK + 188) as usize;
        group * frags_per_group * FRAG
    }

    /// Byte offset of a group's backup superblock.
    pub fn backup(&self, group: usize) -> usize {
        self.group(group) + 16 * FRAG
    }

    /// Byte offset of a group's header.
    pub fn header(&self, group: usize) -> usize {
        self.group(group) + HEADER * FRAG
    }

    /// Byte offset of one of a header's maps; `pointer` is the offset of the field that tells where it is.
    pub fn map(&self, group: usize, pointer: usize) -> usize {
        let header = self.header(group);
        header + self.u32(header + pointer) as usize
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.u32(SUPERBLOCK + 44) as usize
    }

    /// Byte offset of an inode.
    pub fn inode(&self, number: u32) -> usize {
        let number = number as usize;
        let table = self.group(number / INODES_PER_GROUP) + INODES * FRAG;
        table + number % INODES_PER_GROUP * 128
    }

    /// The first inode of group 0 that is free.
    pub fn free_inode(&self) -> u32 {
        (4..384).find(|&number| self.u16(self.inode(number)) == 0).unwrap()
    }

    /// Byte offset of the directory entry of an absolute path.
    pub fn entry(&self, path: &str) -> usize {
        let (parent, name) = path.rsplit_once('/').unwrap();
        let inode = self.inode(if parent.is_empty() { 2 } else { self.lookup(parent) });
        let size = self.u64(inode + field::SIZE) as usize;
        for block in 0..size.div_ceil(4096) {
            let start = Self::frag(self.u32(inode + field::DIRECT + 4 * block));
            let mut at = start;
            while at < start + (size - block * 4096).min(4096) {
                let namlen = usize::from(self.u16(at + 6));
                if self.u32(at) != 0 && &self.bytes[at + 8..at + 8 + namlen] == name.as_bytes() {
                    return at;
                }
                at += usize::from(self.u16(at + 4));
            }
        }
        panic!("{path} is not in the fixture");
    }

    /// Inode number of an absolute path.
    pub fn lookup(&self, path: &str) -> u32 {
        self.u32(self.entry(path))
    }

    /// Byte offset of the inode of an absolute path.
    pub fn inode_of(&self, path: &str) -> usize {
        self.inode(self.lookup(path))
    }

    /// Byte offset of the first block of what a path names.
    pub fn contents(&self, path: &str) -> usize {
        Self::frag(self.u32(self.inode_of(path) + field::DIRECT))
    }
}

/// What a check finds in the populated fixture after one change.
pub fn damage(change: impl FnOnce(&mut Image)) -> Vec<FindingKind> {
    let mut image = Image::populated();
    change(&mut image);
    image.kinds()
}

/// What a check finds at inodes in the populated fixture after one change.
pub fn damage_at_inodes(change: impl FnOnce(&mut Image)) -> Vec<FindingKind> {
    let mut image = Image::populated();
    change(&mut image);
    image.inode_kinds()
}
