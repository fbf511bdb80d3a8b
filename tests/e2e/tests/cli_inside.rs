//! The commands that look inside images: inspect, ls, cat, diff, verify, convert.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln_e2e::{Lab, STAMP, Said, template};
use kiln_harness::{fixtures, tools};
use serde_json::Value;
use sha1::{Digest as _, Sha1};

const AMD64: &str = "/os/20260101T000000Z/platform/i86pc/amd64";

fn text(path: &Path) -> &str {
    path.to_str().expect("scratch paths are UTF-8")
}

/// A lab with an image in it: (lab, image, manifest).
fn lab_with_image() -> Option<(Lab, PathBuf, PathBuf)> {
    let lab = Lab::open()?;
    lab.platform(8192);
    let (image, manifest) = lab.retro(&["--size", "auto"]);
    Some((lab, image, manifest))
}

fn as_raw(lab: &Lab, image: &Path, name: &str) -> PathBuf {
    let raw = lab.join(name);
    lab.kiln_ok(&["convert", text(image), "--to", "sparse-raw", text(&raw)]);
    raw
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Runs a program of mtools on the FAT of a raw disk. False after a loud skip.
fn mtools(program: &str, disk: &Path, arguments: &[&str]) -> bool {
    let Some(program) = tools::require(program) else { return false };
    let mut command = Command::new(program);
    command.env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(format!("{}@@1M", disk.display())).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

fn sha1_of(bytes: &[u8]) -> String {
    let digits: Vec<String> = Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn json(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.stdout))
}

fn findings(lab: &Lab, image: &Path) -> Vec<String> {
    let said = lab.kiln(&["verify", "--json", text(image)]);
    let report = json(&said);
    let findings: Vec<String> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            format!("{}: {}", finding["place"].as_str().unwrap(), finding["text"].as_str().unwrap())
        })
        .collect();
    assert_eq!(said.status, i32::from(!findings.is_empty()), "{findings:?}");
    assert_eq!(report["ok"], findings.is_empty());
    findings
}

#[test]
fn every_form_of_an_image_is_opened_by_its_content() {
    let Some((lab, image, _)) = lab_with_image() else { return };
    let raw = as_raw(&lab, &image, "disk");
    let mut stream = Vec::new();
    flate2::read::MultiGzDecoder::new(File::open(&image).unwrap()).read_to_end(&mut stream).unwrap();
    fs::write(lab.join("stream.tgz"), stream).unwrap();
    let gz = File::create(lab.join("disk.txt")).unwrap();
    let mut gz = flate2::write::GzEncoder::new(gz, flate2::Compression::fast());
    std::io::copy(&mut File::open(&raw).unwrap(), &mut gz).unwrap();
    gz.finish().unwrap();

    let issue = format!("{AMD64}/boot_archive!/etc/issue");
    let expected = lab.kiln_ok(&["cat", &format!("{}:{issue}", text(&image))]);
    assert!(expected.contains(STAMP) && expected.contains("oldskool ttya login:"), "{expected}");
    for name in ["disk", "stream.tgz", "disk.txt"] {
        assert_eq!(lab.kiln_ok(&["cat", &format!("{name}:{issue}")]), expected, "{name}");
        assert_eq!(lab.kiln_ok(&["diff", name, text(&image)]), "", "{name}");
        assert_eq!(findings(&lab, &lab.join(name)), [""; 0], "{name}");
    }
    let archive = lab.command().args(["cat", &format!("disk:{AMD64}/boot_archive")]).output().unwrap().stdout;
    fs::write(lab.join("archive"), &archive).unwrap();
    assert_eq!(lab.kiln_ok(&["cat", "archive:/etc/issue"]), expected);
    assert_eq!(lab.kiln_ok(&["diff", "archive", &format!("disk:{AMD64}/boot_archive!")]), "");
    assert_eq!(findings(&lab, &lab.join("archive")), [""; 0]);
    let platform = format!("data/platform-{STAMP}.tgz");
    assert_eq!(findings(&lab, &lab.join(&platform)), [""; 0]);
    let kernel = format!("{platform}:/platform-{STAMP}/i86pc/kernel");
    assert_eq!(lab.kiln_ok(&["diff", &kernel, &format!("disk:/os/{STAMP}/platform/i86pc/kernel")]), "");
}

