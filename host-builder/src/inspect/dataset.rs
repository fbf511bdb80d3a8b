//! The facts about a file system in a stream.

use anyhow::Result;
use serde::Serialize;

use crate::contents::dataset::{Dataset, Totals, ZONE_ROOT};
use crate::contents::tree::{self, Tree};

/// Most findings of the check that are listed.
const MAX_LISTED: usize = 50;
/// Largest file that is read to learn what an image is, in bytes.
const MAX_TEXT: usize = 1024;

/// What is known about a file system.
#[derive(Debug, Serialize)]
pub struct DatasetFacts {
    /// Version of the file system: 5 since system attributes.
    pub zpl_version: u64,
    /// Whether it is a clone of its origin.
    pub clone: bool,
    /// The images under it, the oldest first.
    pub origins: Vec<OriginFacts>,
    /// Whether the dataset holds the folder that a zone sees as its `/`.
    pub has_root_folder: bool,
    /// What else there is beside that folder.
    pub beside_root: Vec<String>,
    /// The image by /etc/product of the zone.
    pub product: Option<String>,
    #[serde(flatten)]
    pub totals: Totals,
    /// Defects that a receiver would not notice at once.
    pub findings: Vec<String>,
}

/// An image under another.
#[derive(Debug, Serialize)]
pub struct OriginFacts {
    pub path: String,
    /// As text, because 64 bits are more than JavaScript's numbers hold.
    pub guid: String,
}

/// Gathers them. What is wrong is told even if there are no files to be read.
pub fn gather(dataset: &Dataset) -> (DatasetFacts, Result<()>) {
    let mut findings: Vec<String> =
        dataset.findings.iter().take(MAX_LISTED).map(ToString::to_string).collect();
    if dataset.findings.len() > MAX_LISTED {
        findings.push(format!("{} more", dataset.findings.len() - MAX_LISTED));
    }
    let origins = dataset
        .origins
        .iter()
        .map(|origin| OriginFacts { path: origin.path.display().to_string(), guid: origin.guid.to_string() });
    let mut facts = DatasetFacts {
        zpl_version: 0,
        clone: dataset.info.clone,
        origins: origins.collect(),
        has_root_folder: false,
        beside_root: Vec::new(),
        product: None,
        totals: Totals::default(),
        findings,
    };
    let result = facts.look_inside(dataset);
    (facts, result)
}

impl DatasetFacts {
    fn look_inside(&mut self, dataset: &Dataset) -> Result<()> {
        let tree = dataset.tree()?;
        self.zpl_version = tree.version();
        self.totals = tree.totals();
        for node in tree.children(&tree.root()?)? {
            if node.name() == ZONE_ROOT && node.is_directory() {
                self.has_root_folder = true;
            } else {
                self.beside_root.push(tree::show(node.name()));
            }
        }
        self.product = product(&*tree)?;
        Ok(())
    }
}

/// What /etc/product says that the image is: the line `Image: NAME VERSION` (source: imagetools, overlay/etc/product).
fn product(tree: &dyn Tree) -> Result<Option<String>> {
    // Links in a zone begin at its own root, and this file is none in any image.
    let Some(node) = tree::find(tree, b"root/etc/product", false)? else { return Ok(None) };
    if !node.is_file() || node.metadata.size > MAX_TEXT as u64 {
        return Ok(None);
    }
    let text = tree.contents(&node)?.head(MAX_TEXT)?;
    let text = String::from_utf8_lossy(&text);
    let image = text.lines().find_map(|line| line.strip_prefix("Image:"));
    Ok(image.or_else(|| text.lines().next()).map(|line| tree::show(line.trim().as_bytes())))
}
