//! A UFS with hostile changes: opened, walked, read and checked.
#![no_main]

use std::sync::OnceLock;

use kiln_fuzz::{Base, populated_ufs};
use kiln_ufs::{FileSystem, FileType, check};
use libfuzzer_sys::fuzz_target;

/// At most so many entries are looked at, and so much of each file: a directory may name itself a thousand times, and
/// a hole may be as long as a file can be.
const ENTRIES: usize = 300;
const READ_LIMIT: u64 = 1 << 14;

fuzz_target!(|input: &[u8]| {
    static BASE: OnceLock<Base<Vec<u8>>> = OnceLock::new();
    let base = BASE.get_or_init(populated_ufs);
    let _ = check::check(&base.changed(input), base.length());
    let Ok(system) = FileSystem::open(base.changed(input), base.length()) else { return };
    let Ok(walk) = system.walk(b"/") else { return };
    for entry in walk.take(ENTRIES) {
        let Ok(entry) = entry else { break };
        match entry.metadata.kind {
            FileType::Regular => drop(system.read(&entry.path, READ_LIMIT)),
            FileType::Symlink => drop(system.read_link(&entry.path)),
            _ => {}
        }
        let _ = system.metadata(&entry.path);
    }
});
