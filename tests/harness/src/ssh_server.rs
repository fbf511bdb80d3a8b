//! An SSH server for a guest that has none: Dropbear with its libraries.

use std::fs;
use std::path::Path;

use crate::tools;
use crate::unpacked::Unpacked;

/// Debian's packages of it. What else it needs is in every Debian.
pub const PACKAGES: Unpacked =
    Unpacked { name: "dropbear", packages: &["dropbear-bin", "libgmp10", "libtomcrypt1", "libtommath1"] };

/// Its files.
const FILES: [&str; 4] = [
    "usr/sbin/dropbear",
    "usr/lib/x86_64-linux-gnu/libgmp.so.10",
    "usr/lib/x86_64-linux-gnu/libtomcrypt.so.1",
    "usr/lib/x86_64-linux-gnu/libtommath.so.1",
];

/// Copies it into `folder`, where it finds its libraries with `LD_LIBRARY_PATH`. Without it the calling test has to return:
/// the skip has been reported.
///
/// # Panics
/// It is missing and `KILN_REQUIRE_TOOLS` is set, or the folder cannot be written to.
pub fn put_into(folder: &Path) -> Option<()> {
    if !PACKAGES.is_there() {
        tools::missing("the SSH server for guests (`cargo xtask setup` unpacks it)");
        return None;
    }
    for file in FILES {
        let from = PACKAGES.folder().join(file);
        let to = folder.join(from.file_name().expect("each file has a name"));
        // A library's name is a link, and what it leads to is copied.
        fs::copy(&from, &to).unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
    }
    Some(())
}