#[test]
fn inspect_tells_everything_in_one_object() {
    let Some((lab, image, manifest)) = lab_with_image() else { return };
    let facts = json(&lab.kiln(&["inspect", "--json", text(&image)]));
    let bytes = fs::read(&image).unwrap();
    let sha1 = sha1_of(&bytes);
    assert_eq!(facts["file"]["sha1"], sha1.as_str());
    assert_eq!(facts["file"]["size"], bytes.len());
    assert_eq!(facts["platforms"], serde_json::json!([STAMP]));
    let partition = &facts["disk"]["partitions"][0];
    assert_eq!((&partition["first_lba"], &partition["type"]), (&2048.into(), &"0x0c".into()));
    assert_eq!(partition["active"], true);
    let stated: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let volume = facts["stream"]["volume_size"].as_u64().unwrap();
    assert_eq!(volume, facts["disk"]["size"].as_u64().unwrap());
    assert_eq!(volume, stated["image_size"].as_u64().unwrap() << 20);
    assert_eq!(facts["manifest"]["uuid"], stated["uuid"]);
    assert_eq!(facts["manifest"]["problems"], serde_json::json!([]));
    let entries = facts["disk"]["menus"][0]["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    let archive = &facts["boot_archives"][0];
    assert_eq!(archive["path"], format!("{AMD64}/boot_archive"));
    assert_eq!((&archive["hash_agrees"], &archive["ufs"]["issue_stamp"]), (&true.into(), &STAMP.into()));
    assert_eq!(facts["problems"], serde_json::json!([]));

    let page = lab.kiln_ok(&["inspect", text(&image)]);
    for line in ["  boot loader     kiln's built-in loader", "  agreement       agrees with the image", &sha1]
    {
        assert!(page.contains(line), "{line} is missing from\n{page}");
    }
}

#[test]
fn listings_of_an_authentic_archive_are_complete() {
    let Some(lab) = Lab::open() else { return };
    let archive = fixtures::unpack("ufs/populated16m.img.gz", lab.path());
    let said = lab.kiln(&["ls", "-R", "--json", text(&archive)]);
    let entry = |line: &str| -> Value { serde_json::from_str(line).unwrap() };
    let shown: Vec<Value> = said.stdout.lines().map(entry).collect();
    let mut files = 0;
    for line in fixtures::text("ufs/populated16m.list").lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let path = fields.iter().find(|field| field.starts_with('/')).unwrap();
        let entry = shown.iter().find(|entry| entry["path"] == **path);
        let entry = entry.unwrap_or_else(|| panic!("{path} is not shown"));
        let mode = u32::from_str_radix(fields[0], 8).unwrap();
        assert_eq!(entry["mode"], format!("{:04o}", mode & 0o7777), "{line}");
        assert_eq!(
            (entry["uid"].to_string(), entry["gid"].to_string()),
            (fields[1].into(), fields[2].into())
        );
        if mode >> 12 == 0o10 {
            assert_eq!(entry["size"].to_string(), fields[3], "{line}");
            files += 1;
        }
        if mode >> 12 == 0o10 && files % 20 == 1 {
            let output = lab.command().args(["cat", &format!("{}:{path}", text(&archive))]).output().unwrap();
            let sha1 = sha1_of(&output.stdout);
            assert_eq!(sha1, fields[4], "{line}");
        }
    }
    assert!(files > 100, "only {files} files were compared");
}

#[test]
fn long_listings_show_links_and_follow_them_when_asked() {
    let Some((lab, image, _)) = lab_with_image() else { return };
    let listing = lab.kiln_ok(&["ls", "-l", &format!("{}:/CUSTOM.TGZ!/custom/etc", text(&image))]);
    assert!(
        listing.lines().any(|line| line.starts_with("-rw-r--r--") && line.contains(" zone.json.tmpl")),
        "{listing}"
    );
    let missing = lab.kiln(&["ls", &format!("{}:/custom.tgz!/nowhere", text(&image))]);
    assert_eq!(missing.status, 1);
    assert!(missing.stderr.contains("/custom.tgz! has no /nowhere"), "{}", missing.stderr);
    assert!(missing.stderr.contains("hint: "), "{}", missing.stderr);
}

#[test]
fn a_reader_that_goes_away_is_a_good_end() {
    let Some((lab, image, _)) = lab_with_image() else { return };
    let place = format!("{}:{AMD64}/boot_archive", text(&image));
    let mut kiln = lab.command().args(["cat", &place]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 16];
    kiln.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(kiln.wait().unwrap().code(), Some(0));
}

