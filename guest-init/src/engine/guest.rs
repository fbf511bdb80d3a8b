//! What steps see of the machine.

use guest_mdata::Clock;

use super::Log;
use crate::command::Commands;
use crate::phase::identity::metadata::Metadata;
use crate::platform::Platform;
use crate::state::State;

/// The machine, as steps see it.
pub struct Guest<'a> {
    /// External programs.
    pub commands: &'a mut dyn Commands,
    /// Time.
    pub clock: &'a dyn Clock,
    /// What the host says, with its last words from earlier boots for when it is silent.
    pub metadata: &'a mut Metadata,
    /// The platform that runs.
    pub platform: Platform,
    /// What earlier phases and steps found out.
    pub state: State,
    /// Where to tell what is going on.
    pub log: &'a mut Log,
}
