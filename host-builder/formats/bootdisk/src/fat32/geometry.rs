//! Where a volume's areas lie: read from a boot record, or chosen for a new volume.

use zerocopy::FromZeros;

use super::ondisk::{BootRecord, FIRST_CLUSTER, MAX_CLUSTERS, MIN_CLUSTERS};
use crate::mbr::SECTOR;

/// FAT entries in a sector.
const ENTRIES_PER_SECTOR: u32 = 128;
/// Sectors of 8 GiB; the step at which new volumes change to the next cluster size.
const SECTORS_8_GIB: u32 = 16 << 20;
/// Clusters kept between a new volume and the limit to FAT16, because some systems draw the line a little
/// higher (FAT32 specification, "FAT type determination").
const MARGIN: u32 = 16;

/// Where new volumes have the copy of their boot record (FAT32 specification, "BPB_BkBootSec").
pub(super) const BACKUP_SECTOR: u16 = 6;

/// The areas of a FAT32 volume, checked. Sector numbers count from the volume's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Sectors in a cluster, a power of two, 1 to 128.
    pub sectors_per_cluster: u32,
    /// Sectors before the first FAT.
    pub reserved_sectors: u32,
    /// Copies of the FAT, 1 to 7.
    pub fats: u32,
    /// Sectors in one FAT.
    pub sectors_per_fat: u32,
    /// Sectors of the volume.
    pub total_sectors: u32,
    /// First cluster of the root directory.
    pub root_cluster: u32,
    /// Clusters in the data area; they are numbered from 2.
    pub clusters: u32,
}

impl Geometry {
    /// Bytes in a cluster.
    pub fn cluster_bytes(&self) -> u64 {
        u64::from(self.sectors_per_cluster) * SECTOR
    }

    /// First sector of FAT number `index` (from 0).
    pub(crate) fn fat_sector(&self, index: u32) -> u64 {
        u64::from(self.reserved_sectors) + u64::from(index) * u64::from(self.sectors_per_fat)
    }

    /// First sector of the data area.
    pub(crate) fn data_sector(&self) -> u64 {
        self.fat_sector(self.fats)
    }

    /// First sector of a cluster, which must be valid.
    pub(crate) fn cluster_sector(&self, cluster: u32) -> u64 {
        self.data_sector() + u64::from(cluster - FIRST_CLUSTER) * u64::from(self.sectors_per_cluster)
    }

    /// Whether the data area has such a cluster.
    pub(crate) fn contains(&self, cluster: u32) -> bool {
        (FIRST_CLUSTER..FIRST_CLUSTER + self.clusters).contains(&cluster)
    }

    /// Clusters that `bytes` take up.
    pub(crate) fn clusters_for(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster_bytes())
    }

    /// Checks a boot record by the rules of illumos pcfs. OEM name, label, FSInfo, hidden sectors and jump
    /// may be anything.
    pub(crate) fn check(record: &BootRecord) -> Result<Geometry, &'static str> {
        let require = |holds: bool, reason: &'static str| if holds { Ok(()) } else { Err(reason) };
        require(record.boot_signature == 0xAA55, "the boot record does not end in 55 AA")?;
        require(record.bytes_per_sector == 512, "sectors are not of 512 bytes")?;
        let sectors_per_cluster = u32::from(record.sectors_per_cluster);
        require(sectors_per_cluster.is_power_of_two(), "the cluster size is not a power of two")?;
        let reserved_sectors = u32::from(record.reserved_sectors.get());
        require(reserved_sectors > 0, "no sectors are reserved")?;
        let fats = u32::from(record.fats);
        require((1..=7).contains(&fats), "the number of FATs is not 1 to 7")?;
        require(
            record.root_entries == 0 && record.total_sectors_16 == 0 && record.sectors_per_fat_16 == 0,
            "it is FAT12 or FAT16, not FAT32",
        )?;
        require(record.version == 0, "the version of the file system is not 0")?;
        let (sectors_per_fat, total_sectors) = (record.sectors_per_fat.get(), record.total_sectors.get());
        let mut geometry = Geometry {
            sectors_per_cluster,
            reserved_sectors,
            fats,
            sectors_per_fat,
            total_sectors,
            root_cluster: record.root_cluster.get(),
            clusters: 0,
        };
        let data = u64::from(total_sectors).saturating_sub(geometry.data_sector());
        let clusters = u32::try_from(data).expect("a difference of u32 and more fits") / sectors_per_cluster;
        require(clusters >= MIN_CLUSTERS, "it has too few clusters for FAT32")?;
        require(clusters <= MAX_CLUSTERS, "it has more clusters than FAT32 can number")?;
        let capacity = u64::from(sectors_per_fat) * u64::from(ENTRIES_PER_SECTOR);
        require(capacity >= u64::from(clusters + FIRST_CLUSTER), "the FAT is too small for the clusters")?;
        geometry.clusters = clusters;
        require(geometry.contains(geometry.root_cluster), "the root directory's cluster does not exist")?;
        Ok(geometry)
    }
}

