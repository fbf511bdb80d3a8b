//! Tools of others agree: fsck.vfat, mtools, sfdisk.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use kiln_harness::tools;

use crate::support::{MIB, expected, plan, read_all, sample, write_from};

/// Runs a tool in an environment that knows UTF-8 and UTC; panics unless it succeeds.
fn succeed(tool: &Path, arguments: &[&str]) -> String {
    let output = Command::new(tool)
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("MTOOLS_SKIP_CHECK", "0")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{} {arguments:?}:\n{text}\n{errors}",
        tool.display()
    );
    text
}

#[test]
fn fsck_has_no_complaint() {
    let Some(fsck) = tools::require("fsck.vfat") else { return };
    let files = sample();
    for mib in [258, 1024, 8200] {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        let layout = plan(&files, mib * MIB);
        files.with(&layout, |disk| write_from(disk, &layout, MIB, &volume));
        let said = fsck_volume(&fsck, &volume);
        // fsck.vfat counts the eleven directories and the label too.
        assert!(said.contains(&format!(": {} files, ", files.0.len() + 12)), "{said}");
        assert!(said.contains("2048 hidden sectors"), "{said}");
    }
}

/// Runs fsck.vfat, which knows no offsets, on a volume; panics unless all it says is known to be harmless.
pub fn fsck_volume(fsck: &Path, volume: &Path) -> String {
    let harmless = [
        "fsck.fat 4",
        "Checking we can access",
        "Boot sector contents:",
        "System ID ",
        "Media byte",
        "bytes per",
        "reserved sector",
        "First FAT starts",
        "FATs, 32 bit",
        "Root directory start",
        "Data area starts",
        "data clusters",
        "sectors/track",
        "hidden sectors",
        "sectors total",
        "Checking for unused",
        "Checking free cluster",
        " files, ",
    ];
    let said = succeed(fsck, &["-n", "-v", volume.to_str().unwrap()]);
    let known = |line: &str| line.is_empty() || harmless.iter().any(|words| line.contains(words));
    let rest: Vec<&str> = said.lines().filter(|line| !known(line)).collect();
    assert!(rest.is_empty(), "{rest:?} in:\n{said}");
    said
}

#[test]
fn mtools_reads_the_same_tree() {
    let (Some(mcopy), Some(mdir)) = (tools::require("mcopy"), tools::require("mdir")) else { return };
    let files = sample();
    let folder = tempfile::tempdir().unwrap();
    let disk = files.write(&plan(&files, 258 * MIB), folder.path(), "disk");
    let image = format!("{}@@1048576", disk.display());
    let target = folder.path().join("tree");
    fs::create_dir(&target).unwrap();
    succeed(&mcopy, &["-i", &image, "-s", "-m", "-n", "::/*", target.to_str().unwrap()]);
    let mut found = Vec::new();
    collect(&target, &target, &mut found);
    found.sort();
    let wanted: Vec<(String, Vec<u8>)> =
        expected(&files).into_iter().map(|(path, bytes, _)| (path, bytes)).collect();
    assert_eq!(found, wanted);

    let listing = succeed(&mdir, &["-i", &image, "::/"]);
    assert!(listing.contains("Volume in drive : is HEADNODE"), "{listing}");
    assert!(listing.contains("Volume Serial Number is C9F7-537B"), "{listing}");
    let line = |words: &str| {
        listing.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{listing}"))
    };
    assert!(line("custom.tgz").starts_with("CUSTOM   TGZ     70000 2014-10-30   8:17"), "{listing}");
    assert!(line("please.txt").starts_with("README~1 TXT      4096 1980-01-01   0:00"), "{listing}");
    assert!(line("UPPER").starts_with("UPPER    TXT      4097 2107-12-31  23:59"), "{listing}");
    assert!(line(".joyliveusb").starts_with("JOYLIV~1"), "{listing}");
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.push((format!("/{name}"), fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn sfdisk_reads_the_same_partition_table() {
    let Some(sfdisk) = tools::require("sfdisk") else { return };
    let files = sample();
    let folder = tempfile::tempdir().unwrap();
    let disk = files.write(&plan(&files, 300 * MIB), folder.path(), "disk");
    let said = succeed(&sfdisk, &["--dump", disk.to_str().unwrap()]);
    assert!(said.contains("label: dos\nlabel-id: 0x4b494c4e\n"), "{said}");
    assert!(said.contains("start=        2048, size=      612352, type=c, bootable"), "{said}");
    succeed(&sfdisk, &["--verify", disk.to_str().unwrap()]);
}

/// A volume that another tool made and wrote to, with files in pieces.
#[test]
fn volumes_of_mtools_are_read() {
    let (Some(mkfs), Some(mcopy), Some(mdel)) =
        (tools::require("mkfs.vfat"), tools::require("mcopy"), tools::require("mdel"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let files = sample();
    // A partition table of ours, and a volume of theirs over the volume of ours.
    let layout = plan(&files, 300 * MIB);
    let written = files.write(&layout, folder.path(), "disk");
    assert_eq!(written, disk);
    succeed(&mkfs, &["-F", "32", "-n", "THEIRS", "--offset", "2048", disk.to_str().unwrap(), "306176"]);
    let image = format!("{}@@1048576", disk.display());
    let source = folder.path().join("source");
    let put = |name: &str, bytes: &[u8]| {
        fs::write(&source, bytes).unwrap();
        succeed(&mcopy, &["-i", &image, source.to_str().unwrap(), &format!("::{name}")]);
    };
    put("first", &vec![1; 50_000]);
    put("second", &vec![2; 50_000]);
    put("A Third One.text", &vec![3; 50_000]);
    succeed(&mdel, &["-i", &image, "::first"]);
    // Takes the hole and goes on behind the third.
    put("pieces", &vec![4; 150_001]);

    let device = File::open(&disk).unwrap();
    let found: Vec<(String, Vec<u8>)> =
        read_all(&device).into_iter().map(|(path, bytes, _)| (path, bytes)).collect();
    let wanted = [
        ("/A Third One.text".to_owned(), vec![3; 50_000]),
        ("/pieces".to_owned(), vec![4; 150_001]),
        ("/second".to_owned(), vec![2; 50_000]),
    ];
    assert_eq!(found, wanted);
    let volume = kiln_bootdisk::fat32::Volume::open(&device, MIB).unwrap();
    assert_eq!(volume.label().unwrap(), "THEIRS");
    let findings = volume.check(Some((2048, 612_352))).unwrap();
    let worst = findings.iter().map(|finding| finding.kind.severity()).max();
    assert!(worst <= Some(kiln_bootdisk::fat32::Severity::Warning), "{findings:?}");
}
