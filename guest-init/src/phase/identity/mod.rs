//! `smartdc-config`: who this guest is, written down where the platform looks for it.

pub mod metadata;

use crate::engine::Phase;

/// The phase.
pub const PHASE: Phase = Phase { name: "identity", methods: &["smartdc-config"], steps: &[] };
