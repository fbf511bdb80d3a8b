//! `kiln create-image`: a folder, an archive, a stream or a dataset becomes the image of a zone and its manifest.

mod arguments;
mod ask;
mod settings;
mod summary;

use std::path::Path;

use anyhow::{Result, anyhow};
use kiln_imgapi::Manifest;
use kiln_zstream::fs::{Tree, Version};
use serde_json::{Value, json};

pub use self::arguments::Arguments;
use self::settings::{Settings, Source};
use crate::cli::Ending;
use crate::native_zfs;
use crate::report::{Hint, Report, changed, unchanged};
use crate::staging::{OutputFolder, StagedFile, publish_image};
use crate::units;
use crate::zone::area::Area;
use crate::zone::dataset::{self as layout, Layout};
use crate::zone::fields;
use crate::zone::image::{self, Written};
use crate::zone::manifest::{self, Draft};
use crate::zone::origin::{self, Origin};
use crate::zone::stream::{self, ImageFile, ImageTree};
use crate::zone::{archive, folder, needs, owners};

/// What a finished build tells about itself.
struct Built {
    manifest: Manifest,
    written: Written,
    /// GUID of the snapshot that the image goes on top of.
    origin_guid: Option<u64>,
    /// Names in the tree.
    names: usize,
}

/// Runs the command.
///
/// # Errors
/// Any step failed; nothing is left in the output folder then.
pub fn run(arguments: Arguments, report: &Report) -> Result<Ending> {
    let mut settings = Settings::settle(arguments)?;
    let origin = origin::find(&settings.origins, &settings.folders(), report)?;
    if let Some(origin) = &origin {
        check_origin(origin, &mut settings)?;
    } else {
        fields::without_origin(&settings.fields)?;
    }
    let inherited = origin.as_ref().and_then(|origin| origin.manifest.as_ref());
    let draft = settings.draft(inherited);
    draft.check()?;

    let folder =
        OutputFolder::open(&settings.output).hint("choose a folder that you may write to with --output")?;
    let stem = &settings.stem;
    let mut image = folder.stage(format!("{stem}{}", settings.compression.ending()), settings.force)?;
    let manifest_file = folder.stage(format!("{stem}{}", settings.manifest_ending), settings.force)?;

    let built = build(&settings, &draft, origin.as_ref(), &folder, &mut image, report)?;
    let paths = publish_image(&folder, [image, manifest_file], &built.manifest, settings.force, report)?;
    for warning in manifest::warnings(&built.manifest) {
        report.warn(&warning);
    }
    summary::print(&built, origin.as_ref(), &paths, report);
    Ok(Ending::Done)
}

