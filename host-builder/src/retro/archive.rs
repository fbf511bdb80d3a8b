//! What is done to the boot archive: root's password goes, the overlays come, and the new SHA-1 is taken.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result, anyhow};
use kiln_ufs::{
    Attributes, Demand, EditOptions, Editor, ErrorKind, FileSystem, FileType, Metadata, Timestamp,
};

use super::accounts;
use super::settings::Settings;
use crate::digest;
use crate::overlay::{Entry, Kind, Tree};
use crate::prefetch::Prefetch;
use crate::report::{Change, Hint, Report, changed, unchanged, with_hint};

/// Largest table of `/etc` that is believed, in bytes.
const TABLE_LIMIT: u64 = 1 << 20;

/// What to do about an archive that cannot be what its builder wrote.
const DAMAGED: &str = "the boot archive is damaged: download the platform again";

/// The edited boot archive.
#[derive(Debug)]
pub struct Archive {
    /// Its bytes.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-1, lower-case hex.
    pub sha1: String,
    /// Whether the platform has the driver of bhyve.
    pub has_vmm: bool,
}

/// Makes the boot archive of a platform into that of a retro image.
///
/// # Errors
/// The archive is no clean UFS, or lacks what every platform has; or an overlay clashes with it.
pub fn edit(settings: &Settings, file: File, size: u64, tree: &Tree, report: &Report) -> Result<Archive> {
    let cannot = || format!("cannot edit {}", crate::platform::BOOT_ARCHIVE);
    let time = settings.stamp.unix_seconds();
    let ufs = FileSystem::open(file, size).map_err(explain).with_context(cannot)?;
    let has_vmm = match ufs.read(b"/etc/name_to_major", TABLE_LIMIT) {
        Ok(table) => accounts::has_driver(&table, "vmm"),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(cannot).hint(DAMAGED),
    };
    let options =
        EditOptions { time: Timestamp::from_seconds(time), generation_seed: time.unsigned_abs().into() };
    let mut editor = ufs.edit(options);

    report.step("lock-root-password", || {
        let cannot = |what: &str| format!("cannot {what} /etc/shadow in {}", crate::platform::BOOT_ARCHIVE);
        let shadow = editor
            .read(b"/etc/shadow", TABLE_LIMIT)
            .with_context(|| cannot("read"))
            .hint("every platform has that file: download this one again")?;
        match accounts::lock_root_password(&shadow).with_context(|| cannot("edit"))? {
            Some(edited) => {
                editor
                    .replace_file(b"/etc/shadow", &edited[..])
                    .with_context(|| cannot("edit"))
                    .hint(DAMAGED)?;
                Ok(changed((), "/etc/shadow: nobody logs in as root by password"))
            }
            None => Ok(unchanged((), "/etc/shadow: nobody logged in as root by password")),
        }
    })?;

    report.step("grow-boot-archive", || match room(&editor, tree)? {
        Some(bytes) => {
            editor.grow(bytes).context("cannot make room in the boot archive for the overlays").hint(
                "lay less over it: --custom takes what need not be there before the pool is imported",
            )?;
            Ok(changed((), format!("from {} KiB to {} KiB", size >> 10, bytes >> 10)))
        }
        None => Ok(unchanged(
            (),
            format!("{} KiB have room for the overlays", editor.statistics().size_bytes >> 10),
        )),
    })?;
    report.step("lay-overlays", || {
        let (mut laid, mut kept) = (0, 0);
        for (path, entry) in tree.entries() {
            let change = lay(&mut editor, path, entry)
                .with_context(|| {
                    format!("cannot lay {} over the boot archive (from {})", show(path), entry.origin)
                })
                .hint(DAMAGED)?;
            tracing::info!(path = show(path), from = %entry.origin, ?change, "laid over the boot archive");
            match change {
                Change::Changed => laid += 1,
                Change::Unchanged => kept += 1,
            }
        }
        let detail = format!("{laid} files, links and folders changed, {kept} as they were");
        Ok(if laid > 0 { changed((), detail) } else { unchanged((), detail) })
    })?;

    let file = editor.finish(time).with_context(cannot).hint(DAMAGED)?.into_device();
    report.step("hash-boot-archive", || {
        let size = file.metadata().with_context(cannot)?.len();
        (&file).seek(SeekFrom::Start(0)).with_context(cannot)?;
        let sha1 = Prefetch::over(&file, digest::sha1_of).with_context(cannot)?;
        let detail = format!("SHA-1 {sha1}");
        Ok(changed(Archive { file, size, sha1, has_vmm }, detail))
    })
}

