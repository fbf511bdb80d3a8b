//! Checks of what kiln put into a boot archive for the guest: the programs, the service manifests, and the record that
//! vouches for them.

use std::io::Read;

use anyhow::{Context, Result};

use super::findings::Findings;
use crate::contents::source::Source;
use crate::contents::tree::{self, Node, Tree};
use crate::contents::ufs::UfsTree;
use crate::pieces::record::{self, Proof, Record};
use crate::stamp::Stamp;

/// Largest record that is read, in bytes.
const RECORD_LIMIT: usize = 1 << 20;

/// Checks the programs in a boot archive against its record, which is returned. Archives that kiln did not build have none.
pub fn check(
    findings: &mut Findings,
    place: &str,
    source: &Source,
    folders_say: Option<&Stamp>,
) -> Option<Record> {
    // What is wrong with the file system itself has been said.
    let tree = UfsTree::open(source.clone()).ok()?;
    let node = tree::find(&*tree, record::PATH.as_bytes(), true).ok()??;
    let place = format!("{place}!/{}", record::PATH);
    let record = findings.take(&place, read(&*tree, &node))?;
    let before = findings.problems.len();
    if let Some(stamp) = folders_say
        && record.stamp != stamp.as_str()
    {
        findings.problem(&place, format!("speaks of the platform {}, but this is {stamp}", record.stamp));
    }
    for (path, proof) in &record.programs {
        let found = findings.take(path, tree::find(&*tree, path.as_bytes(), true)).flatten();
        let Some(program) = found.filter(Node::is_file) else {
            findings.problem(&place, format!("vouches for /{path}, which is no file of the archive"));
            continue;
        };
        let actual = tree.contents(&program).and_then(|contents| prove(&contents));
        if let Some(actual) = findings.take(&place, actual)
            && actual != *proof
        {
            let text = format!("/{path} has the SHA-256 {}, not {}", actual.sha256, proof.sha256);
            findings.problem(&place, text);
        }
    }
    if findings.problems.len() == before {
        let count = record.programs.len();
        findings.passed(place, format!("by kiln {}; {count} program as recorded", record.kiln));
    }
    Some(record)
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
