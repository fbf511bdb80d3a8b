//! Bad input to `kiln retro`: an error that names file, place and remedy, status 1, and nothing left behind.

use std::fs;
use std::process::Command;

use kiln_e2e::tarball::{self, Member};
use kiln_e2e::{Lab, STAMP};
use tar::EntryType;

/// KiB of the boot archives here.
const ARCHIVE_KIB: u32 = 8192;

/// A change to the bytes of a boot archive.
type Edit = fn(&mut [u8]);

/// Runs `kiln retro` with further flags; it must fail with status 1, say each of `expected`, and leave nothing.
fn refused(lab: &Lab, flags: &[&str], expected: &[&str]) {
    let mut arguments = vec!["retro", STAMP];
    arguments.extend(flags);
    let said = lab.kiln(&arguments);
    assert_eq!(said.status, 1, "{flags:?}: {}", said.stderr);
    for text in expected {
        assert!(said.stderr.contains(text), "{flags:?}: expected '{text}' in:\n{}", said.stderr);
    }
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
    assert_eq!(lab.names("output"), [""; 0], "{flags:?}");
    assert!(!lab.join("output").exists(), "the output folder was made for nothing: {flags:?}");
}

/// Puts a changed copy of the platform in its place.
fn change(lab: &Lab, members: &[Member], change: impl FnOnce(&mut Vec<Member>)) {
    let mut members = members.to_vec();
    change(&mut members);
    tarball::write(&lab.join(format!("data/platform-{STAMP}.tgz")), &members);
}

#[test]
fn a_platform_that_is_not_there() {
    let Some(lab) = Lab::open() else { return };
    refused(&lab, &[], &[&format!("data/platform-{STAMP}.tgz"), "hint: download"]);
    refused(&lab, &["--platform", "elsewhere.tgz"], &["elsewhere.tgz", "No such file"]);
    let said = lab.kiln(&["retro", "yesterday"]);
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("'yesterday' is not a platform stamp"), "{}", said.stderr);
}

#[test]
fn a_tarball_that_is_damaged() {
    let Some(lab) = Lab::open() else { return };
    let path = lab.platform(ARCHIVE_KIB);
    let name = format!("platform-{STAMP}.tgz");
    let whole = fs::read(&path).unwrap();
    for length in [0, 1, 17, 1000, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        refused(&lab, &[], &[&name, "hint: download the platform again"]);
    }
    fs::write(&path, "not a tarball at all").unwrap();
    refused(&lab, &[], &[&name, "gzip"]);
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 0x40;
    fs::write(&path, &flipped).unwrap();
    refused(&lab, &[], &[&name]);
}

#[test]
fn a_tarball_that_is_no_platform() {
    let Some(lab) = Lab::open() else { return };
    let members = tarball::read(&lab.platform(ARCHIVE_KIB));
    let rename = |members: &mut Vec<Member>, to: &str| {
        for member in members {
            let (_, rest) = member.path.split_once('/').unwrap();
            member.path = format!("{to}/{rest}");
        }
    };
    change(&lab, &members, Vec::clear);
    refused(&lab, &[], &["no platform directory"]);
    change(&lab, &members, |members| rename(members, "etc"));
    refused(&lab, &[], &["the top directory is etc"]);
    change(&lab, &members, |members| rename(members, "platform-20200101T000000Z"));
    refused(&lab, &[], &["this is not the platform 20260101T000000Z", "hint:"]);
    change(&lab, &members, |members| members.push(Member::file("platform-20200101T000000Z/x", b"")));
    refused(&lab, &[], &["two top directories"]);
    for part in ["kernel/amd64/unix", "amd64/boot_archive"] {
        change(&lab, &members, |members| members.retain(|member| !member.path.ends_with(part)));
        refused(&lab, &[], &[part, "has no"]);
    }
    change(&lab, &members, |members| tarball::boot_archive(members).content[5000] ^= 1);
    refused(&lab, &[], &["boot_archive has the SHA-1", "boot_archive.hash says"]);
}

#[test]
fn a_tarball_that_is_hostile() {
    let Some(lab) = Lab::open() else { return };
    let members = tarball::read(&lab.platform(ARCHIVE_KIB));
    let top = format!("platform-{STAMP}");
    let in_top = |name: &str| format!("{top}/{name}");
    let mut huge = Member::file(&in_top("huge"), b"");
    huge.claimed = Some(1 << 60);
    let cases = [
        (Member::file("/etc/passwd", b""), "the path is absolute"),
        (Member::file(&in_top("../../evil"), b""), "climbs out"),
        (Member::other(&in_top("out"), EntryType::Symlink, "../../etc/passwd"), "leads out"),
        (Member::other(&in_top("out"), EntryType::Symlink, "/etc/passwd"), "leads out"),
        (Member::other(&in_top("out"), EntryType::Link, "../etc/passwd"), "leads out"),
        (Member::other(&in_top("disk"), EntryType::Block, ""), "type '4' does not belong here"),
        (Member::other(&in_top("tty"), EntryType::Char, ""), "type '3' does not belong here"),
        (Member::file(&in_top("i86pc/kernel/amd64/UNIX"), b""), "already taken by"),
        (huge, "claims 1152921504606846976 bytes"),
    ];
    for (member, expected) in cases {
        change(&lab, &members, |members| members.push(member.clone()));
        refused(&lab, &[], &[expected, member.path.as_str()]);
    }
    let outside = lab.path().parent().unwrap().join("evil");
    assert!(!outside.exists());
}

