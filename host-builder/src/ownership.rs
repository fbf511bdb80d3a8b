//! Modes and owners of overlay files, from a manifest in mtree(5) form beside the overlay.
//!
//! A checkout cannot say who owns a file in the guest, and its modes depend on the umask of whoever made it. So an
//! overlay `DIR` may have a `DIR.mtree` next to it. What it does not name belongs to 0:0 with mode 0755 (directories)
//! or 0644 (files), whatever the checkout says.
//!
//! Both forms of mtree(5) are read: one full path a line (`./etc/issue mode=0644`), and the classic one, where an
//! entry of type dir is descended into and `..` leads back. `/set` and `/unset` give defaults for the lines after them,
//! and of several lines about one path the last word on each attribute counts. Names are encoded as vis(3) does.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Largest manifest that is read, in bytes.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// Longest path in bytes, that of illumos (`MAXPATHLEN` in sys/param.h).
const PATH_LIMIT: usize = 1024;

/// Accounts with the same number on every illumos system (source: the `passwd` file of SUNWcs).
const USERS: &[(&str, u32)] = &[("root", 0), ("daemon", 1), ("bin", 2), ("sys", 3), ("adm", 4)];

/// Groups with the same number on every illumos system (source: the `group` file of SUNWcs).
const GROUPS: &[(&str, u32)] = &[
    ("root", 0),
    ("other", 1),
    ("bin", 2),
    ("sys", 3),
    ("adm", 4),
    ("mail", 6),
    ("tty", 7),
    ("staff", 10),
    ("daemon", 12),
];

/// Keywords that other tools write and that say nothing about mode and owner.
const IGNORED: &[&str] = &[
    "cksum",
    "device",
    "flags",
    "ignore",
    "inode",
    "md5",
    "md5digest",
    "nlink",
    "nochange",
    "optional",
    "ripemd160digest",
    "rmd160",
    "rmd160digest",
    "sha1",
    "sha1digest",
    "sha256",
    "sha256digest",
    "sha384",
    "sha384digest",
    "sha512",
    "sha512digest",
    "size",
    "time",
];

/// Mode and owner of a file in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, set-id bits and the sticky bit: at most 0o7777.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What the manifest calls a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `type=dir`
    Directory,
    /// `type=file`
    File,
    /// `type=link`
    Symlink,
    /// `type=block`
    Block,
    /// `type=char`
    Character,
    /// `type=fifo`
    Fifo,
    /// `type=socket`
    Socket,
}

/// The numbers of names, which depend on the tree that a manifest is about.
pub trait Rules {
    /// The number of a user's name.
    ///
    /// # Errors
    /// Why it has none, in words.
    fn user(&self, name: &str) -> Result<u32, String>;

    /// The number of a group's name, likewise.
    ///
    /// # Errors
    /// Why it has none, in words.
    fn group(&self, name: &str) -> Result<u32, String>;
}

/// The rules of overlays: names that have the same number everywhere.
struct OverlayRules;

impl Rules for OverlayRules {
    fn user(&self, name: &str) -> Result<u32, String> {
        named("uname", USERS, name)
    }

    fn group(&self, name: &str) -> Result<u32, String> {
        named("gname", GROUPS, name)
    }
}

/// What the manifest says about one path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Its type.
    pub type_: Option<Type>,
    /// Its permission bits.
    pub mode: Option<u16>,
    /// Its owner.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// Where it leads, of a symbolic link.
    pub link: Option<Vec<u8>>,
    /// The last line about it, from 1.
    pub line: usize,
}

impl Given {
    /// Mode and owner with the defaults filled in.
    pub fn attributes(&self, directory: bool) -> Attributes {
        Attributes {
            mode: self.mode.unwrap_or(if directory { 0o755 } else { 0o644 }),
            uid: self.uid.unwrap_or(0),
            gid: self.gid.unwrap_or(0),
        }
    }

    /// Lays `later` over this.
    fn update(&mut self, later: Given) {
        self.type_ = later.type_.or(self.type_);
        self.mode = later.mode.or(self.mode);
        self.uid = later.uid.or(self.uid);
        self.gid = later.gid.or(self.gid);
        self.link = later.link.or(self.link.take());
        self.line = later.line;
    }
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum MtreeError {
    /// The file cannot be read.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// The file is longer than 16 MiB.
    #[error("{} is longer than {FILE_LIMIT} bytes", .0.display())]
    TooLong(PathBuf),
    /// A line cannot be understood.
    #[error("{}:{line}: {problem}", .file.display())]
    Line {
        /// The manifest.
        file: PathBuf,
        /// The line, counted from 1; of a continued line the first.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// Modes and owners of an overlay. Paths are relative, without `.`; the empty path is the overlay itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    entries: BTreeMap<Vec<u8>, Given>,
}

impl Ownership {
    /// Reads a manifest; a missing one says nothing.
    ///
    /// # Errors
    /// Every [`MtreeError`].
    pub fn read(file: &Path) -> Result<Ownership, MtreeError> {
        let unreadable = |error| MtreeError::Unreadable(file.to_owned(), error);
        let length = match fs::metadata(file) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ownership::default()),
            Err(error) => return Err(unreadable(error)),
        };
        if length > FILE_LIMIT {
            return Err(MtreeError::TooLong(file.to_owned()));
        }
        Ownership::parse(&fs::read(file).map_err(unreadable)?, file)
    }

