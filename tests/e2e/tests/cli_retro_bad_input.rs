//! Bad input to `kiln retro`: an error that names file, place and remedy, status 1, and nothing left behind.

use std::fs;

use kiln_e2e::tarball::{self, Member};
use kiln_e2e::{Lab, STAMP};
use tar::EntryType;

/// KiB of the boot archives here.
const ARCHIVE_KIB: u32 = 8192;

/// A change to the bytes of a boot archive.
type Edit = fn(&mut [u8]);

/// Runs `kiln retro` with further flags; it must fail with status 1, say each of `expected` and a remedy, and leave
/// nothing.
fn refused(lab: &Lab, flags: &[&str], expected: &[&str]) {
    let mut arguments = vec!["retro", STAMP];
    arguments.extend(flags);
    refused_with(lab, 1, &arguments, expected);
}

/// Like [`refused`], of whole command lines that are wrong in themselves.
fn misused(lab: &Lab, arguments: &[&str], expected: &[&str]) {
    refused_with(lab, 2, arguments, expected);
}

fn refused_with(lab: &Lab, status: i32, flags: &[&str], expected: &[&str]) {
    let said = lab.kiln(flags);
    assert_eq!(said.status, status, "{flags:?}: {}", said.stderr);
    // What clap refuses by itself points to --help instead.
    let remedy = said.stderr.contains("\nhint: ") || said.stderr.contains("'--help'");
    assert!(remedy, "{flags:?}: no remedy in:\n{}", said.stderr);
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
    let looked = [format!("data/platform-{STAMP}.tgz"), format!("data/platform-*{STAMP}.tgz")];
    refused(&lab, &[], &[&looked[0], &looked[1], "hint: download"]);
    refused(&lab, &["--platform", "elsewhere.tgz"], &["elsewhere.tgz", "No such file", "--platform FILE"]);
    refused(&lab, &["--platform", "."], &["the platform .: it is a folder", "hint: name the tarball itself"]);
    // A folder that cannot be listed is told from one without the platform.
    fs::write(lab.join("data"), "").unwrap();
    refused(&lab, &[], &["cannot look for the platform", "Not a directory"]);
}

