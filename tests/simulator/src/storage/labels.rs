//! What lies on a disk: the EFI label that `zpool create` writes, and the labels of ZFS.
//!
//! Layout after usr/src/lib/libefi and usr/src/uts/common/fs/zfs/sys/vdev_impl.h: slice 0 begins at sector 256; a label has
//! 256 KiB, two at the slice's beginning and two at its end; in each the list of names and values lies at 16 KiB and
//! the uberblocks at 128 KiB.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::nvlist::{self, List, Value};

const SECTOR: u64 = 512;
/// Where slice 0 begins.
const SLICE: u64 = 256 * SECTOR;
/// What libefi keeps at a disk's end: the reserved slice of 16384 sectors, and the second copy of the table (33).
const TAIL: u64 = (16384 + 33) * SECTOR;
/// The size of a ZFS label.
const LABEL: u64 = 256 << 10;
/// Where in a label the list begins, and its size.
const LIST: u64 = 16 << 10;
const LIST_SIZE: usize = 112 << 10;
/// Where in a label the uberblocks begin.
const UBERBLOCKS: u64 = 128 << 10;

/// What a ZFS label says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The pool's number.
    pub pool: u64,
    /// The pool's name.
    pub name: String,
    /// 0 active, 1 exported, 2 destroyed (POOL_STATE_*).
    pub state: u64,
    /// The transaction group.
    pub txg: u64,
    /// The host that had it last.
    pub hostid: u64,
    /// That host's name.
    pub hostname: String,
    /// The device's number.
    pub device: u64,
    /// The device's path at that time.
    pub path: String,
}

impl Label {
    fn list(&self, size: u64) -> List {
        let tree: List = vec![
            ("type", Value::Text("disk".into())),
            ("id", Value::Number(0)),
            ("guid", Value::Number(self.device)),
            ("path", Value::Text(self.path.clone())),
            ("whole_disk", Value::Number(1)),
            ("metaslab_array", Value::Number(30)),
            ("metaslab_shift", Value::Number(25)),
            ("ashift", Value::Number(9)),
            ("asize", Value::Number(size)),
            ("is_log", Value::Number(0)),
            ("create_txg", Value::Number(4)),
        ];
        vec![
            ("version", Value::Number(5000)),
            ("name", Value::Text(self.name.clone())),
            ("state", Value::Number(self.state)),
            ("txg", Value::Number(self.txg)),
            ("pool_guid", Value::Number(self.pool)),
            ("hostid", Value::Number(self.hostid)),
            ("hostname", Value::Text(self.hostname.clone())),
            ("top_guid", Value::Number(self.device)),
            ("guid", Value::Number(self.device)),
            ("vdev_children", Value::Number(1)),
            ("vdev_tree", Value::List(tree)),
            ("features_for_read", Value::List(List::new())),
        ]
    }
}

/// Where slice 0 of a disk ends; its size is rounded down to whole labels.
fn slice_end(bytes: u64) -> u64 {
    SLICE + (bytes - TAIL - SLICE) / LABEL * LABEL
}

/// The places of the four labels.
fn places(bytes: u64) -> [u64; 4] {
    let end = slice_end(bytes);
    [SLICE, SLICE + LABEL, end - 2 * LABEL, end - LABEL]
}

