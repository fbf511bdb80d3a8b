//! What a retro image is built from: flags, a recipe file, and the defaults below both.

use std::fmt;
use std::fs;
use std::io::Read;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use uuid::Uuid;

use crate::jobs;
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

/// Levels of compression.
const LEVELS: RangeInclusive<i64> = 1..=12;

/// Numbers of compression threads.
const JOBS: RangeInclusive<i64> = 1..=256;

/// Schemes of password hashes that every platform knows, with the length of the last part of a hash in characters
/// (source: illumos `/etc/security/crypt.conf` and the modules below usr/src/lib/crypt_modules).
const HASH_SCHEMES: [(&str, usize); 5] = [("1", 22), ("2a", 53), ("md5", 22), ("5", 43), ("6", 86)];

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
    #[serde(deserialize_with = "timeout")]
    pub timeout: Option<u16>,

    /// How menu.lst addresses consoles: on the first serial port, or with the original's lines [default: serial]
    #[arg(long, value_name = "STYLE")]
    pub menu: Option<MenuChoice>,

    /// Hash of the root password of the rescue entry, $ID$SALT$HASH as `openssl passwd -5` prints it; illumos knows the
    /// IDs 1, 2a, md5, 5 and 6 [default: the original's, for the word 'root']
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
    #[serde(deserialize_with = "date")]
    pub date: Option<String>,

    /// Make the manifest complete for that kind of image server
    #[arg(long = "for", value_name = "SERVER")]
    #[serde(rename = "for")]
    pub audience: Option<Audience>,

    /// Compression threads; the bytes do not depend on it [default: one a processor, at most 32; each takes some
    /// 3 MiB of memory]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(JOBS))]
    #[serde(deserialize_with = "jobs")]
    pub jobs: Option<u16>,

    /// Compression level, 1 (fast) to 12 (small) [default: 6]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(LEVELS))]
    #[serde(deserialize_with = "level")]
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
        let mib = text.parse().map_err(|_| "expected a number of MiB, or 'auto'".to_owned())?;
        Size::in_mib(mib)
    }
}

impl Size {
    fn in_mib(mib: i64) -> Result<Size, String> {
        let possible = u32::try_from(mib).ok().filter(|mib| (1..=MAX_SIZE).contains(mib));
        possible.map(Size::MiB).ok_or_else(|| format!("a volume has 1 to {MAX_SIZE} MiB, or 'auto'"))
    }
}

/// Takes a level of compression from a recipe.
fn level<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
    bounded(deserializer, LEVELS, "a level is 1 (fast) to 12 (small)")
}

/// Takes a number of threads from a recipe.
fn jobs<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    bounded(deserializer, JOBS, "jobs are 1 to 256 threads")
}

/// Takes the seconds of the menu from a recipe.
fn timeout<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    bounded(deserializer, 0..=i64::from(u16::MAX), "a timeout is 0 to 65535 seconds")
}

fn bounded<'de, D: serde::Deserializer<'de>, T: TryFrom<i64>>(
    deserializer: D,
    range: RangeInclusive<i64>,
    rule: &str,
) -> Result<Option<T>, D::Error> {
    let number = toml::Value::deserialize(deserializer)?.as_integer().filter(|number| range.contains(number));
    match number.and_then(|number| T::try_from(number).ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(serde::de::Error::custom(rule)),
    }
}

