//! What the command line may say.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use uuid::Uuid;

use crate::compression::Compression;
use crate::retro::Audience;
use crate::zone::dataset::Layout;

/// Makes the image of a zone and its manifest from a folder, a tar, a ZFS stream or a dataset
///
/// Writes output/NAME-VERSION.zfs.gz and .json, which `imgadm install -m MANIFEST -f IMAGE` takes.
/// NAME is all before the last dash:
///
///     kiln create-image web-1.0 --root proto description='A web server'
///     tar -C proto -c . | kiln create-image web-1.1 --tar - --origin web-1.0.zfs.gz description=
///
/// FIELDS OF THE MANIFEST are given as KEY=VALUE, as to `imgadm create`: later ones win over
/// earlier ones, and all of them over the file of --manifest. VALUE is JSON where it can be read as
/// that, and what is given as empty is left out. What is not given comes from the manifest of the
/// origin, and else it is an image of type zone-dataset for everybody, with one public network.
/// UUID, GUID and time follow from what is in the image: the same files give the same bytes.
///
/// THE TOP of a folder, archive or stream is the zone's / or the zone's dataset, in which the folder
/// root is the zone's /. It is taken for a dataset if it has a folder root and none of bin, etc,
/// home, lib, opt, sbin, usr and var; --layout says what it is. Beside root, a dataset may have local,
/// which is the zone's /usr/local; where the top is the zone's /, that is the one of the origin. What
/// else lies there (config, cores) belongs to the zone that it was, and is left out.
///
/// MODES AND OWNERS are never those of your own files unless you ask for them: files of a folder
/// belong to 0:0, with mode 0755 if their owner may execute them and else 0644. Archives and streams
/// say them themselves, by numbers. --ownership has the last word.
///
/// Times of folders and archives are kept to the second. Numbers of devices are kept as they are,
/// in the form of illumos.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment, group(SourceArguments::group()))]
pub struct Arguments {
    /// Name and version of the image, such as web-1.0; asked for on a terminal
    #[arg(value_name = "NAME-VERSION")]
    pub image: Option<String>,

    /// Fields of the manifest
    #[arg(value_name = "KEY=VALUE")]
    pub fields: Vec<String>,

    #[command(flatten)]
    pub source: SourceArguments,

    /// What the top of the tree is [default: told by what is in it]
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<Layout>,

    /// List of modes and owners: an mtree(5), or the manifest.gen of a platform build, whose lines are d or f, PATH, MODE, OWNER and GROUP.
    /// Paths begin at the zone's /, and names are those of the image's own /etc/passwd and /etc/group. Repeatable, later ones win
    #[arg(long, value_name = "FILE")]
    pub ownership: Vec<PathBuf>,

    /// Image that this one goes on top of: its file, or its UUID if its manifest and file are in --images or in the folder of the output.
    /// Only what differs goes into the new image. Repeatable: images under the origin are looked for by manifests, or named before it
    #[arg(long = "origin", value_name = "FILE|UUID")]
    pub origins: Vec<String>,

    /// Folder with manifests and files of images, where origins are looked for; repeatable
    #[arg(long, value_name = "DIR")]
    pub images: Vec<PathBuf>,

    /// Make an image that stands alone although it has an origin, from whose manifest it inherits
    #[arg(long, requires = "origins")]
    pub full: bool,

    /// Make an incremental image: what --origin means anyway
    #[arg(short, long, requires = "origins", conflicts_with = "full")]
    pub incremental: bool,

    /// Most images that may be under this one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub max_origin_depth: Option<u32>,

    /// JSON file with fields of the manifest; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,

    /// UUID of the image [default: derived from the content]
    #[arg(long, value_name = "UUID")]
    pub uuid: Option<Uuid>,

    /// When the manifest says the image was published, as 2014-10-30T08:17:01Z [default: the newest time in the tree]
    #[arg(long, value_name = "TIME")]
    pub date: Option<String>,

    /// Make the manifest complete for that kind of image server
    #[arg(long = "for", value_name = "SERVER")]
    pub audience: Option<Audience>,

