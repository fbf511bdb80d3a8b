//! A writer of qcow2 images, version 3: uncompressed, without snapshots or backing file.
//!
//! The layout is fixed by the disk's size and by which clusters are zero, so the same disk gives the same file. Zero
//! clusters are left out. Source of the format: QEMU, docs/interop/qcow2.rst.

use std::io::{self, Write};

/// Log2 of the cluster size; 64 KiB is what qemu-img uses too.
const CLUSTER_BITS: u32 = 16;
/// Bytes of a cluster.
pub const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Bytes of one entry of the L1, L2 and refcount tables.
const ENTRY: u64 = 8;
/// Clusters that one L2 table describes.
const L2_ENTRIES: u64 = CLUSTER / ENTRY;
/// Clusters whose 16-bit reference counts fill one cluster.
const REFCOUNTS: u64 = CLUSTER / 2;
/// "The reference count of what this points to is exactly one", in L1 and L2 entries.
const COPIED: u64 = 1 << 63;
/// Bytes of a version 3 header without extensions.
const HEADER_BYTES: u32 = 104;
/// Cluster of the refcount table: right behind the header.
const TABLE_AT: u64 = 1;
/// Largest L1 table that QEMU opens, in bytes (`QCOW_MAX_L1_SIZE`).
const MAX_L1_BYTES: u64 = 32 << 20;

/// Where everything goes: header, refcount table, refcount blocks, L1 table, L2 tables, data.
#[derive(Debug)]
pub struct Layout {
    size: u64,
    /// Which clusters of the disk are not zero.
    used: Vec<bool>,
    table_clusters: u64,
    block_clusters: u64,
    l1_clusters: u64,
    /// Number of L1 entries that have an L2 table.
    l2_tables: u64,
    data_clusters: u64,
}

/// The disk is too large for the format as this writer uses it.
#[derive(Debug, thiserror::Error)]
#[error("a disk of {0} bytes is larger than QEMU opens as qcow2 with clusters of 64 KiB")]
pub struct TooLarge(u64);

impl Layout {
    /// Plans the image of a disk of `size` bytes, whose clusters are zero where `used` is false.
    ///
    /// # Errors
    /// QEMU would not open the image.
    pub fn new(size: u64, mut used: Vec<bool>) -> Result<Layout, TooLarge> {
        let l1_entries = size.div_ceil(CLUSTER).div_ceil(L2_ENTRIES);
        if l1_entries * ENTRY > MAX_L1_BYTES {
            return Err(TooLarge(size));
        }
        used.resize(size.div_ceil(CLUSTER) as usize, false);
        let l1_clusters = (l1_entries * ENTRY).div_ceil(CLUSTER);
        let l2_tables = used.chunks(L2_ENTRIES as usize).filter(|table| table.contains(&true)).count() as u64;
        let data_clusters = used.iter().filter(|used| **used).count() as u64;
        // The refcount blocks count themselves and the table that points to them, so grow both until all fits.
        let (mut table_clusters, mut block_clusters) = (1, 1);
        loop {
            let total = 1 + table_clusters + block_clusters + l1_clusters + l2_tables + data_clusters;
            let blocks = total.div_ceil(REFCOUNTS);
            let tables = (blocks * ENTRY).div_ceil(CLUSTER);
            if blocks <= block_clusters && tables <= table_clusters {
                break;
            }
            (table_clusters, block_clusters) = (tables.max(table_clusters), blocks.max(block_clusters));
        }
        Ok(Layout { size, used, table_clusters, block_clusters, l1_clusters, l2_tables, data_clusters })
    }

    fn blocks_at(&self) -> u64 {
        TABLE_AT + self.table_clusters
    }

    fn l1_at(&self) -> u64 {
        self.blocks_at() + self.block_clusters
    }

    fn l2_at(&self) -> u64 {
        self.l1_at() + self.l1_clusters
    }

    fn data_at(&self) -> u64 {
        self.l2_at() + self.l2_tables
    }

    /// Clusters of the disk that the image holds, in order, as offsets on the disk in bytes.
    pub fn data_offsets(&self) -> impl Iterator<Item = u64> {
        self.used.iter().zip(0_u64..).filter(|(used, _)| **used).map(|(_, index)| index * CLUSTER)
    }

