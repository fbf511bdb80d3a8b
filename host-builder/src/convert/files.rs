//! The way through a tree that becomes an archive, a folder or a list: every name once, and what all three have to know of it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use anyhow::{Context, Result, bail};

use crate::contents::source::Source;
use crate::contents::tree::{Guard, Kind, Metadata, Node, Tree, show};
use crate::report::{Hint, Report};

/// Bytes in which zeros are looked for: the block size of every common file system.
const BLOCK: usize = 4096;
/// Fewest bytes of zeros that are a hole. Smaller ones save less than they cost.
const HOLE: u64 = 64 << 10;
/// Most stored stretches of one file; of files with more, smaller holes are filled.
const MAX_STRETCHES: usize = 1 << 15;
/// Bytes read at once.
const CHUNK: usize = 256 << 10;

/// A name in the tree.
#[derive(Clone, Debug)]
pub struct Item {
    /// What has the name.
    pub node: Node,
    /// The path from the top, without a slash at its beginning; empty for the top itself.
    pub path: Vec<u8>,
    /// The path by which the same thing was met before.
    pub first: Option<Vec<u8>>,
}

impl Item {
    /// What is known about it.
    pub fn metadata(&self) -> &Metadata {
        &self.node.metadata
    }

    /// Permissions; where they are not known, those of a tree that is there for all to read.
    pub fn mode(&self) -> u32 {
        let usual = match self.metadata().kind {
            Kind::Directory => 0o755,
            Kind::Symlink => 0o777,
            _ => 0o644,
        };
        self.metadata().mode.unwrap_or(usual)
    }

    /// Owner and group, root where they are not known.
    pub fn owner(&self) -> (u32, u32) {
        (self.metadata().uid.unwrap_or(0), self.metadata().gid.unwrap_or(0))
    }

    /// Last modification in seconds and nanoseconds, 1970 where it is not known.
    pub fn time(&self) -> (i64, u32) {
        (self.metadata().mtime.unwrap_or(0), self.metadata().nanoseconds)
    }
}

