//! `manifest.gen`: modes and owners of everything that a build of smartos-live puts into a platform.
//!
//! A line is a letter and a path; `f` and `d` lines go on with mode, owner and group, the others (`s` and `h`, links) with `=TARGET`
//! (source: smartos-live, `tools/builder` and the `manifest` files). Owners are names, and the numbers are those of the image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use kiln_zstream::fs::tree::{Kind, NodeId};

use crate::report::Hint;
use crate::zone::accounts::Accounts;
use crate::zone::area::Area;

/// Name of the file in the build tree.
pub const MANIFEST: &str = "manifest.gen";

/// Largest file that is read, in bytes; real ones have 2,000,000.
const FILE_LIMIT: u64 = 64 << 20;

/// Most lines that an error lists.
const MOST_LISTED: usize = 20;

/// What a line says about a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    line: usize,
    directory: bool,
    mode: u16,
    owner: String,
    group: String,
}

/// The file, read. Of several lines about one path the last counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    file: PathBuf,
    given: BTreeMap<String, Given>,
}

impl Generated {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or a line of a file or folder is none.
    pub fn read(file: &Path) -> Result<Self> {
        let text = super::read_host_file(file, FILE_LIMIT)?;
        Self::parse(&String::from_utf8_lossy(&text), file)
    }

    fn parse(text: &str, file: &Path) -> Result<Self> {
        let mut given = BTreeMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let mut words = text.split_whitespace();
            let directory = match words.next() {
                Some("d") => true,
                Some("f") => false,
                _ => continue,
            };
            let fields: Vec<&str> = words.collect();
            let [path, mode, owner, group] = fields[..] else {
                return Err(bad(file, line, "it should be: letter, path, mode, owner, group"));
            };
            let mode = u16::from_str_radix(mode, 8).ok().filter(|&mode| mode <= 0o7777);
            let mode = mode.ok_or_else(|| bad(file, line, "the mode is not octal up to 7777"))?;
            let (owner, group) = (owner.to_owned(), group.to_owned());
            given.insert(path.trim_matches('/').to_owned(), Given { line, directory, mode, owner, group });
        }
        Ok(Self { file: file.to_owned(), given })
    }

    /// Gives modes and owners to what is in the area and named here as what it is. Says of how many files and folders nothing is
    /// said.
    ///
    /// # Errors
    /// An owner or group that the image does not know. All are named.
    pub fn apply(&self, area: &mut Area<'_>, accounts: &Accounts) -> Result<usize> {
        let mut unknown = Vec::new();
        let mut said: Vec<NodeId> = Vec::new();
        for (path, given) in &self.given {
            let Some(node) = area.find(path.as_bytes()) else { continue };
            let fits = match area.tree.node(node).kind {
                Kind::Directory(_) => given.directory,
                Kind::File(_) => !given.directory,
                _ => false,
            };
            if !fits {
                continue;
            }
            let Given { line, mode, owner, group, .. } = given;
            let (uid, gid) = (accounts.uid(owner), accounts.gid(group));
            if uid.is_none() {
                unknown.push(format!("line {line}: there is no user {owner}"));
            }
            if gid.is_none() {
                unknown.push(format!("line {line}: there is no group {group}"));
            }
            if let (Some(uid), Some(gid)) = (uid, gid) {
                let attributes = area.tree.attributes_mut(node);
                (attributes.permissions, attributes.uid, attributes.gid) = (*mode, uid, gid);
                said.push(node);
            }
        }
        if !unknown.is_empty() {
            let more = unknown.len().saturating_sub(MOST_LISTED);
            unknown.truncate(MOST_LISTED);
            if more > 0 {
                unknown.push(format!("and {more} more"));
            }
            let file = self.file.display();
            return Err(anyhow!("{file} names owners that the image does not have: {}", unknown.join("; ")))
                .hint("the image's own /etc/passwd and /etc/group decide: add the accounts there");
        }
        said.sort_unstable();
        said.dedup();
        let known = area.tree.walk().filter(|step| {
            matches!(area.tree.node(step.node).kind, Kind::Directory(_) | Kind::File(_))
                && said.binary_search(&step.node).is_err()
                && step.node != area.root
        });
        Ok(known.count())
    }
}

fn bad(file: &Path, line: usize, problem: &str) -> anyhow::Error {
    let error = anyhow!("{}: line {line}: {problem}", file.display());
    crate::report::with_hint(error, "let the build make the file anew (gmake live)")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kiln_zstream::fs::tree::{Attributes, Tree};

    use super::*;

    fn parse(text: &str) -> Result<Generated> {
        Generated::parse(text, Path::new(MANIFEST))
    }

    #[test]
    fn files_and_folders_get_the_numbers_of_the_image() {
        let mut tree = Tree::new(Attributes::default());
        let root = tree.root();
        let mut area = Area::new(&mut tree, root);
        let file = || Kind::File(Arc::new(Vec::new()));
        for path in ["etc/passwd", "etc/other", "etc/link", "etc/wrong/x"] {
            area.put(path.as_bytes(), Attributes::default(), file()).unwrap();
        }
        area.put(b"etc/link", Attributes::default(), Kind::Symlink(b"x".to_vec())).unwrap();
        let accounts = Accounts {
            users: [("root".to_owned(), 0), ("www".to_owned(), 80)].into(),
            groups: [("sys".to_owned(), 3)].into(),
        };
        let text = "f etc/passwd 0600 root sys\ns etc/link=x\nf etc/link 0600 www sys\nf etc/passwd 0644 www sys\n\
                    d etc 0755 root sys\nf etc/wrong 0600 www sys\nf usr/bin/ls 0555 nobody nobody\n";
        assert_eq!(parse(text).unwrap().apply(&mut area, &accounts).unwrap(), 3);
        let attributes = |path: &str| {
            let node = area.find(path.as_bytes()).unwrap();
            let Attributes { permissions, uid, gid, .. } = area.tree.node(node).attributes;
            (permissions, uid, gid)
        };
        assert_eq!(attributes("etc/passwd"), (0o644, 80, 3));
        assert_eq!(attributes("etc"), (0o755, 0, 3));
        assert_eq!(attributes("etc/link"), (0, 0, 0));
    }

    #[test]
    fn owners_that_the_image_lacks_are_all_named() {
        let mut tree = Tree::new(Attributes::default());
        let root = tree.root();
        let mut area = Area::new(&mut tree, root);
        area.put(b"etc/a", Attributes::default(), Kind::File(Arc::new(Vec::new()))).unwrap();
        let text = "d etc 0755 nobody sys\nf etc/a 0644 7 staff\n";
        let said = parse(text).unwrap().apply(&mut area, &Accounts::default()).unwrap_err().to_string();
        assert_eq!(
            said,
            "manifest.gen names owners that the image does not have: line 1: there is no user nobody; \
             line 1: there is no group sys; line 2: there is no group staff"
        );
    }

    #[test]
    fn lines_that_are_none_are_told() {
        for (text, says) in [
            ("f a 0644 root\n", "line 1: it should be"),
            ("x\n\nd a 0855 root sys\n", "line 3: the mode is not octal"),
            ("f a 10000 root sys\n", "line 1: the mode is not octal"),
        ] {
            let said = parse(text).unwrap_err().to_string();
            assert!(said.contains(says), "{said}");
        }
    }
}
