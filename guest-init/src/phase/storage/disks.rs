//! The disks of the machine.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::OFlags;

use super::content::{self, Content, ReadDisk};
use super::ioctl;

/// Where the names of disks are.
const FOLDER: &str = "/dev/rdsk";

/// What the name of a whole disk ends in, on x86, whatever its label.
const WHOLE: &str = "p0";

/// Most disks that are looked at.
const MOST: usize = 512;

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its name, such as `c1t0d0`.
    pub name: String,
    /// Whether it can be taken out.
    pub removable: bool,
    /// Its size in bytes and that of a block, or why they are not known. A drive without a medium has none.
    pub size: Result<(u64, u64), String>,
}

/// The disks of the machine, by name.
pub fn all() -> Result<Vec<Disk>> {
    let entries = match fs::read_dir(FOLDER) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {FOLDER}")),
    };
    let mut names = Vec::new();
    for entry in entries.take(64 * MOST) {
        let name = entry.with_context(|| format!("cannot list {FOLDER}"))?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(WHOLE)).map(str::to_owned));
    }
    names.sort_unstable();
    names.truncate(MOST);
    Ok(names.into_iter().filter_map(ask).collect())
}

/// What a disk says of itself; none if there is no disk behind the name, as for names of disks that are gone.
fn ask(name: String) -> Option<Disk> {
    let file = match open(&name) {
        Ok(file) => file,
        Err(error) if is_gone(&error) => return None,
        Err(error) => return Some(Disk { name, removable: false, size: Err(error.to_string()) }),
    };
    // One that does not know the question cannot be taken out.
    let removable = ioctl::is_removable(&file).unwrap_or(false);
    let size = ioctl::media(&file).map_err(|error| error.to_string()).and_then(|media| {
        let block = u64::from(media.block);
        let bytes = media.blocks.checked_mul(block).filter(|&bytes| bytes > 0);
        bytes.map(|bytes| (bytes, block)).ok_or_else(|| "it has no size".to_owned())
    });
    Some(Disk { name, removable, size })
}

/// Whether opening failed because no device is behind the name (ENXIO, ENODEV, or a link to nowhere).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || [rustix::io::Errno::NXIO, rustix::io::Errno::NODEV]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn open(name: &str) -> io::Result<File> {
    let path = Path::new(FOLDER).join(format!("{name}{WHOLE}"));
    // Drives without a medium can be opened, and terminals do not become ours.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)
}

struct Raw {
    file: File,
    bytes: u64,
}

/// The most that is read at a time, in bytes; drivers split more than that in any case.
const CHUNK: usize = 256 << 10;

impl ReadDisk for Raw {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|&end| end <= self.bytes);
        if end.is_none() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let mut offset = offset;
        for chunk in buffer.chunks_mut(CHUNK) {
            self.file.read_exact_at(chunk, offset)?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }
}

impl Disk {
    /// Reads enough of the disk to tell what is on it.
    pub fn content(&self) -> Result<Content, String> {
        let (bytes, block) = self.size.clone()?;
        let raw = Raw { file: open(&self.name).map_err(|error| error.to_string())?, bytes };
        content::examine(&raw, bytes, block).map_err(|error| error.to_string())
    }

    /// Whether its first partition holds a FAT file system, by the partition table and the boot record; or why that is not
    /// known.
    pub fn has_fat_first(&self) -> Result<bool, String> {
        let (bytes, block) = match &self.size {
            Ok(size) => *size,
            // There is no medium in it.
            Err(_) if self.removable => return Ok(false),
            Err(reason) => return Err(reason.clone()),
        };
        let file = open(&self.name).map_err(|error| error.to_string())?;
        has_fat_first(&Raw { file, bytes }, bytes, block).map_err(|error| error.to_string())
    }
}

fn has_fat_first(disk: &dyn ReadDisk, bytes: u64, block: u64) -> io::Result<bool> {
    let mut record = vec![0; block.clamp(512, 1 << 16) as usize];
    if bytes < record.len() as u64 {
        return Ok(false);
    }
    disk.read_at(0, &mut record)?;
    let start = fat_partition(&record).map(|start| u64::from(start).saturating_mul(block));
    // A table may tell of more than there is.
    let Some(start) = start.filter(|&start| start < bytes && bytes - start >= record.len() as u64) else {
        return Ok(false);
    };
    disk.read_at(start, &mut record)?;
    Ok(is_fat(&record))
}