/// What is wrong with the command line itself has a status of its own, whoever finds it.
#[test]
fn command_lines_that_are_wrong() {
    let Some(lab) = Lab::open() else { return };
    misused(&lab, &["retro"], &["no platform stamp was given"]);
    misused(&lab, &["retro", "yesterday"], &["'yesterday' is not a platform stamp"]);
    misused(&lab, &["retro", "20400101T000000Z"], &["20380119T031407Z", "UFS"]);
    lab.platform(ARCHIVE_KIB);
    let cases: [(&[&str], &str); 17] = [
        (&["--size", "0"], "a volume has 1 to 2097151 MiB"),
        (&["--size", "large"], "expected a number of MiB, or 'auto'"),
        (&["--level", "13"], "1..=12"),
        (&["--uuid", "xyz"], "--uuid"),
        (&["--uuid", "00000000-0000-0000-0000-000000000000"], "a UUID of zeros alone names no image"),
        (&["--date", "2014-13-45T99:99:99Z"], "'2014-13-45T99:99:99Z' is not a time in UTC"),
        (&["--version", "a b"], "hint: choose another --version"),
        (&["--version", ""], "hint: choose another --version"),
        (&["--version", "a/b"], "the version 'a/b' cannot be part of a file name"),
        (&["--loader", "lilo"], "expected builtin, template, grub-legacy"),
        (&["--loader", "template"], "the loader 'template' needs a template"),
        (&["--loader", "builtin", "--template", "x"], "a template brings its own loader"),
        (&["--rescue-password-hash", "root"], "'root' is no password hash of the form $ID$SALT$HASH"),
        (&["--rescue-password-hash", "$5$salt$short"], "hint: openssl passwd -5"),
        (&["--rescue-password-hash", "$y$j9T$salt$hash"], "illumos knows 1, 2a, md5, 5, 6"),
        (&["--for", "nobody"], "--for"),
        (&["--sise", "5"], "--sise"),
    ];
    for (flags, expected) in cases {
        misused(&lab, &[&["retro", STAMP], flags].concat(), &[expected]);
    }
    misused(&lab, &["cat", "--json", "x:/y"], &["knows no --json"]);
    misused(&lab, &["--json", "cat", "x:/y"], &["knows no --json"]);
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
    refused(&lab, &[], &[&name, "this is not gzip data", "or compress it with gzip"]);
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
    let name = format!("platform-{STAMP}.tgz");
    let rename = |members: &mut Vec<Member>, to: &str| {
        for member in members {
            let (_, rest) = member.path.split_once('/').unwrap();
            member.path = format!("{to}/{rest}");
        }
    };
    change(&lab, &members, Vec::clear);
    refused(&lab, &[], &[&name, "no platform directory", "hint: a platform tarball holds one folder"]);
    change(&lab, &members, |members| rename(members, "etc"));
    refused(&lab, &[], &[&name, "the top directory is etc", "hint: a platform tarball holds one folder"]);
    change(&lab, &members, |members| rename(members, "platform-20200101T000000Z"));
    let expected =
        ["this is not the platform 20260101T000000Z", "hint: for that platform give its own stamp"];
    refused(&lab, &[], &expected);
    change(&lab, &members, |members| members.push(Member::file("platform-20200101T000000Z/x", b"")));
    refused(&lab, &[], &[&name, "two top directories", "hint: a platform tarball holds one folder"]);
    let version = Member::file(&format!("platform-{STAMP}/etc/version/platform"), b"20200101T000000Z\n");
    change(&lab, &members, |members| members.push(version));
    refused(
        &lab,
        &[],
        &[&name, "etc/version/platform says '20200101T000000Z'", "hint: the tarball was renamed"],
    );
    let link = Member::other(&format!("platform-{STAMP}/link"), EntryType::Symlink, "nothing");
    change(&lab, &members, |members| members.push(link));
    refused(&lab, &[], &[&name, "link is a link to nothing", "hint: the tarball is not whole"]);
    let unix = |members: &mut Vec<Member>| {
        let unix = members.iter_mut().find(|member| member.path.ends_with("/unix")).unwrap();
        unix.content = vec![b'x'; 20_000];
    };
    change(&lab, &members, unix);
    refused(&lab, &[], &[&name, "i86pc/kernel/amd64/unix: not a Multiboot", "hint: a platform's kernel"]);
    let long = Member::file(&format!("platform-{STAMP}/what?"), b"");
    change(&lab, &members, |members| members.push(long));
    refused(&lab, &[], &[&name, "FAT cannot hold the name", "hint: FAT takes no such names"]);
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
    // Offsets in the superblock at byte 8192: fs_clean 209, fs_fpg 188, fs_ncg 44, fs_cgmask 28, fs_magic 1372.
    let edits: [(&str, Edit, &str); 7] = [
        ("no UFS", |ufs| ufs[8192..16384].fill(0), "UFS"),
        ("big-endian", |ufs| ufs[8192 + 1372..8192 + 1376].reverse(), "big-endian"),
        ("dirty", |ufs| ufs[8192 + 209] = 0, "clean"),
        ("groups", |ufs| ufs[8192 + 44..8192 + 48].copy_from_slice(&i32::MAX.to_le_bytes()), "boot_archive"),
        // A mask that file systems with staggered groups have.
        ("places of groups", |ufs| ufs[8192 + 28..8192 + 32].fill(0), "cylinder group 1"),
        ("group size", |ufs| ufs[8192 + 188..8192 + 192].fill(0), "boot_archive"),
        ("inodes", |ufs| ufs[8192 + 184..8192 + 188].fill(0xff), "boot_archive"),
    ];
    for (name, edit, expected) in edits {
        change(&lab, &members, |members| {
            edit(&mut tarball::boot_archive(members).content);
            tarball::rehash(members);
        });
        eprintln!("{name}");
        refused(&lab, &[], &[&format!("platform-{STAMP}.tgz"), "boot_archive", expected]);
    }
    // The account table as text in the archive: the account loses its name, and then its password field.
    for (from, to, expected) in [
        (&b"root:$5$standin"[..], &b"toor:$5$standin"[..], "there is no line for root"),
        (b"root:$5$standin", b"root:\n5$standin", "line 1, that of root, has too few fields"),
    ] {
        change(&lab, &members, |members| {
            let archive = &mut tarball::boot_archive(members).content;
            let at = archive.windows(from.len()).position(|window| window == from).unwrap();
            archive[at..at + from.len()].copy_from_slice(to);
            tarball::rehash(members);
        });
        refused(&lab, &[], &[&format!("platform-{STAMP}.tgz"), "/etc/shadow", "boot_archive", expected]);
    }
}

