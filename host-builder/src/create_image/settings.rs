//! What an image is made from: the command line, and what is asked for.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use kiln_imgapi::Kind;
use kiln_zstream::fs::Version;
use serde_json::json;

use super::arguments::{Arguments, FolderArguments, SourceArguments};
use super::ask;
use crate::jobs;
use crate::report::Hint;
use crate::zone::archive;
use crate::zone::dataset::Layout;
use crate::zone::fields::{self, Fields};
use crate::zone::folder;
use crate::zone::image::{Compression, Snapshot, snapshot_name};
use crate::zone::manifest::{About, Draft, has_description};

/// How to name an image.
const NAMING: &str =
    "name it as in: kiln create-image web-1.0 --root DIR; the version is what follows the last dash";

/// Most threads of xz that are used unasked, because of the memory that each takes.
const XZ_JOBS: NonZeroUsize = NonZeroUsize::new(2).expect("it is not zero");

/// Longest name of a file that is made, in bytes, without the endings.
const STEM_LIMIT: usize = 200;

/// Where the files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder.
    Folder(PathBuf, folder::Options),
    /// A tar archive.
    Archive(PathBuf, archive::Options),
    /// A ZFS stream.
    Stream(PathBuf),
    /// A dataset of this machine.
    Dataset(String),
}

/// Everything decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the image.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Fields of the manifest that were given.
    pub fields: Fields,
    /// Where the files come from.
    pub source: Source,
    /// What the top of the tree is, when given.
    pub layout: Option<Layout>,
    /// Lists of modes and owners, in order.
    pub ownership: Vec<PathBuf>,
    /// The origin, and before it what is under it.
    pub origins: Vec<String>,
    /// Whether the image stands alone although it has an origin.
    pub full: bool,
    /// Folders where origins are looked for.
    pub images: Vec<PathBuf>,
    /// Most images that may be under this one.
    pub max_origin_depth: Option<u32>,
    /// The kind of server that the manifest shall satisfy.
    pub audience: Option<Kind>,
    /// The folder for the results.
    pub output: PathBuf,
    /// Their name without endings.
    pub stem: String,
    /// What the name of the manifest ends in.
    pub manifest_ending: &'static str,
    /// Whether existing results are replaced.
    pub force: bool,
    /// How the image is compressed.
    pub compression: Compression,
    /// The version of the file system, when given.
    pub zpl_version: Option<Version>,
    /// Name of the snapshot.
    pub snapshot: String,
    /// GUID of the snapshot, when given.
    pub guid: Option<u64>,
}

impl Settings {
    /// Joins what was given, and asks for what is missing.
    ///
    /// # Errors
    /// As misuse: something is missing, contradicts something else or is out of range. The file of the manifest cannot be read.
    pub fn settle(arguments: Arguments) -> Result<Settings> {
        let mut words = arguments.fields;
        let mut image = arguments.image;
        // Names have no equals signs.
        if let Some(word) = image.take_if(|image| image.contains('=')) {
            words.insert(0, word);
        }
        let from_stdin = [&arguments.source.tar, &arguments.source.stream, &arguments.manifest];
        if from_stdin.iter().filter(|path| path.as_deref() == Some(Path::new("-"))).count() > 1 {
            return Err(anyhow!("two things are to come through standard input"))
                .misuse("put one of them into a file");
        }
        let file = arguments.manifest.as_deref().map(fields::file).transpose()?;
        let mut given = fields::join(file.unwrap_or_default(), &words)?;
        if let Some(uuid) = arguments.uuid {
            given.insert("uuid".to_owned(), json!(uuid.to_string()));
        }
        if let Some(date) = arguments.date {
            given.insert("published_at".to_owned(), json!(date));
        }
        let (name, version) = identity(&mut image, &given)?;
        let stem = image.unwrap_or_else(|| format!("{name}-{version}"));
        let (output, stem, manifest_ending) = match arguments.prefix {
            Some(prefix) => {
                let (folder, stem) = split_prefix(&prefix, stem)?;
                (folder, stem, ".imgmanifest")
            }
            None => (arguments.output.unwrap_or_else(|| "output".into()), stem, ".json"),
        };
        check_stem(&stem)?;
        check_snapshot(&arguments.snapshot)?;
        describe(&name, &mut given)?;
        let jobs = arguments.jobs.and_then(|jobs| NonZeroUsize::new(jobs.into()));
        Ok(Settings {
            compression: compression(arguments.compression.into(), arguments.level, jobs)?,
            source: source(arguments.source, arguments.guid)?,
            name,
            version,
            fields: given,
            layout: arguments.layout,
            ownership: arguments.ownership,
            origins: arguments.origins,
            full: arguments.full,
            images: arguments.images,
            max_origin_depth: arguments.max_origin_depth,
            audience: arguments.audience.map(Kind::from),
            output,
            stem,
            manifest_ending,
            force: arguments.force,
            zpl_version: arguments
                .zpl_version
                .map(|number| if number == 4 { Version::Four } else { Version::Five }),
            snapshot: arguments.snapshot,
            guid: arguments.guid,
        })
    }