/// A place on the way.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A name; of a directory before what is in it.
    Enter(&'a Item),
    /// A directory whose contents have all been met.
    Leave(&'a Item),
}

/// Goes from `top`, which is a directory, to everything below it, sorted by the bytes of names in each directory.
///
/// # Errors
/// The tree cannot be read, has a name that means something else to those who extract it, or the visitor failed.
pub fn walk(tree: &dyn Tree, top: &Node, visit: &mut dyn FnMut(Step<'_>) -> Result<()>) -> Result<()> {
    let mut guard = Guard::default();
    let mut met: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut pending = vec![(Item { node: top.clone(), path: Vec::new(), first: None }, false)];
    while let Some((mut item, left)) = pending.pop() {
        if left {
            visit(Step::Leave(&item))?;
            continue;
        }
        if item.metadata().links.is_some_and(|links| links > 1) {
            let identity = item.node.handle.identity();
            item.first = met.get(&identity).cloned();
            if item.first.is_none() {
                met.insert(identity, item.path.clone());
            }
        }
        visit(Step::Enter(&item))?;
        if item.node.is_directory() {
            guard.enter(&item.node)?;
            let mut children = tree.children(&item.node)?;
            children.reverse();
            let below = |child: Node| -> Result<(Item, bool)> {
                let name = child.name();
                if matches!(name, b"" | b"." | b"..") || name.contains(&0) {
                    bail!("{} would lead out of the place where it is extracted", child.shown());
                }
                let path =
                    if item.path.is_empty() { name.to_vec() } else { [&item.path, &b"/"[..], name].concat() };
                Ok((Item { node: child, path, first: None }, false))
            };
            let children: Vec<_> = children.into_iter().map(below).collect::<Result<_>>().hint(
                "`kiln ls -R` shows what is there; what is harmless in it can be converted as IMAGE:/path",
            )?;
            pending.push((item, true));
            pending.extend(children);
        }
    }
    Ok(())
}

/// Where the contents of a file are not zero, in blocks of 4 KiB, with holes of at least 64 KiB between; `None` for a file
/// that is as good as stored everywhere. It depends on the contents alone and not on how they are kept.
///
/// # Errors
/// The file cannot be read.
pub fn holes(tree: &dyn Tree, item: &Item, contents: &Source) -> Result<Option<Vec<Range<u64>>>> {
    let size = contents.size();
    if size < HOLE {
        return Ok(None);
    }
    let mut stored: Vec<Range<u64>> = Vec::new();
    let mut smallest = HOLE;
    let mut buffer = vec![0; CHUNK];
    for stretch in tree.stretches(&item.node)? {
        // Whole blocks, so that the blocks are the same wherever stretches begin.
        let mut at = stretch.start / BLOCK as u64 * BLOCK as u64;
        while at < stretch.end {
            let length = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
            read_exactly(contents, at, &mut buffer[..length], item)?;
            for (index, block) in buffer[..length].chunks(BLOCK).enumerate() {
                if kiln_zstream::zero::is_zero(block) {
                    continue;
                }
                let start = at + (index * BLOCK) as u64;
                add(&mut stored, start..start + block.len() as u64, smallest);
            }
            while stored.len() > MAX_STRETCHES {
                smallest *= 2;
                for stretch in std::mem::take(&mut stored) {
                    add(&mut stored, stretch, smallest);
                }
            }
            at += length as u64;
        }
    }
    let kept: u64 = stored.iter().map(|stretch| stretch.end - stretch.start).sum();
    Ok((size - kept >= HOLE).then_some(stored))
}

/// Adds a stretch behind those that are there, without the hole between if that is too small.
fn add(stored: &mut Vec<Range<u64>>, stretch: Range<u64>, smallest: u64) {
    match stored.last_mut() {
        Some(last) if stretch.start < last.end.saturating_add(smallest) => {
            last.end = last.end.max(stretch.end);
        }
        None if stretch.start < smallest => stored.push(0..stretch.end),
        _ => stored.push(stretch),
    }
}

/// Gives the contents of a file from `range` to `sink`, piece by piece.
///
/// # Errors
/// The file cannot be read or ends before its size says, or the sink failed.
pub fn copy(
    contents: &Source,
    range: Range<u64>,
    item: &Item,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
        read_exactly(contents, at, &mut buffer[..length], item)?;
        sink(&buffer[..length])?;
        at += length as u64;
    }
    Ok(())
}

fn read_exactly(contents: &Source, at: u64, buffer: &mut [u8], item: &Item) -> Result<()> {
    let got =
        contents.read_up_to(at, buffer).with_context(|| format!("cannot read {}", show(&item.node.path)))?;
    if got < buffer.len() {
        bail!("{} ends at byte {} instead of {}", show(&item.node.path), at + got as u64, contents.size());
    }
    Ok(())
}

/// What a form cannot hold or the user may not make, counted by what it is.
#[derive(Debug, Default)]
pub struct Losses(BTreeMap<&'static str, (u64, String)>);

impl Losses {
    /// Counts one; `what` says in the plural what is lost and why.
    pub fn add(&mut self, what: &'static str, item: &Item) {
        let (count, _) = self.0.entry(what).or_insert_with(|| (0, item.node.shown()));
        *count += 1;
    }

    /// Warns of them, one line for each kind.
    pub fn warn(&self, report: &Report) {
        for (what, (count, first)) in &self.0 {
            report.warn(&format!("{what}: {count}, the first is {first}"));
        }
    }

    /// How many there are of all kinds.
    pub fn count(&self) -> u64 {
        self.0.values().map(|(count, _)| count).sum()
    }
}

/// What was converted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Names, the top included.
    pub names: u64,
    /// Bytes in all files, each counted once.
    pub bytes: u64,
}

impl Totals {
    /// Counts one name.
    pub fn add(&mut self, item: &Item) {
        self.names += 1;
        if item.first.is_none() && item.node.is_file() {
            self.bytes = self.bytes.saturating_add(item.metadata().size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_holes_are_filled() {
        let mut stored = Vec::new();
        for start in [4096, 8192, 20480, 20480 + 4096 + HOLE, 1 << 30] {
            add(&mut stored, start..start + 4096, HOLE);
        }
        assert_eq!(stored, [0..24576, 24576 + HOLE..28672 + HOLE, (1 << 30)..(1 << 30) + 4096]);
    }
}
