//! The package tools: the kit laid over the zone, and their settings.

use std::collections::HashMap;

use anyhow::{Context, Result};
use kiln_zstream::fs::tree::{Kind, NodeId, Tree};

use super::config::SYSCONFDIR;
use super::lines::with_variable;
use super::proto::Proto;

/// Lays a tree over the zone's `/` and says how many files that were. Folders that are there stay as they are, links to folders
/// included; all else is replaced.
///
/// # Errors
/// Something is in the way.
pub fn lay(kit: &Tree, proto: &mut Proto) -> Result<usize> {
    let mut placed: HashMap<NodeId, NodeId> = HashMap::new();
    let mut folders: HashMap<NodeId, String> = HashMap::from([(kit.root(), String::new())]);
    let mut count = 0;
    for step in kit.walk() {
        let node = kit.node(step.node);
        let name = std::str::from_utf8(step.name).context("a name in it is no UTF-8")?;
        let path = format!("{}/{name}", folders[&step.directory]);
        let cannot = || format!("cannot put {path} there");
        if let Kind::Directory(_) = node.kind {
            let place = proto.resolve(&path)?;
            proto.area().make_folders(&place, node.attributes).with_context(cannot)?;
            folders.insert(step.node, path);
            continue;
        }
        let mut place = proto.resolve(&folders[&step.directory])?;
        let mut area = proto.area();
        let folder = area.find(&place).with_context(cannot)?;
        if let Some(&first) = placed.get(&step.node) {
            area.tree.remove(folder, step.name);
            area.tree.link(folder, step.name, first).with_context(cannot)?;
        } else {
            place.push(b'/');
            place.extend_from_slice(step.name);
            let put = area.put(&place, node.attributes, node.kind.clone()).with_context(cannot)?;
            placed.insert(step.node, put);
        }
        count += 1;
    }
    Ok(count)
}

/// Tells the tools where packages come from.
///
/// # Errors
/// Their settings cannot be written.
pub fn configure(proto: &mut Proto) -> Result<bool> {
    let repository = proto.wanted.repository();
    proto.edit(&format!("{SYSCONFDIR}/pkg_install.conf"), 0o644, |text| {
        with_variable(&text, "PKG_PATH", &repository)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::install_base::proto::tests::{TIME, proto};
    use crate::zone::area::{Area, attributes};

    #[test]
    fn a_kit_goes_over_what_is_there() {
        let mut kit = Tree::new(attributes(0o700, 9, 9, TIME));
        let top = kit.root();
        let mut area = Area::new(&mut kit, top);
        let file = |text: &[u8]| Kind::File(Arc::new(text.to_vec()));
        let any = attributes(0o755, 3, 4, TIME);
        let tool = area.put(b"opt/local/sbin/pkg_add", any, file(b"tool")).unwrap();
        area.put(b"var/db/new", any, file(b"new")).unwrap();
        let folder = area.find(b"opt/local/sbin").unwrap();
        kit.link(folder, b"pkg_admin", tool).unwrap();

        let mut proto = proto("minimal-64", &[("/opt/local/sbin/pkg_add", "old"), ("/data/db/old", "")]);
        proto.link("/var", "data").unwrap();
        assert_eq!(lay(&kit, &mut proto).unwrap(), 3);
        assert_eq!(proto.text("/opt/local/sbin/pkg_add").unwrap().unwrap(), "tool");
        assert_eq!(proto.node("/opt/local/sbin/pkg_add"), proto.node("/opt/local/sbin/pkg_admin"));
        assert_eq!(proto.tree.node(proto.node("/opt/local/sbin/pkg_add").unwrap()).attributes, any);
        assert_eq!(proto.names("/data/db"), ["new", "old"]);

        let mut bad = Tree::new(any);
        bad.add(top, b"opt", any, file(b"")).unwrap();
        assert!(lay(&bad, &mut proto).is_err());
        let mut worse = Tree::new(any);
        let folder = worse.add(top, b"data", any, Kind::Directory(BTreeMap::new())).unwrap();
        worse.add(folder, b"\xff", any, file(b"")).unwrap();
        assert!(lay(&worse, &mut proto).is_err());
    }

    #[test]
    fn tools_know_their_repository() {
        let path = format!("{SYSCONFDIR}/pkg_install.conf");
        let mut proto =
            proto("minimal-64", &[(&path, "PKG_PATH=http://old/All\nVERIFIED_INSTALLATION=always\n")]);
        assert!(configure(&mut proto).unwrap());
        assert_eq!(
            proto.text(&path).unwrap().unwrap(),
            "VERIFIED_INSTALLATION=always\nPKG_PATH=https://pkgsrc.smartos.org/packages/SmartOS/2023Q4/x86_64/All\n"
        );
        assert!(!configure(&mut proto).unwrap());
    }
}
