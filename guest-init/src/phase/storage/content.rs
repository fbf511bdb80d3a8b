//! What is on a disk: nothing, what an interrupted `zpool create` leaves, or something.

use std::io;
use std::ops::Range;

/// Reads a disk.
pub trait ReadDisk {
    /// Fills `buffer` from `offset`; both are whole blocks of the disk.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// What is on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Everything that was looked at is zero.
    Blank,
    /// The label that `zpool create` begins with, and no pool.
    Unfinished,
    /// Something; what, as the owner would be told.
    Something(String),
}

/// How much of either end of the disk is read, in bytes. Boot records, partition tables and the superblocks of file
/// systems, volume managers and RAIDs all have their place there.
const END: u64 = 4 << 20;

/// How many samples are read in between.
const SAMPLES: u64 = 256;

/// The size of a sample in bytes; a whole number of blocks of any disk.
const SAMPLE: u64 = 64 << 10;

/// The largest block that a disk may have, in bytes.
const LARGEST_BLOCK: u64 = 8192;

/// Room of the entries of a GPT: 128 of 128 bytes.
const GPT_ENTRIES: u64 = 16 << 10;

/// Type of the first partition that `zpool create` makes on a whole disk (usr/src/uts/common/sys/efi_partition.h, `EFI_USR`).
const ZFS_PARTITION: [u8; 16] =
    [0xc3, 0x8c, 0x89, 0x6a, 0xd2, 0x1d, 0xb2, 0x11, 0x99, 0xa6, 0x08, 0x00, 0x20, 0x73, 0x66, 0x31];

/// Where the first partition begins, in blocks (usr/src/lib/libzfs/common/libzfs_pool.c, `NEW_START_BLOCK`).
const FIRST_PARTITION: u64 = 256;

/// The two labels at the beginning of a partition, in bytes (usr/src/uts/common/sys/vdev_impl.h).
const LABEL: u64 = 256 << 10;

/// What an uberblock begins with (usr/src/uts/common/sys/uberblock_impl.h).
const UBERBLOCK: u64 = 0x00ba_b10c;

/// Finds out what is on a disk of `bytes` bytes with blocks of `block` bytes.
///
/// # Errors
/// When it cannot be read, or is none that a pool could be made on.
pub fn examine(disk: &dyn ReadDisk, bytes: u64, block: u64) -> io::Result<Content> {
    if !block.is_power_of_two() || !(512..=LARGEST_BLOCK).contains(&block) || !bytes.is_multiple_of(block) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{bytes} bytes in blocks of {block}"),
        ));
    }
    let mut head = vec![0; END.min(bytes) as usize];
    disk.read_at(0, &mut head)?;
    let expected = expected_of_creation(bytes, block);
    let mut only_expected = true;
    let mut first_byte = None;
    for part in parts(bytes).into_iter().chain([last_labels(bytes, block)]) {
        let mut buffer = vec![0; (part.end - part.start) as usize];
        disk.read_at(part.start, &mut buffer)?;
        let Some(first) = buffer.iter().position(|&byte| byte != 0) else { continue };
        let found_at = *first_byte.get_or_insert(part.start + first as u64);
        if only_expected {
            let unexpected = |&(at, &byte): &(usize, &u8)| {
                byte != 0 && !expected.iter().any(|range| range.contains(&(part.start + at as u64)))
            };
            only_expected = !buffer.iter().enumerate().skip(first).any(|found| unexpected(&found));
        }
        if !only_expected {
            return Ok(Content::Something(describe(&head, found_at)));
        }
    }
    Ok(match first_byte {
        None => Content::Blank,
        Some(_) if is_label_of_creation(&head, block) && !has_pool(disk, bytes, block)? => {
            Content::Unfinished
        }
        Some(found_at) => Content::Something(describe(&head, found_at)),
    })
}