    /// Understands the text of a manifest of an overlay; `file` is its name in errors.
    ///
    /// # Errors
    /// [`MtreeError::Line`].
    pub fn parse(text: &[u8], file: &Path) -> Result<Ownership, MtreeError> {
        Ownership::parse_by(&OverlayRules, text, file)
    }

    /// Understands the text of a manifest by other rules.
    ///
    /// # Errors
    /// [`MtreeError::Line`].
    pub fn parse_by(rules: &dyn Rules, text: &[u8], file: &Path) -> Result<Ownership, MtreeError> {
        let mut reader =
            Reader { rules, entries: BTreeMap::new(), defaults: Given::default(), directory: Vec::new() };
        for (line, content) in logical_lines(text) {
            reader.line(line, &content).map_err(|problem| MtreeError::Line {
                file: file.to_owned(),
                line,
                problem,
            })?;
        }
        Ok(Ownership { entries: reader.entries })
    }

    /// What is said about a path, if anything.
    pub fn get(&self, path: &[u8]) -> Option<&Given> {
        self.entries.get(path)
    }

    /// Everything that is said, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Given)> {
        self.entries.iter().map(|(path, given)| (path.as_slice(), given))
    }
}

/// Lines with their numbers, joined where one ends in a backslash; empty ones and comments are left out.
fn logical_lines(text: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    let mut lines = text.split(|&byte| byte == b'\n').enumerate();
    std::iter::from_fn(move || {
        loop {
            let (index, first) = lines.next()?;
            let mut line = first.strip_suffix(b"\r").unwrap_or(first).to_vec();
            while !line.trim_ascii_start().starts_with(b"#") && ends_in_continuation(&line) {
                line.pop();
                let Some((_, next)) = lines.next() else { break };
                line.push(b' ');
                line.extend_from_slice(next.strip_suffix(b"\r").unwrap_or(next));
            }
            let content = line.trim_ascii();
            if !content.is_empty() && !content.starts_with(b"#") {
                return Some((index + 1, content.to_vec()));
            }
        }
    })
}

/// Whether the last backslash is not itself quoted by one before it.
fn ends_in_continuation(line: &[u8]) -> bool {
    line.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

struct Reader<'a> {
    rules: &'a dyn Rules,
    entries: BTreeMap<Vec<u8>, Given>,
    /// What `/set` said last.
    defaults: Given,
    /// The directory that the classic form is in.
    directory: Vec<u8>,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, line: &[u8]) -> Result<(), String> {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(name) = words.next() else { return Ok(()) };
        match name {
            b"/set" => words.try_for_each(|word| keyword(self.rules, &mut self.defaults, word)),
            b"/unset" => words.try_for_each(|word| self.unset(word)),
            b".." => {
                if self.directory.is_empty() {
                    return Err("'..' climbs out of the overlay".to_owned());
                }
                let parent = self.directory.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                self.directory.truncate(parent);
                Ok(())
            }
            _ => {
                let mut said = Given { line: number, ..Given::default() };
                words.try_for_each(|word| keyword(self.rules, &mut said, word))?;
                self.entry(name, said)
            }
        }
    }

    fn unset(&mut self, word: &[u8]) -> Result<(), String> {
        let everything = word == b"all";
        let mut known = everything;
        let mut clear = |name: &[u8], forget: fn(&mut Given)| {
            if everything || word == name {
                forget(&mut self.defaults);
                known = true;
            }
        };
        clear(b"type", |given| given.type_ = None);
        clear(b"mode", |given| given.mode = None);
        clear(b"uid", |given| given.uid = None);
        clear(b"uname", |given| given.uid = None);
        clear(b"gid", |given| given.gid = None);
        clear(b"gname", |given| given.gid = None);
        clear(b"link", |given| given.link = None);
        if known || is_ignored(word) {
            Ok(())
        } else {
            Err(format!("unknown keyword '{}'", word.escape_ascii()))
        }
    }

    fn entry(&mut self, name: &[u8], said: Given) -> Result<(), String> {
        let mut given = self.defaults.clone();
        given.update(said);
        // Only a slash as it is written makes a full path; an encoded one would be part of a name and is refused.
        let full = name.contains(&b'/');
        let mut path = if full { Vec::new() } else { self.directory.clone() };
        for part in name.split(|&byte| byte == b'/') {
            let part = unvis(part)?;
            match part.as_slice() {
                b"" | b"." => {}
                b".." => return Err("the path climbs out of the overlay".to_owned()),
                _ if part.contains(&b'/') || part.contains(&0) => {
                    return Err("a name contains a slash or a zero byte".to_owned());
                }
                _ => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(&part);
                }
            }
        }
        if path.len() > PATH_LIMIT {
            return Err(format!("the path is longer than {PATH_LIMIT} bytes"));
        }
        if !full && given.type_ == Some(Type::Directory) {
            self.directory.clone_from(&path);
        }
        self.entries.entry(path).or_default().update(given);
        Ok(())
    }
}

