//! Runs the steps of a phase.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use guest_mdata::Clock;

use super::{Finding, Guest, OnFailure, Step};
use crate::state::PhaseResult;

/// What one SMF service runs.
pub struct Phase {
    /// Its name, as the owner sees it.
    pub name: &'static str,
    /// The base names of the methods that it stands for.
    pub methods: &'static [&'static str],
    /// Its steps, in order.
    pub steps: &'static [&'static dyn Step],
}

impl fmt::Debug for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Why a phase is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To bring everything about.
    Apply,
    /// To see what that would be.
    Plan,
}

/// Runs the steps of `phase` and tells what they came to. Steps that fail are told on the console, and do not keep others from
/// being done, unless they say so.
pub fn run(phase: &Phase, purpose: Purpose, guest: &mut Guest<'_>) -> PhaseResult {
    let mut result = PhaseResult::of(phase.name);
    for step in phase.steps {
        let name = step.name();
        guest.commands.end_by(deadline(guest.clock, *step));
        let outcome = match step.check(guest) {
            Ok(Finding::Done) => {
                guest.log.line(&format!("{name}: nothing to do"));
                continue;
            }
            Ok(Finding::Needed(what)) => {
                guest.log.line(&format!("{name}: {what}"));
                if purpose == Purpose::Plan {
                    continue;
                }
                step.apply(guest).and_then(|()| step.verify(guest))
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                guest.log.line(&format!("{name}: done"));
                result.changed.push(name.to_owned());
            }
            // What earlier steps would bring about is not there.
            Err(error) if purpose == Purpose::Plan => {
                guest.log.line(&format!("{name}: cannot be told before the steps above are done: {error:#}"));
            }
            Err(error) => {
                let reason = format!("{error:#}");
                guest.log.console(&format!("ERROR: {name}: {reason}"));
                result.failed.push((name.to_owned(), reason));
                if step.on_failure() == OnFailure::EndPhase {
                    break;
                }
            }
        }
    }
    result.ended = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    result
}

fn deadline(clock: &dyn Clock, step: &dyn Step) -> std::time::Duration {
    clock.now().saturating_add(step.limit())
}
