//! `/var`: a dataset that begins as a copy of what the boot archive has there.
//!
//! The copy grows in a dataset of another name. When it is whole, that dataset loses its mount point, which marks it as
//! whole, and then gets its name. Whenever the machine stops, the next boot goes on from where it was; a dataset `var` is
//! never a part of one.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{copy, datasets, rescue};
use crate::command::{mount, zfs};
use crate::engine::{Finding, Guest, OnFailure, Step};
use crate::state::Pool;

/// Makes the dataset.
pub struct MakeVar;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Nothing,
    Filling,
    Filled,
    Done,
}

impl Step for MakeVar {
    fn name(&self) -> &'static str {
        "var"
    }

    fn limit(&self) -> Duration {
        Duration::from_mins(15)
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::EndPhase
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(Finding::Done) };
        Ok(match progress(guest, &pool)? {
            Progress::Done => Finding::Done,
            Progress::Nothing => {
                Finding::Needed("/var of the boot archive is copied into a dataset".to_owned())
            }
            Progress::Filling => Finding::Needed("copying /var is taken up again".to_owned()),
            Progress::Filled => Finding::Needed("the copy of /var gets its name".to_owned()),
        })
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(()) };
        let done = make(guest, &pool);
        rescue::unless_done(guest, done)
    }
}

fn progress(guest: &mut Guest<'_>, pool: &Pool) -> Result<Progress> {
    let datasets = datasets::of(guest, pool)?;
    if datasets.contains_key(&format!("{}/var", pool.name)) {
        return Ok(Progress::Done);
    }
    Ok(match datasets.get(&format!("{}/var.new", pool.name)) {
        None => Progress::Nothing,
        Some(dataset) if dataset.mountpoint == "legacy" => Progress::Filled,
        Some(_) => Progress::Filling,
    })
}

fn make(guest: &mut Guest<'_>, pool: &Pool) -> Result<()> {
    let new = format!("{}/var.new", pool.name);
    let folder = format!("/{}/.var.new", pool.name);
    let progress = progress(guest, pool)?;
    if progress == Progress::Nothing {
        zfs::create(guest.commands, &new, &[&format!("mountpoint={folder}")])?;
        datasets::remember(guest, &new, &folder);
    }
    if progress != Progress::Filled {
        let table = mount::table()?;
        if mount::at(&table, &folder).is_none_or(|mounted| mounted.special != new) {
            zfs::mount(guest.commands, &new)?;
        }
        let skipped = copy::tree(Path::new("/var"), Path::new(&folder)).context("/var cannot be copied")?;
        for path in skipped {
            guest.log.line(&format!(
                "{} is not copied: it is neither file, folder, link nor device",
                path.display()
            ));
        }
        rustix::fs::sync();
        // It also takes it out of the way.
        zfs::set(guest.commands, &new, "mountpoint", "legacy")?;
        datasets::remember(guest, &new, "legacy");
    }
    let var = format!("{}/var", pool.name);
    zfs::rename(guest.commands, &new, &var)?;
    datasets::of(guest, pool)?.remove(&new);
    datasets::remember(guest, &var, "legacy");
    Ok(())
}
