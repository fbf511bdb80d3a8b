//! The PC partition table in sector 0 (master boot record).

use positioned_io::ReadAt;
use thiserror::Error;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Bytes in a sector, everywhere in this crate: SmartOS guests see 512-byte logical sectors.
pub const SECTOR: u64 = 512;
/// First sector of partition 1 on disks made here: 1 MiB, as every partitioner has aligned since 2010.
pub const PARTITION_LBA: u32 = 2048;
/// Partition type "FAT32, addressed by LBA".
pub const TYPE_FAT32_LBA: u8 = 0x0C;
/// Partition type of the protective entry of a GPT.
pub const TYPE_GPT_PROTECTIVE: u8 = 0xEE;
/// Bytes of boot code before the disk signature.
pub const CODE_BYTES: usize = 440;
/// Offset of the two bytes by which SmartOS platforms since 2019 tell versions of a boot disk, and their
/// value for "boot files in the FAT of partition 1" (smartos-live, src/lib/sdc/usb-key.sh). GRUB legacy keeps
/// its compatibility version in the same place, with the same value.
pub const KEY_VERSION: (usize, [u8; 2]) = (0x3E, [3, 2]);

/// Sector 0 as it stands on disk.
#[repr(C)]
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct MbrSector {
    /// Boot code the firmware starts at 0x7C00.
    pub code: [u8; CODE_BYTES],
    /// Disk signature; 0 when the disk has none.
    pub signature: U32,
    /// 0, or 0x5A5A on write-protected media.
    pub reserved: U16,
    /// The four primary partitions.
    pub partitions: [PartitionEntry; 4],
    /// 0xAA55.
    pub boot_signature: U16,
}

/// One entry of the partition table as it stands on disk.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
pub(crate) struct PartitionEntry {
    /// 0x80 active, 0 not.
    pub status: u8,
    /// Cylinder, head and sector of the first sector, packed; see [`chs`].
    pub first_chs: [u8; 3],
    /// Partition type; 0 marks an unused entry.
    pub kind: u8,
    /// Cylinder, head and sector of the last sector, packed.
    pub last_chs: [u8; 3],
    /// First sector.
    pub first_lba: U32,
    /// Number of sectors.
    pub sectors: U32,
}

const _: () = assert!(size_of::<MbrSector>() == SECTOR as usize);

/// One primary partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Whether the partition is flagged active.
    pub active: bool,
    /// Partition type, such as [`TYPE_FAT32_LBA`]; never 0.
    pub kind: u8,
    /// First sector.
    pub first_lba: u32,
    /// Number of sectors, never 0.
    pub sectors: u32,
}

/// A master boot record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mbr {
    /// The boot code.
    pub code: [u8; CODE_BYTES],
    /// The disk signature, 0 when there is none.
    pub signature: u32,
    /// The primary partitions 1 to 4.
    pub partitions: [Option<Partition>; 4],
}