fn is_ignored(name: &[u8]) -> bool {
    IGNORED.iter().any(|ignored| ignored.as_bytes() == name)
}

/// Takes one `keyword=value` into `given`.
fn keyword(rules: &dyn Rules, given: &mut Given, word: &[u8]) -> Result<(), String> {
    let (name, value) = match word.iter().position(|&byte| byte == b'=') {
        Some(at) => (&word[..at], &word[at + 1..]),
        None => (word, &b""[..]),
    };
    let text = || std::str::from_utf8(value).map_err(|_| "a value is not text".to_owned());
    match name {
        b"type" => {
            given.type_ = Some(match value {
                b"dir" => Type::Directory,
                b"file" => Type::File,
                b"link" => Type::Symlink,
                b"block" => Type::Block,
                b"char" => Type::Character,
                b"fifo" => Type::Fifo,
                b"socket" => Type::Socket,
                _ => {
                    return Err(format!(
                        "type '{}' is none of dir, file, link, block, char, fifo and socket",
                        value.escape_ascii()
                    ));
                }
            });
        }
        b"mode" => {
            let mode = u16::from_str_radix(text()?, 8).ok().filter(|&mode| mode <= 0o7777);
            given.mode =
                Some(mode.ok_or_else(|| format!("mode '{}' is not octal up to 7777", value.escape_ascii()))?);
        }
        b"uid" => given.uid = Some(number("uid", text()?)?),
        b"gid" => given.gid = Some(number("gid", text()?)?),
        b"uname" => given.uid = Some(rules.user(text()?)?),
        b"gname" => given.gid = Some(rules.group(text()?)?),
        b"link" => given.link = Some(unvis(value)?),
        _ if is_ignored(name) => {}
        _ => return Err(format!("unknown keyword '{}'", name.escape_ascii())),
    }
    Ok(())
}

/// Owner numbers of illumos are signed 32-bit, and the largest stands for nobody in particular.
fn number(keyword: &str, text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|&number: &u32| number < i32::MAX as u32)
        .ok_or_else(|| format!("{keyword} '{}' is not a number below 2147483647", text.escape_debug()))
}

fn named(keyword: &str, table: &[(&str, u32)], name: &str) -> Result<u32, String> {
    table.iter().find(|(known, _)| *known == name).map(|&(_, number)| number).ok_or_else(|| {
        let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
        let name = name.escape_debug();
        format!("{keyword} '{name}' has no fixed number: write the number, or one of {}", known.join(", "))
    })
}

/// Encodes a name as vis(3) does, with octal escapes alone: everything but letters, digits and harmless signs.
pub fn vis(name: &[u8]) -> String {
    use std::fmt::Write as _;
    name.iter().fold(String::with_capacity(name.len()), |mut text, &byte| {
        if byte.is_ascii_alphanumeric() || b"+,-./:@_%~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\{byte:03o}");
        }
        text
    })
}

