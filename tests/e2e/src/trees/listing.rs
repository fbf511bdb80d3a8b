//! A line for each name of a file system, in the order of a walk by bytes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use kiln_zstream::fs::tree::{Content, Device, Kind, NodeId, Time, Tree};
use rustix::fs::SeekFrom;

use super::pieces::Pieces;

/// Files up to this size are read from end to end, whatever the system says about their holes.
const READ_WHOLLY: u64 = 16 << 20;

/// The longest list of extended attributes and the longest value that Linux gives, in bytes (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTR_MAX: usize = 64 << 10;

/// A file system as text.
#[derive(Debug, Default)]
pub struct Listed {
    /// Path, kind, mode, owner, group, links, size, times of modification, change and access, what is particular to the kind, extended
    /// attributes, and the first of the names of the same thing; with tabs in between.
    pub lines: String,
    /// For each file its path, and how many pieces of 128 KiB of it are not zeros.
    pub filled: Vec<(String, u64)>,
    /// For each file its path, and how many bytes it takes on the disk.
    pub allocated: Vec<(String, u64)>,
}

/// All but the names of a thing.
struct Thing {
    kind: char,
    permissions: u32,
    uid: u32,
    gid: u32,
    links: u64,
    size: u64,
    /// Of modification, change and access.
    times: [Time; 3],
    /// The target of a link, the numbers of a device, the digest of a file.
    what: String,
    extended: Vec<(Vec<u8>, String)>,
}

impl Thing {
    fn line(mut self) -> String {
        let Self { kind, permissions, uid, gid, links, size, what, .. } = &self;
        let mut line = format!("{kind}\t{permissions:04o}\t{uid}\t{gid}\t{links}\t{size}");
        for Time { seconds, nanoseconds } in self.times {
            write!(line, "\t{seconds}+{nanoseconds:09}").expect("writing to a string succeeds");
        }
        write!(line, "\t{what}\t").expect("writing to a string succeeds");
        self.extended.sort();
        for (name, digest) in self.extended {
            write!(line, "{}={digest};", name.escape_ascii()).expect("writing to a string succeeds");
        }
        line
    }
}

impl Listed {
    fn name(&mut self, path: &[u8], line: &str, first: &str) {
        writeln!(self.lines, "{}\t{line}\t{first}", path.escape_ascii())
            .expect("writing to a string succeeds");
    }
}

/// How a system shows what is in a file system of illumos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// OpenZFS on Linux, which takes the lower half of a device's number for one of its own, with 20 bits of it for the minor number.
    OpenZfs,
    /// zfs-fuse, which passes the lower half of a device's number on to Linux, and neither fractions of seconds nor extended attributes.
    Fuse,
}

impl System {
    fn device(self, Device { minor, .. }: Device) -> String {
        match self {
            Self::OpenZfs => format!("{}:{}", minor >> 20, minor & 0xf_ffff),
            // The number is that of a system call of old (Linux `new_decode_dev`).
            Self::Fuse => format!("{}:{}", minor >> 8 & 0xfff, minor & 0xff | minor >> 12 & 0xf_ff00),
        }
    }

    fn time(self, time: Time) -> Time {
        match self {
            Self::OpenZfs => time,
            Self::Fuse => Time { nanoseconds: 0, ..time },
        }
    }
}

/// What a system lists of a tree.
///
/// # Panics
/// When contents cannot be read.
pub fn of_tree(tree: &Tree, system: System) -> Listed {
    let mut links: HashMap<NodeId, u64> = HashMap::from([(tree.root(), 2)]);
    for step in tree.walk() {
        let is_directory = matches!(tree.node(step.node).kind, Kind::Directory(_));
        *links.entry(step.node).or_default() += if is_directory { 2 } else { 1 };
        *links.entry(step.directory).or_default() += u64::from(is_directory);
    }
    let mut listed = Listed::default();
    let (line, _) = thing(tree, tree.root(), links[&tree.root()], system);
    listed.name(b"/", &line.line(), "/");
    let mut known: HashMap<NodeId, (String, String)> = HashMap::new();
    let mut names: Vec<&[u8]> = Vec::new();
    for step in tree.walk() {
        names.truncate(step.depth);
        names.push(step.name);
        let path: Vec<u8> = names.iter().flat_map(|name| [b"/", *name]).flatten().copied().collect();
        let (line, first) = known.entry(step.node).or_insert_with(|| {
            let first = path.escape_ascii().to_string();
            let (thing, filled) = thing(tree, step.node, links[&step.node], system);
            listed.filled.extend(filled.map(|filled| (first.clone(), filled)));
            (thing.line(), first)
        });
        listed.name(&path, line, first);
    }
    listed
}

fn thing(tree: &Tree, id: NodeId, links: u64, system: System) -> (Thing, Option<u64>) {
    let node = tree.node(id);
    let mut filled = None;
    let (kind, size, what) = match &node.kind {
        // What real systems say is the number of entries with . and ..
        Kind::Directory(entries) => ('d', entries.len() as u64 + 2, String::new()),
        Kind::File(content) => {
            let (sum, pieces) = digest(content);
            filled = Some(pieces);
            ('f', content.size(), sum)
        }
        Kind::Symlink(target) => ('l', target.len() as u64, target.escape_ascii().to_string()),
        Kind::CharacterDevice(numbers) => ('c', 0, system.device(*numbers)),
        Kind::BlockDevice(numbers) => ('b', 0, system.device(*numbers)),
        Kind::Fifo => ('p', 0, String::new()),
        Kind::Socket => ('s', 0, String::new()),
        Kind::Door => ('D', 0, String::new()),
    };
    let attributes = node.attributes;
    let shown = node.extended.iter().filter(|_| system != System::Fuse);
    let extended = shown.map(|(name, value)| (name.clone(), digest(value).0)).collect();
    let thing = Thing {
        kind,
        permissions: attributes.permissions.into(),
        uid: attributes.uid,
        gid: attributes.gid,
        links,
        size,
        times: [attributes.modified, attributes.changed, attributes.accessed].map(|time| system.time(time)),
        what,
        extended,
    };
    (thing, filled)
}

