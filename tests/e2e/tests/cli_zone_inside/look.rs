//! Full images: what is in them, and whether it is right.

use kiln_e2e::listing::hex;
use std::fs;
use std::process::{Command, Stdio};

use kiln_e2e::Lab;
use kiln_harness::{fixtures, tools};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::make::{self, FULL, digests, json as object, lines, listed, put, text, zone};

/// Holds what `kiln ls -R --json` says against the list of the fixture.
fn assert_listed(stdout: &str) {
    let shown = lines(stdout);
    let listed = listed();
    assert_eq!(shown.len(), listed.len());
    for entry in &shown {
        let expected = &listed[entry["path"].as_str().unwrap()];
        let (kind, size) = match expected.kind {
            'd' => ("directory", expected.size),
            'f' => ("file", expected.size),
            'l' => ("symlink", expected.size),
            'p' => ("fifo", 0),
            'c' => ("character device", 0),
            other => panic!("the list has a thing of kind {other}"),
        };
        assert_eq!(entry["kind"], kind, "{expected:?}");
        assert_eq!(entry["size"], size, "{expected:?}");
        assert_eq!(entry["mode"], format!("{:04o}", expected.mode), "{expected:?}");
        assert_eq!(
            (&entry["uid"], &entry["gid"]),
            (&json!(expected.uid), &json!(expected.gid)),
            "{expected:?}"
        );
        if kind == "symlink" {
            assert_eq!(entry["target"], expected.target.as_str());
        }
        if kind != "directory" {
            assert_eq!(entry["links"], expected.links, "{expected:?}");
        }
    }
    assert!(shown.iter().any(|entry| !entry["extended"].as_object().unwrap().is_empty()));
}

#[test]
fn an_image_of_real_zfs_lists_as_it_did_where_it_was_made() {
    let Some(lab) = Lab::open() else { return };
    let plain = fixtures::unpack(FULL, lab.path());
    fs::copy(fixtures::path(FULL), lab.join("gzip")).unwrap();
    for program in ["bzip2", "xz"] {
        let Some(found) = tools::require(program) else { continue };
        let input = fs::File::open(&plain).unwrap();
        let output = Command::new(found).arg("-c").stdin(input).stdout(Stdio::piped()).output().unwrap();
        put(&lab, program, output.stdout);
    }
    for name in ["fs5-full.zs", "gzip", "bzip2", "xz"] {
        if lab.join(name).exists() {
            assert_listed(&lab.kiln_ok(&["ls", "-R", "--json", name]));
            let facts = object(&lab.kiln(&["inspect", "--json", name]));
            let compression = if name == "fs5-full.zs" { "none" } else { name };
            assert_eq!(facts["file"]["compression"], compression);
        }
    }
}

#[test]
fn contents_are_those_that_were_sent() {
    let Some(lab) = Lab::open() else { return };
    let image = fixtures::path(FULL);
    lab.kiln_ok(&["convert", text(&image), "--to", "mtree", "list"]);
    let list = fs::read_to_string(lab.join("list")).unwrap();
    let digests = digests();
    let mut found = 0;
    for line in list.lines().filter(|line| line.contains(" type=file ")) {
        let path = line.split(' ').next().unwrap().strip_prefix('.').unwrap();
        let digest = line.split(' ').find_map(|word| word.strip_prefix("sha256digest=")).unwrap();
        assert_eq!(digest, digests[path], "{path}");
        found += 1;
    }
    assert_eq!(found, digests.len());

    let largest =
        listed().into_values().filter(|listed| listed.kind == 'f').max_by_key(|listed| listed.size).unwrap();
    let bytes =
        lab.command().args(["cat", &format!("{}:{}", text(&image), largest.path)]).output().unwrap().stdout;
    assert_eq!(bytes.len() as u64, largest.size);
    let digest = hex(&sha2::Sha256::digest(&bytes));
    assert_eq!(digest, digests[&largest.path]);
}

