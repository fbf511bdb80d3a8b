//! The facts about an image for people: one subject a block, names on the left, values aligned.

use std::fmt::{Display, Write as _};

use super::dataset::DatasetFacts;
use super::facts::{ArchiveFacts, DiskFacts, Facts, FatFacts, StreamFacts};
use crate::contents::manifest::Manifest;
use crate::contents::shape::Shape;
use crate::units;

/// Width of the names on the left, in characters.
const NAMES: usize = 16;

/// Writes the facts as text.
pub fn render(facts: &Facts) -> String {
    let mut page = Page::default();
    page.line("file", &facts.file.path);
    if let Some(digests) = &facts.file.digests {
        page.line("size", &units::size(digests.size));
        page.line("sha1", &digests.sha1);
        page.line("sha256", &digests.sha256);
    }
    let incremental = facts.stream.as_ref().is_some_and(|stream| stream.from_guid.is_some());
    // What is said to be a stream holds nothing that could be told.
    let (in_stream, remedy) = match &facts.stream {
        Some(stream) if facts.contents == Shape::Stream.name() => match (incremental, stream.of) {
            (true, "file system") => {
                (" of a file system", ", incremental: name what is under it with --origin IMAGE")
            }
            (true, _) => ("", ", incremental"),
            (false, _) => ("", ""),
        },
        Some(_) if incremental => (" in an incremental ZFS send stream", ""),
        Some(_) => (" in a ZFS send stream", ""),
        None => ("", ""),
    };
    let compressed =
        if facts.file.compressed { format!(" in {}", facts.file.compression) } else { String::new() };
    page.line("contents", &format!("{}{in_stream}{compressed}{remedy}", facts.contents));
    if let Some(inflated) = &facts.inflated {
        page.block(if facts.stream.is_some() { "stream, expanded" } else { "expanded" });
        page.line("size", &units::size(inflated.size));
        page.line("sha1", &inflated.sha1);
        page.line("sha256", &inflated.sha256);
    }
    facts.stream.iter().for_each(|stream| page.stream(stream));
    facts.dataset.iter().for_each(|dataset| page.dataset(dataset));
    facts.disk.iter().for_each(|disk| page.disk(disk));
    facts.fat.iter().for_each(|fat| page.fat(fat));
    if let Some(tar) = &facts.tar {
        page.block("archive");
        page.line("members", &tar.members);
        page.line("top", &tar.top_directories.join(", "));
    }
    facts.boot_archives.iter().for_each(|archive| page.archive(archive));
    facts.manifest.iter().for_each(|manifest| page.manifest(manifest));
    if !facts.problems.is_empty() {
        page.block("could not be read");
        facts.problems.iter().for_each(|problem| page.item(problem));
    }
    page.text
}

