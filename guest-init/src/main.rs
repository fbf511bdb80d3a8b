//! The first-boot program of retro images. See the library for what it is made of.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use guest_init::command::Processes;
use guest_init::engine::{self, Guest, Log, Phase, Purpose};
use guest_init::phase;
use guest_init::phase::identity::metadata::Metadata;
use guest_init::platform::Platform;
use guest_init::state::State;
use guest_mdata::channel::Serial;
use guest_mdata::session::{Limits, RequestIds};
use guest_mdata::{Monotonic, Session};
// What an illumos executable needs to start.
use guest_rt as _;

/// The second serial port.
const METADATA_PORT: &str = "/dev/term/b";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest-init: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<()> {
    let words: Vec<_> = env::args_os().collect();
    let name =
        words.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    let Some(phase) = phase::named(name).or_else(|| phase::named(words.get(1)?.to_str()?)) else {
        bail!("no phase is named; see guest-init --help");
    };
    boot(phase)
}

fn boot(phase: &'static Phase) -> Result<()> {
    let clock = Monotonic::starting_now();
    let mut commands = Processes::new(&clock, false);
    let session = Session::new(
        Box::new(Serial::new(METADATA_PORT)),
        Box::new(Monotonic::starting_now()),
        RequestIds::seeded(u64::from(std::process::id())),
        Limits::default(),
        Box::new(|notice| eprintln!("guest-init: {notice}")),
    );
    let mut metadata =
        Metadata::new(Box::new(session), Box::new(Monotonic::starting_now()), Duration::from_mins(1));
    let mut log = Log::new(phase.name, true);
    let mut guest = Guest {
        commands: &mut commands,
        clock: &clock,
        metadata: &mut metadata,
        platform: Platform::running()?,
        state: State::load()?,
        log: &mut log,
    };
    let result = engine::run(phase, Purpose::Apply, &mut guest);
    guest.state.results.push(result);
    guest.state.save().context("the phases to come will not know what was done")
}
