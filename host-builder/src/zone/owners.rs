//! Modes and owners of a zone's files by a list: mtree(5), or the manifest of a platform build.
//!
//! Names of owners mean those of the image's own tables, never those of this machine.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use kiln_zstream::fs::tree::Kind;

use super::accounts::Accounts;
use super::area::{Area, attributes};
use crate::contents::tree::show;
use crate::ownership::{Ownership, Rules, Type};
use crate::report::Hint;

/// Largest list that is read, in bytes. That of a platform has some 3 MiB.
const LIST_LIMIT: u64 = 64 << 20;

/// What to do about a line of an mtree.
const MTREE: &str =
    "each line is ./PATH and then type=, mode=, uid=, gid=, uname=, gname= or link=, as in mtree(5)";

/// What to do about a line of a platform's manifest.
const BUILD: &str =
    "each line is d or f, PATH, MODE, OWNER and GROUP, or another letter and what is not looked at";

/// What to do about a name.
const UNKNOWN: &str = "add the account to the tables of the image, or write the number";

/// Gives the files of a zone the modes and owners that a list says; says how many things it spoke of.
///
/// An mtree may name folders and links that are missing, which are made; it may not name missing files. The manifest of a platform
/// build names all files of the platform, so of that only the lines count whose file or folder is there, and only those of letters `d`
/// and `f` (source: imagetools, `create-seed`).
///
/// # Errors
/// The list cannot be read, a line of it cannot be understood or names an unknown owner, or it contradicts the tree.
pub fn apply(area: &mut Area<'_>, list: &Path) -> Result<usize> {
    let cannot = || format!("cannot read the list of owners {}", list.display());
    let mut text = Vec::new();
    let read = fs::File::open(list).and_then(|file| file.take(LIST_LIMIT + 1).read_to_end(&mut text));
    read.with_context(cannot).hint("check the path given with --ownership")?;
    if text.len() as u64 > LIST_LIMIT {
        return Err(anyhow!("it is longer than {LIST_LIMIT} bytes")).with_context(cannot).hint(MTREE);
    }
    apply_text(area, &text, list)
}

/// Does the same by a list that was read; errors name it `list`.
///
/// # Errors
/// A line cannot be understood or names an unknown owner, or it contradicts the tree.
pub fn apply_text(area: &mut Area<'_>, text: &[u8], list: &Path) -> Result<usize> {
    let accounts = Tables(Accounts::of(area).map_err(|error| format!("{error:#}")));
    if is_of_a_build(text) {
        of_a_build(area, &accounts, text, list)
    } else {
        let ownership = Ownership::parse_by(&accounts, text, list).hint(MTREE)?;
        of_an_mtree(area, &ownership, list)
    }
}

/// The tables of the image, or why there are none.
struct Tables(Result<Accounts, String>);

impl Tables {
    fn look_up(
        &self,
        what: &str,
        name: &str,
        find: impl Fn(&Accounts) -> Option<u32>,
    ) -> Result<u32, String> {
        match &self.0 {
            Err(problem) => {
                Err(format!("the {what} '{}' cannot be looked up: {problem}", name.escape_debug()))
            }
            Ok(accounts) => find(accounts)
                .ok_or_else(|| format!("the image has no {what} '{}'; {UNKNOWN}", name.escape_debug())),
        }
    }
}

impl Rules for Tables {
    fn user(&self, name: &str) -> Result<u32, String> {
        // A number needs no table.
        name.parse().or_else(|_| self.look_up("user", name, |accounts| accounts.uid(name)))
    }

    fn group(&self, name: &str) -> Result<u32, String> {
        name.parse().or_else(|_| self.look_up("group", name, |accounts| accounts.gid(name)))
    }
}

