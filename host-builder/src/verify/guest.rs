//! Checks of what was put into a boot archive for the guest: kiln's files and links with the record that vouches for them, and
//! the service manifests of the site.

use std::io::Read;

use anyhow::{Context, Result};

use super::findings::Findings;
use crate::contents::source::Source;
use crate::contents::tree::{self, Node, Tree, show};
use crate::contents::ufs::UfsTree;
use crate::pieces::record::{self, Proof, Record, Trace};
use crate::smf::{self, Manifest};
use crate::stamp::Stamp;

/// Largest record that is read, in bytes.
const RECORD_LIMIT: usize = 1 << 20;

/// The folder of manifests that are not the platform's own. They are imported before any service starts.
const SITE: &str = "lib/svc/manifest/site";

/// All manifests that are imported that early.
const MANIFESTS: &str = "lib/svc/manifest";

/// Largest manifest that is read, in bytes.
const MANIFEST_LIMIT: usize = 4 << 20;

/// Checks what is in a boot archive for the guest, and returns kiln's record. Archives that kiln did not build have none.
pub fn check(
    findings: &mut Findings,
    place: &str,
    source: &Source,
    folders_say: Option<&Stamp>,
) -> Option<Record> {
    // What is wrong with the file system itself has been said.
    let tree = UfsTree::open(source.clone()).ok()?;
    check_manifests(findings, place, &*tree);
    check_pieces(findings, place, &*tree, folders_say)
}

/// The manifests of the site: each for itself, and whether the services of all manifests wait for each other in a circle. The
/// platform's own manifests are its builders' business.
fn check_manifests(findings: &mut Findings, place: &str, tree: &dyn Tree) {
    let top = tree::find(tree, MANIFESTS.as_bytes(), true);
    let Some(top) = findings.take(place, top).flatten() else { return };
    let mut waits = Vec::new();
    let mut count = 0;
    let walked = tree::walk(tree, &top, &mut |node| {
        if !node.is_file() || !node.name().ends_with(b".xml") {
            return Ok(());
        }
        let below = node.path.strip_prefix(b"/").unwrap_or(&node.path).strip_prefix(SITE.as_bytes());
        let of_site = below.is_some_and(|below| below.starts_with(b"/"));
        let read = text(tree, node).and_then(|text| Manifest::parse(&text));
        let manifest = match read {
            Ok(manifest) => manifest,
            Err(_) if !of_site => return Ok(()),
            Err(error) => {
                findings.problem(format!("{place}!{}", show(&node.path)), format!("{error:#}"));
                return Ok(());
            }
        };
        if of_site {
            count += 1;
            for violation in &manifest.violations {
                findings.problem(format!("{place}!{}", show(&node.path)), violation.clone());
            }
        }
        waits.extend(manifest.waits);
        Ok(())
    });
    findings.take(place, walked);
    if count == 0 {
        return;
    }
    let place = format!("{place}!/{SITE}");
    match smf::cycle(&waits) {
        Some(circle) => {
            findings.problem(place, format!("services wait for each other: {}", circle.join(" -> ")));
        }
        None => findings.passed(place, format!("{count} manifests, and no services wait for each other")),
    }
}

fn text(tree: &dyn Tree, node: &Node) -> Result<String> {
    let bytes = tree.contents(node)?.head(MANIFEST_LIMIT)?;
    String::from_utf8(bytes).context("is no UTF-8")
}

/// What kiln put there, by the record.
fn check_pieces(
    findings: &mut Findings,
    place: &str,
    tree: &dyn Tree,
    folders_say: Option<&Stamp>,
) -> Option<Record> {
    let node = tree::find(tree, record::PATH.as_bytes(), true).ok()??;
    let place = format!("{place}!/{}", record::PATH);
    let record = findings.take(&place, read(tree, &node))?;
    let before = findings.problems.len();
    if let Some(stamp) = folders_say
        && record.stamp != stamp.as_str()
    {
        findings.problem(&place, format!("speaks of the platform {}, but this is {stamp}", record.stamp));
    }
    if record.pieces.is_empty() {
        findings.problem(&place, "vouches for nothing");
    }
    for (path, recorded) in &record.pieces {
        let Some(actual) = findings.take(&place, trace(tree, path)) else { continue };
        match actual {
            Some(actual) if actual == *recorded => {}
            Some(actual) => findings.problem(&place, format!("/{path} is {actual}, not {recorded}")),
            None => findings.problem(&place, format!("/{path} is missing: it was {recorded}")),
        }
    }
    if findings.problems.len() == before {
        let count = record.pieces.len();
        findings.passed(place, format!("by kiln {}; {count} files and links are as recorded", record.kiln));
    }
    Some(record)
}

/// What is at a path; `None` if that is neither a file nor a link.
fn trace(tree: &dyn Tree, path: &str) -> Result<Option<Trace>> {
    let Some(node) = tree::find(tree, path.as_bytes(), false)? else { return Ok(None) };
    if let Some(target) = &node.metadata.target {
        return Ok(Some(Trace::link(target)));
    }
    if !node.is_file() {
        return Ok(None);
    }
    let proof = tree.contents(&node).and_then(|contents| prove(&contents));
    Ok(Some(Trace::File(proof.with_context(|| format!("/{path}"))?)))
}

/// The proof of these bytes.
///
/// # Errors
/// They cannot be read.
pub fn prove(contents: &Source) -> Result<Proof> {
    Proof::of(contents.reader()).context("cannot be read")
}

fn read(tree: &dyn Tree, node: &Node) -> Result<Record> {
    let mut bytes = Vec::new();
    tree.contents(node)?.reader().take(RECORD_LIMIT as u64).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).context("is not the record of an image")
}

#[cfg(test)]
mod tests;
