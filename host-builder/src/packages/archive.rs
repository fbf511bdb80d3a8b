//! The file of a package: signed or not, its members, and what may not be among them.
//!
//! A package is a compressed tar archive whose first members are about itself (`+CONTENTS` first, then `+COMMENT` and others) and
//! whose others are files below its prefix. A signed one is an `ar` archive of three members: `+PKG_HASH`, the digests of the blocks
//! of that tar archive; `+PKG_GPG_SIGNATURE`, a signature of `+PKG_HASH`; and the tar archive (pkg_install, `lib/pkg_signature.c`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::Range;

use anyhow::{Context, Result, anyhow, bail, ensure};
use pkgsrc::archive::PkgHash;
use positioned_io::ReadAt;
use tar::EntryType;

use super::signature::{Keyring, Signer};
use super::spool::{Spool, Stored};
use super::{ar, compression};
use crate::report::Hint;
use crate::tarball::{Entries, Entry, Limits, Stream};

/// Bounds on a package: nodejs, the largest in base images, has a tenth of them.
pub(super) const LIMITS: Limits = Limits { file_bytes: 16 << 30, total_bytes: 32 << 30, members: 2_000_000 };
/// Largest file of a package that is about itself, in bytes: the packing lists of the largest packages have a tenth of it.
const ABOUT: u64 = 64 << 20;
/// Largest `+PKG_HASH` and `+PKG_GPG_SIGNATURE`, in bytes. 64 MiB of digests are those of 32 GiB.
const ENVELOPE: u64 = 64 << 20;

/// Whose packages are installed.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Keys whose packages are installed.
    pub keyring: Option<Keyring>,
    /// Whether packages without a signature are installed, too.
    pub allow_unsigned: bool,
}

/// The file of a package.
pub struct Package<'a> {
    file: &'a dyn ReadAt,
    /// Where the compressed tar archive is in it.
    archive: Range<u64>,
    envelope: Option<Envelope>,
}

/// What a signature is about.
struct Envelope {
    hash: PkgHash,
    text: Vec<u8>,
    signature: Vec<u8>,
}

/// The files of a package about itself by name: `+CONTENTS` and others.
pub type About = BTreeMap<String, Vec<u8>>;

/// What is in a package.
#[derive(Debug, Default)]
pub struct Contents {
    /// The files about the package itself.
    pub about: About,
    /// All others, in their order.
    pub members: Vec<Member>,
}

/// A member that is to be put somewhere.
#[derive(Debug)]
pub struct Member {
    /// Path below the prefix, clean.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// The lower 12 bits of its mode.
    pub permissions: u16,
    /// Owner, by number and by name.
    pub user: (u32, Vec<u8>),
    /// Group, likewise.
    pub group: (u32, Vec<u8>),
    /// Last modification, seconds since 1970.
    pub modified: i64,
}

/// What a member is.
#[derive(Debug)]
pub enum MemberKind {
    /// A file.
    File(FileContents),
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// Another name of a file with this path.
    Link(Vec<u8>),
    /// A folder.
    Folder,
}

/// Contents of a file, and their MD5 in lower-case hex.
#[derive(Debug)]
pub struct FileContents {
    pub(super) stored: Stored,
    pub(super) md5: String,
}

impl<'a> Package<'a> {
    /// Looks into a file of `length` bytes. Nothing about it has been checked then but its form.
    ///
    /// # Errors
    /// It is no package.
    pub fn open(file: &'a dyn ReadAt, length: u64) -> Result<Self> {
        let mut head = [0; ar::MAGIC.len()];
        if length < head.len() as u64 {
            bail!("a file of {length} bytes is no package");
        }
        file.read_exact_at(0, &mut head)?;
        if &head != ar::MAGIC {
            return Ok(Self { file, archive: 0..length, envelope: None });
        }
        let members = ar::members(file, length)?;
        let members: Vec<_> = members.iter().filter(|member| member.name != b"//").collect();
        let [hash, signature, archive] = members[..] else {
            bail!("a signed package has three parts, this one {}", members.len());
        };
        ensure!(hash.name == b"+PKG_HASH", "the first part of a signed package is +PKG_HASH");
        if signature.name == b"+PKG_SIGNATURE" {
            return Err(anyhow!("it is signed with an X.509 certificate"))
                .hint("only OpenPGP signatures (+PKG_GPG_SIGNATURE) are understood");
        }
        ensure!(
            signature.name == b"+PKG_GPG_SIGNATURE",
            "the second part of a signed package is +PKG_GPG_SIGNATURE"
        );
        let read = |member: &ar::Member| {
            let name = String::from_utf8_lossy(&member.name);
            ensure!(member.size <= ENVELOPE, "{name} has {} bytes", member.size);
            let mut bytes = vec![0; member.size as usize];
            file.read_exact_at(member.offset, &mut bytes).with_context(|| format!("cannot read {name}"))?;
            Ok(bytes)
        };
        let (text, signature) = (read(hash)?, read(signature)?);
        let hash: PkgHash =
            str::from_utf8(&text).context("+PKG_HASH is no text")?.parse().context("+PKG_HASH is damaged")?;
        ensure!(
            hash.file_size() == archive.size,
            "the signature is that of {} bytes, and the package has {}",
            hash.file_size(),
            archive.size
        );
        let archive = archive.offset..archive.offset + archive.size;
        Ok(Self { file, archive, envelope: Some(Envelope { hash, text, signature }) })
    }

