//! Template disks, shown on a stand-in of the original one: same geometry, Debian's GRUB legacy files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_bootdisk::PlanError;
use kiln_bootdisk::detect::Loader;
use kiln_bootdisk::extent::{Content, FileId};
use kiln_bootdisk::fat32::{Entry, FindingKind, Volume};
use kiln_bootdisk::mbr::{Mbr, Partition, TYPE_FAT32_LBA};
use kiln_bootdisk::template::{Template, TemplateError};
use kiln_harness::tools;
use positioned_io::{ReadAt, WriteAt};

use crate::foreign::fsck_volume;
use crate::grub::{debian_stages, run_grub};
use crate::support::{DATE, MIB, write_from};

const SIZE: u64 = 1_000_000_000;
const TEMPLATE: FileId = FileId(1000);

/// Makes the stand-in: mkfs.vfat's volume with the original's numbers, files put in by mtools, the GRUB
/// shell's `setup`.
fn stand_in(folder: &Path) -> Option<PathBuf> {
    let stages = debian_stages()?;
    let (mkfs, mmd, mcopy) = (tools::require("mkfs.vfat")?, tools::require("mmd")?, tools::require("mcopy")?);
    let grub = tools::require("grub")?;
    let disk = folder.join("template");
    let mut file = File::create_new(&disk).unwrap();
    file.set_len(SIZE).unwrap();
    let partition = Partition { active: false, kind: TYPE_FAT32_LBA, first_lba: 63, sectors: 1_943_802 };
    let mbr = Mbr { code: [0; 440], signature: 0, partitions: [Some(partition), None, None, None] };
    file.write_all_at(0, &mbr.to_bytes()).unwrap();
    let run = |tool: &Path, arguments: &[&str]| {
        let output = Command::new(tool).args(arguments).env("TZ", "UTC").output().unwrap();
        assert!(output.status.success(), "{} {arguments:?}: {output:?}", tool.display());
    };
    let disk_name = disk.to_str().unwrap();
    // 976,531 KiB are 1,953,062 sectors: to the end of the disk, past the end of the partition.
    run(
        &mkfs,
        &[
            "-F", "32", "-s", "8", "-R", "32", "-a", "-h", "0", "-g", "64/32", "-i", "C9F7537B", "-n",
            "HEADNODE", "--offset", "63", disk_name, "976531",
        ],
    );
    let image = format!("{disk_name}@@32256");
    run(&mmd, &["-i", &image, "::/boot", "::/boot/grub"]);
    for (name, bytes) in ["stage1", "fat_stage1_5", "stage2"].iter().zip(stages) {
        let source = folder.join(name);
        fs::write(&source, bytes).unwrap();
        run(&mcopy, &["-i", &image, source.to_str().unwrap(), "::/boot/grub/"]);
    }
    let old = folder.join("old");
    fs::write(&old, "old menu").unwrap();
    run(&mcopy, &["-i", &image, old.to_str().unwrap(), "::/boot/grub/MENU.LST"]);
    run_grub(&grub, &disk);
    Some(disk)
}

fn ours() -> Vec<Entry> {
    vec![
        Entry::bytes("boot/grub/menu.lst", *b"new menu", DATE),
        Entry::bytes("custom.tgz", vec![7; 10_000], DATE),
        Entry::bytes("os/20141030T081701Z/platform/i86pc/kernel/amd64/unix", vec![8; 100_000], DATE),
    ]
}

#[test]
fn the_stand_in_of_the_original_is_kept_and_added_to() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = stand_in(folder.path()) else { return };
    let device = File::open(&path).unwrap();
    let template = Template::open(&device).unwrap();
    assert_eq!(*template.loader(), Loader::GrubLegacy { version: "0.97".to_owned(), by_name: true });
    let plan = template.plan(&ours(), TEMPLATE, 1024 * MIB, DATE, MIB).unwrap();
    assert_eq!(plan.partition_lba(), 63);
    let layout = plan.finish(&template.boot_area().unwrap()).unwrap();
    assert_eq!(layout.size(), 1024 * MIB);
    let device: &dyn ReadAt = &device;
    let view = layout.view(|id| (id == TEMPLATE).then_some(device));

    // Partition table, loader and boot record are the template's, byte for byte.
    let (mut before, mut after) = (vec![0; 64 * 512], vec![0; 64 * 512]);
    device.read_exact_at(0, &mut before).unwrap();
    view.read_exact_at(0, &mut after).unwrap();
    assert!(before == after);

    let (old, new) = (Volume::open(device, 63 * 512).unwrap(), Volume::open(&view, 63 * 512).unwrap());
    let summary = new.summary().unwrap();
    assert_eq!(summary.geometry, *old.geometry());
    let geometry = summary.geometry;
    assert_eq!(
        (geometry.total_sectors, geometry.sectors_per_fat, geometry.reserved_sectors, geometry.clusters),
        (1_953_062, 1904, 32, 243_652)
    );
    assert_eq!(
        (summary.label.as_str(), summary.serial, summary.hidden_sectors),
        ("HEADNODE", 0xC9F7_537B, 0)
    );
    for file in ["stage1", "stage2", "fat_stage1_5"] {
        let read = |volume: &dyn Fn(&str) -> Vec<u8>| volume(&format!("/boot/grub/{file}"));
        assert!(read(&|path| contents(&old, path)) == read(&|path| contents(&new, path)), "{file}");
    }
    assert_eq!(contents(&new, "boot/grub/menu.lst"), b"new menu");
    assert_eq!(new.lookup("boot/grub/menu.lst").unwrap().name, "menu.lst");
    assert_eq!(contents(&new, "os/20141030T081701Z/platform/i86pc/kernel/amd64/unix"), vec![8; 100_000]);
    // The oversized total and the missing hidden sectors are the template's own.
    let kinds: Vec<FindingKind> =
        new.check(Some((63, 1_943_802))).unwrap().iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::VolumeSize, FindingKind::VolumeSize]);
    assert!(!new.has_own_layout().unwrap());

    if let Some(fsck) = tools::require("fsck.vfat") {
        let made = folder.path().join("volume");
        write_from(&view, &layout, 63 * 512, &made);
        fsck_volume(&fsck, &made);
    }

    // Nothing but the template's own bytes is taken from it.
    let taken = |extent: &&kiln_bootdisk::extent::Extent| matches!(extent.content, Content::File { .. });
    assert_eq!(layout.extents().iter().filter(taken).count(), 3);
}