#[test]
fn differences_are_told_down_into_archives() {
    let Some((lab, image, _)) = lab_with_image() else { return };
    let platform = format!("data/platform-{STAMP}.tgz");
    let ours = format!("{}:/os/{STAMP}/platform", text(&image));
    let said = lab.kiln(&["diff", &format!("{platform}:/platform-{STAMP}"), &ours]);
    assert_eq!(said.status, 1);
    let has = |line: &str| said.stdout.lines().any(|shown| shown.starts_with(line));
    assert!(has("- /root.password"), "{}", said.stdout);
    assert!(has("! /i86pc/amd64/boot_archive!/etc/issue  content differs"), "{}", said.stdout);
    assert!(has("! /i86pc/amd64/boot_archive.hash  content differs"), "{}", said.stdout);
    assert!(!said.stdout.contains("kernel/amd64/unix"), "{}", said.stdout);

    let raw = as_raw(&lab, &image, "changed");
    write_at(&raw, 300, b"\xcc");
    write_at(&raw, 446, b"\0");
    let said = lab.kiln(&["diff", "--json", text(&image), text(&raw)]);
    assert_eq!(said.status, 1);
    let places: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let places: Vec<&str> = places.iter().filter_map(|difference| difference["path"].as_str()).collect();
    assert_eq!(places, ["partition 1", "boot code in sector 0"]);

    let custom = format!("{}:/custom.tgz", text(&image));
    for (a, b) in [(text(&image), platform.as_str()), (text(&image), "missing"), (&custom, &ours)] {
        let said = lab.kiln(&["diff", a, b]);
        assert_eq!((said.status, said.stdout.as_str()), (3, ""), "{a} {b}: {}", said.stderr);
        assert!(said.stderr.contains("cannot compare"), "{}", said.stderr);
    }
}

#[test]
fn verify_finds_what_is_wrong() {
    let Some((lab, image, manifest)) = lab_with_image() else { return };
    assert_eq!(findings(&lab, &image), [""; 0]);

    let damaged = lab.join("damaged.zvol.gz");
    let mut bytes = fs::read(&image).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&damaged, &bytes).unwrap();
    assert!(findings(&lab, &damaged)[0].starts_with("image: cannot read"));

    let lying = lab.join("lying.manifest");
    let stated = fs::read_to_string(&manifest).unwrap().replace("\"image_size\": ", "\"image_size\": 1");
    fs::write(&lying, stated).unwrap();
    let said = lab.kiln(&["verify", text(&image), "--manifest", text(&lying)]);
    assert_eq!(said.status, 1);
    assert!(said.stdout.contains("WRONG  manifest: image_size is 1"), "{}", said.stdout);

    let raw = as_raw(&lab, &image, "inactive");
    write_at(&raw, 446, b"\0");
    let found = findings(&lab, &raw);
    assert!(found.len() == 1 && found[0].starts_with("partition 1: it is not flagged active"), "{found:?}");

    let archive = find_sector(&raw) * 512;
    write_at(&raw, 446, b"\x80");
    // The count of free inodes in the superblock, which the check adds up itself.
    write_at(&raw, archive + 8192 + 200, b"\x01\0\0\0");
    let found = findings(&lab, &raw);
    assert!(found.iter().any(|text| text.contains("boot_archive.hash: says ")), "{found:?}");
    assert!(found.iter().any(|text| text.contains("boot_archive!: ")), "{found:?}");
}

/// Where `part` begins in a file; it is there once.
fn position_of(file: &Path, part: &[u8]) -> u64 {
    let bytes = fs::read(file).unwrap();
    let finder = bytes.windows(part.len()).enumerate().filter(|(_, window)| *window == part);
    let found: Vec<u64> = finder.map(|(position, _)| position as u64).collect();
    assert_eq!(found.len(), 1);
    found[0]
}

