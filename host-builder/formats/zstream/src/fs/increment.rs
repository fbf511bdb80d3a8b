//! The difference between a file system and a tree becomes an incremental stream, which makes a clone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Write};

use super::blocks::Blocks;
use super::image::{Form, Image, Images, MAX_BLOCK};
use super::objects::{Object, Objects, Store};
use super::plan::{Inherited, Numbers, Plan, Role};
use super::reader::{FileSystem, Seat};
use super::tree::{Content, Kind, NodeId, Time, Tree};
use super::writer::{Summary, unreadable, unwritable};
use super::znode::Znode;
use crate::checksum::ByteOrder;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::record::{Features, ObjsetType, TO_END, object_type};
use crate::writer::{BeginOptions, ObjectHeader, StreamWriter};
use crate::zap;

/// How a difference becomes a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncrementOptions {
    /// `dataset@snapshot`. The part before the `@` is of no consequence to most receivers.
    pub to_name: String,
    /// GUID of the snapshot, neither 0 nor that of the origin.
    pub to_guid: u64,
    /// Creation time of the snapshot, seconds since 1970.
    pub creation_time: u64,
}

/// Writes what makes `tree` of `origin` as an incremental stream, and gives the output back.
///
/// What has the same path in both keeps its object, and so do files that were renamed, as far as length and time of modification tell.
/// Of those only blocks and attributes that differ are sent. Times of reading, changing and making do not count as different where
/// nothing else is.
///
/// # Errors
/// As those of [`super::write`], and those of the origin's store.
pub fn write_increment<W: Write, S: Store + Send + Sync + 'static>(
    output: W,
    tree: &Tree,
    origin: &FileSystem<S>,
    options: &IncrementOptions,
) -> Result<(W, Summary)> {
    let invalid = |words: &'static str| Place::default().error(ErrorKind::InvalidInput, words);
    let from_guid = origin.objects.info().map_or(0, |info| info.guid);
    if from_guid == 0 {
        return Err(invalid("the origin is no snapshot that was read from a stream"));
    }
    if options.to_guid == from_guid {
        return Err(invalid("a snapshot and its origin cannot have the same GUID"));
    }
    let mut features = if origin.version >= 5 { Features::SA_SPILL } else { Features::default() };
    if origin.objects.iter().any(|(_, object)| object.dnode_slots > 1) {
        features.0 |= Features::LARGE_DNODE.0;
    }
    if origin.objects.features().contains(Features::LARGE_BLOCKS) {
        // Receivers refuse an increment that does not say so when its origin did (OpenZFS `dmu_recv.c`, `recv_check_large_blocks`).
        features.0 |= Features::LARGE_BLOCKS.0;
    }
    let begin = BeginOptions {
        to_name: options.to_name.clone(),
        to_guid: options.to_guid,
        creation_time: options.creation_time,
        objset_type: ObjsetType::FileSystem,
        features,
        from_guid,
    };
    let stream = StreamWriter::begin(output, &begin)?;

    let matches = Matches::between(tree, origin);
    let tree = &matches.with_known_times(tree, origin);
    let mut numbers = Kept::new(tree, origin, &matches);
    let plan = Plan::with(tree, origin.fixed, &mut numbers);
    let mut difference =
        Difference { stream, tree, origin: &origin.objects, blocks: Blocks::default(), sent: 0 };

    let form = form(tree, &plan, origin);
    let mut roles = plan.objects.clone();
    if let (Form::Attributes(_, Some(_)), Some(objects)) = (&form, origin.fixed.attributes) {
        roles.insert(objects.layouts, Role::Layouts);
    }
    let images = Images { tree, plan: &plan, form };
    let kept: HashMap<u64, &Seat> =
        matches.0.values().map(|&old| &origin.places[old.index()]).map(|seat| (seat.object, seat)).collect();
    let mut gone = gone(origin, &roles).into_iter().peekable();
    for (&object, &role) in &roles {
        while let Some((first, count)) = gone.next_if(|&(first, _)| first < object) {
            difference.stream.free_objects(first, count)?;
        }
        let image = images.image(object, role);
        let image = image.map_err(|error| unwritable(&difference.stream, tree, role, &error))?;
        let before = match role {
            Role::Node(_) => kept.get(&object).map(|seat| &seat.znode),
            _ => None,
        };
        difference.object(role, image, before)?;
    }
    for (first, count) in gone {
        difference.stream.free_objects(first, count)?;
    }
    let sent = difference.sent;
    let (output, totals) = difference.stream.end()?;
    Ok((output, Summary::new(totals, sent)))
}