/// The boot record of a new volume of `sectors` sectors that starts at sector `hidden` of its disk, or `None`
/// when that is too small for FAT32 at 4 KiB clusters.
///
/// Clusters are of 4 KiB up to 8 GiB, and double with the size up to 32 KiB. The FATs are padded so that the
/// data area starts at a multiple of 8 KiB from the volume's start, the block size of the volumes these disks
/// become.
pub(crate) fn new_boot_record(hidden: u32, sectors: u32, serial: u32, label: [u8; 11]) -> Option<BootRecord> {
    let sectors_per_cluster: u8 = match sectors.div_ceil(SECTORS_8_GIB) {
        0..=1 => 8,
        2 => 16,
        3..=4 => 32,
        _ => 64,
    };
    let reserved = 32;
    let most_clusters = sectors.saturating_sub(reserved) / u32::from(sectors_per_cluster);
    let sectors_per_fat = (most_clusters + FIRST_CLUSTER).div_ceil(ENTRIES_PER_SECTOR).next_multiple_of(8);
    let mut record = BootRecord::new_zeroed();
    record.jump = [0xEB, 0x58, 0x90];
    record.oem = *b"MSWIN4.1"; // the name the specification asks for, since some systems check it
    record.bytes_per_sector = (SECTOR as u16).into();
    record.sectors_per_cluster = sectors_per_cluster;
    record.reserved_sectors = (reserved as u16).into();
    record.fats = 2;
    record.media = 0xF8;
    record.sectors_per_track = 63.into();
    record.heads = 255.into();
    record.hidden_sectors = hidden.into();
    record.total_sectors = sectors.into();
    record.sectors_per_fat = sectors_per_fat.into();
    record.root_cluster = FIRST_CLUSTER.into();
    record.fs_info_sector = 1.into();
    record.backup_boot_sector = BACKUP_SECTOR.into();
    record.drive = 0x80;
    record.extended_signature = 0x29;
    record.serial = serial.into();
    record.label = label;
    record.fs_type = *b"FAT32   ";
    // int 18h ("no boot device"), then halt: this sector is not the one that boots.
    record.code[..5].copy_from_slice(&[0xCD, 0x18, 0xF4, 0xEB, 0xFD]);
    record.boot_signature = 0xAA55.into();
    let geometry = Geometry::check(&record).ok()?;
    (geometry.clusters >= MIN_CLUSTERS + MARGIN).then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(mib: u32) -> Option<(BootRecord, Geometry)> {
        let record = new_boot_record(2048, mib * 2048 - 2048, 1, *b"NO NAME    ")?;
        Some((record, Geometry::check(&record).unwrap()))
    }

    #[test]
    fn sizes_get_their_clusters() {
        assert!(new(257).is_none());
        for (mib, sectors) in
            [(258, 8), (1024, 8), (8193, 8), (8194, 16), (16_385, 16), (16_386, 32), (32_770, 64)]
        {
            let (_, geometry) = new(mib).unwrap();
            assert_eq!(geometry.sectors_per_cluster, sectors, "{mib} MiB");
            assert_eq!(geometry.data_sector() % 16, 0);
            let end = geometry.cluster_sector(FIRST_CLUSTER + geometry.clusters);
            let rest = u64::from(geometry.total_sectors) - end;
            assert!(rest < u64::from(sectors), "{mib} MiB leaves {rest} sectors");
        }
        assert!(new_boot_record(2048, u32::MAX - 2048, 1, [b' '; 11]).is_some());
    }

    #[test]
    fn boot_records_pcfs_would_refuse_are_refused() {
        let (good, _) = new(1024).unwrap();
        let changes: [fn(&mut BootRecord); 13] = [
            |r| r.boot_signature = 0.into(),
            |r| r.bytes_per_sector = 4096.into(),
            |r| r.sectors_per_cluster = 0,
            |r| r.sectors_per_cluster = 3,
            |r| r.reserved_sectors = 0.into(),
            |r| r.fats = 0,
            |r| r.fats = 8,
            |r| r.root_entries = 512.into(),
            |r| r.version = 1.into(),
            |r| r.total_sectors = 100_000.into(),
            |r| r.sectors_per_fat = 8.into(),
            |r| r.sectors_per_fat = u32::MAX.into(),
            |r| r.root_cluster = 1.into(),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut record = good;
            change(&mut record);
            assert!(Geometry::check(&record).is_err(), "change {index}");
        }
    }
}
