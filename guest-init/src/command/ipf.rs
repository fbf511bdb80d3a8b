//! `ipf`: the packet filter's rules.
//!
//! It acts on its options in their order, one after the other (illumos `usr/src/cmd/ipf/tools/ipf.c`, `main`), so one call can
//! see to both address families. It ends with an error at a rule that it cannot read, but with success when the *kernel*
//! refuses something; so its output, or a look at the kernel, has to tell.

use super::{Invocation, Output};

const PROGRAM: &str = "/usr/sbin/ipf";

/// Reads both files of rules and does nothing with them, not even open the filter's device.
pub fn parse(ipv4: &str, ipv6: &str) -> Invocation {
    Invocation::reads(PROGRAM, ["-n", "-f", ipv4, "-6", "-f", ipv6])
}

/// Switches the filter on, fills the set of rules that is not in use, and lets the two sets, of both families at once, change
/// places. At a rule that cannot be read it ends before that.
///
/// The table of states stays, so established connections live on.
pub fn load_and_swap(ipv4: &str, ipv6: &str) -> Invocation {
    Invocation::changes(PROGRAM, ["-E", "-I", "-F", "a", "-f", ipv4, "-6", "-F", "a", "-f", ipv6, "-s", "-y"])
}

/// Lets the sets change places again.
pub fn swap() -> Invocation {
    Invocation::changes(PROGRAM, ["-s", "-y"])
}

/// Whether the sets did change places.
pub fn has_swapped(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains(" now inactive")
}
