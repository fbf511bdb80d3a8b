//! The facts about an image, gathered once for people and machines.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use kiln_bootdisk::builtin::Code;
use kiln_zstream::record::ObjsetType;
use serde::Serialize;

use super::dataset::{self, DatasetFacts};
use crate::civil::iso;
use crate::compression::Compression;
use crate::contents::dataset::Dataset;
use crate::contents::disk::Disk;
use crate::contents::fat::FatTree;
use crate::contents::manifest::{self, Manifest};
use crate::contents::open::{Image, Stream};
use crate::contents::shape::Shape;
use crate::contents::source::Source;
use crate::contents::survey::{self, BootArchive, BootMenu};
use crate::contents::tar::TarTree;
use crate::contents::tree::{self, Tree};
use crate::contents::ufs::UfsTree;
use crate::report::Report;
use crate::stamp::Stamp;

/// Everything that is known about an image.
#[derive(Debug, Serialize)]
pub struct Facts {
    pub file: FileFacts,
    /// What is inside all wrappings, in words.
    pub contents: &'static str,
    pub stream: Option<StreamFacts>,
    /// Digests of what is inside the compression.
    pub inflated: Option<DigestFacts>,
    pub dataset: Option<DatasetFacts>,
    pub disk: Option<DiskFacts>,
    pub fat: Option<FatFacts>,
    pub boot_archives: Vec<ArchiveFacts>,
    pub tar: Option<TarFacts>,
    /// Stamps of the platforms in the image.
    pub platforms: Vec<String>,
    pub manifest: Option<Manifest>,
    /// What could not be read.
    pub problems: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct FileFacts {
    pub path: String,
    pub compressed: bool,
    /// As manifests name it.
    pub compression: &'static str,
    #[serde(flatten)]
    pub digests: Option<DigestFacts>,
}

#[derive(Debug, Serialize)]
pub struct DigestFacts {
    pub size: u64,
    pub sha1: String,
    pub sha256: String,
}

#[derive(Debug, Serialize)]
pub struct StreamFacts {
    pub name: String,
    /// What it is of, in words.
    pub of: &'static str,
    /// As text, because 64 bits are more than JavaScript's numbers hold.
    pub guid: String,
    pub from_guid: Option<String>,
    pub created: String,
    pub creation_time: u64,
    pub features: String,
    pub volume_size: Option<u64>,
    pub block_size: Option<u32>,
    pub blocks: Option<u64>,
    pub records: Option<u64>,
    pub stream_bytes: Option<u64>,
    pub snapshots: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct DiskFacts {
    pub size: u64,
    pub signature: String,
    pub partitions: Vec<PartitionFacts>,
    pub loader: String,
    pub menus: Vec<BootMenu>,
}

#[derive(Debug, Serialize)]
pub struct PartitionFacts {
    pub number: usize,
    #[serde(rename = "type")]
    pub kind: String,
    pub active: bool,
    pub first_lba: u32,
    pub sectors: u32,
}

#[derive(Debug, Serialize)]
pub struct FatFacts {
    pub label: String,
    pub serial: String,
    pub made_by: String,
    pub cluster_bytes: u64,
    pub clusters: u32,
    pub free_bytes: u64,
    pub hidden_sectors: u32,
    pub files: u64,
}

#[derive(Debug, Serialize)]
pub struct ArchiveFacts {
    pub path: String,
    pub platform: Option<String>,
    pub size: u64,
    pub sha1: String,
    /// Whether the hash file beside it agrees; absent without one.
    pub hash_agrees: Option<bool>,
    pub ufs: Option<UfsFacts>,
    /// Why the file system in it cannot be read.
    pub problem: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct UfsFacts {
    pub size: u64,
    pub free: u64,
    pub block_size: u32,
    pub fragment_size: u32,
    pub inodes: u32,
    pub free_inodes: u32,
    /// The platform's stamp in /etc/issue.
    pub issue_stamp: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct TarFacts {
    pub members: u64,
    pub top_directories: Vec<String>,
}

/// Gathers the facts. What is damaged inside becomes a problem in them, so that everything else is told.
///
/// # Errors
/// The manifest was named and cannot be read.
pub fn gather(image: &Image, manifest: Option<&Path>, report: &Report) -> Result<Facts> {
    let contents = &image.contents;
    let digests = |digests: &crate::contents::open::Digests| DigestFacts {
        size: digests.size,
        sha1: digests.sha1.clone(),
        sha256: digests.sha256.clone(),
    };
    let mut facts = Facts {
        file: FileFacts {
            path: image.path.display().to_string(),
            compressed: contents.compression != Compression::None,
            compression: contents.compression.name(),
            digests: image.digests.as_ref().map(digests),
        },
        contents: contents.shape.name(),
        stream: contents.stream.as_ref().map(|found| stream(found, contents.dataset.as_deref())),
        inflated: contents.inflated.as_ref().map(digests),
        dataset: None,
        disk: None,
        fat: None,
        boot_archives: Vec::new(),
        tar: None,
        platforms: Vec::new(),
        manifest: None,
        problems: Vec::new(),
    };
    let inside = facts.look_inside(&contents.source, contents.shape, report);
    facts.note(inside);
    if let Some(dataset) = &contents.dataset {
        let (found, result) = dataset::gather(dataset);
        facts.dataset = Some(found);
        facts.note(result);
    }
    let found = manifest.map(Path::to_owned).or_else(|| manifest::beside(&image.path));
    facts.manifest = found.map(|path| manifest::check(&path, image)).transpose()?;
    let mut platforms: Vec<String> =
        facts.boot_archives.iter().filter_map(|archive| archive.platform.clone()).collect();
    platforms.dedup();
    facts.platforms = platforms;
    Ok(facts)
}

impl Facts {
    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.problems.push(format!("{error:#}"));
        }
    }