/// Which nodes of a tree are which of the origin.
struct Matches(HashMap<NodeId, NodeId>);

impl Matches {
    fn between<S>(tree: &Tree, origin: &FileSystem<S>) -> Self {
        let old = &origin.tree;
        let mut matches = HashMap::from([(tree.root(), old.root())]);
        let mut taken = HashSet::from([old.root()]);
        for step in tree.walk() {
            let Some(&directory) = matches.get(&step.directory) else { continue };
            let Kind::Directory(names) = &old.node(directory).kind else { continue };
            let Some(&candidate) = names.get(step.name) else { continue };
            if !matches.contains_key(&step.node)
                && same_kind(&tree.node(step.node).kind, &old.node(candidate).kind)
                && taken.insert(candidate)
            {
                matches.insert(step.node, candidate);
            }
        }
        // Files elsewhere of the same length and time are taken for the same, and those of the same name before others.
        let mut moved: HashMap<(u64, Time), Vec<Candidate<'_>>> = HashMap::new();
        for step in old.walk() {
            if let Some(looks) = looks(old, step.node)
                && !taken.contains(&step.node)
            {
                moved.entry(looks).or_default().push((step.name, step.node));
            }
        }
        for same_name in [true, false] {
            for step in tree.walk() {
                let candidates = looks(tree, step.node).and_then(|looks| moved.get_mut(&looks));
                let Some(candidates) = candidates.filter(|_| !matches.contains_key(&step.node)) else {
                    continue;
                };
                candidates.retain(|(_, candidate)| !taken.contains(candidate));
                let found = candidates.iter().position(|(name, _)| !same_name || *name == step.name);
                if let Some(found) = found {
                    let (_, candidate) = candidates.swap_remove(found);
                    taken.insert(candidate);
                    matches.insert(step.node, candidate);
                }
            }
        }
        Self(matches)
    }

    /// The tree, with the origin's times where nothing differs but times that nobody sets.
    fn with_known_times<S>(&self, tree: &Tree, origin: &FileSystem<S>) -> Tree {
        let mut tree = tree.clone();
        for (&new, &old) in &self.0 {
            let before = origin.tree.node(old).attributes;
            let now = tree.attributes_mut(new);
            now.created = before.created;
            let same = (now.permissions, now.uid, now.gid, now.modified)
                == (before.permissions, before.uid, before.gid, before.modified);
            if same {
                *now = before;
            }
        }
        tree
    }
}

/// A file that may have moved: its name and what it is.
type Candidate<'a> = (&'a [u8], NodeId);

/// Whether one can become the other without a new object.
fn same_kind(new: &Kind, old: &Kind) -> bool {
    match (new, old) {
        // A link is made anew, since receivers differ in what they do about a spill block that is not wanted any more.
        (Kind::Symlink(new), Kind::Symlink(old)) => new == old,
        _ => new.code() == old.code(),
    }
}

/// By what a file is known again elsewhere.
fn looks(tree: &Tree, node: NodeId) -> Option<(u64, Time)> {
    match &tree.node(node).kind {
        Kind::File(content) if content.size() > 0 => {
            Some((content.size(), tree.node(node).attributes.modified))
        }
        _ => None,
    }
}

/// The origin's numbers for what is kept, new ones above all of them for the rest.
struct Kept<'a, S> {
    tree: &'a Tree,
    origin: &'a FileSystem<S>,
    /// The nodes of the origin.
    before: &'a HashMap<NodeId, NodeId>,
    next: u64,
    generation: u64,
}