fn of_an_mtree(area: &mut Area<'_>, ownership: &Ownership, list: &Path) -> Result<usize> {
    let mut spoken = 0;
    for (path, given) in ownership.iter() {
        let line = || format!("{}:{}: {}", list.display(), given.line, show(path));
        let node = match (area.find(path), given.type_, &given.link) {
            (Some(node), ..) => node,
            (None, Some(Type::Directory), _) => {
                let time = area.tree.node(area.root).attributes.modified;
                area.make_folders(path, attributes(0o755, 0, 0, time)).with_context(line).hint(MTREE)?
            }
            (None, Some(Type::Symlink), Some(target)) => {
                let time = area.tree.node(area.root).attributes.modified;
                let kind = Kind::Symlink(target.clone());
                area.put(path, attributes(0o777, 0, 0, time), kind).with_context(line).hint(MTREE)?
            }
            (None, ..) => {
                return Err(anyhow!("{} is not in the image", line()))
                    .hint("add the file, or remove the line from the list");
            }
        };
        let kind = &area.tree.node(node).kind;
        if given.type_.is_some_and(|type_| !is_of(kind, type_)) {
            return Err(anyhow!("{} is of another type in the image", line()))
                .hint("correct the type in the list");
        }
        let is_link = matches!(kind, Kind::Symlink(_));
        let attributes = area.tree.attributes_mut(node);
        attributes.permissions = given.mode.filter(|_| !is_link).unwrap_or(attributes.permissions);
        attributes.uid = given.uid.unwrap_or(attributes.uid);
        attributes.gid = given.gid.unwrap_or(attributes.gid);
        spoken += 1;
    }
    Ok(spoken)
}

fn is_of(kind: &Kind, type_: Type) -> bool {
    match type_ {
        Type::Directory => matches!(kind, Kind::Directory(_)),
        Type::File => matches!(kind, Kind::File(_)),
        Type::Symlink => matches!(kind, Kind::Symlink(_)),
        Type::Character => matches!(kind, Kind::CharacterDevice(_)),
        Type::Block => matches!(kind, Kind::BlockDevice(_)),
        Type::Fifo => matches!(kind, Kind::Fifo),
        Type::Socket => matches!(kind, Kind::Socket),
    }
}

