//! A tree as a list in the format of mtree(5): one line a path, as `kiln` reads them beside an overlay.

use std::collections::HashMap;
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
    // Of files that have several names: they are read once.
    let mut digests = HashMap::new();
    output.write_all(b"#mtree\n")?;
    files::walk(tree, top, &mut |step| {
        let Step::Enter(item) = step else { return Ok(()) };
        let Some(kind) = word(item.metadata().kind) else {
            losses.add("doors and the like, which mtree has no word for", item);
            return Ok(());
        };
        totals.add(item);
        if item.first.is_none() && !tree.extended(&item.node)?.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::source::Source;
    use crate::contents::tar::TarTree;
    use crate::contents::tree::find;
    use crate::ownership::{Ownership, Type};
    use crate::report::Report;
    use std::path::Path;

    #[test]
    fn what_is_written_is_read_beside_overlays() {
        use ::tar::EntryType;
        let mut builder = ::tar::Builder::new(Vec::new());
        let members = [
            (&b"usr/"[..], EntryType::Directory, &b""[..], 0o755),
            (b"usr/odd \xff#=\n", EntryType::Regular, b"", 0o4511),
            (b"usr/link", EntryType::Symlink, b"to a\\b", 0o777),
            (b"usr/device", EntryType::Char, b"", 0o600),
            (b"usr/pipe", EntryType::Fifo, b"", 0o622),
            (b"usr/disk", EntryType::Block, b"", 0o640),
        ];
        for (name, kind, target, mode) in members {
            let mut header = ::tar::Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(70_000);
            header.set_gid(3);
            header.set_size(0);
            header.set_device_major(1).unwrap();
            header.set_device_minor(2).unwrap();
            header.set_cksum();
            builder.append(&header, &b""[..]).unwrap();
        }
        let archive = builder.into_inner().unwrap();
        let size = archive.len() as u64;
        let tree = TarTree::open(Source::new(archive, size)).unwrap();
        let top = find(&*tree, b"usr", false).unwrap().unwrap();
        let (mut list, mut losses) = (Vec::new(), Losses::default());
        let report = Report::new(false);
        let totals = write(&*tree, &top, &mut list, &mut losses, &report.progress("test", 0)).unwrap();
        assert_eq!((totals.names, losses.count()), (6, 0));

        let read = Ownership::parse(&list, Path::new("list")).unwrap();
        let types = [
            (&b""[..], Type::Directory),
            (b"odd \xff#=\n", Type::File),
            (b"link", Type::Symlink),
            (b"device", Type::Character),
            (b"pipe", Type::Fifo),
            (b"disk", Type::Block),
        ];
        assert_eq!(read.iter().count(), types.len());
        for ((path, type_), (.., mode)) in types.into_iter().zip(members) {
            let given = read.get(path).unwrap();
            assert_eq!((given.type_, given.mode), (Some(type_), Some(mode as u16)), "{path:?}");
            assert_eq!((given.uid, given.gid), (Some(70_000), Some(3)));
        }
        assert_eq!(read.get(b"link").unwrap().link.as_deref(), Some(&b"to a\\b"[..]));
    }
}
