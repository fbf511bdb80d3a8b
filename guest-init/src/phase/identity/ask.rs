//! Asks the host for everything that later steps and phases need, once and early.

use std::path::Path;

use anyhow::Result;
use guest_mdata::Error;

use super::{metadata, places, settings};
use crate::engine::{Finding, Guest, Step};

/// The step.
pub struct AskHost;

impl Step for AskHost {
    fn name(&self) -> &'static str {
        "metadata"
    }

    /// Nothing is changed outside this process: what the host said is kept when the phase ends, and stored with the
    /// platform's file.
    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        recall(guest);
        let settings = settings::NAMES.map(|name| format!("{}{name}", settings::PREFIX));
        for key in metadata::REMEMBERED.into_iter().chain(settings.iter().map(String::as_str)) {
            let mut answer = guest.metadata.get(key);
            if matches!(answer, Err(Error::Channel { .. })) {
                // Sleep of a host ends at some time; a second question is asked with less patience.
                answer = guest.metadata.get(key);
            }
            match answer {
                Ok(_) => {}
                Err(error @ Error::Channel { .. }) => {
                    let reason = match &error {
                        Error::Channel { problem, .. } => problem.to_string(),
                        other => other.to_string(),
                    };
                    guest.log.warn(&format!(
                        "the host does not answer on {error}, what it said before counts: {reason}"
                    ));
                    break;
                }
                Err(error) => guest.log.line(&format!("WARNING: metadata key {key}: {error}")),
            }
        }
        Ok(Finding::Done)
    }

    fn apply(&self, _: &mut Guest<'_>) -> Result<()> {
        // To ask is all there is to do.
        Ok(())
    }
}

/// Recalls what earlier boots stored, the key's copy before that of the pool.
fn recall(guest: &mut Guest<'_>) {
    let on_key = guest.state.key.as_ref().map(|key| Path::new(&key.folder).join(places::METADATA_ON_KEY));
    let in_pool = places::has_pool(guest).then(|| Path::new(places::METADATA_IN_POOL).to_owned());
    for path in [on_key, in_pool].into_iter().flatten() {
        match metadata::read_stored_file(&path) {
            Ok(Some(values)) => guest.metadata.take_over(values),
            Ok(None) => {}
            Err(error) => {
                guest.log.line(&format!("WARNING: a stored copy of the metadata is no use: {error:#}"));
            }
        }
    }
}