/// Decodes vis(3): octal `\ooo`, C letters, `\s` for a blank, `\^C`, `\M-C`, `\M^C`, and a backslash before itself, `#`
/// and other characters that are no letters.
fn unvis(text: &[u8]) -> Result<Vec<u8>, String> {
    let control = |byte: u8| if byte == b'?' { 0x7f } else { byte & 0x1f };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let (byte, tail) = match rest {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), tail)
            }
            [b'M', b'-', byte, tail @ ..] => (byte | 0x80, tail),
            [b'M', b'^', byte, tail @ ..] => (control(*byte) | 0x80, tail),
            [b'^', byte, tail @ ..] => (control(*byte), tail),
            [letter, tail @ ..] => match letter {
                b's' => (b' ', tail),
                b'n' => (b'\n', tail),
                b'r' => (b'\r', tail),
                b't' => (b'\t', tail),
                b'a' => (0x07, tail),
                b'b' => (0x08, tail),
                b'v' => (0x0b, tail),
                b'f' => (0x0c, tail),
                b'E' => (0x1b, tail),
                byte if !byte.is_ascii_alphanumeric() => (*byte, tail),
                _ => return Err(format!("'\\{}' is no escape of vis(3)", letter.escape_ascii())),
            },
            [] => return Err("a name ends in a lone backslash".to_owned()),
        };
        out.push(byte);
        rest = tail;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Ownership, String> {
        Ownership::parse(text.as_bytes(), Path::new("over.mtree")).map_err(|error| error.to_string())
    }

    fn attributes(ownership: &Ownership, path: &str) -> (u16, u32, u32) {
        let given = ownership.get(path.as_bytes()).unwrap_or_else(|| panic!("nothing about {path}"));
        let Attributes { mode, uid, gid } = given.attributes(given.type_ == Some(Type::Directory));
        (mode, uid, gid)
    }

    #[test]
    fn both_forms_say_the_same() {
        let paths = "#mtree\n. type=dir\n./etc type=dir mode=0755 uid=0 gid=3\n\
                     ./etc/ssh type=dir gid=3\n./etc/ssh/key mode=0600 uid=70000 gid=0\n\
                     ./etc/issue mode=0444\n./link type=link link=a\\sb\n";
        let classic = "/set uid=0\n. type=dir\netc type=dir mode=0755 gid=3\n  ssh type=dir gname=sys\n    \
                       key mode=0600 \\\n      uid=70000 gid=0\n    ..\n  issue mode=444\n..\n/unset uid\n\
                       link type=link link=a\\040b\n";
        let (paths, classic) = (parse(paths).unwrap(), parse(classic).unwrap());
        for ownership in [&paths, &classic] {
            assert_eq!(attributes(ownership, "etc"), (0o755, 0, 3));
            assert_eq!(attributes(ownership, "etc/ssh/key"), (0o600, 70_000, 0));
            assert_eq!(attributes(ownership, "etc/issue"), (0o444, 0, 0));
            assert_eq!(ownership.get(b"link").unwrap().link.as_deref(), Some(&b"a b"[..]));
            assert_eq!(ownership.iter().count(), 6);
        }
    }

    #[test]
    fn the_last_word_on_each_attribute_counts() {
        let ownership =
            parse("./a mode=0600 uid=1\n./b\n./a mode=0640\n/set mode=0700\n./b size=1\n").unwrap();
        assert_eq!(attributes(&ownership, "a"), (0o640, 1, 0));
        assert_eq!(attributes(&ownership, "b"), (0o700, 0, 0));
    }

    #[test]
    fn every_refusal_names_file_and_line() {
        for (text, expected) in [
            ("./a mode=999", "over.mtree:1: mode '999' is not octal up to 7777"),
            ("\n\n./a mode=u+x", "over.mtree:3: mode 'u+x' is not octal up to 7777"),
            ("./a \\\n mode=1\n./b uid=-1", "over.mtree:3: uid '-1' is not a number below 2147483647"),
            (
                "./a type=door",
                "over.mtree:1: type 'door' is none of dir, file, link, block, char, fifo and socket",
            ),
            ("./a colour=red", "over.mtree:1: unknown keyword 'colour'"),
            ("/unset colour", "over.mtree:1: unknown keyword 'colour'"),
            ("..", "over.mtree:1: '..' climbs out of the overlay"),
            ("./a/../../b", "over.mtree:1: the path climbs out of the overlay"),
            ("a\\057b", "over.mtree:1: a name contains a slash or a zero byte"),
            ("./a\\q", "over.mtree:1: '\\q' is no escape of vis(3)"),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
        assert!(parse("./a uname=wheel").unwrap_err().contains("write the number, or one of root, daemon"));
        assert!(parse(&format!("./{}", "a/".repeat(600))).unwrap_err().contains("longer than 1024"));
    }

    proptest! {
        #[test]
        fn names_of_any_bytes_survive(name in prop::collection::vec(1u8.., 1..40)) {
            prop_assume!(!name.contains(&b'/') && name != b"." && name != b"..");
            let ownership = parse(&format!("{} mode=0711", vis(&name))).unwrap();
            prop_assert_eq!(ownership.get(&name).and_then(|given| given.mode), Some(0o711));
        }

        #[test]
        fn no_text_breaks_the_reader(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Ownership::parse(&text, Path::new("x"));
        }
    }
}
