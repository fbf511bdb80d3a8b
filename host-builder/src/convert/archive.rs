//! A tree as a tar archive: POSIX pax headers for what the old header has no room for, and GNU's for files with holes.
//!
//! Everything that a header says follows from the tree, so the same tree gives the same bytes. Names, targets, sizes, owners,
//! times and extended attributes of any kind are kept (source: POSIX.1 pax, "pax Interchange Format"; `SCHILY.*` keywords by
//! star(5), which GNU tar and libarchive read too). Files with holes of at least 64 KiB get the sparse header of GNU tar's
//! manual, "Old GNU Format", the only one that all readers of sparse files know, kiln's among them.

use std::io::Write;
use std::ops::Range;

use anyhow::{Context, Result};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use super::files::{self, Item, Losses, Step, Totals};
use crate::contents::source::Source;
use crate::contents::tree::{self, Kind, Node, Tree, show};
use crate::report::Progress;
use crate::tarball::{BLOCK, EXTENDED};

/// Largest number in a field of 8 bytes, of which the last is a NUL.
const LARGEST_SHORT: u32 = 0o777_7777;
/// Largest number in a field of 12 bytes, likewise.
const LARGEST_LONG: u64 = 0o777_7777_7777;
/// Bytes of a name in a header.
const NAME: usize = 100;
/// Largest extended attribute that is written, in bytes: what readers take for a record at most.
const LARGEST_ATTRIBUTE: u64 = 512 << 10;

/// Writes the tree below `top`, which is a directory, and `top` itself as `./`.
///
/// # Errors
/// The tree cannot be read, or the output cannot be written.
pub fn write(
    tree: &dyn Tree,
    top: &Node,
    output: impl Write,
    losses: &mut Losses,
    progress: &Progress<'_>,
) -> Result<Totals> {
    let mut archive = Archive { tree, output, losses, progress, totals: Totals::default() };
    files::walk(tree, top, &mut |step| match step {
        Step::Enter(item) => {
            archive.add(item).with_context(|| format!("cannot put {} into the archive", item.node.shown()))
        }
        Step::Leave(_) => Ok(()),
    })?;
    // Two blocks of zeros end an archive.
    archive.output.write_all(&[0; 2 * BLOCK as usize])?;
    archive.output.flush()?;
    Ok(archive.totals)
}

struct Archive<'a, W> {
    tree: &'a dyn Tree,
    output: W,
    losses: &'a mut Losses,
    progress: &'a Progress<'a>,
    totals: Totals,
}

