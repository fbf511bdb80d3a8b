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

/// A member of this type with these contents, as it is, and then a file of another name.
fn extended(members: &[(EntryType, &[u8])], kind: EntryType, name: &str) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, contents) in members {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_size(contents.len() as u64);
        header.set_cksum();
        builder.append(&header, *contents).expect("appended");
    }
    let mut bytes = builder.into_inner().expect("finished");
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(tarball(&[(kind, name, if kind == EntryType::Regular { "contents" } else { "short" })]));
    bytes
}

fn pax(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..5).map(|digits| rest + digits).find(|sum| sum.to_string().len() + rest == *sum);
    format!("{} {key}={value}\n", length.expect("a length")).into_bytes()
}

#[test]
fn names_that_are_too_long_for_a_header_are_read() {
    let long = format!("custom/{}/file", "d".repeat(150));
    let target = "t".repeat(300);
    let below = |path: &str| path.strip_prefix("custom/").expect("below").to_owned();
    for member in [
        (EntryType::GNULongName, [long.as_bytes(), b"\0"].concat()),
        (EntryType::XHeader, [pax("mtime", "1.5"), pax("path", &long)].concat()),
    ] {
        let members = [(EntryType::XGlobalHeader, &pax("comment", "x")[..]), (member.0, &member.1)];
        let (around, items) = unpacked(&extended(&members, EntryType::Regular, "custom/short"));
        assert!(matches!(items.expect("unpacked")[&below(&long)], Item::File(_)));
        assert_eq!(fs::read(around.path().join("to").join(below(&long))).expect("read"), b"contents");
    }
    for member in [
        (EntryType::GNULongLink, [target.as_bytes(), b"\0"].concat()),
        (EntryType::XHeader, pax("linkpath", &target)),
    ] {
        let bytes = extended(&[(member.0, &member.1)], EntryType::Symlink, "custom/link");
        assert_eq!(unpacked(&bytes).1.expect("unpacked")["link"], Item::Link(target.clone()));
    }
    // As the builder of tarballs writes them.
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(8);
    builder.append_data(&mut header, &long, &b"contents"[..]).expect("appended");
    let items = unpacked(&builder.into_inner().expect("finished")).1.expect("unpacked");
    assert!(items.contains_key(&below(&long)));
}

#[test]
fn what_is_told_about_the_next_member_is_bounded_and_makes_sense() {
    let (name, endless) = (EntryType::GNULongName, vec![b'x'; LONGEST_EXTENSION as usize + 1]);
    for (members, word) in [
        (vec![(name, &endless[..])], "65537 bytes"),
        (vec![(EntryType::GNULongLink, &endless)], "65537 bytes"),
        (vec![(EntryType::XHeader, &endless)], "65537 bytes"),
        (vec![(name, b"custom/a\0"), (name, b"custom/b\0")], "told twice"),
        (vec![(name, b"custom/a\0"), (EntryType::XHeader, &pax("path", "custom/b"))], "told twice"),
        (vec![(name, b"../precious\0")], "leads outside"),
        (vec![(EntryType::XHeader, &pax("path", "../precious"))], "leads outside"),
        (vec![(EntryType::XHeader, &pax("size", "7"))], "two sizes"),
        (vec![(EntryType::XHeader, &pax("GNU.sparse.major", "1"))], "holes"),
        (vec![(EntryType::XHeader, b"nonsense\n")], "malformed"),
    ] {
        let (_around, result) = unpacked(&extended(&members, EntryType::Regular, "custom/file"));
        let error = format!("{:#}", result.expect_err(word));
        assert!(error.contains(word), "{error}");
    }
    // Nothing follows.
    let whole = extended(&[(name, b"custom/a\0")], EntryType::Regular, "custom/file");
    let error = unpacked(&whole[..1024]).1.expect_err("nothing follows");
    assert!(format!("{error:#}").contains("ends where"), "{error:#}");
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