    /// The name that the signature is for.
    pub fn signed_name(&self) -> Option<&str> {
        self.envelope.as_ref().map(|envelope| envelope.hash.pkgname())
    }

    /// Checks who signed it, and that it is what was signed.
    ///
    /// # Errors
    /// It is not signed and that is not allowed; the signer is not trusted; the signature is wrong; or the package was changed since.
    pub fn verify(&self, trust: &Trust) -> Result<Option<Signer>> {
        let Some(envelope) = &self.envelope else {
            if trust.allow_unsigned {
                return Ok(None);
            }
            return Err(anyhow!("it is not signed")).hint("install it all the same with --allow-unsigned");
        };
        let blocks = envelope.hash.verify(io::BufReader::with_capacity(1 << 16, self.archive_bytes()));
        blocks
            .context("it was changed after it was signed")
            .hint("download it again, and if it stays so, do not use it")?;
        match &trust.keyring {
            Some(keyring) => Ok(Some(keyring.verify(&envelope.text, &envelope.signature)?)),
            None if trust.allow_unsigned => Ok(None),
            None => Err(anyhow!("it is signed, but there is no keyring to check it with")).hint(
                "name the keys of those who sign the packages with --keyring FILE, or --allow-unsigned",
            ),
        }
    }

    /// The files about the package itself. Nothing behind them is read.
    ///
    /// # Errors
    /// It is damaged, or `+CONTENTS` is missing.
    pub fn about(&self) -> Result<About> {
        let mut entries = self.entries(LIMITS)?;
        Ok(read_about(&mut entries)?.0)
    }

    /// Reads all of it; the contents of files go to `spool`.
    ///
    /// # Errors
    /// It is damaged, larger than `limits`, or has a member that does not belong into a package.
    pub(super) fn read(&self, limits: Limits, spool: &mut Spool) -> Result<Contents> {
        let mut entries = self.entries(limits)?;
        let (about, mut next) = read_about(&mut entries)?;
        let mut contents = Contents { about, members: Vec::new() };
        let mut seen = BTreeSet::new();
        while let Some(entry) = next {
            let shown = || format!("{} in the package", String::from_utf8_lossy(&entry.name).escape_debug());
            let member = judge(&entry, |map| {
                let (stored, md5) = spool.keep(&mut entries.contents(map))?;
                Ok(FileContents { stored, md5 })
            });
            let member = member.with_context(shown)?;
            if let MemberKind::Link(target) = &member.kind {
                ensure!(seen.contains(target), "{}: a link to what is not there before it", shown());
            }
            ensure!(seen.insert(member.path.clone()), "{}: it is there twice", shown());
            contents.members.push(member);
            next = entries.advance()?;
        }
        entries.finish()?;
        Ok(contents)
    }

    fn archive_bytes(&self) -> Section<'a> {
        Section { file: self.file, left: self.archive.clone() }
    }

    fn entries(&self, limits: Limits) -> Result<Entries<Stream<Box<dyn Read + 'a>>>> {
        let decoder = compression::decoder(self.archive_bytes()).context("cannot decompress it")?;
        Ok(Entries::new(Stream(decoder), limits))
    }
}

