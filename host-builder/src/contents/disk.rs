//! A disk with a partition table.

use anyhow::{Result, anyhow};
use kiln_bootdisk::mbr::{Mbr, Partition, SECTOR, TYPE_GPT_PROTECTIVE};

use super::shape::{self, Shape};
use super::source::Source;
use crate::report::Hint;

/// Largest boot area that is looked at, in bytes. Partitions begin at 63 or 2048 sectors, 8 MiB on some cards.
const MAX_BOOT_AREA: u64 = 16 << 20;

/// A disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Its first sector.
    pub mbr: Mbr,
    source: Source,
}

impl Disk {
    /// Reads the partition table.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn open(source: Source) -> Result<Disk> {
        let mbr = Mbr::read(&source).hint("this does not look like a disk that firmware could boot")?;
        Ok(Disk { mbr, source })
    }

    /// The whole disk.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The bytes of a partition, as far as the disk has them.
    pub fn partition(&self, partition: &Partition) -> Source {
        self.source.slice(partition.offset(), u64::from(partition.sectors) * SECTOR)
    }

    /// Number (from 1) and entry of the first partition that holds a FAT, whatever its type says.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn fat_partition(&self) -> Result<Option<(usize, Partition)>> {
        for (number, partition) in (1..).zip(&self.mbr.partitions) {
            let Some(partition) = partition else { continue };
            if partition.kind != TYPE_GPT_PROTECTIVE && shape::of(&self.partition(partition))? == Shape::Fat {
                return Ok(Some((number, *partition)));
            }
        }
        Ok(None)
    }

    /// As [`fat_partition`](Self::fat_partition), where there must be one.
    ///
    /// # Errors
    /// There is none.
    pub fn require_fat(&self) -> Result<(usize, Partition)> {
        if let Some(found) = self.fat_partition()? {
            return Ok(found);
        }
        if self.mbr.partitions.iter().flatten().any(|partition| partition.kind == TYPE_GPT_PROTECTIVE) {
            return Err(anyhow!("the disk has a GPT, whose partitions kiln does not read"))
                .hint("retro images keep their files in partition 1 of an MBR");
        }
        Err(anyhow!("no partition of the disk holds a FAT")).hint("`kiln inspect` shows its partition table")
    }

    /// The boot code in the first sector.
    pub fn boot_code(&self) -> Source {
        self.source.slice(0, self.mbr.code.len() as u64)
    }

    /// What stands between the first sector and the first partition.
    pub fn boot_area(&self) -> Source {
        let end = self.mbr.partitions.iter().flatten().map(Partition::offset).min().unwrap_or(SECTOR);
        self.source.slice(SECTOR, end.saturating_sub(SECTOR).min(MAX_BOOT_AREA))
    }
}
