//! What a zone needs to start and an image may lack.

use kiln_zstream::fs::tree::Kind;

use super::area::Area;

/// What the files of an SMF repository begin with (source: illumos, `usr/src/cmd/svc/configd/backend.c` and SQLite 2).
const REPOSITORY_MAGIC: &[u8] = b"** This file contains an SQLite 2";

/// Files without which a zone of the brand joyent does not come up, and what they are.
const NEEDED: [(&str, &str); 5] = [
    ("etc/passwd", "users"),
    ("etc/shadow", "their passwords"),
    ("etc/group", "groups"),
    ("etc/inittab", "what init starts first"),
    (REPOSITORY, "services"),
];

/// The repository of services. Zones of the brand joyent-minimal use that of their brand (source: illumos-joyent,
/// `usr/src/lib/brand/jcommon/README.smf`).
const REPOSITORY: &str = "etc/svc/repository.db";

/// What a SmartOS zone of this brand would not start without, one sentence each; nothing if all is there.
pub fn missing(zone: &Area<'_>, brand: &str) -> Vec<String> {
    if !["joyent", "joyent-minimal"].contains(&brand) {
        return Vec::new();
    }
    let mut list = Vec::new();
    for (path, what) in NEEDED.iter().filter(|(path, _)| brand == "joyent" || *path != REPOSITORY) {
        match zone.find(path.as_bytes()).map(|node| &zone.tree.node(node).kind) {
            // Where a link leads is not judged.
            Some(Kind::File(contents)) if *path == REPOSITORY => {
                let mut head = Vec::new();
                // What cannot be read is found when the image is written.
                let _ = contents.give(&mut |_, piece| {
                    head.extend(&piece[..piece.len().min(REPOSITORY_MAGIC.len())]);
                    Err(std::io::Error::other("that is enough"))
                });
                if !head.starts_with(REPOSITORY_MAGIC) {
                    list.push(format!("/{path} is no repository of services as SMF keeps them"));
                }
            }
            Some(Kind::File(_) | Kind::Symlink(_)) => {}
            _ => list.push(format!("there is no /{path} ({what})")),
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_zstream::fs::tree::{Attributes, Tree};
    use std::sync::Arc;

    #[test]
    fn what_is_missing_is_told() {
        let mut tree = Tree::new(Attributes::default());
        let root = tree.root();
        let mut area = Area::new(&mut tree, root);
        assert_eq!(missing(&area, "joyent").len(), 5);
        assert_eq!(missing(&area, "joyent-minimal").len(), 4);
        assert_eq!(missing(&area, "lx"), [""; 0]);
        let file = |text: &[u8]| Kind::File(Arc::new(text.to_vec()));
        for path in ["etc/passwd", "etc/shadow", "etc/group", "etc/inittab", REPOSITORY] {
            area.put(path.as_bytes(), Attributes::default(), file(b"x")).unwrap();
        }
        let expected = format!("/{REPOSITORY} is no repository of services as SMF keeps them");
        assert_eq!(missing(&area, "joyent"), [expected]);
        let text = b"** This file contains an SQLite 2.1 database **\0".to_vec();
        area.put(REPOSITORY.as_bytes(), Attributes::default(), file(&text)).unwrap();
        assert_eq!(missing(&area, "joyent"), [""; 0]);
    }
}