/// The parts of a disk that are read: both ends, and samples in between.
fn parts(bytes: u64) -> Vec<Range<u64>> {
    let head = 0..END.min(bytes);
    let tail = bytes.saturating_sub(END).max(head.end)..bytes;
    let step = ((tail.start - head.end) / SAMPLES).next_multiple_of(SAMPLE).max(SAMPLE);
    let samples =
        (head.end..tail.start).step_by(step as usize).map(|start| start..(start + SAMPLE).min(tail.start));
    let parts = std::iter::once(head.clone()).chain(samples).chain(std::iter::once(tail.clone()));
    parts.filter(|part| !part.is_empty()).collect()
}

/// Where `zpool create` writes before there is a pool: the EFI label, its copy at the end, and the four ZFS labels.
fn expected_of_creation(bytes: u64, block: u64) -> [Range<u64>; 4] {
    [
        0..2 * block + GPT_ENTRIES,
        first_labels(block),
        last_labels(bytes, block),
        bytes.saturating_sub(block + GPT_ENTRIES)..bytes,
    ]
}

/// Where the two labels at the beginning of the first partition of a whole disk are.
fn first_labels(block: u64) -> Range<u64> {
    let partition = FIRST_PARTITION * block;
    partition..partition + 2 * LABEL
}

/// Where the two labels at its end are, and some more room: the partition ends somewhat before one of 16,384 blocks
/// (usr/src/uts/common/sys/efi_partition.h, `EFI_MIN_RESV_SIZE`) that ends before the copy of the EFI label, and its labels lie
/// at a whole number of them.
fn last_labels(bytes: u64, block: u64) -> Range<u64> {
    let reserved = bytes.saturating_sub(16_384 * block);
    reserved.saturating_sub(4 * LABEL)..reserved
}

/// Whether a disk begins with an EFI label as `zpool create` writes it.
fn is_label_of_creation(head: &[u8], block: u64) -> bool {
    let block = block as usize;
    let entry = head.get(2 * block..2 * block + 16);
    head.get(block..block + 8) == Some(b"EFI PART") && entry == Some(&ZFS_PARTITION)
}

