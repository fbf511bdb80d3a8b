//! `kiln create-base-images`: the images of a release, one after the other.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use kiln_imgapi::{MANIFEST_LIMIT, Manifest};

use crate::cli::Ending;
use crate::digest::sha1_of;
use crate::install_base::{
    self, Architecture, Branch, Build, Common, Config, Files, KitDate, Materials, Name, Release, Seed, Wanted,
};
use crate::report::{Hint, Report, unchanged};
use crate::staging::OutputFolder;

/// The images of a release (source: imagetools, `create-base-images`).
const IMAGES: [&str; 3] = ["minimal-64", "base-64", "pkgbuild"];
/// The seed 20141030, of images up to 2016Q3.
const OLDER_SEED: &str = "d135c918-0558-11e5-bccb-9bb2e57508ee";
/// The seed 20141030u1, of later ones (DATASET-1240).
const NEWER_SEED: &str = "88a04a6c-d413-11e6-8341-ff5fa45bf3e9";
/// The last branch on the older seed.
const LAST_OF_OLDER: (u16, u8) = (2016, 3);
/// Most files in a folder of seeds.
const SEEDS: usize = 100_000;

/// Makes the base images of a release: minimal-64, base-64 and pkgbuild
///
/// One after the other, as kiln install-base makes each of them, from a seed that is read once. The seed is the one that is
/// given with --seed, or the branch's among the images in the folder --seeds, by the UUID in their manifests: 20141030
/// (d135c918-0558-11e5-bccb-9bb2e57508ee) for branches up to 2016Q3, 20141030u1 (88a04a6c-d413-11e6-8341-ff5fa45bf3e9) for later
/// ones and trunk.
///
///     kiln create-base-images -b 2023Q4 -r 23.4.0 -s lts --seeds seeds --keyring pkgsrc.gpg \
///         --packages https://pkgsrc.smartos.org/packages/SmartOS/2023Q4/x86_64/All
///
/// Fields of the manifests are given as KEY=VALUE, and are those of all three.
///
/// An image that is finished stays when a later one fails.
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Branch of the packages: YYYYQn or trunk
    #[arg(short, long)]
    branch: Branch,

    /// Release of the images, such as 23.4.0
    #[arg(short, long)]
    release: Release,

    /// Date of the bootstrap kit, if there are several
    #[arg(short, long)]
    date: Option<KitDate>,

    /// What the names of the images end in: minimal-64-SUFFIX
    #[arg(short, long, value_parser = suffix)]
    suffix: Option<String>,

    /// The seed: an image of a bare zone
    #[arg(long, value_name = "FILE", required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<PathBuf>,

    /// Folder of seeds with their manifests
    #[arg(long, value_name = "DIR")]
    seeds: Option<PathBuf>,

    #[command(flatten)]
    common: Common,
}

fn suffix(text: &str) -> Result<String, String> {
    if (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
    {
        return Ok(text.to_owned());
    }
    Err("a suffix is 1 to 32 letters, digits and dots, such as lts".to_owned())
}

/// Runs the command.
///
/// # Errors
/// An image cannot be made. Those before it are finished then.
pub fn run(arguments: Arguments, report: &Report) -> Result<Ending> {
    let Arguments { branch, release, date, suffix, seed, seeds, common } = arguments;
    let config = Config { branch: branch.clone(), architecture: Architecture::X86_64 };
    let wanted = |name: &str| -> Result<Wanted> {
        let name = suffix.as_ref().map_or_else(|| name.to_owned(), |suffix| format!("{name}-{suffix}"));
        let name = name.parse::<Name>().map_err(|problem| anyhow!(problem))?;
        Ok(Wanted { name, release: release.clone(), config: config.clone(), date: date.clone() })
    };
    let images = IMAGES.iter().map(|name| wanted(name)).collect::<Result<Vec<_>>>()?;
    let folder = OutputFolder::open(&common.output)?;
    // What would be refused in the end is refused before the first image is made.
    let fields = common.fields()?;
    if fields.contains_key("uuid") {
        return Err(anyhow!("{} images cannot have one UUID", IMAGES.len()))
            .misuse("leave the field uuid out, or make one image after the other with kiln install-base");
    }
    let stage = |wanted: &Wanted| Files::stage(&folder, wanted, &fields, common.force);
    let files = images.iter().map(stage).collect::<Result<Vec<_>>>()?;
    let materials = Materials::find(&images[0], &common, report)?;
    let seed = match seed {
        Some(seed) => seed,
        None => report.step("choose-seed", || {
            let seeds = seeds.expect("the command line demands one of the two");
            let (path, manifest) = choose(&seeds, seed_of(&branch))?;
            let detail = format!("{}: {} {}", path.display(), manifest.name, manifest.version);
            Ok(unchanged(path, detail))
        })?,
    };
    let seed = Seed::read(&seed, report)?;
    let build = Build { seed: &seed, materials: &materials, common: &common, folder: &folder };
    for (wanted, files) in images.into_iter().zip(files) {
        let title = wanted.title();
        let made = install_base::make(wanted, files, &build, report)
            .with_context(|| format!("cannot make {title}"))?;
        made.tell(report);
    }
    Ok(Ending::Done)
}

/// The UUID of the seed of a branch.
fn seed_of(branch: &Branch) -> &'static str {
    if branch.quarter() <= LAST_OF_OLDER { OLDER_SEED } else { NEWER_SEED }
}

