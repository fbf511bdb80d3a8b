//! The walk, on archives made for it.

use super::*;
use tar::{Builder, EntryType, Header};

const LIMITS: Limits = Limits { file_bytes: 1 << 20, total_bytes: 1 << 21, members: 100 };

fn header(kind: EntryType, path: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header
}

fn archive(members: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, content) in members {
        let link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let mut header = header(*kind, path, if link { 0 } else { content.len() as u64 });
        if link {
            header.set_link_name_literal(content).unwrap();
            header.set_cksum();
        }
        builder.append(&header, if link { &b""[..] } else { content.as_bytes() }).unwrap();
    }
    builder.into_inner().unwrap()
}

fn walked(bytes: &[u8]) -> Result<Vec<(Member, String)>, TarError> {
    let mut members = Vec::new();
    walk(bytes, LIMITS, |member, content| {
        let mut text = String::new();
        content.read_to_string(&mut text)?;
        members.push((member.clone(), text));
        Ok(())
    })?;
    Ok(members)
}

/// What is said about an archive that is refused.
fn refusal(bytes: &[u8]) -> String {
    format!("{:#}", anyhow::Error::new(walked(bytes).unwrap_err()))
}

#[test]
fn members_come_with_clean_paths_and_contents() {
    let long = format!("./top/{}", "n".repeat(150));
    let mut builder = Builder::new(Vec::new());
    let mut file = Header::new_gnu();
    file.set_size(5);
    builder.append_data(&mut file, &long, &b"hello"[..]).unwrap();
    let mut bytes = builder.into_inner().unwrap();
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(archive(&[
        (EntryType::Directory, "./", ""),
        (EntryType::Directory, "top/dir/", ""),
        (EntryType::Regular, "top/dir/file", "x"),
        (EntryType::Symlink, "top/dir/link", "../other"),
        (EntryType::Link, "top/again", "./top/dir/file"),
    ]));
    let members = walked(&bytes).unwrap();
    let shown: Vec<(&str, &MemberKind, &str)> =
        members.iter().map(|(m, text)| (m.path.as_str(), &m.kind, text.as_str())).collect();
    assert_eq!(
        shown,
        [
            (&long[2..], &MemberKind::File, "hello"),
            ("top/dir", &MemberKind::Directory, ""),
            ("top/dir/file", &MemberKind::File, "x"),
            ("top/dir/link", &MemberKind::Symlink("../other".into()), ""),
            ("top/again", &MemberKind::HardLink("top/dir/file".into()), ""),
        ]
    );
}

#[test]
fn the_size_of_a_directory_stands_for_nothing_that_follows() {
    let mut bytes = header(EntryType::Directory, "dir/", 512).as_bytes().to_vec();
    bytes.extend(archive(&[(EntryType::Regular, "file", "x")]));
    let members = walked(&bytes).unwrap();
    let shown: Vec<_> = members.iter().map(|(m, text)| (m.path.as_str(), m.size, text.as_str())).collect();
    assert_eq!(shown, [("dir", 0, ""), ("file", 1, "x")]);
}

