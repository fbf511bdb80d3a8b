//! Checks of disks: partition table, FAT, loader and menu.

use std::sync::Arc;

use anyhow::Result;
use kiln_bootdisk::builtin::{HEADER_SEARCH_BYTES, TableEntry, parse_multiboot_header};
use kiln_bootdisk::detect::Loader;
use kiln_bootdisk::fat32::Severity;
use kiln_bootdisk::mbr::{Partition, SECTOR, TYPE_FAT32_LBA};

use super::archives;
use super::findings::Findings;
use crate::contents::disk::Disk;
use crate::contents::fat::FatTree;
use crate::contents::open;
use crate::contents::scratch::Scratch;
use crate::contents::source::Source;
use crate::contents::survey::{self, Boot};
use crate::contents::tar::TarTree;
use crate::contents::tree::{self, Handle, Node, Tree, show};
use crate::report::Report;

/// Where a retro guest's first boot finds its overlay.
const CUSTOM: &str = "/custom.tgz";
/// What GRUB's stage 1.5 starts.
const GRUB_STAGE2: &str = "/boot/grub/stage2";

/// Checks a disk.
pub fn check(findings: &mut Findings, source: Source, scratch: &Scratch, report: &Report) {
    let Some(disk) = findings.take("partition table", Disk::open(source)) else { return };
    let Some((number, partition)) = findings.take("partition table", disk.require_fat()) else { return };
    let tree = findings.take("FAT", FatTree::open(disk.partition(&partition)));
    let boot = survey::boot(&disk, tree.as_deref().map(|tree| tree as &dyn Tree));
    let boot = findings.take("boot loader", boot);
    let by_grub = matches!(boot.as_ref().map(|boot| &boot.loader), Some(Loader::GrubLegacy { .. }));
    check_table(findings, &disk, number, &partition, by_grub);
    let Some(tree) = tree else { return };
    check_fat(findings, &tree, Some(&partition));
    if let Some(boot) = &boot {
        check_loader(findings, boot, &tree, &partition);
        check_menus(findings, boot, &*tree);
    }
    check_custom(findings, &*tree, scratch, report);
    archives::check_all(findings, &*tree, report);
}

/// What the guest expects of the partition table: its first-boot script mounts partition 1.
fn check_table(findings: &mut Findings, disk: &Disk, number: usize, partition: &Partition, by_grub: bool) {
    let place = format!("partition {number}");
    let before = findings.problems.len();
    if number != 1 {
        findings.problem(&place, "it holds the FAT, but SmartOS guests look for it in partition 1");
    }
    if partition.kind != TYPE_FAT32_LBA {
        findings.problem(&place, format!("its type is {:#04x} instead of 0x0c (FAT32 LBA)", partition.kind));
    }
    if !partition.active {
        // GRUB does not look at the flag, and the original's template does not set it.
        let text = "it is not flagged active, and some firmware starts only disks with an active partition";
        if by_grub { findings.note(&place, text) } else { findings.problem(&place, text) }
    }
    for (number, partition) in (1..).zip(&disk.mbr.partitions) {
        let Some(partition) = partition else { continue };
        let end = partition.offset() + u64::from(partition.sectors) * SECTOR;
        if end > disk.source().size() {
            findings.problem(
                format!("partition {number}"),
                format!("ends at byte {end}, behind the end of the disk at {}", disk.source().size()),
            );
        }
    }
    if findings.problems.len() == before {
        findings.passed("partition table", "sound, with the FAT in partition 1");
    }
}

/// Checks a FAT volume; `partition` is what it lies in.
pub fn check_fat(findings: &mut Findings, tree: &FatTree, partition: Option<&Partition>) {
    let place = partition.map(|partition| (partition.first_lba, partition.sectors));
    let Some(found) = findings.take("FAT", tree.volume().check(place).map_err(anyhow::Error::new)) else {
        return;
    };
    let mut sound = true;
    for finding in found {
        let (place, text) = (format!("FAT, {}", finding.place), finding.detail);
        match finding.kind.severity() {
            Severity::Error => {
                sound = false;
                findings.problem(place, text);
            }
            Severity::Warning => findings.note(place, text),
            // A fragmented file matters to the built-in loader alone, which is checked by its block lists.
            Severity::Info => {}
        }
    }
    if sound {
        findings.passed("FAT", "consistent");
    }
}

fn check_loader(findings: &mut Findings, boot: &Boot, tree: &Arc<FatTree>, partition: &Partition) {
    let place = "boot loader";
    match &boot.loader {
        Loader::None => findings.problem(place, "there is none: the disk does not start"),
        Loader::Unknown => findings.note(place, "it is none that kiln knows, so nothing is checked about it"),
        Loader::GrubLegacy { by_name: true, .. } if find(&**tree, GRUB_STAGE2).is_err() => {
            findings
                .problem(place, format!("GRUB's stage 1.5 looks for {GRUB_STAGE2}, which does not exist"));
        }
        known => findings.passed(place, survey::describe(known)),
    }
    match &boot.builtin {
        Some(Ok(found)) => {
            if !found.code_matches {
                findings.note(place, "its code is that of another version of kiln");
            }
            let before = findings.problems.len();
            for entry in &found.table.entries {
                check_block_lists(findings, entry, tree, partition);
            }
            if findings.problems.len() == before {
                findings.passed(place, "its block lists agree with the files");
            }
        }
        Some(Err(error)) => findings.problem(place, format!("{error:#}")),
        None => {}
    }
}

