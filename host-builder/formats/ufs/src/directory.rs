//! Directory chunks: 512 bytes filled exactly by entries, none of which crosses into the next.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, IntoBytes};

use crate::layout::{DIR_CHUNK, DIR_HEADER, DirHeader, NAME_MAX, dir_entry_size};

/// Bytes of a chunk.
pub(crate) const CHUNK: usize = DIR_CHUNK as usize;

/// An entry of a chunk, used or empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Offset in the chunk.
    pub offset: usize,
    /// Bytes up to the next entry.
    pub reclen: usize,
    /// Inode, 0 when empty.
    pub ino: u32,
    /// Name; empty when the entry is.
    pub name: &'a [u8],
}

/// The rule an entry breaks.
pub(crate) type Broken = &'static str;

/// Iterates over the entries of one chunk; after an error there is nothing more.
pub(crate) fn entries(chunk: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, Broken>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        if offset >= chunk.len() {
            return None;
        }
        let entry = parse(chunk, offset);
        offset = entry.map_or(chunk.len(), |entry| offset + entry.reclen);
        Some(entry)
    })
}

fn parse(chunk: &[u8], offset: usize) -> Result<Entry<'_>, Broken> {
    let bytes = chunk.get(offset..).unwrap_or_default();
    let (header, tail) = DirHeader::read_from_prefix(bytes).map_err(|_| "an entry crosses its chunk")?;
    let (reclen, namlen) = (usize::from(header.reclen.get()), usize::from(header.namlen.get()));
    if reclen < DIR_HEADER || !reclen.is_multiple_of(4) || reclen > bytes.len() {
        return Err("record length");
    }
    let ino = header.ino.get();
    if ino == 0 {
        return Ok(Entry { offset, reclen, ino, name: &[] });
    }
    if namlen == 0 || namlen > NAME_MAX || dir_entry_size(namlen) > reclen {
        return Err("name length");
    }
    match tail.get(..=namlen) {
        Some([name @ .., 0]) if !name.contains(&0) && !name.contains(&b'/') => {
            Ok(Entry { offset, reclen, ino, name })
        }
        _ => Err("name"),
    }
}

/// Writes an entry of exactly `reclen` bytes, name padded with zeros.
fn put(chunk: &mut [u8], offset: usize, reclen: usize, ino: u32, name: &[u8]) {
    let entry = &mut chunk[offset..offset + reclen];
    entry.fill(0);
    let header = DirHeader {
        ino: U32::new(ino),
        reclen: U16::new(reclen as u16),
        namlen: U16::new(name.len() as u16),
    };
    entry[..DIR_HEADER].copy_from_slice(header.as_bytes());
    entry[DIR_HEADER..DIR_HEADER + name.len()].copy_from_slice(name);
}

/// A chunk without entries.
pub(crate) fn empty_chunk() -> [u8; CHUNK] {
    let mut chunk = [0; CHUNK];
    put(&mut chunk, 0, CHUNK, 0, b"");
    chunk
}

/// The first chunk of a new directory.
pub(crate) fn first_chunk(ino: u32, parent: u32) -> [u8; CHUNK] {
    let mut chunk = [0; CHUNK];
    let dot = dir_entry_size(1);
    put(&mut chunk, 0, dot, ino, b".");
    put(&mut chunk, dot, CHUNK - dot, parent, b"..");
    chunk
}

/// Adds an entry where an existing one leaves enough room; says whether there was any.
pub(crate) fn insert(chunk: &mut [u8], ino: u32, name: &[u8]) -> Result<bool, Broken> {
    let needed = dir_entry_size(name.len());
    let mut place = None;
    for entry in entries(chunk) {
        let entry = entry?;
        let used = if entry.ino == 0 { 0 } else { dir_entry_size(entry.name.len()) };
        if place.is_none() && entry.reclen - used >= needed {
            place = Some((entry.offset, entry.reclen, used));
        }
    }
    let Some((offset, reclen, used)) = place else { return Ok(false) };
    if used > 0 {
        chunk[offset + 4..offset + 6].copy_from_slice(&(used as u16).to_le_bytes());
    }
    put(chunk, offset + used, reclen - used, ino, name);
    Ok(true)
}

