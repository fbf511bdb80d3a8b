//! The entries of a directory, with long names put together.

use zerocopy::FromBytes;

use super::names;
use super::ondisk::{ATTR_DIRECTORY, ATTR_LONG_NAME, DELETED, DIR_ENTRY, LONG_UNITS, LongEntry, ShortEntry};
use super::read::DirEntry;
use super::time::FatTime;

/// A short entry with the long name that stands before it.
pub(crate) struct Slot {
    pub short: ShortEntry,
    /// The long name, when its pieces are complete and in order and its checksum matches.
    pub long: Option<LongName>,
    /// Whether pieces of a long name stand before it that do not belong to it.
    pub orphans: bool,
}

/// A long name.
pub(crate) struct LongName {
    /// Unpaired surrogates are replaced.
    pub text: String,
    /// Whether the name is valid UTF-16.
    pub valid: bool,
}

impl Slot {
    /// Whether this is `.` or `..`.
    pub fn is_dot(&self) -> bool {
        self.short.name == *b".          " || self.short.name == *b"..         "
    }

    /// The name to show: the long one unless it could be mistaken for something else in a path.
    pub fn name(&self) -> String {
        if let Some(long) = &self.long
            && names::is_safe(&long.text)
        {
            return long.text.clone();
        }
        // Windows stores names that are lower case throughout without a long name.
        let mut short = self.short.name;
        if self.short.case & 0x08 != 0 {
            short[..8].make_ascii_lowercase();
        }
        if self.short.case & 0x10 != 0 {
            short[8..].make_ascii_lowercase();
        }
        let name = names::display_short(&short);
        if names::is_safe(&name) { name } else { "_".to_owned() }
    }

    /// The entry as the reader shows it.
    pub fn to_entry(&self) -> DirEntry {
        let short = &self.short;
        let time =
            FatTime { date: short.modified_date.get(), time: short.modified_time.get(), hundredths: 0 };
        DirEntry {
            name: self.name(),
            short_name: names::display_short(&short.name),
            attributes: short.attributes,
            modified: time.to_unix(),
            size: if short.attributes & ATTR_DIRECTORY == 0 { short.size.get() } else { 0 },
            first_cluster: short.first_cluster(),
        }
    }
}

/// Walks over a directory's bytes up to its end mark, skipping deleted entries.
pub(crate) struct Slots<'a> {
    bytes: &'a [u8],
    /// Pieces of a long name seen since the last short entry, last piece first as stored.
    pieces: Vec<LongEntry>,
}

impl<'a> Slots<'a> {
    pub fn new(bytes: &'a [u8]) -> Slots<'a> {
        Slots { bytes, pieces: Vec::new() }
    }
}

impl Iterator for Slots<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let mut orphans = false;
        loop {
            let (slot, rest) = self.bytes.split_at_checked(DIR_ENTRY)?;
            let short = ShortEntry::read_from_bytes(slot).ok()?;
            match short.name[0] {
                0 => {
                    self.bytes = &[];
                    return None;
                }
                DELETED => {
                    orphans |= !self.pieces.is_empty();
                    self.pieces.clear();
                }
                _ if short.attributes & 0x3F == ATTR_LONG_NAME => {
                    let piece = LongEntry::read_from_bytes(slot).ok()?;
                    if piece.order & 0x40 != 0 {
                        orphans |= !self.pieces.is_empty();
                        self.pieces.clear();
                    }
                    self.pieces.push(piece);
                }
                _ => {
                    self.bytes = rest;
                    let long = assemble(&self.pieces, &short.name);
                    orphans |= long.is_none() && !self.pieces.is_empty();
                    self.pieces.clear();
                    return Some(Slot { short, long, orphans });
                }
            }
            self.bytes = rest;
        }
    }
}

/// Puts a long name together, or `None` when the pieces are not exactly those of `short`.
fn assemble(pieces: &[LongEntry], short: &[u8; 11]) -> Option<LongName> {
    let count = pieces.len();
    let checksum = names::checksum(short);
    if pieces.first()?.order & 0x40 == 0 || count > 20 {
        return None;
    }
    let ordered = |(index, piece): (usize, &LongEntry)| {
        usize::from(piece.order & 0x3F) == count - index && piece.checksum == checksum
    };
    if !pieces.iter().enumerate().all(ordered) {
        return None;
    }
    let mut units: Vec<u16> = Vec::with_capacity(count * LONG_UNITS);
    units.extend(pieces.iter().rev().flat_map(LongEntry::units));
    let length = units.iter().position(|&unit| unit == 0).unwrap_or(units.len());
    let text = char::decode_utf16(units[..length].iter().copied());
    let valid = text.clone().all(|c| c.is_ok());
    Some(LongName { text: text.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(), valid })
}
