//! `kiln verify`: whether an image is as it has to be.

mod archives;
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
use crate::contents::fat::FatTree;
use crate::contents::manifest;
use crate::contents::open::{self, Contents, How, Image};
use crate::contents::output;
use crate::contents::shape::Shape;
use crate::contents::tar::TarTree;
use crate::report::{Hint, Report};

/// Checks an image: every checksum, file system, loader, menu and the manifest.
///
/// The checksums of gzip, stream and records; the manifest's digests, sizes and rules; the partition table, the FAT and
/// its boot archives with their hashes and their file systems; the loader's block lists and the paths in its menu.
/// Takes what `kiln inspect` takes.
///
/// Exit status: 0 all is well, 1 something is wrong (each finding is listed). Notes are no findings.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Image file
    image: PathBuf,

    /// Manifest of the image [default: X.manifest beside X.zvol.gz, when there is one]
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// The image or the manifest that was named cannot be opened. All that is wrong inside them is a finding.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let path = &arguments.image;
    // Only what is there can be checked; after this every error is a finding.
    for named in [Some(path), arguments.manifest.as_ref()].into_iter().flatten() {
        let cannot = || format!("cannot open {}", named.display());
        let remedy = "check the path: it has to be a file that you may read";
        // A pipe must be opened once only: what writes to it would not survive a second time.
        if fs::metadata(named).with_context(cannot).hint(remedy)?.is_file() {
            File::open(named).with_context(cannot).hint(remedy)?;
        }
    }
    let mut findings = Findings::default();
    let quiet = output::quiet();
    if let Some(image) = findings.take("image", open::open(path, How { digests: true }, &quiet)) {
        check(&mut findings, &image, &quiet);
        let found = arguments.manifest.clone().or_else(|| manifest::beside(path));
        match found {
            Some(manifest) => check_manifest(&mut findings, &manifest, &image),
            None if image.contents.stream.is_some() => {
                findings.note("manifest", "there is none beside the image, so nothing is compared with it");
            }
            None => {}
        }
    }
    present(&findings, path, report)?;
    Ok(if findings.problems.is_empty() { Ending::Done } else { Ending::Findings })
}

fn check(findings: &mut Findings, image: &Image, report: &Report) {
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
        Shape::Stream => {}
        Shape::Gzip | Shape::Other => {
            findings.problem(
                "contents",
                "this is no disk, boot archive, FAT volume or tar archive that kiln knows",
            );
        }
    }
}

fn check_wrappings(findings: &mut Findings, contents: &Contents) {
    if contents.compressed {
        findings.passed("gzip", "the checksum and length of every member are right");
    }
    if let Some(offset) = contents.trailing {
        findings
            .note("gzip", format!("from byte {offset} on something follows that is no gzip and is ignored"));
    }
    let Some(stream) = &contents.stream else {
        if !contents.compressed && matches!(contents.shape, Shape::Disk | Shape::Fat | Shape::Tar) {
            // The hash file speaks for the boot archive alone, so a flipped bit in the kernel would not be seen.
            findings.note(
                "contents",
                "no checksum covers the whole of it: only what has one of its own is proved",
            );
        }
        return;
    };
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

fn check_manifest(findings: &mut Findings, path: &Path, image: &Image) {
    let Some(manifest) = findings.take("manifest", manifest::check(path, image)) else { return };
    if manifest.problems.is_empty() {
        findings.passed("manifest", format!("{} is valid and agrees with the image", manifest.path));
    }
    for problem in manifest.problems {
        findings.problem("manifest", problem);
    }
    for caution in manifest.cautions {
        findings.note("manifest", caution);
    }
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
