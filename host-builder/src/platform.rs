//! Platform tarballs: finding them, proving them, and taking them apart.
//!
//! The layout has been the same since 2011: one top directory `platform-…STAMP` with `i86pc/kernel/amd64/unix`,
//! `i86pc/amd64/boot_archive` and small files beside them (source: smartos-live, tools/build_live).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use sha1::{Digest, Sha1};

use crate::digest::hex;
use crate::prefetch::Prefetch;
use crate::report::{Hint, Progress};
use crate::stamp::Stamp;
use crate::tarball::{self, Limits, Member, MemberKind};

/// Path of the boot archive inside the platform directory.
pub const BOOT_ARCHIVE: &str = "i86pc/amd64/boot_archive";
/// Path of the boot archive's SHA-1 inside the platform directory.
pub const BOOT_ARCHIVE_HASH: &str = "i86pc/amd64/boot_archive.hash";
/// Path of the kernel inside the platform directory.
pub const UNIX: &str = "i86pc/kernel/amd64/unix";

/// Largest hash file that is read, in bytes; real ones have 41.
pub const MAX_HASH: u64 = 4096;

/// Bounds for platforms. Real ones unpack to 0.4 GB; a FAT file ends below 4 GiB.
const LIMITS: Limits = Limits { file_bytes: u32::MAX as u64, total_bytes: 16 << 30, members: 100_000 };

/// A platform, taken apart.
#[derive(Debug)]
pub struct Platform {
    /// Name of the top directory as it was in the tarball.
    pub directory: String,
    /// Every file but the boot archive, by path inside the top directory.
    pub files: BTreeMap<String, PlatformFile>,
    /// Contents of all those files, one after the other, each where its [`PlatformFile`] says.
    pub spool: File,
    /// The boot archive, a UFS image.
    pub boot_archive: File,
    /// Size of the boot archive in bytes.
    pub boot_archive_size: u64,
    /// SHA-1 of the boot archive as it came, lower-case hex.
    pub boot_archive_sha1: String,
}

/// A file of a platform other than its boot archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformFile {
    /// Where its contents start in the spool, in bytes.
    pub offset: u64,
    /// How many bytes it has.
    pub size: u64,
    /// SHA-1 of its contents.
    pub sha1: [u8; 20],
}

/// Finds the tarball of a platform in a folder: `platform-STAMP.tgz`, or any `platform-…STAMP.tgz` as the published
/// archives are called, compared without case.
///
/// # Errors
/// There is none, or more than one.
pub fn find(folder: &Path, stamp: &Stamp) -> Result<PathBuf> {
    let exact = folder.join(format!("platform-{stamp}.tgz"));
    if exact.is_file() {
        return Ok(exact);
    }
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error)
                .with_context(|| format!("cannot look for the platform {stamp} in {}", folder.display()))
                .hint("name the platform tarball with --platform FILE");
        }
        listed => listed,
    };
    let mut found: Vec<PathBuf> = listed
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            let suffix = format!("{}.tgz", stamp.as_str().to_ascii_lowercase());
            name.starts_with("platform-") && name.ends_with(&suffix) && path.is_file()
        })
        .collect();
    found.sort();
    match found.as_slice() {
        [] => Err(anyhow!(
            "there is no platform {stamp}: looked for {} and {}",
            exact.display(),
            folder.join(format!("platform-*{stamp}.tgz")).display()
        ))
        .hint("download the platform tarball into that folder, or name it with --platform FILE"),
        [one] => Ok(one.clone()),
        several => {
            let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            Err(anyhow!("several files could be the platform {stamp}: {}", names.join(", ")))
                .hint("say which with --platform FILE")
        }
    }
}

/// Takes the platform tarball `path` apart and proves that it is the platform `stamp`.
///
/// `boot_archive` and `spool` are empty scratch files. `keep` tells which files (by path inside the top directory) are
/// wanted; the others are read past.
///
/// # Errors
/// The file is missing, damaged or hostile; it is another platform; it has no kernel or boot archive; or its boot
/// archive does not match the hash beside it.
pub fn read(
    path: &Path,
    stamp: Option<&Stamp>,
    boot_archive: File,
    spool: File,
    keep: impl Fn(&str) -> bool,
    progress: &Progress<'_>,
) -> Result<Platform> {
    let cannot = || format!("cannot use the platform {}", path.display());
    let file = open(path).with_context(cannot)?;
    let mut unpacking = Unpacking {
        stamp,
        keep,
        top: None,
        files: BTreeMap::new(),
        symlinks: Vec::new(),
        spool,
        spooled: 0,
        boot_archive,
        archive: None,
        buffer: vec![0; 256 * 1024],
    };
    let walked = Prefetch::over(kiln_pgzip::Reader::new(progress.reader(file)), |tar| {
        tarball::walk(tar, LIMITS, |member, content| unpacking.member(member, content))
    });
    let walked = walked.map_err(anyhow::Error::from);
    let remedy = match &walked {
        Err(error) if is_not_gzip(error) => {
            "download the platform again, or compress it with gzip if it is an archive of another kind"
        }
        _ => "download the platform again, and compare its published checksum",
    };
    walked.with_context(cannot).hint(remedy)?;
    unpacking.finish().with_context(cannot)
}