/// Finds the image of that UUID by its manifest, which must be that of the file beside it.
fn choose(folder: &Path, uuid: &str) -> Result<(PathBuf, Manifest)> {
    let cannot = || format!("cannot read the folder of seeds {}", folder.display());
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in
        fs::read_dir(folder).with_context(cannot).hint("name the folder that has the seeds with --seeds")?
    {
        paths.push(entry.with_context(cannot)?.path());
        if paths.len() > SEEDS {
            return Err(anyhow!("it has more than {SEEDS} files")).with_context(cannot);
        }
    }
    paths.sort();
    let endings = [".json", ".imgmanifest", ".manifest"];
    for path in &paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(stem) = endings.iter().find_map(|ending| name.strip_suffix(ending)) else { continue };
        // What is no manifest of an image is not what is looked for.
        let Some(manifest) = read_manifest(path).filter(|manifest| manifest.uuid == uuid) else { continue };
        for ending in [".zfs.gz", ".zfs", "-file.gz", "-file0"] {
            let image = path.with_file_name(format!("{stem}{ending}"));
            if image.is_file() {
                check(&image, &manifest)?;
                return Ok((image, manifest));
            }
        }
        return Err(anyhow!("there is no image beside {}", path.display()))
            .hint(format!("put the image's file there, as {stem}.zfs.gz"));
    }
    Err(anyhow!("none of the manifests in {} is that of the branch's seed, {uuid}", folder.display()))
        .hint(format!("fetch the image {uuid} with its manifest, or name another seed with --seed"))
}

fn read_manifest(path: &Path) -> Option<Manifest> {
    let length = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.len();
    if length > MANIFEST_LIMIT as u64 {
        return None;
    }
    Manifest::from_slice(&fs::read(path).ok()?).ok()
}

/// Compares an image with the digest in its manifest.
fn check(image: &Path, manifest: &Manifest) -> Result<()> {
    let Some(file) = manifest.files.as_deref().and_then(<[_]>::first) else { return Ok(()) };
    let cannot = || format!("cannot read {}", image.display());
    let sha1 = sha1_of(fs::File::open(image).with_context(cannot)?).with_context(cannot)?;
    if sha1 != file.sha1.to_ascii_lowercase() {
        return Err(anyhow!(
            "{} is not the image of its manifest: its SHA-1 is {sha1}, not {}",
            image.display(),
            file.sha1
        ))
        .hint("fetch it again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_chooses_the_seed() {
        for (branch, seed) in [
            ("2013Q1", OLDER_SEED),
            ("2016Q3", OLDER_SEED),
            ("2016Q4", NEWER_SEED),
            ("2024Q4", NEWER_SEED),
            ("trunk", NEWER_SEED),
        ] {
            assert_eq!(seed_of(&branch.parse().unwrap()), seed, "{branch}");
        }
    }
}