/// The lines of a list that say something, with their numbers.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    lines
        .map(|(index, line)| (index + 1, line.trim_ascii()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

fn words(line: &[u8]) -> Vec<&[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
}

/// Tells the manifest of a platform build by a line with `d` or `f` and four words behind it, none of which is a keyword as in mtree(5).
fn is_of_a_build(text: &[u8]) -> bool {
    lines(text).any(|(_, line)| match words(line)[..] {
        [b"d" | b"f", ref rest @ ..] => rest.len() == 4 && !rest.iter().any(|word| word.contains(&b'=')),
        _ => false,
    })
}

fn of_a_build(area: &mut Area<'_>, accounts: &Tables, text: &[u8], list: &Path) -> Result<usize> {
    let mut spoken = 0;
    for (number, line) in lines(text) {
        let bad = |problem: &str| anyhow!("{}:{number}: {problem}", list.display());
        let words = words(line);
        let (&letter, rest) = words.split_first().ok_or_else(|| bad("there is nothing")).hint(BUILD)?;
        if !matches!(letter, [b'a'..=b'z']) {
            return Err(bad("it begins with no single letter")).hint(BUILD);
        }
        if letter != b"d" && letter != b"f" {
            continue;
        }
        let &[path, mode, owner, group] = rest else {
            return Err(bad("there are not four words behind the letter")).hint(BUILD);
        };
        let Some(node) = area.find(path) else { continue };
        let type_ = if letter == b"d" { Type::Directory } else { Type::File };
        if !is_of(&area.tree.node(node).kind, type_) {
            continue;
        }
        let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
        let mode = u16::from_str_radix(&text(mode), 8)
            .ok()
            .filter(|&mode| mode <= 0o7777)
            .ok_or_else(|| bad(&format!("the mode '{}' is not octal up to 7777", show(mode))))
            .hint(BUILD)?;
        let uid = accounts.user(&text(owner)).map_err(|problem| bad(&problem)).hint(UNKNOWN)?;
        let gid = accounts.group(&text(group)).map_err(|problem| bad(&problem)).hint(UNKNOWN)?;
        let attributes = area.tree.attributes_mut(node);
        (attributes.permissions, attributes.uid, attributes.gid) = (mode, uid, gid);
        spoken += 1;
    }
    Ok(spoken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_zstream::fs::tree::{Attributes, Time, Tree};
    use std::sync::Arc;

    /// A zone with a program, a link to it and tables of accounts.
    fn zone(with_accounts: bool) -> Tree {
        let mut tree = Tree::new(attributes(0o755, 0, 0, Time { seconds: 5, nanoseconds: 0 }));
        let root = tree.root();
        let mut area = Area::new(&mut tree, root);
        let any = attributes(0o644, 0, 0, Time::default());
        let mut file = |path: &str, text: &str| {
            area.put(path.as_bytes(), any, Kind::File(Arc::new(text.as_bytes().to_vec()))).unwrap();
        };
        file("usr/bin/tool", "tool");
        if with_accounts {
            file("etc/passwd", "root:x:0:0::/:\nwww:x:80:80::/:\n");
            file("etc/group", "root::0:\nsys::3:\n");
        }
        let full = Attributes { permissions: 0o777, ..any };
        area.put(b"usr/bin/link", full, Kind::Symlink(b"tool".to_vec())).unwrap();
        area.put(b"pipe", any, Kind::Fifo).unwrap();
        tree
    }

    fn applied(tree: &mut Tree, text: &str) -> Result<usize, String> {
        let home = tempfile::tempdir().unwrap();
        let list = home.path().join("list");
        fs::write(&list, text).unwrap();
        let root = tree.root();
        let done = apply(&mut Area::new(tree, root), &list);
        done.map_err(|error| format!("{error:#}").replace(home.path().to_str().unwrap(), "."))
    }

    fn owners(tree: &Tree, path: &str) -> (u16, u32, u32) {
        let node = tree.node(super::super::area::find(tree, tree.root(), path.as_bytes()).unwrap());
        let Attributes { permissions, uid, gid, .. } = node.attributes;
        (permissions, uid, gid)
    }

    #[test]
    fn an_mtree_gives_modes_and_owners_of_the_image() {
        let mut tree = zone(true);
        let text = "#mtree\n. type=dir mode=0700\n./usr/bin/tool uname=www gname=sys mode=4555\n\
                    ./usr/bin/link type=link mode=0644 uid=5\n./var/empty type=dir gid=3\n\
                    ./new type=link link=usr\n./pipe type=fifo gname=3\n";
        assert_eq!(applied(&mut tree, text).unwrap(), 6);
        assert_eq!(owners(&tree, ""), (0o700, 0, 0));
        assert_eq!(owners(&tree, "usr/bin/tool"), (0o4555, 80, 3));
        assert_eq!(owners(&tree, "usr/bin/link"), (0o777, 5, 0));
        assert_eq!(owners(&tree, "var/empty"), (0o755, 0, 3));
        assert_eq!(owners(&tree, "new"), (0o777, 0, 0));
        assert_eq!(owners(&tree, "pipe"), (0o644, 0, 3));
    }

    #[test]
    fn the_manifest_of_a_build_speaks_of_what_is_there() {
        let mut tree = zone(true);
        let text = "d usr 0751 root sys\nf usr/bin/tool 0511 www 3\nf usr/bin/absent 0555 nobody nobody\n\
                    s usr/bin/link=tool\nd usr/bin/link 0700 root sys\nh a=b\n";
        assert_eq!(applied(&mut tree, text).unwrap(), 2);
        assert_eq!(owners(&tree, "usr"), (0o751, 0, 3));
        assert_eq!(owners(&tree, "usr/bin/tool"), (0o511, 80, 3));
        assert_eq!(owners(&tree, "usr/bin/link"), (0o777, 0, 0));
    }

    #[test]
    fn file_and_line_are_named() {
        for (text, words) in [
            ("./usr uid=0\n\n./usr/bin/tool uname=nobody\n", "./list:3: the image has no user 'nobody'"),
            ("./usr gname=nobody\n", "./list:1: the image has no group 'nobody'"),
            ("./usr uid=0\n./absent mode=0644\n", "./list:2: absent is not in the image"),
            ("./usr type=file\n", "./list:1: usr is of another type in the image"),
            ("./usr colour=red\n", "./list:1: unknown keyword 'colour'"),
            (
                "d usr 0755 root sys\nf usr/bin/tool 0555 nobody sys\n",
                "./list:2: the image has no user 'nobody'",
            ),
            ("d usr 0755 root sys\nf usr/bin/tool rwx root sys\n", "./list:2: the mode 'rwx' is not octal"),
            ("d usr 0755 root sys\nd usr 0755\n", "./list:2: there are not four words behind the letter"),
            ("d usr 0755 root sys\n./usr uid=0\n", "./list:2: it begins with no single letter"),
        ] {
            let error = applied(&mut zone(true), text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn numbers_need_no_tables() {
        let mut tree = zone(false);
        applied(&mut tree, "./usr uid=7 gname=8\n").unwrap();
        assert_eq!(owners(&tree, "usr"), (0o755, 7, 8));
        let error = applied(&mut tree, "./usr uname=root\n").unwrap_err();
        assert!(
            error.contains("./list:1: the user 'root' cannot be looked up: there is no /etc/passwd"),
            "{error}"
        );
    }
}
