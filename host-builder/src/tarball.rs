//! A careful walk over a tar archive of unknown origin.
//!
//! The `tar` crate understands the headers; this walk decides what may pass. It goes from header to header itself,
//! because the crate's own iteration reads as much of an extension record into memory as the archive claims.

use std::collections::HashMap;
use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file; the visitor gets its contents.
    File,
    /// A directory.
    Directory,
    /// A symbolic link with its target as written, which has been proved to stay inside the archive's own tree.
    Symlink(String),
    /// Another name of the member with this path.
    HardLink(String),
}

/// One member of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Relative path without `.`, `..`, empty components or a trailing slash; never empty.
    pub path: String,
    /// What it is.
    pub kind: MemberKind,
    /// Bytes of contents; 0 for all but files.
    pub size: u64,
}

/// Bounds on what an archive may claim.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest file in bytes.
    pub file_bytes: u64,
    /// Largest sum of all files in bytes.
    pub total_bytes: u64,
    /// Most members.
    pub members: u64,
}

/// Longest extension record (a long name or a set of pax attributes) that is read into memory, in bytes.
const EXTENSION_LIMIT: u64 = 64 * 1024;

/// Most stored stretches of a sparse member that are kept in memory.
const SPARSE_STRETCHES: usize = 1 << 16;

/// Bytes of a tar block.
const BLOCK: u64 = 512;

/// Why an archive was refused.
#[derive(Debug, thiserror::Error)]
#[error("{}", place(.member.as_deref(), *.number))]
pub struct TarError {
    /// The member's path as written in the archive, if it was readable.
    pub member: Option<String>,
    /// The member's number, counted from 1.
    pub number: u64,
    /// What is wrong with it.
    #[source]
    pub problem: TarProblem,
}

fn place(member: Option<&str>, number: u64) -> String {
    match member {
        Some(path) => format!("tar member {number} ({})", path.escape_debug()),
        None => format!("tar member {number}"),
    }
}

