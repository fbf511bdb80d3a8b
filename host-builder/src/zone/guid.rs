//! The GUID of a snapshot, derived from everything in its image.
//!
//! It stands in every record of a stream and so has to be known before the first byte is written. It has 64 bits, and anybody may
//! give any other: what it must do is to differ between images that differ.

use std::hash::Hasher;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use kiln_zstream::fs::tree::{Content, Kind, NodeId, Tree};
use kiln_zstream::fs::{Blocks, FileSystemOptions, write_outline};
use twox_hash::XxHash64;

use super::image::explained;
use super::sum::{self, Sum};
use crate::report::{Progress, Report};

/// Files that a thread takes at once: neighbours, so that what is read stays nearly in order.
const AT_ONCE: usize = 16;
/// The GUID of an image of this tree on an origin of that GUID, 0 for none: of the digest of the stream with holes for files and the
/// GUID in `options`, the origin's GUID, and the digests of all files.
///
/// Contents whose digests are not [known](sum::known) are read once, by `jobs` threads.
///
/// # Errors
/// Contents cannot be read, or the tree is none that a file system could hold.
pub fn derive(
    tree: &Tree,
    origin: u64,
    options: &FileSystemOptions,
    jobs: NonZeroUsize,
    report: &Report,
) -> Result<u64> {
    let (Digesting(mut sum), _) = write_outline(Digesting(XxHash64::default()), tree, options)
        .map_err(|error| explained(error.into()))?;
    sum.write(&origin.to_le_bytes());

    let files = files(tree);
    let bytes = files.iter().map(|(_, contents)| unknown(*contents)).fold(0, u64::saturating_add);
    let progress = report.progress("derive-guid", bytes);
    for (_, digest) in digests(tree, &files, jobs, &progress)? {
        sum.write(&digest.to_le_bytes());
    }
    Ok(sum.finish().max(1))
}

/// The digest of all that is written to it.
struct Digesting(XxHash64);

impl Write for Digesting {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many bytes of contents have to be read for their digest.
fn unknown(contents: &dyn Content) -> u64 {
    if sum::known(contents).is_some() { 0 } else { contents.size() }
}

/// The files of a tree in the order of their first names, each once.
fn files(tree: &Tree) -> Vec<(NodeId, &dyn Content)> {
    let mut met = vec![false; tree.len()];
    let mut files = Vec::new();
    for step in tree.walk() {
        if let Kind::File(contents) = &tree.node(step.node).kind
            && !std::mem::replace(&mut met[step.node.index()], true)
        {
            files.push((step.node, &**contents));
        }
    }
    files
}

/// The digests of files, by their places in the list.
fn digests(
    tree: &Tree,
    files: &[(NodeId, &dyn Content)],
    jobs: NonZeroUsize,
    progress: &Progress<'_>,
) -> Result<Vec<(usize, Sum)>> {
    let next = AtomicUsize::new(0);
    // Machines read along, and what is done has to grow from line to line.
    let progress = Mutex::new(progress);
    let work = || -> Result<Vec<(usize, Sum)>> {
        let (mut done, mut blocks) = (Vec::new(), Blocks::default());
        loop {
            let start = next.fetch_add(AT_ONCE, Ordering::Relaxed).min(files.len());
            let end = files.len().min(start + AT_ONCE);
            if start == end {
                return Ok(done);
            }
            for (number, &(node, contents)) in (start..end).zip(&files[start..end]) {
                let digest = sum::known(contents).map_or_else(|| sum::of(contents, &mut blocks), Ok);
                let digest = digest.map_err(|error| {
                    // The others need not go on.
                    next.store(files.len(), Ordering::Relaxed);
                    let path = tree.path(node);
                    let error = anyhow::Error::new(error);
                    explained(error.context(format!("cannot read {}", String::from_utf8_lossy(&path))))
                });
                done.push((number, digest?));
                progress.lock().unwrap_or_else(PoisonError::into_inner).add(unknown(contents));
            }
        }
    };
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.get()).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().ok().context("a thread has panicked")?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let mut digests = parts.concat();
    digests.sort_unstable_by_key(|&(number, _)| number);
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kiln_zstream::fs::Version;
    use kiln_zstream::fs::tree::{Attributes, Time};

    use super::*;

    /// Bytes that are given in pieces, zeros left out.
    struct Pieces(Vec<u8>);