/// The sum of GPT: CRC-32 of Ethernet.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Writes the EFI label of a whole disk: slice 0 for ZFS, slice 8 reserved.
///
/// # Errors
/// When the disk cannot be written.
pub fn write_efi(disk: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(disk)?;
    let sectors = file.metadata()?.len() / SECTOR;
    // The protective MBR: one partition of type EE over everything.
    let mut mbr = [0u8; SECTOR as usize];
    mbr[446 + 4] = 0xEE;
    mbr[446 + 8..446 + 12].copy_from_slice(&1u32.to_le_bytes());
    let covered = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    mbr[446 + 12..446 + 16].copy_from_slice(&covered.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xAA]);
    let mut entries = vec![0u8; 32 * SECTOR as usize];
    let mut entry = |slot: usize, kind: [u8; 16], first: u64, last: u64, name: &str| {
        let entry = &mut entries[slot * 128..][..128];
        entry[..16].copy_from_slice(&kind);
        entry[16..24].copy_from_slice(&(first ^ 0x5eed).to_le_bytes());
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        for (at, unit) in name.encode_utf16().enumerate() {
            entry[56 + 2 * at..58 + 2 * at].copy_from_slice(&unit.to_le_bytes());
        }
    };
    // EFI_USR and EFI_RESERVED of sys/efi_partition.h: 6A898CC3-... and 6A945A3B-1DD2-11B2-99A6-080020736631.
    let mut kind = *b"\xC3\x8C\x89\x6A\xD2\x1D\xB2\x11\x99\xA6\x08\x00\x20\x73\x66\x31";
    entry(0, kind, 256, sectors - 16384 - 34, "zfs");
    kind[..4].copy_from_slice(b"\x3B\x5A\x94\x6A");
    entry(8, kind, sectors - 16384 - 33, sectors - 34, "");
    let header = |own: u64, other: u64, table: u64| {
        let mut header = [0u8; SECTOR as usize];
        header[..8].copy_from_slice(b"EFI PART");
        header[8..16].copy_from_slice(&[0, 0, 1, 0, 92, 0, 0, 0]);
        for (at, value) in [(24, own), (32, other), (40, 34), (48, sectors - 34), (56, 0xd15c), (72, table)] {
            header[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        header[80..84].copy_from_slice(&128u32.to_le_bytes());
        header[84..88].copy_from_slice(&128u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
        let sum = crc32(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    };
    file.write_all_at(&mbr, 0)?;
    file.write_all_at(&header(1, sectors - 1, 2), SECTOR)?;
    file.write_all_at(&entries, 2 * SECTOR)?;
    file.write_all_at(&entries, (sectors - 33) * SECTOR)?;
    file.write_all_at(&header(sectors - 1, 1, sectors - 33), (sectors - 1) * SECTOR)
}

/// Writes the four labels.
///
/// # Errors
/// When the disk cannot be written.
pub fn write(disk: &Path, label: &Label) -> io::Result<()> {
    let file = File::options().write(true).open(disk)?;
    let bytes = file.metadata()?.len();
    let mut list = nvlist::pack(&label.list(slice_end(bytes) - SLICE - (9 << 19)));
    list.resize(LIST_SIZE, 0);
    let mut uberblock = [0u8; 1024];
    for (at, value) in [0x00ba_b10c_u64, 5000, label.txg, label.device, 0].into_iter().enumerate() {
        uberblock[8 * at..8 * at + 8].copy_from_slice(&value.to_le_bytes());
    }
    for place in places(bytes) {
        file.write_all_at(&list, place + LIST)?;
        file.write_all_at(&uberblock, place + UBERBLOCKS + label.txg % 128 * 1024)?;
    }
    Ok(())
}

/// Reads the first label that can be read.
pub fn read(disk: &Path) -> Option<Label> {
    let file = File::open(disk).ok()?;
    let bytes = file.metadata().ok()?.len();
    // SPA_MINDEVSIZE: no pool is on anything smaller.
    if bytes < 64 << 20 {
        return None;
    }
    let mut list = vec![0; LIST_SIZE];
    places(bytes).into_iter().find_map(|place| {
        file.read_exact_at(&mut list, place + LIST).ok()?;
        let pairs = nvlist::top(&list);
        let number = |name: &str| {
            pairs.iter().find_map(|(key, value)| match value {
                Value::Number(number) if key == name => Some(*number),
                _ => None,
            })
        };
        let text = |name: &str| {
            pairs.iter().find_map(|(key, value)| match value {
                Value::Text(text) if key == name => Some(text.clone()),
                _ => None,
            })
        };
        Some(Label {
            pool: number("pool_guid")?,
            name: text("name")?,
            state: number("state")?,
            txg: number("txg")?,
            hostid: number("hostid").unwrap_or(0),
            hostname: text("hostname").unwrap_or_default(),
            device: number("guid")?,
            path: String::new(),
        })
    })
}

/// Which file system libdiskmgt finds on a slice of the disk: it knows UFS (fstyp(1M)'s modules for slices), and none of
/// ext4, XFS, LVM, LUKS, NTFS. usr/src/lib/libdiskmgt/common/inuse_fs.c.
pub fn known_file_system(disk: &Path) -> Option<&'static str> {
    let file = File::open(disk).ok()?;
    // A disk that was never labelled for Solaris has one slice, s2, over all of it; UFS' super block is at 8 KiB and its
    // magic number at 1372 in it.
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 8192 + 1372).ok()?;
    (u32::from_le_bytes(magic) == 0x0001_1954).then_some("ufs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_ethernet() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn labels_survive_as_long_as_one_of_them_does() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        File::create(&disk).unwrap().set_len(100 << 20).unwrap();
        assert_eq!(read(&disk), None);
        write_efi(&disk).unwrap();
        assert_eq!(read(&disk), None);
        let label = Label {
            pool: 7,
            name: "zones".into(),
            state: 1,
            txg: 12,
            hostid: 3,
            hostname: "unknown".into(),
            device: 9,
            path: String::new(),
        };
        write(&disk, &label).unwrap();
        let file = File::options().read(true).write(true).open(&disk).unwrap();
        let mut signature = [0; 8];
        file.read_exact_at(&mut signature, 512).unwrap();
        assert_eq!(&signature, b"EFI PART");
        for place in &places(100 << 20)[..3] {
            file.write_all_at(&vec![0; LABEL as usize], *place).unwrap();
        }
        assert_eq!(read(&disk), Some(label));
        file.write_all_at(&vec![0; LABEL as usize], places(100 << 20)[3]).unwrap();
        assert_eq!(read(&disk), None);
    }
}
