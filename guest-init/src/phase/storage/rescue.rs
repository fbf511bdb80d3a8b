//! Rescue mode: a boot without a pool, in which nothing is written to any disk.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::command::{mount, zpool};
use crate::engine::Guest;
use crate::files;
use crate::state::FAILED;

/// The longest text about pools that goes with the reason, in bytes.
const LONGEST: usize = 64 << 10;

/// How long it may take to let go of the pool. The step that failed may have no time left: a program that hung took it all.
const LIMIT: Duration = Duration::from_mins(5);

/// Goes on without a pool, and tells why.
pub fn enter(guest: &mut Guest<'_>, reason: &str) {
    if guest.state.rescue.is_some() {
        return;
    }
    guest.commands.end_by(guest.clock.now().saturating_add(LIMIT));
    guest.log.console(&format!("RESCUE MODE, no pool: {reason}"));
    guest.log.console(&format!("nothing is written to any disk; see {FAILED}"));
    if guest.state.storage.search.is_empty()
        && let Ok(found) = zpool::search(guest.commands, zpool::Search::Present)
    {
        guest.state.storage.search = found.text;
    }
    guest.state.rescue = Some(reason.to_owned());
    if let Some(pool) = guest.state.pool.take() {
        uncover(guest, &pool.name);
    }
    let mut text = format!("{reason}\n\nzpool import:\n{}", guest.state.storage.search);
    let end = (0..=LONGEST.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.truncate(end);
    let written = Path::new(FAILED)
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| files::replace(Path::new(FAILED), text.as_bytes(), files::Owner::root(0o644)));
    if let Err(error) = written {
        guest.log.console(&format!("cannot write {FAILED}: {error}"));
    }
}

/// Ends rescue mode, to try again.
pub fn leave(guest: &mut Guest<'_>) {
    if guest.state.rescue.take().is_some() {
        // If it stays, it tells of something that was.
        let _ = fs::remove_file(FAILED);
    }
}

/// Takes away what was mounted from the pool, so that what is in memory is seen and written to.
pub fn uncover(guest: &mut Guest<'_>, pool: &str) {
    let Ok(table) = mount::table() else { return };
    let below = format!("{pool}/");
    for mounted in table.iter().rev().filter(|mounted| mounted.kind == "zfs") {
        if (mounted.special == pool || mounted.special.starts_with(&below))
            && let Err(error) = mount::remove(guest, &mounted.folder)
        {
            guest.log.console(&format!("{} stays mounted: {error:#}", mounted.folder));
        }
    }
}

/// Passes a result of something essential on; if it is an error, rescue mode begins.
pub fn unless_done<T>(guest: &mut Guest<'_>, result: Result<T>) -> Result<T> {
    result.map_err(|error| {
        let reason = format!("{error:#}");
        enter(guest, &reason);
        anyhow!(reason)
    })
}