/// Whether an error is that of a file which does not even begin like a gzip.
fn is_not_gzip(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    let mut damages = causes.filter_map(kiln_pgzip::Error::of);
    damages.any(|damage| damage.kind() == kiln_pgzip::ErrorKind::NotGzip)
}

/// The SHA-1 that a boot archive's hash file states, without what may follow it. The kernel compares the first 40 digits
/// without regard to case.
pub fn stated_sha1(hash_file: &str) -> &str {
    hash_file.split_whitespace().next().unwrap_or_default()
}

/// Opens the tarball of a platform.
///
/// # Errors
/// There is none, it is no file, or it may not be read; the error does not name it.
pub fn open(path: &Path) -> Result<File> {
    let file = File::open(path)
        .hint("give the path of a platform tarball that you may read with --platform FILE")?;
    if file.metadata()?.is_dir() {
        return Err(anyhow!("it is a folder")).hint("name the tarball itself with --platform FILE");
    }
    Ok(file)
}

/// What to do about a tarball that was not packed as platforms are.
const PACKED_OTHERWISE: &str = "a platform tarball holds one folder platform-STAMP with everything in it: pack it so, \
     or name another with --platform FILE";

struct Unpacking<'a, K> {
    stamp: Option<&'a Stamp>,
    keep: K,
    top: Option<String>,
    files: BTreeMap<String, PlatformFile>,
    symlinks: Vec<(String, String)>,
    spool: File,
    spooled: u64,
    boot_archive: File,
    archive: Option<(u64, [u8; 20])>,
    buffer: Vec<u8>,
}

