//! The boot archive, read the way illumos reads it before its root is mounted (common/fs/ufsops.c): the magic
//! number alone decides, paths are looked up entry by entry, symbolic links are read from their first block,
//! holes are unknown.
//!
//! Unlike that reader this one ends with words, not with a fault, when the archive is damaged.

const SUPERBLOCK: usize = 8192;
const MAGIC: u32 = 0x0001_1954;
const ROOT: u32 = 2;
const INODE_BYTES: usize = 128;
const DIRECT: u64 = 12;
const FORMAT: u16 = 0xF000;
const DIRECTORY: u16 = 0x4000;
const LINK: u16 = 0xA000;
const REGULAR: u16 = 0x8000;
/// Links are read from the first 512 bytes of their block.
const LINK_BYTES: usize = 512;
const MAX_LINKS: usize = 16;
const MAX_DIRECTORY: u64 = 16 << 20;

const DAMAGED: &str = "the boot archive is damaged";

/// An archive.
pub struct Ufs<'a> {
    image: &'a [u8],
    block_bytes: u64,
    fragment_bytes: u64,
    inodes_per_block: u32,
    inodes_per_group: u32,
    fragments_per_group: u64,
    inode_table: u64,
    group_offset: u64,
    group_mask: u32,
}

/// An inode.
#[derive(Clone, Copy)]
pub struct Inode<'a> {
    bytes: &'a [u8],
}

impl Inode<'_> {
    fn format(&self) -> u16 {
        half(self.bytes, 0).unwrap_or_default() & FORMAT
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        let part = |at| u64::from(word(self.bytes, at).unwrap_or_default());
        part(8) | part(12) << 32
    }

    /// Fragment number of direct block `index`, or (from 12 on) of an indirect block.
    fn pointer(&self, index: u64) -> u64 {
        word(self.bytes, 40 + 4 * index as usize).unwrap_or_default().into()
    }
}

impl<'a> Ufs<'a> {
    /// The file system in `image`.
    pub fn open(image: &'a [u8]) -> Result<Self, &'static str> {
        let superblock = image.get(SUPERBLOCK..SUPERBLOCK + 1380).ok_or("the boot archive is too short")?;
        let field = |at| word(superblock, at).unwrap_or_default();
        if field(1372) != MAGIC {
            return Err("the boot archive is not UFS");
        }
        let ufs = Self {
            image,
            block_bytes: field(48).into(),
            fragment_bytes: field(52).into(),
            inodes_per_block: field(120),
            inodes_per_group: field(184),
            fragments_per_group: field(188).into(),
            inode_table: field(16).into(),
            group_offset: field(24).into(),
            group_mask: field(28),
        };
        let sane = ufs.block_bytes.is_power_of_two()
            && (4096..=8192).contains(&ufs.block_bytes)
            && ufs.fragment_bytes >= 512
            && ufs.inodes_per_block > 0
            && ufs.inodes_per_group > 0;
        if sane { Ok(ufs) } else { Err(DAMAGED) }
    }

    fn inode(&self, number: u32) -> Result<Inode<'a>, &'static str> {
        let (group, index) = (number / self.inodes_per_group, number % self.inodes_per_group);
        let start = self.fragments_per_group * u64::from(group)
            + self.group_offset * u64::from(group & !self.group_mask);
        let table = (start + self.inode_table) * self.fragment_bytes;
        let block = u64::from(index / self.inodes_per_block) * self.block_bytes;
        let place = (table + block) as usize + (index % self.inodes_per_block) as usize * INODE_BYTES;
        let bytes = self.image.get(place..place + INODE_BYTES).ok_or(DAMAGED)?;
        Ok(Inode { bytes })
    }

    /// The whole block at fragment `fragment`.
    fn block(&self, fragment: u64) -> Result<&'a [u8], &'static str> {
        let start = (fragment * self.fragment_bytes) as usize;
        // The last block of an image may be cut short.
        let end = (start + self.block_bytes as usize).min(self.image.len());
        self.image.get(start..end).ok_or(DAMAGED)
    }

    /// Fragment number of block `index` of a file.
    fn map(&self, inode: &Inode, index: u64) -> Result<u64, &'static str> {
        if index < DIRECT {
            return Ok(inode.pointer(index));
        }
        let per_block = self.block_bytes / 4;
        let mut rest = index - DIRECT;
        let mut span = 1;
        for level in 0..3 {
            span *= per_block;
            if rest < span {
                let mut fragment = inode.pointer(DIRECT + level);
                while span > 1 {
                    span /= per_block;
                    let table = self.block(fragment)?;
                    fragment = word(table, (rest / span) as usize * 4).ok_or(DAMAGED)?.into();
                    rest %= span;
                }
                return Ok(fragment);
            }
            rest -= span;
        }
        Err(DAMAGED)
    }

    /// Passes the content of a regular file or directory to `sink`, block by block.
    pub fn read(&self, inode: &Inode, mut sink: impl FnMut(&'a [u8])) -> Result<(), &'static str> {
        let size = inode.size();
        for index in 0..size.div_ceil(self.block_bytes) {
            let length = (size - index * self.block_bytes).min(self.block_bytes);
            let block = self.block(self.map(inode, index)?)?;
            sink(block.get(..length as usize).ok_or(DAMAGED)?);
        }
        Ok(())
    }

    /// The regular file at the absolute path `path`.
    pub fn lookup(&self, path: &'a [u8]) -> Result<Inode<'a>, &'static str> {
        let inode = self.walk(ROOT, path, MAX_LINKS)?;
        let inode = self.inode(inode)?;
        if inode.format() == REGULAR { Ok(inode) } else { Err("/etc/issue is not a regular file") }
    }

    /// The inode number of `path`, which starts in the directory `from` unless it starts with a slash.
    fn walk(&self, from: u32, path: &'a [u8], links: usize) -> Result<u32, &'static str> {
        let mut current = if path.starts_with(b"/") { ROOT } else { from };
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let parent = current;
            current = self.find(parent, name)?;
            let inode = self.inode(current)?;
            if inode.format() == LINK {
                let links = links.checked_sub(1).ok_or("too many symbolic links in the boot archive")?;
                let target = self.block(inode.pointer(0))?.get(..LINK_BYTES).ok_or(DAMAGED)?;
                let target = target.split(|&byte| byte == 0).next().unwrap_or_default();
                current = self.walk(parent, target, links)?;
            }
        }
        Ok(current)
    }

    fn find(&self, directory: u32, name: &[u8]) -> Result<u32, &'static str> {
        let inode = self.inode(directory)?;
        if inode.format() != DIRECTORY || inode.size() > MAX_DIRECTORY {
            return Err(DAMAGED);
        }
        let mut found = None;
        let mut damaged = false;
        self.read(&inode, |mut entries| {
            while let (Some(number), Some(length), Some(name_length)) =
                (word(entries, 0), half(entries, 4), half(entries, 6))
            {
                if number != 0 && entries.get(8..8 + usize::from(name_length)) == Some(name) {
                    found = found.or(Some(number));
                }
                if length < 8 {
                    damaged = true;
                    break;
                }
                entries = entries.get(usize::from(length)..).unwrap_or_default();
            }
        })?;
        if damaged { Err(DAMAGED) } else { found.ok_or("the boot archive has no /etc/issue") }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}
