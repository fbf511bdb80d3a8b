//! Packages of the test kit, installed into the tree of a small zone.

mod errors;
mod repositories;
mod signed;
mod whole;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use kiln_test_packages::{self as pkgsrc, Key, PREFIX, Package};
use kiln_zstream::fs::tree::{Attributes, Kind, Time, Tree};

use super::{FirstBoot, InstallOptions, Installed, Keyring, Trust, install, open};
use crate::contents::scratch::Scratch;
use crate::report::Report;
use crate::zone::area::{Area, attributes, contents_of};

const TIME: Time = Time { seconds: 1_600_000_000, nanoseconds: 0 };

/// The tree of a zone with accounts, shells and a bootstrap of `packages`.
fn zone(packages: &[Package]) -> Tree {
    let mut tree = Tree::new(attributes(0o755, 0, 0, TIME));
    let top = tree.root();
    let root =
        tree.add(top, b"root", attributes(0o755, 0, 0, TIME), Kind::Directory(BTreeMap::new())).unwrap();
    let mut area = Area::new(&mut tree, root);
    let mut put = |path: &str, mode, text: &str| {
        area.write(path.as_bytes(), attributes(mode, 0, 3, TIME), text.as_bytes().to_vec()).unwrap();
    };
    put(
        "/etc/passwd",
        0o644,
        "root:x:0:0::/root:/bin/sh\nadm:x:4:4::/var/adm:\nweb:x:120:80::/:\nnobody:x:60001:60001::/:\n",
    );
    put("/etc/shadow", 0o400, "root:*LK*:::::::\n");
    put("/etc/group", 0o644, "root::0:\nsys::3:\nadm::4:\nweb::80:");
    put("/etc/shells", 0o644, "/bin/sh\n");
    put("/var/db/pkgin/pkgin.db", 0o644, "old");
    put("/opt/local/.pkgdb/pkgdb.byfile.db", 0o644, "old");
    unpack(&mut area, &pkgsrc::bootstrap(packages));
    tree
}

/// Unpacks a bootstrap kit.
fn unpack(area: &mut Area<'_>, kit: &[u8]) {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(kit));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path_bytes().into_owned();
        let mode = entry.header().mode().unwrap() as u16;
        let is_link = entry.header().entry_type().is_symlink();
        let target = entry.link_name_bytes().filter(|_| is_link).map(std::borrow::Cow::into_owned);
        let kind = target.map_or_else(
            || {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                Kind::File(Arc::new(bytes))
            },
            Kind::Symlink,
        );
        area.put(&path, attributes(mode, 0, 0, TIME), kind).unwrap();
    }
}

/// What a test installs from.
struct Setup<'a> {
    folder: &'a Path,
    trust: Trust,
}

impl<'a> Setup<'a> {
    /// A folder, of whose packages none has to be signed.
    fn unsigned(folder: &'a Path) -> Self {
        Self { folder, trust: Trust { keyring: None, allow_unsigned: true } }
    }

    /// A folder, whose packages have to be signed by a key.
    fn signed(folder: &'a Path, key: &Key) -> Self {
        let keyring = Some(Keyring::read(&key.public()).unwrap());
        Self { trust: Trust { keyring, allow_unsigned: false }, ..Self::unsigned(folder) }
    }

    fn install(&self, tree: &mut Tree, packages: &[&str]) -> anyhow::Result<(Installed, FirstBoot)> {
        let scratch = Scratch::of_the_system();
        let repository = open(self.folder.to_str().unwrap(), &scratch)?;
        let packages: Vec<_> = packages.iter().map(|&name| name.to_owned()).collect();
        let options = InstallOptions {
            repository: &*repository,
            packages: &packages,
            trust: &self.trust,
            prefix: PREFIX,
            time: TIME,
            scratch: &scratch,
        };
        let mut first_boot = FirstBoot::default();
        let installed = install(tree, &options, &mut first_boot, &Report::new(false))?;
        Ok((installed, first_boot))
    }
}

/// Everything below a path of the zone, a line each: path, mode, owner, and contents or target in short.
fn listing(tree: &Tree, below: &str) -> String {
    let mut text = String::new();
    let mut path: Vec<String> = Vec::new();
    let mut names: BTreeMap<_, String> = BTreeMap::new();
    for step in tree.walk() {
        path.truncate(step.depth);
        path.push(String::from_utf8_lossy(step.name).into_owned());
        let whole = format!("/{}", path.join("/"));
        let Some(shown) = whole.strip_prefix("/root").filter(|shown| shown.starts_with(below)) else {
            continue;
        };
        let node = tree.node(step.node);
        let Attributes { permissions, uid, gid, .. } = node.attributes;
        let what = match &node.kind {
            Kind::Directory(_) => "/".to_owned(),
            Kind::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
            Kind::File(contents) => {
                if let Some(other) = names.get(&step.node) {
                    format!("= {other}")
                } else {
                    names.insert(step.node, shown.to_owned());
                    let bytes = contents_of(&**contents, 1 << 20).unwrap();
                    format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]))
                }
            }
            _ => "?".to_owned(),
        };
        writeln!(text, "{shown} {permissions:o} {uid}:{gid} {what}").unwrap();
    }
    text
}

/// The text of a file of the zone.
fn text(tree: &mut Tree, path: &str) -> Option<String> {
    let root = tree.find([&b"root"[..]]).unwrap();
    let bytes = Area::new(tree, root).read(path.as_bytes(), 1 << 20).unwrap()?;
    Some(String::from_utf8(bytes).unwrap())
}