impl<'a, S: Store> Kept<'a, S> {
    fn new(tree: &'a Tree, origin: &'a FileSystem<S>, matches: &'a Matches) -> Self {
        let next =
            origin.objects.iter().last().map_or(1, |(number, last)| number + u64::from(last.dnode_slots));
        let generation = origin.places.iter().map(|seat| seat.znode.generation).max().unwrap_or(0);
        let generation = generation.wrapping_add(1).max(1);
        Self { tree, origin, before: &matches.0, next, generation }
    }

    fn seat(&self, node: NodeId) -> Option<&'a Seat> {
        self.before.get(&node).map(|old| &self.origin.places[old.index()])
    }

    /// Whether an object has a spill block in the origin.
    fn spills(&self, object: u64) -> bool {
        self.origin.objects.get(object).is_some_and(|object| object.spill.is_some())
    }

    /// Whether a node still has the extended attributes that the origin has among its own.
    fn keeps_packed(&self, node: NodeId, seat: &Seat) -> bool {
        let (now, before) = (&self.tree.node(node).extended, self.before.get(&node));
        let before = before.map(|old| &self.origin.tree.node(*old).extended);
        seat.packed.iter().all(|name| {
            let (now, before) = (now.get(name), before.and_then(|before| before.get(name)));
            now.zip(before).is_some_and(|(now, before)| same_bytes(&**now, &**before))
        })
    }

    fn take(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

impl<S: Store> Numbers for Kept<'_, S> {
    fn node(&mut self, node: NodeId) -> (u64, u64) {
        match self.seat(node) {
            Some(seat) => (seat.object, seat.znode.generation),
            None => (self.take(), self.generation),
        }
    }

    fn parent(&self, node: NodeId) -> Option<u64> {
        self.seat(node).map(|seat| seat.znode.parent)
    }

    fn extended_directory(&mut self, node: NodeId) -> u64 {
        match self.seat(node).map(|seat| seat.znode.extended) {
            // Receivers differ in what becomes of a spill block that is not sent again.
            Some(object) if object != 0 && !self.spills(object) => object,
            _ => self.take(),
        }
    }

    fn extended(&mut self, node: NodeId, name: &[u8]) -> u64 {
        match self.seat(node).and_then(|seat| seat.extended.get(name)) {
            Some(&object) if !self.spills(object) => object,
            _ => self.take(),
        }
    }

    fn inherited(&mut self, node: NodeId) -> Inherited {
        let Some(seat) = self.seat(node) else { return Inherited::default() };
        let packed = seat.znode.packed.as_ref().filter(|_| self.keeps_packed(node, seat));
        let packed = packed.map(|bytes| (bytes.clone(), seat.packed.clone()));
        Inherited { packed, spills: self.spills(seat.object) }
    }
}

/// Whether two contents are equal; what cannot be read is equal to nothing. Meant for the small ones of extended attributes.
fn same_bytes(one: &dyn Content, other: &dyn Content) -> bool {
    let bytes = |content: &dyn Content| {
        let mut pieces = Vec::new();
        let given = content.give(&mut |offset, piece| {
            pieces.resize(offset as usize, 0);
            pieces.extend_from_slice(piece);
            Ok(())
        });
        pieces.resize(content.size() as usize, 0);
        given.ok().map(|()| pieces)
    };
    one.size() == other.size() && bytes(one).is_some_and(|one| bytes(other) == Some(one))
}

/// How attributes are to be kept.
fn form<S>(tree: &Tree, plan: &Plan, origin: &FileSystem<S>) -> Form {
    let schema = origin.schema.as_ref();
    match schema.filter(|schema| origin.fixed.attributes.is_some() && schema.has_layouts()) {
        Some(schema) => Form::attributes(tree, plan, schema),
        None => Form::Old,
    }
}

