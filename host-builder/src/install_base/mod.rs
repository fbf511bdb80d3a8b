//! `kiln install-base`: a seed, the bootstrap kit of pkgsrc and binary packages become a base image.
//!
//! What the original does inside a running zone is done to the tree of its image: [`overlay`] and [`kit`] are laid over the seed,
//! `crate::packages` installs, [`customize`] takes the steps of its script. What only illumos itself can do stands in one script of the
//! first boot, and in the report beside the image.

mod config;
mod customize;
mod kit;
mod lines;
mod overlay;
mod proto;
mod result;
mod seed;
mod tools;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use self::config::PREFIX;
pub use self::config::{Architecture, Branch, Config, KitDate, Name, Release, Wanted};
use self::kit::Kit;
use self::proto::Proto;
use self::result::Done;
pub use self::result::{Files, Made};
pub use self::seed::Seed;
use crate::cli::Ending;
use crate::contents::scratch::Scratch;
use crate::packages::{self, FirstBoot, InstallOptions, Installed, Repository, Trust};
use crate::report::{Hint, Report, changed, unchanged};
use crate::staging::OutputFolder;
use crate::units;
use crate::zone::archive;
use crate::zone::fields::{self, Fields};
use crate::zone::image::Compression;

/// Makes a base image of a seed and packages, without a zone
///
/// The image has what the one of imagetools has: the bootstrap kit of pkgsrc, the packages of its family and release, and the
/// settings of its zone. The first word of the name says the family: minimal, base, or pkgbuild, each with all of those before it.
///
///     kiln create-seed seed --platform platform-20141030T081701Z.tgz
///     kiln install-base -c 2023Q4-x86_64 -n base-64 -r 23.4.0 --seed output/seed.zfs.gz \
///         --packages https://pkgsrc.smartos.org/packages/SmartOS/2023Q4/x86_64/All \
///         --keyring pkgsrc.gpg
///
/// Three files come of it: NAME-RELEASE.zfs.gz, its manifest NAME-RELEASE.json, and NAME-RELEASE-report.json, which lists the
/// packages and what is left for the first boot of a zone, in order. A script in the image does that once, before zoneinit begins.
///
/// Fields of the manifest are given as KEY=VALUE, as to kiln create-image, and win over what kiln would say.
///
/// Folders given with --overlay hold etc and root, which go to those folders of the zone, and sysconfdir, which goes to
/// /opt/local/etc of base and pkgbuild images. In their files of text these words are replaced:
///
///     @IMAGE_NAME@ @IMAGE_VERSION@ @IMAGE_BRANCH@ @IMAGE_ARCH@ @IMAGE_PATH@ @IMAGE_CSHPATH@
///     @IMAGE_MANDIRS@ @IMAGE_PREFIX@ @IMAGE_SYSCONFDIR@ @IMAGE_BOOTDATE@ @IMAGE_PRODUCT@
///     @IMAGE_SHORTPRODUCT@ @IMAGE_DOC@ @IMAGE_PACKAGES@ @IMAGE_GIT_BRANCH@
///     @CRLE_DPATH_32@ @CRLE_DPATH_64@ @CRLE_TPATH_32@ @CRLE_TPATH_64@
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Branch and architecture of the packages: YYYYQn or trunk, and i386, x86_64 or multiarch
    #[arg(short, long, value_name = "BRANCH-ARCH")]
    config: Config,

    /// Date of the bootstrap kit, if there are several: bootstrap-BRANCH-ARCH-DATE.tar.gz
    #[arg(short, long)]
    date: Option<KitDate>,

    /// Name of the image: minimal-…, base-… or pkgbuild
    #[arg(short, long)]
    name: Name,

    /// Its release, such as 23.4.0
    #[arg(short, long)]
    release: Release,

    /// The seed: an image of a bare zone
    #[arg(long, value_name = "FILE")]
    seed: PathBuf,

    #[command(flatten)]
    common: Common,
}

/// What base images are made of besides their seed, and how they are written.
#[derive(Args, Debug)]
pub struct Common {
    /// Folder of packages, or the address of one: the one with pkg_summary.gz, called All in repositories
    #[arg(long, value_name = "DIR|URL")]
    pub packages: String,

    /// Bootstrap kit [default: the branch's, beside the packages or in the folder bootstrap of their repository]
    #[arg(long, value_name = "FILE")]
    pub bootstrap: Option<PathBuf>,

    /// Keys whose packages are trusted, as gpg --export writes them
    #[arg(long, value_name = "FILE")]
    pub keyring: Option<PathBuf>,

    /// Install packages without a signature, too
    #[arg(long)]
    pub allow_unsigned: bool,

    /// Folder laid over the zone before packages are installed; repeatable, later ones win. Files keep their executable bit; DIR.mtree
    /// beside it may give modes and owners
    #[arg(long = "overlay", value_name = "DIR")]
    pub overlays: Vec<PathBuf>,

    /// Fields of the manifest
    #[arg(value_name = "KEY=VALUE")]
    pub fields: Vec<String>,

    /// Folder for the images
    #[arg(short, long, value_name = "DIR", default_value = "output")]
    pub output: PathBuf,

    /// Replace images of the same names
    #[arg(long)]
    pub force: bool,

    /// Compression threads; the bytes do not depend on it [default: one a processor, at most 32]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,

    /// Compression level, 1 (fast) to 12 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=12))]
    pub level: u8,
}

