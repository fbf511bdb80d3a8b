//! `kiln convert`: the same disk, or the same files, in another form.

mod archive;
mod disk;
mod files;
mod folder;
mod list;
mod qcow2;
mod tree;

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::{Args, ValueEnum};

use crate::cli::Ending;
use crate::contents::origin::Origins;
use crate::report::{Hint, Report};

/// Bytes that are read at once: whole clusters of qcow2, whole blocks of every stream.
const CHUNK: usize = 1 << 20;

/// Writes the disk or the files of an image in another form
///
/// Every form that kiln opens is taken, by content and not by name. The same disk gives the same
/// bytes: a stream made from a raw disk gets its GUID from the contents, and one made from another
/// stream keeps its GUID, name, time and block size.
///
/// tar, dir and mtree take the files of a zone's image, of a tar archive, of a boot archive, or of
/// the FAT of a disk, and of each the files below a path too:
///
///     kiln convert base-64.zfs.gz:/root --to tar base-64.tar
///     kiln convert web.zfs.gz --origin base-64.zfs.gz --to mtree web.mtree
///     kiln convert web-1.0.zfs.gz --to mtree - | sort
///     kiln convert 'retro.zvol.gz:/custom.tgz!' --to dir custom
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Image: .zvol, .zvol.gz, raw disk, or gzip, bzip2 or xz of one; for tar, dir and mtree whatever
    /// holds files, or a path in it
    #[arg(value_name = "IMAGE[:/PATH]")]
    image: PathBuf,

    /// Form of the output
    #[arg(long, value_name = "FORM")]
    to: Form,

    /// Where to write; - is standard output, for tar and mtree
    #[arg(value_name = "OUT")]
    output: PathBuf,

    /// Replace OUT when it exists; a folder never is
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    origins: Origins,

    /// zvol.gz: compression level, 1 (fast) to 12 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=12))]
    level: u8,

    /// zvol.gz: compression threads; the bytes do not depend on it [default: one a processor, at
    /// most 32]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,

    /// zvol.gz: dataset and snapshot that the stream names [default: the source's, or smartos/image@final]
    #[arg(long, value_name = "DATASET@SNAPSHOT")]
    name: Option<String>,

    /// zvol.gz: creation time of the snapshot in seconds since 1970 [default: the source's, or 0]
    #[arg(long, value_name = "SECONDS")]
    creation_time: Option<u64>,
}

impl Arguments {
    fn is_to_standard_output(&self) -> bool {
        self.output.as_os_str() == "-"
    }
}

/// A form of disk image or of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Every byte, zeros too
    Raw,
    /// Every byte, with holes where zeros are
    SparseRaw,
    /// For QEMU: version 3, uncompressed, zero clusters left out
    Qcow2,
    /// A compressed ZFS volume stream, as imgadm takes it
    #[value(name = "zvol.gz")]
    ZvolGz,
    /// Files as a tar archive: pax headers for long names, large numbers, exact times and extended
    /// attributes, GNU's sparse files for those with holes of 64 KiB and more
    Tar,
    /// Files as files, in a new folder; what the user may not make is left out with a warning
    Dir,
    /// Files as a list with modes, owners, times and digests, in the format of mtree(5)
    Mtree,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::Raw => "raw",
            Form::SparseRaw => "sparse-raw",
            Form::Qcow2 => "qcow2",
            Form::ZvolGz => "zvol.gz",
            Form::Tar => "tar",
            Form::Dir => "dir",
            Form::Mtree => "mtree",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The image is no disk, or holds no files, or cannot be read, or the output exists or cannot be written.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    if arguments.is_to_standard_output() {
        let form = arguments.to.name();
        if !matches!(arguments.to, Form::Tar | Form::Mtree) {
            return Err(anyhow!("{form} cannot be written to standard output, which cannot be sought in"))
                .misuse("name a file, or ./- if it is called so; tar and mtree can be written to -");
        }
        if report.is_json() {
            return Err(anyhow!("standard output cannot take the {form} and --json's report"))
                .misuse("leave out --json, or name a file");
        }
    }
    match arguments.to {
        Form::Tar | Form::Dir | Form::Mtree => tree::convert(arguments, report),
        Form::Raw | Form::SparseRaw | Form::Qcow2 | Form::ZvolGz => disk::convert(arguments, report),
    }
}

#[cfg(test)]
mod tests;
