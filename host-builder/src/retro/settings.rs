//! What a retro image is built from: flags, a recipe file, and the defaults below both.

use std::fmt;
use std::fs;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use uuid::Uuid;

use crate::report::Hint;
use crate::stamp::Stamp;

/// Password hash of the rescue entry in the original's menu: SHA-256 crypt of the word `root` (source: the boot menus
/// that SmartOS publishes; `openssl passwd -5 -salt 2HOHRnK3 root` prints it).
pub const ORIGINAL_RESCUE_HASH: &str = "$5$2HOHRnK3$NvLlm.1KQBbB0WjoP7xcIwGnllhzp2HnT.mDO7DpxYA";

/// Default seconds that the boot menu waits, as the original's.
const DEFAULT_TIMEOUT: u16 = 10;

/// Default volume size in MiB, as the original's.
const DEFAULT_SIZE: u32 = 1024;

/// Bytes of a recipe that are read; a longer file is cut there and then is no TOML, or is no recipe.
const RECIPE_LIMIT: u64 = 1 << 20;

/// Largest volume size in MiB: MBR and FAT32 count 512-byte sectors in 32 bits.
const MAX_SIZE: u32 = 2 * 1024 * 1024 - 1;

/// Turns a platform tarball into a bootable volume image and its manifest.
///
/// Reads data/platform-STAMP.tgz and writes output/smartos-retro-STAMP-VERSION.zvol.gz and .manifest, which
/// `imgadm install -m MANIFEST -f IMAGE` takes.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Arguments {
    /// Stamp of the platform, such as 20141030T081701Z
    pub stamp: Option<String>,

    /// TOML file with these same settings (long names as keys); flags win over it, lists are joined
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub recipe: Option<PathBuf>,

    /// Platform tarball [default: data/platform-STAMP.tgz]
    #[arg(long, value_name = "FILE")]
    pub platform: Option<PathBuf>,

    /// Folder for the image and its manifest [default: output]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Replace an image and manifest of the same name
    #[arg(long)]
    pub force: bool,

    /// Volume size in MiB, or 'auto' for the smallest that works [default: 1024]
    #[arg(long, value_name = "MIB|auto")]
    pub size: Option<Size>,

    /// Folder laid over the platform's boot archive; repeatable, later ones win. Modes and owners come from DIR.mtree
    /// beside it, never from the folder; without one, 0:0 and 0755 or 0644
    #[arg(long = "overlay", value_name = "DIR")]
    #[serde(rename = "overlay")]
    pub overlays: Vec<PathBuf>,

    /// Folder laid over the tree that becomes /opt/custom; repeatable, like --overlay
    #[arg(long = "custom", value_name = "DIR")]
    #[serde(rename = "custom")]
    pub customs: Vec<PathBuf>,

    /// PEM file to use as the CA bundle in /opt/custom/etc/ssl [default: Mozilla's roots]
    #[arg(long, value_name = "FILE")]
    pub ca_bundle: Option<PathBuf>,

    /// Boot loader: builtin, template, grub-legacy, or grub-legacy=DIR with the stage files [default: template when
    /// --template is given, else builtin]
    #[arg(long, value_name = "LOADER")]
    pub loader: Option<LoaderChoice>,

    /// Template disk image, plain or .tgz: its loader, geometry and files are kept
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,

    /// Seconds that the boot menu waits before it starts the first entry; 0 starts at once [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u16>,

    /// How menu.lst addresses consoles: on the first serial port, or with the original's lines [default: serial]
    #[arg(long, value_name = "STYLE")]
    pub menu: Option<MenuChoice>,

    /// Hash of the root password of the rescue entry, in crypt(5) form [default: the original's, for the word 'root']
    #[arg(long, value_name = "HASH")]
    pub rescue_password_hash: Option<String>,

    /// Version of the image [default: kiln's own]
    #[arg(long, value_name = "VERSION")]
    pub version: Option<String>,

    /// UUID of the image [default: derived from the content]
    #[arg(long, value_name = "UUID")]
    pub uuid: Option<Uuid>,

    /// When the manifest says the image was published, as 2014-10-30T08:17:01Z [default: the platform's stamp]
    #[arg(long, value_name = "TIME")]
    pub date: Option<String>,

    /// Make the manifest complete for that kind of image server
    #[arg(long = "for", value_name = "SERVER")]
    #[serde(rename = "for")]
    pub audience: Option<Audience>,

    /// Compression threads; the bytes do not depend on it [default: one a processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,

    /// Compression level, 1 (fast) to 12 (small) [default: 6]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=12))]
    pub level: Option<u8>,
}

