//! Bad input to `kiln create-image`: an error that names place and remedy, and nothing left behind.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use kiln_e2e::build::Gate;
use kiln_e2e::{Lab, zone};
use kiln_harness::{account, fixtures};
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Pid, Signal};
use tar::EntryType::{Directory, Link, Regular, Symlink};

/// Runs `kiln create-image` with further words; it must fail with this status, say each of `expected` and a remedy, and leave nothing.
fn refused(lab: &Lab, status: i32, words: &[&str], expected: &[&str]) {
    let said = lab.kiln(&[&["create-image", "web-1.0", "description="], words].concat());
    assert_eq!(said.status, status, "{words:?}: {}", said.stderr);
    let remedy = said.stderr.contains("\nhint: ") || said.stderr.contains("'--help'");
    assert!(remedy, "{words:?}: no remedy in:\n{}", said.stderr);
    for text in expected {
        assert!(said.stderr.contains(text), "{words:?}: expected '{text}' in:\n{}", said.stderr);
    }
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    assert!(!lab.join("output").exists(), "{words:?}: {:?}", lab.names("output"));
}

#[test]
fn command_lines_that_are_wrong() {
    let Some(lab) = Lab::open() else { return };
    fs::create_dir(lab.join("proto")).unwrap();
    let named = |words: &[&str], expected: &[&str]| {
        let said = lab.kiln(&[&["create-image"], words].concat());
        assert_eq!(said.status, 2, "{words:?}: {}", said.stderr);
        assert!(expected.iter().all(|text| said.stderr.contains(text)), "{words:?}: {}", said.stderr);
        assert!(!lab.join("output").exists());
    };
    named(&["--root", "proto"], &["the image has no name", "web-1.0"]);
    named(&["web", "--root", "proto"], &["'web' has no version"]);
    named(&["web-1", "--root", "proto"], &["the manifest needs a description of web", "description="]);
    named(&["web-1", "description="], &["--root"]);
    let root = ["--root", "proto"];
    for (words, expected) in [
        (&["colour=red"][..], "colour: is no field of version 2"),
        (&["requirements.min_ram=5"], "requirements.min_ram: is no field of version 2"),
        (&["uuid=ABC"], "uuid: is"),
        (&["--uuid", "00000000-0000-0000-0000-000000000000"], "a UUID of zeros"),
        (&["type=zvol"], "is no file system"),
        (&["version=a b"], "version: contains ' '"),
        (&["--date", "yesterday"], "published_at: is"),
        (&["what"], "'what' is no KEY=VALUE"),
        (&["--tar", "x.tar"], "--tar"),
        (&["--owners-by-name"], "--tar"),
        (&["--full"], "--origin"),
        (&["--zpl-version", "6"], "4..=5"),
        (&["--guid", "0"], "--guid"),
        (&["--max-origin-depth", "1"], "--max-origin-depth"),
        (&["--output", "a", "-o", "b"], "--output"),
    ] {
        refused(&lab, 2, &[&root[..], words].concat(), &[expected]);
    }
    refused(&lab, 2, &["--tar", "-", "-m", "-"], &["standard input"]);
    refused(
        &lab,
        2,
        &["--dataset", "zones/x"],
        &["native-zfs", "zfs send zones/x@final | kiln create-image"],
    );
    fs::write(lab.join("m.json"), "[]").unwrap();
    refused(&lab, 1, &[&root[..], &["-m", "m.json"]].concat(), &["m.json", "no JSON object"]);
    refused(&lab, 1, &[&root[..], &["-m", "absent.json"]].concat(), &["absent.json", "No such file"]);
}

