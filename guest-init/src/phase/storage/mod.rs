//! `fs-joyent`: the key, the pool, and what is mounted from them.

use crate::engine::Phase;

/// The phase.
pub const PHASE: Phase = Phase { name: "storage", methods: &["fs-joyent"], steps: &[] };
