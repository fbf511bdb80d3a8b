//! Images that are not as they should be.

use kiln_e2e::Lab;
use kiln_zstream::record::ObjsetType;
use kiln_zstream::writer::BeginOptions;
use kiln_zstream::{Features, StreamWriter};

use super::make::{self, put, zone};

/// Runs every command on an image that is bad, and holds that each says so and leaves nothing.
fn refused(lab: &Lab, image: &str, words: &str) {
    let before = lab.names("");
    let whole = format!("{image}:/root/etc/passwd");
    let commands: [&[&str]; 8] = [
        &["inspect", image],
        &["ls", image],
        &["cat", &whole],
        &["diff", image, "good.zfs"],
        &["verify", image],
        &["convert", image, "--to", "tar", "out"],
        &["convert", image, "--to", "dir", "out"],
        &["convert", image, "--to", "mtree", "out"],
    ];
    for command in commands {
        let said = lab.kiln(command);
        let status = if command[0] == "diff" { 3 } else { 1 };
        assert_eq!(said.status, status, "{command:?}: {}{}", said.stdout, said.stderr);
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(all.contains(words), "{command:?}: {words} is missing from {all}");
        if command[0] != "verify" {
            assert!(said.stderr.contains("hint: "), "{command:?}: {}", said.stderr);
        }
        assert_eq!(lab.names(""), before, "{command:?}");
    }
}

#[test]
fn damaged_images_are_refused_by_every_command() {
    let Some(lab) = Lab::open() else { return };
    let good = make::full(&zone(), 77);
    put(&lab, "good.zfs", &good);
    let middle = good.len() / 2;
    put(&lab, "bad", &good[..middle]);
    refused(&lab, "bad", "ends before its END record");
    let mut corrupt = good.clone();
    corrupt[middle] ^= 1;
    put(&lab, "bad", corrupt);
    refused(&lab, "bad", "checksum");
    put(&lab, "bad", [&good[..], b"and more"].concat());
    refused(&lab, "bad", "follow");
    // The feature bits are those above the lowest two of the word at byte 16; 24 is that of encrypted blocks.
    let mut raw = good.clone();
    raw[16 + 3] |= 1 << 2;
    put(&lab, "bad", raw);
    refused(&lab, "bad", "encrypted");
    let mut unknown = good;
    unknown[16 + 2] |= 1 << 4;
    put(&lab, "bad", unknown);
    refused(&lab, "bad", "features that are not known here (bit 18)");
}

#[test]
fn a_file_system_that_cannot_be_mounted_is_found() {
    let Some(lab) = Lab::open() else { return };
    // A stream without a fault that holds not a single object.
    let options = BeginOptions {
        to_name: "zones/image@final".into(),
        to_guid: 77,
        creation_time: 0,
        objset_type: ObjsetType::FileSystem,
        features: Features::default(),
        from_guid: 0,
    };
    let (empty, _) = StreamWriter::begin(Vec::new(), &options).unwrap().end().unwrap();
    put(&lab, "empty.zfs", empty);
    let finding = "object 1: it is not there (cannot be mounted)";
    let said = lab.kiln(&["verify", "empty.zfs"]);
    assert_eq!(said.status, 1);
    assert!(said.stdout.contains(&format!("WRONG  file system: {finding}")), "{}", said.stdout);
    let page = lab.kiln_ok(&["inspect", "empty.zfs"]);
    assert!(page.contains("  defects         FOUND\n") && page.contains(finding), "{page}");
    let said = lab.kiln(&["ls", "empty.zfs"]);
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("the file system in the stream is damaged"), "{}", said.stderr);
}
