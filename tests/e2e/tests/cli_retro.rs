//! `kiln retro` as its users see it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use kiln_e2e::{Lab, STAMP};
use serde_json::Value;

const ARCHIVE_KIB: u32 = 8192;

fn manifest(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_pair_agrees_and_verifies() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let (image, manifest_path) = lab.retro(&[]);
    let manifest = manifest(&manifest_path);
    assert_eq!(manifest["name"], format!("smartos-retro-{STAMP}"));
    assert_eq!(manifest["version"], "test");
    assert_eq!(manifest["published_at"], "2026-01-01T00:00:00Z");
    assert_eq!(manifest["image_size"], 1024);
    assert_eq!(manifest["requirements"]["min_platform"]["7.0"], "20130723T015243Z");
    assert_eq!(manifest["files"][0]["size"], fs::metadata(&image).unwrap().len());
    let sum = Command::new("sha1sum").arg(&image).output().unwrap();
    let sha1 = manifest["files"][0]["sha1"].as_str().unwrap();
    assert!(String::from_utf8_lossy(&sum.stdout).starts_with(sha1));
    lab.kiln_ok(&["verify", image.to_str().unwrap()]);
}

/// Same inputs, same bytes: whatever the machine, the user and the moment.
#[test]
fn nothing_but_the_inputs_shows_in_the_bytes() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    for folder in ["one", "two"] {
        fs::create_dir_all(lab.join(folder).join("lib")).unwrap();
        fs::write(lab.join(folder).join("lib/mine"), "mine\n").unwrap();
    }
    // The second user's checkout has other modes and times.
    fs::set_permissions(lab.join("two/lib/mine"), fs::Permissions::from_mode(0o700)).unwrap();
    let touched =
        Command::new("touch").args(["-d", "1999-01-01"]).arg(lab.join("two/lib/mine")).status().unwrap();
    assert!(touched.success());

    let (image, manifest) =
        lab.retro(&["--overlay", "one", "--custom", "one", "--jobs", "1", "--size", "auto"]);
    let expected = (fs::read(image).unwrap(), fs::read(manifest).unwrap());

    fs::create_dir(lab.join("elsewhere")).unwrap();
    fs::copy(lab.join(format!("data/platform-{STAMP}.tgz")), lab.join("elsewhere/p.tgz")).unwrap();
    let kiln = lab.command().get_program().to_owned();
    for jobs in ["2", "3", "7"] {
        let script = format!(
            "umask 077; exec \"$0\" retro {STAMP} --platform p.tgz --output out-{jobs} --version test \
             --overlay ../two --custom ../two --jobs {jobs} --size auto"
        );
        let run = Command::new("sh")
            .args(["-c", &script])
            .arg(&kiln)
            .current_dir(lab.join("elsewhere"))
            .env("TZ", "Pacific/Kiritimati")
            .env("LC_ALL", "tr_TR.UTF-8")
            .env("SOURCE_DATE_EPOCH", "1")
            .output()
            .unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let name = format!("elsewhere/out-{jobs}/smartos-retro-{STAMP}-test");
        let image = lab.join(format!("{name}.zvol.gz"));
        assert!(fs::read(&image).unwrap() == expected.0, "{jobs} jobs: the image differs");
        assert!(
            fs::read(lab.join(format!("{name}.manifest"))).unwrap() == expected.1,
            "the manifest differs"
        );
        assert_eq!(fs::metadata(&image).unwrap().permissions().mode() & 0o777, 0o644);
    }
}

