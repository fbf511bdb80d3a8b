//! Where what this phase writes lies.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::settings::CONFIG;
use crate::command::mount;
use crate::engine::Guest;
use crate::files::{self, Owner};
use crate::phase::storage;

/// The platform's file, by its name on the key.
pub const CONFIG_ON_KEY: &str = "config";

/// The stored copy of the metadata, by its name on the key.
pub const METADATA_ON_KEY: &str = "guest-init/metadata.json";

/// The folder of second copies, in the pool.
const POOL_FOLDER: &str = "/var/guest-init";

/// The second copy of the platform's file.
pub const CONFIG_IN_POOL: &str = "/var/guest-init/config";

/// The second copy of the metadata.
pub const METADATA_IN_POOL: &str = "/var/guest-init/metadata.json";

/// Whether `/var` is a file system of the pool.
pub fn has_pool(guest: &Guest<'_>) -> bool {
    guest.state.pool.is_some() && guest.state.rescue.is_none()
}

/// Whether the platform's file is the one on the key, and may be written.
pub fn has_key(guest: &Guest<'_>) -> bool {
    guest.state.key.is_some() && guest.state.rescue.is_none()
}

/// Lets `act` write into the key's folder.
pub fn on_key(guest: &mut Guest<'_>, act: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    storage::key::write(guest, |_, folder| act(folder))
}

/// Writes a file on the key, of which the name is given.
pub fn write_on_key(folder: &Path, name: &str, contents: &[u8]) -> Result<()> {
    let path = folder.join(name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    files::replace(&path, contents, Owner::none()).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the platform's file for this boot alone, into memory. What is mounted on its folder is taken away first, or else
/// covered: nothing but this file decides whether there is a network, and the one on the key stays as it is.
pub fn write_in_memory(guest: &mut Guest<'_>, text: &[u8]) -> Result<()> {
    let folder = Path::new(CONFIG).parent().expect("it is in a folder");
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    clear(guest, &folder.to_string_lossy())?;
    files::replace(Path::new(CONFIG), text, Owner::root(0o600))
        .with_context(|| format!("cannot write {CONFIG}"))
}

/// Makes what is to be seen in a folder be in memory.
fn clear(guest: &mut Guest<'_>, folder: &str) -> Result<()> {
    let table = mount::table()?;
    if mount::at(&table, folder).is_none_or(mount::Mounted::is_in_memory) {
        return Ok(());
    }
    guest.state.key = None;
    let Err(error) = mount::remove(guest, folder) else { return Ok(()) };
    guest.log.warn(&format!("the key stays mounted, and is covered: {error:#}"));
    mount::memory(guest, folder).context("the key cannot be covered")
}

/// Writes a second copy. Nobody but root reads those.
pub fn write_in_pool(path: &str, contents: &[u8]) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(POOL_FOLDER)
        .with_context(|| format!("cannot make {POOL_FOLDER}"))?;
    files::keep(Path::new(path), contents, Owner::root(0o600))
        .map(drop)
        .with_context(|| format!("cannot write {path}"))
}
