//! A FAT32 volume with hostile changes: opened, walked, read and checked.
#![no_main]

use std::sync::OnceLock;

use kiln_bootdisk::disk::{BootArea, DiskOptions, DiskPlan, smallest_disk_size};
use kiln_bootdisk::extent::{Content, DiskLayout, DiskView, FileId};
use kiln_bootdisk::fat32::{Entry, Volume};
use kiln_fuzz::Base;
use libfuzzer_sys::fuzz_target;
use positioned_io::ReadAt;

/// At most so much of a file is read: chains of clusters may say that all of them are as long as the disk.
const READ_LIMIT: u64 = 1 << 20;

type Open = fn(FileId) -> Option<&'static dyn ReadAt>;

fn base() -> &'static (Base<DiskView<'static, Open>>, u64) {
    static LAYOUT: OnceLock<DiskLayout> = OnceLock::new();
    static BASE: OnceLock<(Base<DiskView<'static, Open>>, u64)> = OnceLock::new();
    BASE.get_or_init(|| {
        let entries = [
            Entry::directory("/boot", 0),
            Entry::bytes("/boot/menu.lst", vec![b'm'; 700], 1_000_000_000),
            Entry::bytes("/os/20260101T000000Z/platform/i86pc/kernel/amd64/unix", vec![b'u'; 20_000], 0),
            Entry::bytes("/A name that is too long for one entry.text", vec![b't'; 9000], 0),
        ];
        let size = smallest_disk_size(&entries, 0).expect("the entries are good");
        let options =
            DiskOptions { size, signature: 1, serial: 2, label: "FUZZ".to_owned(), modified: 0, reserve: 0 };
        let plan = DiskPlan::new(&options, &entries).expect("the smallest size is enough");
        let offset = u64::from(plan.partition_lba()) * 512;
        let area = BootArea { mbr_code: [0; 440], gap: Vec::new() };
        let layout = LAYOUT.get_or_init(|| plan.finish(&area).expect("an empty boot area fits"));
        let content: Vec<_> = layout
            .extents()
            .iter()
            .filter(|extent| matches!(extent.content, Content::Bytes(_)) && extent.offset >= offset)
            .map(|extent| extent.offset..extent.offset + extent.length)
            .collect();
        (Base::new(layout.view((|_| None) as Open), size, content), offset)
    })
}

fuzz_target!(|input: &[u8]| {
    let (base, offset) = base();
    let disk = base.changed(input);
    let Ok(volume) = Volume::open(&disk, *offset) else { return };
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
