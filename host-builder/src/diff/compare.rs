//! The comparison of trees, and of files down into the archives that they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use crate::contents::open;
use crate::contents::path::Subject;
use crate::contents::scratch::Scratch;
use crate::contents::shape::{self, Shape};
use crate::contents::source::Source;
use crate::contents::tree::{Guard, Kind, Node, Tree, show};
use crate::report::Report;
use crate::stamp::Stamp;

/// Archives inside archives that are looked into: a boot archive in a disk holds no other that matters.
const MAX_DEPTH: u32 = 3;
/// Bytes compared at once.
const CHUNK: usize = 256 * 1024;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path of what is different, `!` where it steps into an archive; in A when the names differ.
    pub place: String,
    /// What is different.
    pub what: What,
}

/// What is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// There is nothing of that name in B.
    OnlyInA(Kind),
    /// There is nothing of that name in A.
    OnlyInB(Kind),
    /// Something about it has two values.
    Property {
        /// What that is, in one or two words.
        name: &'static str,
        /// The value in A.
        a: String,
        /// The value in B.
        b: String,
    },
    /// The bytes differ; where, in words.
    Content(String),
}

/// A node in its tree.
#[derive(Clone)]
pub struct Side {
    /// The tree.
    pub tree: Arc<dyn Tree>,
    /// The node.
    pub node: Node,
}

/// A comparison under way.
pub struct Comparison<'a> {
    report: &'a Report,
    scratch: [Scratch; 2],
    show: &'a mut dyn FnMut(&Difference),
    count: u64,
    depth: u32,
}