/// What can be wrong with a member.
#[derive(Debug, thiserror::Error)]
pub enum TarProblem {
    /// The archive cannot be read here: damaged header, early end, or an error of the input.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    /// The block where a header should be is none: its checksum is wrong.
    #[error("no tar header here")]
    NoHeader,
    /// The map of a sparse member contradicts itself.
    #[error("the map of a sparse file is damaged")]
    BadSparseMap,
    /// The path starts at the root.
    #[error("the path is absolute")]
    Absolute,
    /// The path contains `..`.
    #[error("the path climbs out of the archive")]
    ClimbsOut,
    /// The path is empty, too long, not UTF-8 or holds a NUL or control character.
    #[error("the name is not usable")]
    BadName,
    /// A link's target is absolute or climbs out.
    #[error("the link leads out of the archive, to {}", .0.escape_debug())]
    LinkLeadsOut(String),
    /// A device, FIFO or something else that does not belong here.
    #[error("a member of type '{0}' does not belong here")]
    UnexpectedType(char),
    /// Larger than the limit.
    #[error("claims {claimed} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// Bytes that the header claims.
        claimed: u64,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// All members together are larger than the limit.
    #[error("the archive claims more than {0} bytes in all")]
    TotalTooLarge(u64),
    /// More members than the limit.
    #[error("the archive has more than {0} members")]
    TooManyMembers(u64),
    /// Two members with names that a file system without case could not tell apart.
    #[error("the name is already taken by {}", .0.escape_debug())]
    Duplicate(String),
    /// The visitor failed.
    #[error("cannot be unpacked")]
    Visitor(#[source] anyhow::Error),
}

/// Walks `archive` (uncompressed) to its end and shows every member to `visit`, files with their contents.
///
/// The input is read to its very end, so that a checksum of a wrapping compression is verified too.
///
/// # Errors
/// The archive is damaged or holds what [`TarProblem`] lists; or the visitor failed.
pub fn walk<R: Read>(
    mut archive: R,
    limits: Limits,
    mut visit: impl FnMut(&Member, &mut dyn Read) -> anyhow::Result<()>,
) -> Result<(), TarError> {
    let mut number = 0;
    let at = |number, member: Option<&str>, problem| TarError {
        member: member.map(str::to_owned),
        number,
        problem,
    };

    let mut seen: HashMap<String, String> = HashMap::new();
    let mut total = 0_u64;
    let mut extensions = Extensions::default();
    loop {
        number += 1;
        let unnamed = |problem| at(number, None, problem);
        let Some(header) = read_header(&mut archive).map_err(unnamed)? else { break };
        if number > limits.members {
            return Err(unnamed(TarProblem::TooManyMembers(limits.members)));
        }
        let kind = header.entry_type();
        let claimed = header.entry_size().map_err(|error| unnamed(TarProblem::Unreadable(error)))?;
        if is_extension(kind) {
            if claimed > EXTENSION_LIMIT {
                return Err(unnamed(TarProblem::TooLarge { claimed, limit: EXTENSION_LIMIT }));
            }
            extensions.take(kind, claimed, &mut archive).map_err(unnamed)?;
            continue;
        }
        let extension = std::mem::take(&mut extensions);
        let raw_name = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = String::from_utf8(raw_name).map_err(|_| unnamed(TarProblem::BadName))?;
        let here = |problem| at(number, Some(&name), problem);
        let target = || -> Result<String, TarProblem> {
            let raw = match &extension.link {
                Some(link) => link.clone(),
                None => header.link_name_bytes().ok_or(TarProblem::BadName)?.into_owned(),
            };
            String::from_utf8(raw).map_err(|_| TarProblem::BadName)
        };
        let path = clean(&name).map_err(here)?;
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous if !name.ends_with('/') => MemberKind::File,
            EntryType::GNUSparse => MemberKind::File,
            // Old archives mark a directory by nothing but a slash at the end of a regular member's name.
            EntryType::Directory | EntryType::Regular => MemberKind::Directory,
            EntryType::Symlink => {
                let target = target().map_err(here)?;
                stays_inside(path.as_deref().unwrap_or(""), &target).map_err(here)?;
                MemberKind::Symlink(target)
            }
            EntryType::Link => {
                let target = target().map_err(here)?;
                match clean(&target) {
                    Ok(Some(path)) => MemberKind::HardLink(path),
                    _ => return Err(here(TarProblem::LinkLeadsOut(target))),
                }
            }
            other => return Err(here(TarProblem::UnexpectedType(other.as_byte() as char))),
        };
        let map = match header.entry_type() {
            EntryType::GNUSparse => SparseMap::read(&header, claimed, &mut archive).map_err(here)?,
            _ => SparseMap::dense(claimed),
        };
        let size = map.size.max(extension.other_size.unwrap_or(0));
        if size > limits.file_bytes || extension.other_size.is_some_and(|other| other != claimed) {
            return Err(here(TarProblem::TooLarge { claimed: size, limit: limits.file_bytes }));
        }
        total = total.saturating_add(size);
        if total > limits.total_bytes {
            return Err(here(TarProblem::TotalTooLarge(limits.total_bytes)));
        }
        let mut body = Body { archive: &mut archive, left: claimed };
        if let Some(path) = path {
            if let Some(other) = seen.insert(path.to_lowercase(), path.clone())
                && !(kind == MemberKind::Directory && other == path)
            {
                return Err(here(TarProblem::Duplicate(other)));
            }
            // What lies behind the header of anything but a file is skipped, not shown.
            let map = if kind == MemberKind::File { map } else { SparseMap::dense(0) };
            let member = Member { path, kind, size: map.size };
            let mut content = Expanded { body: &mut body, map, at: 0 };
            visit(&member, &mut content).map_err(|error| here(TarProblem::Visitor(error)))?;
        }
        body.skip_rest(claimed).map_err(|error| here(TarProblem::Unreadable(error)))?;
    }
    io::copy(&mut archive, &mut io::sink())
        .map_err(|error| at(number, None, TarProblem::Unreadable(error)))?;
    Ok(())
}