/// The size of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The smallest that works.
    Auto,
    /// So many MiB.
    MiB(u32),
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        if text == "auto" {
            return Ok(Size::Auto);
        }
        let mib = text.parse().map_err(|_| "expected a number of MiB, or auto".to_owned())?;
        Size::in_mib(mib)
    }
}

impl Size {
    fn in_mib(mib: u32) -> Result<Size, String> {
        if (1..=MAX_SIZE).contains(&mib) {
            Ok(Size::MiB(mib))
        } else {
            Err(format!("a volume has 1 to {MAX_SIZE} MiB"))
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Word(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(mib) => Size::in_mib(mib),
            Written::Word(word) => word.parse(),
        }
        .map_err(serde::de::Error::custom)
    }
}

/// Which boot loader the image gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoaderChoice {
    /// kiln's own.
    Builtin,
    /// The one in the template image.
    Template,
    /// GRUB legacy, with its stage files from this folder, or found on the machine.
    GrubLegacy(Option<PathBuf>),
}

impl FromStr for LoaderChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<LoaderChoice, String> {
        match text.split_once('=') {
            None if text == "builtin" => Ok(LoaderChoice::Builtin),
            None if text == "template" => Ok(LoaderChoice::Template),
            None if text == "grub-legacy" => Ok(LoaderChoice::GrubLegacy(None)),
            Some(("grub-legacy", folder)) if !folder.is_empty() => {
                Ok(LoaderChoice::GrubLegacy(Some(folder.into())))
            }
            _ => Err("expected builtin, template, grub-legacy or grub-legacy=DIR".to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for LoaderChoice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<LoaderChoice, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for LoaderChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoaderChoice::Builtin => "builtin",
            LoaderChoice::Template => "template",
            LoaderChoice::GrubLegacy(_) => "grub-legacy",
        })
    }
}

/// The style of menu.lst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MenuChoice {
    /// Shown on the first serial port, which is the console of the guest.
    Serial,
    /// The original's global lines, which stock GRUB legacy shows on the screen only.
    Original,
}

/// The kind of image server that the manifest shall satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Audience {
    /// A server whose images are all public.
    Public,
    /// A stand-alone private server.
    Private,
    /// The image server of a data centre.
    Dc,
}

/// Everything decided: what the recipe works from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The platform.
    pub stamp: Stamp,
    /// The platform's tarball.
    pub platform: PathBuf,
    /// The folder for the results.
    pub output: PathBuf,
    /// Whether existing results are replaced.
    pub force: bool,
    /// Volume size.
    pub size: Size,
    /// Folders over the boot archive, in order.
    pub overlays: Vec<PathBuf>,
    /// Folders over /opt/custom, in order.
    pub customs: Vec<PathBuf>,
    /// The user's own CA bundle.
    pub ca_bundle: Option<PathBuf>,
    /// The loader.
    pub loader: LoaderChoice,
    /// The template disk image, present exactly when the loader is `template`.
    pub template: Option<PathBuf>,
    /// Seconds of the menu.
    pub timeout: u16,
    /// Style of menu.lst.
    pub menu: MenuChoice,
    /// Root's password hash in the rescue entry.
    pub rescue_password_hash: String,
    /// Version of the image.
    pub version: String,
    /// UUID of the image, when given.
    pub uuid: Option<Uuid>,
    /// `published_at` of the manifest.
    pub published_at: String,
    /// The server that the manifest is for.
    pub audience: Option<Audience>,
    /// Compression threads.
    pub jobs: NonZeroUsize,
    /// Compression level.
    pub level: u8,
}