/// Removes an entry: its room goes to the entry before it, or it stays empty as the first of the chunk. Says whether
/// it was there.
pub(crate) fn remove(chunk: &mut [u8], name: &[u8]) -> Result<bool, Broken> {
    let mut previous: Option<(usize, usize)> = None;
    let mut found = None;
    for entry in entries(chunk) {
        let entry = entry?;
        if entry.ino != 0 && entry.name == name {
            found = Some((previous, entry.offset, entry.reclen));
            break;
        }
        previous = Some((entry.offset, entry.reclen));
    }
    match found {
        None => return Ok(false),
        Some((Some((offset, before)), at, reclen)) => {
            chunk[at..at + reclen].fill(0);
            chunk[offset + 4..offset + 6].copy_from_slice(&((before + reclen) as u16).to_le_bytes());
        }
        Some((None, at, reclen)) => put(chunk, at, reclen, 0, b""),
    }
    Ok(true)
}

/// Makes an entry name another inode; says whether it was there.
pub(crate) fn repoint(chunk: &mut [u8], name: &[u8], ino: u32) -> Result<bool, Broken> {
    let mut found = None;
    for entry in entries(chunk) {
        let entry = entry?;
        if entry.ino != 0 && entry.name == name {
            found = Some(entry.offset);
            break;
        }
    }
    if let Some(offset) = found {
        chunk[offset..offset + 4].copy_from_slice(&ino.to_le_bytes());
    }
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(chunk: &[u8]) -> Vec<(u32, Vec<u8>)> {
        let used = |entry: Entry| (entry.ino != 0).then(|| (entry.ino, entry.name.to_vec()));
        entries(chunk).filter_map(|entry| used(entry.unwrap())).collect()
    }

    #[test]
    fn insertion_splits_and_removal_merges() {
        let mut chunk = first_chunk(5, 2);
        assert!(insert(&mut chunk, 7, b"alpha").unwrap());
        assert!(insert(&mut chunk, 8, b"beta").unwrap());
        assert!(remove(&mut chunk, b"alpha").unwrap());
        assert!(!remove(&mut chunk, b"alpha").unwrap());
        assert_eq!(names(&chunk), [(5, b".".to_vec()), (2, b"..".to_vec()), (8, b"beta".to_vec())]);
        // The room of `alpha` went to `..` and is found again.
        let dotdot = entries(&chunk).nth(1).unwrap().unwrap();
        assert_eq!(dotdot.reclen, 12 + dir_entry_size(5));
        assert!(insert(&mut chunk, 9, b"gamma").unwrap());
        assert_eq!(names(&chunk)[2], (9, b"gamma".to_vec()));
        assert!(repoint(&mut chunk, b"gamma", 11).unwrap());
        assert_eq!(names(&chunk)[2].0, 11);
    }

    #[test]
    fn the_first_entry_of_a_chunk_becomes_empty() {
        let mut chunk = empty_chunk();
        assert!(insert(&mut chunk, 9, b"only").unwrap());
        assert!(remove(&mut chunk, b"only").unwrap());
        assert_eq!(chunk, empty_chunk());
    }

    #[test]
    fn a_full_chunk_takes_no_more() {
        let mut chunk = empty_chunk();
        let name = [b'n'; NAME_MAX];
        assert!(insert(&mut chunk, 3, &name[..240]).unwrap());
        assert!(insert(&mut chunk, 4, &name[..241]).unwrap());
        assert!(!insert(&mut chunk, 5, b"x").unwrap());
    }

    #[test]
    fn broken_entries_are_refused() {
        let mut chunk = first_chunk(5, 2);
        chunk[4] = 0;
        assert_eq!(entries(&chunk).next(), Some(Err("record length")));
        let mut chunk = first_chunk(5, 2);
        chunk[6] = 200;
        assert_eq!(entries(&chunk).next(), Some(Err("name length")));
        let mut chunk = first_chunk(5, 2);
        chunk[8] = b'/';
        assert_eq!(entries(&chunk).next(), Some(Err("name")));
    }
}
