use std::io::Read as _;

use kiln_ufs::{Attributes, EditOptions, Editor, MakeOptions, Timestamp};
use positioned_io::{ReadAt, WriteAt};

use super::*;
use crate::overlay::{self, Kind};
use crate::pieces;

const PLACE: &str = "archive";
const TIME: i32 = 1_400_000_000;

fn attributes(mode: u16) -> Attributes {
    Attributes { mode, uid: 0, gid: 0 }
}

/// Puts a tree into a file system.
fn put<D: ReadAt + WriteAt>(ufs: &mut Editor<D>, tree: &overlay::Tree) {
    for (path, entry) in tree.entries() {
        let path = [b"/", path].concat();
        match &entry.kind {
            Kind::Directory { .. } => ufs.create_dir_all(&path, &attributes(0o755)).unwrap(),
            Kind::File(contents) => {
                let mut bytes = Vec::new();
                contents.open().unwrap().read_to_end(&mut bytes).unwrap();
                ufs.create_file(&path, &attributes(0o644), bytes.as_slice()).unwrap();
            }
            Kind::Symlink(target) => ufs.symlink(&path, target, &attributes(0o777)).unwrap(),
        }
    }
}

/// What is wrong with a boot archive that has kiln's pieces and its record, after a change.
fn problems(stamp: &str, change: impl FnOnce(&mut Editor<std::fs::File>)) -> Vec<String> {
    let stamp: Stamp = stamp.parse().unwrap();
    let mut tree = overlay::Tree::stack([pieces::boot_archive(&stamp)]).unwrap();
    let custom = Proof { sha256: "0".repeat(64), bytes: 1 };
    tree.add(pieces::record(&Record::new(&stamp, custom, &tree).unwrap())).unwrap();

    let bytes = 8 << 20;
    let file = tempfile::tempfile().unwrap();
    file.set_len(bytes).unwrap();
    let make = MakeOptions { bytes, bytes_per_inode: 4096, time: TIME, generation_seed: 1 };
    let edit = EditOptions { time: Timestamp::from_seconds(TIME), generation_seed: 1 };
    let mut ufs = kiln_ufs::make(file, &make).unwrap().edit(edit);
    put(&mut ufs, &tree);
    change(&mut ufs);
    let archive = Source::file(ufs.finish(TIME).unwrap().into_device()).unwrap();
    let mut findings = Findings::default();
    assert!(check(&mut findings, PLACE, &archive, Some(&stamp)).is_some());
    findings.problems.into_iter().map(|problem| format!("{}: {}", problem.place, problem.text)).collect()
}

const OLD: &str = "20130506T233003Z";

#[test]
fn an_archive_as_it_was_built_has_nothing_wrong() {
    for stamp in [OLD, "20210826T002459Z"] {
        assert_eq!(problems(stamp, |_| {}), [""; 0], "{stamp}");
    }
}

#[test]
fn every_piece_that_is_missing_or_another_is_told() {
    let record = "archive!/lib/guest-init/image.json";
    let found = problems(OLD, |ufs| {
        ufs.remove_file(b"/lib/svc/method/fs-joyent").unwrap();
        ufs.create_file(b"/lib/svc/method/fs-joyent", &attributes(0o755), &b"#!/bin/sh\n"[..]).unwrap();
        ufs.remove_file(b"/lib/svc/method/smartdc-config").unwrap();
        ufs.symlink(b"/lib/svc/method/smartdc-config", b"stock", &attributes(0o777)).unwrap();
        ufs.remove_file(b"/lib/svc/method/smartos-setup").unwrap();
        ufs.remove_file(b"/lib/svc/manifest/site/guest-setup.xml").unwrap();
        ufs.remove_file(b"/lib/svc/manifest/site/guest-userscript.xml").unwrap();
        ufs.remove_file(b"/etc/ssh/sshd_config").unwrap();
        let other_era = include_bytes!("../../../../overlays/boot_archive/etc/inet/ntp.conf.pool");
        ufs.create_file(b"/etc/ssh/sshd_config", &attributes(0o644), &other_era[..]).unwrap();
    });
    let begins =
        |problem: &String, path: &str, text: &str| problem.starts_with(&format!("{record}: {path} {text}"));
    for (path, text) in [
        ("/etc/ssh/sshd_config", "is a file of "),
        ("/lib/svc/manifest/site/guest-setup.xml", "is missing: it was a file of "),
        ("/lib/svc/manifest/site/guest-userscript.xml", "is missing: it was a file of "),
        ("/lib/svc/method/fs-joyent", "is a file of 10 bytes with the SHA-256 "),
        ("/lib/svc/method/smartdc-config", "is a link to stock, not a link to guest-init"),
        ("/lib/svc/method/smartos-setup", "is missing: it was a link to guest-init"),
    ] {
        let count = found.iter().filter(|problem| begins(problem, path, text)).count();
        assert_eq!(count, 1, "{path}: {found:#?}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
}

#[test]
fn a_record_of_nothing_proves_nothing() {
    let found = problems(OLD, |ufs| {
        ufs.remove_file(b"/lib/guest-init/image.json").unwrap();
        let empty = format!(r#"{{"kiln": "0", "stamp": "{OLD}", "custom": null, "pieces": {{}}}}"#);
        ufs.create_file(b"/lib/guest-init/image.json", &attributes(0o644), empty.as_bytes()).unwrap();
    });
    assert_eq!(found, ["archive!/lib/guest-init/image.json: vouches for nothing"]);
}
