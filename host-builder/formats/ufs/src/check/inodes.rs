//! The first pass: every inode of every table, by itself.

use std::ops::RangeInclusive;

use positioned_io::ReadAt;
use zerocopy::FromBytes;

use super::blocks::{self, Extent, Ledger, Run};
use super::finding::{FindingKind, Location};
use super::{Checker, Totals};
use crate::error::Result;
use crate::layout::{
    DIR_CHUNK, FLAG_LARGE_FILES, INODE_FALLOCATED, INODE_SIZE, Inode, LONG_ID, MODE_ATTRIBUTE_DIRECTORY,
    MODE_BLOCK, MODE_CHARACTER, MODE_DIRECTORY, MODE_FIFO, MODE_REGULAR, MODE_SHADOW, MODE_SOCKET,
    MODE_SYMLINK, MODE_TYPE, ROOT_INODE, SUPERBLOCK_OFFSET, SYMLINK_MAX,
};

/// What the later passes need to know of every inode; vectors of small numbers, five bytes an inode.
#[derive(Debug)]
pub(super) struct InodeTable {
    /// The mode's type bits; 0 in a free inode, [`MODE_TYPE`] in one of unknown type.
    types: Vec<u8>,
    nlinks: Vec<i16>,
    references: Vec<u16>,
}

impl InodeTable {
    pub(super) fn new(inodes: u32) -> Self {
        let len = inodes as usize;
        Self { types: vec![0; len], nlinks: vec![0; len], references: vec![0; len] }
    }

    /// The type bits of an inode's mode: 0 when it is free or no inode of the file system.
    pub(super) fn mode_type(&self, inode: u32) -> u16 {
        self.types.get(inode as usize).map_or(0, |&nibble| u16::from(nibble) << 12)
    }

    /// Whether an inode is allocated.
    pub(super) fn allocated(&self, inode: u32) -> bool {
        self.mode_type(inode) != 0
    }

    /// Counts a reference to an inode. The count sticks at a number that no link count reaches.
    pub(super) fn refer(&mut self, inode: u32) {
        if let Some(count) = self.references.get_mut(inode as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// `ic_nlink` and the references counted.
    pub(super) fn links(&self, inode: u32) -> (i16, u16) {
        let index = inode as usize;
        (
            self.nlinks.get(index).copied().unwrap_or_default(),
            self.references.get(index).copied().unwrap_or_default(),
        )
    }

    fn set(&mut self, number: u32, inode: &Inode) {
        let index = number as usize;
        let nibble = match inode.mode.get() >> 12 {
            0 => 0xf,
            nibble => nibble as u8,
        };
        if let (Some(kind), Some(nlink)) = (self.types.get_mut(index), self.nlinks.get_mut(index)) {
            *kind = nibble;
            *nlink = inode.nlink.get();
        }
    }
}

/// A directory or attribute directory.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) inode: u32,
    pub(super) size: u64,
    /// Its readable blocks.
    pub(super) runs: Vec<Run>,
    /// The directory with an entry for this one, and the name there.
    pub(super) parent: Option<(u32, Box<[u8]>)>,
    /// Another such directory.
    pub(super) rival: Option<(u32, Box<[u8]>)>,
    /// The inode in `..`.
    pub(super) dotdot: Option<u32>,
}

/// The reference of an inode to its ACL and its attribute directory.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) owner: u32,
    pub(super) shadow: u32,
    pub(super) attributes: u32,
}

/// Bytes of an inode table that are read at once.
const TABLE_CHUNK: usize = 64 << 10;

/// Largest size in bytes of a file that needs no large-files flag.
const SMALL_FILE: u64 = i32::MAX as u64;

/// Longest target that a writer of another system might have stored in the fifteen pointers.
const INLINE_TARGET: RangeInclusive<u64> = 1..=60;

