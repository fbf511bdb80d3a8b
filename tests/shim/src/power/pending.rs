//! What of the log is not on disk, and what is to be done about it.

use std::collections::BTreeMap;

use super::log::{Attributes, Id, Name, Record, Undo};
use super::{Kind, Policy};

/// How the folders are to be changed.
#[derive(Debug, Default)]
pub struct Plan {
    /// What each of these names is to lead to.
    pub names: BTreeMap<Name, Option<Id>>,
    /// Directories that may be wanted again.
    pub removed: BTreeMap<Id, Attributes>,
    pub contents: BTreeMap<Id, Contents>,
    pub attributes: BTreeMap<Id, Attributes>,
}

/// What is to become of a file's contents.
#[derive(Debug)]
pub struct Contents {
    /// The changes, oldest first.
    pub undo: Vec<Undo>,
    pub policy: Policy,
}

/// A change that is not on disk.
struct Change<'a> {
    record: &'a Record,
    folder: usize,
    /// The call it belongs to: the records of a rename are one change.
    call: usize,
    /// It goes with the names: on ZFS, the intent log brings it as soon as it brings anything.
    ordered: bool,
}

impl Change<'_> {
    fn is_of_file(&self, file: Id) -> bool {
        matches!(self.record, Record::Data { id, .. } | Record::Mode { id, .. } if *id == file)
    }

    fn is_in_directory(&self, directory: Id) -> bool {
        matches!(self.record, Record::Entry { name, .. } if name.directory == directory)
    }
}

/// What is to be done when power fails after these records, and how many changes were not on disk.
pub fn plan(folders: &[(Kind, String)], records: &[Record], policy: Policy) -> (Plan, usize) {
    let pending = pending(folders, records);
    let count = calls(&pending.iter().collect::<Vec<_>>());
    let mut plan = Plan::default();
    for record in records {
        if let Record::Rmdir { id, attributes } = record {
            plan.removed.insert(*id, *attributes);
        }
    }
    for (number, (kind, _)) in folders.iter().enumerate() {
        let of_folder: Vec<&Change> = pending.iter().filter(|change| change.folder == number).collect();
        match (kind, policy) {
            (_, Policy::Keep) | (Kind::Zfs, Policy::Torn) => {}
            (_, Policy::Drop) | (Kind::Zfs, Policy::Empty) => undo(&mut plan, &of_folder),
            (Kind::Zfs, Policy::Half) => undo(&mut plan, second_half(&of_folder)),
            (Kind::Pcfs, Policy::Empty | Policy::Half) => cut(&mut plan, &of_folder, policy),
            (Kind::Pcfs, Policy::Torn) => tear(&mut plan, &of_folder),
        }
    }
    (plan, count)
}

/// How many calls made these changes, which are in order.
fn calls(changes: &[&Change]) -> usize {
    changes.chunk_by(|one, two| one.call == two.call).count()
}