#[test]
fn folders_that_cannot_be_images() {
    let Some(lab) = Lab::open() else { return };
    zone::folder(&lab.join("proto"));
    refused(&lab, 1, &["--root", "absent"], &["absent", "No such file"]);
    refused(&lab, 1, &["--root", "proto/etc/passwd"], &["is no folder"]);
    refused(
        &lab,
        1,
        &["--root", "proto", "--layout", "dataset", "--output", "proto/etc/passwd"],
        &["is a file"],
    );
    fs::remove_dir_all(lab.join("proto/root")).unwrap();
    refused(
        &lab,
        1,
        &["--root", "proto", "--layout", "dataset"],
        &["there is no folder 'root'", "--layout zone"],
    );
    std::os::unix::fs::symlink("t".repeat(1024), lab.join("proto/far")).unwrap();
    refused(
        &lab,
        1,
        &["--root", "proto"],
        &["proto/far cannot be in an image", "a target of 1 to 1023 bytes"],
    );
}

#[test]
fn sockets_and_closed_files() {
    let Some(lab) = Lab::open() else { return };
    zone::folder(&lab.join("proto"));
    let door = UnixListener::bind(lab.join("proto/var/door")).unwrap();
    refused(&lab, 1, &["--root", "proto"], &["proto/var/door is a socket"]);
    drop(door);
    fs::remove_file(lab.join("proto/var/door")).unwrap();
    fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let kiln = lab.command();
    for (path, mode) in [("proto/etc/shadow", 0o000), ("proto/var/empty", 0o000)] {
        let before = fs::metadata(lab.join(path)).unwrap().permissions();
        fs::set_permissions(lab.join(path), fs::Permissions::from_mode(mode)).unwrap();
        let Some((mut command, _)) = account::unprivileged(Path::new(kiln.get_program())) else { return };
        let said = command
            .args(["create-image", "web-1.0", "description=", "--root", "proto"])
            .current_dir(lab.path())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&said.stderr);
        assert_eq!(said.status.code(), Some(1), "{words}");
        assert!(words.contains(path) && words.contains("must be readable for you"), "{words}");
        assert!(!lab.join("output").exists());
        fs::set_permissions(lab.join(path), before).unwrap();
    }
}

#[test]
fn archives_that_cannot_be_images() {
    let Some(lab) = Lab::open() else { return };
    for (members, expected) in [
        (&[(Regular, "/etc/passwd", "x")][..], &["tar member 1", "/etc/passwd", "the path is absolute"][..]),
        (&[(Regular, "../passwd", "x")], &["../passwd", "climbs out"]),
        (&[(Regular, "a/../../b", "x")], &["a/../../b", "climbs out"]),
        (
            &[(Regular, "a", "x"), (Regular, "./a", "y")],
            &["tar member 2", "there is something else of that name"],
        ),
        (
            &[(Directory, "a/", ""), (Regular, "a", "y")],
            &["tar member 2", "there is something else of that name"],
        ),
        (
            &[(Regular, "a", "y"), (Directory, "a/", "")],
            &["tar member 2", "there is something else of that name"],
        ),
        (&[(Symlink, "a", "b"), (Regular, "a/c", "y")], &["tar member 2", "a is above it and is no folder"]),
        (&[(Link, "a", "b")], &["it is another name of b, which is no file before it"]),
        (
            &[(Directory, "b/", ""), (Link, "a", "b")],
            &["it is another name of b, which is no file before it"],
        ),
        (&[(Link, "a", "../b")], &["climbs out"]),
        (&[(tar::EntryType::new(b'E'), "a", "b")], &["a member of type 'E' does not belong here"]),
        (&[], &["there is nothing in it"]),
    ] {
        fs::write(lab.join("x.tar"), zone::tar(members)).unwrap();
        refused(&lab, 1, &["--tar", "x.tar"], &[&["x.tar"], expected].concat());
    }
    let whole = zone::tar(&[(Regular, "a", &"words ".repeat(500)), (Regular, "b", "x")]);
    for (name, bytes, expected) in [
        ("cut.tar", &whole[..1000], "the archive ends inside a member"),
        ("words.tar", &b"no archive at all".repeat(100)[..], "no tar header here"),
        ("empty.tar", b"", "there is nothing in it"),
    ] {
        fs::write(lab.join(name), bytes).unwrap();
        refused(&lab, 1, &["--tar", name], &[name, expected]);
    }
    fs::write(lab.join("whole.tar"), &whole).unwrap();
    for (program, ending) in [("gzip", "gz"), ("bzip2", "bz2"), ("xz", "xz")] {
        let name = format!("whole.tar.{ending}");
        let done = Command::new(program).args(["-k", "whole.tar"]).current_dir(lab.path()).status().unwrap();
        assert!(done.success());
        let bytes = fs::read(lab.join(&name)).unwrap();
        fs::write(lab.join(&name), &bytes[..bytes.len() - 3]).unwrap();
        refused(&lab, 1, &["--tar", &name], &[&name]);
    }
    refused(&lab, 1, &["--tar", "absent.tar"], &["absent.tar", "No such file"]);
    refused(&lab, 1, &["--tar", "."], &["is a folder", "--root takes folders"]);
    refused(
        &lab,
        1,
        &["--tar", "whole.tar", "--layout", "dataset"],
        &["there is no folder 'root'", "--layout zone"],
    );
    refused(&lab, 1, &["--tar", "whole.tar", "--output", "whole.tar"], &["whole.tar is a file"]);
}

