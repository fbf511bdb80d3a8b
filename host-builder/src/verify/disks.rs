//! Checks of disks: partition table, FAT, loader and menu.

use std::sync::Arc;

use anyhow::Result;
use kiln_bootdisk::builtin::{Code, HEADER_SEARCH_BYTES, TableEntry, parse_multiboot_header};
use kiln_bootdisk::detect::Loader;
use kiln_bootdisk::fat32::Severity;
use kiln_bootdisk::mbr::{KEY_VERSION, Partition, SECTOR, TYPE_FAT32_LBA};

use super::archives;
use super::findings::Findings;
use super::guest;
use crate::contents::disk::Disk;
use crate::contents::fat::FatTree;
use crate::contents::open;
use crate::contents::scratch::Scratch;
use crate::contents::source::Source;
use crate::contents::survey::{self, Boot};
use crate::contents::tar::TarTree;
use crate::contents::tree::{self, Handle, Node, Tree, show};
use crate::pieces::record::{self, Record};
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
    let by_builtin = boot.as_ref().is_some_and(|boot| boot.builtin.is_some());
    let ours = by_builtin || tree.as_ref().is_some_and(|tree| has_own_layout(findings, tree));
    check_table(findings, &disk, number, &partition, by_grub);
    if ours {
        check_own_sector(findings, &disk);
    }
    let Some(tree) = tree else { return };
    check_fat(findings, &tree, Some(&partition), ours);
    if let Some(boot) = &boot {
        check_loader(findings, boot, &tree, &partition, ours);
        check_menus(findings, boot, &*tree);
    }
    let records = archives::check_all(findings, &*tree, report);
    check_custom(findings, &*tree, &records, scratch, report);
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

/// Whether a volume is one that kiln has laid out itself. A template's and foreign ones are not.
pub fn has_own_layout(findings: &mut Findings, tree: &FatTree) -> bool {
    let own = tree.volume().has_own_layout().map_err(anyhow::Error::new);
    findings.take("FAT", own).unwrap_or_default()
}

/// Checks what kiln writes into the first sector of every disk that it lays out itself, whichever the loader.
fn check_own_sector(findings: &mut Findings, disk: &Disk) {
    let (at, version) = KEY_VERSION;
    if disk.mbr.code[at..at + version.len()] != version {
        let [first, second] = [at, at + 1].map(|at| disk.mbr.code[at]);
        findings.problem(
            "boot loader",
            format!(
                "bytes 3E and 3F of sector 0 are {first:02X} {second:02X} instead of 03 02, by which platforms since \
                 2019 know a boot disk"
            ),
        );
    }
    let place = "partition table";
    let sector = disk.source().head(SECTOR as usize).map_err(anyhow::Error::new);
    let Some(sector) = findings.take(place, sector) else { return };
    let code = disk.mbr.code.len();
    if sector.get(code..) != disk.mbr.to_bytes().get(code..) {
        findings.problem(
            place,
            "its reserved bytes, unused entries or cylinders, heads and sectors are not as kiln writes them",
        );
    }
}

/// Checks a FAT volume; `partition` is what it lies in. What systems would cope with is damage on a volume of `ours`,
/// which is known to have been written without it.
pub fn check_fat(findings: &mut Findings, tree: &FatTree, partition: Option<&Partition>, ours: bool) {
    let place = partition.map(|partition| (partition.first_lba, partition.sectors));
    let Some(found) = findings.take("FAT", tree.volume().check(place).map_err(anyhow::Error::new)) else {
        return;
    };
    let mut sound = true;
    let total = tree.volume().geometry().total_sectors;
    if let Some(partition) = partition.filter(|partition| ours && partition.sectors > total) {
        sound = false;
        findings.problem(
            "FAT, boot record",
            format!("claims {total} sectors, and kiln fills its partition, which has {}", partition.sectors),
        );
    }
    for finding in found {
        let (place, text) = (format!("FAT, {}", finding.place), finding.detail);
        match finding.kind.severity() {
            Severity::Warning if !ours => findings.note(place, text),
            Severity::Error | Severity::Warning => {
                sound = false;
                findings.problem(place, text);
            }
            // A fragmented file matters to the built-in loader alone, which is checked by its block lists.
            Severity::Info => {}
        }
    }
    if sound {
        findings.passed("FAT", "consistent");
    }
}

fn check_loader(
    findings: &mut Findings,
    boot: &Boot,
    tree: &Arc<FatTree>,
    partition: &Partition,
    ours: bool,
) {
    let place = "boot loader";
    match &boot.loader {
        Loader::None => findings.problem(place, "there is none: the disk does not start"),
        Loader::Unknown if ours => findings.problem(
            place,
            "it is damaged: on a disk of this layout kiln writes its built-in loader or GRUB legacy, and this is \
             neither",
        ),
        Loader::Unknown => findings.note(place, "it is none that kiln knows, so nothing is checked about it"),
        Loader::GrubLegacy { by_name: true, .. } if find(&**tree, GRUB_STAGE2).is_err() => {
            findings
                .problem(place, format!("GRUB's stage 1.5 looks for {GRUB_STAGE2}, which does not exist"));
        }
        known => findings.passed(place, known.to_string()),
    }
    match &boot.builtin {
        Some(Ok(found)) => {
            match found.code {
                Code::Current => {}
                Code::OtherVersion => findings.note(place, "its code is that of another version of kiln"),
                Code::Damaged => findings.problem(
                    place,
                    "its code is damaged: the digest in its boot table is that of other bytes",
                ),
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
fn check_custom(
    findings: &mut Findings,
    tree: &dyn Tree,
    records: &[Record],
    scratch: &Scratch,
    report: &Report,
) {
    let Some(found) = findings.take(CUSTOM, tree::find(tree, CUSTOM.as_bytes(), true)) else { return };
    let Some(node) = found else {
        findings.note(CUSTOM, "does not exist; the first boot of retro guests needs it");
        return;
    };
    for proof in records.iter().filter_map(|record| record.custom.as_ref()) {
        let actual = tree.contents(&node).and_then(|file| guest::prove(&file));
        if let Some(actual) = findings.take(CUSTOM, actual)
            && actual != *proof
        {
            let text = format!(
                "has the SHA-256 {}, but the boot archive's {} says {}: the guest would not unpack it",
                actual.sha256,
                record::PATH,
                proof.sha256
            );
            findings.problem(CUSTOM, text);
        }
    }
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