impl Arguments {
    /// Joins flags, recipe file and defaults.
    ///
    /// # Errors
    /// The recipe file cannot be read or understood, or settings contradict each other or are out of range.
    pub fn settle(self) -> Result<Settings> {
        let merged = match &self.recipe {
            Some(path) => self.clone().over(read_recipe(path)?),
            None => self,
        };
        let stamp: Stamp = merged
            .stamp
            .as_deref()
            .ok_or_else(|| anyhow!("no platform stamp was given"))
            .hint("name the platform: kiln retro 20141030T081701Z")?
            .parse()?;
        let loader = match (merged.loader, &merged.template) {
            (None | Some(LoaderChoice::Template), Some(_)) => LoaderChoice::Template,
            (None, None) => LoaderChoice::Builtin,
            (Some(LoaderChoice::Template), None) => bail!("--loader template needs --template FILE"),
            (Some(other), Some(_)) => bail!("--template brings its own loader: drop --loader {other}"),
            (Some(other), None) => other,
        };
        let platform = match merged.platform {
            Some(path) => path,
            None => crate::platform::find(Path::new("data"), &stamp)?,
        };
        let hash = merged.rescue_password_hash.unwrap_or_else(|| ORIGINAL_RESCUE_HASH.to_owned());
        check_password_hash(&hash)?;
        let published_at = merged.date.unwrap_or_else(|| stamp.iso());
        check_date(&published_at)?;
        Ok(Settings {
            platform,
            output: merged.output.unwrap_or_else(|| "output".into()),
            force: merged.force,
            size: merged.size.unwrap_or(Size::MiB(DEFAULT_SIZE)),
            overlays: merged.overlays,
            customs: merged.customs,
            ca_bundle: merged.ca_bundle,
            loader,
            template: merged.template,
            timeout: merged.timeout.unwrap_or(DEFAULT_TIMEOUT),
            menu: merged.menu.unwrap_or(MenuChoice::Serial),
            rescue_password_hash: hash,
            version: merged.version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            uuid: merged.uuid,
            published_at,
            audience: merged.audience,
            jobs: merged.jobs.and_then(|jobs| NonZeroUsize::new(jobs.into())).unwrap_or_else(processors),
            level: merged.level.unwrap_or(6),
            stamp,
        })
    }

    /// These settings where given, else those of `below`; the lists of `below` come first, so that ours win.
    fn over(self, below: Arguments) -> Arguments {
        let joined = |mut first: Vec<PathBuf>, second: Vec<PathBuf>| {
            first.extend(second);
            first
        };
        Arguments {
            stamp: self.stamp.or(below.stamp),
            recipe: None,
            platform: self.platform.or(below.platform),
            output: self.output.or(below.output),
            force: self.force || below.force,
            size: self.size.or(below.size),
            overlays: joined(below.overlays, self.overlays),
            customs: joined(below.customs, self.customs),
            ca_bundle: self.ca_bundle.or(below.ca_bundle),
            loader: self.loader.or(below.loader),
            template: self.template.or(below.template),
            timeout: self.timeout.or(below.timeout),
            menu: self.menu.or(below.menu),
            rescue_password_hash: self.rescue_password_hash.or(below.rescue_password_hash),
            version: self.version.or(below.version),
            uuid: self.uuid.or(below.uuid),
            date: self.date.or(below.date),
            audience: self.audience.or(below.audience),
            jobs: self.jobs.or(below.jobs),
            level: self.level.or(below.level),
        }
    }
}

fn read_recipe(path: &Path) -> Result<Arguments> {
    let cannot = || format!("cannot use the recipe {}", path.display());
    let mut text = String::new();
    let file = fs::File::open(path).with_context(cannot)?;
    file.take(RECIPE_LIMIT).read_to_string(&mut text).with_context(cannot)?;
    let mut recipe = parse_recipe(&text)
        .with_context(cannot)
        .hint("its keys are the long names of the flags of kiln retro, such as size = 2048")?;
    // Paths in a recipe mean what stands beside it, wherever the command runs.
    let home = path.parent().unwrap_or(Path::new(""));
    for path in recipe.overlays.iter_mut().chain(&mut recipe.customs).chain(
        [&mut recipe.platform, &mut recipe.output, &mut recipe.ca_bundle, &mut recipe.template]
            .into_iter()
            .flatten(),
    ) {
        *path = home.join(&*path);
    }
    if let Some(LoaderChoice::GrubLegacy(Some(folder))) = &mut recipe.loader {
        *folder = home.join(&*folder);
    }
    Ok(recipe)
}

/// Reads the text of a recipe file.
///
/// # Errors
/// It is not TOML, a key is unknown, or a value is out of range.
pub fn parse_recipe(text: &str) -> Result<Arguments> {
    let recipe: Arguments = toml::from_str(text)?;
    if recipe.level.is_some_and(|level| !(1..=12).contains(&level)) {
        bail!("level is 1 to 12");
    }
    if recipe.jobs.is_some_and(|jobs| !(1..=256).contains(&jobs)) {
        bail!("jobs is 1 to 256");
    }
    Ok(recipe)
}

