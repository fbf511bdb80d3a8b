//! A tar archive as a tree, in one pass.
//!
//! An archive that lies in a file uncompressed stays there. Any other is expanded into a temporary file once. Meanwhile its headers
//! become the tree, and contents are digested as they pass, for the GUID of an image; they are read again where they are needed.
//! What a build may not take is refused here with the member's name: names that lead out, members in each other's place, links to
//! what is not there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use kiln_zstream::fs::Blocks;
use kiln_zstream::fs::tree::{Attributes, Content, Device, Kind, NodeId, Time, Tree};
use tar::EntryType;

use super::accounts::Accounts;
use super::area::{Area, attributes, find};
use super::buffer::{self, CHUNK};
use super::folder::{OWNER_LIMIT, USER_ATTRIBUTES};
use super::image::Unreadable;
use super::sum::{self, Summed};
use crate::compression::{self, Compression, MAGIC_BYTES};
use crate::contents::scratch::SparseFile;
use crate::contents::source::Source;
use crate::contents::spool;
use crate::contents::tree::{components, show};
use crate::prefetch::Prefetch;
use crate::report::{Hint, Report};
use crate::tarball::{Entries, Entry, Input, Limits, SparseMap, Stream, TarProblem};

/// What an archive may claim: sizes that a file system can hold, and far more files than a zone has.
const LIMITS: Limits = Limits { file_bytes: 8 << 40, total_bytes: u64::MAX, members: 4_000_000 };
/// Most bytes of names and extended attributes, and most pieces of sparse files, which are kept in memory.
const NAMES_LIMIT: usize = 256 << 20;
const PIECES_LIMIT: usize = 4 << 20;

/// What to do about an archive that cannot be used.
const REPACK: &str = "pack the archive again, as in: tar --numeric-owner -C FOLDER -cf FILE.tar .";

/// What is taken of an archive beyond what every archive has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Extended attributes of the namespace `user.`, without that in their names.
    pub extended: bool,
    /// The names of owners, for [`OwnerNames::resolve`].
    pub names: bool,
    /// The digests of contents, which the GUID of an image is derived from.
    pub sums: bool,
}

/// An archive that was read.
pub struct Archive {
    /// Its members.
    pub tree: Tree,
    /// The names of their owners.
    pub names: OwnerNames,
}

/// The names of the owners and groups of members, as far as they have any and were asked for.
#[derive(Default)]
pub struct OwnerNames(Vec<Named>);

/// A member with the names of its owner and its group.
struct Named {
    node: NodeId,
    member: String,
    user: Option<Vec<u8>>,
    group: Option<Vec<u8>>,
}

impl OwnerNames {
    /// How many members have names of owners.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives all members the owners that the tables of the zone know by these names; the tree has to be that of the archive. Members
    /// without names keep their numbers.
    ///
    /// # Errors
    /// There are no tables, or they do not know a name; the error tells the member.
    pub fn resolve(&self, zone: &mut Area<'_>) -> Result<()> {
        let accounts = Accounts::of(zone)?;
        for Named { node, member, user, group } in &self.0 {
            if let Some(user) = user {
                let uid = number(user, &accounts.users, member, "user", "etc/passwd")?;
                zone.tree.attributes_mut(*node).uid = uid;
            }
            if let Some(group) = group {
                let gid = number(group, &accounts.groups, member, "group", "etc/group")?;
                zone.tree.attributes_mut(*node).gid = gid;
            }
        }
        Ok(())
    }
}

fn number(name: &[u8], table: &BTreeMap<String, u32>, member: &str, what: &str, file: &str) -> Result<u32> {
    let number = str::from_utf8(name).ok().and_then(|name| table.get(name)).copied();
    number
        .ok_or_else(|| {
            anyhow!("{member} belongs to the {what} '{}', which the image does not have", show(name))
        })
        .hint(format!("add it to /{file} of the image, or go by the numbers in the archive"))
}

