//! A folder of this machine as a tree.
//!
//! What a folder is on this machine depends on who made it: the umask, the user, the file system, the clock's fraction of a second. Of
//! all that only what people mean is taken: names, contents, links, times to the second, and whether files are to be executed. The rest
//! is taken when it is asked for.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use kiln_zstream::fs::tree::{Attributes, Content, Device, Kind, NodeId, Time, Tree};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use super::area::attributes;
use super::buffer;
use super::image::Unreadable;
use crate::report::{Hint, Report};

/// Most files in a folder: far more than a zone has; it ends runaway walks.
const FILE_LIMIT: usize = 10_000_000;

/// Largest number of an owner that illumos takes for one (`MAXUID`).
pub const OWNER_LIMIT: u32 = i32::MAX as u32;

/// Namespace of the extended attributes that users set, in front of their names.
pub const USER_ATTRIBUTES: &[u8] = b"user.";

/// Largest list of the names of extended attributes, and largest attribute, in bytes (Linux, `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`).
const EXTENDED_LIMIT: usize = 64 << 10;

/// What to do about a file that cannot be read.
const CLOSED: &str =
    "every file and folder must be readable for you: change its mode, or run kiln as a user who may read it";

/// What to do about a file that changes.
const RESTLESS: &str =
    "nothing may change the folder while its image is made: stop what writes there, or work on a copy";

/// What is taken of a folder beyond what people mean by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The modes as they are; else 0755 or 0644 for files, 0755 for folders.
    pub modes: bool,
    /// The owners as they are; else 0:0.
    pub owners: bool,
    /// Extended attributes of the namespace `user.`, without that in their names.
    pub extended: bool,
    /// What becomes of other file systems in it.
    pub mounts: Mounts,
}

/// What becomes of file systems that are mounted in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mounts {
    /// The folders where they are stay empty, with a warning.
    #[default]
    Empty,
    /// What is in them is taken, too.
    Crossed,
}

/// Reads a folder as a tree whose files stay where they are.
///
/// # Errors
/// Something in it cannot be read or is a socket, or a name or link is such that ZFS has none.
pub fn read(folder: &Path, options: Options, report: &Report) -> Result<Tree> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let metadata = fs::metadata(folder).with_context(cannot).hint("check the path given with --root")?;
    if !metadata.is_dir() {
        return Err(anyhow!("{} is no folder", folder.display()))
            .hint("name a folder with --root; --tar takes an archive, and --stream a ZFS stream");
    }
    let mut tree = Tree::new(attributes_of(&metadata, folder, options)?);
    let top = tree.root();
    let mut walk = Walk { options, device: metadata.dev(), links: HashMap::new(), mounts: Vec::new() };
    walk.extended(&mut tree, top, folder)?;
    let mut waiting = vec![(folder.to_owned(), top)];
    while let Some((path, node)) = waiting.pop() {
        walk.folder(&mut tree, &path, node, &mut waiting)?;
        if tree.len() > FILE_LIMIT {
            return Err(anyhow!("the folder {} has more than {FILE_LIMIT} files", folder.display()))
                .hint("name the folder of the zone itself, not one above it");
        }
    }
    for mount in walk.mounts {
        report.warn(&format!(
            "{} is on another file system and stays empty in the image; --cross-mounts takes what is there, too",
            mount.display()
        ));
    }
    Ok(tree)
}

struct Walk {
    options: Options,
    /// The file system of the folder.
    device: u64,
    /// Files with several names that were met, by file system and inode.
    links: HashMap<(u64, u64), NodeId>,
    /// Folders on other file systems.
    mounts: Vec<PathBuf>,
}

impl Walk {
    fn folder(
        &mut self,
        tree: &mut Tree,
        path: &Path,
        node: NodeId,
        waiting: &mut Vec<(PathBuf, NodeId)>,
    ) -> Result<()> {
        let cannot = || format!("cannot read the folder {}", path.display());
        for item in fs::read_dir(path).with_context(cannot).hint(CLOSED)? {
            let name = item.with_context(cannot).hint(CLOSED)?.file_name();
            let path = path.join(&name);
            let metadata = fs::symlink_metadata(&path)
                .with_context(|| format!("cannot read {}", path.display()))
                .hint(RESTLESS)?;
            let inode = (metadata.dev(), metadata.ino());
            let linked = !metadata.is_dir() && metadata.nlink() > 1;
            let impossible = || format!("{} cannot be in an image", path.display());
            let rename = "rename it or take it out of the folder";
            if let Some(&known) = self.links.get(&inode).filter(|_| linked) {
                tree.link(node, name.as_bytes(), known).with_context(impossible).hint(rename)?;
                continue;
            }
            let kind = kind_of(&metadata, &path)?;
            let attributes = attributes_of(&metadata, &path, self.options)?;
            let is_folder = matches!(kind, Kind::Directory(_));
            let added =
                tree.add(node, name.as_bytes(), attributes, kind).with_context(impossible).hint(rename)?;
            if linked {
                self.links.insert(inode, added);
            }
            self.extended(tree, added, &path)?;
            if is_folder {
                if metadata.dev() == self.device || self.options.mounts == Mounts::Crossed {
                    waiting.push((path, added));
                } else {
                    self.mounts.push(path);
                }
            }
        }
        self.mounts.sort();
        Ok(())
    }