impl<D: ReadAt> Checker<'_, D> {
    /// Reads all inode tables.
    pub(super) fn check_inodes(&mut self) -> Result<()> {
        let (ncg, ipg) = (self.geometry.ncg, self.geometry.ipg);
        let mut chunk = vec![0; TABLE_CHUNK];
        for group in 0..ncg {
            let mut index = 0;
            while index < ipg {
                let count = (ipg - index).min(TABLE_CHUNK as u32 / INODE_SIZE);
                let first = group * ipg + index;
                let bytes = &mut chunk[..(count * INODE_SIZE) as usize];
                self.device.read("inode table", self.geometry.inode_offset(first), bytes)?;
                for (number, bytes) in (first..).zip(bytes.chunks_exact(INODE_SIZE as usize)) {
                    let inode = Inode::read_from_bytes(bytes).expect("chunks of the inode's size");
                    self.check_inode(number, &inode)?;
                }
                index += count;
            }
        }
        if self.inodes.mode_type(ROOT_INODE) != MODE_DIRECTORY || self.inodes.links(ROOT_INODE).0 <= 0 {
            let (nlink, _) = self.inodes.links(ROOT_INODE);
            let kind = self.inodes.mode_type(ROOT_INODE);
            let detail = format_args!("type {kind:#o}, {nlink} links");
            self.findings.add(FindingKind::RootInode, Location::inode(ROOT_INODE), detail);
        }
        let large = self.totals.large_files;
        let flagged = self.superblock.flags & FLAG_LARGE_FILES != 0;
        if (large != 0) != flagged {
            let location = Location::offset(SUPERBLOCK_OFFSET + 211);
            let detail = format_args!("{large} files of 2 GiB and more");
            self.findings.add(FindingKind::LargeFiles, location, detail);
        }
        Ok(())
    }

    fn report_inode(&mut self, number: u32, kind: FindingKind, detail: std::fmt::Arguments<'_>) {
        let mut location = Location::inode(number);
        location.offset = Some(self.geometry.inode_offset(number));
        self.findings.add(kind, location, detail);
    }

    fn check_inode(&mut self, number: u32, inode: &Inode) -> Result<()> {
        if inode.mode.get() == 0 {
            self.check_free_inode(number, inode);
            return Ok(());
        }
        self.inodes.set(number, inode);
        self.totals.inodes_used += 1;
        if number < ROOT_INODE {
            self.report_inode(number, FindingKind::ReservedInode, format_args!("mode {:#o}", inode.mode));
        }
        self.check_owner(number, inode);
        let (shadow, attributes) = (inode.shadow.get(), inode.attributes.get());
        if shadow != 0 || attributes != 0 {
            self.attachments.push(Attachment { owner: number, shadow, attributes });
        }
        self.totals.large_files += u64::from(inode.size.get() > SMALL_FILE);

        let mode_type = inode.mode.get() & MODE_TYPE;
        self.totals.count(mode_type);
        match mode_type {
            MODE_REGULAR | MODE_SHADOW => {
                let extent = self.walk(number, inode, false)?;
                self.check_mapping(number, inode, &extent);
            }
            MODE_DIRECTORY | MODE_ATTRIBUTE_DIRECTORY => self.check_directory_inode(number, inode)?,
            MODE_SYMLINK => self.check_symlink(number, inode)?,
            MODE_CHARACTER | MODE_BLOCK | MODE_FIFO | MODE_SOCKET => self.check_special(number, inode),
            _ => {
                self.report_inode(number, FindingKind::InodeType, format_args!("mode {:#o}", inode.mode));
                let extent = self.walk(number, inode, false)?;
                self.check_mapping(number, inode, &extent);
            }
        }
        Ok(())
    }

    /// A free inode must have neither size, links nor pointers; the kernel would hand them to the next owner.
    fn check_free_inode(&mut self, number: u32, inode: &Inode) {
        let pointers =
            inode.direct.iter().chain(&inode.indirect).filter(|pointer| pointer.get() != 0).count();
        let (size, nlink) = (inode.size.get(), inode.nlink.get());
        if size != 0 || nlink != 0 || pointers != 0 {
            let detail = format_args!("{size} bytes, {nlink} links, {pointers} block pointers");
            self.report_inode(number, FindingKind::PartlyAllocated, detail);
        }
    }

    /// The short ids hold the long ones when they fit, and 65,535 when not.
    fn check_owner(&mut self, number: u32, inode: &Inode) {
        for (what, short, long) in [
            ("owner", inode.short_uid.get(), inode.uid.get()),
            ("group", inode.short_gid.get(), inode.gid.get()),
        ] {
            if short != u16::try_from(long).unwrap_or(LONG_ID) {
                let detail = format_args!("{what} is {short} and {long}");
                self.report_inode(number, FindingKind::OwnerFields, detail);
            }
        }
    }

    fn walk(&mut self, number: u32, inode: &Inode, keep_runs: bool) -> Result<Extent> {
        let mut ledger = Ledger {
            device: &self.device,
            geometry: &self.geometry,
            used: &mut self.used,
            findings: &mut self.findings,
        };
        blocks::walk(&mut ledger, number, inode, keep_runs)
    }

    /// Compares size and `ic_blocks` with the blocks of a file.
    fn check_mapping(&mut self, number: u32, inode: &Inode, extent: &Extent) {
        let size = inode.size.get();
        let possible = self.geometry.file_blocks() * u64::from(self.geometry.bsize);
        if size > possible.min(i64::MAX as u64) {
            self.report_inode(number, FindingKind::FileSize, format_args!("{size} bytes"));
        } else if size != 0
            && !extent.last_mapped
            && !extent.partial
            && inode.flags.get() & INODE_FALLOCATED == 0
        {
            let detail = format_args!("{size} bytes, but the last block is not mapped");
            self.report_inode(number, FindingKind::SizeBeyondBlocks, detail);
        }
        let blocks = u64::from(inode.blocks.get());
        if blocks != extent.sectors && !extent.partial {
            let detail = format_args!("ic_blocks is {blocks}, not {}", extent.sectors);
            self.report_inode(number, FindingKind::BlockCount, detail);
        }
    }

    fn check_directory_inode(&mut self, number: u32, inode: &Inode) -> Result<()> {
        let group = (number / self.geometry.ipg) as usize;
        if let Some(count) = self.group_directories.get_mut(group) {
            *count += 1;
        }
        let size = inode.size.get();
        if size == 0 || !size.is_multiple_of(u64::from(DIR_CHUNK)) {
            self.report_inode(number, FindingKind::DirectorySize, format_args!("{size} bytes"));
        }
        let extent = self.walk(number, inode, true)?;
        self.check_mapping(number, inode, &extent);
        let blocks = size.div_ceil(u64::from(self.geometry.bsize));
        if extent.mapped < blocks && extent.last_mapped && !extent.partial {
            let detail = format_args!("{} of {blocks} blocks are mapped", extent.mapped);
            self.report_inode(number, FindingKind::DirectoryHole, detail);
        }
        let runs = extent.runs;
        self.directories.push(Directory {
            inode: number,
            size,
            runs,
            parent: None,
            rival: None,
            dotdot: None,
        });
        Ok(())
    }

    /// The target lies in the fragments of the only block, zero-filled to their end.
    fn check_symlink(&mut self, number: u32, inode: &Inode) -> Result<()> {
        let size = inode.size.get();
        if inode.blocks.get() == 0 && INLINE_TARGET.contains(&size) && inode.direct[0].get() != 0 {
            self.report_inode(number, FindingKind::SymlinkInline, format_args!("{size} bytes"));
            return Ok(());
        }
        let extent = self.walk(number, inode, true)?;
        self.check_mapping(number, inode, &extent);
        if size == 0 || size > SYMLINK_MAX as u64 {
            self.report_inode(number, FindingKind::SymlinkTarget, format_args!("{size} bytes"));
            return Ok(());
        }
        let Some(run) = extent.runs.first() else { return Ok(()) };
        let mut block = vec![0; (run.frags * self.geometry.fsize) as usize];
        self.device.read("symbolic link", self.geometry.frag_offset(run.frag), &mut block)?;
        let (target, tail) = block.split_at(size as usize);
        if let Some(at) = target.iter().position(|&byte| byte == 0) {
            let detail = format_args!("NUL at byte {at} of {size}");
            self.report_inode(number, FindingKind::SymlinkTarget, detail);
        }
        if let Some(at) = tail.iter().position(|&byte| byte != 0) {
            let detail = format_args!("byte {} behind {size} is not zero", size as usize + at);
            self.report_inode(number, FindingKind::SymlinkTail, detail);
        }
        Ok(())
    }

    /// Devices keep their number in the second direct pointer; nothing else of the kind has blocks or a size.
    fn check_special(&mut self, number: u32, inode: &Inode) {
        let device = matches!(inode.mode.get() & MODE_TYPE, MODE_CHARACTER | MODE_BLOCK);
        let pointers = inode.direct.iter().chain(&inode.indirect).enumerate();
        let pointers =
            pointers.filter(|&(index, pointer)| pointer.get() != 0 && !(device && index == 1)).count();
        let (size, blocks) = (inode.size.get(), inode.blocks.get());
        if size != 0 || blocks != 0 || pointers != 0 {
            let kind = if device { FindingKind::DeviceNode } else { FindingKind::SpecialFile };
            let detail = format_args!("{size} bytes, {blocks} sectors, {pointers} block pointers");
            self.report_inode(number, kind, detail);
        }
    }
}

impl Totals {
    fn count(&mut self, mode_type: u16) {
        *match mode_type {
            MODE_REGULAR => &mut self.regular_files,
            MODE_DIRECTORY => &mut self.directories,
            MODE_SYMLINK => &mut self.symlinks,
            MODE_CHARACTER | MODE_BLOCK => &mut self.devices,
            _ => &mut self.others,
        } += 1;
    }
}
