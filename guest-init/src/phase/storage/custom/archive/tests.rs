use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;
use tar::{Builder, Header};

use super::*;

fn ids() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

/// A tarball of these members: type, path, link target or contents.
fn tarball(members: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, text) in members {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o6777);
        header.set_uid(4711);
        header.set_gid(4711);
        // As it is, and not as a careful writer would have it.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        if is_link {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        let contents = if is_link { "" } else { text };
        header.set_size(contents.len() as u64);
        header.set_cksum();
        builder.append(&header, contents.as_bytes()).expect("appended");
    }
    builder.into_inner().expect("finished")
}

/// Unpacks into a folder inside another, and makes sure that the other is left alone.
fn unpacked(bytes: &[u8]) -> (tempfile::TempDir, Result<Items>) {
    let around = tempfile::tempdir().expect("a folder");
    fs::write(around.path().join("precious"), "precious").expect("written");
    let to = around.path().join("to");
    fs::create_dir(&to).expect("made");
    let result = unpack(bytes, &to, ids());
    assert_eq!(fs::read(around.path().join("precious")).expect("read"), b"precious");
    assert_eq!(fs::read_dir(around.path()).expect("listed").count(), 2, "nothing was made outside");
    (around, result)
}

#[test]
fn hazard_12_owner_and_modes_are_enforced() {
    let (around, items) = unpacked(&tarball(&[
        (EntryType::Directory, "custom/", ""),
        (EntryType::Directory, "custom/root/", ""),
        (EntryType::Regular, "custom/root/.profile", "PATH=/\n"),
        (EntryType::Regular, "custom/bin/tool", "#!\n"),
        (EntryType::Symlink, "custom/bin/other", "tool"),
        (EntryType::Symlink, "custom/up", "/opt/custom/bin/../root"),
        (EntryType::Link, "custom/bin/third", "custom/bin/tool"),
    ]));
    let items = items.expect("unpacked");
    assert_eq!(items["bin/other"], Item::Link("tool".to_owned()));
    assert_eq!(items["bin"], Item::Folder, "made though it was not mentioned");
    assert_eq!(items["bin/third"], items["bin/tool"]);
    let to = around.path().join("to");
    for (name, mode) in
        [("", 0o755), ("root", 0o755), ("bin", 0o755), ("root/.profile", 0o755), ("bin/tool", 0o755)]
    {
        let found = fs::symlink_metadata(to.join(name)).expect("found");
        assert_eq!(found.mode() & 0o7777, mode, "{name}: no set-id bits, nobody else may write");
        assert_eq!((found.uid(), found.gid()), ids(), "{name}");
    }
    assert_eq!(fs::read(to.join("root/.profile")).expect("read"), b"PATH=/\n");
    assert_eq!(fs::metadata(to.join("bin/tool")).expect("found").nlink(), 2);
}

#[test]
fn hazard_12_nothing_leads_outside() {
    let file = EntryType::Regular;
    let link = EntryType::Symlink;
    let hostile: [&[(EntryType, &str, &str)]; 17] = [
        &[(file, "../precious", "x")],
        &[(file, "custom/../../precious", "x")],
        &[(file, "/custom/file", "x")],
        &[(file, "other/file", "x")],
        &[(file, "custom", "x")],
        &[(link, "custom", "/etc")],
        &[(link, "custom/link", "")],
        &[(link, "custom/link", ".."), (file, "custom/link/precious", "x")],
        &[(link, "custom/link", ".."), (EntryType::Directory, "custom/link", "")],
        &[(link, "custom/link", ".."), (EntryType::Link, "custom/hard", "custom/link/precious")],
        &[(link, "custom/link", "../precious"), (EntryType::Link, "custom/hard", "custom/link")],
        &[(EntryType::Directory, "custom/a", ""), (link, "custom/b", "a"), (file, "custom/b/file", "x")],
        &[(EntryType::Link, "custom/hard", "../precious")],
        &[(link, "custom/link", "file"), (EntryType::Link, "custom/hard", "custom/link")],
        &[(EntryType::Char, "custom/device", "")],
        &[(EntryType::Fifo, "custom/pipe", "")],
        &[(EntryType::Directory, "custom/a", ""), (link, "custom/a", "b")],
    ];
    for members in hostile {
        let (_around, result) = unpacked(&tarball(members));
        assert!(result.is_err(), "{members:?}");
    }
}

#[test]
fn a_later_member_takes_the_place_of_a_link_and_does_not_follow_it() {
    let (around, result) = unpacked(&tarball(&[
        (EntryType::Regular, "custom/target", "target"),
        (EntryType::Symlink, "custom/name", "target"),
        (EntryType::Regular, "custom/name", "file"),
    ]));
    result.expect("unpacked");
    assert_eq!(fs::read(around.path().join("to/target")).expect("read"), b"target");
    assert_eq!(fs::read(around.path().join("to/name")).expect("read"), b"file");
}

#[test]
fn a_tarball_that_is_cut_short_is_an_error() {
    let whole = tarball(&[(EntryType::Regular, "custom/file", &"x".repeat(2000))]);
    for length in [0, 100, 512, 1000, 2000] {
        let (_around, result) = unpacked(&whole[..length]);
        assert!(result.is_err(), "{length}");
    }
}

/// `zone-create` of the usual tree is one.
#[test]
fn a_link_may_lead_anywhere_and_is_not_followed() {
    let (around, result) = unpacked(&tarball(&[
        (EntryType::Symlink, "custom/bin/zone-create", "/lib/svc/method/guest-init"),
        (EntryType::Symlink, "custom/name", "../precious"),
        (EntryType::Regular, "custom/name", "file"),
    ]));
    result.expect("unpacked");
    let to = around.path().join("to");
    assert_eq!(
        fs::read_link(to.join("bin/zone-create")).expect("a link"),
        Path::new("/lib/svc/method/guest-init")
    );
    assert_eq!(fs::read(to.join("name")).expect("read"), b"file");
}
proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_is_no_way_out(at in 0_usize..2048, value: u8) {
        let mut bytes = tarball(&[
            (EntryType::Directory, "custom/a", ""),
            (EntryType::Symlink, "custom/a/link", "file"),
            (EntryType::Regular, "custom/a/file", "contents"),
        ]);
        bytes[at] = value;
        // It may be unpacked or not; what counts is checked on the way.
        let _ = unpacked(&bytes);
    }
}