fn digest(content: &Arc<dyn Content>) -> (String, u64) {
    let mut pieces = Pieces::new();
    let given = content.give(&mut |offset, bytes| {
        pieces.feed(offset, bytes);
        Ok(())
    });
    given.expect("contents of tests can be read");
    let (sum, filled) = pieces.end();
    (format!("{}:{sum}", content.size()), filled)
}

/// What this system lists of a folder.
///
/// # Errors
/// Those of reading it.
pub fn of_folder(root: &Path) -> io::Result<Listed> {
    let mut walk = Walk { listed: Listed::default(), known: HashMap::new(), buffer: vec![0; XATTR_MAX] };
    walk.visit(root, b"/")?;
    walk.folder(root, b"")?;
    Ok(walk.listed)
}

struct Walk {
    listed: Listed,
    /// The lines and first names of what has several names, by inode.
    known: HashMap<u64, (String, String)>,
    buffer: Vec<u8>,
}

impl Walk {
    fn folder(&mut self, folder: &Path, path: &[u8]) -> io::Result<()> {
        let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_vec()));
        let mut names = names.collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            let here = folder.join(std::ffi::OsStr::from_bytes(&name));
            let path = [path, b"/", &name].concat();
            if self.visit(&here, &path)? {
                self.folder(&here, &path)?;
            }
        }
        Ok(())
    }

    /// Whether it is a folder.
    fn visit(&mut self, here: &Path, path: &[u8]) -> io::Result<bool> {
        // It is looked up by its name, and not taken as the folder lists it.
        let status = fs::symlink_metadata(here)?;
        if let Some((line, first)) = self.known.get(&status.ino()) {
            self.listed.name(path, line, first);
            return Ok(false);
        }
        let first = path.escape_ascii().to_string();
        let line = self.thing(here, &status)?.line();
        self.listed.name(path, &line, &first);
        if status.is_file() {
            self.listed.allocated.push((first.clone(), status.blocks() * 512));
        }
        if !status.is_dir() && status.nlink() > 1 {
            self.known.insert(status.ino(), (line, first));
        }
        Ok(status.is_dir())
    }

    fn thing(&mut self, here: &Path, status: &Metadata) -> io::Result<Thing> {
        let kind = status.file_type();
        let numbers = || {
            let number = status.rdev();
            format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number))
        };
        let (kind, what) = if kind.is_dir() {
            ('d', String::new())
        } else if kind.is_file() {
            ('f', contents(here, status.size())?)
        } else if kind.is_symlink() {
            ('l', fs::read_link(here)?.as_os_str().as_bytes().escape_ascii().to_string())
        } else if kind.is_char_device() {
            ('c', numbers())
        } else if kind.is_block_device() {
            ('b', numbers())
        } else if kind.is_fifo() {
            ('p', String::new())
        } else {
            ('s', String::new())
        };
        let time = |seconds, nanoseconds: i64| Time { seconds, nanoseconds: nanoseconds as u32 };
        Ok(Thing {
            kind,
            permissions: status.mode() & 0o7777,
            uid: status.uid(),
            gid: status.gid(),
            links: status.nlink(),
            size: status.size(),
            times: [
                time(status.mtime(), status.mtime_nsec()),
                time(status.ctime(), status.ctime_nsec()),
                time(status.atime(), status.atime_nsec()),
            ],
            what,
            extended: self.extended(here)?,
        })
    }

    /// Names and digests of extended attributes, without those that systems make up.
    fn extended(&mut self, here: &Path) -> io::Result<Vec<(Vec<u8>, String)>> {
        let names = match rustix::fs::llistxattr(here, &mut self.buffer[..]) {
            Ok(length) => self.buffer[..length].to_vec(),
            Err(rustix::io::Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let kept = |name: &&[u8]| name.starts_with(b"user.") || name.starts_with(b"trusted.");
        names
            .split(|&byte| byte == 0)
            .filter(kept)
            .map(|name| {
                let length = rustix::fs::lgetxattr(here, name, &mut self.buffer[..])?;
                let mut pieces = Pieces::new();
                pieces.feed(0, &self.buffer[..length]);
                Ok((name.to_vec(), format!("{length}:{}", pieces.end().0)))
            })
            .collect()
    }
}

/// The digest of a file; of a large one what the system says is no hole.
fn contents(here: &Path, size: u64) -> io::Result<String> {
    let mut file = File::open(here)?;
    let mut pieces = Pieces::new();
    if size <= READ_WHOLLY {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        pieces.feed(0, &bytes);
    } else {
        let mut at = 0;
        let mut bytes = vec![0; 1 << 20];
        loop {
            let start = match rustix::fs::seek(&file, SeekFrom::Data(at)) {
                Ok(start) => start,
                Err(rustix::io::Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            };
            at = rustix::fs::seek(&file, SeekFrom::Hole(start))?;
            let mut from = start;
            while from < at {
                let length = (at - from).min(bytes.len() as u64) as usize;
                file.read_exact_at(&mut bytes[..length], from)?;
                pieces.feed(from, &bytes[..length]);
                from += length as u64;
            }
        }
    }
    Ok(format!("{size}:{}", pieces.end().0))
}
