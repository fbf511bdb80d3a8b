//! `smartdc-config`: who this guest is, written down where the platform looks for it.

pub mod config;
pub mod metadata;
pub mod nics;
pub mod ntp;
pub mod root_password;
pub mod settings;
pub mod sshd;

use crate::engine::Phase;

/// The phase.
pub const PHASE: Phase = Phase { name: "identity", methods: &["smartdc-config"], steps: &[] };