#[test]
fn overlays_that_clash() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    fs::create_dir_all(lab.join("file-over-folder")).unwrap();
    fs::write(lab.join("file-over-folder/etc"), "").unwrap();
    let expected = ["etc is a file in file-over-folder", "hint: rename or remove it in file-over-folder"];
    refused(&lab, &["--overlay", "file-over-folder"], &expected);
    fs::create_dir_all(lab.join("folder-over-file/etc/issue")).unwrap();
    fs::write(lab.join("folder-over-file/etc/issue/x"), "").unwrap();
    refused(&lab, &["--overlay", "folder-over-file"], &["etc/issue is a directory in folder-over-file"]);
    // What kiln's own overlay says nothing about meets the platform itself.
    let archive = format!("platform data/platform-{STAMP}.tgz: cannot lay /");
    fs::create_dir_all(lab.join("folder/etc/shadow")).unwrap();
    refused(&lab, &["--overlay", "folder"], &[&archive, "etc/shadow", "hint: rename the folder"]);
    fs::create_dir_all(lab.join("file")).unwrap();
    fs::write(lab.join("file/usr"), "").unwrap();
    refused(&lab, &["--overlay", "file"], &[&archive, "usr", "hint: rename the file"]);
    fs::create_dir_all(lab.join("link")).unwrap();
    std::os::unix::fs::symlink("x", lab.join("link/usr")).unwrap();
    refused(&lab, &["--overlay", "link"], &[&archive, "usr", "hint: rename the link"]);
    refused(&lab, &["--overlay", "nowhere"], &["nowhere"]);
    fs::create_dir(lab.join("mine")).unwrap();
    fs::write(lab.join("mine.mtree"), "./x mode=99999\n").unwrap();
    refused(&lab, &["--overlay", "mine"], &["mine.mtree:1: mode", "hint: each line is ./PATH"]);
    // A link to a folder is a name of its own, with a manifest of its own.
    std::os::unix::fs::symlink("mine", lab.join("alias")).unwrap();
    fs::write(lab.join("alias.mtree"), "\n./y uid=x\n").unwrap();
    refused(&lab, &["--overlay", "alias"], &["alias.mtree:2: uid"]);
    refused(&lab, &["--overlay", "alias/"], &["alias.mtree:2: uid"]);
    refused(&lab, &["--overlay", "alias/."], &["alias.mtree:2: uid"]);
}

#[test]
fn volumes_and_templates_that_are_too_small() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let platform = format!("platform data/platform-{STAMP}.tgz: ");
    refused(&lab, &["--size", "64"], &[&platform, "64 MiB is too small", "hint: use --size"]);
    fs::write(lab.join("template.img"), vec![0; 1 << 20]).unwrap();
    refused(&lab, &["--template", "template.img"], &["template.img"]);
    refused(&lab, &["--template", "nowhere.img"], &["nowhere.img"]);
    refused(&lab, &["--template", "."], &["the template .: it is a folder"]);
    refused(&lab, &["--loader", "grub-legacy=nowhere"], &["nowhere/stage1", "grub-legacy=DIR"]);
    fs::create_dir(lab.join("stages")).unwrap();
    for stage in ["stage1", "fat_stage1_5", "stage2"] {
        fs::write(lab.join("stages").join(stage), "x").unwrap();
    }
    refused(&lab, &["--loader", "grub-legacy=stages"], &["the files in stages are not GRUB legacy's"]);
    refused(&lab, &["--ca-bundle", "nowhere.pem"], &["nowhere.pem"]);
    fs::write(lab.join("bad.toml"), "sise = 5\n").unwrap();
    refused(&lab, &["--recipe", "bad.toml"], &["bad.toml", "line 1, column 1", "sise"]);
    fs::write(lab.join("bad.toml"), "\nsize = -1\n").unwrap();
    refused(
        &lab,
        &["--recipe", "bad.toml"],
        &["bad.toml", "line 2, column 8", "a volume has 1 to 2097151 MiB"],
    );
    refused(&lab, &["--recipe", "nowhere.toml"], &["nowhere.toml", "No such file", "--recipe FILE"]);
}