/// Ranges of objects of the origin's nodes that are objects no more.
fn gone<S>(origin: &FileSystem<S>, roles: &BTreeMap<u64, Role>) -> Vec<(u64, u64)> {
    let of_seat = |seat: &Seat| {
        let extended = Some(seat.znode.extended).filter(|&object| object != 0);
        [seat.object].into_iter().chain(extended).chain(seat.extended.values().copied()).collect::<Vec<u64>>()
    };
    let gone: BTreeSet<u64> =
        origin.places.iter().flat_map(of_seat).filter(|object| !roles.contains_key(object)).collect();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for object in gone {
        match ranges.last_mut() {
            Some((first, count)) if *first + *count == object => *count += 1,
            _ => ranges.push((object, 1)),
        }
    }
    ranges
}

/// The stream in the making.
struct Difference<'a, W, S> {
    stream: StreamWriter<W>,
    tree: &'a Tree,
    origin: &'a Objects<S>,
    blocks: Blocks,
    /// Objects in the stream.
    sent: u64,
}

impl<W: Write, S: Store> Difference<'_, W, S> {
    /// Sends what differs of an object, whose attributes in the origin are `before` if it is one that is kept.
    fn object(&mut self, role: Role, mut image: Image, before: Option<&Znode>) -> Result<()> {
        let origin = self.origin;
        let number = image.header.object;
        let old = origin.get(number).filter(|old| old.object_type == image.header.object_type);
        let Some(old) = old else { return self.whole(role, &image) };
        // With another size of its dnode a receiver would make it anew, without its contents.
        image.header.dnode_slots = old.dnode_slots;
        let same_attributes = match (before, &image.znode) {
            (Some(before), Some(now)) => {
                // Flags are not compared: they are the origin's own affair as long as mode and list are the same. Links are kept
                // only with their targets, which old ones may have as contents.
                let Znode { flags, target, spills, .. } = now.clone();
                Znode { flags, target, spills, ..before.clone() } == *now
            }
            (None, None) => true,
            _ => false,
        };
        let is_table = image.header.object_type != object_type::FILE;
        if is_table && same_names(old, origin.byte_order(), &image) {
            image.contents = None;
            image.header.block_size = old.block_size;
            if same_attributes {
                return Ok(());
            }
            self.declare(&image)?;
            return self.spill(&image);
        }
        let size = image.contents.as_ref().map_or(0, |contents| contents.size());
        // Blocks may have the size that they have as long as one just holds the file, or several of them can.
        let fits = size <= u64::from(old.block_size) || old.block_size.is_power_of_two();
        if !is_table && fits && u64::from(old.block_size) <= MAX_BLOCK {
            image.header.block_size = old.block_size;
        }
        if image.header.block_size != old.block_size {
            return self.whole(role, &image);
        }
        self.changes(role, &image, old, !same_attributes)
    }

    /// Sends an object that the origin has not, or not so that anything of it could be kept.
    ///
    /// Receivers differ in what becomes of the blocks of an object whose block size changes: OpenZFS keeps those of a file of the same
    /// generation (`receive_handle_existing_object` of `dmu_recv.c`, made for streams with and without `-L`). So they are freed in words.
    fn whole(&mut self, role: Role, image: &Image) -> Result<()> {
        self.declare(image)?;
        if self.origin.get(image.header.object).is_some() {
            self.stream.free(image.header.object, 0, TO_END)?;
        }
        let Some(contents) = &image.contents else { return self.spill(image) };
        let Self { stream, blocks, tree, .. } = self;
        let mut failed = None;
        let given = blocks.of(&**contents, image.header.block_size, |offset, block| {
            stream
                .write(image.header.object, image.header.object_type, offset, block)
                .map_err(|error| stop(&mut failed, error))
        });
        given.map_err(|error| failed.take().unwrap_or_else(|| unreadable(stream, tree, role, error)))?;
        self.spill(image)
    }

    /// Sends what differs of an object that stays.
    fn changes(&mut self, role: Role, image: &Image, old: &Object, mut declared: bool) -> Result<()> {
        if declared {
            self.declare(image)?;
        }
        let ObjectHeader { object, object_type, block_size, .. } = image.header;
        let Self { stream, blocks, tree, origin, sent } = self;
        // Blocks of the origin that have not been met yet.
        let mut left: BTreeSet<u64> = old.offsets().collect();
        let mut same = Vec::new();
        let mut failed = None;
        let mut declare = |stream: &mut StreamWriter<W>| -> Result<()> {
            if !std::mem::replace(&mut declared, true) {
                *sent += 1;
                stream.object(&image.header, &image.bonus)?;
            }
            Ok(())
        };
        if let Some(contents) = &image.contents {
            let given = blocks.of(&**contents, block_size, |offset, block| {
                let was_there = left.contains(&offset);
                if was_there {
                    origin.read(old, offset, &mut same)?;
                }
                let after = left.split_off(&offset);
                let holes = std::mem::replace(&mut left, after);
                left.remove(&offset);
                let done = (|| {
                    if !holes.is_empty() || !was_there || same != block {
                        declare(stream)?;
                    }
                    free(stream, object, block_size, &holes)?;
                    if was_there && same == block {
                        return Ok(());
                    }
                    stream.write(object, object_type, offset, block)
                })();
                done.map_err(|error| stop(&mut failed, error))
            });
            given.map_err(|error| failed.take().unwrap_or_else(|| unreadable(stream, tree, role, error)))?;
        }
        if let Some(&first) = left.first() {
            declare(stream)?;
            stream.free(object, first, TO_END)?;
        }
        if declared { self.spill(image) } else { Ok(()) }
    }

    fn declare(&mut self, image: &Image) -> Result<()> {
        self.sent += 1;
        self.stream.object(&image.header, &image.bonus)
    }

    fn spill(&mut self, image: &Image) -> Result<()> {
        match &image.spill {
            Some(spill) => self.stream.spill(image.header.object, spill),
            None => Ok(()),
        }
    }
}

