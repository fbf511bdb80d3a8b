//! The comparison of what is on a disk beside the files: partition table, boot area, other partitions.

use anyhow::Result;
use kiln_bootdisk::mbr::Partition;

use super::compare::{Comparison, What, first_difference};
use crate::contents::disk::Disk;
use crate::contents::source::Source;

/// Compares two disks without the files in the partition whose tree is compared anyway.
///
/// # Errors
/// Either cannot be read, or has no partition table that makes sense.
pub fn compare(comparison: &mut Comparison<'_>, a: &Source, b: &Source) -> Result<()> {
    comparison.property("disk", "size", &a.size(), &b.size());
    let (a, b) = (Disk::open(a.clone())?, Disk::open(b.clone())?);
    comparison.property("disk", "signature", &hex(a.mbr.signature), &hex(b.mbr.signature));
    let fat = a.fat_partition()?.map(|(number, _)| number);
    let pairs = a.mbr.partitions.iter().zip(&b.mbr.partitions);
    for (number, (partition_a, partition_b)) in (1..).zip(pairs) {
        let place = format!("partition {number}");
        comparison.property(
            &place,
            "table entry",
            &describe(partition_a.as_ref()),
            &describe(partition_b.as_ref()),
        );
        if let (Some(partition_a), Some(partition_b)) = (partition_a, partition_b)
            && Some(number) != fat
        {
            comparison.bytes(&place, &a.partition(partition_a), &b.partition(partition_b))?;
        }
    }
    for (place, area_a, area_b) in [
        ("boot code in sector 0", a.boot_code(), b.boot_code()),
        ("boot area behind sector 0", a.boot_area(), b.boot_area()),
    ] {
        // The area ends where the first partition begins, so one may be longer; zeros there say nothing.
        let longest = area_a.size().max(area_b.size());
        let (area_a, area_b) = (zero_extended(&area_a, longest)?, zero_extended(&area_b, longest)?);
        if let Some(at) = first_difference(&area_a, &area_b)? {
            comparison.differs(place, What::Content(format!("content differs from byte {at} on")));
        }
    }
    Ok(())
}

/// Boot areas are small: [`Disk::boot_area`] bounds them.
fn zero_extended(area: &Source, size: u64) -> Result<Source> {
    let mut bytes = area.head(size as usize)?;
    bytes.resize(size as usize, 0);
    Ok(Source::new(bytes, size))
}

fn hex(number: u32) -> String {
    format!("{number:08x}")
}

fn describe(partition: Option<&Partition>) -> String {
    match partition {
        None => "empty".to_owned(),
        Some(partition) => format!(
            "type {:#04x}{}, sectors {} to {}",
            partition.kind,
            if partition.active { ", active" } else { "" },
            partition.first_lba,
            partition.last_lba()
        ),
    }
}