/// A member with a pax record of one attribute before it.
fn with_record(key: &str, value: &[u8], content: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions([(key, value)]).unwrap();
    builder.append(&header(EntryType::Regular, "file", 0), &b""[..]).unwrap();
    let mut bytes = builder.into_inner().unwrap();
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[test]
fn a_pax_size_takes_the_place_of_the_headers() {
    let members = walked(&with_record("size", b"5", b"hello")).unwrap();
    assert_eq!((members[0].0.size, members[0].1.as_str()), (5, "hello"));
}

#[test]
fn extension_records_are_believed_only_within_bounds() {
    let long = "a/".repeat(PATH_LIMIT / 2 + 1);
    for (key, value, expected) in [
        ("path", long.as_bytes(), "the name is not usable"),
        ("linkpath", long.as_bytes(), "the name is not usable"),
        ("size", b"1152921504606846976", "claims 1152921504606846976 bytes"),
        ("size", b"many", "gives 'many' as a size"),
        ("GNU.sparse.major", b"2", "a sparse file of a form that kiln does not unpack"),
        ("GNU.sparse.major", b"1", "the map of a sparse file is damaged"),
        ("GNU.sparse.name", long.as_bytes(), "the name is not usable"),
        ("GNU.sparse.map", b"1,x", "gives 'x' as a place in a sparse file"),
    ] {
        let error = refusal(&with_record(key, value, b""));
        assert!(error.contains(expected), "{key}: {error}");
    }
}

#[test]
fn headers_are_counted() {
    let comment = with_record("comment", b"x", b"");
    let endless: Vec<u8> = (0..60).flat_map(|_| comment[..1024].to_vec()).collect();
    assert_eq!(walked(&endless).unwrap(), []);
    let many = [endless.clone(), endless].concat();
    assert!(refusal(&many).contains("more than 100 members"));
}

#[test]
fn hostile_members_are_refused_by_name() {
    let cases: &[(EntryType, &str, &str, &str)] = &[
        (EntryType::Regular, "/etc/passwd", "", "absolute"),
        (EntryType::Regular, "a/../../b", "", "climbs out"),
        (EntryType::Regular, "a\u{1}b", "", "not usable"),
        (EntryType::Symlink, "a", "/etc", "leads out of the archive, to /etc"),
        (EntryType::Symlink, "a/b", "../../c", "leads out"),
        (EntryType::Link, "a", "../b", "leads out"),
        (EntryType::Block, "disk", "", "type '4'"),
        (EntryType::Fifo, "pipe", "", "type '6'"),
    ];
    for (kind, path, content, expected) in cases {
        let error = refusal(&archive(&[(*kind, path, content)]));
        assert!(error.contains(expected), "{path}: {error}");
    }
    let twice = archive(&[(EntryType::Regular, "a/Unix", ""), (EntryType::Regular, "a/unix", "")]);
    let error = refusal(&twice);
    assert!(error.contains("already taken by a/Unix"), "{error}");
}

#[test]
fn sizes_are_believed_only_within_the_limits() {
    for (kind, size) in [(EntryType::Regular, 1 << 60), (EntryType::GNULongName, 1 << 60)] {
        let bytes = header(kind, "big", size);
        let error = refusal(bytes.as_bytes());
        assert!(error.contains("claims 1152921504606846976 bytes"), "{error}");
    }
}

#[test]
fn sparse_members_come_with_their_holes() {
    let mut header = header(EntryType::GNUSparse, "disk.img", 5);
    {
        let gnu = header.as_gnu_mut().unwrap();
        for (slot, (offset, length)) in [(3, 2), (10, 3), (16, 0)].into_iter().enumerate() {
            gnu.sparse[slot].set_offset(offset);
            gnu.sparse[slot].set_length(length);
        }
        gnu.set_real_size(16);
    }
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(b"abcde");
    bytes.resize(2048, 0);
    let (member, content) = walked(&bytes).unwrap().remove(0);
    assert_eq!(member.size, 16);
    assert_eq!(content, "\0\0\0ab\0\0\0\0\0cde\0\0\0");

    header.as_gnu_mut().unwrap().sparse[1].set_offset(4);
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    let error = refusal(&bytes);
    assert!(error.contains("map of a sparse file is damaged"), "{error}");
}

/// A file of 16 bytes of which `contents` are stored, with these pax records before it.
fn pax_sparse(records: &[(&str, &[u8])], contents: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    builder.append_pax_extensions(records.iter().copied()).unwrap();
    builder
        .append(&header(EntryType::Regular, "GNUSparseFile.7/file", contents.len() as u64), contents)
        .unwrap();
    builder.append(&header(EntryType::Regular, "next", 1), &b"x"[..]).unwrap();
    builder.into_inner().unwrap()
}

/// The contents of a member of form 1.0: its map and its stored bytes.
fn with_map(map: &str) -> Vec<u8> {
    let mut contents = map.as_bytes().to_vec();
    contents.resize(map.len().next_multiple_of(512), 0);
    contents.extend(b"abcde");
    contents
}

#[test]
fn sparse_members_of_pax_archives_come_with_their_holes() {
    let name = ("GNU.sparse.name", &b"disk.img"[..]);
    let (size, real) = (("GNU.sparse.size", &b"16"[..]), ("GNU.sparse.realsize", &b"16"[..]));
    let by_turns: &[(&str, &[u8])] = &[
        ("path", b"disk.img"),
        size,
        ("GNU.sparse.numblocks", b"3"),
        ("GNU.sparse.offset", b"3"),
        ("GNU.sparse.numbytes", b"2"),
        ("GNU.sparse.offset", b"10"),
        ("GNU.sparse.numbytes", b"3"),
        ("GNU.sparse.offset", b"16"),
        ("GNU.sparse.numbytes", b"0"),
    ];
    let listed: &[(&str, &[u8])] = &[size, name, ("GNU.sparse.map", b"3,2,10,3,16,0")];
    let inside: &[(&str, &[u8])] = &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), name, real];
    for bytes in [
        pax_sparse(by_turns, b"abcde"),
        pax_sparse(listed, b"abcde"),
        pax_sparse(inside, &with_map("3\n3\n2\n10\n3\n16\n0\n")),
    ] {
        let members = walked(&bytes).unwrap();
        let shown: Vec<_> =
            members.iter().map(|(m, text)| (m.path.as_str(), m.size, text.as_str())).collect();
        assert_eq!(shown, [("disk.img", 16, "\0\0\0ab\0\0\0\0\0cde\0\0\0"), ("next", 1, "x")]);
    }
    // A map that goes on in a second block; all but the last stretches are empty.
    let long = format!("130\n{}3\n2\n10\n3\n", "0\n0\n".repeat(128));
    assert_eq!(walked(&pax_sparse(inside, &with_map(&long))).unwrap()[0].1, "\0\0\0ab\0\0\0\0\0cde\0\0\0");
    for map in [
        "",
        "x",
        "\n",
        "1\n",
        "2\n3\n2\n10\n3",
        "1\n3\n2\n",
        "2\n10\n3\n3\n2\n",
        "2\n3\n2\n15\n3\n",
        "+1\n3\n2\n",
        "99999999999999999999\n",
        "-1\n",
    ] {
        let error = refusal(&pax_sparse(inside, &with_map(map)));
        assert!(error.contains("map of a sparse file is damaged"), "{map:?}: {error}");
    }
    for records in
        [&[size, name, ("GNU.sparse.map", &b"3,2,10"[..])][..], &[name, ("GNU.sparse.map", b"3,2,10,3")]]
    {
        assert!(refusal(&pax_sparse(records, b"abcde")).contains("map of a sparse file is damaged"));
    }
}

