//! Retro images boot: every loader, on virtio and IDE disks, every entry of the menu, under SeaBIOS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_e2e::{Lab, STAMP, template};
use kiln_harness::qemu_boot::{self, BootOptions, DiskKind, QemuBoot};

/// Status of QEMU when the stand-in kernel was content.
const CONTENT: i32 = 33;

/// KiB of a boot archive as large as real ones.
const REAL_KIB: u32 = 307_200;

/// What `openssl passwd -5 -salt salt root` prints.
const RESCUE_HASH: &str = "$5$salt$U8nt31Pt21ShGaonHnJ.MT4.2l337DAnX7cfKorK7cC";

/// KiB of a boot archive for tests of the menu.
const SMALL_KIB: u32 = 16_384;

/// Emulated machines are slow, and slower with neighbours; only a hang takes this long.
const PATIENCE: Duration = Duration::from_mins(10);

/// The three loaders, with the flags that choose each.
fn loader_flags(lab: &Lab, loader: &str) -> Option<Vec<String>> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Some(match loader {
        "template" => {
            let image = lab.join("template.img");
            if !template::make(&image) {
                return None;
            }
            words("--template template.img")
        }
        other => words(&format!("--loader {other} --size auto")),
    })
}

/// Builds an image with a loader and converts it to a raw disk.
fn disk(lab: &Lab, loader: &str, further: &[&str]) -> Option<PathBuf> {
    let flags = loader_flags(lab, loader)?;
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    flags.extend(further);
    let (image, _) = lab.retro(&flags);
    let raw = lab.join("disk.raw");
    lab.kiln_ok(&["verify", image.to_str()?]);
    lab.kiln_ok(&["convert", image.to_str()?, "--to", "sparse-raw", raw.to_str()?]);
    Some(raw)
}

/// Starts the machine and returns what the kernel printed; it must end content.
fn boot(disk: &Path, disk_kind: DiskKind, memory_mib: u32, keys: &str) -> String {
    let mut machine =
        QemuBoot::start(&BootOptions { disk_kind, memory_mib, ..BootOptions::new(disk) }).unwrap();
    if !keys.is_empty() {
        machine.wait_for("+kmdb", PATIENCE).unwrap();
        machine.send(keys.as_bytes()).unwrap();
    }
    let status = machine.wait_exit(PATIENCE).unwrap();
    let transcript = machine.transcript();
    assert_eq!(status, CONTENT, "{transcript}");
    assert_eq!(machine.second_serial().unwrap(), b"", "the metadata channel was touched");
    transcript
}

/// What every kernel must have been given, whoever loaded it.
fn assert_booted(transcript: &str, archive_kib: u32) {
    let platform = format!("/os/{STAMP}/platform/i86pc");
    for expected in [
        format!("command line={platform}/kernel/amd64/unix "),
        "path=/platform/i86pc/kernel/amd64/unix".to_owned(),
        "property console=ttya".to_owned(),
        "property ttya-mode=115200,8,n,1,-".to_owned(),
        "property smartos=true".to_owned(),
        "property disable-kvm=true".to_owned(),
        format!("module 0 string={platform}/amd64/boot_archive"),
        format!("size={}", u64::from(archive_kib) << 10),
        "hash by order=ok".to_owned(),
        "hash by type=ok".to_owned(),
        "kiln stand-in: done".to_owned(),
    ] {
        assert!(transcript.contains(&expected), "expected '{expected}' in:\n{transcript}");
    }
    let issue =
        transcript.lines().any(|line| line.starts_with("kiln stand-in: issue") && line.contains(STAMP));
    assert!(issue, "the banner does not name the platform:\n{transcript}");
}

fn boots_a_real_size(loader: &str, kinds: &[DiskKind]) {
    let Some(lab) = Lab::open() else { return };
    if !qemu_boot::available() {
        return;
    }
    lab.platform(REAL_KIB);
    let Some(disk) = disk(&lab, loader, &["--timeout", "1"]) else { return };
    for kind in kinds {
        assert_booted(&boot(&disk, *kind, 1024, ""), REAL_KIB);
    }
}

#[test]
fn builtin_boots_a_300_mb_archive_from_virtio_and_ide() {
    boots_a_real_size("builtin", &[DiskKind::VirtioBlk, DiskKind::Ide]);
}

#[test]
fn grub_legacy_boots_a_300_mb_archive_from_virtio_and_ide() {
    boots_a_real_size("grub-legacy", &[DiskKind::VirtioBlk, DiskKind::Ide]);
}

#[test]
fn a_template_boots_a_300_mb_archive_from_virtio_and_ide() {
    boots_a_real_size("template", &[DiskKind::VirtioBlk, DiskKind::Ide]);
}

/// Chooses each entry on the first serial port and looks at what makes it that entry.
fn starts_every_entry(loader: &str, keys: [&str; 3]) {
    let Some(lab) = Lab::open() else { return };
    if !qemu_boot::available() {
        return;
    }
    lab.platform(SMALL_KIB);
    let Some(disk) = disk(&lab, loader, &["--timeout", "300", "--rescue-password-hash", RESCUE_HASH]) else {
        return;
    };
    for (entry, keys) in keys.into_iter().enumerate() {
        let transcript = boot(&disk, DiskKind::VirtioBlk, 256, keys);
        assert_booted(&transcript, SMALL_KIB);
        let rescue = transcript.contains(&format!("property root_shadow={RESCUE_HASH}"))
            && transcript.contains("property noimport=true");
        let debugger = transcript.contains("boot-args=-kd");
        assert_eq!((rescue, debugger), (entry == 1, entry == 2), "entry {entry}:\n{transcript}");
    }
}

#[test]
fn every_entry_of_the_builtin_menu_starts_by_its_digit() {
    starts_every_entry("builtin", ["1", "2", "3"]);
}

#[test]
fn every_entry_of_the_builtin_menu_starts_by_arrows() {
    starts_every_entry("builtin", ["\r", "\x1b[B\r", "\x1b[B\x1b[B\r"]);
}

/// GRUB asks for a key before it believes in a terminal, so the first one only wakes it.
#[test]
fn every_entry_of_grub_legacys_menu_starts() {
    starts_every_entry("grub-legacy", ["\r", "\x1b[B\r", "\x1b[B\x1b[B\r"]);
}

#[test]
fn every_entry_of_a_templates_menu_starts() {
    starts_every_entry("template", ["\r", "\x1b[B\r", "\x1b[B\x1b[B\r"]);
}

/// The user's template may come packed, as the original one does.
#[test]
fn a_packed_template_gives_the_same_image_as_a_plain_one() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(SMALL_KIB);
    let template = lab.join("template.img");
    if !template::make(&template) {
        return;
    }
    let (image, _) = lab.retro(&["--template", "template.img"]);
    let plain = std::fs::read(&image).unwrap();
    let packed = std::process::Command::new("tar")
        .args(["czSf", "template.tgz", "template.img"])
        .current_dir(lab.path())
        .status()
        .unwrap();
    assert!(packed.success());
    let (image, _) = lab.retro(&["--template", "template.tgz"]);
    assert!(std::fs::read(&image).unwrap() == plain);
}
