//! The files of images as archives, folders and lists.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use kiln_e2e::listing::hex;
use kiln_e2e::{Lab, Said};
use kiln_harness::{account, fixtures, tools};
use sha2::{Digest as _, Sha256};

use super::make::{self, FULL, lines, listed, put, text, zone};

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Runs a foreign program in the lab, which must succeed.
fn run(lab: &Lab, program: &Path, arguments: &[&str]) -> Said {
    let output =
        Command::new(program).args(arguments).current_dir(lab.path()).env("LC_ALL", "C").output().unwrap();
    let said = Said::from(&output);
    assert_eq!(said.status, 0, "{arguments:?}: {}", said.stderr);
    said
}

#[test]
fn gnu_tar_lists_an_image_as_it_was_made() {
    let Some(lab) = Lab::open() else { return };
    let Some(tar) = tools::require("tar") else { return };
    lab.kiln_ok(&["convert", text(&fixtures::path(FULL)), "--to", "tar", "out.tar"]);
    let said = run(&lab, &tar, &["--numeric-owner", "--full-time", "-tvf", "out.tar"]);
    assert_eq!(said.stderr, "");
    let listed = listed();
    let mut shown = 0;
    let mut hard_links = 0;
    for line in said.stdout.lines() {
        // -rw-r--r-- 0/0 5 2026-11-21 03:52:00.1 name[ -> target| link to name]
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (mode, owner, size) = (fields[0], fields[1], fields[2]);
        let name = line[line.find(fields[4]).unwrap() + fields[4].len()..].trim_start();
        let (name, target) = match (name.split_once(" -> "), name.split_once(" link to ")) {
            (Some(link), _) => link,
            (None, Some((name, _))) => {
                hard_links += 1;
                (name, "")
            }
            (None, None) => (name, ""),
        };
        let path = format!("/{}", name.trim_start_matches("./").trim_end_matches('/'));
        let expected = listed.get(&path).unwrap_or_else(|| panic!("{path} of {line}"));
        assert_eq!(owner, format!("{}/{}", expected.uid, expected.gid), "{line}");
        assert_eq!(target, expected.target, "{line}");
        let kind = match expected.kind {
            'f' if mode.starts_with('h') => 'h',
            'f' => '-',
            other => other,
        };
        assert!(mode.starts_with(kind), "{line}");
        if kind == '-' {
            assert_eq!(size, expected.size.to_string(), "{line}");
        }
        shown += 1;
    }
    assert_eq!(shown, listed.len());
    assert_eq!(hard_links, 1);
}

#[test]
fn archives_and_lists_go_to_standard_output_as_they_go_to_files() {
    let Some(lab) = Lab::open() else { return };
    put(&lab, "zone.zfs", make::full(&zone(), 77));
    for form in ["tar", "mtree"] {
        lab.kiln_ok(&["convert", "zone.zfs", "--to", form, "out"]);
        let output = lab.command().args(["convert", "zone.zfs", "--to", form, "-"]).output().unwrap();
        assert!(output.status.success() && output.stdout == fs::read(lab.join("out")).unwrap(), "{form}");
        fs::remove_file(lab.join("out")).unwrap();
        let said = lab.kiln(&["convert", "zone.zfs", "--to", form, "-", "--json"]);
        assert_eq!((said.status, said.stdout.lines().count()), (2, 1), "{}", said.stdout);
        assert!(said.stdout.contains("leave out --json"), "{}", said.stdout);
    }
    for form in ["dir", "raw", "qcow2", "zvol.gz"] {
        let said = lab.kiln(&["convert", "zone.zfs", "--to", form, "-"]);
        assert_eq!((said.status, &*said.stdout), (2, ""), "{}", said.stderr);
        assert!(said.stderr.contains("hint: name a file"), "{}", said.stderr);
    }
    assert!(!lab.join("-").exists());
}