#[test]
fn verify_proves_what_the_guest_runs_and_unpacks() {
    let Some((lab, image, _)) = lab_with_image() else { return };
    let archive = format!("{}:/os/{STAMP}/platform/i86pc/amd64/boot_archive!", text(&image));
    let program =
        lab.command().args(["cat", &format!("{archive}/lib/svc/method/guest-init")]).output().unwrap();
    assert!(program.stdout.starts_with(b"\x7fELF") && program.stdout.len() > 100_000);
    let listed = lab.kiln_ok(&["ls", "-l", &format!("{archive}/lib/svc/method")]);
    for link in ["fs-joyent", "smartdc-config", "smartdc-init", "smartos-setup", "smartos-userscript"] {
        assert!(listed.contains(&format!("{link} -> guest-init")), "{listed}");
    }

    // Behind the headers, in the code, where no file system looks.
    let raw = as_raw(&lab, &image, "other-program");
    flip(&raw, position_of(&raw, &program.stdout[4096..4160]), 1);
    let found = findings(&lab, &raw);
    assert!(found.iter().any(|text| text.contains("/lib/svc/method/guest-init is a file of ")), "{found:?}");

    // The time in the header of the gzip member: it stays sound, but it is not what the boot archive vouches for.
    let raw = as_raw(&lab, &image, "other-custom");
    let custom = lab.command().args(["cat", &format!("{}:/custom.tgz", text(&image))]).output().unwrap();
    flip(&raw, position_of(&raw, &custom.stdout[..64]) + 4, 1);
    let found = findings(&lab, &raw);
    assert!(found.len() == 1 && found[0].contains("the guest would not unpack it"), "{found:?}");
}

/// Inverts the bits of `mask` in one byte.
fn flip(path: &Path, offset: u64, mask: u8) {
    let mut file = File::options().read(true).write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    let mut byte = [0];
    file.read_exact(&mut byte).unwrap();
    write_at(path, offset, &[byte[0] ^ mask]);
}

/// The FAT's first sectors on a disk that kiln has laid out: boot record, FSInfo and the copies of both, then the FATs.
const BOOT_RECORD: u64 = 1 << 20;
const FS_INFO: u64 = BOOT_RECORD + 512;
const BOOT_RECORD_COPY: u64 = BOOT_RECORD + 6 * 512;
const FS_INFO_COPY: u64 = BOOT_RECORD + 7 * 512;
const FAT: u64 = BOOT_RECORD + 32 * 512;

/// What nothing else would notice, and every disk of kiln's own layout has: (byte, bits, what verify says).
const DAMAGE: [(u64, u8, &str); 20] = [
    (0x3E, 0x01, "boot loader: "),
    (446 + 1, 0x01, "partition table: its reserved bytes, unused entries or cylinders"),
    (446 + 16 + 8, 0x01, "partition table: its reserved bytes, unused entries or cylinders"),
    (446 + 13, 0x01, "FAT, boot record: claims"),
    (BOOT_RECORD + 3, 0x20, "FAT, boot record: differs from its copy in sector 6"),
    (
        BOOT_RECORD + 28,
        0x01,
        "FAT, boot record: says that 2049 sectors lie before the volume; there are 2048",
    ),
    (BOOT_RECORD + 50, 0x06, "FAT, boot record: differs from its copy in sector 6"),
    (BOOT_RECORD + 300, 0x80, "FAT, boot record: differs from its copy in sector 6"),
    (FS_INFO, 0x01, "FAT, FSInfo: lacks its signatures"),
    (FS_INFO + 485, 0x01, "FAT, FSInfo: lacks its signatures"),
    (FS_INFO + 511, 0x01, "FAT, FSInfo: lacks its signatures"),
    (FS_INFO + 200, 0x01, "FAT, FSInfo: has bytes other than zero where nothing belongs"),
    (FS_INFO + 488, 0x01, "FAT, FSInfo: counts"),
    (FS_INFO + 493, 0x80, "FAT, FSInfo: names cluster"),
    (FS_INFO + 495, 0x80, "FAT, FSInfo: names a next free cluster that does not exist"),
    (BOOT_RECORD_COPY + 71, 0x01, "FAT, boot record: differs from its copy in sector 6"),
    (FS_INFO_COPY + 484, 0x01, "FAT, copy of FSInfo: lacks its signatures"),
    (FS_INFO_COPY + 488, 0x04, "which was never true"),
    (FS_INFO_COPY + 492, 0x04, "which was never true"),
    (FAT + 7, 0x08, "FAT: "),
];

/// What the built-in loader has on top: its code in both its places, and its table.
const LOADER_DAMAGE: [(u64, u8, &str); 6] = [
    (0x3F, 0x01, "boot loader: bytes 3E and 3F of sector 0 are 03 03 instead of 03 02"),
    (3, 0x01, "boot loader: its code is damaged"),
    (0x1B7, 0x01, "boot loader: its code is damaged"),
    (512 + 1000, 0x10, "boot loader: its code is damaged"),
    (33 * 512, 0x01, "boot loader: its code is damaged"),
    (34 * 512 + 60, 0x01, "boot loader: the boot table is damaged"),
];

