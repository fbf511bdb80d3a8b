//! The small phases at the end of a boot.

mod init;
mod scripts;

use crate::engine::Phase;

/// `smartdc-init`: what the platform's tools for zones expect to find.
pub const INIT: Phase =
    Phase { name: "init", methods: &["smartdc-init"], is_repeated: false, steps: &[&init::ToolLogs] };

/// `smartos-userscript`: the programs that the owner and the operator left in the metadata. The operator's comes first, as
/// in a zone (smartos-live, mdata-fetch).
pub const USERSCRIPT: Phase = Phase {
    name: "userscript",
    methods: &["smartos-userscript"],
    is_repeated: false,
    steps: &[&scripts::OPERATOR_SCRIPT, &scripts::USER_SCRIPT],
};