/// Adds what a user can do about an archive that is not fit for editing.
fn explain(error: kiln_ufs::Error) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::NotUfs => "a platform's boot archive is a UFS; was it compressed or replaced?",
        ErrorKind::BigEndian => "this is a platform for SPARC: kiln edits those of x86",
        ErrorKind::Dirty | ErrorKind::Logging | ErrorKind::StaleSummary => {
            "the archive was copied while it was mounted: rebuild the platform, or check it with fsck on illumos"
        }
        _ => DAMAGED,
    };
    with_hint(error, hint)
}

/// The size in bytes that the archive must grow to, `None` when the overlays fit.
fn room<D: positioned_io::ReadAt>(ufs: &FileSystem<D>, tree: &Tree) -> Result<Option<u64>> {
    let mut demand = Demand::new(ufs.geometry());
    for (path, entry) in tree.entries() {
        let name = path.rsplit(|&byte| byte == b'/').next().map_or(0, <[u8]>::len);
        match &entry.kind {
            Kind::Directory { .. } => demand.directory(),
            Kind::File(contents) => demand.file(contents.length()),
            Kind::Symlink(target) => demand.symlink(target.len()),
        }
        demand.name(name);
    }
    if ufs.fits(&demand) {
        return Ok(None);
    }
    let bytes = ufs
        .length_for(&demand)
        .ok_or_else(|| anyhow!("the overlays would make the boot archive larger than 2 GiB"))
        .hint("put large files into /opt/custom with --custom instead")?;
    Ok(Some(bytes))
}

fn lay<D>(ufs: &mut Editor<D>, path: &[u8], entry: &Entry) -> Result<Change>
where
    D: positioned_io::ReadAt + positioned_io::WriteAt,
{
    let path = [b"/", path].concat();
    let given = &entry.attributes;
    let attributes = Attributes { mode: given.mode, uid: given.uid, gid: given.gid };
    match &entry.kind {
        Kind::Directory { implied } => match existing(ufs.metadata(&path))? {
            // A folder that only stands in the way to something says nothing about the platform's own.
            Some(there) if there.kind == FileType::Directory && *implied => Ok(Change::Unchanged),
            Some(there) if there.kind == FileType::Directory => {
                set_attributes(ufs, &path, &there, &attributes)
            }
            Some(_) => Err(anyhow!("the overlay has a folder where the platform has a file"))
                .hint("rename the folder, or leave it out: an overlay replaces files by files"),
            None => {
                ufs.create_dir(&path, &attributes)?;
                Ok(Change::Changed)
            }
        },
        Kind::File(contents) => {
            match existing(ufs.metadata(&path))? {
                Some(there) if there.kind == FileType::Directory => {
                    return Err(anyhow!("the overlay has a file where the platform has a folder"))
                        .hint("rename the file, or put what it holds into a folder of that name");
                }
                Some(there)
                    if there.kind == FileType::Regular
                        && there.size == contents.length()
                        && same(contents.open()?, ufs.file(&path)?)? =>
                {
                    return set_attributes(ufs, &path, &there, &attributes);
                }
                _ => {}
            }
            ufs.put_file(&path, &attributes, contents.open()?)?;
            Ok(Change::Changed)
        }
        Kind::Symlink(target) => {
            match existing(ufs.symlink_metadata(&path))? {
                Some(there) if there.kind == FileType::Directory => {
                    return Err(anyhow!("the overlay has a link where the platform has a folder")).hint(
                        "rename the link, or make it a folder: what is in it is laid over the platform's",
                    );
                }
                Some(there) if there.kind == FileType::Symlink && ufs.read_link(&path)? == *target => {
                    return Ok(Change::Unchanged);
                }
                Some(_) => ufs.remove_file(&path)?,
                None => {}
            }
            ufs.symlink(&path, target, &attributes)?;
            Ok(Change::Changed)
        }
    }
}

fn existing(metadata: kiln_ufs::Result<Metadata>) -> Result<Option<Metadata>> {
    match metadata {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn set_attributes<D>(
    ufs: &mut Editor<D>,
    path: &[u8],
    there: &Metadata,
    wanted: &Attributes,
) -> Result<Change>
where
    D: positioned_io::ReadAt + positioned_io::WriteAt,
{
    if (there.mode, there.uid, there.gid) == (wanted.mode, wanted.uid, wanted.gid) {
        return Ok(Change::Unchanged);
    }
    ufs.set_mode(path, wanted.mode)?;
    ufs.set_owner(path, wanted.uid, wanted.gid)?;
    Ok(Change::Changed)
}

/// Whether two readers give the same bytes.
fn same(mut one: impl Read, mut other: impl Read) -> Result<bool> {
    let (mut left, mut right) = ([0; 8192], [0; 8192]);
    loop {
        let got = one.read(&mut left)?;
        if got == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
        if other.read_exact(&mut right[..got]).is_err() || left[..got] != right[..got] {
            return Ok(false);
        }
    }
}

fn show(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path).escape_debug())
}
