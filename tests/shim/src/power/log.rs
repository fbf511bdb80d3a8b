//! Reading the log.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail, ensure};

use super::Kind;

/// A file, directory or link: its number, and its time of birth, since numbers are used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    number: u64,
    born: u64,
}

impl Id {
    /// That of what lies at the path, without following a link.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        // A file system without times of birth has 0 in the log as well.
        let born = found.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let born = born.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0));
        Ok(Self { number: found.ino(), born })
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, born) = text.split_once('.')?;
        Some(Self {
            number: u64::from_str_radix(number, 16).ok()?,
            born: u64::from_str_radix(born, 16).ok()?,
        })
    }
}

/// The name under which it is kept.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.number, self.born)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Mode and owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// How a file's contents were before a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undo {
    pub offset: u64,
    pub bytes: Vec<u8>,
    pub old_size: u64,
    pub new_size: u64,
}

/// A name of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub directory: Id,
    pub name: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A name that led to `old` leads to `new`.
    Entry {
        folder: usize,
        name: Name,
        old: Option<Id>,
        new: Option<Id>,
    },
    /// The records of names that follow are those of one rename of this file or directory.
    Moved {
        folder: usize,
        id: Id,
    },
    /// A directory is gone.
    Rmdir {
        id: Id,
        attributes: Attributes,
    },
    Data {
        folder: usize,
        id: Id,
        undo: Undo,
    },
    Mode {
        folder: usize,
        id: Id,
        attributes: Attributes,
    },
    Sync {
        folder: usize,
        id: Id,
    },
    SyncAll,
    /// What is durable: `zfs`, or the path of a folder.
    Durable(String),
}

#[derive(Debug)]
pub struct Log {
    pub root: PathBuf,
    pub folders: Vec<(Kind, String)>,
    /// The lines before the records.
    pub header: Vec<u8>,
    pub records: Vec<Record>,
}

impl Log {
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("{}: no log", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("{}: the log is damaged", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut rest = bytes;
        let root = line(&mut rest)?.strip_prefix("root ").context("no root folder")?.into();
        let mut log = Self { root, folders: Vec::new(), header: Vec::new(), records: Vec::new() };
        while rest.starts_with(b"folder ") {
            let text = line(&mut rest)?;
            log.folders.push(match text.split(' ').collect::<Vec<_>>()[..] {
                [_, "pcfs", path] => (Kind::Pcfs, path.to_owned()),
                [_, "zfs", path] => (Kind::Zfs, path.to_owned()),
                _ => bail!("{text}"),
            });
        }
        log.header = bytes[..bytes.len() - rest.len()].to_vec();
        while !rest.is_empty() {
            let text = line(&mut rest)?;
            let record = record(text, &mut rest, log.folders.len());
            log.records.push(record.with_context(|| text.to_owned())?);
        }
        Ok(log)
    }
}

/// Takes the next line.
fn line<'a>(rest: &mut &'a [u8]) -> Result<&'a str> {
    let end = rest.iter().position(|&byte| byte == b'\n').context("a line without an end")?;
    let text = std::str::from_utf8(&rest[..end])?;
    *rest = &rest[end + 1..];
    Ok(text)
}

/// Takes the bytes after a line, and their line feed, if there are any.
fn payload(rest: &mut &[u8], length: &str) -> Result<Vec<u8>> {
    let length: usize = length.parse()?;
    if length == 0 {
        return Ok(Vec::new());
    }
    ensure!(rest.get(length) == Some(&b'\n'), "{length} bytes are not there");
    let bytes = rest[..length].to_vec();
    *rest = &rest[length + 1..];
    Ok(bytes)
}

