//! Paths of an image as its own system would follow them, links included. Nothing leads out of the image.

use std::collections::VecDeque;

use anyhow::{Result, bail, ensure};
use kiln_zstream::fs::tree::Kind;

use crate::zone::area::Area;

/// Most links on one way (illumos `MAXSYMLINKS` is 20).
const LINKS: usize = 20;

/// What becomes of a link at the very end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is meant itself.
    Itself,
    /// What it leads to is meant.
    Target,
}

/// The path without links, absolute. What is missing on the way counts as folders.
///
/// # Errors
/// There are too many links.
pub(super) fn resolve(area: &Area<'_>, path: &[u8], end: End) -> Result<Vec<u8>> {
    let mut left: VecDeque<Vec<u8>> = names(path).map(<[u8]>::to_vec).collect();
    let mut done: Vec<u8> = Vec::new();
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == b".." {
            up(&mut done);
            continue;
        }
        let before = done.len();
        done.push(b'/');
        done.extend_from_slice(&name);
        if left.is_empty() && end == End::Itself {
            break;
        }
        let node = area.find(&done);
        let Some(Kind::Symlink(target)) = node.map(|node| &area.tree.node(node).kind) else { continue };
        links += 1;
        ensure!(links <= LINKS, "{}: too many links on the way", String::from_utf8_lossy(path));
        done.truncate(if target.starts_with(b"/") { 0 } else { before });
        names(target).rev().for_each(|name| left.push_front(name.to_vec()));
    }
    Ok(if done.is_empty() { b"/".to_vec() } else { done })
}

/// Where something below `prefix` is put: the path without links above it, which have to stay below the prefix.
///
/// # Errors
/// They lead out of it.
pub(super) fn below_prefix(area: &Area<'_>, prefix: &[u8], path: &[u8]) -> Result<Vec<u8>> {
    let place = resolve(area, path, End::Itself)?;
    let prefix = resolve(area, prefix, End::Target)?;
    if place.strip_prefix(&prefix[..]).is_none_or(|rest| !rest.starts_with(b"/")) {
        bail!(
            "{} leads out of the prefix, to {}",
            String::from_utf8_lossy(path),
            String::from_utf8_lossy(&place)
        );
    }
    Ok(place)
}

/// Proves that a link at an absolute path has a target: one that does not climb above the top.
///
/// # Errors
/// It does.
pub(super) fn check_target(link: &[u8], target: &[u8]) -> Result<()> {
    let mut depth = if target.starts_with(b"/") { 0 } else { names(link).count().saturating_sub(1) };
    for name in names(target) {
        match (name, depth) {
            (b"..", 0) => bail!("the link leads out of the zone, to {}", String::from_utf8_lossy(target)),
            (b"..", _) => depth -= 1,
            _ => depth += 1,
        }
    }
    Ok(())
}

fn up(path: &mut Vec<u8>) {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    path.truncate(slash.unwrap_or(0));
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

#[cfg(test)]
mod tests {
    use kiln_zstream::fs::tree::{Attributes, Tree};

    use super::*;

    #[test]
    fn links_are_followed_inside_the_image() {
        let mut tree = Tree::new(Attributes::default());
        let root = tree.root();
        let mut area = Area::new(&mut tree, root);
        let any = Attributes::default();
        area.make_folders(b"opt/local/lib", any).unwrap();
        let mut link = |path: &[u8], target: &[u8]| {
            area.put(path, any, Kind::Symlink(target.to_vec())).unwrap();
        };
        link(b"opt/local/lib64", b"lib");
        link(b"opt/local/out", b"../../etc");
        link(b"var/run", b"/system/volatile");
        link(b"loop", b"loop");
        link(b"high", b"../../../usr");
        let to = |path: &[u8], end| String::from_utf8(resolve(&area, path, end).unwrap()).unwrap();
        assert_eq!(to(b"/opt/local/lib64/x/y", End::Itself), "/opt/local/lib/x/y");
        assert_eq!(to(b"/opt/local/lib64", End::Itself), "/opt/local/lib64");
        assert_eq!(to(b"/opt/local/lib64/.", End::Target), "/opt/local/lib");
        assert_eq!(to(b"/var/run/a", End::Target), "/system/volatile/a");
        assert_eq!(to(b"/high/bin", End::Target), "/usr/bin");
        assert_eq!(to(b"/", End::Target), "/");
        assert!(resolve(&area, b"/loop/x", End::Itself).is_err());
        assert_eq!(below_prefix(&area, b"/opt/local", b"/opt/local/lib64/x").unwrap(), b"/opt/local/lib/x");
        let error = below_prefix(&area, b"/opt/local", b"/opt/local/out/passwd").unwrap_err();
        assert_eq!(error.to_string(), "/opt/local/out/passwd leads out of the prefix, to /etc/passwd");
    }

    #[test]
    fn targets_stay_below_the_top() {
        check_target(b"/opt/local/bin/x", b"../../../usr/bin/x").unwrap();
        check_target(b"/opt/local/bin/x", b"/usr/bin/x").unwrap();
        check_target(b"/opt/local/bin/x", b"../../../../usr").unwrap_err();
        check_target(b"/opt/local/bin/x", b"/../usr").unwrap_err();
    }
}
