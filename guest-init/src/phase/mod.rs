//! The phases, in the order in which a boot runs them.

pub mod identity;
pub mod services;
pub mod setup;
pub mod storage;

use crate::engine::Phase;

/// All phases.
pub const PHASES: &[&Phase] =
    &[&storage::PHASE, &identity::PHASE, &setup::PHASE, &services::INIT, &services::USERSCRIPT];

/// The phase with this name or method.
pub fn named(name: &str) -> Option<&'static Phase> {
    PHASES.iter().copied().find(|phase| phase.name == name || phase.methods.contains(&name))
}
