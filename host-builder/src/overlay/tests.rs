use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::report::hint_of;

/// A folder `over` in a temporary place, with these files.
fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let over = temporary.path().join("over");
    fs::create_dir(&over).unwrap();
    for (path, text) in files {
        let path = over.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    (temporary, over)
}

fn listing(layers: impl IntoIterator<Item = Layer>) -> Vec<String> {
    let tree = Tree::stack(layers).unwrap();
    tree.entries()
        .map(|(path, entry)| {
            let mut text = String::new();
            let what = match &entry.kind {
                Kind::Directory { implied: true } => "directory, implied",
                Kind::Directory { implied: false } => "directory",
                Kind::File(contents) => {
                    contents.open().unwrap().read_to_string(&mut text).unwrap();
                    assert_eq!(contents.length(), text.len() as u64);
                    &text
                }
                Kind::Symlink(target) => std::str::from_utf8(target).unwrap(),
            };
            let at = entry.attributes;
            format!("{:04o} {}:{} {} {what}", at.mode, at.uid, at.gid, path.escape_ascii())
        })
        .collect()
}

fn refusal(result: Result<impl std::fmt::Debug>) -> String {
    let error = result.unwrap_err();
    assert!(hint_of(&error).is_some(), "{error:#} has no hint");
    format!("{error:#}")
}

#[test]
fn without_a_manifest_nothing_of_the_checkout_counts_but_names_and_contents() {
    let (_temporary, over) = folder(&[("bin/tool", "run"), ("etc-x", "x"), ("etc/issue", "hello")]);
    symlink("../bin/tool", over.join("etc/link")).unwrap();
    let expected = [
        "0755 0:0 bin directory, implied",
        "0644 0:0 bin/tool run",
        "0755 0:0 etc directory, implied",
        "0644 0:0 etc-x x",
        "0644 0:0 etc/issue hello",
        "0777 0:0 etc/link ../bin/tool",
    ];
    assert_eq!(listing([Layer::read(&over).unwrap()]), expected);
    for (path, mode) in [("bin/tool", 0o4755), ("bin", 0o700), ("etc/issue", 0o600)] {
        fs::set_permissions(over.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(listing([Layer::read(&over).unwrap()]), expected);
}

#[test]
fn the_manifest_beside_the_folder_gives_modes_owners_and_what_checkouts_lose() {
    let (temporary, over) = folder(&[("bin/tool", "run"), ("etc/issue", "hello")]);
    fs::write(
        temporary.path().join("over.mtree"),
        ". mode=0750 gid=3\n./bin/tool mode=0555 uid=70000 gid=2\n./etc gid=3\n./var/empty type=dir mode=0700\n\
         ./etc/hosts type=link link=inet/hosts\n",
    )
    .unwrap();
    let expected = [
        "0755 0:0 bin directory, implied",
        "0555 70000:2 bin/tool run",
        "0755 0:3 etc directory",
        "0777 0:0 etc/hosts inet/hosts",
        "0644 0:0 etc/issue hello",
        "0755 0:0 var directory, implied",
        "0700 0:0 var/empty directory",
    ];
    assert_eq!(listing([Layer::read(&over).unwrap()]), expected);
    // The folder may be named in any way.
    let roundabout = over.join("etc/..").join(".");
    assert_eq!(listing([Layer::read(&roundabout).unwrap()]), expected);
    let top = Tree::stack([Layer::read(&over).unwrap()]).unwrap().top();
    assert_eq!(top, Some(Attributes { mode: 0o750, uid: 0, gid: 3 }));
}

#[test]
fn a_manifest_that_does_not_fit_the_folder_is_refused() {
    let (temporary, over) = folder(&[("etc/issue", "hello")]);
    let manifest = temporary.path().join("over.mtree");
    for (text, expected) in [
        ("./etc/isue mode=0600", "etc/isue is not in the folder"),
        ("./etc/issue type=dir", "etc/issue has another type than the file of that name"),
    ] {
        fs::write(&manifest, text).unwrap();
        let message = refusal(Layer::read(&over));
        assert!(message.ends_with(expected) && message.contains("over.mtree"), "{message}");
    }
    fs::write(&manifest, "\n./etc/issue mode=rw").unwrap();
    let message = format!("{:#}", Layer::read(&over).unwrap_err());
    assert!(message.ends_with("over.mtree:2: mode 'rw' is not octal up to 7777"), "{message}");
}

#[test]
fn later_layers_win_and_implied_directories_take_nothing_away() {
    let mut lower = Layer::new("lower", Ownership::parse(b"./etc mode=0700", Path::new("m")).unwrap());
    lower.add(b"etc/issue", Kind::File(Contents::Bytes(b"old"[..].into())));
    lower.add(b"etc/kept", Kind::File(Contents::Bytes(b"kept"[..].into())));
    let mut upper = Layer::new("upper", Ownership::default());
    upper.add(b"etc/issue", Kind::Symlink(b"kept".to_vec()));
    upper.add(b"etc/new/deep", Kind::File(Contents::Bytes(b"new"[..].into())));
    assert_eq!(
        listing([lower, upper]),
        [
            "0700 0:0 etc directory",
            "0777 0:0 etc/issue kept",
            "0644 0:0 etc/kept kept",
            "0755 0:0 etc/new directory, implied",
            "0644 0:0 etc/new/deep new",
        ]
    );
}

#[test]
fn clashes_name_the_path_and_both_layers() {
    let file = || Kind::File(Contents::Bytes(b""[..].into()));
    let mut lower = Layer::new("first/over", Ownership::default());
    lower.add(b"etc/issue/text", file());
    let mut upper = Layer::new("second/over", Ownership::default());
    upper.add(b"etc/issue", file());
    assert_eq!(
        refusal(Tree::stack([lower.clone(), upper.clone()])),
        "etc/issue is a file in second/over and a directory in first/over"
    );
    assert_eq!(
        refusal(Tree::stack([upper, lower])),
        "etc/issue is a directory in first/over and a file in second/over"
    );
}

#[test]
fn what_no_overlay_can_hold_is_refused() {
    let (temporary, over) = folder(&[]);
    let _socket = std::os::unix::net::UnixListener::bind(over.join("s")).unwrap();
    assert!(refusal(Layer::read(&over)).ends_with("over/s is a device, socket or pipe"));
    assert!(refusal(Layer::read(&temporary.path().join("absent"))).contains("absent cannot be read"));
    fs::write(temporary.path().join("plain"), "").unwrap();
    assert!(refusal(Layer::read(&temporary.path().join("plain"))).ends_with("plain is not a folder"));
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error_and_one_that_grows_is_not() {
    let (_temporary, over) = folder(&[("log", "1234567")]);
    let path = over.join("log");
    let read = |length| {
        let contents = Contents::Host { path: path.clone(), length };
        let mut text = String::new();
        contents.open().unwrap().read_to_string(&mut text).map(|_| text)
    };
    assert_eq!(read(5).unwrap(), "12345");
    assert_eq!(read(7).unwrap(), "1234567");
    assert_eq!(read(8).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}