    fn look_inside(&mut self, source: &Source, shape: Shape, report: &Report) -> Result<()> {
        match shape {
            Shape::Disk => self.disk(source, report),
            Shape::Fat => {
                let tree = FatTree::open(source.clone())?;
                self.fat(&tree)?;
                self.archives(&*tree, report)
            }
            Shape::Ufs => {
                let root = source.clone();
                let archive = ArchiveFacts {
                    path: "/".to_owned(),
                    platform: None,
                    size: source.size(),
                    sha1: String::new(),
                    hash_agrees: None,
                    ufs: None,
                    problem: None,
                };
                self.boot_archives.push(with_ufs(archive, root));
                Ok(())
            }
            Shape::Tar => {
                let tree = TarTree::open(source.clone())?;
                self.tar(&tree)?;
                self.archives(&*tree, report)
            }
            Shape::Compressed(_) | Shape::Stream | Shape::Dataset | Shape::Other => Ok(()),
        }
    }

    fn disk(&mut self, source: &Source, report: &Report) -> Result<()> {
        let disk = Disk::open(source.clone())?;
        let partitions = (1..).zip(&disk.mbr.partitions).filter_map(|(number, partition)| {
            partition.map(|partition| PartitionFacts {
                number,
                kind: format!("{:#04x}", partition.kind),
                active: partition.active,
                first_lba: partition.first_lba,
                sectors: partition.sectors,
            })
        });
        self.disk = Some(DiskFacts {
            size: source.size(),
            signature: format!("{:08x}", disk.mbr.signature),
            partitions: partitions.collect(),
            loader: String::new(),
            menus: Vec::new(),
        });
        let fat = disk.require_fat().and_then(|(_, partition)| FatTree::open(disk.partition(&partition)));
        let tree = match fat {
            Ok(tree) => Some(tree),
            Err(error) => {
                self.problems.push(format!("{error:#}"));
                None
            }
        };
        let boot = survey::boot(&disk, tree.as_deref().map(|tree| tree as &dyn Tree))?;
        if let Some(facts) = &mut self.disk {
            let code = boot.builtin.as_ref().and_then(|found| found.as_ref().ok()).map(|found| found.code);
            let state = match code {
                Some(Code::OtherVersion) => ", of another version of kiln",
                Some(Code::Damaged) => ", with damaged code",
                Some(Code::Current) | None => "",
            };
            facts.loader = format!("{}{state}", boot.loader);
            facts.menus = boot.menus;
        }
        if let Some(Err(error)) = boot.builtin {
            self.problems.push(format!("{error:#}"));
        }
        if let Some(tree) = tree {
            let fat = self.fat(&tree);
            self.note(fat);
            self.archives(&*tree, report)?;
        }
        Ok(())
    }

    fn fat(&mut self, tree: &Arc<FatTree>) -> Result<()> {
        let summary = tree.volume().summary()?;
        let mut files = 0;
        tree::walk(&**tree, &tree.root()?, &mut |node| {
            files += u64::from(node.is_file());
            Ok(())
        })?;
        self.fat = Some(FatFacts {
            label: summary.label,
            serial: format!("{:04X}-{:04X}", summary.serial >> 16, summary.serial & 0xFFFF),
            made_by: summary.oem,
            cluster_bytes: summary.geometry.cluster_bytes(),
            clusters: summary.geometry.clusters,
            free_bytes: u64::from(summary.free_clusters) * summary.geometry.cluster_bytes(),
            hidden_sectors: summary.hidden_sectors,
            files,
        });
        Ok(())
    }