/// The changes after the middle, by calls.
fn second_half<'a, 'b>(changes: &'b [&'a Change<'a>]) -> &'b [&'a Change<'a>] {
    let first = calls(changes).div_ceil(2);
    let first: usize = changes.chunk_by(|one, two| one.call == two.call).take(first).map(<[_]>::len).sum();
    &changes[first..]
}

/// The changes that nothing has made durable, in order.
fn pending<'a>(folders: &[(Kind, String)], records: &'a [Record]) -> Vec<Change<'a>> {
    let mut pending: Vec<Change> = Vec::new();
    // The last rename, and how many of its names are still to come.
    let (mut rename, mut names) = (0, 0);
    for (call, record) in records.iter().enumerate() {
        match record {
            Record::Entry { folder, .. } => {
                let call = if names > 0 { rename } else { call };
                names = usize::saturating_sub(names, 1);
                pending.push(Change { record, folder: *folder, call, ordered: true });
            }
            Record::Data { folder, .. } | Record::Mode { folder, .. } => {
                pending.push(Change { record, folder: *folder, call, ordered: false });
            }
            Record::Moved { folder, id } => {
                for change in pending.iter_mut().filter(|change| change.is_of_file(*id)) {
                    change.ordered = true;
                }
                (rename, names) = (call, 2);
                pending.push(Change { record, folder: *folder, call, ordered: true });
            }
            Record::Rmdir { .. } => {}
            Record::Sync { folder, id } => match folders[*folder].0 {
                Kind::Pcfs => pending.retain(|change| {
                    change.folder != *folder || !(change.is_of_file(*id) || change.is_in_directory(*id))
                }),
                Kind::Zfs => pending
                    .retain(|change| change.folder != *folder || !(change.ordered || change.is_of_file(*id))),
            },
            Record::SyncAll => pending.clear(),
            Record::Durable(what) if what == "zfs" => {
                pending.retain(|change| folders[change.folder].0 != Kind::Zfs);
            }
            Record::Durable(path) => pending.retain(|change| folders[change.folder].1 != *path),
        }
    }
    pending
}

/// Everything as it was before these changes.
fn undo(plan: &mut Plan, changes: &[&Change]) {
    for change in changes {
        match change.record {
            Record::Entry { name, old, .. } => {
                plan.names.entry(name.clone()).or_insert(*old);
            }
            Record::Mode { id, attributes, .. } => {
                plan.attributes.entry(*id).or_insert(*attributes);
            }
            _ => {}
        }
    }
    cut(plan, changes, Policy::Drop);
}

/// Contents by the policy; names stay.
fn cut(plan: &mut Plan, changes: &[&Change], policy: Policy) {
    for change in changes {
        if let Record::Data { id, undo, .. } = change.record {
            let contents = plan.contents.entry(*id).or_insert_with(|| Contents { undo: Vec::new(), policy });
            contents.undo.push(undo.clone());
        }
    }
}

/// The last rename: its target is gone, and its source is back, if nothing else has happened to the two names since.
fn tear(plan: &mut Plan, changes: &[&Change]) {
    let Some(last) = changes.iter().rposition(|change| matches!(change.record, Record::Moved { .. })) else {
        return;
    };
    let entries: Vec<_> = changes[last + 1..]
        .iter()
        .filter_map(|change| match change.record {
            Record::Entry { name, old, new, .. } => Some((name, *old, *new)),
            _ => None,
        })
        .collect();
    if let [(source, Some(moved), None), (target, _, Some(arrived)), later @ ..] = &entries[..]
        && moved == arrived
        && later.iter().all(|(name, ..)| name != source && name != target)
    {
        plan.names.insert((*source).clone(), Some(*moved));
        plan.names.insert((*target).clone(), None);
    }
}

impl Contents {
    /// What the file holds after power failed, if it held `now`.
    pub fn after(&self, now: Vec<u8>) -> Vec<u8> {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut before = now.clone();
        for undo in self.undo.iter().rev() {
            before.resize(size(undo.old_size), 0);
            let from = size(undo.offset).min(before.len());
            let room = &mut before[from..];
            let length = undo.bytes.len().min(room.len());
            room[..length].copy_from_slice(&undo.bytes[..length]);
        }
        // Up to here the file always was as long as this: nothing was cut off, and there were blocks on disk.
        let sizes = self.undo.iter().flat_map(|undo| [undo.old_size, undo.new_size]).map(size);
        let common = sizes.chain([now.len(), before.len()]).min().unwrap_or(0);
        match self.policy {
            Policy::Keep | Policy::Torn => now,
            Policy::Drop => before,
            Policy::Empty => before[..common].to_vec(),
            Policy::Half if now.len() > common => now[..common + (now.len() - common) / 2].to_vec(),
            Policy::Half => [&now[..common / 2], &before[common / 2..common]].concat(),
        }
    }
}