    impl Content for Pieces {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
            for (number, piece) in
                self.0.chunks(700).enumerate().filter(|(_, piece)| piece.iter().any(|&byte| byte > 0))
            {
                sink(700 * number as u64, piece)?;
            }
            Ok(())
        }
    }

    /// Contents that cannot be read.
    struct Broken;

    impl Content for Broken {
        fn size(&self) -> u64 {
            5
        }

        fn give(&self, _sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
            Err(super::super::image::Unreadable::error("it is gone", "find it"))
        }
    }

    fn tree(files: Vec<Arc<dyn Content>>) -> Tree {
        let mut tree = Tree::new(Attributes::default());
        for (number, contents) in files.into_iter().enumerate() {
            let name = format!("file {number:04}");
            tree.add(tree.root(), name.as_bytes(), Attributes::default(), Kind::File(contents)).unwrap();
        }
        tree
    }

    fn try_guid(tree: &Tree, origin: u64, jobs: usize) -> Result<u64> {
        let options = FileSystemOptions {
            to_name: "kiln/zone@final".to_owned(),
            to_guid: u64::MAX,
            creation_time: 1,
            version: Version::Five,
        };
        derive(tree, origin, &options, NonZeroUsize::new(jobs).unwrap(), &Report::new(false))
    }

    fn guid(tree: &Tree) -> u64 {
        try_guid(tree, 0, 2).unwrap()
    }

    fn bytes() -> Vec<u8> {
        let mut bytes = vec![0; 300_001];
        bytes[0] = 1;
        bytes[150_000..150_100].fill(2);
        bytes
    }

    #[test]
    fn every_difference_shows() {
        let with = |contents: Vec<u8>| tree(vec![Arc::new(contents), Arc::new(b"other".to_vec())]);
        let base = with(bytes());
        let mut guids = vec![guid(&base), try_guid(&base, 7, 1).unwrap()];
        for at in [0, 1, 149_999, 262_144, 300_000] {
            let mut changed = bytes();
            changed[at] ^= 0x80;
            guids.push(guid(&with(changed)));
        }
        let mut moved = bytes();
        moved[131_072..].rotate_right(131_072);
        guids.extend(
            [moved, bytes()[..300_000].to_vec(), [bytes(), vec![0]].concat()].map(|bytes| guid(&with(bytes))),
        );
        let swapped = tree(vec![Arc::new(b"other".to_vec()), Arc::new(bytes())]);
        guids.push(guid(&swapped));
        let mut touched = with(bytes());
        let node = touched.find([&b"file 0001"[..]]).unwrap();
        touched.attributes_mut(node).modified = Time { seconds: 1, nanoseconds: 0 };
        guids.push(guid(&touched));
        let count = guids.len();
        guids.sort_unstable();
        guids.dedup();
        assert_eq!((guids.len(), guids.contains(&0)), (count, false));
    }

    #[test]
    fn neither_threads_nor_pieces_show() {
        let many = |count: usize| -> Vec<Arc<dyn Content>> {
            (0..count).map(|number| Arc::new(vec![number as u8; number * 37]) as Arc<dyn Content>).collect()
        };
        let whole = tree([many(100), vec![Arc::new(bytes())]].concat());
        let pieces = tree([many(100), vec![Arc::new(Pieces(bytes()))]].concat());
        let expected = guid(&whole);
        for jobs in [1, 3, 8] {
            assert_eq!(try_guid(&pieces, 0, jobs).unwrap(), expected);
        }
    }

    #[test]
    fn digests_that_are_known_are_those_that_would_be_taken() {
        let summed = |contents: Vec<u8>| -> Arc<dyn Content> {
            let sum = sum::of(&contents, &mut Blocks::default()).unwrap();
            Arc::new(sum::Summed::new(contents, sum))
        };
        let other: Arc<dyn Content> = Arc::new(b"other".to_vec());
        let known = tree(vec![summed(bytes()), Arc::clone(&other)]);
        assert_eq!(guid(&known), guid(&tree(vec![Arc::new(bytes()), other])));
        // They are believed: nothing is read again.
        let believed = tree(vec![Arc::new(sum::Summed::new(Broken, 7))]);
        assert!(try_guid(&believed, 0, 1).is_ok());
    }

    #[test]
    fn contents_that_cannot_be_read_are_named() {
        let error = try_guid(&tree(vec![Arc::new(b"1".to_vec()), Arc::new(Broken)]), 0, 2).unwrap_err();
        let words = format!("{error:#}");
        assert!(words.contains("cannot read /file 0001") && words.contains("it is gone"), "{words}");
    }
}
