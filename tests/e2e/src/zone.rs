//! Zones for tests of the commands that make images of them: small ones in folders, and what is in an image.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_zstream::fs::objects::DeviceStore;
use kiln_zstream::fs::tree::{Content, Kind, NodeId, Tree};
use kiln_zstream::fs::{FileSystem, Objects};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

/// The time of everything in a [`folder`], seconds since 1970, but for its newest file, which is of a second later.
pub const TIME: i64 = 1_500_000_000;

/// A file system that was read from an image.
pub type Image = FileSystem<DeviceStore<File>>;

/// Makes a zone's `/` in a folder, with every kind of file that one may have, all of them with set times.
///
/// # Panics
/// The folder is there already, or cannot be written.
pub fn folder(path: &Path) {
    let put = |name: &str, text: &[u8], mode: u32| {
        let path = path.join(name);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder can be written");
        fs::write(&path, text).expect("the folder can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    fs::create_dir_all(path.join("var/empty")).expect("the folder can be written");
    put("etc/passwd", b"root:x:0:0::/root:/bin/sh\nwww:x:80:80::/:/bin/false\n", 0o644);
    put("etc/shadow", b"root:NP:6445::::::\n", 0o644);
    put("etc/group", b"root::0:\nsys::3:\nwww::80:\n", 0o644);
    put("etc/inittab", b"smf::sysinit:/lib/svc/bin/svc.startd\n", 0o644);
    put("etc/svc/repository.db", b"** This file contains an SQLite 2.1 database **\0and more", 0o644);
    put("usr/bin/tool", b"#!/bin/sh\n", 0o755);
    put("usr/share/large", &(0..300_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>(), 0o644);
    put(&format!("var/{}", "long".repeat(60)), b"long", 0o644);
    put("root/.profile", b"PATH=/usr/bin\n", 0o644);
    symlink("usr/bin", path.join("bin")).expect("the folder can be written");
    symlink("x".repeat(500), path.join("var/far")).expect("the folder can be written");
    fs::hard_link(path.join("usr/bin/tool"), path.join("usr/bin/other")).expect("the folder can be written");
    rustix::fs::mknodat(CWD, path.join("var/pipe"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)
        .expect("everybody makes pipes");
    let sparse = File::create(path.join("var/sparse")).expect("the folder can be written");
    sparse.write_all_at(b"after a hole", 5 << 20).expect("there is room");
    sparse.set_len(9 << 20).expect("there is room");
    drop(sparse);
    fs::set_permissions(path.join("var/sparse"), fs::Permissions::from_mode(0o644)).expect("it is ours");
    date(path, TIME);
    set_time(&path.join("etc/passwd"), TIME + 1);
}

/// Sets the time of a folder and of all below it.
///
/// # Panics
/// It cannot be read, or is not ours.
pub fn date(path: &Path, seconds: i64) {
    if path.symlink_metadata().expect("it is there").is_dir() {
        for entry in fs::read_dir(path).expect("it can be read") {
            date(&entry.expect("it can be read").path(), seconds);
        }
    }
    set_time(path, seconds);
}

/// Sets the time of a file, folder or link.
///
/// # Panics
/// It is not ours.
pub fn set_time(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("it is ours");
}

/// Packs a folder with tar and further flags. Owners are 0:0 unless the flags say something about them.
///
/// # Panics
/// tar fails.
pub fn pack(folder: &Path, archive: &Path, flags: &[&str]) {
    let mut tar = Command::new("tar");
    if !flags.iter().any(|flag| flag.starts_with("--owner")) {
        tar.args(["--owner=0", "--group=0", "--numeric-owner"]);
    }
    let done = tar.args(flags).arg("-C").arg(folder).arg("-cf").arg(archive).arg(".").output();
    let done = done.expect("tar starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Copies a folder as it is, in another file system too.
///
/// # Panics
/// cp fails.
pub fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts");
    assert!(done.success());
}

/// A folder in memory, which is gone when the value is; `None` where there is no such file system.
pub fn in_memory() -> Option<tempfile::TempDir> {
    tempfile::Builder::new().prefix("kiln-").tempdir_in("/dev/shm").ok()
}

/// The bytes of an image's stream, whatever it is compressed with.
///
/// # Panics
/// The image is not whole.
pub fn stream(image: &Path) -> Vec<u8> {
    let name = image.to_string_lossy();
    let program =
        [(".gz", "gzip"), (".bz2", "bzip2"), (".xz", "xz")].iter().find(|(end, _)| name.ends_with(end));
    let Some((_, program)) = program else { return fs::read(image).expect("the image is there") };
    let done = Command::new(program).arg("-cdfq").arg(image).output().expect("the program is there");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// The file system of images on top of each other, the oldest first.
///
/// # Panics
/// One is damaged, or none that the one before fits under.
pub fn read(images: &[&Path]) -> Image {
    let store = DeviceStore::new(tempfile::tempfile().expect("there is room for temporary files"));
    let mut objects = Objects::new(store);
    for image in images {
        objects.apply(&stream(image)[..]).unwrap_or_else(|error| panic!("{}: {error}", image.display()));
    }
    assert_eq!(kiln_zstream::fs::check(&objects), []);
    kiln_zstream::fs::read(objects).unwrap_or_else(|error| panic!("{images:?}: {error}"))
}

/// The bytes of a file at a path.
///
/// # Panics
/// There is no such file.
pub fn contents(tree: &Tree, path: &str) -> Vec<u8> {
    match &tree.node(find(tree, path)).kind {
        Kind::File(contents) => bytes(&**contents),
        _ => panic!("{path} is no file"),
    }
}

/// The node at a path.
///
/// # Panics
/// There is none.
pub fn find(tree: &Tree, path: &str) -> NodeId {
    let names = path.split('/').filter(|name| !name.is_empty()).map(str::as_bytes);
    tree.find(names).unwrap_or_else(|| panic!("there is no {path}"))
}

fn bytes(contents: &dyn Content) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(contents.size()).expect("it is small")];
    contents
        .give(&mut |offset, piece| {
            let offset = usize::try_from(offset).expect("it is small");
            bytes[offset..offset + piece.len()].copy_from_slice(piece);
            Ok(())
        })
        .expect("it can be read");
    bytes
}

/// All that is in an image, a line for each name: path, mode, owners, time in seconds, extended attributes, and what it is or which line
/// had it first.
pub fn listing(image: &Image) -> Vec<String> {
    use sha1::{Digest, Sha1};
    let tree = &image.tree;
    let mut lines: Vec<String> = Vec::new();
    let mut first = std::collections::HashMap::new();
    let mut path: Vec<String> = Vec::new();
    for step in tree.walk() {
        path.truncate(step.depth);
        path.push(String::from_utf8_lossy(step.name).into_owned());
        let shown = path.join("/");
        if let Some(known) = first.get(&step.node) {
            lines.push(format!("{shown} = {known}"));
            continue;
        }
        first.insert(step.node, shown.clone());
        let node = tree.node(step.node);
        let what = match &node.kind {
            Kind::Directory(_) => "/".to_owned(),
            Kind::File(contents) => {
                let digest: Vec<u8> = Sha1::digest(bytes(&**contents)).to_vec();
                format!("{} {digest:02x?}", contents.size())
            }
            Kind::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
            Kind::CharacterDevice(device) => format!("c {}:{}", device.major, device.minor),
            Kind::BlockDevice(device) => format!("b {}:{}", device.major, device.minor),
            Kind::Fifo => "|".to_owned(),
            Kind::Socket | Kind::Door => "?".to_owned(),
        };
        let extended = node.extended.iter().map(|(name, value)| {
            format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(&bytes(&**value)))
        });
        let extended: Vec<String> = extended.collect();
        let about = &node.attributes;
        lines.push(format!(
            "{shown} {:o} {}:{} {} {extended:?} {what}",
            about.permissions, about.uid, about.gid, about.modified.seconds
        ));
    }
    lines
}

/// The manifest of an image.
///
/// # Panics
/// It is not there, or no JSON.
pub fn manifest(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).expect("the manifest is there")).expect("it is JSON")
}

/// A tar of members as they are given, in GNU's form, uncompressed.
///
/// # Panics
/// A name is too long.
pub fn tar(members: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, content) in members {
        let is_link = kind.is_symlink() || kind.is_hard_link();
        let mut header = tar::Header::new_gnu();
        // Names that the library would refuse are what some tests are about.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(TIME.unsigned_abs());
        header.set_size(if is_link { 0 } else { content.len() as u64 });
        if is_link {
            header.set_link_name_literal(content).expect("the target is short");
        }
        header.set_cksum();
        let content = if is_link { &b""[..] } else { content.as_bytes() };
        builder.append(&header, content).expect("memory takes every write");
    }
    builder.into_inner().expect("memory takes every write")
}

/// The image and manifest that `kiln create-image NAME` makes by default in a lab's folder.
pub fn results(lab: &crate::Lab, folder: &str, name: &str) -> (PathBuf, PathBuf) {
    let path = |ending: &str| lab.join(folder).join(format!("{name}{ending}"));
    (path(".zfs.gz"), path(".json"))
}