impl<'a> Comparison<'a> {
    /// Starts a comparison that gives its differences to `show` as it finds them. Archives of A and B are expanded
    /// into the two scratch places.
    pub fn new(
        report: &'a Report,
        scratch: [Scratch; 2],
        show: &'a mut dyn FnMut(&Difference),
    ) -> Comparison<'a> {
        Comparison { report, scratch, show, count: 0, depth: 0 }
    }

    /// How many differences there were so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Notes a difference.
    pub fn differs(&mut self, place: &str, what: What) {
        self.count += 1;
        (self.show)(&Difference { place: place.to_owned(), what });
    }

    /// Notes a difference of something about `place` when there is one.
    pub fn property(
        &mut self,
        place: &str,
        name: &'static str,
        a: &(impl ToString + ?Sized),
        b: &(impl ToString + ?Sized),
    ) {
        let (a, b) = (a.to_string(), b.to_string());
        if a != b {
            self.differs(place, What::Property { name, a, b });
        }
    }

    /// Compares two nodes and everything below them.
    ///
    /// # Errors
    /// Either cannot be read.
    pub fn nodes(&mut self, prefix: &str, a: Side, b: Side) -> Result<()> {
        let mut guards = [Guard::default(), Guard::default()];
        let top = a.node.path.clone();
        let mut pending = vec![(a, b)];
        while let Some((a, b)) = pending.pop() {
            let relative = show(a.node.path.strip_prefix(top.as_slice()).unwrap_or(&a.node.path));
            let place = format!("{prefix}{relative}");
            self.metadata(&place, &a.node, &b.node);
            self.extended(&place, &a, &b)?;
            if a.node.metadata.kind != b.node.metadata.kind {
                continue;
            }
            if a.node.is_directory() {
                guards[0].enter(&a.node).context("in A")?;
                guards[1].enter(&b.node).context("in B")?;
                let mut pairs = self.directories(&place, &a, &b)?;
                pairs.reverse();
                pending.append(&mut pairs);
            } else if a.node.is_file() {
                let contents = |side: &Side, name: &str| {
                    side.tree.contents(&side.node).with_context(|| format!("{name}:{place}"))
                };
                self.bytes(&place, &contents(&a, "A")?, &contents(&b, "B")?)?;
            }
        }
        Ok(())
    }

    fn metadata(&mut self, place: &str, a: &Node, b: &Node) {
        let (a, b) = (&a.metadata, &b.metadata);
        self.property(place, "kind", a.kind.name(), b.kind.name());
        // What one side's format cannot hold is no difference.
        if let (Some(a), Some(b)) = (a.mode, b.mode) {
            self.property(place, "mode", &format!("{a:04o}"), &format!("{b:04o}"));
        }
        if let (Some(a_uid), Some(b_uid), Some(a_gid), Some(b_gid)) = (a.uid, b.uid, a.gid, b.gid) {
            self.property(place, "owner", &format!("{a_uid}:{a_gid}"), &format!("{b_uid}:{b_gid}"));
        }
        if let (Some(a), Some(b)) = (&a.target, &b.target) {
            self.property(place, "target", &show(a), &show(b));
        }
        if let (Some(a), Some(b)) = (a.device, b.device) {
            self.property(place, "device", &format!("{},{}", a.0, a.1), &format!("{},{}", b.0, b.1));
        }
        if let (Some(a), Some(b)) = (a.links, b.links) {
            self.property(place, "names", &a, &b);
        }
    }

    /// Compares extended attributes, by name.
    fn extended(&mut self, place: &str, a: &Side, b: &Side) -> Result<()> {
        let values = |side: &Side| -> Result<BTreeMap<Vec<u8>, Source>> {
            Ok(side.tree.extended(&side.node)?.into_iter().collect())
        };
        let (in_a, in_b) = (values(a)?, values(b)?);
        for name in in_a.keys().chain(in_b.keys().filter(|name| !in_a.contains_key(*name))) {
            let shown = show(name);
            match (in_a.get(name), in_b.get(name)) {
                (Some(value_a), Some(value_b)) => {
                    let differs = first_difference(value_a, value_b)
                        .with_context(|| format!("cannot read the attribute {shown} of {place}"))?;
                    if differs.is_some() {
                        let what = format!("the extended attribute {shown} has other contents");
                        self.differs(place, What::Content(what));
                    }
                }
                (here, _) => {
                    let side = if here.is_some() { "A" } else { "B" };
                    let what = format!("the extended attribute {shown} is only in {side}");
                    self.differs(place, What::Content(what));
                }
            }
        }
        Ok(())
    }

    /// Notes what only one side has, and returns the pairs to compare.
    fn directories(&mut self, place: &str, a: &Side, b: &Side) -> Result<Vec<(Side, Side)>> {
        let children = |side: &Side, name: &str| -> Result<BTreeMap<Vec<u8>, Node>> {
            let children = side.tree.children(&side.node).with_context(|| format!("{name}:{place}"))?;
            Ok(children.into_iter().map(|node| (node.name().to_vec(), node)).collect())
        };
        let (mut in_a, mut in_b) = (children(a, "A")?, children(b, "B")?);
        let side = |of: &Side, node: Node| Side { tree: Arc::clone(&of.tree), node };
        let mut pairs = Vec::new();
        let names: Vec<Vec<u8>> = in_a.keys().filter(|name| in_b.contains_key(*name)).cloned().collect();
        for name in names {
            if let (Some(node_a), Some(node_b)) = (in_a.remove(&name), in_b.remove(&name)) {
                pairs.push((side(a, node_a), side(b, node_b)));
            }
        }
        // Two platforms have their stamps in the names of folders that otherwise correspond.
        let alone = |nodes: &BTreeMap<Vec<u8>, Node>| -> Option<(Vec<u8>, String)> {
            let mut stamped = nodes
                .values()
                .filter(|node| node.is_directory())
                .filter_map(|node| Some((node, unstamped(node)?)));
            let (node, name) = stamped.next()?;
            stamped.next().is_none().then(|| (node.name().to_vec(), name))
        };
        if let (Some((name_a, plain_a)), Some((name_b, plain_b))) = (alone(&in_a), alone(&in_b))
            && plain_a == plain_b
            && let (Some(node_a), Some(node_b)) = (in_a.remove(&name_a), in_b.remove(&name_b))
        {
            self.property(&format!("{place}/{}", show(&name_a)), "name", &show(&name_a), &show(&name_b));
            pairs.push((side(a, node_a), side(b, node_b)));
        }
        for (nodes, what) in [(in_a, What::OnlyInA as fn(Kind) -> What), (in_b, What::OnlyInB)] {
            for (name, node) in nodes {
                self.differs(&format!("{place}/{}", show(&name)), what(node.metadata.kind));
            }
        }
        Ok(pairs)
    }

    /// Compares bytes, and when they differ what is in them.
    ///
    /// # Errors
    /// Either cannot be read.
    pub fn bytes(&mut self, place: &str, a: &Source, b: &Source) -> Result<()> {
        let Some(at) = first_difference(a, b).with_context(|| format!("cannot read {place}"))? else {
            return Ok(());
        };
        let detail = if a.size() == b.size() {
            format!("content differs from byte {at} on")
        } else {
            format!("content differs from byte {at} on; size: {} -> {}", a.size(), b.size())
        };
        let before = self.count;
        match self.inside(place, a, b) {
            Ok(false) => self.differs(place, What::Content(detail)),
            Ok(true) if self.count == before => {
                let detail = format!("{detail}; every file inside is the same");
                self.differs(place, What::Content(detail));
            }
            Ok(true) => {}
            Err(error) => {
                let detail = format!("{detail}; cannot look inside: {error:#}");
                self.differs(place, What::Content(detail));
            }
        }
        Ok(())
    }

    /// Compares what is in two archives. False when they are none that can be compared.
    fn inside(&mut self, place: &str, a: &Source, b: &Source) -> Result<bool> {
        let shapes = (shape::of(a)?, shape::of(b)?);
        let looked_into =
            matches!(shapes.0, Shape::Compressed(_) | Shape::Ufs | Shape::Tar | Shape::Fat | Shape::Stream);
        if shapes.0 != shapes.1 || !looked_into || self.depth == MAX_DEPTH {
            return Ok(false);
        }
        let a = open::unwrap(a, &self.scratch[0], self.report).context("in A")?;
        let b = open::unwrap(b, &self.scratch[1], self.report).context("in B")?;
        let subjects = (crate::contents::subject_of(&a)?, crate::contents::subject_of(&b)?);
        self.depth += 1;
        let done = match subjects {
            (Subject::Node { tree: tree_a, node: node_a }, Subject::Node { tree: tree_b, node: node_b }) => {
                let sides = (Side { tree: tree_a, node: node_a }, Side { tree: tree_b, node: node_b });
                self.nodes(&format!("{place}!"), sides.0, sides.1).map(|()| true)
            }
            _ => Ok(false),
        };
        self.depth -= 1;
        done
    }
}

