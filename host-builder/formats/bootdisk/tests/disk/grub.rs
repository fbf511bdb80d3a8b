//! GRUB legacy's stage files, against what the GRUB shell itself writes.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{fs, path::Path};

use kiln_bootdisk::detect::{Loader, detect};
use kiln_bootdisk::disk::DiskPlan;
use kiln_bootdisk::grub_legacy::{STAGE2_PATH, Stages};
use kiln_harness::tools;
use positioned_io::ReadAt;

use crate::support::{DATE, Files, MIB, NO_CODE, options};

/// Debian's stage files: `stage1`, `fat_stage1_5`, `stage2`.
pub fn debian_stages() -> Option<[Vec<u8>; 3]> {
    let folders = ["/usr/lib/grub/x86_64-pc", "/usr/lib/grub/i386-pc"].map(PathBuf::from);
    let Some(folder) = folders.iter().find(|folder| folder.join("stage1").is_file()) else {
        tools::missing("the stage files of GRUB legacy (package grub-legacy)");
        return None;
    };
    Some(["stage1", "fat_stage1_5", "stage2"].map(|name| fs::read(folder.join(name)).unwrap()))
}

fn stages() -> Option<Stages> {
    let [stage1, stage1_5, stage2] = debian_stages()?;
    Some(Stages::new(stage1, stage1_5, stage2).unwrap())
}

/// Lets the GRUB shell install itself on a disk image.
pub fn run_grub(grub: &Path, disk: &Path) {
    let mut child = Command::new(grub)
        .args(["--batch", "--device-map=/dev/null", "--no-floppy"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let script = format!("device (hd0) {}\nroot (hd0,0)\nsetup (hd0)\nquit\n", disk.display());
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Running \"install") && said.contains("succeeded"), "{said}");
}

#[test]
fn the_boot_area_is_what_the_grub_shell_writes() {
    let (Some(stages), Some(grub)) = (stages(), tools::require("grub")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let files = Files::default();
    let plan = || DiskPlan::new(&options(258 * MIB), &stages.entries(DATE)).unwrap();
    let theirs = files.write(&plan().finish(&NO_CODE).unwrap(), folder.path(), "theirs");
    run_grub(&grub, &theirs);
    let ours = plan().finish(&stages.boot_area()).unwrap();
    let (mut left, mut right) = (vec![0; MIB as usize], vec![0; MIB as usize]);
    ours.view(|_| None).read_exact_at(0, &mut left).unwrap();
    fs::File::open(&theirs).unwrap().read_exact_at(0, &mut right).unwrap();
    let differs: Vec<usize> = (0..left.len()).filter(|&at| left[at] != right[at]).collect();
    assert_eq!(differs, [0usize; 0]);
}

#[test]
fn the_loader_is_recognised() {
    let Some(stages) = stages() else { return };
    assert_eq!(stages.version(), "0.97");
    let plan = DiskPlan::new(&options(258 * MIB), &stages.entries(DATE)).unwrap();
    assert!(plan.placement(STAGE2_PATH).unwrap().length > 100_000);
    let layout = plan.finish(&stages.boot_area()).unwrap();
    let found = detect(&layout.view(|_| None)).unwrap();
    assert_eq!(found, Loader::GrubLegacy { version: "0.97".to_owned(), by_name: true });
}

#[test]
fn other_loaders_are_recognised() {
    let with = |bytes: &[(usize, &[u8])]| {
        let mut disk = vec![0; 2 << 20];
        for (at, value) in bytes {
            disk[*at..at + value.len()].copy_from_slice(value);
        }
        detect(&disk).unwrap()
    };
    assert_eq!(with(&[]), Loader::None);
    assert_eq!(with(&[(0x3E, &[3, 2])]), Loader::None);
    assert_eq!(with(&[(0, &[0xEB, 0x3C])]), Loader::Unknown);
    assert_eq!(with(&[(0x5A, &[0, 0x80]), (0x180, b"GRUB \0Geom")]), Loader::Grub2);
    assert_eq!(with(&[(0, &[0xEB]), (0xFA, &[2, 0, 40, 0, 0, 8])]), Loader::IllumosLoader);
    let entry = [0x80, 0, 0, 0, 0x0C, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0];
    let syslinux: [(usize, &[u8]); 4] =
        [(0, &[0x33]), (446, &entry), (510, &[0x55, 0xAA]), (MIB as usize + 3, b"SYSLINUX")];
    assert_eq!(with(&syslinux), Loader::Syslinux);
    // A stage 1 that points behind the end of the disk.
    let lost = with(&[(0x3E, &[3, 2]), (0x44, &[0xFF; 4]), (0x180, b"GRUB ")]);
    assert_eq!(lost, Loader::GrubLegacy { version: String::new(), by_name: false });
    assert!(detect(&vec![0; 100]).is_err());
}

#[test]
fn stage_files_are_checked() {
    let Some([stage1, stage1_5, stage2]) = debian_stages() else { return };
    let refused = |which: usize, change: &dyn Fn(&mut Vec<u8>)| {
        let mut files = [stage1.clone(), stage1_5.clone(), stage2.clone()];
        change(&mut files[which]);
        let [a, b, c] = files;
        Stages::new(a, b, c).err().unwrap().file
    };
    assert_eq!(refused(0, &|file| file.push(0)), "stage1");
    assert_eq!(refused(0, &|file| file[0x3E] = 4), "stage1");
    assert_eq!(refused(0, &|file| file[0x4B] = 0x90), "stage1");
    assert_eq!(refused(1, &|file| file.truncate(0x207)), "fat_stage1_5");
    assert_eq!(refused(1, &|file| file[0x207] = 9), "fat_stage1_5");
    assert_eq!(refused(1, &|file| file[0x220] = b'?'), "fat_stage1_5");
    assert_eq!(refused(1, &|file| file[0x21B + 30] = 1), "fat_stage1_5");
    assert_eq!(refused(2, &|file| file.truncate(512)), "stage2");
    assert_eq!(refused(2, &|file| file[0x215] = b'8'), "stage2");
}