fn record(text: &str, rest: &mut &[u8], folders: usize) -> Result<Record> {
    let id = |text: &str| Id::parse(text).with_context(|| format!("{text} is no ID"));
    let maybe = |text: &str| if text == "-" { Ok(None) } else { id(text).map(Some) };
    let folder = |text: &str| -> Result<usize> {
        let number = text.parse()?;
        ensure!(number < folders, "there is no folder {number}");
        Ok(number)
    };
    let attributes = |mode: &str, uid: &str, gid: &str| -> Result<Attributes> {
        Ok(Attributes { mode: mode.parse()?, uid: uid.parse()?, gid: gid.parse()? })
    };
    if let Some(what) = text.strip_prefix("durable ") {
        return Ok(Record::Durable(what.to_owned()));
    }
    let words: Vec<&str> = text.split(' ').collect();
    Ok(match words[..] {
        ["entry", number, directory, old, new, length] => Record::Entry {
            folder: folder(number)?,
            name: Name { directory: id(directory)?, name: payload(rest, length)? },
            old: maybe(old)?,
            new: maybe(new)?,
        },
        ["moved", number, moved] => Record::Moved { folder: folder(number)?, id: id(moved)? },
        ["rmdir", _, gone, mode, uid, gid] => {
            Record::Rmdir { id: id(gone)?, attributes: attributes(mode, uid, gid)? }
        }
        ["data", number, file, offset, old_size, new_size, length] => Record::Data {
            folder: folder(number)?,
            id: id(file)?,
            undo: Undo {
                offset: offset.parse()?,
                bytes: payload(rest, length)?,
                old_size: old_size.parse()?,
                new_size: new_size.parse()?,
            },
        },
        ["mode", number, file, mode, uid, gid] => {
            Record::Mode { folder: folder(number)?, id: id(file)?, attributes: attributes(mode, uid, gid)? }
        }
        ["sync", number, file] => Record::Sync { folder: folder(number)?, id: id(file)? },
        ["sync-all"] => Record::SyncAll,
        _ => bail!("not a record"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "root /somewhere\nfolder pcfs /fat\nfolder zfs /\n";

    fn records(text: &str) -> Result<Vec<Record>> {
        Log::parse(format!("{HEAD}{text}").as_bytes()).map(|log| log.records)
    }

    #[test]
    fn names_and_contents_may_be_anything() {
        let id = |number| Id { number, born: 0xff };
        let text =
            "entry 1 a.ff - b.ff 9\nsync\n0 a\n\ndata 0 b.ff 3 9 7 4\n\n\n\n\n\nsync-all\ndurable /fat\n";
        let name = Name { directory: id(10), name: b"sync\n0 a\n".to_vec() };
        let undo = Undo { offset: 3, bytes: b"\n\n\n\n".to_vec(), old_size: 9, new_size: 7 };
        let wanted = [
            Record::Entry { folder: 1, name, old: None, new: Some(id(11)) },
            Record::Data { folder: 0, id: id(11), undo },
            Record::SyncAll,
            Record::Durable("/fat".to_owned()),
        ];
        assert_eq!(records(text).unwrap(), wanted);
        let log = Log::parse(format!("{HEAD}{text}").as_bytes()).unwrap();
        assert_eq!(log.folders, [(Kind::Pcfs, "/fat".to_owned()), (Kind::Zfs, "/".to_owned())]);
        assert_eq!((log.root.to_str(), log.header), (Some("/somewhere"), HEAD.as_bytes().to_vec()));
    }

    #[test]
    fn damage_is_found() {
        for text in [
            "sync 2 a.1\n",
            "sync 0 a\n",
            "sync 0 a.1",
            "data 0 b.ff 3 9 7 4\nabc\n",
            "data 0 b.ff 3 9 7 18446744073709551615\nabc\n",
            "entry 0 a.1 - - 1\n",
            "nonsense\n",
            "\n",
        ] {
            assert!(records(text).is_err(), "{text:?}");
        }
        assert!(Log::parse(b"folder pcfs /fat\n").is_err());
        assert!(Log::parse(b"root /\nfolder ufs /fat\n").is_err());
    }
}
