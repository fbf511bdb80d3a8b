use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use kiln_harness::tools;

use super::*;
use crate::report::hint_of;

fn stamp() -> Stamp {
    "20141030T081701Z".parse().unwrap()
}

/// Runs a tool with `input`; nothing after a loud skip when it is missing.
fn tool(command: &[&str], input: &[u8]) -> Option<String> {
    let mut child = Command::new(tools::require(command[0])?)
        .args(&command[1..])
        .env("TZ", "UTC")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{command:?} failed");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// What GNU tar shows, in columns of one blank, without sizes (those of the bundle change with its release).
fn listed(archive: &Packed) -> Option<Vec<String>> {
    let text = tool(&["tar", "--numeric-owner", "--full-time", "-tvzf", "-"], &archive.bytes)?;
    let columns = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {} {} {}", words[0], words[1], words[3], words[4], words[5..].join(" "))
    };
    Some(text.lines().map(columns).collect())
}

/// A user's tree in a folder `mine`, made at some time by somebody with some umask.
fn users_tree(at: &Path, umask: u32, days: u64) -> PathBuf {
    let mine = at.join("mine");
    fs::create_dir_all(mine.join("bin")).unwrap();
    fs::write(mine.join("bin/tool"), "#!/bin/sh\n").unwrap();
    fs::write(mine.join(format!("{}.conf", "long-".repeat(30))), "x=1\n").unwrap();
    symlink("bin/tool", mine.join("tool")).unwrap();
    fs::write(at.join("mine.mtree"), "./bin/tool mode=0555 gid=2\n").unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400);
    fs::File::options().append(true).open(mine.join("bin/tool")).unwrap().set_modified(time).unwrap();
    fs::set_permissions(mine.join("bin/tool"), fs::Permissions::from_mode(0o777 & !umask)).unwrap();
    mine
}

/// The tarball, and its digest in hexadecimal digits.
#[derive(Debug)]
struct Packed {
    bytes: Vec<u8>,
    sha256: String,
    members: Vec<String>,
}

fn build(stamp: &Stamp, layers: Vec<Layer>, ca_bundle: Option<&Path>) -> Result<Packed> {
    build_with(stamp, layers, ca_bundle, 1)
}

fn build_with(stamp: &Stamp, layers: Vec<Layer>, ca_bundle: Option<&Path>, jobs: usize) -> Result<Packed> {
    let jobs = NonZeroUsize::new(jobs).unwrap();
    let archive = super::build(stamp, layers, ca_bundle, jobs, tempfile::tempfile().unwrap())?;
    let mut bytes = vec![0; archive.file.metadata().unwrap().len() as usize];
    archive.file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes.len() as u64, archive.size);
    let sha256 = crate::digest::hex(&archive.sha256);
    Ok(Packed { bytes, sha256, members: archive.members })
}

#[test]
fn gnu_tar_reads_the_built_in_tree() {
    let archive = build(&stamp(), Vec::new(), None).unwrap();
    let Some(lines) = listed(&archive) else { return };
    assert_eq!(
        lines,
        [
            "drwxr-xr-x 0/0 2014-10-30 08:17:01 custom/",
            "drwxr-xr-x 0/0 2014-10-30 08:17:01 custom/bin/",
            "lrwxrwxrwx 0/0 2014-10-30 08:17:01 custom/bin/zone-create -> /lib/svc/method/guest-init",
            "drwxr-xr-x 0/0 2014-10-30 08:17:01 custom/etc/",
            "drwxr-xr-x 0/0 2014-10-30 08:17:01 custom/etc/ssl/",
            "-rw-r--r-- 0/0 2014-10-30 08:17:01 custom/etc/ssl/ca-bundle.crt",
            "-rw-r--r-- 0/0 2014-10-30 08:17:01 custom/etc/zone.json.tmpl",
            "drwx------ 0/0 2014-10-30 08:17:01 custom/root/",
            "-rw------- 0/0 2014-10-30 08:17:01 custom/root/.bash_history",
            "-rw-r--r-- 0/0 2014-10-30 08:17:01 custom/root/.bash_profile",
            "-rw-r--r-- 0/0 2014-10-30 08:17:01 custom/root/.bashrc",
            "-rw-r--r-- 0/0 2014-10-30 08:17:01 custom/root/.curlrc",
            "-rw-r--r-- 0/0 2014-10-30 08:17:01 custom/root/.profile",
            "drwx------ 0/0 2014-10-30 08:17:01 custom/root/.ssh/",
            "-rw------- 0/0 2014-10-30 08:17:01 custom/root/.ssh/authorized_keys",
            "-rw-r--r-- 0/0 2014-10-30 08:17:01 custom/root/.vimrc",
        ]
    );
    let shown: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(4)).collect();
    assert_eq!(shown, archive.members);
}