#[test]
fn an_archive_is_the_image_for_kiln_and_others() {
    let Some(lab) = Lab::open() else { return };
    put(&lab, "zone.zfs", make::full(&zone(), 77));
    lab.kiln_ok(&["convert", "zone.zfs", "--to", "tar", "out.tar"]);
    assert_eq!(lab.kiln_ok(&["diff", "zone.zfs", "out.tar"]), "");
    let both = ["zone.zfs", "out.tar"].map(|image| lines(&lab.kiln_ok(&["ls", "-R", "--json", image])));
    for (of_stream, of_tar) in both[0].iter().zip(&both[1]) {
        for what in ["path", "kind", "mode", "uid", "gid", "mtime", "target", "device", "links", "extended"] {
            assert_eq!(of_stream[what], of_tar[what], "{of_stream}");
        }
    }
    assert_eq!(both[0].len(), both[1].len());
    // Holes are left out: what is stored is less than what the two files with holes amount to.
    assert!(fs::metadata(lab.join("out.tar")).unwrap().len() < 300_000);

    // The same tree, the same bytes: from the archive, from another stream of the same tree, and again.
    lab.kiln_ok(&["convert", "out.tar", "--to", "tar", "again.tar"]);
    assert!(fs::read(lab.join("again.tar")).unwrap() == fs::read(lab.join("out.tar")).unwrap());

    let Some(tar) = tools::require("tar") else { return };
    fs::create_dir(lab.join("there")).unwrap();
    run(&lab, &tar, &["-C", "there", "--exclude=root/odd/device", "--no-same-owner", "-xf", "out.tar"]);
    let there = lab.join("there/root/odd");
    let bytes = fs::read(there.join("holes")).unwrap();
    assert!(bytes.len() == 1 << 20 && bytes[300_050] == 1 && bytes[900_000] == 2 && bytes[299_999] == 0);
    assert!(fs::read(there.join("hole")).unwrap() == vec![0; 500_000]);
    assert_eq!(fs::read(there.join("l".repeat(200))).unwrap(), b"a long name");
    assert_eq!(fs::read_link(there.join("link")).unwrap().as_os_str().len(), 300);
    let old = fs::metadata(there.join("old")).unwrap();
    assert_eq!((old.mtime(), old.mtime_nsec()), (-2, 750_000_000));
    let (first, second) =
        (fs::metadata(there.join("first")).unwrap(), fs::metadata(lab.join("there/root/second")).unwrap());
    assert_eq!((first.ino(), first.mtime_nsec()), (second.ino(), 123_456_789));
}

#[test]
fn a_folder_of_an_image_is_extracted() {
    let Some(lab) = Lab::open() else { return };
    put(&lab, "zone.zfs", make::full(&zone(), 77));
    let said = lab.kiln(&["convert", "zone.zfs:/root", "--to", "dir", "out"]);
    assert_eq!(said.status, 0, "{}", said.stderr);
    let odd = lab.join("out/odd");
    let bytes = fs::read(odd.join("holes")).unwrap();
    assert!(bytes.len() == 1 << 20 && bytes[300_050] == 1 && bytes[900_000] == 2);
    assert!(fs::metadata(odd.join("hole")).unwrap().blocks() < 100);
    let odd_name = std::ffi::OsStr::from_bytes(b"bytes \xff\n#=*\\");
    assert_eq!(fs::read(odd.join(odd_name)).unwrap(), b"of any kind");
    assert_eq!(fs::read_link(odd.join("out")).unwrap(), Path::new("/etc/passwd"));
    assert!(fs::symlink_metadata(odd.join("pipe")).unwrap().file_type().is_fifo());
    let mode = |path: &str| fs::symlink_metadata(lab.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        [mode("out"), mode("out/tmp"), mode("out/etc/shadow"), mode("out/odd")],
        [0o755, 0o1777, 0o400, 0o750]
    );
    let (first, second) =
        (fs::metadata(odd.join("first")).unwrap(), fs::metadata(lab.join("out/second")).unwrap());
    assert_eq!((first.ino(), first.nlink()), (second.ino(), 2));
    let times =
        |path: &Path| fs::symlink_metadata(path).map(|known| (known.mtime(), known.mtime_nsec())).unwrap();
    for path in [odd.join("first"), odd.join("link"), odd.clone(), lab.join("out")] {
        assert_eq!(times(&path), (1_400_000_000, 123_456_789), "{}", path.display());
    }
    assert_eq!(times(&odd.join("old")), (-2, 750_000_000));
    let su = fs::metadata(odd.join("su")).unwrap();
    // It has a number that is none on Linux, and must not become another device.
    assert!(fs::symlink_metadata(odd.join("device")).is_err());
    if account::is_root() {
        assert_eq!((su.uid(), su.mode() & 0o7777), (3_000_000, 0o4755));
    } else {
        assert_eq!((su.uid(), su.mode() & 0o7777), (account::user(), 0o755));
    }
    assert!(said.stderr.contains("whose extended attributes were not extracted"), "{}", said.stderr);
    assert_eq!(lab.names(""), ["out", "zone.zfs"]);

    // What is there is neither replaced nor added to.
    for force in [&[][..], &["--force"]] {
        let said = lab.kiln(&[&["convert", "zone.zfs", "--to", "dir", "out"], force].concat());
        assert_eq!(said.status, 1);
        assert!(
            said.stderr.contains("out exists already") && said.stderr.contains("hint: "),
            "{}",
            said.stderr
        );
    }
    assert_eq!(lab.names("out"), ["etc", "odd", "second", "tmp", "var"]);
}

