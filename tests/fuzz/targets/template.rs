//! A template disk with hostile changes: opened, and when it serves, a disk is made from it that reads back sound.
#![no_main]

use std::sync::OnceLock;

use kiln_bootdisk::extent::{DiskView, FileId};
use kiln_bootdisk::fat32::{Entry, FindingKind, Severity, Volume};
use kiln_bootdisk::grub_legacy::Stages;
use kiln_bootdisk::template::Template;
use kiln_fuzz::{Base, Open, small_disk};
use libfuzzer_sys::fuzz_target;
use positioned_io::ReadAt;

/// The number of the template among the files of the new disk.
const TEMPLATE: FileId = FileId(0);
/// Bytes of the new disk. Templates that describe a larger one are refused.
const LARGEST_DISK: u64 = 1 << 40;
/// Templates with more clusters in use are opened and not laid out anew: it is no error to be large.
const MOST_CLUSTERS: u32 = 1 << 20;

/// Stage files of GRUB legacy as far as they are looked at: the marks, versions and the path of stage 2.
fn stages() -> Stages {
    let put = |bytes: &mut [u8], at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    let mut stage1 = vec![0; 512];
    put(&mut stage1, 0x3E, &[3, 2]);
    put(&mut stage1, 0x4B, &[0xEB, 7]);
    put(&mut stage1, 0x180, b"GRUB ");
    put(&mut stage1, 510, &[0x55, 0xAA]);
    let mut stage1_5 = vec![0; 1024];
    put(&mut stage1_5, 0x206, &[3, 2]);
    put(&mut stage1_5, 0x212, b"0.97");
    put(&mut stage1_5, 0x220, b"/boot/grub/stage2");
    let mut stage2 = vec![0; 1536];
    put(&mut stage2, 0x206, &[3, 2]);
    put(&mut stage2, 0x212, b"0.97");
    Stages::new(stage1, stage1_5, stage2).expect("they have all that is looked at")
}

fn base() -> &'static Base<DiskView<'static, Open>> {
    static BASE: OnceLock<Base<DiskView<'static, Open>>> = OnceLock::new();
    BASE.get_or_init(|| {
        let stages = stages();
        let mut entries = stages.entries(1_000_000_000);
        entries.push(Entry::bytes("/boot/grub/MENU.LST", vec![b'm'; 700], 0));
        entries.push(Entry::bytes("/A name that is too long for one entry.text", vec![b't'; 9000], 0));
        small_disk(&entries, &stages.boot_area(), 0)
    })
}

fuzz_target!(|input: &[u8]| {
    let _ = Template::open(input);
    let disk = base().changed(input);
    let Ok(template) = Template::open(&disk) else { return };
    let boot_area = template.boot_area().expect("the base reaches behind any boot area that is accepted");
    let ours = [
        Entry::bytes("/boot/grub/menu.lst", vec![b'o'; 5000], 0),
        Entry::bytes("/os/20260101T000000Z/platform/i86pc/kernel/amd64/unix", vec![b'u'; 20_000], 0),
    ];
    let Ok(plan) = template.plan(&ours, TEMPLATE, LARGEST_DISK, 0, 1 << 20) else { return };
    let offset = u64::from(plan.partition_lba()) * 512;
    let layout = plan.finish(&boot_area).expect("the template's boot area fits where it was");
    let view = layout.view(|file| (file == TEMPLATE).then_some(&disk as &dyn ReadAt));
    let volume = Volume::open(&view, offset).expect("what was laid out can be opened");
    if volume.geometry().clusters > MOST_CLUSTERS {
        return;
    }
    let found = volume.check(None).expect("what was laid out can be read");
    // What systems cope with may be the template's own oddities, which are kept.
    let damage = |kind: FindingKind| kind.severity() == Severity::Error;
    assert!(!found.iter().any(|finding| damage(finding.kind)), "{found:?}");
});
