//! What makes a zone of an installed seed: one step for each subject, in the order in which imagetools takes them.
//!
//! A step does all that files alone can do, and leaves the rest for the first boot.

mod certificates;
mod cleanup;
mod identity;
mod ld_config;
mod linker;
mod logs;
mod mail;
mod services;
mod shell;
mod subject_hash;

use anyhow::Result;

use super::proto::Proto;
use crate::report::{Outcome, Report, changed, unchanged};

/// A step: its name and what it does.
type Step = (&'static str, fn(&mut Proto) -> Result<Outcome<()>>);

/// The steps after the packages are installed.
const STEPS: [Step; 17] = [
    ("certificates", certificates::install),
    ("runtime-linker", linker::configure),
    ("ssh-server", shell::ssh_server),
    ("locale", shell::locale),
    ("identity", identity::describe),
    ("network-files", identity::network_files),
    ("crontab", logs::crontab),
    ("system-log", logs::system_log),
    ("log-rotation", logs::rotation),
    ("services", |proto| Ok(services::arrange(proto))),
    ("home-of-root", shell::home_of_root),
    ("search-paths", shell::search_paths),
    ("usr-local", shell::usr_local),
    ("mail", mail::configure),
    ("package-building", services::package_building),
    ("clean-up", cleanup::clean_up),
    ("passwords", cleanup::passwords),
];

/// Takes all steps.
///
/// # Errors
/// That of the first step that fails.
pub fn run(proto: &mut Proto, report: &Report) -> Result<()> {
    STEPS.iter().try_for_each(|(name, step)| report.step(name, || step(proto)))
}

/// The outcome of a step that may have found everything done.
fn outcome(changes: bool, detail: impl Into<String>) -> Outcome<()> {
    if changes { changed((), detail) } else { unchanged((), detail) }
}
