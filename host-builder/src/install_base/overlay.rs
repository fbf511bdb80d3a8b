//! The overlays of an image: kiln's own, and the folders that are given, with `@NAME@` filled in.
//!
//! An overlay holds `etc` and `root`, which go to those folders of the zone, and `sysconfdir`, which goes to `/opt/local/etc` of base
//! and pkgbuild images. Its files are copied before packages are installed, so that a package finds its configuration there and does
//! not put its example in place.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use kiln_zstream::fs::tree::Kind as NodeKind;

use super::config::{Family, SYSCONFDIR};
use super::proto::Proto;
use crate::overlay::{Contents, Kind, Layer, Tree};
use crate::ownership::{Attributes, Given};
use crate::report::Hint;

/// Largest file of an overlay, in bytes.
const FILE_LIMIT: u64 = 64 << 20;

/// kiln's own overlay: path, text, and whether it is executable.
const BUILT_IN: &[(&str, &str, bool)] = &[
    ("etc/motd", include_str!("../../../overlays/base-image/etc/motd"), false),
    ("etc/rc2.d/S99net_tune", include_str!("../../../overlays/base-image/etc/rc2.d/S99net_tune"), true),
    ("etc/skel/.bashrc", include_str!("../../../overlays/base-image/etc/skel/.bashrc"), false),
    ("etc/skel/.cshrc", include_str!("../../../overlays/base-image/etc/skel/.cshrc"), false),
    ("etc/skel/.profile", include_str!("../../../overlays/base-image/etc/skel/.profile"), false),
    (
        "sysconfdir/postfix/aliases",
        include_str!("../../../overlays/base-image/sysconfdir/postfix/aliases"),
        false,
    ),
    ("sysconfdir/rsyslog.conf", include_str!("../../../overlays/base-image/sysconfdir/rsyslog.conf"), false),
];

/// A file of an overlay.
struct File {
    /// What it is called in messages.
    origin: PathBuf,
    bytes: Vec<u8>,
    /// Whether it is executable.
    executable: bool,
    /// Mode and owner, when the manifest beside the folder gives others than a file has without one. Else they are those of the file
    /// that it replaces, or 0644 of root.
    given: Option<Attributes>,
}

/// Lays kiln's own overlay and then the folders over the zone, and says how many files that were.
///
/// # Errors
/// A folder cannot be read or holds something else than the three; a file mentions a name that is not known.
pub fn apply(proto: &mut Proto, folders: &[PathBuf]) -> Result<usize> {
    let mut layers: Vec<Vec<(String, Entry)>> = vec![built_in()];
    for folder in folders {
        layers.push(read(folder)?);
    }
    let variables = proto.wanted.variables();
    let mut count = 0;
    for (path, entry) in layers.into_iter().flatten() {
        let place = match path.split_once('/') {
            Some(("etc" | "root", _)) => format!("/{path}"),
            Some(("sysconfdir", _)) if proto.wanted.family() == Family::Minimal => continue,
            Some(("sysconfdir", below)) => format!("{SYSCONFDIR}/{below}"),
            _ => unreachable!("other paths are refused when a folder is read"),
        };
        match entry {
            Entry::File(file) => put(proto, &place, file, &variables)?,
            Entry::Link(target) => {
                let attributes = proto.attributes(0o777, 0, 0);
                let cannot = || format!("cannot make the link {place}");
                proto
                    .area()
                    .put(place.as_bytes(), attributes, NodeKind::Symlink(target))
                    .with_context(cannot)?;
            }
        }
        count += 1;
    }
    Ok(count)
}

enum Entry {
    File(File),
    Link(Vec<u8>),
}

fn built_in() -> Vec<(String, Entry)> {
    let file = |&(path, text, executable): &(&str, &str, bool)| {
        let origin = Path::new("kiln's own overlay").join(path);
        (
            path.to_owned(),
            Entry::File(File { origin, bytes: text.as_bytes().to_vec(), executable, given: None }),
        )
    };
    BUILT_IN.iter().map(file).collect()
}

/// The files of a folder, by their paths in it.
fn read(folder: &Path) -> Result<Vec<(String, Entry)>> {
    let tree = Tree::stack([Layer::read(folder)?])?;
    let mut files = Vec::new();
    for (path, entry) in tree.entries() {
        let host = || folder.join(String::from_utf8_lossy(path).into_owned());
        let known = match path.split(|&byte| byte == b'/').next() {
            Some(b"etc" | b"root" | b"sysconfdir") => {
                path.contains(&b'/') || matches!(entry.kind, Kind::Directory { .. })
            }
            _ => false,
        };
        if !known {
            return Err(anyhow!("{} is none of the folders etc, root and sysconfdir", host().display()))
                .hint("an overlay of a base image holds etc and root, and sysconfdir for what goes to /opt/local/etc");
        }
        let name = String::from_utf8(path.to_vec())
            .map_err(|_| anyhow!("{} has a name that is no UTF-8", host().display()))?;
        let entry = match &entry.kind {
            Kind::Directory { .. } => continue,
            Kind::Symlink(target) => Entry::Link(target.clone()),
            Kind::File(contents) => {
                let file =
                    read_file(contents).with_context(|| format!("cannot read {}", host().display()))?;
                let plain = Given::default().attributes(false);
                Entry::File(File { given: Some(entry.attributes).filter(|given| *given != plain), ..file })
            }
        };
        files.push((name, entry));
    }
    Ok(files)
}