/// Why sector 0 holds no usable partition table.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MbrError {
    /// Sector 0 cannot be read.
    #[error("cannot read sector 0 of the disk")]
    Io(#[source] std::io::Error),
    /// The last two bytes of the sector are not 55 AA.
    #[error("sector 0 does not end in 55 AA, so it holds no partition table")]
    NoSignature,
    /// An entry makes no sense.
    #[error("partition {number} in sector 0 {reason}")]
    BadPartition {
        /// Partition number, from 1.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Mbr {
    /// Reads sector 0 and checks it: 55 AA, a known status byte in each used entry, a start and a length that
    /// are not 0 and stay within 32 bits, and no overlaps. Cylinder, head and sector numbers are not looked
    /// at.
    pub fn read(device: &dyn ReadAt) -> Result<Mbr, MbrError> {
        let mut sector = MbrSector::new_zeroed();
        device.read_exact_at(0, sector.as_mut_bytes()).map_err(MbrError::Io)?;
        if sector.boot_signature != 0xAA55 {
            return Err(MbrError::NoSignature);
        }
        let mut partitions = [None; 4];
        for (index, entry) in sector.partitions.iter().enumerate() {
            let bad = |reason| MbrError::BadPartition { number: index + 1, reason };
            if entry.kind == 0 {
                continue;
            }
            if entry.status & 0x7F != 0 {
                return Err(bad("has a status that is neither 00 nor 80"));
            }
            let (first_lba, sectors) = (entry.first_lba.get(), entry.sectors.get());
            if first_lba == 0 || sectors == 0 {
                return Err(bad("starts at sector 0 or is empty"));
            }
            if first_lba.checked_add(sectors - 1).is_none() {
                return Err(bad("ends behind the last sector that 32 bits can name"));
            }
            let new = Partition { active: entry.status == 0x80, kind: entry.kind, first_lba, sectors };
            if partitions[..index].iter().flatten().any(|other| new.overlaps(other)) {
                return Err(bad("overlaps an earlier one"));
            }
            partitions[index] = Some(new);
        }
        Ok(Mbr { code: sector.code, signature: sector.signature.get(), partitions })
    }

    /// The sector's bytes.
    pub fn to_bytes(&self) -> [u8; SECTOR as usize] {
        let mut sector = MbrSector::new_zeroed();
        sector.code = self.code;
        sector.signature = self.signature.into();
        for (entry, partition) in sector.partitions.iter_mut().zip(&self.partitions) {
            let Some(partition) = partition else { continue };
            *entry = PartitionEntry {
                status: if partition.active { 0x80 } else { 0 },
                first_chs: chs(partition.first_lba),
                kind: partition.kind,
                last_chs: chs(partition.last_lba()),
                first_lba: partition.first_lba.into(),
                sectors: partition.sectors.into(),
            };
        }
        sector.boot_signature = 0xAA55.into();
        zerocopy::transmute!(sector)
    }
}

impl Partition {
    /// The last sector of the partition.
    pub fn last_lba(&self) -> u32 {
        self.first_lba.saturating_add(self.sectors.saturating_sub(1))
    }

    /// Offset of the partition on the disk, in bytes.
    pub fn offset(&self) -> u64 {
        u64::from(self.first_lba) * SECTOR
    }

    fn overlaps(&self, other: &Partition) -> bool {
        self.first_lba <= other.last_lba() && other.first_lba <= self.last_lba()
    }
}

/// A sector's cylinder, head and sector number for the geometry firmware assumes of LBA disks (255 heads, 63
/// sectors a track), packed as in a partition entry. Sectors past cylinder 1023 get the largest address, FE
/// FF FF.
fn chs(lba: u32) -> [u8; 3] {
    let (track, sector) = (lba / 63, lba % 63 + 1);
    let (cylinder, head) = (track / 255, track % 255);
    if cylinder > 1023 {
        return [0xFE, 0xFF, 0xFF];
    }
    [head as u8, (sector | (cylinder >> 8) << 6) as u8, cylinder as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Mbr {
        let partition =
            Partition { active: true, kind: TYPE_FAT32_LBA, first_lba: 2048, sectors: 2_097_152 - 2048 };
        Mbr { code: [0x90; 440], signature: 0x1234_5678, partitions: [Some(partition), None, None, None] }
    }

    #[test]
    fn what_is_written_reads_back() {
        let bytes = sample().to_bytes();
        assert_eq!(Mbr::read(&&bytes[..]).unwrap(), sample());
        // 2048 is cylinder 0, head 32, sector 33; 2,097,151 is cylinder 130, head 138, sector 8.
        assert_eq!(bytes[446..462], [0x80, 32, 33, 0, 0x0C, 138, 8, 130, 0, 8, 0, 0, 0, 0xF8, 0x1F, 0]);
    }

    #[test]
    fn chs_is_clamped_where_cylinders_end() {
        assert_eq!(chs(63), [1, 1, 0]);
        assert_eq!(chs(1024 * 255 * 63 - 1), [0xFE, 0xFF, 0xFF]);
        assert_eq!(chs(1023 * 255 * 63), [0, 0xC1, 0xFF]);
        assert_eq!(chs(u32::MAX), [0xFE, 0xFF, 0xFF]);
    }

    #[test]
    fn nonsense_is_refused() {
        let read = |change: &dyn Fn(&mut [u8])| {
            let mut bytes = sample().to_bytes();
            change(&mut bytes);
            Mbr::read(&&bytes[..])
        };
        assert!(matches!(read(&|b| b[510] = 0), Err(MbrError::NoSignature)));
        assert!(matches!(read(&|b| b[446] = 1), Err(MbrError::BadPartition { number: 1, .. })));
        assert!(matches!(read(&|b| b[458..462].fill(0)), Err(MbrError::BadPartition { number: 1, .. })));
        assert!(matches!(read(&|b| b[458..462].fill(0xFF)), Err(MbrError::BadPartition { number: 1, .. })));
        assert!(matches!(
            read(&|b| b.copy_within(446..462, 494)),
            Err(MbrError::BadPartition { number: 4, reason: "overlaps an earlier one" })
        ));
        assert!(matches!(Mbr::read(&&[0u8; 100][..]), Err(MbrError::Io(_))));
    }
}
