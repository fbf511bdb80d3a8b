//! Tells the platform which pool it is, and the owner which platforms it has run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::marks;
use crate::command::svccfg;
use crate::engine::{Finding, Guest, Step};
use crate::files::{self, Owner};
use crate::state;

/// The service whose property names the pool for vmadm, imgadm and sysinfo.
const SERVICE: &str = "svc:/system/smartdc/init";

/// Names the pool for the platform.
pub struct PublishPool;

impl Step for PublishPool {
    fn name(&self) -> &'static str {
        "publish-pool"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let Some(pool) = &guest.state.pool else { return Ok(Finding::Done) };
        if marks::is_done(self.name()) {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed(format!("the platform is told to use pool {}", pool.name)))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(pool) = guest.state.pool.clone() else { return Ok(()) };
        let mark = PathBuf::from(format!("/{}/.system_pool", pool.name));
        if !mark.exists() {
            files::replace(&mark, b"", Owner::root(0o644))
                .with_context(|| format!("cannot make {}", mark.display()))?;
        }
        let subcommands = Path::new(state::FOLDER).join("svccfg");
        fs::create_dir_all(state::FOLDER)
            .and_then(|()| fs::write(&subcommands, svccfg::property(SERVICE, "config/zpool", &pool.name)))
            .with_context(|| format!("cannot write {}", subcommands.display()))?;
        guest.commands.text(&svccfg::source(&subcommands))?;
        marks::done(self.name())
    }

    /// The command fails if it had no effect.
    fn verify(&self, _guest: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}

/// Keeps the names of this platform and of the one before it in the pool. A second time in one boot, this platform would be taken
/// for the one before it.
pub struct RememberPlatform;

/// The longest name that is read, in bytes.
const LONGEST: u64 = 4096;

impl Step for RememberPlatform {
    fn name(&self) -> &'static str {
        "remember-platform"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        if guest.state.pool.is_none() || marks::is_done(self.name()) {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed(format!("platform {} is remembered", guest.platform.stamp())))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let Some(pool) = &guest.state.pool else { return Ok(()) };
        let folder = PathBuf::from(format!("/{}", pool.name));
        remember(&folder, &format!("joyent_{}\n", guest.platform.stamp()))
            .context("cannot remember the platform")?;
        marks::done(self.name())
    }
}

/// Makes the file `currbooted` say `name`, and `lastbooted` what it said.
fn remember(folder: &Path, name: &str) -> io::Result<()> {
    let current = folder.join("currbooted");
    match files::read(&current, LONGEST) {
        Ok(before) => {
            files::replace(&folder.join("lastbooted"), &before, Owner::root(0o644))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    files::replace(&current, name.as_bytes(), Owner::root(0o644))
}
