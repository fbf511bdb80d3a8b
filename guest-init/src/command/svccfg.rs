//! `svccfg`: properties of services.

use std::ffi::OsStr;
use std::path::Path;

use super::Invocation;

/// Carries out the subcommands in a file, a line each, and fails with the first of them that fails (svccfg(1M), `-f`).
pub fn source(file: &Path) -> Invocation {
    Invocation::changes("/usr/sbin/svccfg", [OsStr::new("-f"), file.as_os_str()])
}

/// The subcommands that give a property of a service (`group/name`) a value of letters, digits and a few signs, and make its
/// default instance run with it.
pub fn property(service: &str, property: &str, value: &str) -> String {
    format!("select {service}\nsetprop {property} = {value}\nselect {service}:default\nrefresh\n")
}