    /// Folder for NAME-VERSION.zfs.gz and NAME-VERSION.json [default: output]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Folder for NAME-VERSION.zfs.gz and NAME-VERSION.imgmanifest, or their name up to these endings, as to `imgadm create`
    #[arg(short = 'o', long = "output-prefix", value_name = "DIR|PREFIX", conflicts_with = "output")]
    pub prefix: Option<PathBuf>,

    /// Replace an image and manifest of the same name
    #[arg(long)]
    pub force: bool,

    /// How the image is compressed
    #[arg(short, long, value_name = "HOW", default_value = "gzip")]
    pub compression: CompressionChoice,

    /// Level of compression: 1 to 12 of gzip [default: 6], 1 to 9 of bzip2 [default: 9], 0 to 6 of xz [default: 6]
    #[arg(long, value_name = "LEVEL")]
    pub level: Option<u8>,

    /// Compression threads; the bytes do not depend on it [default: one a processor, at most 32; of xz at most 2, which take some 130 MiB of
    /// memory each]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,

    /// Version of the file system: 5, or 4 for pools before version 24 [default: 5, or that of the origin]
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u8).range(4..=5))]
    pub zpl_version: Option<u8>,

    /// GUID of the snapshot [default: derived from the content]
    #[arg(long, value_name = "GUID", value_parser = clap::value_parser!(u64).range(1..))]
    pub guid: Option<u64>,

    /// Name of the snapshot; imgadm renames it to final
    #[arg(long, value_name = "NAME", default_value = crate::zone::image::SNAPSHOT)]
    pub snapshot: String,
}

/// Where the files come from, and what is taken of them.
#[derive(Args, Debug)]
pub struct SourceArguments {
    /// Folder
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Tar archive, plain or compressed with gzip, bzip2 or xz; - is standard input
    #[arg(long, value_name = "FILE")]
    pub tar: Option<PathBuf>,

    /// ZFS stream of a file system, plain or compressed; - is standard input. An incremental one needs its --origin
    #[arg(long, value_name = "FILE")]
    pub stream: Option<PathBuf>,

    /// Dataset of this machine's ZFS, as it is now: kiln takes a snapshot, and removes it whatever happens. Only a kiln that was built with
    /// the feature native-zfs can; any other says how to do without
    #[arg(long, value_name = "POOL/DATASET")]
    pub dataset: Option<String>,

    #[command(flatten)]
    pub folder: FolderArguments,

    /// Take extended attributes of the namespace user, of a folder or an archive. Those in streams are always taken
    #[arg(long)]
    pub xattrs: bool,

    /// Go by the names of owners in the archive, which the image's own /etc/passwd and /etc/group must know, and not by the numbers
    #[arg(long)]
    pub owners_by_name: bool,
}

/// What is taken of a folder that this machine's account of it says.
#[derive(Args, Debug)]
pub struct FolderArguments {
    /// Keep the modes of a folder's files, with --root
    #[arg(long)]
    pub keep_modes: bool,

    /// Keep the owners of a folder's files, with --root
    #[arg(long)]
    pub keep_owners: bool,

    /// Take what other file systems have mounted in the folder, too; else the folders where they are stay empty
    #[arg(long)]
    pub cross_mounts: bool,
}

impl SourceArguments {
    /// Exactly one of the places where files can come from.
    fn group() -> ArgGroup {
        ArgGroup::new("source").required(true).args(["root", "tar", "stream", "dataset"])
    }
}

/// How an image is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompressionChoice {
    /// Not at all: .zfs
    None,
    /// With gzip: .zfs.gz
    Gzip,
    /// With bzip2: .zfs.bz2
    Bzip2,
    /// With xz: .zfs.xz
    Xz,
}

impl From<CompressionChoice> for Compression {
    fn from(choice: CompressionChoice) -> Self {
        match choice {
            CompressionChoice::None => Self::None,
            CompressionChoice::Gzip => Self::Gzip,
            CompressionChoice::Bzip2 => Self::Bzip2,
            CompressionChoice::Xz => Self::Xz,
        }
    }
}
