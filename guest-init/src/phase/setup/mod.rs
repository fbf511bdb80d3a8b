//! `smartos-setup`: SSH keys, hostname, additional interfaces, the network for zones, and the firewall.
//!
//! The keys come first: nothing that fails later can keep the owner out. What follows is in the order in which one thing
//! needs another, and the guest passes no packets on before its rules are in place.

mod access;
pub mod firewall;
mod forwarding;
mod heeded;
mod home;
mod hostname;
pub mod keys;
pub mod links;
mod nat;
pub mod routes;
mod services;
mod survey;
pub mod zone_network;

use crate::engine::Phase;

/// The phase.
pub const PHASE: Phase = Phase {
    name: "setup",
    methods: &["smartos-setup"],
    is_repeated: true,
    steps: &[
        &home::Home,
        &keys::Keys,
        &access::Access,
        &hostname::Hostname,
        &services::Services,
        &links::Links,
        &routes::Routes,
        &zone_network::ZoneNetwork,
        &heeded::TimeServers,
        &heeded::Heeded,
        &firewall::Firewall,
        &nat::Nat,
        &forwarding::Forwarding,
    ],
};

// The simulator is of this system alone.
#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests;
