//! A step: one thing that a boot has to bring about.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Guest;

/// What a step found when it looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Everything is as it should be.
    Done,
    /// Something has to be done: what, and why, as the owner would be told.
    Needed(String),
}

/// What becomes of the phase when a step fails.
#[derive(Debug, Clone, Copy)]
pub enum OnFailure {
    /// The steps after it are done all the same.
    GoOn,
    /// They would build on what is not there: the phase ends, after this was told the reason.
    End(fn(&mut Guest<'_>, &str)),
}

/// One thing that a boot has to bring about. It may be killed at any instruction and is repeated at the next boot, or earlier.
pub trait Step {
    /// Its name, of small letters and hyphens, as in the log and in the status.
    fn name(&self) -> &'static str;

    /// How long it may take. Programs that it runs are ended at that moment.
    fn limit(&self) -> Duration {
        Duration::from_mins(1)
    }

    /// What becomes of the phase when it fails.
    fn on_failure(&self) -> OnFailure {
        OnFailure::GoOn
    }

    /// Whether the steps after it find something else once it is done, so that nobody can tell before it what they will do.
    fn others_depend(&self) -> bool {
        matches!(self.on_failure(), OnFailure::End(_))
    }

    /// Looks what there is to do, and changes nothing.
    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding>;

    /// Does it. Called only right after [`Step::check`] has found it needed.
    fn apply(&self, guest: &mut Guest<'_>) -> Result<()>;

    /// Makes sure that it was done: by looking again, unless a step knows a cheaper proof.
    fn verify(&self, guest: &mut Guest<'_>) -> Result<()> {
        match self.check(guest)? {
            Finding::Done => Ok(()),
            Finding::Needed(what) => bail!("it was done, and yet: {what}"),
        }
    }
}