#[test]
fn an_ordinary_user_builds_too() {
    let Some(lab) = Lab::open() else { return };
    let Some(setpriv) = kiln_harness::tools::require("setpriv") else { return };
    lab.platform(ARCHIVE_KIB);
    // Below the world's temporary folder, because the way to the lab may be closed to other users.
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let platform = home.path().join("p.tgz");
    fs::copy(lab.join(format!("data/platform-{STAMP}.tgz")), &platform).unwrap();
    let kiln = home.path().join("kiln");
    fs::copy(lab.command().get_program(), &kiln).unwrap();
    let run = Command::new(setpriv)
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all"])
        .arg(&kiln)
        .args(["retro", STAMP, "--platform"])
        .arg(&platform)
        .current_dir(home.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{stderr}");
    assert!(stderr.contains("lacks") || stderr.contains("first-boot programs"), "{stderr}");
    assert_eq!(fs::read_dir(home.path().join("output")).unwrap().count(), 2);
}

#[test]
fn the_boot_archive_is_changed_as_promised() {
    let Some(lab) = Lab::open() else { return };
    let platform = lab.platform(ARCHIVE_KIB);
    fs::create_dir_all(lab.join("mine/lib/svc/method")).unwrap();
    fs::write(lab.join("mine/lib/svc/method/mine"), "#!/bin/sh\n").unwrap();
    // More than the archive has room for, so that it must grow.
    fs::write(lab.join("mine/lib/big"), vec![b'x'; 12 << 20]).unwrap();
    fs::write(lab.join("mine.mtree"), "./lib/svc/method/mine mode=0755 uid=0 gid=70000\n").unwrap();
    let (image, _) = lab.retro(&["--overlay", "mine", "--size", "auto"]);
    let image = image.to_str().unwrap();
    let archive = format!("{image}:/os/{STAMP}/platform/i86pc/amd64/boot_archive!");

    let shadow = lab.kiln_ok(&["cat", &format!("{archive}/etc/shadow")]);
    assert!(shadow.lines().any(|line| line.starts_with("root:NP:")), "{shadow}");
    let issue = lab.kiln_ok(&["cat", &format!("{archive}/etc/issue")]);
    assert!(issue.contains(STAMP), "{issue}");
    assert!(issue.trim_end().ends_with("oldskool ttya login:"), "{issue}");
    let listing = lab.kiln_ok(&["ls", "-l", &format!("{archive}/lib/svc/method")]);
    let mine = listing.lines().find(|line| line.ends_with("mine")).unwrap();
    assert!(mine.contains("rwxr-xr-x") && mine.contains("70000"), "{mine}");
    assert_eq!(lab.kiln_ok(&["cat", &format!("{archive}/lib/big")]).len(), 12 << 20);
    lab.kiln_ok(&["verify", image]);

    let hash = lab.kiln_ok(&["cat", &format!("{image}:/os/{STAMP}/platform/i86pc/amd64/boot_archive.hash")]);
    assert_eq!(hash.len(), 41);
    let said = lab.kiln(&["ls", &format!("{image}:/os/{STAMP}/platform")]);
    assert!(!said.stdout.contains("root.password"), "{}", said.stdout);

    let difference = lab.kiln(&[
        "diff",
        &format!("{}:/platform-{STAMP}", platform.display()),
        &format!("{image}:/os/{STAMP}/platform"),
    ]);
    assert_eq!(difference.status, 1, "{}", difference.stderr);
    for name in ["root.password", "etc/issue", "etc/shadow", "lib/big"] {
        assert!(difference.stdout.contains(name), "{name}: {}", difference.stdout);
    }
}

#[test]
fn steps_and_the_summary_are_events_for_machines() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let events: Vec<Value> = lab
        .kiln_ok(&["retro", STAMP, "--json", "--for", "dc"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let step = |name: &str| {
        events
            .iter()
            .find(|event| event["step"] == name)
            .unwrap_or_else(|| panic!("no step {name}: {events:?}"))
    };
    assert_eq!(step("lock-root-password")["changed"], true);
    let summary = events.last().unwrap();
    assert_eq!(summary["event"], "summary");
    assert!(summary["next"][0].as_str().unwrap().starts_with("imgadm install -m "));
    let manifest = manifest(&lab.join(summary["manifest"].as_str().unwrap()));
    assert!(manifest["public"].is_boolean() && manifest["activated"].is_boolean());
    assert!(events.iter().any(|event| event["event"] == "warning"), "{events:?}");
}

#[test]
fn a_recipe_says_the_same_as_flags() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let (image, _) = lab.retro(&["--timeout", "3", "--menu", "original", "--size", "auto"]);
    let by_flags = fs::read(&image).unwrap();
    fs::write(
        lab.join("retro.toml"),
        format!("stamp = '{STAMP}'\nversion = 'test'\nforce = true\ntimeout = 3\nmenu = 'original'\nsize = 'auto'\n"),
    )
    .unwrap();
    lab.kiln_ok(&["retro", "--recipe", "retro.toml"]);
    assert!(fs::read(&image).unwrap() == by_flags);
}

/// What the recipe does is told in full on demand, as the original's TRACE did.
#[test]
fn details_are_told_on_demand() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let build = |flags: &[&str], log: Option<&str>| {
        let mut command = lab.command();
        command.args(["retro", STAMP, "--force", "--size", "auto"]).args(flags);
        command.env("KILN_LOG", log.unwrap_or_default());
        if log.is_none() {
            command.env_remove("KILN_LOG");
        }
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    for told in [build(&["-v"], None), build(&[], Some("kiln=info"))] {
        for expected in
            ["i86pc/kernel/amd64/unix", "root.password", "/etc/issue", "custom/etc/zone.json.tmpl", "lba="]
        {
            assert!(told.contains(expected), "no {expected} in:\n{told}");
        }
    }
    assert!(!build(&[], None).contains("lba="));
}

/// The disk in the image, judged by tools that know nothing of kiln.
#[test]
fn foreign_tools_agree_with_the_disk() {
    let Some(lab) = Lab::open() else { return };
    let (Some(sfdisk), Some(fsck), Some(mcopy)) = (
        kiln_harness::tools::require("sfdisk"),
        kiln_harness::tools::require("fsck.vfat"),
        kiln_harness::tools::require("mcopy"),
    ) else {
        return;
    };
    lab.platform(ARCHIVE_KIB);
    let (image, _) = lab.retro(&[]);
    let image = image.to_str().unwrap();
    lab.kiln_ok(&["convert", image, "--to", "sparse-raw", "disk.raw"]);

    let dump = Command::new(sfdisk).args(["--dump", "disk.raw"]).current_dir(lab.path()).output().unwrap();
    let dump = String::from_utf8_lossy(&dump.stdout).into_owned();
    let line = dump.lines().find(|line| line.starts_with("disk.raw1")).unwrap_or_else(|| panic!("{dump}"));
    for field in ["start=        2048", "size=     2095104", "type=c", "bootable"] {
        assert!(line.contains(field), "no '{field}' in {line}");
    }

    let copied = Command::new("dd")
        .args(["if=disk.raw", "of=fat.raw", "bs=1M", "skip=1", "conv=sparse", "status=none"])
        .current_dir(lab.path())
        .status()
        .unwrap();
    assert!(copied.success());
    let judged = Command::new(fsck).args(["-n", "-v", "fat.raw"]).current_dir(lab.path()).output().unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));

    let inside = format!("::/os/{STAMP}/platform/i86pc/amd64/boot_archive");
    let copied =
        Command::new(mcopy).args(["-i", "fat.raw", &inside, "archive"]).current_dir(lab.path()).status();
    assert!(copied.unwrap().success());
    let sum = Command::new("sha1sum").arg(lab.join("archive")).output().unwrap();
    let hash = lab.kiln_ok(&["cat", &format!("{image}:/os/{STAMP}/platform/i86pc/amd64/boot_archive.hash")]);
    assert!(String::from_utf8_lossy(&sum.stdout).starts_with(hash.trim_end()));
}