/// Whether any ZFS label of a whole disk holds the state of a pool. One of the four is enough to import it by.
fn has_pool(disk: &dyn ReadDisk, bytes: u64, block: u64) -> io::Result<bool> {
    for labels in [first_labels(block), last_labels(bytes, block)] {
        let mut buffer = vec![0; (labels.end.min(bytes) - labels.start.min(bytes)) as usize];
        disk.read_at(labels.start.min(bytes), &mut buffer)?;
        if has_uberblock(&buffer) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether there is an uberblock of a transaction group; none was written as long as the group is 0.
fn has_uberblock(labels: &[u8]) -> bool {
    // Uberblocks lie at multiples of 1 KiB in a label, and labels at any block.
    (0..labels.len().saturating_sub(24)).step_by(512).any(|at| {
        let field = |at: usize| labels[at..].first_chunk().copied().map_or(0, u64::from_le_bytes);
        // Magic number, version, transaction group.
        (field(at) == UBERBLOCK || field(at).swap_bytes() == UBERBLOCK) && field(at + 16) != 0
    })
}

/// Names what a disk begins with, for its owner; nothing is decided by it.
fn describe(head: &[u8], first: u64) -> String {
    let known: [(usize, &[u8], &str); 8] = [
        (0, b"LUKS\xba\xbe", "a LUKS volume"),
        (0, b"XFSB", "an XFS file system"),
        (3, b"NTFS    ", "an NTFS file system"),
        (512, b"LABELONE", "an LVM volume"),
        (1080, b"\x53\xef", "an ext file system"),
        (512, b"EFI PART", "a GPT with its partitions"),
        (4096, b"EFI PART", "a GPT with its partitions"),
        (510, b"\x55\xaa", "a boot record or partition table"),
    ];
    known
        .iter()
        .find(|(at, magic, _)| head.get(*at..at + magic.len()) == Some(magic))
        .map_or_else(|| format!("data at byte {first}"), |(_, _, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that is zero but for some pieces.
    struct Sparse {
        bytes: u64,
        pieces: Vec<(u64, Vec<u8>)>,
    }

    impl ReadDisk for Sparse {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            assert!(offset.is_multiple_of(512) && buffer.len().is_multiple_of(512), "whole blocks");
            assert!(offset + buffer.len() as u64 <= self.bytes, "inside");
            buffer.fill(0);
            let end = offset + buffer.len() as u64;
            for (start, piece) in &self.pieces {
                let both = (*start).max(offset)..(start + piece.len() as u64).min(end);
                if both.start < both.end {
                    let part = |from: u64| (both.start - from) as usize..(both.end - from) as usize;
                    buffer[part(offset)].copy_from_slice(&piece[part(*start)]);
                }
            }
            Ok(())
        }
    }

    const SIZE: u64 = 10 << 30;

    /// Where in a label the ring of uberblocks begins, in bytes.
    const RING: u64 = 128 << 10;

    fn found(pieces: &[(u64, &[u8])]) -> Content {
        let pieces = pieces.iter().map(|(start, piece)| (*start, piece.to_vec())).collect();
        examine(&Sparse { bytes: SIZE, pieces }, SIZE, 512).expect("examined")
    }

    const LABEL_OF_CREATION: [(u64, &[u8]); 4] =
        [(510, b"\x55\xaa"), (512, b"EFI PART"), (1024, &ZFS_PARTITION), (SIZE - 512, b"EFI PART")];

    #[test]
    fn a_disk_of_zeroes_is_blank() {
        assert_eq!(found(&[]), Content::Blank);
        for bytes in [512, 1 << 20, 8 << 20, (8 << 20) + 512, (100 << 20) + 4096] {
            let disk = Sparse { bytes, pieces: Vec::new() };
            assert_eq!(examine(&disk, bytes, 512).expect("examined"), Content::Blank);
        }
    }

    #[test]
    fn hazard_02_what_is_not_zero_is_something() {
        for (at, magic, name) in [
            (1080, &b"\x53\xef"[..], "ext"),
            (0, b"XFSB", "XFS"),
            (512, b"LABELONE", "LVM"),
            (0, b"LUKS\xba\xbe", "LUKS"),
            (3, b"NTFS    ", "NTFS"),
            (510, b"\x55\xaa", "boot record"),
            (512, b"EFI PART", "GPT"),
            (3 << 20, b"?", "byte 3145728"),
            (SIZE - 1, b"?", "byte 10737418239"),
            (SIZE - (4 << 20), b"?", "byte"),
        ] {
            match found(&[(at, magic)]) {
                Content::Something(what) => assert!(what.contains(name), "{what}"),
                content => panic!("{name}: {content:?}"),
            }
        }
    }

    #[test]
    fn hazard_02_samples_are_spread_over_the_whole_disk() {
        // Whatever is as long as the distance of two samples cannot be missed.
        let distance = (SIZE / SAMPLES + SAMPLE) as usize;
        let data = vec![1; distance];
        for start in [END, SIZE / 3, SIZE / 2, SIZE - END - distance as u64] {
            assert!(matches!(found(&[(start, &data)]), Content::Something(_)), "{start}");
        }
    }

    #[test]
    fn hazard_10_the_label_of_an_interrupted_creation_is_recognised() {
        assert_eq!(found(&LABEL_OF_CREATION), Content::Unfinished);
        // ZFS labels with a name and no uberblock.
        let labels =
            [(256 * 512 + (16 << 10), &b"name zones"[..]), (256 * 512 + LABEL + (16 << 10), b"name zones")];
        assert_eq!(found(&[&LABEL_OF_CREATION[..], &labels].concat()), Content::Unfinished);
    }

    #[test]
    fn hazard_10_a_label_with_a_pool_or_with_data_is_something() {
        for magic in [UBERBLOCK.to_le_bytes(), UBERBLOCK.to_be_bytes()] {
            let at = 256 * 512 + LABEL + RING + 5 * 1024;
            let template = [&LABEL_OF_CREATION[..], &[(at, &magic[..])]].concat();
            assert_eq!(found(&template), Content::Unfinished);
            let written = [&template[..], &[(at + 16, b"\x04")]].concat();
            assert!(matches!(found(&written), Content::Something(_)));
        }
        // In a label at the end alone: the others were damaged.
        let end = 256 * 512 + (SIZE - (16_384 + 33 + 256) * 512) / LABEL * LABEL;
        for label in [1, 2] {
            let at = end - label * LABEL + RING + 127 * 1024;
            let written = [(at, &UBERBLOCK.to_le_bytes()[..]), (at + 16, b"\x04")];
            let disk = [&LABEL_OF_CREATION[..], &written[..]].concat();
            assert!(matches!(found(&disk), Content::Something(_)), "{label}");
            assert!(
                matches!(found(&written), Content::Something(_)),
                "not blank without an EFI label either"
            );
        }
        let data = (1 << 20, &b"data"[..]);
        assert!(matches!(found(&[&LABEL_OF_CREATION[..], &[data]].concat()), Content::Something(_)));
        // Another type of partition.
        let other = [LABEL_OF_CREATION[0], LABEL_OF_CREATION[1], (1024, b"other partition!")];
        assert!(matches!(found(&other), Content::Something(_)));
    }

    #[test]
    fn strange_sizes_are_refused() {
        let disk = Sparse { bytes: SIZE, pieces: Vec::new() };
        for (bytes, block) in [(SIZE, 0), (SIZE, 500), (SIZE, 1 << 20), (SIZE + 1, 512)] {
            assert!(examine(&disk, bytes, block).is_err());
        }
    }

    #[test]
    fn a_disk_of_large_blocks_is_read_in_whole_ones() {
        for block in [4096, 8192] {
            let disk = |pieces| Sparse { bytes: SIZE, pieces };
            assert_eq!(examine(&disk(Vec::new()), SIZE, block).expect("examined"), Content::Blank);
            let label: Vec<(u64, Vec<u8>)> = vec![
                (510, b"\x55\xaa".to_vec()),
                (block, b"EFI PART".to_vec()),
                (2 * block, ZFS_PARTITION.to_vec()),
                (SIZE - block, b"EFI PART".to_vec()),
            ];
            assert_eq!(examine(&disk(label.clone()), SIZE, block).expect("examined"), Content::Unfinished);
            // Its last labels are before the last 64 MiB and more.
            let end = 256 * block + (SIZE - (16_384 + 6 + 256) * block) / LABEL * LABEL;
            let uberblock = [&UBERBLOCK.to_le_bytes()[..], &[0; 8], &[4]].concat();
            let pool = [&label[..], &[(end - LABEL + RING, uberblock)]].concat();
            assert!(matches!(examine(&disk(pool), SIZE, block).expect("examined"), Content::Something(_)));
        }
    }

    #[test]
    fn a_protective_mbr_alone_is_something() {
        let mut table = vec![0; 512];
        table[446 + 4] = 0xee;
        table[510..].copy_from_slice(b"\x55\xaa");
        match found(&[(0, &table)]) {
            Content::Something(what) => assert!(what.contains("partition table"), "{what}"),
            content => panic!("{content:?}"),
        }
    }

    /// A disk of zeroes that cannot be read everywhere.
    struct Broken {
        at: u64,
    }

    impl ReadDisk for Broken {
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            buffer.fill(0);
            let is_in = (offset..offset + buffer.len() as u64).contains(&self.at);
            if is_in { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        }
    }

    #[test]
    fn hazard_02_what_cannot_be_read_is_not_blank() {
        let last_labels = last_labels(SIZE, 512);
        let samples = parts(SIZE);
        for at in [0, END - 1, samples[1].start, samples[200].start, last_labels.start, SIZE - 1] {
            examine(&Broken { at }, SIZE, 512).expect_err("nobody knows");
        }
    }
}