/// A date is the time of a stamp with its separators; fractions of a second may follow.
fn check_date(date: &str) -> Result<()> {
    let (seconds, fraction) = match date.split_once('.') {
        Some((seconds, rest)) => (format!("{seconds}Z"), rest.strip_suffix('Z')),
        None => (date.to_owned(), Some("0")),
    };
    let real = seconds.replace(['-', ':'], "").parse::<Stamp>().is_ok_and(|stamp| stamp.iso() == seconds);
    let digits =
        fraction.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    if !real || !digits {
        return Err(anyhow!("'{}' is not a time for --date", date.escape_debug()))
            .hint("write it in UTC, like 2014-10-30T08:17:01Z");
    }
    Ok(())
}

/// The hash stands between single quotes on the kernel's command line, so it must not be able to end them.
fn check_password_hash(hash: &str) -> Result<()> {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"$./=,_-".contains(&byte);
    if hash.is_empty() || hash.len() > 200 || !hash.bytes().all(usable) {
        return Err(anyhow!("'{}' is no password hash in crypt(5) form", hash.escape_debug()))
            .hint("openssl passwd -5 prints one");
    }
    Ok(())
}

fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_recipe_and_lists_are_joined() {
        let home = tempfile::tempdir().unwrap();
        let recipe = home.path().join("retro.toml");
        fs::write(
            &recipe,
            "stamp = '20141030T081701Z'\nplatform = 'p.tgz'\nsize = 'auto'\noverlay = ['a']\n\
             loader = 'grub-legacy=stages'\ntimeout = 3\nfor = 'dc'\n",
        )
        .unwrap();
        let flags = Arguments {
            recipe: Some(recipe),
            timeout: Some(5),
            overlays: vec!["b".into()],
            ..Arguments::default()
        };
        let settings = flags.settle().unwrap();
        assert_eq!(settings.stamp.as_str(), "20141030T081701Z");
        assert_eq!(settings.platform, home.path().join("p.tgz"));
        assert_eq!(settings.size, Size::Auto);
        assert_eq!(settings.overlays, [home.path().join("a"), "b".into()]);
        assert_eq!(settings.loader, LoaderChoice::GrubLegacy(Some(home.path().join("stages"))));
        assert_eq!(settings.timeout, 5);
        assert_eq!(settings.audience, Some(Audience::Dc));
        assert_eq!(settings.published_at, "2014-10-30T08:17:01Z");
    }

    #[test]
    fn recipes_with_unknown_or_impossible_settings_are_refused() {
        for text in ["sizes = 5", "size = 0", "level = 13", "jobs = 0", "menu = 'fancy'", "size = ["] {
            parse_recipe(text).unwrap_err();
        }
    }

    #[test]
    fn dates_are_real_times() {
        for date in ["2014-10-30T08:17:01Z", "2014-10-30T08:17:01.123Z"] {
            check_date(date).unwrap();
        }
        for date in ["", "2014-13-45T99:99:99Z", "20141030T081701Z", "2014-10-30", "2014-10-30T08:17:01.Z"] {
            check_date(date).unwrap_err();
        }
    }

    #[test]
    fn a_password_hash_cannot_leave_its_quotes() {
        for hash in ["", "x'y", "a b", "$5$a\nb"] {
            check_password_hash(hash).unwrap_err();
        }
        check_password_hash(ORIGINAL_RESCUE_HASH).unwrap();
    }

    #[test]
    fn a_template_decides_the_loader() {
        let with = |loader: Option<LoaderChoice>, template: Option<&str>| {
            Arguments {
                stamp: Some("20141030T081701Z".into()),
                platform: Some("p".into()),
                loader,
                template: template.map(Into::into),
                ..Arguments::default()
            }
            .settle()
            .map(|settings| settings.loader)
        };
        assert_eq!(with(None, None).unwrap(), LoaderChoice::Builtin);
        assert_eq!(with(None, Some("t")).unwrap(), LoaderChoice::Template);
        with(Some(LoaderChoice::Builtin), Some("t")).unwrap_err();
        with(Some(LoaderChoice::Template), None).unwrap_err();
    }
}
