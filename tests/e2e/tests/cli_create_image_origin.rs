//! `kiln create-image` on top of other images.

use std::fs;

use kiln_e2e::{Lab, zone};
use serde_json::{Value, json};

/// A lab with the image `base-64-1` of the folder `proto`, whose `etc` has changed since.
fn lab() -> Option<Lab> {
    let lab = Lab::open()?;
    zone::folder(&lab.join("proto"));
    lab.kiln_ok(&[
        "create-image",
        "base-64-1",
        "--root",
        "proto",
        "--output",
        "images",
        "users=[{\"name\": \"root\"}]",
    ]);
    change(&lab, 1);
    Some(lab)
}

/// Changes what a version of the zone has.
fn change(lab: &Lab, version: i64) {
    let path = |name: &str| lab.join("proto").join(name);
    fs::write(path("etc/motd"), format!("version {version}\n")).unwrap();
    fs::write(path("usr/share/new"), vec![version as u8; 200_000]).unwrap();
    let mut large = fs::read(path("usr/share/large")).unwrap();
    large[500_000] ^= version as u8;
    fs::write(path("usr/share/large"), large).unwrap();
    if version == 1 {
        fs::remove_file(path("var/pipe")).unwrap();
        fs::rename(path("var/empty"), path("var/full")).unwrap();
        fs::rename(path("etc/inittab"), path("var/full/inittab")).unwrap();
        fs::remove_file(path("bin")).unwrap();
        fs::create_dir(path("bin")).unwrap();
    }
    zone::date(&lab.join("proto"), zone::TIME + 100 * version);
}

#[test]
fn an_increment_gives_the_tree_of_a_full_image() {
    let Some(lab) = lab() else { return };
    let base = zone::manifest(&lab.join("images/base-64-1.json"));
    let create = |name: &str, words: &[&str]| {
        lab.kiln_ok(&[&["create-image", name, "--root", "proto", "description=", "--json"], words].concat())
    };
    create("full-1", &[]);
    let said = create("web-1", &["--origin", "images/base-64-1.zfs.gz", "-i"]);
    let summary: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(summary["origin"], base["uuid"]);
    assert_eq!(summary["origin_guid"], base["files"][0]["dataset_guid"]);
    let about = zone::manifest(&lab.join("output/web-1.json"));
    assert_eq!((&about["origin"], &about["users"]), (&base["uuid"], &json!([{ "name": "root" }])));

    let images =
        ["images/base-64-1.zfs.gz", "output/web-1.zfs.gz", "output/full-1.zfs.gz"].map(|path| lab.join(path));
    let increment = zone::read(&[&images[0], &images[1]]);
    let info = increment.objects.info().unwrap();
    assert!(info.clone && info.from_guid.to_string() == base["files"][0]["dataset_guid"].as_str().unwrap());
    assert_eq!(zone::listing(&increment), zone::listing(&zone::read(&[&images[2]])));
    // Of the large file no more than the block that changed.
    assert!(info.stream_bytes < 500_000, "{}", info.stream_bytes);

    // By its UUID, from the folder of images, and from that of the output; the bytes are the same.
    let uuid = base["uuid"].as_str().unwrap();
    create("web-1", &["--origin", uuid, "--images", "images", "--output", "by-uuid"]);
    assert_eq!(fs::read(&images[1]).unwrap(), fs::read(lab.join("by-uuid/web-1.zfs.gz")).unwrap());
    create("web-2", &["--origin", uuid, "--output", "images"]);

    // All of it although there is an origin, which hands down what it has.
    create("web-1", &["--origin", "images/base-64-1.zfs.gz", "--full", "--output", "alone"]);
    let about = zone::manifest(&lab.join("alone/web-1.json"));
    assert_eq!((&about["origin"], &about["users"]), (&Value::Null, &json!([{ "name": "root" }])));
    let alone = zone::read(&[&lab.join("alone/web-1.zfs.gz")]);
    assert_eq!(zone::listing(&alone), zone::listing(&increment));
}

