//! Incremental images and what they go on top of.

use kiln_e2e::Lab;
use kiln_e2e::listing::hex;
use kiln_harness::fixtures;
use serde_json::json;
use sha1::{Digest as _, Sha1};

use super::make::{self, FULL, INCREMENT, json as object, put, text, zone};

/// Three images, each on the one before: with the file `step` of contents 1, 2 and 3.
fn chain(lab: &Lab) {
    let mut tree = zone();
    let root = tree.find([&b"root"[..]]).unwrap();
    let mut streams: Vec<Vec<u8>> = Vec::new();
    for step in 1..=3_u64 {
        tree.remove(root, b"step");
        make::file(&mut tree, root, b"step", 0o644, step.to_string().as_bytes());
        let before: Vec<&[u8]> = streams.iter().map(Vec::as_slice).collect();
        let guid = 1000 + step;
        let stream = if step == 1 { make::full(&tree, guid) } else { make::increment(&before, &tree, guid) };
        put(lab, &format!("{step}.zfs"), &stream);
        streams.push(stream);
    }
    put(lab, "whole.zfs", make::full(&tree, 9));
}

#[test]
fn an_incremental_image_is_whole_on_its_origins_in_any_order() {
    let Some(lab) = Lab::open() else { return };
    chain(&lab);
    let on = |order: [&str; 2], rest: &[&str]| {
        let origins = ["--origin", order[0], "--origin", order[1]];
        lab.kiln_ok(&[rest, &origins].concat())
    };
    for order in [["1.zfs", "2.zfs"], ["2.zfs", "1.zfs"]] {
        assert_eq!(on(order, &["cat", "3.zfs:/root/step"]), "3");
        assert_eq!(on(order, &["diff", "3.zfs", "whole.zfs"]), "");
        let facts =
            object(&lab.kiln(&["inspect", "--json", "3.zfs", "--origin", order[0], "--origin", order[1]]));
        let origins = &facts["dataset"]["origins"];
        assert_eq!(
            origins,
            &json!([{ "path": "1.zfs", "guid": "1001" }, { "path": "2.zfs", "guid": "1002" }])
        );
        assert_eq!(facts["dataset"]["clone"], true);
        assert_eq!(
            (&facts["stream"]["guid"], &facts["stream"]["from_guid"]),
            (&json!("1003"), &json!("1002"))
        );
        let page = on(order, &["verify", "3.zfs"]);
        assert!(page.contains("origin: 2.zfs has the GUID that is needed, 1002"), "{page}");
    }
    // An origin that an image does not need does no harm.
    assert_eq!(lab.kiln_ok(&["cat", "1.zfs:/root/step", "--origin", "3.zfs"]), "1");
    assert_eq!(lab.kiln(&["diff", "1.zfs", "2.zfs", "--origin", "1.zfs"]).status, 1);
    for form in ["tar", "mtree", "dir"] {
        on(["2.zfs", "1.zfs"], &["convert", "3.zfs", "--to", form, &format!("out.{form}")]);
        lab.kiln_ok(&["convert", "whole.zfs", "--to", form, &format!("whole.{form}")]);
    }
    assert!(std::fs::read(lab.join("out.tar")).unwrap() == std::fs::read(lab.join("whole.tar")).unwrap());
    assert_eq!(std::fs::read_to_string(lab.join("out.dir/root/step")).unwrap(), "3");
}

