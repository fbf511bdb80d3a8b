//! The tree of a zone's dataset: a folder `root`, which is the zone's `/`.

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use kiln_zstream::fs::tree::{Attributes, Kind, NodeId, Time, Tree, TreeError};

use super::area::attributes;
use crate::report::Hint;

/// The folder of a dataset that the zone sees as `/` (source: smartos-live, `src/vm/node_modules/VM.js`).
pub const ROOT: &[u8] = b"root";

/// The folder beside it that the zone sees as `/usr/local`, in place of the one of its host (source: illumos-joyent,
/// `usr/src/lib/brand/joyent/zone/platform.xml`). It is of the image; all else that may lie there (config, cores) is of one zone.
const LOCAL: &[u8] = b"local";

/// What the root of a system has and no dataset of a zone has beside its `root`: the top of illumos' and of Linux' hierarchy.
const OF_A_ROOT: [&[u8]; 8] = [b"bin", b"etc", b"home", b"lib", b"opt", b"sbin", b"usr", b"var"];

/// What the top of a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// The zone's `/`.
    Zone,
    /// The zone's dataset, in which `root` is the zone's `/`.
    Dataset,
}

/// The tree of a dataset.
pub struct Dataset {
    /// The tree. Beside `root` there is nothing but `local`.
    pub tree: Tree,
    /// The folder `root`.
    pub root: NodeId,
    /// What was beside `root`: data of the zone that it was.
    pub left_out: Vec<String>,
}

/// Tells what the top of a tree is: a dataset has a folder `root` and nothing that belongs to the root of a system, whose own folder
/// `root` is the home of the superuser.
pub fn layout(tree: &Tree) -> Layout {
    let has_root = zone_root(tree, Layout::Dataset).is_some();
    let of_a_root = tree.entries(tree.root()).any(|(name, _)| OF_A_ROOT.contains(&name));
    if has_root && !of_a_root { Layout::Dataset } else { Layout::Zone }
}

/// The folder of a tree that is the zone's `/`.
pub fn zone_root(tree: &Tree, layout: Layout) -> Option<NodeId> {
    match layout {
        Layout::Zone => Some(tree.root()),
        Layout::Dataset => {
            tree.find([ROOT]).filter(|&root| matches!(tree.node(root).kind, Kind::Directory(_)))
        }
    }
}

/// Makes the tree of a dataset from a tree of this layout.
///
/// # Errors
/// It has no folder `root` although it is to be a dataset.
pub fn dataset(tree: Tree, layout: Layout) -> Result<Dataset> {
    let Some(root) = zone_root(&tree, layout) else {
        return Err(anyhow!("there is no folder 'root' at the top"))
            .hint("a zone's dataset has one; if the top is the zone's / itself, say --layout zone");
    };
    match layout {
        Layout::Dataset => {
            let mut tree = tree;
            let others: Vec<Vec<u8>> = tree
                .entries(tree.root())
                .map(|(name, _)| name.to_vec())
                .filter(|name| name != ROOT && name != LOCAL)
                .collect();
            for name in &others {
                tree.remove(tree.root(), name);
            }
            let (top, time) = (tree.root(), tree.node(root).attributes.modified);
            *tree.attributes_mut(top) = top_attributes(time);
            tree.extended_mut(top).clear();
            *tree.acl_mut(top) = None;
            let left_out = others.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            Ok(Dataset { tree, root, left_out })
        }
        Layout::Zone => {
            let time = tree.node(tree.root()).attributes.modified;
            let (tree, root) = tree.nested(top_attributes(time), ROOT)?;
            Ok(Dataset { tree, root, left_out: Vec::new() })
        }
    }
}

/// The top of a dataset, which no zone sees: it is the same whatever it was made from.
fn top_attributes(time: Time) -> Attributes {
    attributes(0o755, 0, 0, time)
}

/// Gives a dataset that was made of a zone's `/` alone what its origin has as the zone's `/usr/local`, which no such tree can say.
///
/// # Errors
/// There is one already.
pub fn keep_local(tree: &mut Tree, origin: &Tree) -> Result<(), TreeError> {
    let mut places = HashMap::from([(origin.root(), tree.root())]);
    for step in origin.walk() {
        let Some(&directory) = places.get(&step.directory) else { continue };
        if step.directory == origin.root() && step.name != LOCAL {
            continue;
        }
        if let Some(&place) = places.get(&step.node) {
            tree.link(directory, step.name, place)?;
            continue;
        }
        let node = origin.node(step.node);
        let place = tree.add(directory, step.name, node.attributes, node.kind.clone())?;
        tree.extended_mut(place).clone_from(&node.extended);
        tree.acl_mut(place).clone_from(&node.acl);
        places.insert(step.node, place);
    }
    Ok(())
}

/// Gives what is at the same path in an origin and of the same second the origin's time, so that an increment does not tell of a
/// fraction of a second that got lost on the way through a folder or an archive.
pub fn adopt_times(tree: &mut Tree, origin: &Tree) {
    let mut same = HashMap::from([(tree.root(), origin.root())]);
    for step in tree.walk() {
        let Some(&directory) = same.get(&step.directory) else { continue };
        if let Kind::Directory(names) = &origin.node(directory).kind
            && let Some(&known) = names.get(step.name)
        {
            same.entry(step.node).or_insert(known);
        }
    }
    for (node, known) in same {
        let time = origin.node(known).attributes.modified;
        let now = tree.node(node).attributes;
        if now.modified == (Time { nanoseconds: 0, ..time }) {
            *tree.attributes_mut(node) = attributes(now.permissions, now.uid, now.gid, time);
        }
    }
}

