//! cloud-init, whose SmartOS data source judges the metadata server.
//!
//! It is unpacked into the user's cache and never installed: an installed cloud-init would set up its developer's machine
//! anew at the next boot. The Python modules that it needs lie beside it, so that nothing else is installed for it either.

use std::path::Path;
use std::process::Command;

use crate::tools;
use crate::unpacked::Unpacked;

/// What is unpacked: Debian's packages of cloud-init and of what its data source imports.
pub const PACKAGES: Unpacked = Unpacked {
    name: "cloud-init",
    packages: &[
        "cloud-init",
        "python3-certifi",
        "python3-chardet",
        "python3-configobj",
        "python3-idna",
        "python3-jinja2",
        "python3-json-pointer",
        "python3-jsonpatch",
        "python3-markupsafe",
        "python3-netifaces",
        "python3-oauthlib",
        "python3-requests",
        "python3-serial",
        "python3-six",
        "python3-urllib3",
        "python3-yaml",
    ],
};

/// The interpreter that the packages are for; one of the same name in `PATH` may be another.
const PYTHON: &str = "/usr/bin/python3";

/// Python, which finds cloud-init's modules and no others but its own, or `None` after a loud skip when they are missing.
///
/// # Panics
/// They are missing and `KILN_REQUIRE_TOOLS` is set.
pub fn python() -> Option<Command> {
    if !PACKAGES.is_there() || !Path::new(PYTHON).is_file() {
        tools::missing("cloud-init's data source (`cargo xtask setup` unpacks it)");
        return None;
    }
    let mut python = Command::new(PYTHON);
    // Without -E, which would hide the modules, and without bytecode, which would change the cache.
    python.args(["-s", "-B"]).env("PYTHONPATH", PACKAGES.folder().join("usr/lib/python3/dist-packages"));
    python.env("PYTHONUTF8", "1");
    Some(python)
}