/// Takes a time from a recipe, as text or as TOML's own kind of date.
fn date<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let written = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => text,
        toml::Value::Datetime(time) => time.to_string(),
        other => other.to_string(),
    };
    match check_date(&written) {
        Ok(()) => Ok(Some(written)),
        Err(rule) => Err(serde::de::Error::custom(rule)),
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Integer(mib) => Size::in_mib(mib),
            toml::Value::String(word) => word.parse(),
            _ => Err("expected a number of MiB, or 'auto'".to_owned()),
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
    /// The recipe file cannot be read or understood, or there is no platform; and as misuse: settings contradict each
    /// other or are out of range.
    pub fn settle(self) -> Result<Settings> {
        let merged = match &self.recipe {
            Some(path) => self.clone().over(read_recipe(path)?),
            None => self,
        };
        let stamp = merged
            .stamp
            .as_deref()
            .ok_or_else(|| anyhow!("no platform stamp was given"))
            .misuse("name the platform: kiln retro 20141030T081701Z")?
            .parse::<Stamp>()
            .misuse("a platform's stamp is part of its tarball's name: kiln retro 20141030T081701Z")?;
        let loader = match (merged.loader, &merged.template) {
            (None | Some(LoaderChoice::Template), Some(_)) => LoaderChoice::Template,
            (None, None) => LoaderChoice::Builtin,
            (Some(LoaderChoice::Template), None) => {
                return Err(anyhow!("the loader 'template' needs a template"))
                    .misuse("name a disk image with --template FILE, or take another --loader");
            }
            (Some(other), Some(_)) => {
                return Err(anyhow!(
                    "a template brings its own loader, and the loader '{other}' was asked for"
                ))
                .misuse("drop --loader, or --template");
            }
            (Some(other), None) => other,
        };
        let platform = match merged.platform {
            Some(path) => path,
            None => crate::platform::find(Path::new("data"), &stamp)?,
        };
        let hash = merged.rescue_password_hash.unwrap_or_else(|| ORIGINAL_RESCUE_HASH.to_owned());
        check_password_hash(&hash).map_err(|problem| anyhow!(problem)).misuse(
            "openssl passwd -5 prints one; put single quotes around it, because it contains dollar signs",
        )?;
        let published_at = merged.date.unwrap_or_else(|| stamp.iso());
        check_date(&published_at)
            .map_err(|problem| anyhow!(problem))
            .misuse("--date takes times from 1970 until the beginning of 2038, to the second or finer")?;
        let version = merged.version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
        check_version(&version).map_err(|problem| anyhow!(problem)).misuse("choose another --version")?;
        if merged.uuid.is_some_and(|uuid| uuid.is_nil()) {
            return Err(anyhow!("a UUID of zeros alone names no image"))
                .misuse("leave --uuid out, and the content decides, or give one as uuidgen prints it");
        }
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
            version,
            uuid: merged.uuid,
            published_at,
            audience: merged.audience,
            jobs: merged.jobs.and_then(|jobs| NonZeroUsize::new(jobs.into())).unwrap_or_else(jobs::default),
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
    fs::File::open(path)
        .and_then(|file| file.take(RECIPE_LIMIT).read_to_string(&mut text))
        .with_context(cannot)
        .hint("give the path of a TOML file that you may read with --recipe FILE")?;
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
    // The parser's text ends in a line end of its own.
    toml::from_str(text).map_err(|error| anyhow!(error.to_string().trim_end().to_owned()))
}

/// A date is the time of a stamp with its separators; fractions of a second may follow.
fn check_date(date: &str) -> Result<(), String> {
    let (seconds, fraction) = match date.split_once('.') {
        Some((seconds, rest)) => (format!("{seconds}Z"), rest.strip_suffix('Z')),
        None => (date.to_owned(), Some("0")),
    };
    let real = seconds.replace(['-', ':'], "").parse::<Stamp>().is_ok_and(|stamp| stamp.iso() == seconds);
    let digits =
        fraction.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    if real && digits {
        Ok(())
    } else {
        Err(format!("'{}' is not a time in UTC like 2014-10-30T08:17:01Z", date.escape_debug()))
    }
}

/// The version becomes a part of file names, so it must be one part.
fn check_version(version: &str) -> Result<(), String> {
    if version.contains('/') {
        return Err(format!("the version '{}' cannot be part of a file name", version.escape_debug()));
    }
    if version.len() > 200 {
        return Err(format!("the version has {} bytes, too many for a file name", version.len()));
    }
    Ok(())
}

/// The hash stands between single quotes on the kernel's command line, so it must not be able to end them.
///
/// A hash that the guest does not understand would leave the rescue entry without a way in, so its form is checked as
/// far as it can be: `$ID$SALT$HASH`, with parameters behind the ID or in a part of their own.
fn check_password_hash(hash: &str) -> Result<(), String> {
    let shown = hash.escape_debug();
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"$./=,_-".contains(&byte);
    if hash.len() > 200 || !hash.bytes().all(usable) {
        return Err(format!("'{shown}' is no password hash: it has other characters than crypt(5) makes"));
    }
    let parts: Vec<&str> = hash.split('$').collect();
    let ["", scheme, salt, .., sum] = parts.as_slice() else {
        return Err(format!("'{shown}' is no password hash of the form $ID$SALT$HASH"));
    };
    let id = scheme.split(',').next().unwrap_or_default();
    let Some((_, length)) = HASH_SCHEMES.iter().find(|(known, _)| *known == id) else {
        let known: Vec<&str> = HASH_SCHEMES.iter().map(|(id, _)| *id).collect();
        return Err(format!(
            "'{shown}' is a password hash of the scheme '{id}', and illumos knows {}",
            known.join(", ")
        ));
    };
    if salt.is_empty() || sum.len() != *length {
        return Err(format!(
            "'{shown}' is no whole password hash: those of the scheme '{id}' have a salt and end in {length} \
             characters, and it ends in {}",
            sum.len()
        ));
    }
    Ok(())
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
        for (text, expected) in [
            ("\nsizes = 5", "line 2, column 1"),
            ("size = 0", "a volume has 1 to 2097151 MiB, or 'auto'"),
            ("size = -1", "a volume has 1 to 2097151 MiB, or 'auto'"),
            ("size = 'big'", "expected a number of MiB, or 'auto'"),
            ("size = [5]", "expected a number of MiB, or 'auto'"),
            ("level = 13", "a level is 1 (fast) to 12 (small)"),
            ("level = 'high'", "a level is 1 (fast) to 12 (small)"),
            ("jobs = 0", "jobs are 1 to 256 threads"),
            ("\n\ntimeout = -1", "line 3, column 11"),
            ("date = 5", "'5' is not a time"),
            ("date = 2014-10-30", "'2014-10-30' is not a time"),
            ("menu = 'fancy'", "fancy"),
            ("size = [", "line 1"),
        ] {
            let error = format!("{:#}", parse_recipe(text).unwrap_err());
            assert!(error.contains(expected) && error.contains("line "), "{text}: {error}");
        }
    }

    #[test]
    fn a_recipe_writes_dates_in_either_way() {
        for date in ["2014-10-30T08:17:01Z", "2014-10-30 08:17:01Z", "'2014-10-30T08:17:01Z'"] {
            let recipe = parse_recipe(&format!("date = {date}")).unwrap();
            assert_eq!(recipe.date.as_deref(), Some("2014-10-30T08:17:01Z"), "{date}");
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
    fn a_password_hash_is_one_that_the_guest_understands() {
        let sum = "x".repeat(43);
        for hash in [
            // What a shell leaves of a hash between double quotes, the word itself, and what ends the quotes.
            "",
            "NvLlm.1KQBbB0WjoP7xcIwGnllhzp2HnT.mDO7DpxYA",
            "root",
            "x'y",
            &format!("$5$sa'lt${sum}"),
            &format!("$5$salt${sum}\n"),
            &format!("$5$$${sum}"),
            &format!("$5$salt${}", &sum[1..]),
            // The default of Debian's mkpasswd.
            &format!("$y$j9T$salt${sum}"),
        ] {
            check_password_hash(hash).unwrap_err();
        }
        for hash in [
            ORIGINAL_RESCUE_HASH,
            &format!("$5$rounds=10000$salt${sum}"),
            &format!("$6$salt${}", "x".repeat(86)),
            &format!("$1$salt${}", "x".repeat(22)),
            &format!("$md5,rounds=904$salt$${}", "x".repeat(22)),
            &format!("$2a$04${}", "x".repeat(53)),
        ] {
            check_password_hash(hash).unwrap();
        }
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