/// Reads an archive, plain or compressed; `scratch` gives the temporary file for one that has to be expanded.
///
/// # Errors
/// It is damaged or no archive, or has members that no tree of a zone could have.
pub fn read(
    path: &Path,
    options: Options,
    scratch: impl FnOnce() -> Result<File>,
    report: &Report,
) -> Result<Archive> {
    let cannot = || format!("cannot read the archive {}", path.display());
    match open(path, report)? {
        Opened::Place(source) => {
            let compression = Compression::of(&source.head(MAGIC_BYTES).with_context(cannot)?);
            let progress = report.progress("read-archive", source.size());
            if compression == Compression::None {
                let (reader, index) = (source.reader(), Index::new(source, options));
                let archive = if options.sums {
                    // All of it passes once.
                    Prefetch::over(progress.reader(reader), |reader| {
                        index.take(Entries::new(Stream(reader), LIMITS))
                    })
                } else {
                    index.take(Entries::new(reader, LIMITS))
                };
                return archive.with_context(cannot);
            }
            expand(progress.reader(source.reader()), compression, &scratch()?, options).with_context(cannot)
        }
        Opened::Pipe(mut pipe) => {
            let mut head = Vec::new();
            (&mut pipe).take(MAGIC_BYTES as u64).read_to_end(&mut head).with_context(cannot)?;
            let compression = Compression::of(&head);
            let progress = report.progress("read-archive", 0);
            let whole = progress.reader(io::Cursor::new(head).chain(pipe));
            expand(whole, compression, &scratch()?, options).with_context(cannot)
        }
    }
}

enum Opened {
    /// Something that can be read anywhere.
    Place(Source),
    /// Something that comes by once.
    Pipe(File),
}

fn open(path: &Path, report: &Report) -> Result<Opened> {
    let cannot = || format!("cannot open the archive {}", path.display());
    let remedy = "check the path given with --tar";
    let kind = fs::metadata(path).with_context(cannot).hint(remedy)?.file_type();
    if kind.is_dir() {
        return Err(anyhow!("{} is a folder", path.display())).hint("--root takes folders");
    }
    if kind.is_fifo() {
        return Ok(Opened::Pipe(spool::open_pipe(path, report).with_context(cannot).hint(remedy)?));
    }
    if !kind.is_file() {
        return Err(anyhow!("{} is neither a file nor a pipe", path.display()))
            .hint("name the file of an archive, or let one come through a pipe with --tar -");
    }
    let file = File::open(path).with_context(cannot).hint(remedy)?;
    Ok(Opened::Place(Source::file(file).with_context(cannot)?))
}

/// Expands an archive into a temporary file, and reads its headers as they come by.
fn expand(
    packed: impl Read + Send,
    compression: Compression,
    scratch: &File,
    options: Options,
) -> Result<Archive> {
    let place = Source::new(scratch.try_clone().context("cannot use a temporary file")?, u64::MAX);
    let plain = compression::Reader::new(packed, compression);
    let mut length = 0;
    let archive = Prefetch::over(plain, |reader| {
        let kept = Keeping { input: reader, file: SparseFile::new(scratch), length: &mut length };
        Index::new(place, options).take(Entries::new(kept, LIMITS))
    })?;
    // What is zero at its end was left out.
    scratch.set_len(length).context("cannot write a temporary file")?;
    Ok(archive)
}

/// Keeps all that is read in a temporary file.
struct Keeping<'a, R> {
    input: R,
    file: SparseFile<'a>,
    /// How much that was.
    length: &'a mut u64,
}

impl<R: Read> Read for Keeping<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.input.read(buffer)?;
        self.file.write_all(&buffer[..got])?;
        *self.length += got as u64;
        Ok(got)
    }
}