fn read_file(contents: &Contents) -> Result<File> {
    if contents.length() > FILE_LIMIT {
        return Err(anyhow!("it is longer than {} MiB", FILE_LIMIT >> 20))
            .hint("make a package of what is that large");
    }
    let mut bytes = Vec::new();
    contents.open()?.read_to_end(&mut bytes)?;
    let (origin, executable) = match contents {
        // The owner's bit, which no umask takes away.
        Contents::Host { path, .. } => (path.clone(), path.metadata()?.permissions().mode() & 0o100 != 0),
        Contents::Bytes(_) => (PathBuf::new(), false),
    };
    Ok(File { origin, bytes, executable, given: None })
}

fn put(proto: &mut Proto, place: &str, file: File, variables: &BTreeMap<&str, String>) -> Result<()> {
    let bytes = match String::from_utf8(file.bytes) {
        Ok(text) if !text.contains('\0') => substituted(&text, variables, &file.origin)?.into_bytes(),
        Ok(text) => text.into_bytes(),
        // What is no text mentions nothing.
        Err(error) => error.into_bytes(),
    };
    proto.write(place, 0o644, bytes)?;
    if let Some(node) = proto.node(place) {
        let attributes = proto.tree.attributes_mut(node);
        if file.executable {
            attributes.permissions |= 0o111;
        }
        if let Some(Attributes { mode, uid, gid }) = file.given {
            (attributes.permissions, attributes.uid, attributes.gid) = (mode, uid, gid);
        }
    }
    Ok(())
}

/// A text with the values of the names that it mentions as `@NAME@`: capital letters, digits and underscores, a letter first.
fn substituted(text: &str, variables: &BTreeMap<&str, String>, file: &Path) -> Result<String> {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        done.push_str(before);
        let length = after
            .bytes()
            .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
            .count();
        let (name, behind) = after.split_at(length);
        rest = behind.strip_prefix('@').unwrap_or(after);
        if !behind.starts_with('@') || !name.starts_with(|first: char| first.is_ascii_uppercase()) {
            done.push('@');
            rest = after;
            continue;
        }
        let Some(value) = variables.get(name) else {
            let line = 1 + text[..text.len() - behind.len()].matches('\n').count();
            let known: Vec<&str> = variables.keys().copied().collect();
            return Err(anyhow!("{}:{line}: @{name}@ is not known", file.display()))
                .hint(format!("the names are {}", known.join(", ")));
        };
        done.push_str(value);
    }
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install_base::proto::tests::proto;

    #[test]
    fn names_become_their_values() {
        let variables = BTreeMap::from([("IMAGE_NAME", "base-64".to_owned()), ("A1", "@A1@".to_owned())]);
        let file = Path::new("over/etc/x");
        for (text, expected) in [
            ("", ""),
            ("no names, root@host and a@b@c", "no names, root@host and a@b@c"),
            ("@IMAGE_NAME@", "base-64"),
            ("@@IMAGE_NAME@@A1@@", "@base-64@A1@@"),
            ("@1A@ @_A@ @é@", "@1A@ @_A@ @é@"),
        ] {
            assert_eq!(substituted(text, &variables, file).unwrap(), expected, "{text}");
        }
        let error = substituted("one\n@IMAGE_NAME@\n\n @NONE@ x", &variables, file).unwrap_err();
        assert_eq!(error.to_string(), "over/etc/x:4: @NONE@ is not known");
    }

    #[test]
    fn own_files_mention_known_names_only() {
        for name in ["minimal-64", "base-64"] {
            let mut proto = proto(name, &[]);
            apply(&mut proto, &[]).unwrap();
            let tuning = proto.node("/etc/rc2.d/S99net_tune").unwrap();
            assert_eq!(proto.tree.node(tuning).attributes.permissions, 0o755);
            assert!(proto.text("/etc/motd").unwrap().unwrap().contains(&format!("{name} 23.4.0")));
            assert_eq!(proto.node("/opt/local/etc/rsyslog.conf").is_some(), name == "base-64");
        }
    }

    #[test]
    fn every_file_of_the_own_overlay_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../overlays/base-image");
        let there: Vec<String> = read(&folder).unwrap().into_iter().map(|(path, _)| path).collect();
        assert_eq!(there, BUILT_IN.iter().map(|(path, ..)| *path).collect::<Vec<_>>());
    }
}