    fn tar(&mut self, tree: &TarTree) -> Result<()> {
        let root = tree.root()?;
        let mut members = 0;
        tree::walk(tree, &root, &mut |_| {
            members += 1;
            Ok(())
        })?;
        let top_directories = tree.children(&root)?.iter().map(|node| tree::show(node.name())).collect();
        // The root itself is no member.
        self.tar = Some(TarFacts { members: members - 1, top_directories });
        Ok(())
    }

    fn archives(&mut self, tree: &dyn Tree, report: &Report) -> Result<()> {
        for archive in survey::boot_archives(tree)? {
            let facts = archive_facts(&archive, report).with_context(|| archive.node.shown())?;
            self.boot_archives.push(facts);
        }
        Ok(())
    }
}

fn stream(stream: &Stream, dataset: Option<&Dataset>) -> StreamFacts {
    let (begin, volume, info) =
        (&stream.snapshot, stream.volume.as_ref(), dataset.map(|dataset| &dataset.info));
    // A compound stream may have several snapshots, of which the last is what a receiver has in the end.
    let (name, guid, created) = match (volume, info) {
        (Some(volume), _) => (&volume.name, volume.guid, volume.creation_time),
        (None, Some(info)) => (&info.name, info.guid, info.creation_time),
        (None, None) => (&begin.to_name, begin.to_guid, begin.creation_time),
    };
    let of_both = |of_volume: Option<u64>, of_dataset: Option<u64>| of_volume.or(of_dataset);
    StreamFacts {
        name: name.clone(),
        of: match begin.objset_type {
            ObjsetType::FileSystem => "file system",
            ObjsetType::Volume => "volume",
            _ => "something else",
        },
        guid: guid.to_string(),
        from_guid: (begin.from_guid != 0).then(|| begin.from_guid.to_string()),
        created: iso(i64::try_from(created).unwrap_or(i64::MAX)),
        creation_time: created,
        features: info.map_or(begin.features, |info| info.features).to_string(),
        volume_size: volume.map(|volume| volume.size),
        block_size: volume.map(|volume| volume.block_size),
        blocks: volume.map(|volume| volume.blocks),
        records: of_both(volume.map(|volume| volume.records), info.map(|info| info.records)),
        stream_bytes: of_both(volume.map(|volume| volume.stream_bytes), info.map(|info| info.stream_bytes)),
        snapshots: of_both(volume.map(|volume| volume.snapshots), info.map(|info| info.snapshots)),
    }
}

fn archive_facts(archive: &BootArchive, report: &Report) -> Result<ArchiveFacts> {
    let sha1 = archive.sha1(report)?;
    let facts = ArchiveFacts {
        path: archive.node.shown(),
        platform: archive.stamp.as_ref().map(Stamp::to_string),
        size: archive.source.size(),
        hash_agrees: archive.stated_sha1().map(|stated| stated == sha1),
        sha1,
        ufs: None,
        problem: None,
    };
    Ok(with_ufs(facts, archive.source.clone()))
}

fn with_ufs(mut facts: ArchiveFacts, source: Source) -> ArchiveFacts {
    match UfsTree::open(source).and_then(|tree| ufs(&tree)) {
        Ok(ufs) => facts.ufs = Some(ufs),
        Err(error) => facts.problem = Some(format!("{error:#}")),
    }
    facts
}

fn ufs(tree: &UfsTree) -> Result<UfsFacts> {
    let statistics = tree.statistics();
    let issue_stamp = match tree::find(tree, b"/etc/issue", true)? {
        Some(node) if node.is_file() => {
            let text = tree.contents(&node)?.head(16 << 10)?;
            let stamp = String::from_utf8_lossy(&text).lines().find_map(Stamp::find_in);
            stamp.as_ref().map(Stamp::to_string)
        }
        _ => None,
    };
    Ok(UfsFacts {
        size: statistics.size_bytes,
        free: statistics.free_bytes,
        block_size: statistics.block_size,
        fragment_size: statistics.fragment_size,
        inodes: statistics.inodes,
        free_inodes: statistics.free_inodes,
        issue_stamp,
    })
}
