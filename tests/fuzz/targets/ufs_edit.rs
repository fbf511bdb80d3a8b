//! Edits of a UFS. The first byte of the input tells how many four-byte groups of it are hostile changes; the rest are
//! operations. Without changes the file system must stay sound whatever is done to it.
#![no_main]

use std::sync::OnceLock;

use kiln_fuzz::{Base, populated_ufs};
use kiln_ufs::{Attributes, EditOptions, Editor, FileSystem, Result, Timestamp, check};
use libfuzzer_sys::fuzz_target;
use positioned_io::{ReadAt, WriteAt};

/// Entries of the image, of every kind, and names that are free.
const PATHS: [&[u8]; 16] = [
    b"/d",
    b"/d/e",
    b"/d/f0",
    b"/d/f1",
    b"/d/f1025",
    b"/d/f49152",
    b"/d/f200000",
    b"/d/f4300000",
    b"/link",
    b"/long",
    b"/new",
    b"/new/a",
    b"/new/b",
    b"/d/e/another-name-of-some-length",
    b"/d/e/name-1-xx",
    b"/d/e/name-100-x",
];

const ATTRIBUTES: Attributes = Attributes { mode: 0o755, uid: 70_000, gid: 1 };

fn operate<D: ReadAt + WriteAt>(editor: &mut Editor<D>, operation: [u8; 4]) -> Result<()> {
    let [what, first, second, size] = operation;
    let path = PATHS[usize::from(first) % PATHS.len()];
    let other = PATHS[usize::from(second) % PATHS.len()];
    // Up to half a megabyte, with every kind of tail.
    let contents = vec![0x5a; usize::from(size) * usize::from(size) * 8 + usize::from(second)];
    match what % 14 {
        0 => editor.create_file(path, &ATTRIBUTES, contents.as_slice()),
        1 => editor.replace_file(path, contents.as_slice()),
        2 => editor.put_file(path, &ATTRIBUTES, contents.as_slice()),
        3 => editor.append(path, contents.as_slice()),
        4 => editor.create_dir(path, &ATTRIBUTES),
        5 => editor.create_dir_all(path, &ATTRIBUTES),
        6 => editor.symlink(path, other, &ATTRIBUTES),
        7 => editor.hard_link(path, other),
        8 => editor.remove_file(path),
        9 => editor.remove_dir(path),
        10 => editor.remove_all(path),
        11 => editor.rename(path, other),
        12 => editor.set_owner(path, u32::from(second) << 12, u32::from(size)),
        _ => editor.flush(i32::from(size)),
    }
}

fuzz_target!(|input: &[u8]| {
    static BASE: OnceLock<Base<Vec<u8>>> = OnceLock::new();
    let base = BASE.get_or_init(populated_ufs);
    let Some((&groups, rest)) = input.split_first() else { return };
    let (changes, operations) = rest.split_at(rest.len().min(usize::from(groups) * 4));

    let Ok(system) = FileSystem::open(base.changed(changes), base.length()) else { return };
    let mut editor =
        system.edit(EditOptions { time: Timestamp::from_seconds(1_000_000_000), generation_seed: 1 });
    for &operation in operations.as_chunks().0.iter().take(64) {
        // Most operations make no sense where they are tried. A refusal must leave the file system sound as well.
        let _ = operate(&mut editor, operation);
    }
    let finished = editor.finish(1_000_000_001);
    if changes.is_empty() {
        let device = finished.expect("a sound file system can be closed").into_device();
        let report = check::check(&device, base.length()).expect("it can be checked");
        assert!(report.is_clean(), "{:?}", report.findings);
    }
});
