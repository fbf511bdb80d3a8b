//! `kiln demo`: things to try kiln with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use flate2::write::GzEncoder;
use kiln_ufs::{Attributes, EditOptions, Editor, ErrorKind, MakeOptions, Timestamp};
use positioned_io::{ReadAt, WriteAt};

use crate::cli::Ending;
use crate::contents::source::Source;
use crate::digest;
use crate::platform::{BOOT_ARCHIVE, BOOT_ARCHIVE_HASH, UNIX};
use crate::report::{Hint, Report, changed};
use crate::staging::{OutputFolder, StagedFile};
use crate::stamp::Stamp;
use crate::stand_in::{FILES, FOLDERS, KERNEL, OWNED, REPOSITORIES, repository, usr};

/// Inode density of platform builds since February 2013, in bytes an inode (source: smartos-live tools/build_live).
const BYTES_PER_INODE: u32 = 12_248;

/// Makes things to try kiln with.
#[derive(Args, Clone, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    Platform(Platform),
}

/// Makes a stand-in platform: a tarball of the true layout whose kernel prints what it was given and stops.
///
/// It is no SmartOS. It shows that an image boots, with which command line, properties and modules, and that the boot
/// archive in it is whole.
#[derive(Args, Clone, Debug)]
struct Platform {
    /// The tarball to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Stamp of the platform
    #[arg(long, default_value = "20260101T000000Z")]
    stamp: Stamp,
    /// Size of the boot archive in KiB; real ones have 258000 to 350000
    #[arg(long, value_name = "KIB", default_value_t = 32_768, value_parser = clap::value_parser!(u32).range(4096..=2_097_152))]
    size: u32,
    /// Fill the boot archive with the files of this folder, as many as fit; repeatable
    #[arg(long, value_name = "DIR")]
    fill: Vec<PathBuf>,
    /// Replace the tarball if it exists
    #[arg(long)]
    force: bool,
}

/// Runs the command.
///
/// # Errors
/// The tarball cannot be written.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let What::Platform(platform) = &arguments.what;
    let name = platform.output.file_name();
    let name = name
        .with_context(|| format!("{} is no name for a file", platform.output.display()))
        .misuse("name the tarball to write with --output FILE")?;
    let folder = OutputFolder::open(platform.output.parent().unwrap_or(Path::new(".")))
        .hint("choose a file in a folder that you may write to with --output")?;
    let mut tarball = folder.stage(name, platform.force)?;
    let archive = report.step("make-boot-archive", || {
        let archive = boot_archive(platform, &folder)
            .with_context(|| format!("cannot make the boot archive of {}", platform.output.display()))
            .hint("the file system may be full: choose another place with --output")?;
        Ok(changed(archive, format!("{} KiB", platform.size)))
    })?;
    report.step("write-platform", || {
        write_tarball(&platform.stamp, &archive, &mut tarball)
            .with_context(|| format!("cannot write {}", platform.output.display()))
            .hint("the file system may be full: choose another place with --output")?;
        Ok(changed((), platform.output.display().to_string()))
    })?;
    folder.publish(vec![tarball], platform.force).hint(format!(
        "look whether {} is still a folder that you may write to, or choose another with --output",
        folder.path().display()
    ))?;
    Ok(Ending::Done)
}

fn boot_archive(platform: &Platform, folder: &OutputFolder) -> Result<Source> {
    let bytes = u64::from(platform.size) << 10;
    let file = folder.scratch()?;
    file.set_len(bytes).context("cannot make a temporary file")?;
    let time = platform.stamp.unix_seconds();
    let seed = u64::from(time.unsigned_abs());
    let options = MakeOptions { bytes, bytes_per_inode: BYTES_PER_INODE, time, generation_seed: seed };
    let ufs = kiln_ufs::make(file, &options)?;
    let mut ufs = ufs.edit(EditOptions { time: Timestamp::from_seconds(time), generation_seed: seed });

    let folder_attributes = Attributes { mode: 0o755, uid: 0, gid: 0 };
    for path in FOLDERS {
        ufs.create_dir_all(path.as_bytes(), &folder_attributes)?;
    }
    for (path, mode, text) in FILES {
        put(&mut ufs, path, &Attributes { mode, uid: 0, gid: 0 }, text.as_bytes())?;
    }
    for (path, mode, uid, gid, text) in OWNED {
        put(&mut ufs, path, &Attributes { mode, uid, gid }, text.as_bytes())?;
    }
    for path in REPOSITORIES {
        put(&mut ufs, path, &Attributes { mode: 0o600, uid: 0, gid: 3 }, &repository(path))?;
    }
    put(&mut ufs, "/usr.lgz", &folder_attributes, &usr(time)?)?;
    ufs.symlink(b"/bin", b"./usr/bin", &Attributes { mode: 0o777, uid: 0, gid: 0 })?;
    for (number, path) in platform.fill.iter().enumerate() {
        if !fill(&mut ufs, path, &format!("/filling/{number}"))? {
            break;
        }
    }
    Ok(Source::file(ufs.finish(time)?.into_device())?)
}

