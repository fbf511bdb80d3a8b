//! `custom.tgz`: whatever the tarball says, nothing comes to lie outside of the folder, and nobody but the
//! owner may write to what lies in it.
//!
//! The input is a list of members: a byte of the type, one of the length of the path, the path, one of the length of what the
//! link leads to or the file contains, and that.
#![no_main]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use guest_init::phase::storage::custom::archive::unpack;
use libfuzzer_sys::fuzz_target;
use tar::{EntryType, Header};

/// The most members of a tarball here.
const MOST: usize = 40;

fuzz_target!(|input: &[u8]| {
    let around = tempfile::tempdir().expect("a folder");
    let to = around.path().join("to");
    fs::create_dir(&to).expect("made");
    fs::write(around.path().join("precious"), "precious").expect("written");
    let found = fs::metadata(&to).expect("there");
    let unpacked = unpack(&*tarball(input), &to, (found.uid(), found.gid()));

    let names: Vec<_> = fs::read_dir(around.path()).expect("listed").collect();
    assert_eq!(names.len(), 2, "something lies outside");
    assert_eq!(fs::read(around.path().join("precious")).expect("there"), b"precious");
    if let Ok(items) = unpacked {
        assert!(items.len() <= MOST * 64);
        check(&to);
    }
});

/// The tarball with these members.
fn tarball(input: &[u8]) -> Vec<u8> {
    const TYPES: [EntryType; 8] = [
        EntryType::Regular,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::XHeader,
    ];
    let mut bytes = Vec::new();
    let mut rest = input;
    for _ in 0..MOST {
        let Some((&kind, after)) = rest.split_first() else { break };
        let (path, after) = text(after);
        let (contents, after) = text(after);
        rest = after;
        let kind = TYPES[usize::from(kind) % TYPES.len()];
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o6777);
        let length = path.len().min(100);
        header.as_old_mut().name[..length].copy_from_slice(&path[..length]);
        if is_link {
            let length = contents.len().min(100);
            header.as_old_mut().linkname[..length].copy_from_slice(&contents[..length]);
        }
        let contents = if is_link { &[] } else { contents };
        header.set_size(contents.len() as u64);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(contents);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// A text after a byte of its length.
fn text(input: &[u8]) -> (&[u8], &[u8]) {
    input
        .split_first()
        .map_or((input, input), |(&length, rest)| rest.split_at(usize::from(length).min(rest.len())))
}

/// Everything in the folder has modes that are fine.
fn check(folder: &Path) {
    for entry in fs::read_dir(folder).expect("listed") {
        let path = entry.expect("an entry").path();
        let found = fs::symlink_metadata(&path).expect("there");
        if found.is_symlink() {
            continue;
        }
        assert_eq!(found.mode() & 0o7022, 0, "{}", path.display());
        if found.is_dir() {
            check(&path);
        }
    }
}