#[test]
fn what_is_missing_under_an_image_is_told() {
    let Some(lab) = Lab::open() else { return };
    chain(&lab);
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &["the stream is incremental and goes on top of the snapshot with GUID 1002"]),
        (&["--origin", "1.zfs"], &["GUID 1002", "1.zfs is that with GUID 1001"]),
        (&["--origin", "whole.zfs"], &["GUID 1002", "whole.zfs is that with GUID 9"]),
        (
            &["--origin", "2.zfs"],
            &["the origin 2.zfs is incremental and goes on top of the snapshot with GUID 1001"],
        ),
    ];
    for (origins, words) in cases {
        let commands: [&[&str]; 5] = [
            &["ls", "3.zfs"],
            &["cat", "3.zfs:/root/step"],
            &["diff", "3.zfs", "whole.zfs"],
            &["convert", "3.zfs", "--to", "tar", "out"],
            &["convert", "3.zfs", "--to", "dir", "out"],
        ];
        for command in commands {
            let said = lab.kiln(&[command, origins].concat());
            assert_eq!(said.status, if command[0] == "diff" { 3 } else { 1 }, "{command:?} {}", said.stderr);
            for word in words {
                assert!(said.stderr.contains(word), "{command:?} {origins:?}: {}", said.stderr);
            }
            assert!(said.stderr.contains("--origin FILE"), "{}", said.stderr);
        }
        let said = lab.kiln(&[&["verify", "3.zfs"], origins].concat());
        assert_eq!(said.status, 1);
        assert!(words.iter().all(|word| said.stdout.contains(word)), "{}", said.stdout);
    }
    assert_eq!(lab.names(""), ["1.zfs", "2.zfs", "3.zfs", "whole.zfs"]);

    // Without an origin it still is known what it is.
    let facts = object(&lab.kiln(&["inspect", "--json", "3.zfs"]));
    assert_eq!(
        (&facts["stream"]["of"], &facts["stream"]["from_guid"]),
        (&json!("file system"), &json!("1002"))
    );
    assert_eq!(facts["dataset"], json!(null));
    let page = lab.kiln_ok(&["inspect", "3.zfs"]);
    assert!(page.contains("incremental: name what is under it with --origin IMAGE"), "{page}");
    let said = lab.kiln(&["inspect", "3.zfs", "--origin", "1.zfs"]);
    assert_eq!(said.status, 1);
    assert!(said.stderr.contains("1.zfs is that with GUID 1001"), "{}", said.stderr);
}

#[test]
fn the_increments_of_real_zfs_are_read() {
    let Some(lab) = Lab::open() else { return };
    for (full, increment) in
        [(FULL, INCREMENT), ("zstream/fuse-fs4-full.zs.gz", "zstream/fuse-fs4-inc.zs.gz")]
    {
        let (full, increment) = (fixtures::path(full), fixtures::path(increment));
        let on = ["--origin", text(&full)];
        let said = lab.kiln(&[&["diff", text(&full), text(&increment)][..], &on].concat());
        assert_eq!(said.status, 1, "{}", said.stderr);
        for mark in ["+ ", "- ", "! "] {
            assert!(said.stdout.lines().any(|line| line.starts_with(mark)), "{}", said.stdout);
        }
        // It goes on within a dataset; an image has to be a clone.
        let said = lab.kiln(&[&["verify", text(&increment)][..], &on].concat());
        assert_eq!(said.status, 1, "{}", said.stdout);
        assert!(
            said.stdout.contains("WRONG  stream: it is an increment within one dataset"),
            "{}",
            said.stdout
        );
        assert_eq!(said.stdout.matches("WRONG").count(), 1, "{}", said.stdout);
    }
}

#[test]
fn the_manifest_of_the_origin_is_the_one_that_is_meant() {
    let Some(lab) = Lab::open() else { return };
    chain(&lab);
    let uuid = |digit: u8| format!("0a3a3a3a-1111-4222-8333-44444444444{digit}");
    let manifest = |step: u8, origin: Option<String>| {
        let image = std::fs::read(lab.join(format!("{step}.zfs"))).unwrap();
        let file = json!({ "size": image.len(), "sha1": hex(&Sha1::digest(&image)), "compression": "none" });
        let mut manifest = json!({
            "v": 2, "uuid": uuid(step), "name": "zone", "version": "1", "type": "zone-dataset", "os": "smartos",
            "files": [file],
        });
        if let Some(origin) = origin {
            manifest["origin"] = origin.into();
        }
        put(&lab, &format!("{step}.json"), manifest.to_string());
    };
    manifest(1, None);
    manifest(2, Some(uuid(1)));
    let said = lab.kiln(&["verify", "2.zfs", "--origin", "1.zfs"]);
    assert_eq!(said.status, 0, "{}{}", said.stdout, said.stderr);
    manifest(2, Some(uuid(7)));
    let said = lab.kiln(&["verify", "2.zfs", "--origin", "1.zfs"]);
    assert_eq!(said.status, 1);
    assert!(
        said.stdout.contains(&format!(
            "origin is {} in the manifest, but the image has {}",
            uuid(7),
            uuid(1)
        )),
        "{}",
        said.stdout
    );
    manifest(2, None);
    let said = lab.kiln(&["verify", "2.zfs", "--origin", "1.zfs"]);
    assert!(said.stdout.contains("origin is missing in the manifest"), "{}", said.stdout);
}