fn assert_damage_is_found(lab: &Lab, disk: &Path, damage: &[(u64, u8, &str)]) {
    assert_eq!(findings(lab, disk), [""; 0]);
    for (offset, mask, words) in damage {
        flip(disk, *offset, *mask);
        let found = findings(lab, disk);
        assert!(found.iter().any(|text| text.contains(words)), "byte {offset}: {found:?}");
        flip(disk, *offset, *mask);
    }
    assert_eq!(findings(lab, disk), [""; 0]);
}

#[test]
fn verify_finds_every_damaged_byte_of_the_loader_and_the_fats_sectors() {
    let Some((lab, image, _)) = lab_with_image() else { return };
    let raw = as_raw(&lab, &image, "disk");
    assert_damage_is_found(&lab, &raw, &DAMAGE);
    assert_damage_is_found(&lab, &raw, &LOADER_DAMAGE);

    flip(&raw, 3, 1);
    let page = lab.kiln_ok(&["inspect", "disk"]);
    assert!(page.contains("  boot loader     kiln's built-in loader, with damaged code\n"), "{page}");
    flip(&raw, 3, 1);

    // The volume alone is known by its boot record.
    let volume = lab.join("volume");
    let mut from = File::open(&raw).unwrap();
    from.seek(SeekFrom::Start(BOOT_RECORD)).unwrap();
    std::io::copy(&mut from, &mut File::create(&volume).unwrap()).unwrap();
    flip(&volume, FS_INFO - BOOT_RECORD + 488, 1);
    assert!(findings(&lab, &volume)[0].starts_with("FAT, FSInfo: counts"));
}

#[test]
fn verify_finds_damage_on_a_disk_with_grub_as_well() {
    let Some(lab) = Lab::open() else { return };
    if !Path::new(template::STAGES).join("stage2").exists() {
        assert!(std::env::var_os("KILN_REQUIRE_TOOLS").is_none(), "GRUB legacy is not installed");
        eprintln!("SKIPPED: GRUB legacy is not installed");
        return;
    }
    lab.platform(8192);
    let (image, _) = lab.retro(&["--size", "auto", "--loader", "grub-legacy"]);
    let raw = as_raw(&lab, &image, "disk");
    assert_damage_is_found(&lab, &raw, &DAMAGE);
}

/// The original's template has a total that is too large and no hidden sectors, and nobody minds.
#[test]
fn verify_accepts_the_oddities_of_a_template() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(8192);
    if !template::make(&lab.join("template.img")) {
        return;
    }
    let (image, _) = lab.retro(&["--template", "template.img"]);
    let said = lab.kiln(&["verify", text(&image)]);
    assert_eq!(said.status, 0, "{}", said.stdout);
    for note in [
        "note   FAT, boot record: claims 1953062 sectors in a partition of 1943802",
        "note   FAT, boot record: says that 0 sectors lie before the volume; there are 63",
    ] {
        assert!(said.stdout.contains(note), "{note} is missing in {}", said.stdout);
    }
}

/// What verify finds wrong with an image and a changed manifest.
fn findings_with(lab: &Lab, image: &Path, manifest: &Value) -> Vec<String> {
    fs::write(lab.join("changed.json"), manifest.to_string()).unwrap();
    let said = lab.kiln(&["verify", text(image), "--manifest", "changed.json"]);
    let wrong = said.stdout.lines().filter_map(|line| line.strip_prefix("WRONG  ")).map(str::to_owned);
    let wrong: Vec<String> = wrong.collect();
    assert_eq!(said.status, i32::from(!wrong.is_empty()), "{}", said.stdout);
    wrong
}

