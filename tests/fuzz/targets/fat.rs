//! A FAT32 volume with hostile changes: opened, walked, read and checked.
#![no_main]

use std::sync::OnceLock;

use kiln_bootdisk::disk::BootArea;
use kiln_bootdisk::extent::DiskView;
use kiln_bootdisk::fat32::{Entry, Volume};
use kiln_fuzz::{Base, Open, VOLUME, small_disk};
use libfuzzer_sys::fuzz_target;
use positioned_io::ReadAt;

/// At most so much of a file is read: chains of clusters may say that all of them are as long as the disk.
const READ_LIMIT: u64 = 1 << 20;

fn base() -> &'static Base<DiskView<'static, Open>> {
    static BASE: OnceLock<Base<DiskView<'static, Open>>> = OnceLock::new();
    BASE.get_or_init(|| {
        let entries = [
            Entry::directory("/boot", 0),
            Entry::bytes("/boot/menu.lst", vec![b'm'; 700], 1_000_000_000),
            Entry::bytes("/os/20260101T000000Z/platform/i86pc/kernel/amd64/unix", vec![b'u'; 20_000], 0),
            Entry::bytes("/A name that is too long for one entry.text", vec![b't'; 9000], 0),
        ];
        small_disk(&entries, &BootArea { mbr_code: [0; 440], gap: Vec::new() }, VOLUME)
    })
}

fuzz_target!(|input: &[u8]| {
    let disk = base().changed(input);
    let Ok(volume) = Volume::open(&disk, VOLUME) else { return };
    let _ = volume.has_own_layout();
    let _ = volume.label();
    let _ = volume.summary();
    let _ = volume.check(None);
    for item in volume.walk().unwrap_or_default() {
        if let Ok(file) = volume.open_file(&item.entry) {
            let mut buffer = vec![0; file.len().min(READ_LIMIT) as usize];
            let _ = file.read_at(0, &mut buffer);
        }
    }
    let _ = volume.lookup("/boot/menu.lst");
});