/// The next header, or `None` at the end of the archive: a block of zeros, or the end of the input between members.
fn read_header(archive: &mut impl Read) -> Result<Option<Header>, TarProblem> {
    let mut header = Header::new_old();
    let block = header.as_mut_bytes();
    let mut filled = 0;
    while filled < block.len() {
        match archive.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(TarProblem::Unreadable(io::ErrorKind::UnexpectedEof.into())),
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(TarProblem::Unreadable(error)),
        }
    }
    if block.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    // The checksum is taken with its own field (bytes 148 to 155) read as blanks.
    let field = |at: usize, byte: u8| u32::from(if (148..156).contains(&at) { b' ' } else { byte });
    let sum: u32 = block.iter().enumerate().map(|(at, &byte)| field(at, byte)).sum();
    if header.cksum().ok() != Some(sum) {
        return Err(TarProblem::NoHeader);
    }
    Ok(Some(header))
}

/// The bytes of one member as they lie in the archive.
struct Body<'a, R> {
    archive: &'a mut R,
    left: u64,
}

impl<R: Read> Body<'_, R> {
    /// Reads past what nobody wanted, and past the padding to the next block.
    fn skip_rest(mut self, size: u64) -> io::Result<()> {
        self.left += size.wrapping_neg() % BLOCK;
        let wanted = self.left;
        let got = io::copy(&mut self.archive.take(wanted), &mut io::sink())?;
        if got < wanted { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.archive.read(&mut buffer[..length])?;
        if got == 0 && length > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= got as u64;
        Ok(got)
    }
}

/// Where the stored bytes of a sparse member belong. Template disk images are packed like that.
struct SparseMap {
    /// Stretches (offset, length) that are stored, ascending and apart.
    stored: Vec<(u64, u64)>,
    /// Size of the file in bytes.
    size: u64,
}

impl SparseMap {
    fn dense(size: u64) -> SparseMap {
        SparseMap { stored: vec![(0, size)], size }
    }

    /// Reads the map of GNU tar's first sparse format: four stretches in the header, the rest in blocks behind it.
    fn read(header: &Header, claimed: u64, archive: &mut impl Read) -> Result<SparseMap, TarProblem> {
        let gnu = header.as_gnu().ok_or(TarProblem::BadSparseMap)?;
        let bad = |_| TarProblem::BadSparseMap;
        let mut map = SparseMap { stored: Vec::new(), size: gnu.real_size().map_err(bad)? };
        map.add(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut block = tar::GnuExtSparseHeader::new();
            archive.read_exact(block.as_mut_bytes()).map_err(TarProblem::Unreadable)?;
            map.add(block.sparse())?;
            more = block.is_extended();
        }
        let stored: u64 = map.stored.iter().map(|(_, length)| length).sum();
        if stored == claimed { Ok(map) } else { Err(TarProblem::BadSparseMap) }
    }

    fn add(&mut self, stretches: &[tar::GnuSparseHeader]) -> Result<(), TarProblem> {
        for stretch in stretches.iter().filter(|stretch| !stretch.is_empty()) {
            let (Ok(offset), Ok(length)) = (stretch.offset(), stretch.length()) else {
                return Err(TarProblem::BadSparseMap);
            };
            let floor = self.stored.last().map_or(0, |(offset, length)| offset + length);
            let end = offset.checked_add(length).filter(|&end| end <= self.size);
            if offset < floor || end.is_none() || self.stored.len() >= SPARSE_STRETCHES {
                return Err(TarProblem::BadSparseMap);
            }
            self.stored.push((offset, length));
        }
        Ok(())
    }
}

/// A member's contents with its holes filled in.
struct Expanded<'a, 'b, R> {
    body: &'a mut Body<'b, R>,
    map: SparseMap,
    at: u64,
}

impl<R: Read> Read for Expanded<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.at;
        let next = self.map.stored.partition_point(|(offset, length)| offset + length <= at);
        let (start, end) = match self.map.stored.get(next) {
            Some(&(offset, length)) => (offset, offset + length),
            None => (self.map.size, self.map.size),
        };
        let until = if at < start { start } else { end };
        let length = usize::try_from(until - at).unwrap_or(usize::MAX).min(buffer.len());
        let got = if at < start {
            buffer[..length].fill(0);
            length
        } else {
            self.body.read(&mut buffer[..length])?
        };
        self.at += got as u64;
        Ok(got)
    }
}