#[test]
fn verify_finds_every_disagreement_of_the_manifest() {
    let Some((lab, image, manifest)) = lab_with_image() else { return };
    let good: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let size = fs::metadata(&image).unwrap().len();
    let mib = good["image_size"].as_u64().unwrap();
    assert_eq!(findings_with(&lab, &image, &good), [""; 0]);

    let upper = good["files"][0]["sha1"].as_str().unwrap().to_uppercase();
    let origin = "11111111-2222-3333-4444-555555555555";
    let cases: [(&str, Value, &str); 27] = [
        ("/v", 1.into(), "v: is 1, and the rules are known of version 2 alone; write 2"),
        ("/v", 3.into(), "v: is 3, and the rules are known of version 2 alone; write 2"),
        ("/v", "two".into(), "v: is \"two\", not a whole number; write 2"),
        ("/v", Value::Null, "v: is missing"),
        (
            "/files/0/compression",
            "none".into(),
            "files[0].compression is none in the manifest, but the image has gzip",
        ),
        (
            "/files/0/compression",
            "bzip2".into(),
            "files[0].compression is bzip2 in the manifest, but the image has gzip",
        ),
        (
            "/files/0/compression",
            "xz".into(),
            "files[0].compression is xz in the manifest, but the image has gzip",
        ),
        ("/files/0/compression", "zip".into(), "files: has an entry with the compression \"zip\""),
        ("/files/0/compression", Value::Null, "files: has an entry without compression"),
        ("/files/0/size", (size + 1).into(), "files[0].size is "),
        ("/files/0/size", "all".into(), "files[0].size is all in the manifest, but the image has "),
        ("/files/0/size", 1234.5.into(), "files[0].size is 1234.5 in the manifest"),
        ("/files/0/sha1", "0123456789012345678901234567890123456789".into(), "files[0].sha1 is 0123"),
        ("/files/0/sha1", 7.into(), "files[0].sha1 is 7 in the manifest"),
        ("/files/0/sha1", upper.as_str().into(), "files[0].sha1 is "),
        ("/files/0/dataset_guid", "1".into(), "files[0].dataset_guid is 1 in the manifest"),
        ("/files", serde_json::json!([]), "files: is missing, and imgadm install breaks off half-way"),
        ("/files", Value::Null, "files: is missing, and imgadm install breaks off half-way"),
        ("/image_size", (mib + 1).into(), "but the image has"),
        ("/image_size", "huge".into(), "image_size is huge in the manifest"),
        ("/image_size", Value::Null, "image_size: is missing"),
        ("/disk_driver", Value::Null, "disk_driver: is missing, and every instance must then name it"),
        ("/nic_driver", Value::Null, "nic_driver: is missing"),
        ("/cpu_type", Value::Null, "cpu_type: is missing"),
        ("/type", "zone-dataset".into(), "type is zone-dataset in the manifest, but the image has a volume"),
        ("/type", "other".into(), "type is other in the manifest, but the image has a volume"),
        ("/origin", origin.into(), "but the image has everything and needs none"),
    ];
    for (pointer, value, words) in cases {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let mut changed = good.clone();
        let members = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        // Null stands for a field that is not there.
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.to_owned(), value.clone());
        }
        let found = findings_with(&lab, &image, &changed);
        assert!(found.iter().any(|text| text.contains(words)), "{pointer} {value}: {found:?}");
    }
    // What is written differently and means the same.
    for (pointer, value) in [("/v", "2".into()), ("/image_size", mib.to_string().into())] {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        assert_eq!(findings_with(&lab, &image, &changed), [""; 0], "{pointer}");
    }
}

