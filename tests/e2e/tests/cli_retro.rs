//! `kiln retro` as its users see it.

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln_e2e::{Lab, STAMP};
use kiln_harness::tools;
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
    assert_eq!(String::from_utf8_lossy(&sum.stdout).split_whitespace().next(), Some(sha1));
    lab.kiln_ok(&["verify", image.to_str().unwrap(), "--manifest", manifest_path.to_str().unwrap()]);
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
    assert_eq!(lab.kiln_ok(&["ls", &format!("{image}:/os/{STAMP}/platform")]), "i86pc\n");

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
    assert!(!events.iter().any(|event| event["event"] == "warning"), "{events:?}");
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
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        told
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
    let (Some(sfdisk), Some(fsck), Some(mcopy)) =
        (tools::require("sfdisk"), tools::require("fsck.vfat"), tools::require("mcopy"))
    else {
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
    assert_eq!(String::from_utf8_lossy(&sum.stdout).split_whitespace().next(), Some(hash.trim_end()));
}