    /// Whether the image is an increment on its origin.
    pub fn incremental(&self) -> bool {
        !self.origins.is_empty() && !self.full
    }

    /// Where origins are looked for.
    pub fn folders(&self) -> Vec<PathBuf> {
        self.images.iter().cloned().chain([self.output.clone()]).collect()
    }

    /// The manifest as far as it is known.
    pub fn draft(&self, origin: Option<&Fields>) -> Draft {
        Draft::new(&About {
            name: &self.name,
            version: &self.version,
            given: &self.fields,
            origin,
            incremental: self.incremental(),
            min_platform: None,
            audience: self.audience,
        })
    }

    /// The snapshot of a tree whose newest file is of that time.
    pub fn snapshot(&self, newest: i64, version: Version) -> Snapshot {
        Snapshot {
            name: snapshot_name(&self.snapshot),
            creation_time: u64::try_from(newest).unwrap_or(0),
            guid: self.guid,
            version,
        }
    }
}

/// Name and version, from the fields or the first word; that is asked for if it is missing.
fn identity(image: &mut Option<String>, given: &Fields) -> Result<(String, String)> {
    let field = |name: &str| fields::text(given, name).map(str::to_owned);
    let (mut name, mut version) = (field("name"), field("version"));
    if image.is_none() && (name.is_none() || version.is_none()) {
        let asked =
            ask::required("name and version of the image, as NAME-VERSION", "the image has no name", NAMING)?;
        *image = Some(asked);
    }
    if let Some(image) = image {
        let split = image.rsplit_once('-').filter(|(name, version)| !name.is_empty() && !version.is_empty());
        if let Some((first, last)) = split {
            name = name.or_else(|| Some(first.to_owned()));
            version = version.or_else(|| Some(last.to_owned()));
        } else {
            name = name.or_else(|| Some(image.clone()));
            if version.is_none() {
                let missing = format!("'{image}' has no version");
                let asked = ask::required("version of the image", &missing, NAMING)?;
                image.push('-');
                image.push_str(&asked);
                version = Some(asked);
            }
        }
    }
    name.zip(version).ok_or_else(|| anyhow!("the image has no name")).misuse(NAMING)
}

/// Sees to it that images which nobody knows by their names are described.
fn describe(name: &str, given: &mut Fields) -> Result<()> {
    if given.contains_key("description") || has_description(name) {
        return Ok(());
    }
    let Some(description) = ask::line("description of the image (Enter for none)")? else {
        return Err(anyhow!("the manifest needs a description of {name}"))
            .misuse("add description='…' at the end, or description= for none");
    };
    given.insert("description".to_owned(), json!(description));
    if !given.contains_key("homepage")
        && let Some(homepage) = ask::line("address of its home page (Enter for none)")?
    {
        given.insert("homepage".to_owned(), json!(homepage));
    }
    Ok(())
}

/// The folder and the name that `imgadm create -o` means: a folder that is there, or what ends in a slash, or else a name.
fn split_prefix(prefix: &Path, stem: String) -> Result<(PathBuf, String)> {
    let text = prefix.to_str().filter(|text| !text.is_empty());
    let text = text
        .ok_or_else(|| anyhow!("{} is no name for files", prefix.display()))
        .misuse("give -o a folder or the beginning of a file's name")?;
    if prefix.is_dir() || text.ends_with('/') {
        return Ok((prefix.to_owned(), stem));
    }
    let (folder, name) = text.rsplit_once('/').unwrap_or((".", text));
    Ok((if folder.is_empty() { "/" } else { folder }.into(), name.to_owned()))
}