#[test]
fn verify_compares_the_manifest_with_images_that_are_no_compressed_volume() {
    let Some((lab, image, manifest)) = lab_with_image() else { return };
    let good: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let of = |image: &Path, compression: &str| {
        let bytes = fs::read(image).unwrap();
        let mut manifest = good.clone();
        manifest["files"][0] =
            serde_json::json!({"size": bytes.len(), "sha1": sha1_of(&bytes), "compression": compression});
        manifest
    };
    // The bare disk: ZFS could not receive it.
    let raw = as_raw(&lab, &image, "disk");
    let found = findings_with(&lab, &raw, &of(&raw, "none"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("type is zvol in the manifest, but the image has no ZFS send stream"),
        "{found:?}"
    );

    // The bare stream is received as it stands.
    let stream = lab.join("stream");
    let mut gz = flate2::read::MultiGzDecoder::new(File::open(&image).unwrap());
    std::io::copy(&mut gz, &mut File::create(&stream).unwrap()).unwrap();
    assert_eq!(findings_with(&lab, &stream, &of(&stream, "none")), [""; 0]);
    let found = findings_with(&lab, &stream, &of(&stream, "gzip"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("files[0].compression is gzip in the manifest, but the image has none"),
        "{found:?}"
    );

    // What xz has compressed is known when it is seen, and damage to it is found.
    let foreign = lab.join("foreign");
    fs::write(&foreign, [&b"\xFD7zXZ\0"[..], &[0; 600]].concat()).unwrap();
    let found = findings_with(&lab, &foreign, &of(&foreign, "xz"));
    assert!(found.len() == 1 && found[0].contains("the xz is damaged"), "{found:?}");

    let zone = |image: &Path| {
        let mut manifest = of(image, "none");
        let members = manifest.as_object_mut().unwrap();
        for field in ["nic_driver", "disk_driver", "cpu_type", "image_size"] {
            members.remove(field);
        }
        members.insert("type".to_owned(), "zone-dataset".into());
        manifest
    };
    // These are no zones, and the increment stays within a dataset; here only what the manifest says is of interest.
    let told = |image: &Path, manifest: &Value| -> Vec<String> {
        let found = findings_with(&lab, image, manifest);
        found.into_iter().filter(|finding| finding.starts_with("manifest: ")).collect()
    };
    let full = fixtures::unpack("zstream/fs5-full.zs.gz", lab.path());
    assert_eq!(told(&full, &zone(&full)), [""; 0]);
    let found = told(&full, &of(&full, "none"));
    assert!(found[0].contains("type is zvol in the manifest, but the image has a file system"), "{found:?}");
    let increment = fixtures::unpack("zstream/fs5-inc.zs.gz", lab.path());
    let found = told(&increment, &zone(&increment));
    assert!(found.len() == 1 && found[0].contains("origin is missing in the manifest"), "{found:?}");
    let mut with_origin = zone(&increment);
    with_origin["origin"] = "11111111-2222-3333-4444-555555555555".into();
    assert_eq!(told(&increment, &with_origin), [""; 0]);
}

/// First sector of the boot archive: the one place on the disk behind which a UFS superblock follows.
fn find_sector(disk: &Path) -> u64 {
    let mut file = File::open(disk).unwrap();
    let sectors = file.metadata().unwrap().len() / 512;
    let mut magic = [0; 4];
    let found = (2048..sectors).find(|lba| {
        file.seek(SeekFrom::Start(lba * 512 + 8192 + 1372)).unwrap();
        file.read_exact(&mut magic).is_ok() && magic == 0x0001_1954_u32.to_le_bytes()
    });
    found.expect("the archive is on the disk")
}

#[test]
fn verify_compares_the_loader_and_the_menu_with_the_files() {
    let Some((lab, image, _)) = lab_with_image() else { return };
    let raw = as_raw(&lab, &image, "moved");
    let archive = lab.join("archive");
    let bytes = lab.command().args(["cat", &format!("moved:{AMD64}/boot_archive")]).output().unwrap().stdout;
    fs::write(&archive, bytes).unwrap();
    // Written again, the file lies somewhere else, which only a loader with block lists minds.
    let target = format!("::{AMD64}/boot_archive");
    if !mtools("mren", &raw, &[&target, "old"]) || !mtools("mcopy", &raw, &[text(&archive), &target]) {
        return;
    }
    let found = findings(&lab, &raw);
    assert!(found.iter().all(|text| text.starts_with("block list of 'Live 64-bit")), "{found:?}");
    assert_eq!(found.len(), 3, "{found:?}");

    mtools("mdel", &raw, &[&target]);
    let found = findings(&lab, &raw);
    assert!(found.iter().any(|text| text.starts_with("menu entry 'Live 64-bit'")), "{found:?}");
}

#[test]
fn converted_disks_are_the_same_disk() {
    let Some((lab, image, _)) = lab_with_image() else { return };
    for form in ["raw", "sparse-raw", "qcow2", "zvol.gz"] {
        lab.kiln_ok(&["convert", text(&image), "--to", form, &format!("as.{form}")]);
        let again = lab.kiln(&["convert", text(&image), "--to", form, &format!("as.{form}")]);
        assert_eq!(again.status, 1);
        assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    }
    // The stream keeps its name, time and GUID, so the very image comes back.
    assert!(fs::read(lab.join("as.zvol.gz")).unwrap() == fs::read(&image).unwrap());
    let (raw, sparse) = (lab.join("as.raw"), lab.join("as.sparse-raw"));
    assert!(fs::read(&raw).unwrap() == fs::read(&sparse).unwrap());
    let blocks = |path: &Path| fs::metadata(path).unwrap().blocks();
    // File systems count blocks of their own to a file that lies in many pieces.
    let whole = fs::metadata(&raw).unwrap().len() / 512;
    assert!((whole..whole + whole / 100).contains(&blocks(&raw)), "{} of {whole}", blocks(&raw));
    assert!(blocks(&sparse) < blocks(&raw) / 8);

    for (jobs, name) in [("1", "one.zvol.gz"), ("3", "three.zvol.gz")] {
        lab.kiln_ok(&["convert", text(&raw), "--to", "zvol.gz", name, "--jobs", jobs]);
    }
    assert!(fs::read(lab.join("one.zvol.gz")).unwrap() == fs::read(lab.join("three.zvol.gz")).unwrap());
    assert_eq!(lab.kiln_ok(&["diff", "one.zvol.gz", text(&image)]), "");

    let Some(qemu_img) = tools::require("qemu-img") else { return };
    for arguments in [&["check", "as.qcow2"][..], &["compare", "as.qcow2", "as.raw"]] {
        let output = Command::new(&qemu_img).args(arguments).current_dir(lab.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn authentic_streams_are_expanded_and_shown() {
    let Some(lab) = Lab::open() else { return };
    let stream = fixtures::unpack("zstream/zvol64-sparse.zs.gz", lab.path());
    lab.kiln_ok(&["convert", text(&stream), "--to", "raw", "disk"]);
    let mut sum = Command::new("sha256sum");
    let output = sum.arg("disk").current_dir(lab.path()).output().unwrap();
    let digest = "452905ea69688f164280377e05dc9bdc56266118f1ef031c03619a61a38ccae6";
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(digest));

    // A file system has no volume to show, but files.
    let files = fixtures::unpack("zstream/fs5-full.zs.gz", lab.path());
    let facts = json(&lab.kiln(&["inspect", "--json", text(&files)]));
    assert_eq!(facts["contents"], "ZFS file system");
    assert_eq!(facts["stream"]["volume_size"], Value::Null);
    assert!(facts["stream"]["name"].as_str().unwrap().contains('@'));
    assert_eq!(findings(&lab, &files), [""; 0]);
    assert_eq!(lab.kiln(&["ls", text(&files)]).status, 0);
    assert_eq!(lab.kiln(&["convert", text(&files), "--to", "raw", "no"]).status, 1);
    assert!(!lab.join("no").exists());
}

#[test]
fn what_is_no_image_gets_an_error_and_never_a_panic() {
    let Some((lab, image, _)) = lab_with_image() else { return };
    let raw = as_raw(&lab, &image, "disk");
    let whole = fs::read(&image).unwrap();
    fs::write(lab.join("half.zvol.gz"), &whole[..whole.len() / 2]).unwrap();
    fs::write(lab.join("empty"), "").unwrap();
    fs::write(lab.join("text"), "hello\n").unwrap();
    let mut head = vec![0; 1 << 20];
    File::open(&raw).unwrap().read_exact(&mut head).unwrap();
    fs::write(lab.join("only-the-table"), &head).unwrap();
    let mut archive = fixtures::read("ufs/empty8m.img.gz");
    archive.truncate(20_000);
    fs::write(lab.join("cut-archive"), &archive).unwrap();
    let mut tar = vec![0; 512];
    tar[..4].copy_from_slice(b"name");
    tar[124..135].copy_from_slice(b"77777777777");
    let sum: u32 = tar.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    fs::write(lab.join("greedy.tar"), &tar).unwrap();

    for name in
        ["half.zvol.gz", "empty", "text", "only-the-table", "cut-archive", "greedy.tar", "missing", "."]
    {
        for command in
            [&["ls", "-lR"][..], &["cat"], &["verify"], &["inspect"], &["convert", "--to", "qcow2"]]
        {
            let mut arguments = command.to_vec();
            arguments.push(name);
            if command[0] == "convert" {
                arguments.push("out");
            }
            let said = lab.kiln(&arguments);
            assert!(
                (0..=1).contains(&said.status),
                "{arguments:?} ended with {}: {}",
                said.status,
                said.stderr
            );
            assert!(!said.stderr.contains("panicked"), "{arguments:?}: {}", said.stderr);
            // A table of partitions or a superblock is what convert knows a disk by; inspect tells of everything.
            let tolerated = match command[0] {
                "inspect" => true,
                "convert" => ["only-the-table", "cut-archive"].contains(&name),
                _ => false,
            };
            assert!(tolerated || said.status == 1, "{arguments:?} succeeded: {}", said.stdout);
            let _ = fs::remove_file(lab.join("out"));
        }
        assert_eq!(lab.kiln(&["diff", name, text(&raw)]).status, 3, "{name}");
    }
    let (image, missing) = (text(&image), "missing");
    for arguments in [
        &["verify", missing][..],
        &["verify", image, "--manifest", missing],
        &["inspect", missing],
        &["inspect", image, "--manifest", missing],
        &["convert", missing, "--to", "raw", "out"],
        &["convert", "text", "--to", "raw", "out"],
    ] {
        let said = lab.kiln(arguments);
        assert_eq!(said.status, 1, "{arguments:?}");
        assert!(said.stderr.contains("\nhint: "), "{arguments:?}: {}", said.stderr);
    }
}