fn is_extension(kind: EntryType) -> bool {
    kind.is_gnu_longname()
        || kind.is_gnu_longlink()
        || kind.is_pax_local_extensions()
        || kind.is_pax_global_extensions()
        || kind.as_byte() == b'X'
}

/// What extension records say about the member that follows them.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    other_size: Option<u64>,
}

impl Extensions {
    /// Reads one record of `size` bytes and its padding; the caller has bounded the size.
    fn take(&mut self, kind: EntryType, size: u64, archive: &mut impl Read) -> Result<(), TarProblem> {
        let mut data = vec![0; size.next_multiple_of(BLOCK) as usize];
        archive.read_exact(&mut data).map_err(TarProblem::Unreadable)?;
        data.truncate(size as usize);
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            while data.last() == Some(&0) {
                data.pop();
            }
            let field = if kind.is_gnu_longname() { &mut self.path } else { &mut self.link };
            *field = Some(data);
        } else if !kind.is_pax_global_extensions() {
            // Solaris' own extended headers ('X') have the form of pax records.
            for record in PaxExtensions::new(&data) {
                let record = record.map_err(TarProblem::Unreadable)?;
                match record.key_bytes() {
                    b"path" => self.path = Some(record.value_bytes().to_vec()),
                    b"linkpath" => self.link = Some(record.value_bytes().to_vec()),
                    b"size" => {
                        self.other_size = Some(
                            record
                                .value()
                                .ok()
                                .and_then(|value| value.parse().ok())
                                .ok_or(TarProblem::BadName)?,
                        );
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// A path without its harmless decorations, `None` for the archive's own root (`./`).
fn clean(name: &str) -> Result<Option<String>, TarProblem> {
    if name.len() > 4096 || name.chars().any(char::is_control) {
        return Err(TarProblem::BadName);
    }
    if name.starts_with('/') {
        return Err(TarProblem::Absolute);
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(TarProblem::ClimbsOut);
    }
    Ok(if parts.is_empty() { None } else { Some(parts.join("/")) })
}

fn stays_inside(path: &str, target: &str) -> Result<(), TarProblem> {
    let leads_out = || TarProblem::LinkLeadsOut(target.to_owned());
    if target.is_empty() || target.starts_with('/') {
        return Err(leads_out());
    }
    let mut depth = path.split('/').count() - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1).ok_or_else(leads_out)?,
            _ => depth += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    const LIMITS: Limits = Limits { file_bytes: 1 << 20, total_bytes: 1 << 21, members: 100 };

    fn header(kind: EntryType, path: &str, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        header
    }

    fn archive(members: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, path, content) in members {
            let link = matches!(kind, EntryType::Symlink | EntryType::Link);
            let mut header = header(*kind, path, if link { 0 } else { content.len() as u64 });
            if link {
                header.set_link_name_literal(content).unwrap();
                header.set_cksum();
            }
            builder.append(&header, if link { &b""[..] } else { content.as_bytes() }).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn walked(bytes: &[u8]) -> Result<Vec<(Member, String)>, TarError> {
        let mut members = Vec::new();
        walk(bytes, LIMITS, |member, content| {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            members.push((member.clone(), text));
            Ok(())
        })?;
        Ok(members)
    }

    #[test]
    fn members_come_with_clean_paths_and_contents() {
        let long = format!("./top/{}", "n".repeat(150));
        let mut builder = Builder::new(Vec::new());
        let mut file = Header::new_gnu();
        file.set_size(5);
        builder.append_data(&mut file, &long, &b"hello"[..]).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        bytes.extend(archive(&[
            (EntryType::Directory, "./", ""),
            (EntryType::Directory, "top/dir/", ""),
            (EntryType::Regular, "top/dir/file", "x"),
            (EntryType::Symlink, "top/dir/link", "../other"),
            (EntryType::Link, "top/again", "./top/dir/file"),
        ]));
        let members = walked(&bytes).unwrap();
        let shown: Vec<(&str, &MemberKind, &str)> =
            members.iter().map(|(m, text)| (m.path.as_str(), &m.kind, text.as_str())).collect();
        assert_eq!(
            shown,
            [
                (&long[2..], &MemberKind::File, "hello"),
                ("top/dir", &MemberKind::Directory, ""),
                ("top/dir/file", &MemberKind::File, "x"),
                ("top/dir/link", &MemberKind::Symlink("../other".into()), ""),
                ("top/again", &MemberKind::HardLink("top/dir/file".into()), ""),
            ]
        );
    }

    #[test]
    fn what_lies_behind_a_directory_is_skipped() {
        let bytes = archive(&[(EntryType::Directory, "dir/", "stray"), (EntryType::Regular, "file", "x")]);
        let members = walked(&bytes).unwrap();
        let shown: Vec<_> =
            members.iter().map(|(m, text)| (m.path.as_str(), m.size, text.as_str())).collect();
        assert_eq!(shown, [("dir", 0, ""), ("file", 1, "x")]);
    }

    #[test]
    fn hostile_members_are_refused_by_name() {
        let cases: &[(EntryType, &str, &str, &str)] = &[
            (EntryType::Regular, "/etc/passwd", "", "absolute"),
            (EntryType::Regular, "a/../../b", "", "climbs out"),
            (EntryType::Regular, "a\u{1}b", "", "not usable"),
            (EntryType::Symlink, "a", "/etc", "leads out of the archive, to /etc"),
            (EntryType::Symlink, "a/b", "../../c", "leads out"),
            (EntryType::Link, "a", "../b", "leads out"),
            (EntryType::Block, "disk", "", "type '4'"),
            (EntryType::Fifo, "pipe", "", "type '6'"),
        ];
        for (kind, path, content, expected) in cases {
            let error = walked(&archive(&[(*kind, path, content)]))
                .map(drop)
                .map_err(anyhow::Error::new)
                .map_err(|error| format!("{error:#}"))
                .unwrap_err();
            assert!(error.contains(expected), "{path}: {error}");
        }
        let twice = archive(&[(EntryType::Regular, "a/Unix", ""), (EntryType::Regular, "a/unix", "")]);
        let error = walked(&twice)
            .map(drop)
            .map_err(anyhow::Error::new)
            .map_err(|error| format!("{error:#}"))
            .unwrap_err();
        assert!(error.contains("already taken by a/Unix"), "{error}");
    }

    #[test]
    fn sizes_are_believed_only_within_the_limits() {
        for (kind, size) in [(EntryType::Regular, 1 << 60), (EntryType::GNULongName, 1 << 60)] {
            let bytes = header(kind, "big", size);
            let error = walked(bytes.as_bytes())
                .map(drop)
                .map_err(anyhow::Error::new)
                .map_err(|error| format!("{error:#}"))
                .unwrap_err();
            assert!(error.contains("claims 1152921504606846976 bytes"), "{error}");
        }
    }

    #[test]
    fn sparse_members_come_with_their_holes() {
        let mut header = header(EntryType::GNUSparse, "disk.img", 5);
        {
            let gnu = header.as_gnu_mut().unwrap();
            for (slot, (offset, length)) in [(3, 2), (10, 3), (16, 0)].into_iter().enumerate() {
                gnu.sparse[slot].set_offset(offset);
                gnu.sparse[slot].set_length(length);
            }
            gnu.set_real_size(16);
        }
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(b"abcde");
        bytes.resize(2048, 0);
        let (member, content) = walked(&bytes).unwrap().remove(0);
        assert_eq!(member.size, 16);
        assert_eq!(content, "\0\0\0ab\0\0\0\0\0cde\0\0\0");

        header.as_gnu_mut().unwrap().sparse[1].set_offset(4);
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        let error = walked(&bytes)
            .map(drop)
            .map_err(anyhow::Error::new)
            .map_err(|error| format!("{error:#}"))
            .unwrap_err();
        assert!(error.contains("map of a sparse file is damaged"), "{error}");
    }

    #[test]
    fn an_early_end_is_an_error() {
        let bytes = archive(&[(EntryType::Regular, "a", "some contents")]);
        let error = walked(&bytes[..520]).unwrap_err();
        assert!(error.to_string().starts_with("tar member 1"), "{error}");
    }
}