/// Makes a file, and the folders above it.
fn put<D: ReadAt + WriteAt>(
    ufs: &mut Editor<D>,
    path: &str,
    attributes: &Attributes,
    contents: &[u8],
) -> kiln_ufs::Result<()> {
    if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        ufs.create_dir_all(parent.as_bytes(), &Attributes { mode: 0o755, uid: 0, gid: 0 })?;
    }
    ufs.create_file(path.as_bytes(), attributes, contents)
}

/// Copies the regular files of a folder of the machine, sorted, until the archive is full; says whether there is room
/// left.
fn fill<D: ReadAt + WriteAt>(ufs: &mut Editor<D>, folder: &Path, at: &str) -> Result<bool> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut entries: Vec<fs::DirEntry> = fs::read_dir(folder)
        .and_then(Iterator::collect)
        .with_context(cannot)
        .hint("name a folder that you may read with --fill")?;
    entries.sort_by_key(fs::DirEntry::file_name);
    ufs.create_dir_all(at.as_bytes(), &Attributes { mode: 0o755, uid: 0, gid: 0 })?;
    for entry in entries {
        let kind = entry.file_type().with_context(cannot)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{at}/{name}");
        if kind.is_dir() {
            if !fill(ufs, &entry.path(), &path)? {
                return Ok(false);
            }
        } else if kind.is_file() {
            let Ok(content) = fs::File::open(entry.path()) else { continue };
            match ufs.create_file(path.as_bytes(), &Attributes { mode: 0o755, uid: 0, gid: 2 }, content) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::NoInodes) => {
                    return Ok(false);
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot copy {}", entry.path().display()));
                }
            }
        }
    }
    Ok(true)
}

fn write_tarball(stamp: &Stamp, archive: &Source, output: &mut StagedFile) -> Result<()> {
    let top = format!("platform-{stamp}");
    let hash = format!("{}\n", digest::sha1_of(archive.reader())?);

    let gzip = GzEncoder::new(output.file_mut(), flate2::Compression::new(6));
    let mut tar = tar::Builder::new(gzip);
    let mtime = u64::from(stamp.unix_seconds().unsigned_abs());
    for folder in ["", "i86pc/", "i86pc/amd64/", "i86pc/kernel/", "i86pc/kernel/amd64/"] {
        tar.append_data(
            &mut header(tar::EntryType::Directory, 0, mtime),
            format!("{top}/{folder}"),
            &[][..],
        )?;
    }
    let file = |size: u64| header(tar::EntryType::Regular, size, mtime);
    tar.append_data(&mut file(KERNEL.len() as u64), format!("{top}/{UNIX}"), KERNEL)?;
    tar.append_data(&mut file(archive.size()), format!("{top}/{BOOT_ARCHIVE}"), archive.reader())?;
    for (path, text) in [
        (BOOT_ARCHIVE_HASH, hash.as_str()),
        ("i86pc/amd64/boot_archive.gitstatus", "[]\n"),
        ("i86pc/amd64/boot_archive.manifest", ""),
        ("root.password", "stand-in\n"),
    ] {
        tar.append_data(&mut file(text.len() as u64), format!("{top}/{path}"), text.as_bytes())?;
    }
    tar.into_inner()?.finish()?;
    Ok(())
}

fn header(kind: tar::EntryType, size: u64, mtime: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mtime(mtime);
    header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header
}
