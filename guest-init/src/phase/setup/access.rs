//! A way in for owners whose keys are of no use.

use anyhow::Result;

use crate::access::password;
use crate::engine::{Finding, Guest, Step};

/// Somebody can log in: with a key, or on the console with an emergency password.
pub struct Access;

impl Step for Access {
    fn name(&self) -> &'static str {
        "access"
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        if guest.state.has_usable_key || guest.state.emergency_password {
            return Ok(Finding::Done);
        }
        Ok(Finding::Needed("no SSH key of root works with this platform's server".to_owned()))
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let accepted = if guest.platform.has_openssh() { "RSA, ECDSA and Ed25519" } else { "RSA (and DSA)" };
        guest.log.console(&format!(
            "WARNING: there is no SSH key to log in with. This platform's server takes {accepted} keys; \
             the metadata key root_authorized_keys is where to put one"
        ));
        password::emergency(guest)
    }
}