/// Sees to it that the manifest can name the origin, and that there are not too many images under this one.
fn check_origin(origin: &Origin, settings: &mut Settings) -> Result<()> {
    let given = settings.fields.get("origin").and_then(Value::as_str).map(str::to_owned);
    if !settings.incremental() {
        return match given {
            Some(_) => Err(anyhow!("an image that stands alone has no origin"))
                .misuse("leave out the field origin, or --full"),
            None => Ok(()),
        };
    }
    let limit = settings.max_origin_depth.map_or(usize::MAX, |limit| limit as usize);
    if origin.depth > limit {
        return Err(anyhow!(
            "{} images would be under this one, more than the {limit} of --max-origin-depth",
            origin.depth
        ))
        .hint("make an image that stands alone with --full");
    }
    let uuid = origin.manifest.as_ref().and_then(|manifest| manifest.get("uuid")).and_then(Value::as_str);
    match (given, uuid) {
        (Some(given), Some(uuid)) if given != uuid => Err(anyhow!(
            "the field origin is {given}, and the manifest of {} says {uuid}",
            origin.file.display()
        ))
        .misuse("leave the field out"),
        (None, None) => {
            let asked = ask::required(
                "UUID of the origin",
                &format!("there is no manifest beside {}, which would say its UUID", origin.file.display()),
                "add origin=UUID at the end, or put the manifest of the origin beside it",
            )?;
            settings.fields.insert("origin".to_owned(), json!(asked));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn build(
    settings: &Settings,
    draft: &Draft,
    origin: Option<&Origin>,
    folder: &OutputFolder,
    image: &mut StagedFile,
    report: &Report,
) -> Result<Built> {
    let base = match origin.filter(|_| settings.incremental()) {
        Some(origin) => Some(read_origin(origin, settings.zpl_version, report)?),
        None => None,
    };
    let (tree, layout) = read_source(settings, origin, folder, report)?;
    let (tree, root) = report.step("lay-out-dataset", || {
        let made = layout::dataset(tree, layout)?;
        let detail = match (layout, made.left_out.is_empty()) {
            (Layout::Zone, _) => "the top is the zone's /".to_owned(),
            (Layout::Dataset, true) => "root is the zone's /".to_owned(),
            (Layout::Dataset, false) => {
                format!(
                    "root is the zone's /; left out, as data of the zone that it was: {}",
                    made.left_out.join(", ")
                )
            }
        };
        Ok(changed((made.tree, made.root), detail))
    })?;
    let mut tree = tree;
    warn_of_needs(&Area::new(&mut tree, root), draft, report);

    if let Some(base) = &base {
        if layout == Layout::Zone {
            layout::keep_local(&mut tree, &base.tree)?;
        }
        layout::adopt_times(&mut tree, &base.tree);
    }
    let newest = layout::newest(&tree);
    let snapshot = settings.snapshot(newest, settings.zpl_version.unwrap_or_default());
    let written = report.step("write-image", || {
        let written = image::write(&tree, base.as_ref(), &snapshot, settings.compression, image, report)?;
        let detail = format!("{}, SHA-1 {}", units::size(written.size), written.sha1);
        Ok(changed(written, detail))
    })?;
    report.step("verify-image", || {
        image::verify(image.file(), settings.compression, &written, report)?;
        Ok(unchanged((), format!("{} records of the stream are sound", written.stream.records)))
    })?;
    let manifest = draft.complete(newest, &written, settings.compression)?;
    let origin_guid = base.as_ref().and_then(|base| base.objects.info()).map(|info| info.guid);
    Ok(Built { manifest, written, origin_guid, names: tree.walk().count() })
}

fn read_origin(origin: &Origin, zpl_version: Option<Version>, report: &Report) -> Result<ImageTree> {
    report.step("read-origin", || {
        let base = origin.read(report)?;
        let asked = zpl_version.map(|version| if version == Version::Four { 4 } else { 5 });
        if asked.is_some_and(|asked| asked != base.version) {
            return Err(anyhow!(
                "the origin is a file system of version {}, and so is what goes on top of it",
                base.version
            ))
            .misuse("leave out --zpl-version, or make an image that stands alone with --full");
        }
        let names = base.tree.walk().count();
        Ok(unchanged(base, format!("{}: {names} files", origin.file.display())))
    })
}

/// Reads the tree, and gives its files the owners that they shall have.
fn read_source(
    settings: &Settings,
    origin: Option<&Origin>,
    folder: &OutputFolder,
    report: &Report,
) -> Result<(Tree, Layout)> {
    let detail = |tree: &Tree, path: &Path| format!("{}: {} files", path.display(), tree.walk().count());
    let mut names = None;
    let mut tree = match &settings.source {
        Source::Folder(path, options) => report.step("read-folder", || {
            let tree = folder::read(path, *options, report)?;
            let detail = detail(&tree, path);
            Ok(unchanged(tree, detail))
        })?,
        Source::Archive(path, options) => report.step("read-archive", || {
            let archive = archive::read(path, *options, || folder.scratch(), report)?;
            let detail = detail(&archive.tree, path);
            names = Some(archive.names);
            Ok(unchanged(archive.tree, detail))
        })?,
        Source::Stream(path) => report.step("read-stream", || {
            let below = origin.map(Origin::files).unwrap_or_default();
            let tree = ImageFile::open(path, report)?.read(&below, report)?.tree;
            let detail = detail(&tree, path);
            Ok(unchanged(tree, detail))
        })?,
        Source::Dataset(name) => report.step("read-dataset", || {
            let tree = stream::receive(native_zfs::open(name)?, Path::new(name), report)?.tree;
            let detail = detail(&tree, Path::new(name));
            Ok(unchanged(tree, detail))
        })?,
    };
    let layout = settings.layout.unwrap_or_else(|| layout::layout(&tree));
    let root = layout::zone_root(&tree, layout).unwrap_or(tree.root());
    let mut area = Area::new(&mut tree, root);
    if let Some(names) = names.filter(|names| !names.is_empty()) {
        report.step("look-up-owners", || {
            let count = names.len();
            names.resolve(&mut area)?;
            Ok(changed((), format!("{count} files by the names of their owners")))
        })?;
    }
    for list in &settings.ownership {
        report.step("apply-ownership", || {
            let spoken = owners::apply(&mut area, list)?;
            Ok(changed((), format!("{}: modes and owners of {spoken} files", list.display())))
        })?;
    }
    Ok((tree, layout))
}

/// Says what a SmartOS zone of this tree would not start without.
fn warn_of_needs(zone: &Area<'_>, draft: &Draft, report: &Report) {
    if draft.field("type").and_then(Value::as_str) != Some("zone-dataset") {
        return;
    }
    let brand = draft.field("requirements").and_then(|requirements| requirements.get("brand"));
    let missing = needs::missing(zone, brand.and_then(Value::as_str).unwrap_or("joyent"));
    if !missing.is_empty() {
        report.warn(&format!("a zone of this image would not come up: {}", missing.join(", ")));
    }
}