#[test]
fn whoever_is_not_root_gets_what_he_may_have() {
    let Some(lab) = Lab::open() else { return };
    put(&lab, "zone.zfs", make::full(&zone(), 77));
    let kiln = lab.command().get_program().to_owned();
    let Some((mut command, user)) = account::unprivileged(Path::new(&kiln)) else { return };
    let home = lab.join("home");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output =
        command.args(["convert", "../zone.zfs", "--to", "dir", "out"]).current_dir(&home).output().unwrap();
    let said = Said::from(&output);
    assert_eq!(said.status, 0, "{}", said.stderr);
    for word in [
        "only root may give them away",
        "devices, which only root may make",
        "what they are: 1, the first is /root/odd/device",
        "set-id bits",
        "--to mtree",
    ] {
        assert!(said.stderr.contains(word), "{word} is missing from {}", said.stderr);
    }
    let su = fs::metadata(home.join("out/root/odd/su")).unwrap();
    assert_eq!((su.uid(), su.mode() & 0o7777), (user, 0o755));
    assert!(fs::symlink_metadata(home.join("out/root/odd/device")).is_err());
    assert!(fs::metadata(home.join("out/root/second")).is_ok());
}

#[test]
fn no_path_leaves_the_folder() {
    let Some(lab) = Lab::open() else { return };
    fs::create_dir(lab.join("outside")).unwrap();
    let archive = |name: &str, members: &[(&str, tar::EntryType, &str)]| {
        let mut builder = tar::Builder::new(fs::File::create(lab.join(name)).unwrap());
        for (path, kind, target) in members {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(0);
            header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            header.set_cksum();
            builder.append(&header, &b""[..]).unwrap();
        }
        builder.finish().unwrap();
    };
    archive("up.tar", &[("a", tar::EntryType::Regular, ""), ("../escaped", tar::EntryType::Regular, "")]);
    for form in ["dir", "tar", "mtree"] {
        let said = lab.kiln(&["convert", "up.tar", "--to", form, "out"]);
        assert_eq!(said.status, 1, "{form}");
        assert!(said.stderr.contains("would lead out") && said.stderr.contains("hint: "), "{}", said.stderr);
        assert_eq!(lab.names(""), ["outside", "up.tar"], "{form}");
    }
    let outside = lab.join("outside");
    archive(
        "link.tar",
        &[("a", tar::EntryType::Symlink, text(&outside)), ("a/escaped", tar::EntryType::Regular, "")],
    );
    lab.kiln_ok(&["convert", "link.tar", "--to", "dir", "out"]);
    assert_eq!(lab.names("outside"), [""; 0]);
    assert_eq!(lab.names("out/a"), ["escaped"]);
}

/// What a line of mtree says, by keyword.
fn words(line: &str) -> BTreeMap<&str, &str> {
    line.split(' ').skip(1).map(|word| word.split_once('=').unwrap()).collect()
}

