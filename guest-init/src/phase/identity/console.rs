//! A way in for when there will be no network.

use anyhow::Result;

use super::config;
use crate::access::{password, shadow};
use crate::engine::{Finding, Guest, Step};

/// Without a network, root has a password. It is here and not with the keys, which are put in place after the platform's
/// network service: with that in maintenance, platforms offer no more than the console to whoever knows root's password.
pub struct ConsoleAccess;

impl Step for ConsoleAccess {
    fn name(&self) -> &'static str {
        "console-access"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        if guest.state.emergency_password || config::step::is_usable(guest) || shadow::has_root_password()? {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed("there will be no network, and the console is the only way in".to_owned()))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        password::emergency(guest)
    }
}
