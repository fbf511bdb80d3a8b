//! The image that another is an increment on: its file, its manifest, and what is under it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use uuid::Uuid;

use super::fields::{self, Fields};
use super::stream::{ImageFile, ImageTree};
use crate::contents::manifest;
use crate::report::{Hint, Report};

/// Endings of manifests in folders of images.
const MANIFESTS: [&str; 3] = ["json", "imgmanifest", "manifest"];

/// Most images on top of each other. imgadm itself sets no bound; this one ends circles and mistakes.
const DEPTH_LIMIT: usize = 64;

/// Most manifests in a folder that are looked into.
const FOLDER_LIMIT: usize = 10_000;

/// An image that others build on.
#[derive(Debug)]
pub struct Origin {
    /// Its file.
    pub file: PathBuf,
    /// Its manifest, if there is one beside it.
    pub manifest: Option<Fields>,
    /// The files under it, in any order.
    pub below: Vec<PathBuf>,
    /// How many images are on top of each other, itself included.
    pub depth: usize,
}

impl Origin {
    /// Reads its file system.
    ///
    /// # Errors
    /// It is damaged, or what it goes on top of is.
    pub fn read(&self, report: &Report) -> Result<ImageTree> {
        ImageFile::open(&self.file, report)?.read(&self.below, report)
    }

    /// Its file and all under it, for what goes on top of it.
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.file].into_iter().chain(&self.below).cloned().collect()
    }
}

/// Finds the origin that `names` end with, and what is under it: files, or UUIDs of images whose manifests and files are in `folders`.
/// What is under it and not named is looked for there and beside it by the manifests.
///
/// # Errors
/// An image is not there or not of its manifest, or it is not known what is under one.
pub fn find(names: &[String], folders: &[PathBuf], report: &Report) -> Result<Option<Origin>> {
    let mut known = names.iter().map(|name| named(name, folders)).collect::<Result<Vec<_>>>()?;
    let Some((file, manifest)) = known.pop() else { return Ok(None) };
    let mut below: Vec<PathBuf> = known.into_iter().map(|(file, _)| file).collect();
    let mut headings =
        below.iter().map(|path| Ok(ImageFile::open(path, report)?.snapshot)).collect::<Result<Vec<_>>>()?;
    let mut depth = 1;
    let mut top = (file.clone(), manifest.clone());
    let mut from = ImageFile::open(&file, report)?.snapshot.from_guid;
    let mut met = HashSet::new();
    while from != 0 {
        depth += 1;
        if depth > DEPTH_LIMIT || !met.insert(from) {
            return Err(anyhow!("{} has more than {DEPTH_LIMIT} images under it", file.display()))
                .hint("give a full image as origin");
        }
        if let Some(next) = headings.iter().find(|next| next.to_guid == from) {
            // A manifest of what was named is not needed to find the next.
            from = next.from_guid;
            top.1 = None;
            continue;
        }
        let uuid = top.1.as_ref().and_then(|manifest| manifest.get("origin")).and_then(Value::as_str);
        let uuid = uuid
            .ok_or_else(|| {
                anyhow!(
                    "{} goes on top of the snapshot with GUID {from}, and nothing says which image has it",
                    top.0.display()
                )
            })
            .hint("name that image, too, before it: --origin LOWER --origin UPPER")?;
        let beside = top.0.parent().map(Path::to_owned);
        let looked: Vec<PathBuf> = folders.iter().cloned().chain(beside).collect();
        let (path, manifest) = by_uuid(uuid, &looked)
            .with_context(|| format!("cannot find what {} goes on top of", top.0.display()))?;
        let heading = ImageFile::open(&path, report)?.snapshot;
        if heading.to_guid != from {
            return Err(anyhow!(
                "{} goes on top of the snapshot with GUID {from}, and {}, which its manifest says is its origin, has {}",
                top.0.display(),
                path.display(),
                heading.to_guid
            ))
            .hint("look whether the manifests belong to their files");
        }
        from = heading.from_guid;
        headings.push(heading);
        below.push(path.clone());
        top = (path, Some(manifest));
    }
    Ok(Some(Origin { file, manifest, below, depth }))
}

/// An image by its file or UUID, with the manifest beside it.
fn named(name: &str, folders: &[PathBuf]) -> Result<(PathBuf, Option<Fields>)> {
    let path = Path::new(name);
    if let Ok(uuid) = name.parse::<Uuid>()
        && !path.exists()
    {
        return by_uuid(&uuid.to_string(), folders).map(|(file, manifest)| (file, Some(manifest)));
    }
    let Some(beside) = manifest::beside(path) else { return Ok((path.to_owned(), None)) };
    let manifest = fields::file(&beside)?;
    check(path, &beside, &manifest)?;
    Ok((path.to_owned(), Some(manifest)))
}

/// The image of a UUID in folders of manifests and files.
fn by_uuid(uuid: &str, folders: &[PathBuf]) -> Result<(PathBuf, Fields)> {
    for folder in folders {
        for path in manifests(folder)? {
            // What is no manifest is in nobody's way.
            let Ok(manifest) = fields::file(&path) else { continue };
            if manifest.get("uuid").and_then(Value::as_str) != Some(uuid) {
                continue;
            }
            let file = image_of(&path)
                .ok_or_else(|| anyhow!("there is no image beside its manifest {}", path.display()))
                .hint("its name ends in .zfs, .zfs.gz, .zfs.bz2 or .zfs.xz instead")?;
            check(&file, &path, &manifest)?;
            return Ok((file, manifest));
        }
    }
    let looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    Err(anyhow!("there is no image {uuid} in {}", looked.join(", "))).hint(
        "name the folder where its manifest and file are with --images DIR, or the file with --origin FILE",
    )
}

/// The manifests in a folder, sorted; none in one that is not there.
fn manifests(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot = || format!("cannot look for images in {}", folder.display());
    let hint = "check the path given with --images";
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(cannot).hint(hint),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(cannot).hint(hint)?.path();
        let is_manifest =
            path.extension().is_some_and(|ending| MANIFESTS.iter().any(|known| ending == *known));
        if is_manifest && path.is_file() {
            paths.push(path);
        }
        if paths.len() > FOLDER_LIMIT {
            return Err(anyhow!("there are more than {FOLDER_LIMIT} manifests"))
                .with_context(cannot)
                .hint(hint);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The image beside a manifest.
fn image_of(manifest: &Path) -> Option<PathBuf> {
    let endings = ["zfs.gz", "zfs.bz2", "zfs.xz", "zfs"];
    endings.iter().map(|ending| manifest.with_extension(ending)).find(|path| path.is_file())
}

/// Whether a file can be that of a manifest, as far as its size tells.
fn check(file: &Path, path: &Path, manifest: &Fields) -> Result<()> {
    let stated = manifest.get("files").and_then(|files| files.pointer("/0/size")).and_then(Value::as_u64);
    let actual = fs::metadata(file).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len());
    match (stated, actual) {
        (Some(stated), Some(actual)) if stated != actual => Err(anyhow!(
            "{} has {actual} bytes, and its manifest {} says {stated}",
            file.display(),
            path.display()
        ))
        .hint("download the image again, or take the manifest that belongs to it"),
        _ => Ok(()),
    }
}
