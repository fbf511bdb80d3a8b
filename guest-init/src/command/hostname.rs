//! `hostname`: what this machine is called.

use super::Invocation;

/// Gives the machine a name until the next boot.
pub fn set(name: &str) -> Invocation {
    Invocation::changes("/usr/bin/hostname", [name])
}
