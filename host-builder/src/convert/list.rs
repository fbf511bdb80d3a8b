//! A tree as a list in the format of mtree(5): one line a path, as `kiln` reads them beside an overlay.

use std::io::Write;

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use super::files::{self, Item, Losses, Step, Totals};
use crate::contents::tree::{Kind, Node, Tree};
use crate::digest::hex;
use crate::ownership::vis;
use crate::report::Progress;

/// Writes a line for everything below `top`, which is a directory, and for `top` itself as `.`.
///
/// # Errors
/// The tree cannot be read, or the output cannot be written.
pub fn write(
    tree: &dyn Tree,
    top: &Node,
    mut output: impl Write,
    losses: &mut Losses,
    progress: &Progress<'_>,
) -> Result<Totals> {
    let mut totals = Totals::default();
    // The last file of several names was digested when its first one came.
    let mut digests = std::collections::HashMap::new();
    output.write_all(b"#mtree\n")?;
    files::walk(tree, top, &mut |step| {
        let Step::Enter(item) = step else { return Ok(()) };
        let Some(kind) = word(item.metadata().kind) else {
            losses.add("doors and the like, which mtree has no word for", item);
            return Ok(());
        };
        totals.add(item);
        if !tree.extended(&item.node)?.is_empty() {
            losses.add("things with extended attributes, of which mtree says nothing", item);
        }
        let digest = match (&item.first, item.node.is_file()) {
            (Some(first), true) => digests.get(first).cloned(),
            (None, true) => {
                let digest = digest(tree, item, progress)?;
                if item.metadata().links.is_some_and(|links| links > 1) {
                    digests.insert(item.path.clone(), digest.clone());
                }
                Some(digest)
            }
            _ => None,
        };
        Ok(output.write_all(line(item, kind, digest.as_deref()).as_bytes())?)
    })?;
    output.flush()?;
    Ok(totals)
}

/// The type in the words of mtree(5).
fn word(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::File => "file",
        Kind::Directory => "dir",
        Kind::Symlink => "link",
        Kind::Block => "block",
        Kind::Character => "char",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::Door | Kind::Other => return None,
    })
}

fn line(item: &Item, kind: &str, digest: Option<&str>) -> String {
    let metadata = item.metadata();
    let path = item.path.split(|&byte| byte == b'/').map(vis).collect::<Vec<_>>().join("/");
    let mut words = vec![if item.path.is_empty() { ".".to_owned() } else { format!("./{path}") }];
    words.push(format!("type={kind}"));
    let (uid, gid) = item.owner();
    words.push(format!("mode={:04o} uid={uid} gid={gid}", item.mode()));
    if let Some(links) = metadata.links.filter(|&links| links > 1) {
        // What has the same inode number is the same thing.
        words.push(format!("nlink={links} inode={}", item.node.handle.identity()));
    }
    if metadata.kind == Kind::File {
        words.push(format!("size={}", metadata.size));
    }
    let (seconds, nanoseconds) = item.time();
    words.push(format!("time={seconds}.{nanoseconds:09}"));
    if let Some(target) = &metadata.target {
        words.push(format!("link={}", vis(target)));
    }
    if let Some((major, minor)) = metadata.device {
        words.push(format!("device=native,{major},{minor}"));
    }
    if let Some(digest) = digest {
        words.push(format!("sha256digest={digest}"));
    }
    words.join(" ") + "\n"
}

fn digest(tree: &dyn Tree, item: &Item, progress: &Progress<'_>) -> Result<String> {
    let contents = tree.contents(&item.node).with_context(|| format!("cannot read {}", item.node.shown()))?;
    let mut digest = Sha256::new();
    files::copy(&contents, 0..contents.size(), item, &mut |piece| {
        digest.update(piece);
        progress.add(piece.len() as u64);
        Ok(())
    })?;
    Ok(hex(&digest.finalize()))
}