/// Reads any bytes as a package, with what it says about itself, and gives its members. For fuzzing.
///
/// # Errors
/// They are none, or larger than `limits`.
pub fn probe(bytes: &Vec<u8>, limits: Limits) -> Result<Vec<Member>> {
    let package = Package::open(bytes, bytes.len() as u64)?;
    let trusting = Trust { keyring: None, allow_unsigned: true };
    // What is wrong with a signature does not keep the rest from being looked at.
    let _ = package.verify(&trusting);
    let contents = package.read(limits, &mut Spool::new(tempfile::tempfile()?))?;
    if let Some(list) = contents.about.get("+CONTENTS") {
        super::packing_list::PackingList::parse(list)?;
    }
    if let Some(script) = contents.about.get("+INSTALL") {
        super::script::Script::read(script)?;
    }
    Ok(contents.members)
}

/// The files about the package, and the first member behind them.
fn read_about<R: Read>(entries: &mut Entries<Stream<R>>) -> Result<(About, Option<Entry>)> {
    let mut about = About::new();
    let mut total = 0;
    while let Some(entry) = entries.advance()? {
        let name = str::from_utf8(&entry.name).unwrap_or_default();
        if pkgsrc::metadata::Entry::from_filename(name).is_none() {
            ensure!(!about.is_empty(), "a package begins with +CONTENTS, not with {}", name.escape_debug());
            return Ok((about, Some(entry)));
        }
        ensure!(!about.is_empty() || name == "+CONTENTS", "a package begins with +CONTENTS, not with {name}");
        ensure!(entry.kind() == EntryType::Regular, "{name} is no file");
        total += entry.map.size();
        ensure!(total <= ABOUT, "{name} makes the files about the package larger than {ABOUT} bytes");
        let mut bytes = Vec::new();
        entries.contents(entry.map.clone()).read_to_end(&mut bytes)?;
        ensure!(about.insert(name.to_owned(), bytes).is_none(), "{name} is there twice");
    }
    ensure!(!about.is_empty(), "the package is empty");
    Ok((about, None))
}

/// What may be in a package: files, links and folders below the prefix.
fn judge(
    entry: &Entry,
    keep: impl FnOnce(crate::tarball::SparseMap) -> Result<FileContents>,
) -> Result<Member> {
    let path = clean(&entry.name)?;
    let kind = match entry.kind() {
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse if !entry.name.ends_with(b"/") => {
            MemberKind::File(keep(entry.map.clone())?)
        }
        EntryType::Directory => MemberKind::Folder,
        EntryType::Symlink => MemberKind::Symlink(entry.target()?),
        EntryType::Link => MemberKind::Link(clean(&entry.target()?).context("the target of the link")?),
        other => {
            let letter = char::from(other.as_byte());
            bail!("a member of type '{}' does not belong into a package", letter.escape_default())
        }
    };
    let header = &entry.header;
    let number = |text: io::Result<u64>| u32::try_from(text.unwrap_or(0)).unwrap_or(0);
    Ok(Member {
        path,
        kind,
        permissions: (header.mode().context("its mode")? & 0o7777) as u16,
        user: (
            entry.extensions.uid.unwrap_or_else(|| number(header.uid())),
            header.username_bytes().unwrap_or_default().to_vec(),
        ),
        group: (
            entry.extensions.gid.unwrap_or_else(|| number(header.gid())),
            header.groupname_bytes().unwrap_or_default().to_vec(),
        ),
        modified: entry.extensions.mtime.unwrap_or_else(|| header.mtime().unwrap_or(0).cast_signed()),
    })
}

/// A path below the prefix, without a slash at its end.
fn clean(name: &[u8]) -> Result<Vec<u8>> {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    ensure!(!name.starts_with(b"/"), "the path is absolute");
    for part in name.split(|&byte| byte == b'/') {
        ensure!(part != b"..", "the path climbs out of the prefix");
        let fit = !matches!(part, b"" | b".") && part.len() <= 255 && !part.contains(&0);
        ensure!(fit, "the path is not usable");
    }
    Ok(name.to_vec())
}

/// A part of a file, read in order.
struct Section<'a> {
    file: &'a dyn ReadAt,
    left: Range<u64>,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left.end - self.left.start).unwrap_or(usize::MAX).min(buffer.len());
        let got = self.file.read_at(self.left.start, &mut buffer[..length])?;
        self.left.start += got as u64;
        Ok(got)
    }
}