/// The name of a node with its stamp replaced, in lower case; `None` without a stamp.
fn unstamped(node: &Node) -> Option<String> {
    let name = std::str::from_utf8(node.name()).ok()?;
    let stamp = Stamp::find_in(name)?;
    Some(name.to_ascii_lowercase().replace(&stamp.as_str().to_ascii_lowercase(), "STAMP"))
}

/// Offset of the first byte that is different or that only one side has.
pub fn first_difference(a: &Source, b: &Source) -> Result<Option<u64>> {
    let (mut buffer_a, mut buffer_b) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut offset = 0;
    loop {
        let got_a = a.read_up_to(offset, &mut buffer_a).context("in A")?;
        let got_b = b.read_up_to(offset, &mut buffer_b).context("in B")?;
        let length = got_a.min(got_b);
        if buffer_a[..length] != buffer_b[..length] {
            let pairs = buffer_a[..length].iter().zip(&buffer_b[..length]);
            let at = pairs.take_while(|(a, b)| a == b).count();
            return Ok(Some(offset + at as u64));
        }
        offset += length as u64;
        if got_a != got_b {
            return Ok(Some(offset));
        }
        if length == 0 {
            // A source that ends before its size says is damaged, and two of them are not the same.
            if offset < a.size() || offset < b.size() {
                bail!("the contents end at byte {offset} instead of {}", a.size().max(b.size()));
            }
            return Ok(None);
        }
    }
}