impl Common {
    /// Fields of the manifest that were given.
    ///
    /// # Errors
    /// As misuse: a word is none, or says what the image is called or made of.
    pub fn fields(&self) -> Result<Fields> {
        let given = fields::join(Fields::new(), &self.fields)?;
        fields::without_origin(&given)?;
        if let Some(field) = ["name", "version"].into_iter().find(|field| given.contains_key(*field)) {
            return Err(anyhow!("the field {field} follows from the name and the release of the image"))
                .misuse("leave the field out");
        }
        Ok(given)
    }

    /// Compression threads.
    pub fn jobs(&self) -> NonZeroUsize {
        self.jobs.and_then(|jobs| NonZeroUsize::new(jobs.into())).unwrap_or_else(crate::jobs::default)
    }
}

/// Runs the command.
///
/// # Errors
/// Any step failed; nothing is left in the output folder then.
pub fn run(arguments: Arguments, report: &Report) -> Result<Ending> {
    let Arguments { config, date, name, release, seed, common } = arguments;
    let wanted = Wanted { name, release, config, date };
    let folder = OutputFolder::open(&common.output)?;
    let files = Files::stage(&folder, &wanted, &common.fields()?, common.force)?;
    let materials = Materials::find(&wanted, &common, report)?;
    let seed = Seed::read(&seed, report)?;
    make(
        wanted,
        files,
        &Build { seed: &seed, materials: &materials, common: &common, folder: &folder },
        report,
    )?
    .tell(report);
    Ok(Ending::Done)
}

/// What all images of one call are made with.
pub struct Build<'a> {
    /// What they are made of.
    pub seed: &'a Seed,
    /// What is installed in them.
    pub materials: &'a Materials,
    /// How.
    pub common: &'a Common,
    /// Where they go.
    pub folder: &'a OutputFolder,
}

/// What images are made of besides their seed: opened once, used by all.
pub struct Materials {
    repository: Box<dyn Repository>,
    trust: Trust,
    kit: Kit,
    scratch: Scratch,
}

impl Materials {
    /// Opens packages and keys, and finds the kit of an image.
    ///
    /// # Errors
    /// One of them is not there or is damaged.
    pub fn find(wanted: &Wanted, common: &Common, report: &Report) -> Result<Self> {
        report.step("find-packages", || {
            let scratch = Scratch::of_the_system();
            let keyring = common.keyring.as_deref().map(packages::read_keyring).transpose()?;
            let trust = Trust { keyring, allow_unsigned: common.allow_unsigned };
            if trust.keyring.is_none() && !trust.allow_unsigned {
                return Err(anyhow!("nobody is trusted whose packages could be installed"))
                    .misuse("name the keys with --keyring FILE, or install without with --allow-unsigned");
            }
            let repository = packages::open(&common.packages, &scratch)?;
            let kit = Kit::find(wanted, &common.packages, common.bootstrap.as_deref())?;
            let packages = units::count(repository.candidates().len(), "package");
            let detail = format!("{packages}, kit {}", kit.name);
            Ok(unchanged(Self { repository, trust, kit, scratch }, detail))
        })
    }
}

/// Makes one image.
///
/// # Errors
/// A step failed. Nothing has its name then.
pub fn make(wanted: Wanted, files: Files, build: &Build<'_>, report: &Report) -> Result<Made> {
    let Build { seed, materials, common, folder } = *build;
    let mut proto = Proto {
        wanted,
        tree: seed.image.tree.clone(),
        root: seed.root,
        time: seed.time,
        first_boot: FirstBoot::default(),
        installed: BTreeMap::new(),
    };
    report.step("overlays", || {
        let count = overlay::apply(&mut proto, &common.overlays)?;
        Ok(changed((), units::count(count, "file")))
    })?;
    report.step("bootstrap-kit", || {
        let Materials { kit, scratch, .. } = materials;
        let archive = archive::read(
            kit.path(),
            archive::Options { sums: true, ..archive::Options::default() },
            || scratch.file(),
            report,
        )?;
        let count = tools::lay(&archive.tree, &mut proto)
            .with_context(|| format!("the bootstrap kit {}", kit.name))?;
        Ok(changed((), format!("{}, {}", kit.name, units::count(count, "file"))))
    })?;
    report.step("package-tools", || {
        tools::configure(&mut proto)?;
        Ok(changed((), proto.wanted.repository()))
    })?;
    let installed = install(&mut proto, materials, report)?;
    customize::run(&mut proto, report)?;
    report.step("first-boot", || {
        let (queue, time) = (proto.first_boot.clone(), proto.time);
        queue.put(&mut proto.area(), PREFIX, time)?;
        Ok(changed((), format!("{} things are left for it", queue.entries().len())))
    })?;
    let compression = Compression::Gzip { jobs: common.jobs(), level: common.level };
    let done =
        Done { proto: &proto, version: seed.version(), kit: &materials.kit.name, installed: &installed };
    files.write(&done, compression, folder, common.force, report)
}

/// Installs the packages of the image.
fn install(proto: &mut Proto, materials: &Materials, report: &Report) -> Result<Installed> {
    let wanted: Vec<String> = proto.wanted.packages().into_iter().map(str::to_owned).collect();
    let options = InstallOptions {
        repository: &*materials.repository,
        packages: &wanted,
        trust: &materials.trust,
        prefix: PREFIX,
        time: proto.time,
        scratch: &materials.scratch,
    };
    let installed = packages::install(&mut proto.tree, &options, &mut proto.first_boot, report)?;
    let there = installed.packages.iter().map(|package| &package.name).chain(&installed.kept);
    proto.installed = there
        .filter_map(|name| name.rsplit_once('-'))
        .map(|(name, version)| (name.to_owned(), version.to_owned()))
        .collect();
    Ok(installed)
}