    /// Takes the extended attributes, if they are asked for. Only files and folders have any of this namespace.
    fn extended(&self, tree: &mut Tree, node: NodeId, path: &Path) -> Result<()> {
        if !self.options.extended || !matches!(tree.node(node).kind, Kind::File(_) | Kind::Directory(_)) {
            return Ok(());
        }
        let cannot = || format!("cannot read the extended attributes of {}", path.display());
        let mut list = vec![0; EXTENDED_LIMIT];
        let length = match rustix::fs::llistxattr(path, &mut list[..]) {
            Ok(length) => length,
            // A file system without any.
            Err(Errno::OPNOTSUPP) => 0,
            Err(error) => return Err(error).with_context(cannot).hint(CLOSED),
        };
        for name in list[..length].split(|&byte| byte == 0) {
            let Some(short) = name.strip_prefix(USER_ATTRIBUTES).filter(|short| !short.is_empty()) else {
                continue;
            };
            let mut value = vec![0; EXTENDED_LIMIT];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..])
                .with_context(cannot)
                .hint(CLOSED)?;
            value.truncate(length);
            tree.extended_mut(node).insert(short.to_vec(), Arc::new(value));
        }
        Ok(())
    }
}

fn kind_of(metadata: &Metadata, path: &Path) -> Result<Kind> {
    let kind = metadata.file_type();
    let device =
        || Device { major: rustix::fs::major(metadata.rdev()), minor: rustix::fs::minor(metadata.rdev()) };
    Ok(if kind.is_dir() {
        Kind::Directory(BTreeMap::new())
    } else if kind.is_file() {
        Kind::File(Arc::new(HostFile { path: path.to_owned(), seen: Seen::of(metadata) }))
    } else if kind.is_symlink() {
        let target = fs::read_link(path)
            .with_context(|| format!("cannot read the link {}", path.display()))
            .hint(RESTLESS)?;
        Kind::Symlink(target.into_os_string().into_vec())
    } else if kind.is_fifo() {
        Kind::Fifo
    } else if kind.is_char_device() {
        Kind::CharacterDevice(device())
    } else if kind.is_block_device() {
        Kind::BlockDevice(device())
    } else {
        return Err(anyhow!(
            "{} is a socket, which means nothing without the program that made it",
            path.display()
        ))
        .hint("remove it, or stop the program that uses it");
    })
}

fn attributes_of(metadata: &Metadata, path: &Path, options: Options) -> Result<Attributes> {
    let mode = metadata.mode() as u16 & 0o7777;
    let permissions = if metadata.is_symlink() {
        0o777
    } else if options.modes {
        mode
    } else if metadata.is_dir() || mode & 0o100 != 0 {
        0o755
    } else {
        0o644
    };
    let owner = |number: u32| {
        if number > OWNER_LIMIT {
            return Err(anyhow!(
                "{} belongs to number {number}, and illumos has none above {OWNER_LIMIT}",
                path.display()
            ))
            .hint("change its owner, or leave out --keep-owners");
        }
        Ok(number)
    };
    let (uid, gid) = if options.owners { (owner(metadata.uid())?, owner(metadata.gid())?) } else { (0, 0) };
    Ok(attributes(permissions, uid, gid, Time { seconds: metadata.mtime(), nanoseconds: 0 }))
}

/// By what a file is known to be the same as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn of(metadata: &Metadata) -> Seen {
        Seen {
            inode: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file of this machine, which must stay as it was seen first.
struct HostFile {
    path: PathBuf,
    seen: Seen,
}

impl HostFile {
    fn check(&self, file: &File) -> io::Result<()> {
        if Seen::of(&file.metadata()?) == self.seen {
            return Ok(());
        }
        Err(Unreadable::error(format!("{} changed while the image was made", self.path.display()), RESTLESS))
    }
}

impl Content for HostFile {
    fn size(&self) -> u64 {
        self.seen.size
    }

    fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        // What has become a link or a pipe meanwhile is neither followed nor waited for.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ACCESS | Errno::PERM) => {
                let problem = format!("{} is closed to you", self.path.display());
                return Err(Unreadable::error(problem, CLOSED));
            }
            Err(error) => {
                return Err(Unreadable::error(format!("{}: {error}", self.path.display()), RESTLESS));
            }
        };
        self.check(&file)?;
        buffer::with(self.seen.size, |buffer| {
            for_each_stretch(&file, self.seen.size, &mut |start, end| {
                let mut at = start;
                while at < end {
                    let length = usize::try_from(end - at).unwrap_or(buffer.len()).min(buffer.len());
                    let piece = &mut buffer[..length];
                    match file.read_exact_at(piece, at) {
                        Ok(()) => sink(at, piece)?,
                        // It became shorter.
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                            return self.check(&file);
                        }
                        Err(error) => return Err(error),
                    }
                    at += length as u64;
                }
                Ok(())
            })
        })?;
        self.check(&file)
    }
}

