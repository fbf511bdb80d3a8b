//! Checks of file systems in streams, which are the images of zones.

use kiln_zstream::fs::objects::StreamInfo;

use super::findings::Findings;
use crate::contents::dataset::{Dataset, ZONE_ROOT};
use crate::contents::manifest::Manifest;
use crate::contents::tree::{self, Node, Tree, show};
use crate::units;

/// Most defects that are listed; the rest are counted.
const MAX_LISTED: usize = 50;

/// The repository of services that a zone of brand joyent brings along, and the size of the smallest one in bytes: a page of
/// SQLite 2 (source: illumos-gate, cmd/svc/configd/backend.c).
const REPOSITORY: &str = "etc/svc/repository.db";
const REPOSITORY_PAGE: u64 = 1024;

/// What else a zone of brand joyent cannot boot or be provisioned without, below its root (source of the last: smartos-live,
/// src/vm).
const WANTED: [(&str, &str); 4] = [
    ("etc/passwd", "services do not find their users"),
    ("etc/group", "services do not find their groups"),
    ("etc/shadow", "nobody can log in"),
    ("var/svc", "vmadm has no place for the mark by which it learns that the zone is up"),
];

/// Checks what a stream says about itself.
pub fn check_stream(findings: &mut Findings, info: &StreamInfo) {
    findings.passed(
        "stream",
        format!(
            "{} records, every checksum is right, snapshot {} with GUID {}",
            info.records, info.name, info.guid
        ),
    );
    if info.snapshots != 1 {
        let problem = format!("it holds {} snapshots, and imgadm takes one", info.snapshots);
        findings.problem("stream", problem);
    }
    if !info.name.ends_with("@final") {
        let note = format!("its snapshot is called {}; imgadm renames it to @final", info.name);
        findings.note("stream", note);
    }
    if info.from_guid != 0 && !info.clone {
        findings.problem(
            "stream",
            "it is an increment within one dataset and not a clone of its origin, so it cannot be received as an image of its \
             own",
        );
    }
    if !info.features.known_in_2013() {
        let note = format!("receivers of 2013 do not know its features: {}", info.features);
        findings.note("stream", note);
    }
}

/// Checks a file system, and what a zone of it needs.
pub fn check(findings: &mut Findings, dataset: &Dataset, manifest: Option<&Manifest>) {
    for finding in dataset.findings.iter().take(MAX_LISTED) {
        findings.problem("file system", finding.to_string());
    }
    if let Some(more @ 1..) = dataset.findings.len().checked_sub(MAX_LISTED) {
        findings.problem("file system", format!("{more} more defects are not listed"));
    }
    let Some(tree) = findings.take("file system", dataset.tree()) else { return };
    if dataset.findings.is_empty() {
        let totals = tree.totals();
        findings.passed(
            "file system",
            format!(
                "version {}, without defects: {}, {}, {}, {} and the like",
                tree.version(),
                units::count(totals.files, "file"),
                units::count(totals.directories, "folder"),
                units::count(totals.symlinks, "link"),
                units::count(totals.specials, "device")
            ),
        );
    }
    for origin in &dataset.origins {
        findings.passed(
            "origin",
            format!("{} has the GUID that is needed, {}", origin.path.display(), origin.guid),
        );
    }
    let kind = manifest.and_then(|manifest| manifest.kind.as_deref());
    let Some(root) = check_top(findings, &*tree, kind) else { return };
    if kind.is_none_or(|kind| kind == "zone-dataset") {
        let brand = manifest.and_then(|manifest| manifest.brand.as_deref()).unwrap_or("joyent");
        check_zone(findings, &*tree, &root, brand);
    }
}

/// Checks what is on top of the dataset, and returns the folder that the zone sees as its `/`.
fn check_top(findings: &mut Findings, tree: &dyn Tree, kind: Option<&str>) -> Option<Node> {
    let top = findings.take("file system", tree.root().and_then(|root| tree.children(&root)))?;
    let (root, others): (Vec<Node>, Vec<Node>) =
        top.into_iter().partition(|node| node.name() == ZONE_ROOT && node.is_directory());
    let root = root.into_iter().next();
    if root.is_some() {
        findings.passed("zone", "the dataset holds a folder root, which the zone sees as /");
        if !others.is_empty() {
            let names: Vec<String> = others.iter().map(|node| show(node.name())).collect();
            findings.note(
                "zone",
                format!(
                    "beside the folder root there is more, which every zone inherits: {}",
                    names.join(", ")
                ),
            );
        }
    } else {
        let text = "there is no folder root in the dataset, which a zone would see as /";
        match kind {
            Some("zone-dataset" | "lx-dataset") => findings.problem("zone", text),
            _ => findings.note("zone", text),
        }
    }
    root
}

/// Notes what a zone of this brand will miss. An image may be meant for something else, so nothing of it is wrong.
fn check_zone(findings: &mut Findings, tree: &dyn Tree, root: &Node, brand: &str) {
    let at = |path: &str| tree::find(tree, &root.join(path.as_bytes()), false);
    let mut missing = 0;
    for (path, consequence) in WANTED {
        if let Some(None) = findings.take("zone", at(path)) {
            missing += 1;
            findings.note("zone", format!("without /{path} {consequence}"));
        }
    }
    match findings.take("zone", at(REPOSITORY)).flatten() {
        // Its zones start with the repository of their platform (source: illumos-joyent, lib/brand/jcommon/README.smf).
        None if brand == "joyent-minimal" => {}
        None => {
            missing += 1;
            findings.note("zone", format!("without /{REPOSITORY} a zone of brand joyent does not boot"));
        }
        Some(node) if !node.is_file() || node.metadata.size < REPOSITORY_PAGE => {
            missing += 1;
            findings.note("zone", format!("/{REPOSITORY} is no repository of services"));
        }
        Some(_) => {}
    }
    if missing == 0 {
        findings.passed("zone", format!("what a zone of brand {brand} needs to boot is there"));
    }
}