impl<W: Write> Archive<'_, W> {
    fn add(&mut self, item: &Item) -> Result<()> {
        let metadata = item.metadata();
        let kind = match (metadata.kind, &item.first) {
            (Kind::Socket | Kind::Door | Kind::Other, _) => {
                self.losses.add(
                    "sockets and doors, which tar has no form for and which are made by those who use them",
                    item,
                );
                return Ok(());
            }
            (_, Some(_)) => EntryType::Link,
            (Kind::File, None) => EntryType::Regular,
            (Kind::Directory, None) => EntryType::Directory,
            (Kind::Symlink, None) => EntryType::Symlink,
            (Kind::Block, None) => EntryType::Block,
            (Kind::Character, None) => EntryType::Char,
            (Kind::Fifo, None) => EntryType::Fifo,
        };
        self.totals.add(item);
        let contents = match kind {
            EntryType::Regular => Some(self.tree.contents(&item.node)?),
            _ => None,
        };
        let holes = match &contents {
            Some(contents) => files::holes(self.tree, item, contents)?,
            None => None,
        };
        let stored: Vec<Range<u64>> = match (&holes, &contents) {
            (Some(stored), _) => stored.clone(),
            (None, Some(contents)) => tree::whole(contents.size()),
            (None, None) => Vec::new(),
        };
        let length = stored.iter().map(|stretch| stretch.end - stretch.start).sum();

        let mut header = if holes.is_some() { Header::new_gnu() } else { Header::new_ustar() };
        header.set_entry_type(kind);
        let mut records = Records::default();
        describe(item, length, &mut header, &mut records)?;
        let mut more = Vec::new();
        if holes.is_some() {
            header.set_entry_type(EntryType::GNUSparse);
            more = sparse(&mut header, &stored, metadata.size);
        }
        header.set_cksum();
        self.records(item, records)?;
        self.output.write_all(header.as_bytes())?;
        self.output.write_all(&more)?;
        if let Some(contents) = contents {
            self.contents(item, &contents, stored, length)?;
        }
        Ok(())
    }

    /// Writes the records before a header, with the extended attributes.
    fn records(&mut self, item: &Item, mut records: Records) -> Result<()> {
        if item.first.is_none() {
            for (name, value) in self.tree.extended(&item.node)? {
                if value.size() > LARGEST_ATTRIBUTE {
                    self.losses
                        .add("extended attributes of more than 512 KiB, which readers of tar refuse", item);
                    continue;
                }
                let bytes = value
                    .head(LARGEST_ATTRIBUTE as usize)
                    .with_context(|| format!("cannot read the extended attribute {}", show(&name)))?;
                records.add_bytes(&[EXTENDED, &quoted(&name)].concat(), &bytes);
            }
        }
        let Some(records) = records.finish() else { return Ok(()) };
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        // Only readers that do not know these records ever see the name, as that of a file.
        let name = [b"PaxHeaders/", item.node.name()].concat();
        header.as_old_mut().name[..name.len().min(NAME)].copy_from_slice(&name[..name.len().min(NAME)]);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(records.len() as u64);
        header.set_cksum();
        self.output.write_all(header.as_bytes())?;
        self.output.write_all(&records)?;
        self.pad(records.len() as u64)
    }

    fn contents(
        &mut self,
        item: &Item,
        contents: &Source,
        stored: Vec<Range<u64>>,
        length: u64,
    ) -> Result<()> {
        for stretch in stored {
            files::copy(contents, stretch, item, &mut |piece| {
                self.progress.add(piece.len() as u64);
                Ok(self.output.write_all(piece)?)
            })?;
        }
        self.pad(length)
    }

    fn pad(&mut self, length: u64) -> Result<()> {
        let padding = (length.wrapping_neg() % BLOCK) as usize;
        Ok(self.output.write_all(&[0; BLOCK as usize][..padding])?)
    }
}

/// Fills a header, and the records for what it has no room for.
fn describe(item: &Item, length: u64, header: &mut Header, records: &mut Records) -> Result<()> {
    let metadata = item.metadata();
    let mut name = if item.path.is_empty() { b"./".to_vec() } else { item.path.clone() };
    if metadata.kind == Kind::Directory && !name.ends_with(b"/") {
        name.push(b'/');
    }
    put_name(&mut header.as_old_mut().name, &name, "path", records);
    let target = item.first.as_deref().or(metadata.target.as_deref());
    if let Some(target) = target {
        put_name(&mut header.as_old_mut().linkname, target, "linkpath", records);
    }
    header.set_mode(item.mode());
    let (uid, gid) = item.owner();
    for (keyword, number) in [("uid", uid), ("gid", gid)] {
        if number > LARGEST_SHORT {
            records.add(keyword, number.to_string().as_bytes());
        }
    }
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_size(length);
    if length > LARGEST_LONG {
        records.add("size", length.to_string().as_bytes());
    }
    let (seconds, nanoseconds) = item.time();
    header.set_mtime(u64::try_from(seconds).unwrap_or(0));
    if nanoseconds > 0 || !(0..=LARGEST_LONG as i64).contains(&seconds) {
        records.add("mtime", time(seconds, nanoseconds).as_bytes());
    }
    if let (Some((major, minor)), None) = (metadata.device, &item.first) {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
        for (keyword, number) in [("SCHILY.devmajor", major), ("SCHILY.devminor", minor)] {
            if number > LARGEST_SHORT {
                records.add(keyword, number.to_string().as_bytes());
            }
        }
    }
    Ok(())
}

/// Puts a name into its field, or as much as there is room for and the whole into a record.
fn put_name(field: &mut [u8; NAME], name: &[u8], keyword: &str, records: &mut Records) {
    let length = name.len().min(NAME);
    field[..length].copy_from_slice(&name[..length]);
    if name.len() > NAME {
        records.add(keyword, name);
    }
}

