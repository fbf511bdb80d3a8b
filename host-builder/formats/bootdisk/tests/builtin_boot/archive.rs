//! A boot archive just good enough for the boot-time reader of the kernel, which trusts the superblock's
//! magic number and follows pointers: blocks of 4 KiB, one cylinder group, `/etc/issue` as a symbolic link to
//! `/release`.

const FRAGMENT: usize = 1024;
const BLOCK: usize = 4096;
const SUPERBLOCK: usize = 8192;
const INODE_TABLE: usize = 28 * FRAGMENT;

const ROOT_BLOCK: u32 = 80;
const ETC_BLOCK: u32 = 84;
const LINK_BLOCK: u32 = 88;
const INDIRECT_BLOCK: u32 = 92;
const FIRST_DATA_BLOCK: u32 = 96;

struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    fn word(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn put(&mut self, fragment: u32, content: &[u8]) {
        let at = fragment as usize * FRAGMENT;
        self.bytes[at..at + content.len()].copy_from_slice(content);
    }

    fn inode(&mut self, number: usize, mode: u16, size: usize, first: u32) {
        let at = INODE_TABLE + number * 128;
        self.bytes[at..at + 2].copy_from_slice(&mode.to_le_bytes());
        self.word(at + 8, size as u32);
        // The content lies in one piece; what does not fit the twelve direct pointers goes through one
        // indirect block.
        for index in 0..size.div_ceil(BLOCK) {
            let fragment = first + (index * BLOCK / FRAGMENT) as u32;
            match index {
                0..12 => self.word(at + 40 + 4 * index, fragment),
                _ => self.word(INDIRECT_BLOCK as usize * FRAGMENT + 4 * (index - 12), fragment),
            }
        }
        if size > 12 * BLOCK {
            self.word(at + 88, INDIRECT_BLOCK);
        }
    }
}

/// A directory of one chunk.
fn directory(entries: &[(u32, &str)]) -> Vec<u8> {
    let mut chunk = Vec::new();
    for (index, (inode, name)) in entries.iter().enumerate() {
        let least = (8 + name.len() + 1).next_multiple_of(4);
        let length = if index + 1 == entries.len() { 512 - chunk.len() } else { least };
        let end = chunk.len() + length;
        chunk.extend(inode.to_le_bytes());
        chunk.extend((length as u16).to_le_bytes());
        chunk.extend((name.len() as u16).to_le_bytes());
        chunk.extend(name.bytes());
        chunk.resize(end, 0);
    }
    chunk
}

/// An archive of `size` bytes whose `/etc/issue` is `issue`. What the file system does not use is filled with
/// numbers that repeat nowhere, so that a sector loaded to a wrong place changes the digest.
pub fn archive(size: usize, issue: &[u8]) -> Vec<u8> {
    let used = FIRST_DATA_BLOCK as usize * FRAGMENT + issue.len().next_multiple_of(BLOCK);
    let mut archive = Archive { bytes: vec![0; size] };
    for at in (used..size).step_by(4) {
        archive.word(at, (at as u32).wrapping_mul(0x9E37_79B1));
    }
    for (field, value) in
        [(16, 28), (24, 0), (28, u32::MAX), (48, 4096), (52, 1024), (120, 32), (184, 32), (188, 1 << 20)]
    {
        archive.word(SUPERBLOCK + field, value);
    }
    archive.word(SUPERBLOCK + 1372, 0x0001_1954);

    archive.put(ROOT_BLOCK, &directory(&[(2, "."), (2, ".."), (4, "etc"), (6, "release")]));
    archive.put(ETC_BLOCK, &directory(&[(4, "."), (2, ".."), (0, "gone"), (5, "issue")]));
    archive.put(LINK_BLOCK, b"../release");
    archive.put(FIRST_DATA_BLOCK, issue);
    archive.inode(2, 0o040_755, 512, ROOT_BLOCK);
    archive.inode(4, 0o040_755, 512, ETC_BLOCK);
    archive.inode(5, 0o120_777, 10, LINK_BLOCK);
    archive.inode(6, 0o100_644, issue.len(), FIRST_DATA_BLOCK);
    archive.bytes
}