/// The newest time at which something in a tree was modified, in whole seconds since 1970.
pub fn newest(tree: &Tree) -> i64 {
    let nodes = tree.walk().map(|step| step.node).chain([tree.root()]);
    nodes.map(|node| tree.node(node).attributes.modified.seconds).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::area::Area;
    use std::sync::Arc;

    fn tree(paths: &[&str]) -> Tree {
        let time = |seconds| Time { seconds, nanoseconds: 5 };
        let mut tree = Tree::new(attributes(0o700, 1, 2, time(7)));
        let top = tree.root();
        let mut area = Area::new(&mut tree, top);
        for path in paths {
            let any = attributes(0o640, 3, 4, time(9));
            match path.strip_suffix('/') {
                Some(folder) => area.make_folders(folder.as_bytes(), any).unwrap(),
                None => area.put(path.as_bytes(), any, Kind::File(Arc::new(b"x".to_vec()))).unwrap(),
            };
        }
        tree
    }

    fn names(tree: &Tree) -> Vec<String> {
        tree.walk().map(|step| String::from_utf8_lossy(&tree.path(step.node)).into_owned()).collect()
    }

    #[test]
    fn a_home_of_root_makes_no_dataset() {
        for (paths, expected) in [
            (&["root/", "config/"][..], Layout::Dataset),
            (&["root/etc/passwd"], Layout::Dataset),
            (&["root/.profile", "etc/"], Layout::Zone),
            (&["root", "config/"], Layout::Zone),
            (&["srv/"], Layout::Zone),
            (&[], Layout::Zone),
        ] {
            assert_eq!(layout(&tree(paths)), expected, "{paths:?}");
        }
        assert!(dataset(tree(&["etc/"]), Layout::Dataset).is_err());
    }

    #[test]
    fn a_dataset_has_nothing_beside_its_root_but_local() {
        let paths = ["root/etc/passwd", "config/zone.json", "cores/", "local/bin/tool"];
        let made = dataset(tree(&paths), Layout::Dataset).unwrap();
        let kept = ["/local", "/local/bin", "/local/bin/tool", "/root", "/root/etc", "/root/etc/passwd"];
        assert_eq!(names(&made.tree), kept);
        assert_eq!(made.left_out, ["config", "cores"]);
    }

    #[test]
    fn a_root_on_an_origin_keeps_the_local_of_that() {
        let mut origin = tree(&["root/local/x", "local/bin/tool", "config/"]);
        let tool = origin.find([&b"local"[..], b"bin", b"tool"]).unwrap();
        *origin.acl_mut(tool) = Some(Vec::new());
        let mut made = dataset(tree(&["etc/"]), Layout::Zone).unwrap().tree;
        keep_local(&mut made, &origin).unwrap();
        assert_eq!(names(&made), ["/local", "/local/bin", "/local/bin/tool", "/root", "/root/etc"]);
        let kept = made.node(made.find([&b"local"[..], b"bin", b"tool"]).unwrap());
        assert_eq!((kept.attributes, &kept.acl), (origin.node(tool).attributes, &Some(Vec::new())));
        // One that has none gives none.
        let before = names(&made);
        keep_local(&mut made, &tree(&["root/local/x"])).unwrap();
        assert_eq!(names(&made), before);
    }

    #[test]
    fn a_root_is_put_into_a_dataset_with_all_it_has() {
        let mut from = tree(&["etc/a", "b/"]);
        let (a, b) = (from.find([&b"etc"[..], b"a"]).unwrap(), from.find([&b"b"[..]]).unwrap());
        from.link(b, b"again", a).unwrap();
        from.extended_mut(a).insert(b"x".to_vec(), Arc::new(b"y".to_vec()));
        let made = dataset(from, Layout::Zone).unwrap();
        assert_eq!(names(&made.tree), ["/root", "/root/b", "/root/b/again", "/root/etc", "/root/b/again"]);
        let root = made.tree.node(made.root).attributes;
        assert_eq!((root.permissions, root.uid, root.gid, root.modified.seconds), (0o700, 1, 2, 7));
        let again = made.tree.find([ROOT, b"b", b"again"]).unwrap();
        assert_eq!(made.tree.find([ROOT, b"etc", b"a"]), Some(again));
        assert_eq!(made.tree.node(again).extended.len(), 1);
        assert_eq!(newest(&made.tree), 9);
    }

    #[test]
    fn lost_fractions_of_a_second_are_found_again() {
        let origin = tree(&["etc/same", "etc/other", "gone"]);
        let mut now = tree(&["etc/same", "etc/other", "new"]);
        let nodes: Vec<NodeId> = now.walk().map(|step| step.node).chain([now.root()]).collect();
        for node in nodes {
            now.attributes_mut(node).modified.nanoseconds = 0;
        }
        let other = now.find([&b"etc"[..], b"other"]).unwrap();
        now.attributes_mut(other).modified.seconds = 8;
        adopt_times(&mut now, &origin);
        for (path, seconds, nanoseconds) in
            [("etc/same", 9, 5), ("etc", 9, 5), ("etc/other", 8, 0), ("new", 9, 0)]
        {
            let node = now.find(path.split('/').map(str::as_bytes)).unwrap();
            assert_eq!(now.node(node).attributes.modified, Time { seconds, nanoseconds }, "{path}");
        }
    }
}
