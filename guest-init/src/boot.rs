//! Runs a phase in this process.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use guest_mdata::channel::Serial;
use guest_mdata::session::{Limits, RequestIds};
use guest_mdata::{Monotonic, Session};

use crate::command::Processes;
use crate::engine::{self, Guest, Lock, Log, Phase};
use crate::phase::identity::metadata::Metadata;
use crate::platform::Platform;
use crate::state::{self, State};
use crate::status;

/// The second serial port.
const METADATA_PORT: &str = "/dev/term/b";

/// How long another process that runs the same phase is waited for. Most need seconds; the longest is the storage phase of a
/// first boot.
const PATIENCE: Duration = Duration::from_mins(10);

/// How long the host may take to answer while the guest boots. Hosts of 2018 can be deaf for a minute after a guest was
/// started (TritonDataCenter/smartos-live#828), and without an answer a first boot knows nothing at all.
const HOST_AT_BOOT: Duration = Duration::from_secs(75);

/// How long the host may take to answer when somebody waits.
pub const HOST_BY_HAND: Duration = Duration::from_secs(15);

/// What the host says about this guest.
pub fn metadata(patience: Duration) -> Metadata {
    let session = Session::new(
        Box::new(Serial::new(METADATA_PORT)),
        Box::new(Monotonic::starting_now()),
        RequestIds::seeded(u64::from(std::process::id())),
        Limits::default(),
        Box::new(|notice| eprintln!("guest-init: {notice}")),
    );
    let mut metadata = Metadata::new(Box::new(session), Box::new(Monotonic::starting_now()), patience);
    metadata.recall();
    metadata
}

/// Runs a phase, and keeps and tells what it came to. With `console`, the console is told what matters. Gives whether
/// everything is as it should be.
///
/// # Errors
/// When it cannot be begun: another process runs it and does not end, or this is no SmartOS.
pub fn run(phase: &'static Phase, console: bool) -> Result<bool> {
    let clock = Monotonic::starting_now();
    let mut log = Log::new(phase.name, console);
    let _lock = Lock::take(Path::new(state::FOLDER), phase.name, &clock, PATIENCE)?;
    let before = State::load_or_rescue();
    let mut commands = Processes::new(&clock, false);
    let mut metadata = metadata(HOST_AT_BOOT);
    let mut guest = Guest {
        commands: &mut commands,
        clock: &clock,
        metadata: &mut metadata,
        platform: Platform::running()?,
        state: before.clone(),
        log: &mut log,
    };
    let result = engine::run(phase, &mut guest);
    guest.log.console(&status::summary(&result));
    let is_good = result.failed.is_empty();
    guest.state.record(result);
    let state = guest.state;
    // The phases to come then do not know what this one found out. They find out for themselves, or fail.
    let kept = state.save(&before);
    if let Err(error) = &kept {
        log.console(&format!("ERROR: what was done is not noted: {error:#}"));
    }
    status::tell_host(&state, &mut metadata, &mut log);
    if let Err(error) = metadata.keep() {
        log.line(&format!("WARNING: the phases to come ask the host anew: {error:#}"));
    }
    Ok(is_good && kept.is_ok())
}

/// Tells on standard output what a phase would do. Nothing is changed.
///
/// # Errors
/// When this is no SmartOS.
pub fn plan(phase: &'static Phase) -> Result<()> {
    let clock = Monotonic::starting_now();
    let mut guest = Guest {
        commands: &mut Processes::new(&clock, true),
        clock: &clock,
        metadata: &mut metadata(HOST_BY_HAND),
        platform: Platform::running()?,
        state: State::load_or_rescue(),
        log: &mut Log::of_plan(phase.name),
    };
    engine::plan(phase, &mut guest);
    Ok(())
}
