//! `routeadm`: whether this machine passes packets on.

use super::Invocation;

/// Makes this machine pass IPv4 packets on, at once and until the next boot (the repository that remembers it is in memory).
pub fn forward_ipv4() -> Invocation {
    Invocation::changes("/usr/sbin/routeadm", ["-u", "-e", "ipv4-forwarding"])
}
