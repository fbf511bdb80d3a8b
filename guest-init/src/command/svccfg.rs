//! `svccfg`: properties of services.

use anyhow::Result;

use super::{Commands, Invocation};

const PROGRAM: &str = "/usr/sbin/svccfg";

/// Gives a property of a service (`group/name`) a value of letters, digits and a few signs.
pub fn set_property(commands: &mut dyn Commands, service: &str, property: &str, value: &str) -> Result<()> {
    let assignment = format!("{property}={value}");
    commands.text(&Invocation::changes(PROGRAM, ["-s", service, "setprop", &assignment])).map(drop)
}

/// Makes the properties of an instance those that it runs with.
pub fn refresh(commands: &mut dyn Commands, instance: &str) -> Result<()> {
    commands.text(&Invocation::changes(PROGRAM, ["-s", instance, "refresh"])).map(drop)
}