/// The name becomes that of files, so it must be one part of a path.
fn check_stem(stem: &str) -> Result<()> {
    if stem.contains('/') || stem == "." || stem == ".." {
        return Err(anyhow!("'{}' cannot be the name of a file", stem.escape_debug()))
            .misuse("name the files with -o PREFIX, and the image with name=… version=…");
    }
    if stem.len() > STEM_LIMIT {
        return Err(anyhow!("'{stem}' has {} bytes, too many for the name of a file", stem.len()))
            .misuse("name the files with -o PREFIX");
    }
    Ok(())
}

/// What ZFS takes for the name of a snapshot (source: illumos, `usr/src/common/zfs/zfs_namecheck.c`), as far as it fits into a stream.
fn check_snapshot(name: &str) -> Result<()> {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.: ".contains(&byte);
    if name.is_empty() || name.len() > STEM_LIMIT || !name.bytes().all(usable) {
        return Err(anyhow!("'{}' cannot be the name of a snapshot", name.escape_debug()))
            .misuse("take letters, digits and -_.: for --snapshot, or leave it out");
    }
    Ok(())
}

fn compression(
    kind: crate::compression::Compression,
    level: Option<u8>,
    jobs: Option<NonZeroUsize>,
) -> Result<Compression> {
    use crate::compression::Compression as Known;
    let levels = kind.levels();
    if let Some(level) = level.filter(|level| !levels.contains(level)) {
        let rule = match kind {
            Known::None => "without compression there is no level".to_owned(),
            _ => format!("{} has levels {} to {}", kind.name(), levels.start(), levels.end()),
        };
        return Err(anyhow!("there is no level {level}: {rule}"))
            .misuse("choose another --level, or leave it out");
    }
    Ok(match kind {
        Known::None => Compression::None,
        Known::Gzip => {
            Compression::Gzip { jobs: jobs.unwrap_or_else(jobs::default), level: level.unwrap_or(6) }
        }
        Known::Bzip2 => Compression::Bzip2 { level: level.unwrap_or(9) },
        Known::Xz => Compression::Xz {
            jobs: jobs.unwrap_or_else(jobs::default).min(XZ_JOBS),
            level: level.unwrap_or(6),
        },
    })
}

