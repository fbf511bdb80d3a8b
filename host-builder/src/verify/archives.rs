//! Checks of boot archives and of the platforms around them.

use kiln_ufs::check::Severity;

use super::findings::Findings;
use super::guest;
use crate::contents::source::Source;
use crate::contents::survey::{self, BootArchive};
use crate::contents::tree::{self, Node, Tree, show};
use crate::pieces::record::Record;
use crate::platform::UNIX;
use crate::report::Report;
use crate::stamp::Stamp;
use crate::units;

/// Most findings of one file system that are listed; the rest are counted.
const MAX_LISTED: usize = 50;
/// Bytes of a hash file: 40 digits and a newline. Kernels of 2012 and 2013 skip the check when it is shorter.
const HASH_BYTES: usize = 41;

/// Checks every boot archive in a tree, and gives the records that kiln left in them.
pub fn check_all(findings: &mut Findings, tree: &dyn Tree, report: &Report) -> Vec<Record> {
    let Some(archives) = findings.take("boot archive", survey::boot_archives(tree)) else {
        return Vec::new();
    };
    if archives.is_empty() {
        findings.note("boot archive", "there is none in the image");
    }
    let mut records = Vec::new();
    for archive in &archives {
        let place = archive.node.shown();
        check_hash(findings, &place, archive, report);
        check_ufs(findings, &place, &archive.source);
        records.extend(guest::check(findings, &place, &archive.source, archive.stamp.as_ref()));
    }
    records
}

/// Checks the layout of a platform tarball, and its boot archive. Other archives only get the second.
pub fn check_platform(findings: &mut Findings, tree: &dyn Tree, report: &Report) {
    let top = tree.root().and_then(|root| tree.children(&root));
    let Some(top) = findings.take("tar", top) else { return };
    if let [directory] = top.as_slice()
        && is_platform(directory)
    {
        let name = show(directory.name());
        match tree::find(tree, &directory.join(UNIX.as_bytes()), true) {
            Ok(Some(node)) if node.is_file() => findings.passed("platform", format!("{name} has its kernel")),
            _ => findings.problem("platform", format!("{name} has no {UNIX}")),
        }
        if Stamp::find_in(&name).is_none() {
            findings.note("platform", format!("the name {name} holds no stamp"));
        }
    }
    check_all(findings, tree, report);
}

fn is_platform(node: &Node) -> bool {
    node.is_directory() && node.name().to_ascii_lowercase().starts_with(b"platform-")
}

fn check_hash(findings: &mut Findings, place: &str, archive: &BootArchive, report: &Report) {
    let Some(sha1) = findings.take(place, archive.sha1(report)) else { return };
    let hash_place = format!("{place}.hash");
    let (Some(stated), Some(text)) = (archive.stated_sha1(), &archive.hash) else {
        findings.note(place, "there is no hash file beside it, so its contents are not proved");
        return;
    };
    if stated != sha1 {
        let problem = format!("says {}, but the SHA-1 of the archive is {sha1}", show(stated.as_bytes()));
        findings.problem(hash_place, problem);
    } else if text.len() < HASH_BYTES {
        let note = format!(
            "has {} bytes; kernels before November 2013 skip the check below {HASH_BYTES}",
            text.len()
        );
        findings.note(hash_place, note);
    } else {
        findings.passed(hash_place, "agrees with the archive");
    }
}

/// Checks a UFS thoroughly.
pub fn check_ufs(findings: &mut Findings, place: &str, source: &Source) {
    let result = kiln_ufs::check::check(source, source.size()).map_err(anyhow::Error::new);
    let Some(report) = findings.take(place, result) else { return };
    let (mut listed, mut notices) = (0, 0);
    for finding in &report.findings {
        let place = format!("{place}!");
        match finding.kind.severity() {
            Severity::Notice if notices < MAX_LISTED => {
                notices += 1;
                findings.note(place, finding.to_string());
            }
            Severity::Damage if listed < MAX_LISTED => {
                listed += 1;
                findings.problem(place, finding.to_string());
            }
            _ => {}
        }
    }
    let unlisted = report.total().saturating_sub((listed + notices) as u64);
    if unlisted > 0 {
        let text = format!("{unlisted} more findings of this file system are not listed");
        if report.is_clean() { findings.note(place, text) } else { findings.problem(place, text) }
    } else if !report.complete && listed == 0 {
        findings.problem(place, "the file system is too damaged to be checked beyond its superblock");
    }
    if report.is_clean() {
        let totals = &report.totals;
        findings.passed(
            place,
            format!(
                "its file system is consistent: {}, {} directories, {}, {}",
                units::count(totals.regular_files, "file"),
                totals.directories,
                units::count(totals.symlinks, "link"),
                units::count(totals.devices, "device")
            ),
        );
    }
}