fn contents<R: ReadAt>(volume: &Volume<R>, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut file = volume.open_file(&volume.lookup(path).unwrap()).unwrap();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    bytes
}

#[test]
fn unfit_templates_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = stand_in(folder.path()) else { return };
    let mut device = File::options().read(true).write(true).open(&path).unwrap();

    let template = Template::open(&device).unwrap();
    let plan = |entries: &[Entry], size| template.plan(entries, TEMPLATE, size, DATE, MIB).err().unwrap();
    assert!(matches!(plan(&ours(), 900 * MIB), TemplateError::DiskTooSmall { needed: SIZE, .. }));
    let big = [Entry::file("big", SIZE, DATE, FileId(0))];
    assert!(matches!(plan(&big, 1024 * MIB), TemplateError::TooSmall { needed, room } if needed > room));
    let clash = [Entry::bytes("boot", *b"x", DATE)];
    assert!(matches!(plan(&clash, 1024 * MIB), TemplateError::Plan(PlanError::FileAndDirectory { .. })));

    let mut spoil = |offset: u64, bytes: &[u8]| {
        let mut saved = vec![0; bytes.len()];
        device.read_exact_at(offset, &mut saved).unwrap();
        device.write_all_at(offset, bytes).unwrap();
        let refused = Template::open(&device).err().unwrap();
        device.write_all_at(offset, &saved).unwrap();
        refused
    };
    assert!(matches!(spoil(510, &[0, 0]), TemplateError::NoPartitionTable(_)));
    assert!(matches!(spoil(446, &[0; 64]), TemplateError::Unsuitable { .. }));
    assert!(matches!(spoil(63 * 512, &[0; 512]), TemplateError::NoVolume(_)));
    let no_loader = spoil(0, &[0; 440]);
    assert!(matches!(no_loader, TemplateError::NoLoader { found: Loader::None }));
    assert!(no_loader.to_string().ends_with("finds its files by name; its boot loader: none"), "{no_loader}");
    // A list of sectors instead of a stage 1.5: the loader would not find what has moved.
    let by_sectors = spoil(0x42, &[0, 0x80]);
    assert!(matches!(by_sectors, TemplateError::NoLoader { .. }));
    assert!(by_sectors.to_string().ends_with("(finds stage 2 by a list of sectors)"), "{by_sectors}");
    // An empty root directory.
    let root = (95 + 2 * 1904 - 32 + 32) * 512;
    assert!(matches!(spoil(root, &[0; 4096]), TemplateError::NoStage2(_)));
    Template::open(&device).unwrap();
}

#[test]
fn templates_that_are_cut_short_are_refused_by_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(path) = stand_in(folder.path()) else { return };
    let device = File::options().read(true).write(true).open(&path).unwrap();
    let volume = Volume::open(&device, 63 * 512).unwrap();
    let files = volume.walk().unwrap().into_iter().filter(|item| !item.entry.is_directory());
    let extents = files.flat_map(|item| volume.extents(&item.entry).unwrap());
    let last = extents.map(|(offset, length)| offset + length).max().unwrap();
    device.set_len(last).unwrap();
    Template::open(&device).unwrap();
    let fat = 95 * 512;
    let root = fat + 2 * 1904 * 512;
    for (length, missing, at) in [
        (last - 1, "file /boot/grub/", None),
        (root, "directory", Some(root)),
        (fat, "file allocation table", Some(fat)),
        (63 * 512, "FAT boot record", Some(63 * 512)),
        (511, "partition table", Some(0)),
        (0, "partition table", Some(0)),
    ] {
        device.set_len(length).unwrap();
        match Template::open(&device).err().unwrap() {
            TemplateError::CutShort { structure, offset } => {
                assert!(structure.starts_with(missing), "{length}: {structure}");
                assert!(at.is_none_or(|at| at == offset) && offset <= length, "{length}: {offset}");
            }
            other => panic!("{length}: {other:?}"),
        }
    }
}
