//! `kiln retro`: a platform tarball becomes a bootable volume image and its manifest.

pub(crate) mod accounts;
mod archive;
mod disk;
mod loader;
mod settings;
mod sources;
mod summary;
mod volume;

use anyhow::{Context, Result};
use kiln_imgapi::{Kind, Manifest, RetroImage};
use kiln_zstream::volume::{DEFAULT_BLOCK_SIZE, VolumeOptions};
use uuid::Uuid;

use crate::cli::Ending;
use crate::contents::source::Source;
use crate::custom_archive;
use crate::digest;
use crate::identity;
use crate::overlay::{Layer, Tree};
use crate::pieces;
use crate::pieces::record::{Proof, Record};
use crate::platform::{self, Platform};
use crate::report::{Hint, Report, changed, unchanged};
use crate::staging::{NO_ROOM, OutputFolder, StagedFile, publish_image};
use crate::units;
pub use settings::{Arguments, Audience, parse_recipe};
use settings::{MenuChoice, Settings};
use sources::Sources;

/// Name of the stream's dataset and snapshot. imgadm receives under a name of its own and wants the snapshot `@final`
/// (source: smartos-live src/img/lib/imgadm.js).
const SNAPSHOT: &str = "kiln/retro@final";

/// Files of a platform that a retro image does not need, as in the original: the password in plain text, and the build's
/// source revisions.
const DROPPED: [&str; 2] = ["root.password", "i86pc/amd64/boot_archive.gitstatus"];

/// What a finished build tells about itself.
struct Built {
    manifest: Manifest,
    written: volume::Written,
    volume_size: u64,
    boot_archive_sha1: String,
    loader: loader::Loader,
    snapshot_guid: u64,
}

/// Runs the command.
///
/// # Errors
/// Any step failed; nothing is left in the output folder then.
pub fn run(arguments: Arguments, report: &Report) -> Result<Ending> {
    let settings = arguments.settle()?;
    let name = format!("smartos-retro-{}-{}", settings.stamp, settings.version);
    // What a manifest would not take is said before the work, with stand-ins for what only the work can tell.
    let stand_in = volume::Written { size: 1, sha1: "0".repeat(40), ..volume::Written::default() };
    manifest(&settings, &stand_in, 1 << 20).misuse("choose another --version, --uuid or --date")?;
    let folder =
        OutputFolder::open(&settings.output).hint("choose a folder that you may write to with --output")?;
    let mut image = folder.stage(format!("{name}.zvol.gz"), settings.force)?;
    let manifest_file = folder.stage(format!("{name}.manifest"), settings.force)?;

    let built = build(&settings, &folder, &mut image, report)?;
    let paths = publish_image(&folder, [image, manifest_file], &built.manifest, settings.force, report)?;
    summary::print(&settings, &built, &paths, report);
    Ok(Ending::Done)
}

fn build(
    settings: &Settings,
    folder: &OutputFolder,
    image: &mut StagedFile,
    report: &Report,
) -> Result<Built> {
    let modified = i64::from(settings.stamp.unix_seconds());
    let loader = report.step("prepare-loader", || {
        let loader = loader::prepare(&settings.loader, settings.template.as_deref(), folder)?;
        Ok(unchanged(loader, settings.loader.to_string()))
    })?;
    // What clashes among the overlays is found before the long work.
    let mut overlays = vec![pieces::boot_archive(&settings.stamp)];
    overlays.extend(read_layers(&settings.overlays)?);
    let mut overlays = Tree::stack(overlays)?;
    let customs = read_layers(&settings.customs)?;

    let platform = read_platform(settings, folder, report)?;
    let custom = report.step("pack-custom", || {
        let bundle = settings.ca_bundle.as_deref();
        let custom =
            custom_archive::build(&settings.stamp, customs, bundle, settings.jobs, folder.scratch()?)?;
        for member in &custom.members {
            tracing::info!(member, "packed into custom.tgz");
        }
        let detail =
            format!("custom.tgz: {}, {} bytes", units::count(custom.members.len(), "member"), custom.size);
        Ok(changed(custom, detail))
    })?;

    let proof = Proof { sha256: digest::hex(&custom.sha256), bytes: custom.size };
    let record = Record::new(&settings.stamp, proof, &overlays)?;
    overlays.add(pieces::record(&record))?;
    let spool = Source::file(platform.spool).context("cannot read a temporary file back")?;
    let of_platform = || format!("platform {}", settings.platform.display());
    let archive =
        archive::edit(settings, platform.boot_archive, platform.boot_archive_size, &overlays, report)
            .with_context(of_platform)?;

    let mut sources = Sources::default();
    let home = format!("/os/{}/platform", settings.stamp);
    for (path, file) in &platform.files {
        if path != platform::BOOT_ARCHIVE_HASH {
            let source = spool.slice(file.offset, file.size);
            sources.add_source(&format!("{home}/{path}"), source, &file.sha1, modified);
        }
    }
    sources.add_source(
        &format!("{home}/{}", platform::BOOT_ARCHIVE),
        Source::new(archive.file, archive.size),
        archive.sha1.as_bytes(),
        modified,
    );
    // Kernels of 2013 read 41 bytes, so the line end belongs to it.
    let hash = format!("{}\n", archive.sha1).into_bytes();
    sources.add_bytes(&format!("{home}/{}", platform::BOOT_ARCHIVE_HASH), hash, modified);
    sources.add_source("/custom.tgz", Source::new(custom.file, custom.size), &custom.sha256, modified);

    let planned = report.step("lay-out-disk", || {
        let planned = disk::plan(settings, &loader, &mut sources, archive.has_vmm, modified)
            .with_context(of_platform)?;
        let detail = format!(
            "{} MiB volume, loader {}, {}",
            planned.volume_size >> 20,
            settings.loader,
            units::count(sources.entries().len(), "file")
        );
        Ok(changed(planned, detail))
    })?;

    let snapshot_guid = sources.derive_from_disk(&planned.layout, "snapshot guid")?.max(1);
    let written = report.step("write-image", || {
        let options = VolumeOptions {
            to_name: SNAPSHOT.to_owned(),
            to_guid: snapshot_guid,
            creation_time: u64::try_from(modified).unwrap_or(0),
            size: planned.volume_size,
            block_size: DEFAULT_BLOCK_SIZE,
        };
        let compression = volume::Compression { jobs: settings.jobs, level: settings.level };
        let total = planned.layout.extents().iter().map(|extent| extent.length).sum();
        let progress = report.progress("write-image", total);
        let written = volume::write(&planned.layout, &sources, &options, compression, image, &progress)
            .hint(NO_ROOM)?;
        let detail = format!("{} bytes, SHA-1 {}", written.size, written.sha1);
        Ok(changed(written, detail))
    })?;

    let manifest = manifest(settings, &written, planned.volume_size)?;
    Ok(Built {
        manifest,
        written,
        volume_size: planned.volume_size,
        boot_archive_sha1: archive.sha1,
        loader,
        snapshot_guid,
    })
}

