//! The disk inside the volume: files, menu and loader laid out.

use anyhow::{Context, Result, anyhow};
use kiln_bootdisk::PlanError;
use kiln_bootdisk::builtin::{BootTable, BuiltinError, FileOnDisk};
use kiln_bootdisk::disk::{BootArea, DiskOptions, DiskPlan, smallest_disk_size};
use kiln_bootdisk::extent::DiskLayout;
use kiln_bootdisk::menu::Menu;

use super::loader::{self, Loader};
use super::settings::{Settings, Size};
use super::sources::Sources;
use crate::platform;
use crate::report::{Hint, with_hint};

/// Bytes left free in the FAT for what first boot writes: its configuration, a copy of it while it is replaced, and a
/// small state file. Each is a few KiB, so this leaves room for many times of that.
const RESERVE: u64 = 1 << 20;

/// Volume label, the original's.
const LABEL: &str = "HEADNODE";

/// Bytes of the kernel in which its multiboot header must lie (Multiboot Specification 0.6.96, section 3.1).
const HEADER_WINDOW: usize = 8192;

/// A disk, ready to be streamed.
#[derive(Debug)]
pub struct Planned {
    /// Where everything lies.
    pub layout: DiskLayout,
    /// Size of the volume in bytes, a whole number of MiB, at least the disk's.
    pub volume_size: u64,
}

/// Adds the menu and the loader's files to `sources` and lays everything out.
///
/// # Errors
/// The files do not fit, or the loader cannot start this platform.
pub fn plan(
    settings: &Settings,
    loader: &Loader,
    sources: &mut Sources,
    has_vmm: bool,
    modified: i64,
) -> Result<Planned> {
    // A guest is no place for bhyve, and its driver waits for hardware that is not there.
    let extra: &[String] = if has_vmm { &["disable-vmm=true".to_owned()] } else { &[] };
    let menu =
        Menu::retro(settings.stamp.as_str(), &settings.rescue_password_hash, extra, settings.timeout.into())?;
    for entry in &menu.entries {
        tracing::info!(title = entry.title, kernel = entry.kernel, arguments = entry.arguments, "menu entry");
    }
    sources.add_bytes("/boot/grub/menu.lst", menu.render(settings.menu.into())?.into_bytes(), modified);
    match loader {
        Loader::Template { path, template, disk, .. } => {
            let cannot = || format!("the template {} cannot take the platform", path.display());
            let foreign = sources.add_foreign(disk.clone());
            let needs = format!("the template {} needs", path.display());
            let volume_size = volume_size(settings.size, disk.size().next_multiple_of(1 << 20), &needs)?;
            let plan = template.plan(sources.entries(), foreign, volume_size, modified, RESERVE);
            let plan = loader::with_remedy(plan).with_context(cannot)?;
            let boot_area = loader::with_remedy(template.boot_area()).with_context(cannot)?;
            Ok(Planned { layout: plan.finish(&boot_area).with_context(cannot)?, volume_size })
        }
        Loader::GrubLegacy { stages, .. } => {
            stages.entries(modified).into_iter().for_each(|entry| sources.add_entry(entry));
            let (plan, volume_size) = own_disk(settings, sources, modified)?;
            Ok(Planned { layout: plan.finish(&stages.boot_area())?, volume_size })
        }
        Loader::Builtin => {
            let (plan, volume_size) = own_disk(settings, sources, modified)?;
            let area = builtin(&menu, &plan, sources)?;
            Ok(Planned { layout: plan.finish(&area)?, volume_size })
        }
    }
}

/// A disk of our own geometry, filling the volume.
fn own_disk(settings: &Settings, sources: &Sources, modified: i64) -> Result<(DiskPlan, u64)> {
    let smallest = smallest_disk_size(sources.entries(), RESERVE).map_err(explain)?;
    let volume_size = volume_size(settings.size, smallest, "the files need")?;
    let identity = sources.derive("disk identity");
    let options = DiskOptions {
        size: volume_size,
        signature: identity as u32,
        serial: (identity >> 32) as u32,
        label: LABEL.to_owned(),
        modified,
        reserve: RESERVE,
    };
    let plan = DiskPlan::new(&options, sources.entries()).map_err(explain)?;
    for placement in plan.placements() {
        tracing::info!(path = placement.path, lba = placement.lba, bytes = placement.length, "placed");
    }
    Ok((plan, volume_size))
}

fn volume_size(wanted: Size, smallest: u64, who: &str) -> Result<u64> {
    let smallest_mib = smallest.div_ceil(1 << 20);
    match wanted {
        Size::Auto => Ok(smallest_mib << 20),
        Size::MiB(mib) if u64::from(mib) >= smallest_mib => Ok(u64::from(mib) << 20),
        Size::MiB(mib) => Err(anyhow!("a volume of {mib} MiB is too small: {who} {smallest_mib} MiB"))
            .hint(format!("use --size {smallest_mib} or more, or --size auto")),
    }
}

/// The boot area of kiln's own loader, which finds files by sector, not by name.
fn builtin(menu: &Menu, plan: &DiskPlan, sources: &Sources) -> Result<BootArea> {
    let mut head = vec![0; HEADER_WINDOW];
    let kernel = menu.entries.first().map(|entry| entry.kernel.clone()).unwrap_or_default();
    let kernel_bytes = kernel_head(&kernel, sources, &mut head)
        .with_context(|| format!("cannot read the head of {}", platform::UNIX))?;
    head.truncate(kernel_bytes);
    let table = BootTable::plan(menu, 0, |path| {
        let placement = plan.placement(path)?;
        let head = if path == kernel { &head[..] } else { &[] };
        Some(FileOnDisk { first_lba: placement.lba, bytes: placement.length, head })
    })
    .map_err(explain_builtin)
    .with_context(|| format!("kiln's own loader cannot start {}", platform::UNIX))?;
    Ok(table.encode()?)
}

/// Adds what a user can do about files that FAT cannot hold.
fn explain(error: PlanError) -> anyhow::Error {
    let hint = match &error {
        PlanError::BadName { .. } => "FAT takes no such names: rename the file, and pack the tarball again",
        PlanError::Duplicate { .. } | PlanError::FileAndDirectory { .. } => {
            "the boot partition is FAT, where names that differ in case only are one: rename one of the two, and pack \
             the tarball again"
        }
        PlanError::FileTooLarge { .. } | PlanError::DirectoryTooLarge { .. } => {
            "no platform is like that: download it again"
        }
        PlanError::DoesNotFit { .. } | PlanError::BadSize { .. } => "use a larger --size, or --size auto",
        _ => "choose another --loader",
    };
    with_hint(error, hint)
}

/// Adds what a user can do about a platform that kiln's own loader does not start.
fn explain_builtin(error: BuiltinError) -> anyhow::Error {
    let hint = match &error {
        BuiltinError::Kernel { .. } => {
            "a platform's kernel has a Multiboot header: download the platform again"
        }
        _ => "--loader grub-legacy may start it",
    };
    with_hint(error, hint)
}

fn kernel_head(path: &str, sources: &Sources, head: &mut [u8]) -> Result<usize> {
    let id = sources.file_id(path).with_context(|| format!("{path} is not among the files"))?;
    let source = sources.open(id).context("the kernel has no source")?;
    Ok(source.read_up_to(0, head)?)
}