/// The first few of many names.
fn listed(names: &[String]) -> String {
    const MOST: usize = 8;
    let shown = names[..names.len().min(MOST)].join(", ");
    if names.len() > MOST { format!("{shown} and {} more", names.len() - MOST) } else { shown }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn block(&mut self, title: &str) {
        let _ = writeln!(self.text, "\n{title}");
    }

    fn line(&mut self, name: &str, value: &dyn Display) {
        let _ = writeln!(self.text, "  {name:<NAMES$}{value}");
    }

    fn item(&mut self, value: &str) {
        let _ = writeln!(self.text, "  - {value}");
    }

    fn stream(&mut self, stream: &StreamFacts) {
        self.block("stream");
        self.line("snapshot", &stream.name);
        self.line("guid", &stream.guid);
        if let Some(from) = &stream.from_guid {
            self.line("increment to", from);
        }
        self.line("created", &stream.created);
        self.line("features", &stream.features);
        if let Some(size) = stream.volume_size {
            self.line("volume size", &units::size(size));
        }
        if let (Some(block), Some(blocks)) = (stream.block_size, stream.blocks) {
            self.line("blocks", &format!("{blocks} of {block} bytes"));
        }
        if let Some(records) = stream.records {
            self.line("records", &records);
        }
        if let Some(snapshots @ 2..) = stream.snapshots {
            self.line("snapshots", &snapshots);
        }
    }

    fn dataset(&mut self, dataset: &DatasetFacts) {
        self.block("file system");
        self.line("ZPL version", &dataset.zpl_version);
        for origin in &dataset.origins {
            let clone = if dataset.clone { "clone of " } else { "" };
            self.line("origin", &format!("{clone}{} (GUID {})", origin.path, origin.guid));
        }
        let mut root = if dataset.has_root_folder { "the folder root" } else { "no folder root" }.to_owned();
        if !dataset.beside_root.is_empty() {
            let _ = write!(root, ", beside it {}", listed(&dataset.beside_root));
        }
        self.line("zone", &root);
        if let Some(product) = &dataset.product {
            self.line("/etc/product", product);
        }
        let totals = &dataset.totals;
        self.line("objects", &totals.objects);
        for (name, count) in [
            ("files", totals.files),
            ("folders", totals.directories),
            ("symbolic links", totals.symlinks),
            ("devices etc.", totals.specials),
            ("further names", totals.further_names),
            ("with attributes", totals.with_attributes),
        ] {
            self.line(name, &count);
        }
        self.line("contents", &units::size(totals.bytes));
        self.line("holes", &units::size(totals.holes));
        self.line("defects", if dataset.findings.is_empty() { &"none" } else { &"FOUND" });
        dataset.findings.iter().for_each(|finding| self.item(finding));
    }

    fn disk(&mut self, disk: &DiskFacts) {
        self.block("disk");
        self.line("size", &units::size(disk.size));
        self.line("signature", &disk.signature);
        for partition in &disk.partitions {
            let active = if partition.active { ", active" } else { "" };
            let range = format!(
                "type {}{active}, sector {}, {} sectors",
                partition.kind, partition.first_lba, partition.sectors
            );
            self.line(&format!("partition {}", partition.number), &range);
        }
        self.line("boot loader", &disk.loader);
        for (index, menu) in disk.menus.iter().enumerate() {
            if disk.menus[..index].iter().any(|other| other.same_as(menu)) {
                self.block(&format!("boot menu ({}): the same", menu.place));
                continue;
            }
            self.block(&format!("boot menu ({}), {} s", menu.place, menu.timeout));
            for (number, entry) in menu.entries.iter().enumerate() {
                let mark = if number == menu.default { "*" } else { " " };
                let _ = writeln!(self.text, " {mark}{}", entry.title);
                let _ = writeln!(self.text, "    kernel  {}", entry.command_line);
                for module in &entry.modules {
                    let _ = writeln!(self.text, "    module  {module}");
                }
            }
        }
    }

    fn fat(&mut self, fat: &FatFacts) {
        self.block("FAT32");
        self.line("label", &if fat.label.is_empty() { "none" } else { &fat.label });
        self.line("serial", &fat.serial);
        self.line("made by", &fat.made_by);
        self.line("clusters", &format!("{} of {} bytes", fat.clusters, fat.cluster_bytes));
        self.line("free", &units::size(fat.free_bytes));
        self.line("hidden sectors", &fat.hidden_sectors);
        self.line("files", &fat.files);
    }

    fn archive(&mut self, archive: &ArchiveFacts) {
        self.block("boot archive");
        self.line("path", &archive.path);
        if let Some(platform) = &archive.platform {
            self.line("platform", platform);
        }
        self.line("size", &units::size(archive.size));
        if !archive.sha1.is_empty() {
            let agrees = match archive.hash_agrees {
                Some(true) => " (as its hash file says)",
                Some(false) => " (its hash file says something else)",
                None => " (no hash file)",
            };
            self.line("sha1", &format!("{}{agrees}", archive.sha1));
        }
        if let Some(ufs) = &archive.ufs {
            self.line("file system", &format!("UFS, {}, clean", units::size(ufs.size)));
            self.line("blocks", &format!("{} bytes, fragments {} bytes", ufs.block_size, ufs.fragment_size));
            self.line("free", &units::size(ufs.free));
            self.line("inodes", &format!("{}, {} free", ufs.inodes, ufs.free_inodes));
            if let Some(stamp) = &ufs.issue_stamp {
                self.line("/etc/issue says", stamp);
            }
        }
        if let Some(problem) = &archive.problem {
            self.line("unreadable", problem);
        }
    }

    fn manifest(&mut self, manifest: &Manifest) {
        self.block("manifest");
        self.line("file", &manifest.path);
        for (name, value) in [
            ("uuid", &manifest.uuid),
            ("name", &manifest.name),
            ("version", &manifest.version),
            ("type", &manifest.kind),
            ("published", &manifest.published_at),
        ] {
            if let Some(value) = value {
                self.line(name, value);
            }
        }
        self.line(
            "agreement",
            &if manifest.problems.is_empty() { "agrees with the image" } else { "DISAGREES" },
        );
        manifest.problems.iter().for_each(|problem| self.item(problem));
        manifest.cautions.iter().for_each(|caution| self.item(&format!("caution: {caution}")));
    }
}