/// Where the first partition of a partition table begins, in blocks, if it is of a type for FAT.
fn fat_partition(table: &[u8]) -> Option<u32> {
    if table.get(510..512) != Some(b"\x55\xaa") {
        return None;
    }
    let entry = table.get(446..462)?;
    let is_fat = matches!(entry[4], 0x01 | 0x04 | 0x06 | 0x0b | 0x0c | 0x0e);
    let start = entry[8..].first_chunk().copied().map(u32::from_le_bytes)?;
    (is_fat && start > 0).then_some(start)
}

/// Whether a boot record is one that `pcfs` would mount (usr/src/uts/common/fs/pcfs/pc_vfsops.c): it has a signature, blocks and
/// clusters of a sensible size, and one to seven tables.
fn is_fat(record: &[u8]) -> bool {
    let block =
        record.get(11..13).and_then(|bytes| bytes.first_chunk().copied()).map_or(0, u16::from_le_bytes);
    record.get(510..512) == Some(b"\x55\xaa")
        && block.is_power_of_two()
        && (512..=4096).contains(&block)
        && record[13].is_power_of_two()
        && (1..=7).contains(&record[16])
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bytes(Vec<u8>);

    impl ReadDisk for Bytes {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            let at = offset as usize;
            let bytes = self.0.get(at..at + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        }
    }

    #[test]
    fn a_key_is_looked_for_on_blocks_of_any_size() {
        for block in [512, 4096] {
            let start = 2048 * block;
            let mut disk = vec![0; start + block];
            disk[..512].copy_from_slice(&table());
            disk[start..start + 512].copy_from_slice(&boot_record());
            let looked = |bytes: usize, block: usize| {
                has_fat_first(&Bytes(disk[..bytes.min(disk.len())].to_vec()), bytes as u64, block as u64)
            };
            assert!(looked(disk.len(), block).expect("looked"));
            assert!(!looked(start, block).expect("looked"), "the table tells of more than there is");
            assert!(!looked(256, block).expect("looked"), "a disk without room for anything");
            looked(disk.len() + block, block).expect("what is there can be read");
            disk[start..start + 512].fill(0);
            assert!(!has_fat_first(&Bytes(disk.clone()), disk.len() as u64, block as u64).expect("looked"));
            has_fat_first(&Bytes(disk[..start].to_vec()), disk.len() as u64, block as u64)
                .expect_err("the boot record cannot be read");
        }
    }

    fn table() -> Vec<u8> {
        let mut table = vec![0; 512];
        table[510..].copy_from_slice(b"\x55\xaa");
        table[450] = 0x0c;
        table[454..458].copy_from_slice(&2048_u32.to_le_bytes());
        table
    }

    fn boot_record() -> Vec<u8> {
        let mut record = vec![0; 512];
        record[510..].copy_from_slice(b"\x55\xaa");
        record[11..13].copy_from_slice(&512_u16.to_le_bytes());
        record[13] = 8;
        record[16] = 2;
        record
    }

    #[test]
    fn a_disk_that_is_smaller_than_it_says_is_not_blank() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(10 << 20).expect("set");
        let raw = Raw { file, bytes: 20 << 20 };
        content::examine(&raw, 10 << 20, 512).expect("as large as it is");
        let error = content::examine(&raw, 20 << 20, 512).expect_err("it ends early");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = content::examine(&raw, 40 << 20, 512).expect_err("nobody asked for that");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_fat_partition_is_found_in_the_table() {
        assert_eq!(fat_partition(&table()), Some(2048));
        for (at, value) in [(510, 0), (450, 0xbf), (450, 0xee), (455, 0)] {
            let mut table = table();
            table[at] = value;
            assert_eq!(fat_partition(&table), None, "{at}");
        }
        assert_eq!(fat_partition(&[]), None);
    }

    #[test]
    fn a_boot_record_is_told_from_noise() {
        assert!(is_fat(&boot_record()));
        for (at, value) in [(510, 0), (12, 3), (13, 0), (13, 3), (16, 0), (16, 8)] {
            let mut record = boot_record();
            record[at] = value;
            assert!(!is_fat(&record), "{at}");
        }
        assert!(!is_fat(&[]));
    }
}
