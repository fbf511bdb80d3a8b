//! `bootparams`: the properties that the boot menu gave the kernel.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::Invocation;
use crate::engine::Guest;

const BOOTPARAMS: &str = "/bin/bootparams";

/// The value of a boot property, if it was given. The program runs once in a boot; later answers come from the state.
///
/// # Errors
/// When the program fails.
pub fn property(guest: &mut Guest<'_>, name: &str) -> Result<Option<String>> {
    if guest.state.boot.is_none() {
        let text = guest
            .commands
            .text(&Invocation::reads(BOOTPARAMS, [""; 0]))
            .context("cannot read the boot properties")?;
        guest.state.boot = Some(properties(&text));
    }
    Ok(guest.state.boot.as_ref().and_then(|boot| boot.get(name)).cloned())
}

/// The properties in the output: a line `name=value` each. The last of a name counts.
pub fn properties(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::properties;

    #[test]
    fn a_property_is_a_line() {
        let read = properties("smartos=true\nroot_shadow=$5$a$b=\n\nttya-mode=115200,8,n,1,-\n");
        assert_eq!(read["root_shadow"], "$5$a$b=");
        assert_eq!(read["smartos"], "true");
        assert_eq!(read.len(), 3);
    }
}