impl<K: Fn(&str) -> bool> Unpacking<'_, K> {
    fn member(&mut self, member: &Member, content: &mut dyn Read) -> Result<()> {
        let (top, inner) = match member.path.split_once('/') {
            Some((top, inner)) => (top, inner),
            None if member.kind == MemberKind::Directory => (member.path.as_str(), ""),
            None => {
                return Err(anyhow!("a platform has one top directory and nothing beside it"))
                    .hint(PACKED_OTHERWISE);
            }
        };
        self.enter(top)?;
        match &member.kind {
            MemberKind::Directory => Ok(()),
            MemberKind::File => self.file(inner, member.size, content),
            MemberKind::HardLink(target) => {
                let target = target.strip_prefix(top).and_then(|rest| rest.strip_prefix('/'));
                let known = target.and_then(|target| self.files.get(target)).cloned();
                let file = known
                    .context("a hard link to a file that the tarball has not shown before")
                    .hint("a platform has no such link: download it again, or pack it without")?;
                self.files.insert(inner.to_owned(), file);
                Ok(())
            }
            MemberKind::Symlink(target) => {
                self.symlinks.push((inner.to_owned(), target.clone()));
                Ok(())
            }
        }
    }

    fn enter(&mut self, top: &str) -> Result<()> {
        match &self.top {
            Some(known) if known == top => return Ok(()),
            Some(known) => {
                return Err(anyhow!("two top directories, {known} and {top}: a platform tarball has one"))
                    .hint(PACKED_OTHERWISE);
            }
            None => {}
        }
        if !top.to_ascii_lowercase().starts_with("platform-") {
            return Err(anyhow!("the top directory is {top}, not platform-STAMP")).hint(PACKED_OTHERWISE);
        }
        let found = Stamp::find_in(top);
        if let (Some(wanted), found) = (self.stamp, found)
            && found.as_ref() != Some(wanted)
        {
            let hint = match found {
                Some(found) => format!("for that platform give its own stamp: kiln retro {found}"),
                None => "the folder's name must end in the stamp that the platform was built with".to_owned(),
            };
            return Err(anyhow!("the top directory is {top}: this is not the platform {wanted}")).hint(hint);
        }
        self.top = Some(top.to_owned());
        Ok(())
    }

    fn file(&mut self, inner: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        if inner.eq_ignore_ascii_case(BOOT_ARCHIVE) {
            tracing::info!(path = inner, size, "unpacking the boot archive");
            let sha1 = copy(content, &mut self.boot_archive, &mut self.buffer)?;
            self.archive = Some((size, sha1));
        } else if (self.keep)(inner) {
            let sha1 = copy(content, &mut self.spool, &mut self.buffer)?;
            tracing::info!(path = inner, size, sha1 = hex(&sha1), "unpacked");
            self.files.insert(inner.to_owned(), PlatformFile { offset: self.spooled, size, sha1 });
            self.spooled += size;
        } else {
            tracing::info!(path = inner, size, "left out");
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Platform> {
        let directory = self
            .top
            .take()
            .context("it has no platform directory: the tarball is empty")
            .hint(PACKED_OTHERWISE)?;
        self.resolve_symlinks()?;
        let missing = |what: &str| {
            Err(anyhow!("{directory} has no {what}"))
                .hint("this needs a platform tarball of i86pc, 2011 or later")
        };
        if !self.files.contains_key(UNIX) {
            return missing(UNIX);
        }
        let Some((boot_archive_size, sha1)) = self.archive else { return missing(BOOT_ARCHIVE) };
        let platform = Platform {
            directory,
            files: self.files,
            spool: self.spool,
            boot_archive: self.boot_archive,
            boot_archive_size,
            boot_archive_sha1: hex(&sha1),
        };
        platform.check_hash()?;
        platform.check_version(self.stamp)?;
        Ok(platform)
    }

    /// FAT has no symbolic links, so a link becomes a second name of its file.
    fn resolve_symlinks(&mut self) -> Result<()> {
        let mut pending = std::mem::take(&mut self.symlinks);
        while !pending.is_empty() {
            let before = pending.len();
            let mut left = Vec::new();
            for (path, target) in pending {
                match self.files.get(&join(&path, &target)).cloned() {
                    Some(file) => drop(self.files.insert(path, file)),
                    None => left.push((path, target)),
                }
            }
            if left.len() == before {
                let (path, target) = &left[0];
                return Err(anyhow!("{path} is a link to {target}, which is no file of the platform")).hint(
                    "the tarball is not whole: download the platform again, or pack it with that file",
                );
            }
            pending = left;
        }
        Ok(())
    }
}

impl Platform {
    /// Reads a small file of the platform.
    ///
    /// # Errors
    /// The file is larger than `limit` bytes or the spool cannot be read.
    pub fn small_file(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.files.get(path) else { return Ok(None) };
        if file.size > limit {
            return Err(anyhow!("{path} has {} bytes, and at most {limit} make sense", file.size))
                .hint("the tarball was damaged or changed: download the platform again");
        }
        let mut content = vec![0; file.size as usize];
        self.spool.read_exact_at(&mut content, file.offset).context("cannot read a temporary file")?;
        Ok(Some(content))
    }

    fn check_hash(&self) -> Result<()> {
        let Some(hash) = self.small_file(BOOT_ARCHIVE_HASH, MAX_HASH)? else { return Ok(()) };
        let hash = String::from_utf8_lossy(&hash);
        let expected = stated_sha1(&hash);
        if !expected.eq_ignore_ascii_case(&self.boot_archive_sha1) {
            return Err(anyhow!(
                "{BOOT_ARCHIVE} has the SHA-1 {}, but {BOOT_ARCHIVE_HASH} says '{}'",
                self.boot_archive_sha1,
                expected.escape_debug()
            ))
            .hint("the tarball was damaged or changed: download it again");
        }
        Ok(())
    }

    fn check_version(&self, stamp: Option<&Stamp>) -> Result<()> {
        const VERSION: &str = "etc/version/platform";
        let (Some(stamp), Some(version)) = (stamp, self.small_file(VERSION, 4096)?) else { return Ok(()) };
        let version = String::from_utf8_lossy(&version);
        if Stamp::find_in(version.trim()).as_ref() != Some(stamp) {
            let version = version.trim().escape_debug();
            return Err(anyhow!("{VERSION} says '{version}': this is not the platform {stamp}"))
                .hint("the tarball was renamed or changed: give the stamp that its platform was built with");
        }
        Ok(())
    }
}

/// Copies until the end and returns the SHA-1 of what passed.
fn copy(from: &mut dyn Read, to: &mut File, buffer: &mut [u8]) -> Result<[u8; 20]> {
    let mut sha1 = Sha1::new();
    loop {
        let got = from.read(buffer)?;
        if got == 0 {
            return Ok(sha1.finalize().into());
        }
        sha1.update(&buffer[..got]);
        to.write_all(&buffer[..got]).context("cannot write a temporary file").hint(
            "the output's file system needs room for the unpacked platform: choose another with --output",
        )?;
    }
}

/// The path that a relative link at `path` leads to. The tar walk has proved that it does not climb out.
fn join(path: &str, target: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}
