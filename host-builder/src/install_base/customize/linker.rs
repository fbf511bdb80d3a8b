//! The paths in which the runtime linker looks for libraries.

use anyhow::Result;

use super::ld_config::{Bits, ld_config};
use super::outcome;
use crate::install_base::proto::Proto;
use crate::report::Outcome;

/// Writes the two configuration files of the runtime linker.
pub fn configure(proto: &mut Proto) -> Result<Outcome<()>> {
    let variables = proto.wanted.variables();
    for (path, bits, default, trusted) in [
        ("/var/ld/ld.config", Bits::ThirtyTwo, "CRLE_DPATH_32", "CRLE_TPATH_32"),
        ("/var/ld/64/ld.config", Bits::SixtyFour, "CRLE_DPATH_64", "CRLE_TPATH_64"),
    ] {
        proto.write(path, 0o644, ld_config(bits, &variables[default], &variables[trusted]))?;
    }
    Ok(outcome(true, "/var/ld/ld.config and /var/ld/64/ld.config"))
}
