//! The small phases at the end of a boot.

use crate::engine::Phase;

/// `smartdc-init`: what the platform's tools for zones expect to find.
pub const INIT: Phase = Phase { name: "init", methods: &["smartdc-init"], steps: &[] };

/// `smartos-userscript`: the programs that the owner and the operator left in the metadata.
pub const USERSCRIPT: Phase = Phase { name: "userscript", methods: &["smartos-userscript"], steps: &[] };