fn source(arguments: SourceArguments, guid: Option<u64>) -> Result<Source> {
    let SourceArguments { root, tar, stream, dataset, folder, xattrs, owners_by_name } = arguments;
    let FolderArguments { keep_modes, keep_owners, cross_mounts } = folder;
    let has_attributes = root.is_some() || tar.is_some();
    for (flag, given, fits, of) in [
        ("--keep-modes", keep_modes, root.is_some(), "--root"),
        ("--keep-owners", keep_owners, root.is_some(), "--root"),
        ("--cross-mounts", cross_mounts, root.is_some(), "--root"),
        ("--owners-by-name", owners_by_name, tar.is_some(), "--tar"),
        ("--xattrs", xattrs, has_attributes, "--root or --tar"),
    ] {
        if given && !fits {
            return Err(anyhow!("{flag} goes with {of} alone")).misuse(format!("leave {flag} out"));
        }
    }
    let from = |path: PathBuf| if path == Path::new("-") { "/dev/stdin".into() } else { path };
    Ok(match (root, tar, stream, dataset) {
        (Some(folder), ..) => {
            let mounts = if cross_mounts { folder::Mounts::Crossed } else { folder::Mounts::Empty };
            let (modes, owners, extended) = (keep_modes, keep_owners, xattrs);
            Source::Folder(folder, folder::Options { modes, owners, extended, mounts })
        }
        (_, Some(archive), ..) => {
            let (extended, names, sums) = (xattrs, owners_by_name, guid.is_none());
            Source::Archive(from(archive), archive::Options { extended, names, sums })
        }
        (_, _, Some(stream), _) => Source::Stream(from(stream)),
        (.., dataset) => Source::Dataset(dataset.expect("the command line has one of the four")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn settled(words: &[&str]) -> Result<Settings> {
        let words = ["kiln"].iter().chain(words);
        Settings::settle(Line::try_parse_from(words)?.arguments)
    }

    fn settings(words: &[&str]) -> Settings {
        settled(&[words, &["--root", "r"]].concat()).unwrap()
    }

    #[test]
    fn names_end_at_the_last_dash_and_fields_win() {
        for (words, name, version, stem) in [
            (&["base-64-23.4.0"][..], "base-64", "23.4.0", "base-64-23.4.0"),
            (&["web-1", "version=2", "description="], "web", "2", "web-1"),
            (&["name=web", "version=2", "description=x"], "web", "2", "web-2"),
            (&["web", "version=1.10", "description=x"], "web", "1.10", "web"),
        ] {
            let settings = settings(words);
            assert_eq!((&*settings.name, &*settings.version, &*settings.stem), (name, version, stem));
        }
        for words in [&["web", "description="][..], &["-1"], &["web-", "description="], &[]] {
            let error = settled(&[words, &["--root", "r"]].concat()).map(drop).unwrap_err();
            assert!(!format!("{error:#}").is_empty(), "{words:?}");
        }
    }

    #[test]
    fn later_fields_win_over_earlier_ones_and_those_over_the_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("m.json");
        std::fs::write(&file, r#"{"description": "file", "os": "file", "eula": "file"}"#).unwrap();
        let file = file.to_str().unwrap();
        let settings = settings(&["web-1", "description=a", "description=b", "eula=", "-m", file]);
        assert_eq!(settings.fields["description"], "b");
        assert_eq!((&settings.fields["os"], &settings.fields["eula"]), (&json!("file"), &json!("")));
    }

    #[test]
    fn prefixes_are_those_of_imgadm() {
        let home = tempfile::tempdir().unwrap();
        let there = home.path().to_str().unwrap();
        for (prefix, folder, stem) in [
            (there, there, "seed-1"),
            ("new/", "new/", "seed-1"),
            ("new/a", "new", "a"),
            ("a.b", ".", "a.b"),
            ("/a", "/", "a"),
        ] {
            let settings = settings(&["seed-1", "-o", prefix]);
            assert_eq!((settings.output.as_path(), &*settings.stem), (Path::new(folder), stem), "{prefix}");
            assert_eq!(settings.manifest_ending, ".imgmanifest");
        }
        let settings = settings(&["seed-1"]);
        assert_eq!((settings.output, settings.manifest_ending), ("output".into(), ".json"));
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for (words, expected) in [
            (&["seed-1", "--level", "13"][..], "gzip has levels 1 to 12"),
            (&["seed-1", "-c", "none", "--level", "1"], "without compression there is no level"),
            (&["seed-1", "-c", "xz", "--level", "9"], "xz has levels 0 to 6"),
            (&["seed-1", "--snapshot", "a@b"], "cannot be the name of a snapshot"),
            (&["a/b-1", "description="], "cannot be the name of a file"),
            (&["seed-1", "files=[]"], "what is about to be made"),
            (&["seed-1", "nothing"], "'nothing' is no KEY=VALUE"),
            (&["web-1"], "the manifest needs a description of web"),
        ] {
            let error = settled(&[words, &["--root", "r"]].concat()).map(drop).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{words:?}: {error:#}");
            assert!(crate::report::is_misuse(&error), "{words:?}");
        }
        settled(&["seed-1"]).map(drop).unwrap_err();
        settled(&["seed-1", "--root", "r", "--tar", "t"]).map(drop).unwrap_err();
        for (flag, of) in
            [("--keep-modes", "--tar"), ("--owners-by-name", "--root"), ("--xattrs", "--stream")]
        {
            let error = settled(&["seed-1", of, "x", flag]).map(drop).unwrap_err();
            assert!(error.to_string().starts_with(flag) && crate::report::is_misuse(&error), "{error}");
        }
        settled(&["seed-1", "--tar", "-", "-m", "-"]).map(drop).unwrap_err();
    }
}