    /// Writes everything in front of the data. Behind it the clusters of [`data_offsets`](Self::data_offsets) follow,
    /// each [`CLUSTER`] bytes long.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write_metadata(&self, out: &mut impl Write) -> io::Result<()> {
        let mut cluster = self.header();
        cluster.resize(CLUSTER as usize, 0);
        out.write_all(&cluster)?;
        let total = self.data_at() + self.data_clusters;
        let used_blocks = total.div_ceil(REFCOUNTS);
        write_padded(
            out,
            (0..used_blocks).map(|index| (self.blocks_at() + index) * CLUSTER),
            self.table_clusters,
        )?;
        for block in 0..self.block_clusters {
            cluster.clear();
            for index in block * REFCOUNTS..(block + 1) * REFCOUNTS {
                cluster.extend(u16::from(index < total).to_be_bytes());
            }
            out.write_all(&cluster)?;
        }
        let tables = || self.used.chunks(L2_ENTRIES as usize);
        let mut next_table = self.l2_at();
        let l1 = tables().map(|table| if table.contains(&true) { take(&mut next_table) } else { 0 });
        write_padded(out, l1, self.l1_clusters)?;
        let mut next_data = self.data_at();
        for table in tables().filter(|table| table.contains(&true)) {
            write_padded(out, table.iter().map(|used| if *used { take(&mut next_data) } else { 0 }), 1)?;
        }
        Ok(())
    }

    fn header(&self) -> Vec<u8> {
        let l1_entries = self.used.len().div_ceil(L2_ENTRIES as usize) as u64;
        // Value and width in bytes of each field, in order, all big-endian.
        let fields: [(u64, usize); 18] = [
            (0x5146_49FB, 4), // magic: "QFI" and 0xFB
            (3, 4),           // version
            (0, 8),           // name of the backing file: none
            (0, 4),           // its length
            (CLUSTER_BITS.into(), 4),
            (self.size, 8),
            (0, 4), // not encrypted
            (l1_entries, 4),
            (self.l1_at() * CLUSTER, 8),
            (TABLE_AT * CLUSTER, 8),
            (self.table_clusters, 4),
            (0, 4), // snapshots: none
            (0, 8), // their table
            (0, 8), // incompatible features
            (0, 8), // compatible features
            (0, 8), // autoclear features
            (4, 4), // log2 of the bits of a reference count
            (HEADER_BYTES.into(), 4),
        ];
        // Header extensions would follow; the zeros behind the header are the one that ends their list.
        fields.iter().flat_map(|&(value, width)| value.to_be_bytes()[8 - width..].to_vec()).collect()
    }
}

/// The entry for the next cluster of its kind.
fn take(next: &mut u64) -> u64 {
    *next += 1;
    ((*next - 1) * CLUSTER) | COPIED
}

fn write_padded(out: &mut impl Write, entries: impl Iterator<Item = u64>, clusters: u64) -> io::Result<()> {
    let mut bytes: Vec<u8> = entries.flat_map(u64::to_be_bytes).collect();
    bytes.resize((clusters * CLUSTER) as usize, 0);
    out.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(image: &[u8], at: u64) -> u64 {
        u64::from_be_bytes(image[at as usize..at as usize + 8].try_into().unwrap())
    }

    #[test]
    fn every_cluster_is_counted_once_and_found_through_both_tables() {
        // Two L2 tables apart, so that one L1 entry between them stays empty.
        let clusters = 2 * L2_ENTRIES + 3;
        let mut used = vec![false; clusters as usize];
        used[1] = true;
        used[clusters as usize - 1] = true;
        let layout = Layout::new(clusters * CLUSTER - 512, used).unwrap();
        let offsets: Vec<u64> = layout.data_offsets().collect();
        assert_eq!(offsets, [CLUSTER, (clusters - 1) * CLUSTER]);
        let mut image = Vec::new();
        layout.write_metadata(&mut image).unwrap();
        // Header, refcount table, one refcount block, L1, two L2 tables.
        assert_eq!(image.len() as u64, 6 * CLUSTER);
        assert_eq!(&image[..8], b"QFI\xfb\0\0\0\x03");
        assert_eq!(entry(&image, 24), clusters * CLUSTER - 512);
        assert_eq!(entry(&image, CLUSTER), 2 * CLUSTER);
        let counts = &image[2 * CLUSTER as usize..3 * CLUSTER as usize];
        assert!(counts.chunks(2).enumerate().all(|(at, count)| count == [0, u8::from(at < 8)]));
        assert_eq!(
            [0, 8, 16].map(|at| entry(&image, 3 * CLUSTER + at)),
            [(4 * CLUSTER) | COPIED, 0, (5 * CLUSTER) | COPIED]
        );
        assert_eq!(entry(&image, 4 * CLUSTER + 8), (6 * CLUSTER) | COPIED);
        assert_eq!(entry(&image, 5 * CLUSTER + 16), (7 * CLUSTER) | COPIED);
    }

    #[test]
    fn what_qemu_would_not_open_is_refused() {
        assert!(Layout::new(2 << 40, Vec::new()).is_ok());
        assert!(Layout::new(3 << 50, Vec::new()).is_err());
    }
}