#[test]
fn a_list_says_everything() {
    let Some(lab) = Lab::open() else { return };
    put(&lab, "zone.zfs", make::full(&zone(), 77));
    let said = lab.kiln(&["convert", "zone.zfs:/root", "--to", "mtree", "--json", "list"]);
    assert_eq!(said.status, 0, "{}", said.stderr);
    let summary = lines(&said.stdout).into_iter().find(|event| event["event"] == "converted").unwrap();
    assert_eq!(
        (&summary["form"], &summary["names"], &summary["losses"]),
        (&"mtree".into(), &24.into(), &1.into())
    );
    let list = fs::read_to_string(lab.join("list")).unwrap();
    let line = |path: &str| {
        let line = list.lines().find(|line| line.split(' ').next() == Some(path));
        words(line.unwrap_or_else(|| panic!("{path} is not in\n{list}")))
    };
    assert!(
        list.starts_with("#mtree\n. type=dir mode=0755 uid=0 gid=3 time=1400000000.123456789\n"),
        "{list}"
    );
    let su = line("./odd/su");
    assert_eq!(
        [su["type"], su["mode"], su["uid"], su["gid"], su["size"]],
        ["file", "4755", "3000000", "0", "12"]
    );
    assert_eq!(su["sha256digest"], sha256(b"lends rights"));
    assert_eq!(line("./odd/old")["time"], "-2.750000000");
    assert_eq!(line("./odd/device")["device"], "native,13,3000000");
    assert_eq!(line("./odd/out")["link"], "/etc/passwd");
    assert_eq!(line("./odd/hole")["sha256digest"], sha256(&vec![0; 500_000]));
    assert_eq!(line("./odd/bytes\\040\\377\\012\\043\\075\\052\\134")["mode"], "0640");
    let (first, second) = (line("./odd/first"), line("./second"));
    assert_eq!(first["nlink"], "2");
    assert_eq!(first, second);
    assert_eq!(list.lines().count(), 25);
    assert!(said.stdout.contains("extended attributes, of which mtree says nothing"), "{}", said.stdout);

    let Some(bsdtar) = tools::require("bsdtar") else { return };
    let said = run(&lab, &bsdtar, &["--numeric-owner", "-tvf", "list"]);
    assert_eq!(said.stdout.lines().count(), 24, "{}", said.stdout);
}

#[test]
fn other_archives_are_converted_as_well() {
    let Some(lab) = Lab::open() else { return };
    // A boot archive as a list.
    let archive = fixtures::unpack("ufs/populated16m.img.gz", lab.path());
    lab.kiln_ok(&["convert", text(&archive), "--to", "mtree", "ufs.list"]);
    let list = fs::read_to_string(lab.join("ufs.list")).unwrap();
    let known = fixtures::text("ufs/populated16m.list");
    assert!(known.lines().count() > 100);
    for known in known.lines() {
        let fields: Vec<&str> = known.split_whitespace().collect();
        let path = fields.iter().find(|field| field.starts_with('/')).unwrap();
        let line = list
            .lines()
            .find(|line| line.strip_prefix('.').and_then(|line| line.split(' ').next()) == Some(path));
        let said = words(line.unwrap_or_else(|| panic!("{path}")));
        assert_eq!((said["uid"], said["gid"]), (fields[1], fields[2]), "{known}");
    }
    // And as an archive, which is the same tree.
    lab.kiln_ok(&["convert", text(&archive), "--to", "tar", "ufs.tar"]);
    assert_eq!(lab.kiln_ok(&["diff", text(&archive), "ufs.tar"]), "");
    // A single file has no form of this kind.
    let place = format!("{}:/d", text(&archive));
    lab.kiln_ok(&["convert", &place, "--to", "tar", "d.tar"]);
    let file = put(&lab, "plain", b"neither disk nor archive");
    let said = lab.kiln(&["convert", text(&file), "--to", "tar", "no"]);
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("holds no files"), "{}", said.stderr);
}

#[test]
fn extraction_that_is_interrupted_leaves_nothing() {
    let Some(lab) = Lab::open() else { return };
    put(&lab, "zone.zfs", make::full(&zone(), 77));
    // The image comes through a pipe that stays open, so the command waits with its folder made.
    let pipe = lab.join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut kiln = lab
        .command()
        .args(["convert", "pipe", "--to", "dir", "out"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut writer = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    writer.write_all(&fs::read(lab.join("zone.zfs")).unwrap()).unwrap();
    assert!(lab.names("").iter().any(|name| name.starts_with(".kiln-")), "{:?}", lab.names(""));
    let pid = rustix::process::Pid::from_child(&kiln);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(kiln.wait().unwrap().code(), Some(128 + 15));
    assert_eq!(lab.names(""), ["pipe", "zone.zfs"]);
    drop(writer);
}