#[test]
fn owners_that_nobody_knows() {
    let Some(lab) = Lab::open() else { return };
    zone::folder(&lab.join("proto"));
    fs::write(lab.join("x.mtree"), "./etc uid=0\n./etc/passwd uname=nobody\n").unwrap();
    let with = |list: &'static str| ["--root", "proto", "--ownership", list];
    refused(&lab, 1, &with("x.mtree"), &["x.mtree:2: the image has no user 'nobody'"]);
    fs::write(lab.join("x.mtree"), "./etc uid=0\n\n./absent uid=0\n").unwrap();
    refused(&lab, 1, &with("x.mtree"), &["x.mtree:3: absent is not in the image"]);
    fs::write(lab.join("x.gen"), "d etc 0755 root sys\nf etc/passwd 0644 root staff\n").unwrap();
    refused(&lab, 1, &with("x.gen"), &["x.gen:2: the image has no group 'staff'"]);
    refused(&lab, 1, &with("absent"), &["absent", "No such file"]);
    zone::pack(&lab.join("proto"), &lab.join("n.tar"), &["--owner=stranger:9"]);
    refused(
        &lab,
        1,
        &["--tar", "n.tar", "--owners-by-name"],
        &["belongs to the user 'stranger'", "etc/passwd"],
    );
}

#[test]
fn streams_that_cannot_be_images() {
    let Some(lab) = Lab::open() else { return };
    let full = fixtures::read("zstream/fs5-full.zs.gz");
    fs::write(lab.join("full.zfs"), &full).unwrap();
    let mut damaged = full.clone();
    damaged[5000] ^= 1;
    // A bit that nobody has given a meaning yet, and that of raw streams (illumos `sys/zfs_ioctl.h`), both in the BEGIN record.
    let with_feature = |bit: u32| {
        let mut stream = full.clone();
        stream[16 + (bit as usize + 2) / 8] |= 1 << ((bit + 2) % 8);
        stream
    };
    for (name, bytes, expected) in [
        ("cut.zfs", full[..full.len() - 1].to_vec(), "ends before its END record"),
        ("half.zfs", full[..full.len() / 2].to_vec(), "ends"),
        ("damaged.zfs", damaged, "checksum"),
        ("twice.zfs", [&full[..], &full].concat(), "followed by other data"),
        ("future.zfs", with_feature(14), "feature"),
        ("raw.zfs", with_feature(24), "raw"),
        ("volume.zfs", fixtures::read("zstream/tiny-zvol.zs.gz"), "the stream of a volume"),
        ("words.zfs", b"no stream".to_vec(), "is no ZFS stream"),
        ("increment.zfs", fixtures::read("zstream/fs5-inc.zs.gz"), "incremental"),
    ] {
        fs::write(lab.join(name), bytes).unwrap();
        refused(&lab, 1, &["--stream", name, "--layout", "zone"], &[name, expected]);
    }
    // A snapshot of somewhat that is no zone can be one, if that is wanted.
    lab.kiln_ok(&[
        "create-image",
        "web-1.0",
        "description=",
        "--stream",
        "full.zfs",
        "--layout",
        "zone",
        "--output",
        "made",
    ]);
}

