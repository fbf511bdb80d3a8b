//! Files of an archive or file system into the tree of an image.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use kiln_zstream::fs::tree::{Attributes, Content, Device, Kind, NodeId, Time};

use crate::contents::source::Source;
use crate::contents::tree::{self, Handle, Kind as Found, Node, Tree};
use crate::report::Hint;
use crate::zone::area::{Area, attributes};

/// Bytes that are read at once.
const PIECE: usize = 128 << 10;

/// The contents of a file in an archive or file system, read when they are wanted.
struct InPlace(Source);

impl Content for InPlace {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while at < self.0.size() {
            let got = self.0.read_up_to(at, &mut buffer)?;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            sink(at, &buffer[..got])?;
            at += got as u64;
        }
        Ok(())
    }
}

/// What an archive says about a node as attributes of an image.
pub fn attributes_of(node: &Node) -> Attributes {
    let known = &node.metadata;
    let mode = known.mode.unwrap_or(if node.is_directory() { 0o755 } else { 0o644 });
    let time = Time { seconds: known.mtime.unwrap_or(0), nanoseconds: 0 };
    attributes(mode as u16 & 0o7777, known.uid.unwrap_or(0), known.gid.unwrap_or(0), time)
}

/// Copies what is below `top` to `at` in the area, but for what `leave` names by its path below `top` (without a slash in front).
/// Folders that are there already stay as they are, and other things are replaced. Names of one file stay names of one. Says how
/// many things were copied.
///
/// # Errors
/// Something cannot be read, is nothing that an image can hold, or cannot be put where it belongs.
pub fn take(
    source: &dyn Tree,
    top: &Node,
    area: &mut Area<'_>,
    at: &[u8],
    leave: &dyn Fn(&[u8]) -> bool,
) -> Result<usize> {
    let mut copied = 0;
    let mut linked: HashMap<u32, NodeId> = HashMap::new();
    tree::walk(source, top, &mut |node| {
        let below = node.path[top.path.len()..].strip_prefix(b"/").unwrap_or_default();
        if below.is_empty() || leave(below) {
            return Ok(());
        }
        let path = if at.is_empty() { below.to_vec() } else { [at, b"/", below].concat() };
        put(source, node, area, &path, &mut linked)
            .with_context(|| format!("cannot put {} into the image", node.shown()))?;
        copied += 1;
        Ok(())
    })?;
    Ok(copied)
}

fn put(
    source: &dyn Tree,
    node: &Node,
    area: &mut Area<'_>,
    path: &[u8],
    linked: &mut HashMap<u32, NodeId>,
) -> Result<()> {
    let device = |wrap: fn(Device) -> Kind| -> Result<Kind> {
        let (major, minor) = node.metadata.device.context("a device without a number")?;
        Ok(wrap(Device { major, minor }))
    };
    let kind = match node.metadata.kind {
        Found::Directory => {
            area.make_folders(path, attributes_of(node))?;
            return Ok(());
        }
        Found::File => Kind::File(Arc::new(InPlace(source.contents(node)?))),
        Found::Symlink => Kind::Symlink(node.metadata.target.clone().context("a link without a target")?),
        Found::Block => device(Kind::BlockDevice)?,
        Found::Character => device(Kind::CharacterDevice)?,
        Found::Fifo => Kind::Fifo,
        Found::Socket | Found::Door | Found::Other => {
            return Err(anyhow!("it is a socket or a door, which is of no use without its program"))
                .hint("take it out of where it comes from");
        }
    };
    let Handle::Ufs(inode) = node.handle else {
        area.put(path, attributes_of(node), kind)?;
        return Ok(());
    };
    if let Some(&first) = linked.get(&inode) {
        let (above, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&[][..], path),
        };
        let directory = area.find(above).context("the folder of the link was left out")?;
        area.tree.remove(directory, name);
        area.tree.link(directory, name, first)?;
    } else {
        linked.insert(inode, area.put(path, attributes_of(node), kind)?);
    }
    Ok(())
}

/// Makes a folder with these attributes, or gives them to the one that is there.
///
/// # Errors
/// There is something else.
pub fn folder(area: &mut Area<'_>, path: &[u8], attributes: Attributes) -> Result<()> {
    let node = area.make_folders(path, attributes)?;
    *area.tree.attributes_mut(node) = attributes;
    Ok(())
}
