//! Which boot loader goes into the image, and what it brings along.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use kiln_bootdisk::template::{Template, TemplateError};

use super::settings::LoaderChoice;
use crate::contents::scratch::SparseFile;
use crate::contents::source::Source;
use crate::digest;
use crate::report::Hint;
use crate::staging::OutputFolder;
use crate::tarball::{self, Limits};

/// Folders where distributions keep the stage files of GRUB legacy.
const GRUB_LEGACY_FOLDERS: [&str; 4] = [
    "/usr/lib/grub/x86_64-pc",
    "/usr/lib/grub/i386-pc",
    "/usr/lib/grub/i386-redhat",
    "/usr/share/grub/x86_64-pc",
];

/// Largest stage file that is believed, in bytes. Stage 2 of GRUB 0.97 has some 120,000.
const STAGE_LIMIT: u64 = 1 << 20;

/// Largest template that is unpacked, in bytes.
const TEMPLATE_LIMIT: u64 = 64 << 30;

/// What to do when a template cannot be unpacked.
const NO_ROOM_FOR_TEMPLATE: &str =
    "the output's file system needs room for the unpacked template: choose another with --output";

/// A loader with what it needs from the machine.
pub enum Loader {
    /// kiln's own, which is in the program.
    Builtin,
    /// GRUB legacy from stage files.
    GrubLegacy {
        /// The three stage files.
        stages: kiln_bootdisk::grub_legacy::Stages,
        /// Where they came from, with the SHA-1 of each.
        files: Vec<(PathBuf, String)>,
    },
    /// The loader of a template disk.
    Template {
        /// Where the template is, as it was given.
        path: PathBuf,
        /// The template, read.
        template: Box<Template<Source>>,
        /// Its bytes, unpacked.
        disk: Source,
        /// SHA-1 of the template file as it was given.
        sha1: String,
    },
}

/// Gets the chosen loader ready.
///
/// # Errors
/// Stage files are missing or of another program; the template cannot be used.
pub fn prepare(choice: &LoaderChoice, template: Option<&Path>, folder: &OutputFolder) -> Result<Loader> {
    match (choice, template) {
        (LoaderChoice::Builtin, _) => Ok(Loader::Builtin),
        (LoaderChoice::GrubLegacy(folder), _) => grub_legacy(folder.as_deref()),
        (LoaderChoice::Template, Some(path)) => open_template(path, folder)
            .with_context(|| format!("cannot use the template {}", path.display()))
            .hint("name a disk image, plain or as the only file of a .tgz archive"),
        (LoaderChoice::Template, None) => Err(anyhow!("the loader 'template' needs a template disk image")),
    }
}

fn grub_legacy(folder: Option<&Path>) -> Result<Loader> {
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => GRUB_LEGACY_FOLDERS
            .iter()
            .map(PathBuf::from)
            .find(|folder| folder.join("stage2").is_file())
            .ok_or_else(|| {
                anyhow!("GRUB legacy is not on this machine: looked in {}", GRUB_LEGACY_FOLDERS.join(", "))
            })
            .hint("install Debian's package grub-legacy, or name the folder with --loader grub-legacy=DIR")?,
    };
    let mut files = Vec::new();
    let mut stage = |name: &str| -> Result<Vec<u8>> {
        let path = folder.join(name);
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(STAGE_LIMIT + 1).read_to_end(&mut bytes))
            .with_context(|| format!("cannot read GRUB legacy's {}", path.display()))
            .hint(
                "--loader grub-legacy=DIR takes the folder with stage1, fat_stage1_5 and stage2; Debian's package \
                 grub-legacy has them in /usr/lib/grub/x86_64-pc",
            )?;
        let sha1 = digest::sha1_of(&bytes[..])?;
        files.push((path, sha1));
        Ok(bytes)
    };
    let (stage1, stage1_5, stage2) = (stage("stage1")?, stage("fat_stage1_5")?, stage("stage2")?);
    let stages = kiln_bootdisk::grub_legacy::Stages::new(stage1, stage1_5, stage2)
        .with_context(|| format!("the files in {} are not GRUB legacy's", folder.display()))
        .hint("take those of GRUB 0.97, such as Debian's package grub-legacy; GRUB 2 has files of the same names")?;
    Ok(Loader::GrubLegacy { stages, files })
}

fn open_template(path: &Path, folder: &OutputFolder) -> Result<Loader> {
    let mut file =
        File::open(path).hint("give the path of a disk image that you may read with --template FILE")?;
    if file.metadata()?.is_dir() {
        return Err(anyhow!("it is a folder")).hint("name the disk image itself with --template FILE");
    }
    let mut head = Vec::new();
    (&mut file).take(512).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    let sha1 = digest::sha1_of(&file)?;
    file.seek(SeekFrom::Start(0))?;
    let disk =
        if kiln_pgzip::looks_like_gzip(&head) { unpack_template(file, folder.scratch()?)? } else { file };
    let disk = Source::file(disk)?;
    let template = Box::new(with_remedy(Template::open(disk.clone()))?);
    Ok(Loader::Template { path: path.to_owned(), template, disk, sha1 })
}

/// Adds what the user can do about a template that does not serve.
///
/// # Errors
/// The same error as before.
pub fn with_remedy<T>(result: std::result::Result<T, TemplateError>) -> Result<T> {
    result.or_else(|error| {
        let remedy = match &error {
            TemplateError::CutShort { .. } => "copy or download it again, and compare its checksum",
            TemplateError::NoLoader { .. } | TemplateError::NoStage2(_) => {
                "install GRUB legacy in it with fat_stage1_5, as the GRUB shell's setup does, or leave --template out: \
                 kiln has a loader of its own"
            }
            TemplateError::TooSmall { .. } => {
                "use a larger template, or leave --template out: kiln makes a disk of any size"
            }
            TemplateError::DiskTooSmall { .. } => "give --size at least the size of the template",
            TemplateError::Plan(_) => "remove what is in the way from the template",
            TemplateError::Io(_) => "check that it is a file that you may read",
            _ => {
                "name the image of a whole disk whose only partition holds a FAT32 volume, like the original's, or \
                 leave --template out"
            }
        };
        Err(error).hint(remedy)
    })
}

/// Unpacks a `.tgz` with one file in it, keeping holes.
fn unpack_template(file: File, disk: File) -> Result<File> {
    let limits = Limits { file_bytes: TEMPLATE_LIMIT, total_bytes: TEMPLATE_LIMIT, members: 16 };
    let mut found = None;
    tarball::walk(kiln_pgzip::Reader::new(file), limits, |member, content| {
        if member.kind != tarball::MemberKind::File {
            return Ok(());
        }
        if let Some(first) = &found {
            return Err(anyhow!("a template archive holds one disk image; {first} came before"))
                .hint("unpack it, and name the disk image itself with --template");
        }
        found = Some(member.path.clone());
        copy_sparse(content, &disk)
    })
    .hint("a compressed template is a .tgz with one disk image in it: if this is one, download it again")?;
    found
        .ok_or_else(|| anyhow!("there is no disk image in the archive"))
        .hint("a template archive holds one file, the disk image")?;
    Ok(disk)
}

/// Copies to the end, leaving holes where the source is zero.
fn copy_sparse(from: &mut dyn Read, to: &File) -> Result<()> {
    let no_room =
        |result: io::Result<()>| result.context("cannot write a temporary file").hint(NO_ROOM_FOR_TEMPLATE);
    let mut sparse = SparseFile::new(to);
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return no_room(to.set_len(size)),
            got => {
                no_room(sparse.write_all(&buffer[..got]))?;
                size += got as u64;
            }
        }
    }
}