impl<R: Read> Input for Keeping<'_, R> {
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK.min(usize::try_from(bytes).unwrap_or(CHUNK))];
        let mut left = bytes;
        while left > 0 {
            let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.read(&mut buffer[..length]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => left -= got as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Makes a tree of the headers of an archive whose bytes are, or will be, at `place`.
struct Index {
    place: Source,
    options: Options,
    tree: Tree,
    /// Folders that the archive has not shown, but something in them.
    implied: BTreeSet<NodeId>,
    names: Vec<Named>,
    /// Bytes of names and extended attributes, and pieces of sparse files, so far.
    bytes: usize,
    pieces: usize,
    /// Memory for the digests of files.
    blocks: Blocks,
}

impl Index {
    fn new(place: Source, options: Options) -> Index {
        let tree = Tree::new(attributes(0o755, 0, 0, Time::default()));
        let implied = BTreeSet::from([tree.root()]);
        let (names, blocks) = (Vec::new(), Blocks::default());
        Index { place, options, tree, implied, names, bytes: 0, pieces: 0, blocks }
    }

    /// Takes all members.
    fn take<R: Input>(mut self, mut entries: Entries<R>) -> Result<Archive> {
        let mut members = 0_u64;
        while let Some(entry) = entries.advance().hint(REPACK)? {
            members += 1;
            self.member(&mut entries, &entry)
                .with_context(|| {
                    format!("tar member {} at byte {} ({})", entry.number, entry.offset, show(&entry.name))
                })
                .hint(REPACK)?;
        }
        entries.finish().hint("the file is damaged: copy or pack it again")?;
        if members == 0 {
            return Err(anyhow!("there is nothing in it")).hint(REPACK);
        }
        self.date_implied();
        Ok(Archive { tree: self.tree, names: OwnerNames(self.names) })
    }

    fn member<R: Input>(&mut self, entries: &mut Entries<R>, entry: &Entry) -> Result<()> {
        let (header, extensions) = (&entry.header, &entry.extensions);
        // The label of a volume is no file.
        if entry.kind().as_byte() == b'V' {
            return Ok(());
        }
        let path = clean(&entry.name)?;
        self.bytes += entry.name.len()
            + extensions.extended.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        self.pieces += entry.map.stretches();
        if self.bytes > NAMES_LIMIT || self.pieces > PIECES_LIMIT {
            bail!(
                "the archive has more than {NAMES_LIMIT} bytes of names, or {PIECES_LIMIT} pieces of files"
            );
        }
        let kind = self.kind(entries, entry)?;
        let Some(kind) = kind else { return self.link(entry, &path) };
        let owner = |given: Option<u32>, in_header: io::Result<u64>| -> Result<u32> {
            let number = given.map_or_else(|| in_header, |number| Ok(number.into()))?;
            match u32::try_from(number).ok().filter(|&number| number <= OWNER_LIMIT) {
                Some(number) => Ok(number),
                None => bail!("it belongs to number {number}, and illumos has none above {OWNER_LIMIT}"),
            }
        };
        let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { header.mode()? as u16 & 0o7777 };
        let seconds = extensions.mtime.map_or_else(|| header.mtime().map(|time| time as i64), Ok)?;
        // A fraction of a second is what some archives have and others have not.
        let time = Time { seconds, nanoseconds: 0 };
        let (uid, gid) = (owner(extensions.uid, header.uid())?, owner(extensions.gid, header.gid())?);
        let attributes = attributes(mode, uid, gid, time);
        let node = self.put(&path, attributes, kind)?;
        if self.options.extended {
            for (name, value) in &extensions.extended {
                let short = name.strip_prefix(USER_ATTRIBUTES).filter(|short| !short.is_empty());
                if let Some(short) = short {
                    self.tree.extended_mut(node).insert(short.to_vec(), Arc::new(value.clone()));
                }
            }
        }
        if self.options.names {
            self.name(node, entry);
        }
        Ok(())
    }

    /// Notes the names of a member's owners.
    fn name(&mut self, node: NodeId, entry: &Entry) {
        let (header, extensions) = (&entry.header, &entry.extensions);
        let text = |given: &Option<Vec<u8>>, in_header: Option<&[u8]>| {
            given.clone().or_else(|| in_header.map(<[u8]>::to_vec)).filter(|name| !name.is_empty())
        };
        let user = text(&extensions.uname, header.username_bytes());
        let group = text(&extensions.gname, header.groupname_bytes());
        if user.is_some() || group.is_some() {
            self.names.push(Named { node, member: show(&entry.name), user, group });
        }
    }

    /// What a member is; `None` for another name of one before.
    fn kind<R: Input>(&mut self, entries: &mut Entries<R>, entry: &Entry) -> Result<Option<Kind>> {
        let device = || -> Result<Device> {
            let (header, extensions) = (&entry.header, &entry.extensions);
            // The header has no room for large numbers.
            let major = extensions.major.map_or_else(|| header.device_major(), |major| Ok(Some(major)))?;
            let minor = extensions.minor.map_or_else(|| header.device_minor(), |minor| Ok(Some(minor)))?;
            let without = "a device without numbers";
            Ok(Device { major: major.context(without)?, minor: minor.context(without)? })
        };
        Ok(Some(match entry.kind() {
            EntryType::Directory => Kind::Directory(BTreeMap::new()),
            // Old archives mark a directory by nothing but a slash at the end of its name.
            EntryType::Regular if entry.name.ends_with(b"/") => Kind::Directory(BTreeMap::new()),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let stored = self.place.slice(entry.contents, entry.map.stored());
                let stored = Stored { bytes: stored, map: entry.map.clone() };
                if self.options.sums {
                    let sum = self.sum(entries, &entry.map)?;
                    Kind::File(Arc::new(Summed::new(stored, sum)))
                } else {
                    Kind::File(Arc::new(stored))
                }
            }
            EntryType::Symlink => Kind::Symlink(entry.target()?),
            EntryType::Link => return Ok(None),
            EntryType::Char => Kind::CharacterDevice(device()?),
            EntryType::Block => Kind::BlockDevice(device()?),
            EntryType::Fifo => Kind::Fifo,
            other => return Err(TarProblem::UnexpectedType(other.as_byte() as char).into()),
        }))
    }

    /// The digest of the contents that come now.
    fn sum<R: Input>(&mut self, entries: &mut Entries<R>, map: &SparseMap) -> Result<sum::Sum, TarProblem> {
        let give = |taker: Taker<'_>| give(map, |_, buffer| entries.read_stored(buffer), taker);
        sum::passing(map.size(), &mut self.blocks, give).map_err(TarProblem::of)
    }

    fn link(&mut self, entry: &Entry, path: &[&[u8]]) -> Result<()> {
        let target = entry.target()?;
        let tree = &self.tree;
        let known = find(tree, tree.root(), &clean(&target)?.join(&b'/'));
        let known = known.filter(|&node| !matches!(tree.node(node).kind, Kind::Directory(_)));
        let known = known.with_context(|| {
            format!("it is another name of {}, which is no file before it in the archive", show(&target))
        })?;
        let Some((name, above)) = path.split_last() else { bail!("the name is not usable") };
        let folder = self.folder(above)?;
        Ok(self.tree.link(folder, name, known)?)
    }

    fn put(&mut self, path: &[&[u8]], attributes: Attributes, kind: Kind) -> Result<NodeId> {
        let before = match path.split_last() {
            None => self.tree.root(),
            Some((name, above)) => {
                let folder = self.folder(above)?;
                let Some(before) = self.tree.entry(folder, name) else {
                    return Ok(self.tree.add(folder, name, attributes, kind)?);
                };
                before
            }
        };
        let is_folder = |kind: &Kind| matches!(kind, Kind::Directory(_));
        if !is_folder(&kind) || !is_folder(&self.tree.node(before).kind) {
            bail!("there is something else of that name before it in the archive");
        }
        // A folder that comes again is the same one, as its last member describes it.
        *self.tree.attributes_mut(before) = attributes;
        self.implied.remove(&before);
        Ok(before)
    }

    /// The folder at a path; those that the archive has not shown are made.
    fn folder(&mut self, path: &[&[u8]]) -> Result<NodeId> {
        let tree = &mut self.tree;
        let mut at = tree.root();
        for name in path {
            at = match tree.entry(at, name) {
                Some(node) if matches!(tree.node(node).kind, Kind::Directory(_)) => node,
                Some(_) => bail!("{} is above it and is no folder", show(name)),
                None => {
                    let attributes = attributes(0o755, 0, 0, Time::default());
                    let node = tree.add(at, name, attributes, Kind::Directory(BTreeMap::new()))?;
                    self.implied.insert(node);
                    node
                }
            };
        }
        Ok(at)
    }

    /// Gives folders that the archive does not show the time of the newest thing in them, in whatever order it shows those.
    fn date_implied(&mut self) {
        if self.implied.is_empty() {
            return;
        }
        let tree = &mut self.tree;
        let mut newest: HashMap<NodeId, Time> = HashMap::new();
        let steps: Vec<(NodeId, NodeId)> = tree.walk().map(|step| (step.directory, step.node)).collect();
        // Backwards, so that what is in a folder comes before it.
        for &(directory, node) in steps.iter().rev() {
            if self.implied.contains(&node) {
                let time = newest.get(&node).copied().unwrap_or_default();
                date(tree, node, time);
            }
            let time = tree.node(node).attributes.modified;
            let above = newest.entry(directory).or_insert(time);
            *above = time.max(*above);
        }
        let root = tree.root();
        if self.implied.contains(&root) {
            date(tree, root, newest.get(&root).copied().unwrap_or_default());
        }
    }
}

fn date(tree: &mut Tree, node: NodeId, time: Time) {
    let Attributes { permissions, uid, gid, .. } = tree.node(node).attributes;
    *tree.attributes_mut(node) = attributes(permissions, uid, gid, time);
}

/// The names in a path that stays inside.
fn clean(path: &[u8]) -> Result<Vec<&[u8]>> {
    if path.starts_with(b"/") {
        return Err(TarProblem::Absolute.into());
    }
    let names: Vec<&[u8]> = components(path).collect();
    if names.contains(&&b".."[..]) {
        return Err(TarProblem::ClimbsOut.into());
    }
    Ok(names)
}

/// A file in an archive.
struct Stored {
    /// Its stored bytes.
    bytes: Source,
    /// Where they belong.
    map: SparseMap,
}

impl Content for Stored {
    fn size(&self) -> u64 {
        self.map.size()
    }

    fn give(&self, sink: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let read = |at, buffer: &mut [u8]| match self.bytes.read_up_to(at, buffer)? {
            0 => Err(Unreadable::error(
                "the archive became shorter while the image was made",
                "nothing may change the archive meanwhile: work on a copy",
            )),
            got => Ok(got),
        };
        give(&self.map, read, sink)
    }
}

/// What takes pieces of contents with their offsets.
type Taker<'a> = &'a mut dyn FnMut(u64, &[u8]) -> io::Result<()>;

/// Gives the contents of a file to `taker`, as [`Content::give`] does. `read` reads stored bytes from a place among them on, at least
/// one, and is asked for all of them in order.
fn give(
    map: &SparseMap,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    taker: Taker<'_>,
) -> io::Result<()> {
    buffer::with(map.stored(), |buffer| {
        let mut stored = 0;
        for range in map.ranges() {
            let mut at = range.start;
            while at < range.end {
                let length = usize::try_from(range.end - at).unwrap_or(buffer.len()).min(buffer.len());
                let got = read(stored, &mut buffer[..length])?;
                taker(at, &buffer[..got])?;
                at += got as u64;
                stored += got as u64;
            }
        }
        Ok(())
    })
}