#[test]
fn images_on_top_of_each_other_are_found_by_their_manifests() {
    let Some(lab) = lab() else { return };
    let create = |name: &str, words: &[&str]| {
        lab.kiln(
            &[&["create-image", name, "--root", "proto", "description=", "--output", "images"], words]
                .concat(),
        )
    };
    assert_eq!(
        create("web-1", &["--origin", "images/base-64-1.zfs.gz", "-c", "xz", "--level", "0"]).status,
        0
    );
    change(&lab, 2);
    let said = create("web-2", &["--origin", "images/web-1.zfs.xz", "--max-origin-depth", "2"]);
    assert_eq!(said.status, 0, "{}", said.stderr);
    let chain =
        ["base-64-1.zfs.gz", "web-1.zfs.xz", "web-2.zfs.gz"].map(|name| lab.join("images").join(name));
    let top = zone::read(&[&chain[0], &chain[1], &chain[2]]);
    assert!(create("full-2", &[]).status == 0);
    assert_eq!(zone::listing(&top), zone::listing(&zone::read(&[&lab.join("images/full-2.zfs.gz")])));

    change(&lab, 3);
    let said = create("web-3", &["--origin", "images/web-2.zfs.gz", "--max-origin-depth", "2"]);
    assert_eq!(said.status, 1);
    assert!(
        said.stderr.contains("3 images would be under this one") && said.stderr.contains("--full"),
        "{}",
        said.stderr
    );

    // An increment as the source: what it is on top of is needed, and it is made anew on that, or whole.
    let stream = |name: &str, words: &[&str]| {
        let words =
            [&["create-image", name, "--stream", "images/web-2.zfs.gz", "description="], words].concat();
        lab.kiln(&words)
    };
    let said = stream("again-1", &[]);
    assert!(said.status == 1 && said.stderr.contains("--origin FILE"), "{}", said.stderr);
    let origin = ["--origin", "images/web-1.zfs.xz"];
    assert_eq!(stream("again-1", &origin).status, 0);
    let again = zone::read(&[&chain[0], &chain[1], &lab.join("output/again-1.zfs.gz")]);
    assert_eq!(zone::listing(&again), zone::listing(&top));
    assert_eq!(stream("again-2", &[&origin[..], &["--full"]].concat()).status, 0);
    let whole = zone::read(&[&lab.join("output/again-2.zfs.gz")]);
    assert_eq!(zone::listing(&whole), zone::listing(&top));

    // Without manifests all files have to be named, and the UUID given.
    for name in ["web-1", "base-64-1"] {
        fs::remove_file(lab.join("images").join(format!("{name}.json"))).unwrap();
    }
    let said = create("web-4", &["--origin", "images/web-1.zfs.xz"]);
    assert!(said.status == 1 && said.stderr.contains("--origin LOWER --origin UPPER"), "{}", said.stderr);
    let both = ["--origin", "images/base-64-1.zfs.gz", "--origin", "images/web-1.zfs.xz"];
    let said = create("web-4", &both);
    assert!(said.status == 2 && said.stderr.contains("origin=UUID"), "{}", said.stderr);
    let uuid = "origin=6a1b9c3e-0000-4000-8000-00000000000a";
    let said = create("web-4", &[&both[..], &[uuid]].concat());
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert_eq!(zone::manifest(&lab.join("images/web-4.json"))["origin"], uuid[7..]);
}

#[test]
fn origins_that_do_not_fit_are_refused() {
    let Some(lab) = lab() else { return };
    lab.kiln_ok(&["create-image", "other-1", "--root", "proto", "description=", "--output", "images"]);
    lab.kiln_ok(&[
        "create-image",
        "web-1",
        "--root",
        "proto",
        "description=",
        "--origin",
        "images/base-64-1.zfs.gz",
        "--output",
        "images",
    ]);
    let guid = |name: &str| {
        let about = zone::manifest(&lab.join("images").join(format!("{name}.json")));
        about["files"][0]["dataset_guid"].as_str().unwrap().to_owned()
    };
    let refused = |words: &[&str], status: i32, expected: &[&str]| {
        let said = lab.kiln(&[&["create-image", "x-1", "description="], words].concat());
        assert_eq!(said.status, status, "{words:?}: {}", said.stderr);
        assert!(said.stderr.contains("\nhint: "), "{}", said.stderr);
        for text in expected {
            assert!(said.stderr.contains(text), "{words:?}: expected '{text}' in {}", said.stderr);
        }
        assert!(!lab.join("output").exists(), "{words:?}");
    };
    // Both GUIDs are said.
    let (needed, there) = (guid("base-64-1"), guid("other-1"));
    refused(&["--stream", "images/web-1.zfs.gz", "--origin", "images/other-1.zfs.gz"], 1, &[&needed, &there]);
    let root = ["--root", "proto"];
    let with = |words: &[&'static str]| -> Vec<&'static str> { [&root[..], words].concat() };
    refused(&with(&["--origin", "images/absent.zfs.gz"]), 1, &["absent.zfs.gz", "No such file"]);
    refused(
        &with(&["--origin", "6a1b9c3e-0000-4000-8000-00000000000a"]),
        1,
        &["there is no image 6a1b9c3e-0000-4000-8000-00000000000a in output", "--images DIR"],
    );
    refused(&with(&["origin=6a1b9c3e-0000-4000-8000-00000000000a"]), 2, &["--origin FILE"]);
    refused(
        &with(&["--origin", "images/base-64-1.zfs.gz", "origin=6a1b9c3e-0000-4000-8000-00000000000a"]),
        2,
        &["images/base-64-1.zfs.gz says"],
    );
    refused(&with(&["--origin", "images/base-64-1.zfs.gz", "--zpl-version", "4"]), 2, &["version 5"]);
    fs::write(lab.join("images/base-64-1.zfs.gz"), "short").unwrap();
    refused(&with(&["--origin", "images/base-64-1.zfs.gz"]), 1, &["has 5 bytes, and its manifest"]);
}
