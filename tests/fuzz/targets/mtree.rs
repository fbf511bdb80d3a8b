//! Lists of owners: those beside the overlays of retro images, and those of zones, which may be the manifest of a platform build, too.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use kiln::area::{Area, attributes};
use kiln::owners;
use kiln::ownership::Ownership;
use kiln_zstream::fs::objects::NoStore;
use kiln_zstream::fs::tree::{Kind, Time, Tree};
use kiln_zstream::fs::{self, FileSystemOptions, Objects, Version};
use libfuzzer_sys::fuzz_target;

/// When everything in the zone was made.
const TIME: Time = Time { seconds: 1_400_000_000, nanoseconds: 0 };

/// What is in the zone that the lists speak of; folders end with a slash.
const FILES: [(&str, &[u8]); 6] = [
    ("etc/passwd", b"root:x:0:0:Super-User:/root:/usr/bin/bash\nbin:x:2:2::/usr/bin:\n"),
    ("etc/group", b"root::0:\nsys::3:root,bin\nbin::2:root\n"),
    ("usr/bin/x", b"x"),
    ("var/", b""),
    ("var/tmp/", b""),
    ("root/", b""),
];

fn zone() -> Tree {
    let mut tree = Tree::new(attributes(0o755, 0, 0, TIME));
    let root = tree.root();
    let mut area = Area::new(&mut tree, root);
    for (path, contents) in FILES {
        let folder = &path[..path.rfind('/').expect("none is at the top")];
        area.make_folders(folder.as_bytes(), attributes(0o755, 0, 0, TIME)).expect("the names are good");
        if !path.ends_with('/') {
            let kind = Kind::File(Arc::new(contents.to_vec()));
            area.put(path.as_bytes(), attributes(0o644, 0, 0, TIME), kind).expect("the name is good");
        }
    }
    tree
}

fuzz_target!(|list: &[u8]| {
    let path = Path::new("owners.mtree");
    let _ = Ownership::parse(list, path);

    let mut tree = zone();
    let (root, names) = (tree.root(), tree.walk().count());
    let applied = owners::apply_text(&mut Area::new(&mut tree, root), list, path);
    assert!(tree.walk().count() >= names, "nothing is removed");
    assert!(tree.walk().all(|step| tree.node(step.node).attributes.permissions <= 0o7777));
    if applied.is_ok_and(|spoken| spoken > 0) {
        write(&tree);
    }
});

/// Writes what a list made, which its receiver reads.
fn write(tree: &Tree) {
    let options = FileSystemOptions {
        to_name: "zones/image@final".into(),
        to_guid: 1,
        creation_time: 1_400_000_000,
        version: Version::Five,
    };
    // There are targets of links that no file system holds.
    let Ok((stream, _)) = fs::write(Vec::new(), tree, &options) else { return };
    let mut objects = Objects::new(NoStore);
    objects.apply(&stream[..]).expect("the records are sound");
    assert_eq!(fs::check(&objects), []);
}
