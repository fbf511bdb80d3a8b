//! Template disks that cannot serve: each is refused with its file's name, what is wrong with it and what to do.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use kiln_e2e::{Lab, STAMP, template};

/// Bytes of the archive: the smallest platform will do, because nothing is built.
const ARCHIVE_KIB: u32 = 8192;
/// Where partition 1 of the stand-in begins.
const PARTITION: u64 = 63 * 512;

/// Everything that is not zero in the stand-in lies below.
const USED: u64 = 4 << 20;

/// Builds with a template that cannot serve. The message is the chain of causes and one hint.
fn refused(lab: &Lab, name: &str, expected: &[&str]) {
    let said = lab.kiln(&["retro", STAMP, "--template", name]);
    assert_eq!(said.status, 1, "{name}: {}", said.stderr);
    let message = said.stderr.lines().filter(|line| line.starts_with("kiln: ") || line.starts_with("hint: "));
    let message: Vec<&str> = message.collect();
    let [error, hint] = message[..] else { panic!("{name}: {}", said.stderr) };
    assert!(error.starts_with(&format!("kiln: cannot use the template {name}: ")), "{error}");
    for text in expected {
        assert!(
            error.contains(text) || hint.contains(text),
            "{name}: expected '{text}' in:\n{}",
            said.stderr
        );
    }
    for word in ["failed to fill whole buffer", "None", "Some(", " { "] {
        assert!(!error.contains(word), "{error}");
    }
    assert!(!lab.join("output").exists(), "{name}");
}

/// A copy of the first `length` bytes of the template.
fn copy(lab: &Lab, name: &str, length: u64) -> File {
    let mut head = vec![0; length as usize];
    File::open(lab.join("template.img")).unwrap().read_exact_at(&mut head, 0).unwrap();
    let file = File::create(lab.join(name)).unwrap();
    file.write_all_at(&head, 0).unwrap();
    file
}

fn tgz(path: &Path, members: &[(&str, &[u8])]) {
    let gz = flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gz);
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap();
}

#[test]
fn templates_that_cannot_serve_are_refused_with_a_remedy() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    if !template::make(&lab.join("template.img")) {
        return;
    }

    let again = "hint: copy or download it again";
    for (length, missing) in [
        (0, "partition table"),
        (300, "partition table"),
        (20_000, "FAT boot record"),
        (33_000, "file allocation table"),
        (200_000, "directory"),
        (2_100_000, "file /boot/grub/stage2"),
    ] {
        let name = format!("cut-{length}.img");
        copy(&lab, &name, length);
        refused(&lab, &name, &["the template is cut short: it ends within the", missing, again]);
    }

    let whole = "hint: name the image of a whole disk";
    let grub = "hint: install GRUB legacy in it";
    let spoilt = |name: &str, offset: u64, length: usize, expected: &[&str]| {
        let disk = copy(&lab, name, USED);
        disk.write_all_at(&vec![0; length], offset).unwrap();
        refused(&lab, name, expected);
    };
    spoilt("no-table.img", 510, 2, &["the template has no partition table", whole]);
    spoilt("no-partition.img", 446, 64, &["it must have one primary partition", whole]);
    spoilt("no-fat.img", PARTITION, 512, &["holds no readable FAT32 volume in partition 1", whole]);
    spoilt(
        "no-loader.img",
        0,
        440,
        &["needs GRUB legacy that finds its files by name; its boot loader: none", grub],
    );
    // The first entry of the root directory but for the label is /boot.
    let root = (95 + 2 * 1904) * 512;
    spoilt("no-stage2.img", root, 4096, &["needs the file /boot/grub/stage2", grub]);

    fs::create_dir(lab.join("folder")).unwrap();
    refused(&lab, "folder", &["it is a folder", "hint: name the disk image itself"]);
    tgz(&lab.join("empty.tgz"), &[]);
    refused(
        &lab,
        "empty.tgz",
        &["there is no disk image in the archive", "hint: a template archive holds one file"],
    );
    tgz(&lab.join("two.tgz"), &[("a.img", &[0; 512]), ("b.img", &[0; 512])]);
    refused(
        &lab,
        "two.tgz",
        &["a template archive holds one disk image; a.img came before", "hint: unpack it"],
    );
    let mut cut = vec![0; 33_000];
    File::open(lab.join("template.img")).unwrap().read_exact_at(&mut cut, 0).unwrap();
    tgz(&lab.join("cut-inside.tgz"), &[("template.img", &cut)]);
    refused(&lab, "cut-inside.tgz", &["the template is cut short", again]);
    let bytes = fs::read(lab.join("cut-inside.tgz")).unwrap();
    fs::write(lab.join("cut.tgz"), &bytes[..bytes.len() / 2]).unwrap();
    let packed = "hint: a compressed template is a .tgz with one disk image in it";
    refused(&lab, "cut.tgz", &["the gzip data is cut off", packed]);
    let mut gz = flate2::write::GzEncoder::new(
        File::create(lab.join("no-tar.gz")).unwrap(),
        flate2::Compression::fast(),
    );
    gz.write_all(&cut).unwrap();
    gz.finish().unwrap();
    refused(&lab, "no-tar.gz", &["no tar header", packed]);

    // Without the zeros at its end the template serves, but its partition does not fit this volume.
    copy(&lab, "whole.img", USED);
    let said = lab.kiln(&["retro", STAMP, "--template", "whole.img", "--size", "300"]);
    assert_eq!(said.status, 1);
    for text in ["the template whole.img cannot take the platform: ", "hint: give --size at least"] {
        assert!(said.stderr.contains(text), "{}", said.stderr);
    }
}