#[test]
fn long_listings_tell_of_names_devices_and_attributes() {
    let Some(lab) = Lab::open() else { return };
    put(&lab, "zone.zfs", make::full(&zone(), 77));
    let listing = lab.kiln_ok(&["ls", "-l", "zone.zfs:/root/odd"]);
    let line = |name: &str| {
        let line = listing.lines().find(|line| line.contains(&format!(" {name}")));
        line.unwrap_or_else(|| panic!("{name} is not in\n{listing}")).split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(line("first")[..6], ["-rw-r--r--@", "2", "0", "0", "12", "2014-05-13T16:53:20Z"]);
    assert_eq!(line("device")[..6], ["crw-rw-rw-", "1", "0", "3", "13,", "3000000"]);
    assert_eq!(line("su")[..4], ["-rwsr-xr-x", "1", "3000000", "0"]);
    assert_eq!(line("out").last(), Some(&"/etc/passwd"));
    let names = lab.kiln_ok(&["ls", "zone.zfs:/root/odd"]);
    assert!(names.contains("bytes \\xff\\n#=*\\\\"), "{names}");
    let said = lab.kiln_ok(&["ls", "--json", "zone.zfs:/root/second"]);
    assert_eq!(lines(&said)[0]["extended"], json!({ "user.note=%": 9 }));
    assert_eq!(lab.kiln_ok(&["cat", "zone.zfs:/root/etc/group"]), "root::0:\n");
}

#[test]
fn inspect_tells_what_an_image_is() {
    let Some(lab) = Lab::open() else { return };
    let stream = make::full(&zone(), 77);
    let image = put(&lab, "zone.zfs", &stream);
    let facts = object(&lab.kiln(&["inspect", "--json", text(&image)]));
    let told = &facts["stream"];
    assert_eq!(told["name"], "zones/image@final");
    assert_eq!((&told["guid"], &told["from_guid"]), (&json!("77"), &Value::Null));
    assert_eq!((&told["created"], &told["snapshots"]), (&json!("2017-07-14T02:40:00Z"), &json!(1)));
    assert_eq!(told["stream_bytes"], stream.len());
    let system = &facts["dataset"];
    assert_eq!((&system["zpl_version"], &system["has_root_folder"]), (&json!(5), &json!(true)));
    assert_eq!(system["product"], "base-64 22.4.0");
    for (fact, count) in [
        ("files", 12),
        ("directories", 8),
        ("symlinks", 2),
        ("specials", 2),
        ("further_names", 1),
        ("with_attributes", 1),
    ] {
        assert_eq!(system[fact], count, "{fact}");
    }
    // Blocks of 128 KiB: the file with holes has two, and the other none.
    assert_eq!(system["hole_bytes"], (1 << 20) - 2 * (128 << 10) + 500_000);
    assert_eq!((&system["findings"], &facts["problems"]), (&json!([]), &json!([])));
    let page = lab.kiln_ok(&["inspect", text(&image)]);
    for line in [
        "  contents        ZFS file system in a ZFS send stream\n",
        "  zone            the folder root\n",
        "  defects         none\n",
    ] {
        assert!(page.contains(line), "{line} is missing from\n{page}");
    }
}

/// The manifest of an image.
fn manifest(image: &[u8], changes: &Value) -> String {
    let sha1 = hex(&Sha1::digest(image));
    let mut manifest = json!({
        "v": 2,
        "uuid": "0a3a3a3a-1111-4222-8333-444444444444",
        "name": "zone",
        "version": "1.0.0",
        "type": "zone-dataset",
        "os": "smartos",
        "files": [{ "sha1": sha1, "size": image.len(), "compression": "none", "dataset_guid": "77" }],
    });
    for (pointer, value) in changes.as_object().unwrap() {
        match manifest.pointer_mut(pointer) {
            Some(there) => *there = value.clone(),
            None => manifest[pointer.trim_start_matches('/')] = value.clone(),
        }
    }
    manifest.to_string()
}

/// What verify finds wrong.
fn findings(lab: &Lab, arguments: &[&str]) -> Vec<String> {
    let said = lab.kiln(&[&["verify", "--json"], arguments].concat());
    let report = object(&said);
    let text = |finding: &Value| {
        format!("{}: {}", finding["place"].as_str().unwrap(), finding["text"].as_str().unwrap())
    };
    let findings: Vec<String> = report["findings"].as_array().unwrap().iter().map(text).collect();
    assert_eq!(said.status, i32::from(!findings.is_empty()), "{findings:?}");
    findings
}

#[test]
fn verify_holds_the_manifest_against_the_image() {
    let Some(lab) = Lab::open() else { return };
    let stream = make::full(&zone(), 77);
    put(&lab, "zone.zfs", &stream);
    put(&lab, "zone.json", manifest(&stream, &json!({})));
    assert_eq!(findings(&lab, &["zone.zfs"]), [""; 0]);
    let page = lab.kiln_ok(&["verify", "zone.zfs"]);
    for passed in [
        "file system: version 5, without defects",
        "what a zone of brand joyent needs to boot is there",
        "agrees with the image",
    ] {
        assert!(page.contains(passed), "{passed} is missing from\n{page}");
    }
    for (changes, expected) in [
        (
            json!({ "/type": "zvol" }),
            "manifest: type is zvol in the manifest, but the image has a file system",
        ),
        (
            json!({ "/origin": "0a3a3a3a-1111-4222-8333-444444444445" }),
            "but the image has everything and needs none",
        ),
        (
            json!({ "/files/0/dataset_guid": "78" }),
            "files[0].dataset_guid is 78 in the manifest, but the image has 77",
        ),
        (json!({ "/files/0/size": 5 }), "files[0].size is 5 in the manifest"),
        (
            json!({ "/files/0/compression": "bzip2" }),
            "files[0].compression is bzip2 in the manifest, but the image has none",
        ),
    ] {
        put(&lab, "lies", manifest(&stream, &changes));
        let found = findings(&lab, &["zone.zfs", "--manifest", "lies"]);
        assert!(found.iter().any(|finding| finding.contains(expected)), "{changes}: {found:?}");
    }
}

#[test]
fn verify_knows_what_zones_need() {
    let Some(lab) = Lab::open() else { return };
    // What ZFS sends of a file system that is no zone's is sound, and no image of a zone.
    let bare = fixtures::unpack(FULL, lab.path());
    let said = lab.kiln(&["verify", text(&bare)]);
    assert_eq!(said.status, 0, "{}", said.stdout);
    assert!(said.stdout.contains("note   zone: there is no folder root in the dataset"), "{}", said.stdout);
    let stream = fs::read(&bare).unwrap();
    put(&lab, "fs5-full.zs.json", manifest(&stream, &json!({})));
    let found = findings(&lab, &["fs5-full.zs"]);
    assert!(found.iter().any(|finding| finding.starts_with("zone: there is no folder root")), "{found:?}");

    let mut tree = zone();
    let root = tree.find([&b"root"[..]]).unwrap();
    let etc = tree.find([&b"root"[..], b"etc"]).unwrap();
    let svc = tree.find([&b"root"[..], b"etc", b"svc"]).unwrap();
    tree.remove(svc, b"repository.db");
    tree.remove(etc, b"shadow");
    let top = tree.root();
    make::folder(&mut tree, top, "cores", 0o700);
    assert!(tree.find([&b"root"[..]]) == Some(root));
    put(&lab, "unbootable.zfs", make::full(&tree, 5));
    let page = lab.kiln_ok(&["verify", "unbootable.zfs"]);
    for note in [
        "without /etc/svc/repository.db a zone of brand joyent does not boot",
        "without /etc/shadow nobody can log in",
        ": cores\n",
    ] {
        assert!(page.contains(note), "{note} is missing from\n{page}");
    }
}

#[test]
fn diff_finds_every_kind_of_difference() {
    let Some(lab) = Lab::open() else { return };
    let mut tree = zone();
    put(&lab, "a.zfs", make::full(&tree, 1));
    let at = |tree: &kiln_zstream::fs::Tree, path: &str| {
        tree.find(path.split('/').map(str::as_bytes)).unwrap_or_else(|| panic!("{path}"))
    };
    let odd = at(&tree, "root/odd");
    let root = at(&tree, "root");
    let (su, first, old) = (at(&tree, "root/odd/su"), at(&tree, "root/odd/first"), at(&tree, "root/odd/old"));
    tree.attributes_mut(su).permissions = 0o755;
    tree.attributes_mut(old).uid = 9;
    tree.extended_mut(first).insert(b"user.note=%".to_vec(), std::sync::Arc::new(b"other".to_vec()));
    tree.remove(root, b"second");
    tree.remove(odd, b"link");
    let any = make::attributes(0o777, 0, 0);
    tree.remove(odd, b"out");
    tree.add(odd, b"out", any, kiln_zstream::fs::tree::Kind::Symlink(b"elsewhere".to_vec())).unwrap();
    make::file(&mut tree, root, b"new", 0o644, b"");
    tree.remove(odd, b"hole");
    make::file(&mut tree, odd, b"hole", 0o644, &[vec![0; 499_999], vec![1]].concat());
    put(&lab, "b.zfs", make::full(&tree, 2));
    let said = lab.kiln(&["diff", "a.zfs", "b.zfs"]);
    assert_eq!(said.status, 1);
    let mut shown: Vec<&str> = said.stdout.lines().collect();
    shown.sort_unstable();
    assert_eq!(
        shown,
        [
            "! /root/odd/first  names: 2 -> 1",
            "! /root/odd/first  the extended attribute user.note=% has other contents",
            "! /root/odd/hole  content differs from byte 499999 on",
            "! /root/odd/old  owner: 0:0 -> 9:0",
            "! /root/odd/out  target: /etc/passwd -> elsewhere",
            "! /root/odd/su  mode: 4755 -> 0755",
            "+ /root/new  (file, only in B)",
            "- /root/odd/link  (symlink, only in A)",
            "- /root/second  (file, only in A)",
        ]
    );
    assert_eq!(lab.kiln(&["diff", "a.zfs", "a.zfs"]).status, 0);
}
