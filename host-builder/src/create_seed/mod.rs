//! `kiln create-seed`: the image that other zone images are built on, made from a platform.

pub mod build_tree;
mod edits;
mod generated;
mod hand_over;
mod manifest;
mod needs;
pub mod origin;
pub mod platform;
pub mod repository;
pub mod services;
mod take;

use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use kiln_zstream::fs::Version;
use kiln_zstream::fs::tree::{Kind, Time, Tree};
use serde_json::json;

use self::build_tree::BuildTree;
use self::origin::{Manifests, Origin};
use self::platform::Platform;
use crate::cli::Ending;
use crate::contents::open::{How, open};
use crate::contents::shape::Shape;
use crate::contents::tree_of;
use crate::jobs;
use crate::report::{Hint, Report, changed, unchanged};
use crate::staging::{OutputFolder, publish_image};
use crate::zone::area::{Area, attributes};
use crate::zone::fields::{self, Fields};
use crate::zone::image::{self, Compression, Snapshot, Written};
use crate::zone::manifest::warnings;

/// Folders that a zone begins with, empty but for what a platform has in them.
const FOLDERS: [&str; 4] = ["home", "root", "tmp", "var/ssh"];

/// Makes a seed image: what a zone has of its own of a SmartOS platform, without any packages
///
/// Writes output/NAME.zfs.gz and NAME.json from the tarball of a platform, for
/// `imgadm install -m NAME.json -f NAME.zfs.gz`:
///
///     kiln create-seed seed-20141030 --platform platform-20141030T081701Z.tgz
///
/// The seed has the platform's /etc and /var, less what is the global zone's alone, with the modes
/// and owners that they have there. Its services are those of the repository that the platform has
/// for zones; --manifests says which of them run, and brings in more.
///
/// Fields of the image's manifest are given as KEY=VALUE, as to kiln create-image, and win over what
/// kiln would say:
///
///     kiln create-seed seed-20141030 --platform 20141030T081701Z public=false description='For tests'
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Name of the image and of its files; what follows the last '-' is the version [default version: the platform's stamp]
    name: String,

    /// Fields of the manifest
    #[arg(value_name = "KEY=VALUE")]
    fields: Vec<String>,

    #[command(flatten)]
    basis: Basis,

    /// Repository of services to begin with [default: the platform's for zones]
    #[arg(long, value_name = "FILE")]
    smf_repository: Option<PathBuf>,

    /// List of manifests, in lines of: PATH.xml enabled|disabled [noimport]. Their default instances are set so, and manifests that
    /// zones do not see come into the image
    #[arg(long, value_name = "FILE")]
    manifests: Option<PathBuf>,

    /// Folder with manifests of your own, looked into before the platform's; repeatable
    #[arg(long = "manifest-dir", value_name = "DIR", requires = "manifests")]
    manifest_folders: Vec<PathBuf>,

    /// Bootstrap kit of pkgsrc, a tar archive that is laid over the zone's / in the end
    #[arg(long, value_name = "FILE")]
    bootstrap: Option<PathBuf>,

    /// Folder for the image and its manifest
    #[arg(short, long, value_name = "DIR", default_value = "output")]
    output: PathBuf,

    /// Replace an image and manifest of the same name
    #[arg(long)]
    force: bool,

    /// Compression threads; the bytes do not depend on it [default: one a processor, at most 32]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,

    /// Compression level, 1 (fast) to 12 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=12))]
    level: u8,
}

/// The system whose zones it is for.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Basis {
    /// Tarball of a platform, or the stamp of one in the folder data
    #[arg(long, value_name = "FILE|STAMP")]
    platform: Option<String>,

    /// Finished build tree of smartos-live
    #[arg(long, value_name = "DIR")]
    smartos_live: Option<PathBuf>,
}

impl Basis {
    /// Opens it. `folder` is for temporary files.
    ///
    /// # Errors
    /// It is missing, damaged, or none.
    pub fn open(&self, folder: &OutputFolder, report: &Report) -> Result<Box<dyn Origin>> {
        Ok(match (&self.platform, &self.smartos_live) {
            (Some(platform), _) => Box::new(Platform::open(platform, folder, report)?),
            (None, Some(tree)) => Box::new(BuildTree::open(tree)?),
            (None, None) => {
                return Err(anyhow!("there is nothing to make it from")).misuse("give --platform FILE");
            }
        })
    }
}

/// Runs the command.
///
/// # Errors
/// What it is made from cannot be used, or the image cannot be written.
pub fn run(arguments: &Arguments, report: &Report) -> Result<Ending> {
    let Arguments { name, .. } = arguments;
    if Path::new(name).file_name().is_none_or(|file| file != name.as_str()) {
        return Err(anyhow!("'{}' is no name for an image", name.escape_debug())).misuse(manifest::NAMING);
    }
    let given = fields::join(Fields::new(), &arguments.fields)?;
    let folder = OutputFolder::open(&arguments.output)?;
    let mut image = folder.stage(format!("{name}.zfs.gz"), arguments.force)?;
    let description = folder.stage(format!("{name}.json"), arguments.force)?;

    let origin = arguments.basis.open(&folder, report)?;
    let time = origin::time(&*origin);
    let draft = manifest::draft(name, origin.stamp(), given)?;

    let tree = build(arguments, &*origin, time, report)?;
    let snapshot = Snapshot {
        name: format!("zones/{name}@final"),
        creation_time: time.seconds.unsigned_abs(),
        guid: None,
        version: Version::Five,
    };
    let jobs = arguments.jobs.and_then(|jobs| NonZeroUsize::new(jobs.into())).unwrap_or_else(jobs::default);
    let compression = Compression::Gzip { jobs, level: arguments.level };
    let written = report.step("write-image", || {
        let written = image::write(&tree, None, &snapshot, compression, &mut image, report)?;
        let detail = format!("{} bytes, SHA-1 {}", written.size, written.sha1);
        Ok(changed(written, detail))
    })?;
    let manifest = draft.complete(time.seconds, &written, compression)?;
    let paths = publish_image(&folder, [image, description], &manifest, arguments.force, report)?;
    for warning in warnings(&manifest) {
        report.warn(&warning);
    }
    tell(&paths, &manifest.uuid, &written, report);
    Ok(Ending::Done)
}

