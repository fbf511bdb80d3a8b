//! The edited and grown boot archive is mounted by a real kernel: the UFS driver of Linux reads the tree that kiln wrote.

use std::fs;
use std::time::Duration;

use kiln_e2e::{Lab, STAMP};
use kiln_harness::guest::Guest;

const ARCHIVE_KIB: u32 = 8192;

#[test]
fn linux_mounts_the_archive_and_reads_the_tree() {
    let Some(lab) = Lab::open() else { return };
    let Some(guest) = Guest::find() else { return };
    lab.platform(ARCHIVE_KIB);
    fs::create_dir_all(lab.join("mine/deep/er")).unwrap();
    // One file of each size class: a tail of every length, indirect and double-indirect blocks.
    for (name, size) in [("a", 1), ("b", 1025), ("c", 2049), ("d", 3073), ("e", 49_153), ("f", 9 << 20)] {
        let content: Vec<u8> = (0..size).map(|n: usize| (n * 7 % 251) as u8).collect();
        fs::write(lab.join(format!("mine/deep/er/{name}")), content).unwrap();
    }
    std::os::unix::fs::symlink("../deep/er/a", lab.join("mine/link")).unwrap();
    fs::write(lab.join("mine.mtree"), "./deep/er/a mode=4711 uid=70000 gid=80000\n./deep mode=0700\n")
        .unwrap();
    let (image, _) = lab.retro(&["--overlay", "mine", "--size", "auto"]);
    let archive = lab.join("boot_archive");
    let place = format!("{}:/os/{STAMP}/platform/i86pc/amd64/boot_archive", image.display());
    let bytes = lab.command().args(["cat", &place]).output().unwrap();
    assert!(bytes.status.success(), "{}", String::from_utf8_lossy(&bytes.stderr));
    fs::write(&archive, &bytes.stdout).unwrap();
    assert!(bytes.stdout.len() > (ARCHIVE_KIB << 10) as usize, "the archive did not have to grow");

    let script = "
        set -e
        mount -t ufs -o ro,loop,ufstype=sunx86 archive /mnt
        cd /mnt
        find . -type f -printf '%p %m %U %G ' -exec sha256sum '{}' ';' | awk '{ print $1, $2, $3, $4, $5 }' | sort
        find . -type l -printf '%p -> %l\\n' | sort
        find . -type d -printf '%p %m %U %G\\n' | sort
    ";
    let mounted =
        guest.file("archive", &archive).deadline(Duration::from_mins(5)).run(script).unwrap().succeeded();

    let has =
        |line: &str| assert!(mounted.lines().any(|l| l.starts_with(line)), "no '{line}' in:\n{mounted}");
    has("./deep/er/a 4711 70000 80000 ");
    has("./deep 700 0 0");
    has("./link -> ../deep/er/a");
    has("./etc/shadow 400 0 0 ");
    for name in ["a", "b", "c", "d", "e", "f"] {
        let path = lab.join(format!("mine/deep/er/{name}"));
        let said = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
        let sum = String::from_utf8_lossy(&said.stdout).split_whitespace().next().unwrap().to_owned();
        let line = mounted.lines().find(|line| line.starts_with(&format!("./deep/er/{name} "))).unwrap();
        assert!(line.ends_with(&sum), "{line}");
    }
    // What kiln lists is what the kernel lists.
    let listed = lab.kiln_ok(&["ls", "-R", &format!("{place}!/")]);
    for line in mounted.lines() {
        let path = line.split(' ').next().unwrap().trim_start_matches("./");
        let name = path.rsplit('/').next().unwrap();
        assert!(name == "." || listed.contains(name), "{path} is not in:\n{listed}");
    }
}