/// The parts of a file that are no holes, ascending.
fn for_each_stretch(
    file: &File,
    size: u64,
    work: &mut dyn FnMut(u64, u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => return Ok(()),
            // The file system does not tell.
            Err(_) => return work(at, size),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start)).unwrap_or(size).min(size);
        if start >= end {
            return Ok(());
        }
        work(start, end)?;
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::area::{contents_of, find};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn read(folder: &Path, options: Options) -> Result<Tree> {
        super::read(folder, options, &Report::new(true))
    }

    fn permissions(tree: &Tree, path: &str) -> u16 {
        tree.node(find(tree, tree.root(), path.as_bytes()).unwrap()).attributes.permissions
    }

    #[test]
    fn only_what_people_mean_is_taken() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::create_dir(path("folder")).unwrap();
        for (name, mode) in [("plain", 0o600), ("program", 0o4710), ("odd", 0o666)] {
            fs::write(path(name), name).unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(path("folder"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::hard_link(path("plain"), path("folder/again")).unwrap();
        symlink("../plain", path("folder/link")).unwrap();

        let tree = read(home.path(), Options::default()).unwrap();
        let modes =
            ["", "plain", "program", "odd", "folder", "folder/link"].map(|path| permissions(&tree, path));
        assert_eq!(modes, [0o755, 0o644, 0o755, 0o644, 0o755, 0o777]);
        let node = |path: &[u8]| find(&tree, tree.root(), path).unwrap();
        assert_eq!(node(b"plain"), node(b"folder/again"));
        let Kind::File(contents) = &tree.node(node(b"plain")).kind else { panic!("it is a file") };
        assert_eq!(contents_of(&**contents, 100).unwrap(), b"plain");
        let all = tree.walk().map(|step| tree.node(step.node).attributes);
        for Attributes { uid, gid, modified, .. } in all {
            assert_eq!((uid, gid, modified.nanoseconds), (0, 0, 0));
        }
        let kept = read(home.path(), Options { modes: true, ..Options::default() }).unwrap();
        let modes = ["plain", "program", "folder"].map(|path| permissions(&kept, path));
        assert_eq!(modes, [0o600, 0o4710, 0o1777]);
    }

    #[test]
    fn holes_are_passed_over_and_bytes_are_all_there() {
        let home = tempfile::tempdir().unwrap();
        let file = File::create(home.path().join("sparse")).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 3 << 20).unwrap();
        file.set_len(64 << 30).unwrap();
        let tree = read(home.path(), Options::default()).unwrap();
        let node = find(&tree, tree.root(), b"sparse").unwrap();
        let Kind::File(contents) = &tree.node(node).kind else { panic!("it is a file") };
        assert_eq!(contents.size(), 64 << 30);
        let (mut given, mut middle) = (0, Vec::new());
        contents
            .give(&mut |offset, piece| {
                given += piece.len();
                if offset <= 3 << 20 && offset + piece.len() as u64 >= (3 << 20) + 6 {
                    let at = ((3 << 20) - offset) as usize;
                    middle = piece[at..at + 6].to_vec();
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(middle, b"middle");
        assert!(given < 32 << 20, "{given}");
    }

    #[test]
    fn what_changes_is_not_taken() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        let changes: [fn(&Path); 4] = [
            |path| fs::write(path, "other, and longer").unwrap(),
            |path| {
                fs::rename(path, path.with_extension("old")).unwrap();
                fs::write(path, "first").unwrap();
            },
            |path| {
                fs::remove_file(path).unwrap();
                symlink("/etc/passwd", path).unwrap();
            },
            |path| fs::remove_file(path).unwrap(),
        ];
        for change in changes {
            let _ = fs::remove_file(&path);
            fs::write(&path, "first").unwrap();
            let tree = read(home.path(), Options::default()).unwrap();
            let node = find(&tree, tree.root(), b"file").unwrap();
            let Kind::File(contents) = &tree.node(node).kind else { panic!("it is a file") };
            change(&path);
            contents.give(&mut |_, _| Ok(())).unwrap_err();
        }
    }

    #[test]
    fn sockets_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(home.path().join("door")).unwrap();
        let error = read(home.path(), Options::default()).map(drop).unwrap_err();
        assert!(error.to_string().contains("door is a socket"), "{error}");
    }
}
