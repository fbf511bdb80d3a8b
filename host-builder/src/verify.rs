//! `kiln verify`: whether an image is as it has to be.

mod archives;
mod datasets;
mod disks;
mod findings;
mod guest;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use self::findings::Findings;
use crate::cli::Ending;
use crate::compression::Compression;
use crate::contents::dataset::Keep;
use crate::contents::fat::FatTree;
use crate::contents::manifest::{self, Manifest};
use crate::contents::open::{self, Contents, How, Image};
use crate::contents::origin::{self, Origins};
use crate::contents::output;
use crate::contents::shape::Shape;
use crate::contents::tar::TarTree;
use crate::report::{self, Hint, Report};

/// Checks an image: every checksum, file system, loader, menu and the manifest.
///
/// The checksums of gzip, bzip2, xz, stream and records; the manifest's digests, sizes and rules; the partition table,
/// the FAT and its boot archives with their hashes and their file systems; the loader's block lists and the paths in its
/// menu. Of zone images whatever a receiver would take and then die of, the folder that becomes the zone's /, and whether
/// the images under an incremental one fit. Takes what `kiln inspect` takes.
///
/// Exit status: 0 all is well, 1 something is wrong (each finding is listed). Notes are no findings.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Image file
    image: PathBuf,

    /// Manifest of the image [default: X.manifest, X.imgmanifest or X.json beside X.zvol.gz or X.zfs.gz, when there is one]
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,

    #[command(flatten)]
    origins: Origins,
}

/// Runs the command.
///
/// # Errors
/// The image or the manifest that was named cannot be opened. All that is wrong inside them is a finding.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let path = &arguments.image;
    // Only what is there can be checked; after this every error is a finding.
    let named = [Some(path), arguments.manifest.as_ref()].into_iter().flatten();
    for named in named.chain(&arguments.origins.files) {
        let cannot = || format!("cannot open {}", named.display());
        let remedy = "check the path: it has to be a file that you may read";
        // A pipe must be opened once only: what writes to it would not survive a second time.
        if fs::metadata(named).with_context(cannot).hint(remedy)?.is_file() {
            File::open(named).with_context(cannot).hint(remedy)?;
        }
    }
    let mut findings = Findings::default();
    let quiet = output::quiet();
    let how = How { digests: true, keep: Keep::Small, origins: &arguments.origins.files };
    if let Some(image) = findings.take("image", open::open(path, how, &quiet)) {
        let found = arguments.manifest.clone().or_else(|| manifest::beside(path));
        let manifest = match found {
            Some(manifest) => check_manifest(&mut findings, &manifest, &image),
            None if image.contents.stream.is_some() => {
                findings.note("manifest", "there is none beside the image, so nothing is compared with it");
                None
            }
            None => None,
        };
        check(&mut findings, &image, manifest.as_ref(), &quiet);
    }
    present(&findings, path, report)?;
    Ok(if findings.problems.is_empty() { Ending::Done } else { Ending::Findings })
}

fn check(findings: &mut Findings, image: &Image, manifest: Option<&Manifest>, report: &Report) {
    let contents = &image.contents;
    check_wrappings(findings, contents);
    let source = contents.source.clone();
    match contents.shape {
        Shape::Disk => disks::check(findings, source, &image.scratch, report),
        Shape::Fat => {
            if let Some(tree) = findings.take("FAT", FatTree::open(source)) {
                let ours = disks::has_own_layout(findings, &tree);
                disks::check_fat(findings, &tree, None, ours);
                archives::check_all(findings, &*tree, report);
            }
        }
        Shape::Ufs => {
            archives::check_ufs(findings, "boot archive", &source);
            guest::check(findings, "boot archive", &source, None);
        }
        Shape::Tar => {
            if let Some(tree) = findings.take("tar", TarTree::open(source)) {
                findings.passed("tar", "every header is sound");
                archives::check_platform(findings, &*tree, report);
            }
        }
        Shape::Dataset => {
            if let Some(dataset) = &contents.dataset {
                datasets::check(findings, dataset, manifest);
            }
        }
        Shape::Stream => {
            if let Some(stream) = contents.stream.as_ref().filter(|stream| stream.lacks_origin()) {
                let error = origin::none_named(&stream.snapshot);
                let remedy = report::hint_of(&error).unwrap_or_default();
                findings.problem("stream", format!("its files cannot be checked: {error:#}; {remedy}"));
            }
        }
        Shape::Compressed(_) | Shape::Other => {
            findings.problem(
                "contents",
                "this is no disk, boot archive, FAT volume or tar archive that kiln knows",
            );
        }
    }
}

fn check_wrappings(findings: &mut Findings, contents: &Contents) {
    let compression = contents.compression;
    match compression {
        Compression::None => {}
        Compression::Gzip => findings.passed("gzip", "the checksum and length of every member are right"),
        Compression::Bzip2 | Compression::Xz => {
            findings.passed(compression.name(), "every checksum is right");
        }
    }
    if let Some(offset) = contents.trailing {
        findings
            .note("gzip", format!("from byte {offset} on something follows that is no gzip and is ignored"));
    }
    let Some(stream) = &contents.stream else {
        if compression == Compression::None && matches!(contents.shape, Shape::Disk | Shape::Fat | Shape::Tar)
        {
            // The hash file speaks for the boot archive alone, so a flipped bit in the kernel would not be seen.
            findings.note(
                "contents",
                "no checksum covers the whole of it: only what has one of its own is proved",
            );
        }
        return;
    };
    if let Some(dataset) = &contents.dataset {
        datasets::check_stream(findings, &dataset.info);
        return;
    }
    let Some(volume) = &stream.volume else {
        findings.passed(
            "stream",
            "its checksums are right; it is no whole volume, so its contents are not checked",
        );
        return;
    };
    findings.passed(
        "stream",
        format!("{} records, every checksum is right, volume of {} bytes", volume.records, volume.size),
    );
    if volume.snapshots != 1 {
        let problem = format!("it holds {} snapshots, and imgadm takes one", volume.snapshots);
        findings.problem("stream", problem);
    }
    if !volume.features.known_in_2013() {
        let note = format!("receivers of 2013 do not know its features: {}", volume.features);
        findings.note("stream", note);
    }
}

fn check_manifest(findings: &mut Findings, path: &Path, image: &Image) -> Option<Manifest> {
    let manifest = findings.take("manifest", manifest::check(path, image))?;
    if manifest.problems.is_empty() {
        findings.passed("manifest", format!("{} is valid and agrees with the image", manifest.path));
    }
    for problem in &manifest.problems {
        findings.problem("manifest", problem);
    }
    for caution in &manifest.cautions {
        findings.note("manifest", caution);
    }
    Some(manifest)
}

fn present(findings: &Findings, path: &Path, report: &Report) -> Result<()> {
    if report.is_json() {
        return output::object(&json!({
            "event": "verified",
            "image": path.display().to_string(),
            "ok": findings.problems.is_empty(),
            "findings": findings.problems,
            "notes": findings.notes,
            "passed": findings.passed,
        }));
    }
    let count = findings.problems.len();
    let verdict = match count {
        0 => "ok".to_owned(),
        1 => "1 finding".to_owned(),
        _ => format!("{count} findings"),
    };
    output::text(&format!("{findings}{}: {verdict}\n", path.display()))
}