#[test]
fn a_boot_archive_that_cannot_be_edited() {
    let Some(lab) = Lab::open() else { return };
    let members = tarball::read(&lab.platform(ARCHIVE_KIB));
    // Offsets in the superblock at byte 8192: fs_clean 209, fs_fpg 188, fs_ncg 44, fs_magic 1372.
    let edits: [(&str, Edit, &str); 6] = [
        ("no UFS", |ufs| ufs[8192..16384].fill(0), "UFS"),
        ("big-endian", |ufs| ufs[8192 + 1372..8192 + 1376].reverse(), "big-endian"),
        ("dirty", |ufs| ufs[8192 + 209] = 0, "clean"),
        ("groups", |ufs| ufs[8192 + 44..8192 + 48].copy_from_slice(&i32::MAX.to_le_bytes()), "boot_archive"),
        ("group size", |ufs| ufs[8192 + 188..8192 + 192].fill(0), "boot_archive"),
        ("inodes", |ufs| ufs[8192 + 184..8192 + 188].fill(0xff), "boot_archive"),
    ];
    for (name, edit, expected) in edits {
        change(&lab, &members, |members| {
            edit(&mut tarball::boot_archive(members).content);
            tarball::rehash(members);
        });
        eprintln!("{name}");
        refused(&lab, &[], &["boot_archive", expected]);
    }
}

#[test]
fn overlays_that_clash() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    fs::create_dir_all(lab.join("file-over-folder")).unwrap();
    fs::write(lab.join("file-over-folder/etc"), "").unwrap();
    refused(&lab, &["--overlay", "file-over-folder"], &["etc"]);
    fs::create_dir_all(lab.join("folder-over-file/etc/issue")).unwrap();
    fs::write(lab.join("folder-over-file/etc/issue/x"), "").unwrap();
    refused(&lab, &["--overlay", "folder-over-file"], &["etc/issue"]);
    refused(&lab, &["--overlay", "nowhere"], &["nowhere"]);
    fs::create_dir(lab.join("mine")).unwrap();
    fs::write(lab.join("mine.mtree"), "./x mode=99999\n").unwrap();
    refused(&lab, &["--overlay", "mine"], &["mine.mtree", "1"]);
}

#[test]
fn volumes_and_templates_that_are_too_small() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    refused(&lab, &["--size", "64"], &["64 MiB is too small", "hint: use --size"]);
    fs::write(lab.join("template.img"), vec![0; 1 << 20]).unwrap();
    refused(&lab, &["--template", "template.img"], &["template.img"]);
    refused(&lab, &["--template", "nowhere.img"], &["nowhere.img"]);
    refused(&lab, &["--loader", "grub-legacy=nowhere"], &["nowhere/stage1"]);
    refused(&lab, &["--ca-bundle", "nowhere.pem"], &["nowhere.pem"]);
    fs::write(lab.join("bad.toml"), "sise = 5\n").unwrap();
    refused(&lab, &["--recipe", "bad.toml"], &["bad.toml", "sise", "hint:"]);
}

#[test]
fn outputs_that_cannot_be_written() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    fs::write(lab.join("file"), "").unwrap();
    refused(&lab, &["--output", "file"], &["file"]);
    refused(&lab, &["--output", "file/below"], &["file/below"]);
    refused(&lab, &["--output", "/proc/kiln"], &["/proc/kiln", "hint: choose a folder"]);

    refused(&lab, &["--version", "a b"], &["version", "hint: choose another --version"]);
    refused(&lab, &["--date", "2014-13-45T99:99:99Z"], &["is not a time for --date", "hint:"]);

    // Nothing old is lost when only one of the two names can be taken.
    fs::create_dir_all(lab.join(format!("taken/smartos-retro-{STAMP}-test.manifest"))).unwrap();
    fs::write(lab.join(format!("taken/smartos-retro-{STAMP}-test.zvol.gz")), "old").unwrap();
    let said = lab.kiln(&["retro", STAMP, "--version", "test", "--force", "--output", "taken"]);
    assert_eq!(said.status, 1);
    assert_eq!(fs::read(lab.join(format!("taken/smartos-retro-{STAMP}-test.zvol.gz"))).unwrap(), b"old");

    lab.retro(&["--size", "auto"]);
    let before = lab.names("output");
    let said = lab.kiln(&["retro", STAMP, "--version", "test"]);
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("exists already") && said.stderr.contains("--force"), "{}", said.stderr);
    assert_eq!(lab.names("output"), before);
}

/// A full disk needs a small file system of its own, so this runs in a mount namespace.
#[test]
fn a_disk_that_fills_up() {
    let Some(lab) = Lab::open() else { return };
    let Some(unshare) = kiln_harness::tools::require("unshare") else { return };
    lab.platform(ARCHIVE_KIB);
    fs::create_dir(lab.join("small")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=2M tmpfs small && {{ \"$0\" retro {STAMP} --output small; \
         echo \"status $?\"; ls -A small; }}"
    );
    let kiln = lab.command().get_program().to_owned();
    let output = Command::new(unshare)
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .arg(kiln)
        .current_dir(lab.path())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(stdout, "status 1\n", "{stderr}");
    assert!(stderr.contains("No space left on device") && stderr.contains("hint:"), "{stderr}");
}
