//! A way in for owners whose keys are of no use.

use anyhow::Result;

use super::keys::line;
use crate::access::{password, shadow};
use crate::engine::{Finding, Guest, Step};

/// Somebody can log in: with a key, or on the console with a password. In rescue mode there is a password whatever the keys,
/// because what has gone wrong may keep the network from working.
pub struct Access;

impl Step for Access {
    fn name(&self) -> &'static str {
        "access"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        warn_of_ignored_keys(guest);
        if guest.state.emergency_password {
            return Ok(Finding::Done);
        }
        let why = if !guest.state.has_usable_key {
            "no SSH key of root works with this platform's server"
        } else if guest.state.rescue.is_some() {
            "in rescue mode the console may be the only way in"
        } else {
            return Ok(Finding::Done);
        };
        // The boot menu or the owner has given root a password. It must go on working.
        if shadow::has_root_password()? {
            warn_of_keys(guest);
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed(why.to_owned()))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        warn_of_keys(guest);
        password::emergency(guest)
    }
}

/// Warns, once a run, of keys whose owners get in nowhere while others do.
fn warn_of_ignored_keys(guest: &mut Guest<'_>) {
    let ignored = std::mem::take(&mut guest.state.ignored_keys);
    if ignored.is_empty() || !guest.state.has_usable_key {
        return;
    }
    guest.log.warn(&format!(
        "this platform's SSH server passes over keys of type {}; who has no other cannot log in. It takes {} keys",
        ignored.join(", "),
        line::known_kinds(&guest.platform)
    ));
}

/// Tells the console that no key can be used, and which could.
fn warn_of_keys(guest: &mut Guest<'_>) {
    if guest.state.has_usable_key {
        return;
    }
    let accepted = line::known_kinds(&guest.platform);
    guest.log.warn(&format!(
        "there is no SSH key to log in with. This platform's server takes {accepted} keys; \
         the metadata key root_authorized_keys is where to put one"
    ));
}