/// The seed as a tree.
fn build(arguments: &Arguments, origin: &dyn Origin, time: Time, report: &Report) -> Result<Tree> {
    let mut notes = Vec::new();
    let top = attributes(0o755, 0, 0, time);
    let mut tree = Tree::new(top);
    let dataset = tree.root();
    let root = Area::new(&mut tree, dataset).make_folders(b"root", top)?;
    let mut area = Area::new(&mut tree, root);
    report.step("lay-system", || {
        let detail = origin.lay(&mut area, &mut notes)?;
        let tmp = area.make_folders(b"tmp", top)?;
        area.tree.attributes_mut(tmp).permissions = 0o1777;
        area.put(b"bin", attributes(0o777, 0, 0, time), Kind::Symlink(b"./usr/bin".to_vec()))?;
        Ok(changed((), detail))
    })?;
    report.step("edit-system", || Ok(changed((), edits::apply(&mut area, time)?)))?;
    report.step("lay-repository", || {
        let repository = repository::find(arguments.smf_repository.as_deref(), origin)?;
        if repository.minimal {
            notes.push(format!(
                "{} is the repository of the brand joyent-minimal, which imports no manifests by itself: further services are \
                 imported at the first boot; give a fuller one with --smf-repository FILE",
                repository.place
            ));
        }
        let detail = format!("{}: {} bytes", repository.place, repository.bytes.len());
        services::lay_repository(&mut area, repository.bytes, time)?;
        Ok(changed((), detail))
    })?;
    if let Some(list) = &arguments.manifests {
        report.step("lay-services", || {
            let manifests = Manifests::new(&arguments.manifest_folders, origin)?;
            let site = services::read(list, &manifests)?;
            notes.extend(site.notes.iter().cloned());
            services::lay_site(&mut area, &site, time)?;
            Ok(changed((), services::summary(&site)))
        })?;
    }
    report.step("lay-first-boot", || {
        hand_over::lay(&mut area, time)?;
        Ok(changed((), "/etc/rc2.d/S99final and /var/zoneinit/zoneinit.json"))
    })?;
    if let Some(bootstrap) = &arguments.bootstrap {
        report.step("lay-bootstrap", || {
            let laid = lay_bootstrap(bootstrap, &mut area, report)?;
            Ok(changed((), format!("{laid} things of {}", bootstrap.display())))
        })?;
    }
    report.step("check-seed", || {
        needs::check(&area, origin)?;
        Ok(unchanged((), "it has what a zone needs to boot"))
    })?;
    for note in notes {
        report.warn(&note);
    }
    Ok(tree)
}

/// Lays a tar archive, plain or compressed with gzip, over the zone's root.
fn lay_bootstrap(path: &Path, area: &mut Area<'_>, report: &Report) -> Result<usize> {
    let cannot = || format!("cannot lay the bootstrap kit {} over the seed", path.display());
    let opened = open(path, How::default(), report)?;
    let tree = match opened.contents.shape {
        Shape::Tar => tree_of(&opened.contents),
        _ => Ok(None),
    };
    let tree = tree
        .and_then(|tree| tree.context("it is no tar archive"))
        .with_context(cannot)
        .hint("name the bootstrap kit as it was downloaded: bootstrap-BRANCH-ARCH.tar.gz")?;
    let top = tree.root()?;
    take::take(&*tree, &top, area, b"", &|_| false)
        .with_context(cannot)
        .hint("is it the kit for zones? It goes to /opt/local, and to nothing that the zone has as a link")
}

/// Says what was made, and what to do with it.
fn tell([image, manifest]: &[PathBuf; 2], uuid: &str, written: &Written, report: &Report) {
    if report.is_json() {
        report.event(&json!({
            "event": "summary",
            "image": image.display().to_string(),
            "manifest": manifest.display().to_string(),
            "uuid": uuid,
            "size": written.size,
            "sha1": written.sha1,
            "snapshot_guid": written.guid.to_string(),
        }));
        return;
    }
    report.result(&format!("image         {}", image.display()));
    report.result(&format!("manifest      {}", manifest.display()));
    report.result(&format!("  UUID        {uuid}"));
    report.result(&format!("install with  imgadm install -m {} -f {}", manifest.display(), image.display()));
}

/// Reads a file of the host of at most `limit` bytes.
///
/// # Errors
/// It is larger, or cannot be read.
pub fn read_host_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot).hint("give the path of a file that you may read")?;
    file.take(limit + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() as u64 > limit {
        return Err(anyhow!("{} has more than the {limit} bytes that make sense", path.display()))
            .hint("is it the right file?");
    }
    Ok(bytes)
}