/// Two snapshots in one stream, as `zfs send -R` wraps them.
#[test]
fn streams_of_several_snapshots() {
    let Some(lab) = Lab::open() else { return };
    let (first, second) = (fixtures::read("zstream/fs5-full.zs.gz"), fixtures::read("zstream/fs5-inc.zs.gz"));
    // The wrapping: a BEGIN of header type 2 and an END, the parts, and an END of zeros (source: illumos libzfs_sendrecv.c).
    let mut wrapping = first[..312].to_vec();
    wrapping[16..24].copy_from_slice(&2_u64.to_le_bytes());
    wrapping[32..312].fill(0);
    wrapping[56..58].copy_from_slice(b"a@");
    let mut end = vec![0_u8; 312];
    end[0] = 5;
    let mut sum = [0_u64; 4];
    for word in wrapping.chunks_exact(4) {
        sum[0] = sum[0].wrapping_add(u32::from_le_bytes(word.try_into().unwrap()).into());
        for at in 1..4 {
            sum[at] = sum[at].wrapping_add(sum[at - 1]);
        }
    }
    let mut stream = wrapping;
    let mut wrapping_end = end.clone();
    for (place, word) in wrapping_end[8..40].chunks_exact_mut(8).zip(sum) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    stream.extend(wrapping_end);
    stream.extend(&first);
    stream.extend(&second);
    stream.extend(end);
    fs::write(lab.join("several.zfs"), stream).unwrap();
    refused(&lab, 1, &["--stream", "several.zfs"], &["several.zfs holds 2 snapshots", "without -R"]);
}

#[test]
fn an_interruption_leaves_nothing() {
    let Some(lab) = Lab::open() else { return };
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut gate = Gate::close(&lab, "gate");
        let mut command = Command::new("env");
        command.args(["-u", "KILN_LOG", "--default-signal=HUP,INT,TERM"]).arg(lab.command().get_program());
        command.args(["create-image", "web-1.0", "description=", "--tar", "gate", "--output", "a/b"]);
        let mut child = command.current_dir(lab.path()).stderr(Stdio::piped()).spawn().unwrap();
        gate.wait();
        assert_eq!(lab.names("a"), ["b"]);
        rustix::process::kill_process(Pid::from_child(&child), signal).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(128 + signal.as_raw()), "{said}");
        assert!(said.contains("interrupted; nothing unfinished was left behind"), "{said}");
        assert!(!lab.join("a").exists());
        fs::remove_file(lab.join("gate")).unwrap();
    }
}

/// The list of owners is a pipe, so that kiln has read the folder, and not yet its files, when somebody opens its other end.
#[test]
fn a_file_that_changes_is_an_error() {
    let Some(lab) = Lab::open() else { return };
    zone::folder(&lab.join("proto"));
    let list = lab.join("list");
    rustix::fs::mknodat(CWD, &list, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let changed = lab.join("proto/etc/group");
    let changer = std::thread::spawn(move || {
        let mut list = OpenOptions::new().write(true).open(list).unwrap();
        fs::write(changed, "root::0:\nsys::3:\nwww::81:\n").unwrap();
        list.write_all(b"./etc uid=0\n").unwrap();
    });
    let expected = ["cannot read /root/etc/group", "changed while the image was made", "work on a copy"];
    refused(&lab, 1, &["--root", "proto", "--ownership", "list"], &expected);
    changer.join().unwrap();
}