fn read_layers(folders: &[std::path::PathBuf]) -> Result<Vec<Layer>> {
    folders.iter().map(|folder| Layer::read(folder)).collect()
}

fn read_platform(settings: &Settings, folder: &OutputFolder, report: &Report) -> Result<Platform> {
    report.step("read-platform", || {
        let path = &settings.platform;
        let cannot = || format!("cannot use the platform {}", path.display());
        let size = platform::open(path).with_context(cannot)?.metadata().with_context(cannot)?.len();
        // An unpacked platform takes about three times its tarball, and the image is about as large as that.
        let wanted = size.saturating_mul(4);
        let free = folder.free_bytes()?;
        if free < wanted {
            report.warn(&format!(
                "{} has room for {}; building may need {}",
                folder.path().display(),
                units::size(free),
                units::size(wanted)
            ));
        }
        let progress = report.progress("read-platform", size);
        let platform = platform::read(
            path,
            Some(&settings.stamp),
            folder.scratch()?,
            folder.scratch()?,
            |file| !DROPPED.contains(&file),
            &progress,
        )?;
        let detail = format!("{}: {}", path.display(), platform.directory);
        Ok(unchanged(platform, detail))
    })
}

fn manifest(settings: &Settings, written: &volume::Written, volume_size: u64) -> Result<Manifest> {
    let with_uuid = |uuid: &str| {
        let mut manifest = RetroImage {
            uuid,
            stamp: settings.stamp.as_str(),
            version: &settings.version,
            published_at: &settings.published_at,
            sha1: &written.sha1,
            size: written.size,
            image_size_mib: volume_size >> 20,
        }
        .manifest();
        if let Some(audience) = settings.audience {
            manifest.prepare_for(audience.into());
        }
        manifest
    };
    let derived = || identity::of_image(&with_uuid(&Uuid::nil().to_string()).to_json());
    let uuid = settings.uuid.unwrap_or_else(derived);
    let manifest = with_uuid(&uuid.to_string());
    let kinds = [Some(Kind::Minimal), settings.audience.map(Kind::from)];
    for kind in kinds.into_iter().flatten() {
        let violations = kiln_imgapi::validate(&manifest.to_value(), kind);
        if !violations.is_empty() {
            let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
            anyhow::bail!("the manifest would be refused: {}", list.join("; "));
        }
    }
    Ok(manifest)
}

impl From<Audience> for Kind {
    fn from(audience: Audience) -> Kind {
        match audience {
            Audience::Public => Kind::Public,
            Audience::Private => Kind::Private,
            Audience::Dc => Kind::Dc,
        }
    }
}

impl From<MenuChoice> for kiln_bootdisk::menu::MenuStyle {
    fn from(choice: MenuChoice) -> Self {
        match choice {
            MenuChoice::Serial => Self::FirstSerialPort,
            MenuChoice::Original => Self::Original,
        }
    }
}
