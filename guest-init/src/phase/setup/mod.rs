//! `smartos-setup`: SSH keys, hostname, additional interfaces, the network for zones, and the firewall.

use crate::engine::Phase;

/// The phase.
pub const PHASE: Phase = Phase { name: "setup", methods: &["smartos-setup"], steps: &[] };
