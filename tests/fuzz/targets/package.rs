//! Packages of pkgsrc, signed and not: members stay below the prefix, and no more is read than is allowed.
#![no_main]

use kiln::probe_package;
use kiln::tarball::Limits;
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { file_bytes: 1 << 20, total_bytes: 4 << 20, members: 1000 };

fuzz_target!(|input: &[u8]| {
    let Ok(members) = probe_package(&input.to_vec(), LIMITS) else { return };
    assert!(members.len() < 1000);
    for member in members {
        assert!(member.path.split(|&byte| byte == b'/').all(|name| !matches!(name, b"" | b"." | b"..")));
    }
});