fn check_block_lists(
    findings: &mut Findings,
    entry: &TableEntry,
    tree: &Arc<FatTree>,
    partition: &Partition,
) {
    let place = format!("block list of '{}'", entry.title);
    for load in &entry.loads {
        let result = file_on_disk(tree, &load.name, partition);
        let Some((first_sector, bytes)) = findings.take(&place, result) else { continue };
        if first_sector != u64::from(load.lba) {
            findings.problem(
                &place,
                format!("reads {} from sector {}, but the file is at {first_sector}", load.name, load.lba),
            );
        }
        if bytes < u64::from(load.bytes) {
            findings
                .problem(&place, format!("reads {} bytes of {}, which has {bytes}", load.bytes, load.name));
        }
    }
    for module in &entry.modules {
        let path = module.string.split(' ').next().unwrap_or_default();
        let length = u64::from(module.end.saturating_sub(module.start));
        if let Ok(node) = find(&**tree, path)
            && node.metadata.size != length
        {
            findings.problem(
                &place,
                format!("gives {length} bytes for {path}, which has {}", node.metadata.size),
            );
        }
    }
}

/// First sector on the disk and bytes of a file that has to lie in one piece.
fn file_on_disk(tree: &Arc<FatTree>, path: &str, partition: &Partition) -> Result<(u64, u64)> {
    let node = find(&**tree, path)?;
    let extents = tree.extents(&node)?;
    let [(offset, length)] = extents[..] else {
        anyhow::bail!("{path} lies in {} pieces, and the loader reads one", extents.len());
    };
    Ok((u64::from(partition.first_lba) + offset / SECTOR, length))
}

/// Finds a file by exactly the name that it is stored under. GRUB legacy compares long names with case, and short ones
/// after lower-casing them.
fn find(tree: &dyn Tree, path: &str) -> Result<Node> {
    let Some(node) = tree::find(tree, path.as_bytes(), true)? else { anyhow::bail!("{path} does not exist") };
    let lower_case_of_short = |name: &str, node: &Handle| matches!(node, Handle::Fat(entry) if entry.name == entry.short_name && entry.name.to_lowercase() == name);
    let mut so_far = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        so_far = format!("{so_far}/{name}");
        if let Some(stored) = tree::find(tree, so_far.as_bytes(), true)?
            && stored.name() != name.as_bytes()
            && !lower_case_of_short(name, &stored.handle)
        {
            anyhow::bail!("{path} is stored as {}, and loaders mind the case", stored.shown());
        }
    }
    Ok(node)
}

fn check_menus(findings: &mut Findings, boot: &Boot, tree: &dyn Tree) {
    if boot.menus.is_empty() && matches!(boot.loader, Loader::GrubLegacy { .. }) {
        findings.problem("boot menu", format!("GRUB looks for {}, which does not exist", survey::GRUB_MENU));
    }
    for menu in &boot.menus {
        let before = findings.problems.len();
        if menu.default >= menu.entries.len() {
            findings.problem(&menu.place, "the default entry does not exist");
        }
        for entry in &menu.entries {
            let place = format!("menu entry '{}'", show(entry.title.as_bytes()));
            let kernel = entry.command_line.split(' ').next().unwrap_or_default();
            let paths = entry.modules.iter().map(|module| module.split(' ').next().unwrap_or_default());
            for path in std::iter::once(kernel).chain(paths).filter(|path| !path.is_empty()) {
                let path = path_in_fat(path);
                let Some(node) = findings.take(&place, find(tree, &path)) else { continue };
                if path.ends_with("/unix") {
                    let head = tree.contents(&node).and_then(|file| Ok(file.head(HEADER_SEARCH_BYTES)?));
                    let Some(head) = findings.take(&place, head) else { continue };
                    let header = parse_multiboot_header(&head, node.metadata.size);
                    findings.take(&place, header.map_err(|error| anyhow::Error::new(error).context(path)));
                }
            }
        }
        if findings.problems.len() == before {
            findings.passed(&menu.place, format!("{} entries, whose files all exist", menu.entries.len()));
        }
    }
}

/// A path as menus write it, without GRUB's device and variable.
fn path_in_fat(path: &str) -> String {
    let path = match path.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, rest)) => rest,
        None => path,
    };
    path.replace("$ISADIR", "amd64")
}

/// The overlay's archive: without it the guest's first boot stops.
fn check_custom(findings: &mut Findings, tree: &dyn Tree, scratch: &Scratch, report: &Report) {
    let Some(found) = findings.take(CUSTOM, tree::find(tree, CUSTOM.as_bytes(), true)) else { return };
    let Some(node) = found else {
        findings.note(CUSTOM, "does not exist; the first boot of retro guests needs it");
        return;
    };
    let members = tree.contents(&node).and_then(|file| {
        let contents = open::unwrap(&file, scratch, report)?;
        let archive = TarTree::open(contents.source)?;
        let mut members = 0_u64;
        tree::walk(&*archive, &archive.root()?, &mut |_| {
            members += 1;
            Ok(())
        })?;
        Ok(members - 1)
    });
    if let Some(members) = findings.take(CUSTOM, members) {
        findings.passed(CUSTOM, format!("sound, {members} members"));
    }
}