/// Keeps the error of the stream while contents see one of their own kind.
fn stop(failed: &mut Option<Error>, error: Error) -> io::Error {
    *failed = Some(error);
    io::Error::other("the stream cannot be written")
}

/// Makes holes of blocks, in as few records as there are runs of them.
fn free<W: Write>(
    stream: &mut StreamWriter<W>,
    object: u64,
    block_size: u32,
    offsets: &BTreeSet<u64>,
) -> Result<()> {
    let size = u64::from(block_size);
    let mut run: Option<(u64, u64)> = None;
    for &offset in offsets {
        match &mut run {
            Some((first, length)) if *first + *length == offset => *length += size,
            _ => {
                if let Some((first, length)) = run {
                    stream.free(object, first, length)?;
                }
                run = Some((offset, size));
            }
        }
    }
    match run {
        Some((first, length)) => stream.free(object, first, length),
        None => Ok(()),
    }
}

/// Whether a table of the origin says the same as one that was made here, however it is laid out.
fn same_names(old: &Object, order: ByteOrder, image: &Image) -> bool {
    struct Cut<'a>(&'a [u8], usize);
    impl zap::BlockSource for Cut<'_> {
        fn block(&self, number: u64) -> Option<&[u8]> {
            self.0.chunks(self.1).nth(usize::try_from(number).ok()?)
        }
    }
    let mut bytes = Vec::new();
    let given = image.contents.as_ref().map(|contents| {
        contents.give(&mut |_, piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
    });
    let sorted = |entries: std::result::Result<Vec<zap::Entry>, zap::ZapError>| {
        entries.ok().map(|entries| {
            entries.into_iter().map(|entry| (entry.name, entry.value)).collect::<BTreeMap<_, _>>()
        })
    };
    let new = zap::read(&Cut(&bytes, image.header.block_size as usize), ByteOrder::Little);
    matches!(given, Some(Ok(()))) && sorted(zap::read(old, order)) == sorted(new)
}