#[test]
fn the_users_tree_is_laid_on_top_and_long_names_arrive() {
    let place = tempfile::tempdir().unwrap();
    let layer = Layer::read(&users_tree(place.path(), 0o022, 1)).unwrap();
    let archive = build(&stamp(), vec![layer], None).unwrap();
    let Some(lines) = listed(&archive) else { return };
    for line in [
        "drwxr-xr-x 0/0 2014-10-30 08:17:01 custom/bin/".to_owned(),
        "-r-xr-xr-x 0/2 2014-10-30 08:17:01 custom/bin/tool".to_owned(),
        format!("-rw-r--r-- 0/0 2014-10-30 08:17:01 custom/{}.conf", "long-".repeat(30)),
        "lrwxrwxrwx 0/0 2014-10-30 08:17:01 custom/tool -> bin/tool".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line} is not in {lines:#?}");
    }
}

#[test]
fn neither_the_folder_nor_its_times_nor_its_modes_show() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = build(&stamp(), vec![Layer::read(&users_tree(first.path(), 0o022, 1)).unwrap()], None).unwrap();
    let other =
        build(&stamp(), vec![Layer::read(&users_tree(second.path(), 0o077, 9000)).unwrap()], None).unwrap();
    assert_eq!((&one.sha256, &one.bytes), (&other.sha256, &other.bytes));
    let later = build(&"20141031T000000Z".parse().unwrap(), Vec::new(), None).unwrap();
    assert_ne!(later.sha256, build(&stamp(), Vec::new(), None).unwrap().sha256);
}

#[test]
fn it_is_one_plain_gzip_member_with_the_digest_it_names() {
    let archive = build(&stamp(), Vec::new(), None).unwrap();
    // Deflate, no flags, no time, best compression, no system (RFC 1952).
    assert_eq!(archive.bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
    let mut tar = Vec::new();
    let mut member = flate2::bufread::GzDecoder::new(&archive.bytes[..]);
    member.read_to_end(&mut tar).unwrap();
    assert!(member.into_inner().is_empty(), "bytes follow the member");
    assert_eq!(tar.len() % 512, 0);
    if let Some(text) = tool(&["sha256sum"], &archive.bytes) {
        assert_eq!(text.split(' ').next(), Some(archive.sha256.as_str()));
    }
}

#[test]
fn a_large_tree_is_the_same_for_every_number_of_threads() {
    let tree = || {
        let mut layer = Layer::new("mine", Ownership::default());
        let noise: Vec<u8> = (0..3 * MEMBER as u64).map(|n| ((n * n) >> 7) as u8).collect();
        layer.add(b"noise", Kind::File(Contents::Bytes(noise.into())));
        vec![layer]
    };
    let one = build_with(&stamp(), tree(), None, 1).unwrap();
    assert!(one.bytes == build_with(&stamp(), tree(), None, 9).unwrap().bytes);
    let Some(size) = tool(&["sh", "-c", "tar -xzOf - custom/noise | wc -c"], &one.bytes) else { return };
    assert_eq!(size.trim(), (3 * MEMBER).to_string());
}

#[test]
fn openssl_reads_every_certificate_of_the_bundle() {
    let bundle = ca_bundle::mozilla();
    let command = ["openssl", "storeutl", "-noout", "-certs", "/dev/stdin"];
    if let Some(text) = tool(&command, bundle.as_bytes()) {
        let roots = bundle.matches("-----BEGIN CERTIFICATE-----").count();
        assert!(text.contains(&format!("Total found: {roots}")), "{text}");
    }
}

#[test]
fn a_bundle_of_the_users_own_takes_the_place() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("own.pem");
    let text = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    fs::write(&file, text).unwrap();
    let archive = build(&stamp(), Vec::new(), Some(&file)).unwrap();
    if let Some(found) = tool(&["tar", "-xzOf", "-", "custom/etc/ssl/ca-bundle.crt"], &archive.bytes) {
        assert_eq!(found, text);
    }
    fs::write(&file, "no certificate").unwrap();
    let error = build(&stamp(), Vec::new(), Some(&file)).unwrap_err();
    assert!(format!("{error:#}").ends_with("own.pem holds no certificate in PEM form"));
    assert!(hint_of(&error).is_some());
    let error = build(&stamp(), Vec::new(), Some(&place.path().join("absent"))).unwrap_err();
    assert!(format!("{error:#}").contains("absent cannot be read"));
}

#[test]
fn what_a_tarball_cannot_hold_is_refused() {
    let ownership = Ownership::parse(b"./a uid=2097152", Path::new("m")).unwrap();
    let mut layer = Layer::new("mine", ownership);
    layer.add(b"a", Kind::File(Contents::Bytes(b""[..].into())));
    let error = build(&stamp(), vec![layer], None).unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "a cannot be put into custom.tgz: owner 2097152:0 does not fit a tarball"
    );

    let place = tempfile::tempdir().unwrap();
    let large = place.path().join("large");
    fs::File::create(&large).unwrap().set_len(TREE_LIMIT + 1).unwrap();
    let mut layer = Layer::new("mine", Ownership::default());
    layer.add(b"large", Kind::File(Contents::Host { path: large, length: TREE_LIMIT + 1 }));
    let error = build(&stamp(), vec![layer], None).unwrap_err();
    assert!(format!("{error:#}").contains("more than 3221225472 bytes"), "{error:#}");
}