#[test]
fn maps_of_sparse_members_have_bounds() {
    let size = ("GNU.sparse.size", &b"16"[..]);
    let version = |minor| [("GNU.sparse.major", &b"0"[..]), ("GNU.sparse.minor", minor)];
    let [major, minor] = version(b"7");
    let (offset, length) = (("GNU.sparse.offset", &b"3"[..]), ("GNU.sparse.numbytes", &b"5"[..]));
    for records in
        [&[size, length, offset][..], &[size, offset, offset, length], &[size, offset, length, length]]
    {
        assert!(refusal(&pax_sparse(records, b"abcde")).contains("map of a sparse file is damaged"));
    }
    let error = refusal(&pax_sparse(&[major, minor, size, offset, length], b"abcde"));
    assert!(error.contains("of a form that kiln does not unpack"), "{error}");
    for map in [&b"3,,5"[..], b"3,5,"] {
        let error = refusal(&pax_sparse(&[size, ("GNU.sparse.map", map)], b"abcde"));
        assert!(error.contains("gives '' as a place"), "{error}");
    }
    // The last of two counts.
    let twice = [size, ("GNU.sparse.map", &b"0,5"[..]), ("GNU.sparse.map", b"3,5")];
    assert_eq!(walked(&pax_sparse(&twice, b"abcde")).unwrap()[0].1, "\0\0\0abcde\0\0\0\0\0\0\0\0");

    let inside: &[(&str, &[u8])] =
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1000000")];
    let pieces = |count: usize| {
        let mut map = format!("{}\n", count + 1);
        map.extend((0..count).map(|piece| format!("{}\n1\n", 2 * piece)));
        let mut contents = with_map(&format!("{map}1000000\n0\n"));
        contents.truncate(contents.len() - 5);
        contents.resize(contents.len() + count, b'x');
        pax_sparse(inside, &contents)
    };
    let limits = Limits { file_bytes: 2_000_000, total_bytes: 2_000_000, members: 100 };
    let count = |bytes: &[u8]| {
        let mut stored = 0;
        let walked = walk(bytes, limits, |_, contents| {
            let mut bytes = Vec::new();
            contents.read_to_end(&mut bytes)?;
            stored += bytes.iter().map(|&byte| usize::from(byte == b'x')).sum::<usize>();
            Ok(())
        });
        walked.map(|()| stored).map_err(|error| format!("{error:#?} {error}"))
    };
    // And the member behind it.
    assert_eq!(count(&pieces(65_536)), Ok(65_537));
    assert!(count(&pieces(65_537)).unwrap_err().contains("TooManyPieces"));
    // A number that never ends.
    let endless = pax_sparse(inside, &vec![b'0'; 4 << 20]);
    assert!(count(&endless).unwrap_err().contains("BadSparseMap"));
}

#[test]
fn an_early_end_is_an_error() {
    let bytes = archive(&[(EntryType::Regular, "a", "some contents")]);
    let error = walked(&bytes[..520]).unwrap_err();
    assert!(error.to_string().starts_with("tar member 1"), "{error}");
}