/// Fills in the map of a file with holes, and gives the blocks with the rest of it that follow the header.
fn sparse(header: &mut Header, stored: &[Range<u64>], size: u64) -> Vec<u8> {
    let set = |slot: &mut GnuSparseHeader, stretch: &Range<u64>| {
        slot.set_offset(stretch.start);
        slot.set_length(stretch.end - stretch.start);
    };
    // A stretch of nothing at the end tells readers where the file ends.
    let end = size..size;
    let map: Vec<&Range<u64>> = stored.iter().chain([&end]).collect();
    let mut more = Vec::new();
    if let Some(gnu) = header.as_gnu_mut() {
        let (here, there) = map.split_at(map.len().min(gnu.sparse.len()));
        gnu.sparse.iter_mut().zip(here).for_each(|(slot, stretch)| set(slot, stretch));
        gnu.set_real_size(size);
        gnu.set_is_extended(!there.is_empty());
        let mut block = GnuExtSparseHeader::new();
        let blocks = there.chunks(block.sparse().len());
        let last = blocks.len();
        for (number, stretches) in (1..).zip(blocks) {
            block = GnuExtSparseHeader::new();
            block.sparse_mut().iter_mut().zip(stretches).for_each(|(slot, stretch)| set(slot, stretch));
            block.set_is_extended(number < last);
            more.extend_from_slice(block.as_bytes());
        }
    }
    more
}

/// A time as pax writes it: decimal seconds, with a fraction if there is one.
fn time(seconds: i64, nanoseconds: u32) -> String {
    let (sign, seconds, nanoseconds) = match (seconds < 0, nanoseconds) {
        (false, _) => ("", seconds.unsigned_abs(), nanoseconds),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        // -2 seconds and 0.75 after that are -1.25.
        (true, _) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
    };
    match nanoseconds {
        0 => format!("{sign}{seconds}"),
        _ => format!("{sign}{seconds}.{nanoseconds:09}").trim_end_matches('0').to_owned(),
    }
}

/// The name of an extended attribute in a keyword, which ends at the first `=`, in GNU tar's escapes.
fn quoted(name: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'=' => quoted.extend_from_slice(b"%3D"),
            b'%' => quoted.extend_from_slice(b"%25"),
            _ => quoted.push(byte),
        }
    }
    quoted
}

/// Records of pax: `LENGTH KEYWORD=VALUE` and a newline, where the length counts its own digits.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    /// Whether a name is no UTF-8, which records are otherwise.
    binary: bool,
}

impl Records {
    fn add(&mut self, keyword: &str, value: &[u8]) {
        self.binary |= std::str::from_utf8(value).is_err();
        self.add_bytes(keyword.as_bytes(), value);
    }

    fn add_bytes(&mut self, keyword: &[u8], value: &[u8]) {
        put_record(&mut self.bytes, keyword, value);
    }

    fn finish(self) -> Option<Vec<u8>> {
        if self.bytes.is_empty() {
            return None;
        }
        let mut bytes = Vec::new();
        if self.binary {
            put_record(&mut bytes, b"hdrcharset", b"BINARY");
        }
        bytes.extend_from_slice(&self.bytes);
        Some(bytes)
    }
}

fn put_record(into: &mut Vec<u8>, keyword: &[u8], value: &[u8]) {
    // A blank, `=` and the newline.
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    into.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", keyword, b"=", value, b"\n"] {
        into.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_digits() {
        let mut bytes = Vec::new();
        put_record(&mut bytes, b"a", b"1");
        assert_eq!(bytes, b"6 a=1\n");
        bytes.clear();
        // 9 bytes and one digit would be 10, which has two.
        put_record(&mut bytes, b"abc", b"123");
        assert_eq!(bytes, b"11 abc=123\n");
        bytes.clear();
        put_record(&mut bytes, b"x", &[b'y'; 95]);
        assert!(bytes.starts_with(b"102 x=y") && bytes.len() == 102);
    }

    #[test]
    fn times_are_decimal() {
        for (time_of, text) in [
            ((12, 0), "12"),
            ((12, 500_000_000), "12.5"),
            ((0, 1), "0.000000001"),
            ((-2, 750_000_000), "-1.25"),
            ((-1, 500_000_000), "-0.5"),
            ((-3, 0), "-3"),
            ((i64::MIN, 0), "-9223372036854775808"),
        ] {
            assert_eq!(time(time_of.0, time_of.1), text);
        }
    }
}
