//! `kiln create-image`: the same bytes from folder, archive and stream, and what its options do.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use kiln_e2e::{Lab, zone};
use kiln_harness::{account, imgmanifest, tools};
use rustix::fs::XattrFlags;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

/// A lab with a zone's `/` in the folder `proto`.
fn lab() -> Option<Lab> {
    let lab = Lab::open()?;
    zone::folder(&lab.join("proto"));
    Some(lab)
}

/// Makes the image `web-1.0` with further words in a folder, and gives its bytes and its manifest's.
fn made(lab: &Lab, output: &str, words: &[&str]) -> (Vec<u8>, Vec<u8>) {
    lab.kiln_ok(&[&["create-image", "web-1.0", "description=x", "--output", output], words].concat());
    let (image, manifest) = zone::results(lab, output, "web-1.0");
    (fs::read(image).unwrap(), fs::read(manifest).unwrap())
}

#[test]
fn the_tree_of_a_folder_is_in_the_image() {
    let Some(lab) = lab() else { return };
    let said = lab.kiln_ok(&["create-image", "web-1.0", "--root", "proto", "description=A web server"]);
    let install = "imgadm install -m output/web-1.0.json -f output/web-1.0.zfs.gz";
    assert!(said.contains(install), "{said}");
    assert_eq!(lab.names("output"), ["web-1.0.json", "web-1.0.zfs.gz"]);
    let (path, manifest) = zone::results(&lab, "output", "web-1.0");
    let image = zone::read(&[&path]);
    let info = image.objects.info().unwrap();
    assert_eq!((info.name.as_str(), info.from_guid, image.version), ("kiln/zone@final", 0, 5));
    assert_eq!(info.creation_time, (zone::TIME + 1).unsigned_abs());
    let listing = zone::listing(&image);
    let of = |path: &str| {
        let start = format!("{path} ");
        listing
            .iter()
            .find(|line| line.starts_with(&start))
            .unwrap_or_else(|| panic!("{path}: {listing:#?}"))
            .clone()
    };
    let time = zone::TIME;
    assert_eq!(of("root"), format!("root 755 0:0 {time} [] /"));
    assert_eq!(of("root/bin"), format!("root/bin 777 0:0 {time} [] -> usr/bin"));
    assert!(of("root/var/far").ends_with(&format!("-> {}", "x".repeat(500))));
    assert_eq!(of("root/var/pipe"), format!("root/var/pipe 644 0:0 {time} [] |"));
    assert_eq!(of("root/usr/bin/tool"), "root/usr/bin/tool = root/usr/bin/other");
    assert!(of("root/usr/bin/other").starts_with(&format!("root/usr/bin/other 755 0:0 {time} [] 10 ")));
    assert!(of("root/etc/passwd").starts_with(&format!("root/etc/passwd 644 0:0 {} [] ", time + 1)));
    assert_eq!(listing.len(), 23, "{listing:#?}");
    for file in ["etc/passwd", "usr/share/large", "var/sparse", "root/.profile"] {
        let expected = fs::read(lab.join("proto").join(file)).unwrap();
        assert!(zone::contents(&image.tree, &format!("root/{file}")) == expected, "{file}");
    }
    // The holes are not in the stream.
    assert!(info.stream_bytes < 2_000_000, "{}", info.stream_bytes);

    let about = zone::manifest(&manifest);
    let file = &about["files"][0];
    assert_eq!(file["size"], fs::metadata(&path).unwrap().len());
    assert_eq!(file["dataset_guid"], info.guid.to_string());
    assert_eq!(file["compression"], "gzip");
    assert_eq!(about["published_at"], "2017-07-14T02:40:01Z");
    assert_eq!(about["description"], "A web server");
    let keys: Vec<&String> = about.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 16, "{keys:?}");
}

#[test]
fn folder_archive_and_stream_give_equal_bytes() {
    let Some(lab) = lab() else { return };
    let expected = made(&lab, "folder", &["--root", "proto"]);
    if let Some(memory) = zone::in_memory() {
        zone::copy(&lab.join("proto"), &memory.path().join("proto"));
        let root = memory.path().join("proto");
        assert!(made(&lab, "memory", &["--root", root.to_str().unwrap()]) == expected);
    }
    for (name, flags) in [
        ("gnu.tar", &["--format=gnu"][..]),
        ("pax.tar", &["--format=pax"]),
        ("sorted.tar", &["--format=gnu", "--sort=name"]),
        ("sparse.tar", &["--format=gnu", "--sparse"]),
        ("sparse-0.0.tar", &["--format=pax", "--sparse-version=0.0", "--sparse"]),
        ("sparse-0.1.tar", &["--format=pax", "--sparse-version=0.1", "--sparse"]),
        ("sparse-1.0.tar", &["--format=pax", "--sparse-version=1.0", "--sparse"]),
        ("t.tar.gz", &["--gzip"]),
        ("t.tar.bz2", &["--bzip2"]),
        ("t.tar.xz", &["--xz"]),
    ] {
        zone::pack(&lab.join("proto"), &lab.join(name), flags);
        assert!(made(&lab, &format!("of-{name}"), &["--tar", name]) == expected, "{name}");
    }
    let piped = |words: &[&str], from: &str| {
        let mut kiln = lab.command();
        kiln.args(["create-image", "web-1.0", "description=x", "--output", "pipe", "--force"]).args(words);
        let mut kiln = kiln.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        // Not a file in its place, so that there is nothing to seek in.
        kiln.stdin.take().unwrap().write_all(&fs::read(lab.join(from)).unwrap()).unwrap();
        assert!(kiln.wait().unwrap().success());
        let (image, manifest) = zone::results(&lab, "pipe", "web-1.0");
        (fs::read(image).unwrap(), fs::read(manifest).unwrap())
    };
    assert!(piped(&["--tar", "-"], "gnu.tar") == expected);
    assert!(piped(&["--tar", "-"], "t.tar.xz") == expected);
    assert!(piped(&["--stream", "-"], "folder/web-1.0.zfs.gz") == expected);
    assert!(made(&lab, "stream", &["--stream", "folder/web-1.0.zfs.gz"]) == expected);
    // A dataset is what it holds.
    fs::create_dir_all(lab.join("dataset/config")).unwrap();
    fs::rename(lab.join("proto"), lab.join("dataset/root")).unwrap();
    assert!(made(&lab, "dataset-image", &["--root", "dataset"]) == expected);
    // Which notices holes by itself, and needs a program that not every machine has.
    let Some(bsdtar) = tools::require("bsdtar") else { return };
    let mut bsdtar = Command::new(bsdtar);
    bsdtar.args(["--format=pax", "--uid=0", "--gid=0", "-cf"]).arg(lab.join("bsd.tar"));
    let packed = bsdtar.arg("-C").arg(lab.join("dataset/root")).arg(".").status();
    assert!(packed.expect("bsdtar starts").success());
    let key = b"GNU.sparse.major=1";
    assert!(fs::read(lab.join("bsd.tar")).unwrap().windows(key.len()).any(|window| window == key));
    assert!(made(&lab, "of-bsd.tar", &["--tar", "bsd.tar"]) == expected);
}

#[test]
fn nothing_of_the_machine_shows() {
    let Some(lab) = lab() else { return };
    let expected = made(&lab, "first", &["--root", "proto", "--jobs", "1"]);
    let around = [("077", "7", "tr_TR.UTF-8", "EAST-14"), ("000", "2", "C", "WEST12")];
    for (at, (umask, jobs, locale, zone)) in around.into_iter().enumerate() {
        let output = format!("around{at}");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(lab.command().get_program());
        shell.args([
            "create-image",
            "web-1.0",
            "description=x",
            "--root",
            "proto",
            "--output",
            &output,
            "--jobs",
            jobs,
        ]);
        shell.env("LC_ALL", locale).env("TZ", zone).current_dir(lab.path());
        assert!(shell.output().unwrap().status.success());
        let (image, manifest) = zone::results(&lab, &output, "web-1.0");
        assert!(
            (fs::read(image).unwrap(), fs::read(manifest).unwrap()) == expected,
            "{umask} {jobs} {locale}"
        );
    }
    // Another user, another order of making, other modes as far as people do not mean them.
    let other = lab.join("other");
    zone::copy(&lab.join("proto"), &other);
    fs::set_permissions(other.join("etc/passwd"), fs::Permissions::from_mode(0o604)).unwrap();
    fs::set_permissions(other.join("usr/bin/tool"), fs::Permissions::from_mode(0o714)).unwrap();
    fs::set_permissions(other.join("var/empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let Some((mut kiln, user)) = account::unprivileged(Path::new(lab.command().get_program())) else {
        return;
    };
    kiln.args(["create-image", "web-1.0", "description=x", "--root", "other", "--output", "nobody"]);
    let said = kiln.current_dir(lab.path()).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let (image, manifest) = zone::results(&lab, "nobody", "web-1.0");
    assert_eq!(fs::metadata(&image).unwrap().uid(), user);
    assert!((fs::read(image).unwrap(), fs::read(manifest).unwrap()) == expected);
}

#[test]
fn modes_and_owners_come_from_where_they_are_asked_for() {
    let Some(lab) = lab() else { return };
    fs::set_permissions(lab.join("proto/usr/bin/tool"), fs::Permissions::from_mode(0o4711)).unwrap();
    let line = |output: &str, path: &str| {
        let image = zone::read(&[&zone::results(&lab, output, "web-1.0").0]);
        let about = image.tree.node(zone::find(&image.tree, path)).attributes;
        (about.permissions, about.uid, about.gid)
    };
    made(&lab, "plain", &["--root", "proto"]);
    assert_eq!(line("plain", "root/usr/bin/tool"), (0o755, 0, 0));
    made(&lab, "kept", &["--root", "proto", "--keep-modes", "--keep-owners"]);
    let owner = fs::metadata(lab.join("proto")).unwrap();
    assert_eq!(line("kept", "root/usr/bin/tool"), (0o4711, owner.uid(), owner.gid()));

    fs::write(
        lab.join("web.mtree"),
        "#mtree\n./usr/bin/tool uname=www gname=sys mode=2755\n./var/log type=dir mode=0750 uname=www\n",
    )
    .unwrap();
    fs::write(
        lab.join("manifest.gen"),
        "d var 0711 root sys\nf etc/shadow 0400 root sys\nf no/such 0555 x y\n",
    )
    .unwrap();
    let lists = ["--ownership", "manifest.gen", "--ownership", "web.mtree"];
    made(&lab, "listed", &[&["--root", "proto"], &lists[..]].concat());
    assert_eq!(line("listed", "root/usr/bin/tool"), (0o2755, 80, 3));
    assert_eq!(line("listed", "root/var/log"), (0o750, 80, 0));
    assert_eq!(line("listed", "root/var"), (0o711, 0, 3));
    assert_eq!(line("listed", "root/etc/shadow"), (0o400, 0, 3));

    zone::pack(&lab.join("proto"), &lab.join("n.tar"), &["--owner=www:1234", "--group=sys:4321"]);
    made(&lab, "numbers", &["--tar", "n.tar"]);
    assert_eq!(line("numbers", "root/usr/bin/tool"), (0o4711, 1234, 4321));
    made(&lab, "names", &["--tar", "n.tar", "--owners-by-name"]);
    assert_eq!(line("names", "root/usr/bin/tool"), (0o4711, 80, 3));
}

#[test]
fn extended_attributes_are_taken_when_asked_for() {
    let Some(lab) = lab() else { return };
    let file = lab.join("proto/etc/passwd");
    rustix::fs::lsetxattr(
        &file,
        "user.colour",
        b"dark
red",
        XattrFlags::empty(),
    )
    .unwrap();
    let plain = made(&lab, "plain", &["--root", "proto"]);
    let asked = made(&lab, "asked", &["--root", "proto", "--xattrs"]);
    assert!(plain != asked);
    zone::pack(&lab.join("proto"), &lab.join("x.tar"), &["--format=pax", "--xattrs"]);
    assert!(made(&lab, "tar", &["--tar", "x.tar", "--xattrs"]) == asked);
    assert!(made(&lab, "tar-plain", &["--tar", "x.tar"]) == plain);
    // Streams keep what they have.
    assert!(made(&lab, "stream", &["--stream", "asked/web-1.0.zfs.gz"]) == asked);
    let image = zone::read(&[&zone::results(&lab, "asked", "web-1.0").0]);
    let line = zone::listing(&image).into_iter().find(|line| line.starts_with("root/etc/passwd ")).unwrap();
    assert!(line.contains(r#"["colour=dark\nred"]"#), "{line}");
}

#[test]
fn fields_and_files_of_the_manifest_are_those_that_were_given() {
    let Some(lab) = lab() else { return };
    fs::write(
        lab.join("m.json"),
        r#"{"description": "file", "os": "illumos", "eula": "https://a.example/"}"#,
    )
    .unwrap();
    let words = [
        "create-image",
        "web-1.0",
        "-m",
        "m.json",
        "description=line",
        "public=false",
        "urn=",
        "--root",
        "proto",
        "--uuid",
        "6a1b9c3e-0000-4000-8000-00000000000a",
        "--date",
        "2020-01-02T03:04:05Z",
        "--for",
        "private",
        "--guid",
        "12345",
        "--snapshot",
        "mine",
        "-o",
        "some/prefix",
        "users=[{\"name\": \"root\"}]",
        "--json",
    ];
    let said = lab.kiln_ok(&words);
    let summary: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(summary["next"], json!(["imgadm install -m some/prefix.imgmanifest -f some/prefix.zfs.gz"]));
    assert_eq!(lab.names("some"), ["prefix.imgmanifest", "prefix.zfs.gz"]);
    let about = zone::manifest(&lab.join("some/prefix.imgmanifest"));
    for (field, value) in [
        ("v", json!(2)),
        ("uuid", json!("6a1b9c3e-0000-4000-8000-00000000000a")),
        ("name", json!("web")),
        ("version", json!("1.0")),
        ("description", json!("line")),
        ("os", json!("illumos")),
        ("eula", json!("https://a.example/")),
        ("public", json!(false)),
        ("activated", json!(true)),
        ("published_at", json!("2020-01-02T03:04:05Z")),
        ("users", json!([{ "name": "root" }])),
        ("urn", Value::Null),
        ("origin", Value::Null),
    ] {
        assert_eq!(about[field], value, "{field}");
    }
    assert_eq!(about["files"][0]["dataset_guid"], "12345");
    let image = zone::read(&[&lab.join("some/prefix.zfs.gz")]);
    let info = image.objects.info().unwrap();
    assert_eq!((info.name.as_str(), info.guid), ("kiln/zone@mine", 12345));
    // Existing results are in the way until they may be replaced.
    let said = lab.kiln(&words);
    assert!(said.status == 1 && said.stderr.contains("exists already"), "{}", said.stderr);
    lab.kiln_ok(&[&words[..], &["--force"]].concat());
}

#[test]
fn compressions_levels_and_versions() {
    let Some(lab) = lab() else { return };
    let mut listings = Vec::new();
    for (choice, level, ending, name) in [
        ("none", None, ".zfs", "none"),
        ("gzip", Some("1"), ".zfs.gz", "gzip"),
        ("bzip2", Some("1"), ".zfs.bz2", "bzip2"),
        ("xz", Some("0"), ".zfs.xz", "xz"),
    ] {
        let mut words = vec!["create-image", "seed-1", "--root", "proto", "--output", choice, "-c", choice];
        words.extend(level.into_iter().flat_map(|level| ["--level", level]));
        lab.kiln_ok(&words);
        assert_eq!(lab.names(choice), ["seed-1.json".to_owned(), format!("seed-1{ending}")]);
        let path = lab.join(choice).join(format!("seed-1{ending}"));
        let about = zone::manifest(&lab.join(choice).join("seed-1.json"));
        assert_eq!(about["files"][0]["compression"], name);
        assert!(about["description"].as_str().unwrap().contains("seed"), "{about}");
        listings.push((zone::stream(&path), zone::listing(&zone::read(&[&path]))));
    }
    assert!(listings.windows(2).all(|pair| pair[0] == pair[1]));
    lab.kiln_ok(&["create-image", "seed-1", "--root", "proto", "--output", "four", "--zpl-version", "4"]);
    let image = zone::read(&[&zone::results(&lab, "four", "seed-1").0]);
    assert_eq!(image.version, 4);
    assert_eq!(zone::listing(&image), listings[0].1);
}

#[test]
fn the_reference_implementation_takes_the_manifests() {
    let Some(lab) = lab() else { return };
    let Some(judge) = imgmanifest::judge() else { return };
    let mut cases = Vec::new();
    let mut add = |kind: &str, name: &str, words: &[&str]| {
        let output = format!("case{}", cases.len());
        lab.kiln_ok(&[&["create-image", name, "--root", "proto", "--output", &output], words].concat());
        let manifest = zone::manifest(&zone::results(&lab, &output, name).1);
        cases.push(json!([kind, false, manifest]));
    };
    for name in ["minimal-64-23.4.0", "base-32-14.2.0", "pkgbuild-1", "seed-20141030u1"] {
        add("minimal", name, &[]);
    }
    add("minimal", "web-1.0", &["description=x", "type=lx-dataset", "tags={\"kernel_version\": \"5.10\"}"]);
    for kind in ["public", "private", "dc"] {
        add(kind, "web-1.0", &["description=x", "--for", kind]);
    }
    let verdicts = imgmanifest::verdicts(judge, &Value::from(cases.clone()).to_string());
    let verdicts: Value = serde_json::from_str(&verdicts).unwrap();
    assert_eq!(verdicts, json!(vec![json!([]); cases.len()]), "{cases:#?}");
}

#[test]
fn what_a_zone_lacks_is_said_and_the_top_can_be_told() {
    let Some(lab) = Lab::open() else { return };
    fs::create_dir_all(lab.join("thin/root/etc")).unwrap();
    fs::create_dir_all(lab.join("thin/etc")).unwrap();
    fs::create_dir_all(lab.join("thin/local/bin")).unwrap();
    fs::write(lab.join("thin/local/bin/tool"), "tool\n").unwrap();
    let create = |words: &[&str]| {
        let said = lab
            .kiln(&[&["create-image", "web-1", "description=", "--force", "--root", "thin"], words].concat());
        assert_eq!(said.status, 0, "{}", said.stderr);
        (said.stderr, zone::listing(&zone::read(&[&zone::results(&lab, "output", "web-1").0])))
    };
    let (said, listing) = create(&[]);
    for path in ["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/inittab", "/etc/svc/repository.db"] {
        assert!(said.contains(path), "{path}: {said}");
    }
    assert_eq!(listing.len(), 7, "{listing:?}");
    let (said, listing) = create(&["--layout", "dataset"]);
    assert!(said.contains("left out, as data of the zone that it was: etc\n"), "{said}");
    // What the zone sees as /usr/local is of the image.
    let paths: Vec<&str> = listing.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(paths, ["local", "local/bin", "local/bin/tool", "root", "root/etc"]);

    // A tree that is the zone's / says nothing about it, and leaves it as it is in the origin.
    fs::create_dir_all(lab.join("above/etc")).unwrap();
    fs::write(lab.join("above/etc/motd"), "hello\n").unwrap();
    fs::rename(lab.join("output"), lab.join("below")).unwrap();
    let words = ["--root", "above", "--origin", "below/web-1.zfs.gz", "--layout", "zone"];
    lab.kiln_ok(&[&["create-image", "web-2", "description="][..], &words].concat());
    let images = ["below/web-1.zfs.gz", "output/web-2.zfs.gz"].map(|path| lab.join(path));
    let above = zone::listing(&zone::read(&[&images[0], &images[1]]));
    assert_eq!(above[..3], listing[..3]);
    let paths: Vec<&str> = above.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(paths[3..], ["root", "root/etc", "root/etc/motd"]);
    let (said, _) = create(&["requirements={\"brand\": \"joyent-minimal\"}"]);
    assert!(!said.contains("repository.db") && said.contains("/etc/passwd"), "{said}");
    let (said, _) = create(&["type=lx-dataset"]);
    assert!(!said.contains("/etc/passwd") && said.contains("kernel_version"), "{said}");
}

#[test]
fn devices_keep_their_numbers() {
    let Some(lab) = lab() else { return };
    let mut builder = Builder::new(Vec::new());
    for (kind, path, major, minor) in
        [(EntryType::Char, "dev/null", 13, 2), (EntryType::Block, "dev/disk", 31, 70_000)]
    {
        let mut header = Header::new_gnu();
        header.set_path(path).unwrap();
        header.set_entry_type(kind);
        header.set_mode(0o666);
        header.set_uid(5);
        header.set_gid(3);
        header.set_mtime(zone::TIME.unsigned_abs());
        header.set_size(0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_cksum();
        builder.append(&header, &b""[..]).unwrap();
    }
    fs::write(lab.join("d.tar"), builder.into_inner().unwrap()).unwrap();
    made(&lab, "devices", &["--tar", "d.tar"]);
    let listing = zone::listing(&zone::read(&[&zone::results(&lab, "devices", "web-1.0").0]));
    let time = zone::TIME;
    // The folder that the archive does not show has the time of what is in it.
    assert_eq!(
        listing,
        [
            format!("root 755 0:0 {time} [] /"),
            format!("root/dev 755 0:0 {time} [] /"),
            format!("root/dev/disk 666 5:3 {time} [] b 31:70000"),
            format!("root/dev/null 666 5:3 {time} [] c 13:2"),
        ]
    );
    if !account::is_root() {
        return;
    }
    let node =
        Command::new("mknod").args(["proto/null", "c", "1", "3"]).current_dir(lab.path()).output().unwrap();
    if node.status.success() {
        made(&lab, "node", &["--root", "proto"]);
        let listing = zone::listing(&zone::read(&[&zone::results(&lab, "node", "web-1.0").0]));
        assert!(
            listing.iter().any(|line| line.starts_with("root/null ") && line.ends_with("c 1:3")),
            "{listing:?}"
        );
    }
}

#[test]
fn links_are_not_followed() {
    let Some(lab) = lab() else { return };
    symlink("/etc", lab.join("proto/outside")).unwrap();
    symlink("proto", lab.join("way")).unwrap();
    made(&lab, "links", &["--root", "way"]);
    let image = zone::read(&[&zone::results(&lab, "links", "web-1.0").0]);
    let outside =
        zone::listing(&image).into_iter().filter(|line| line.starts_with("root/outside")).collect::<Vec<_>>();
    assert!(matches!(&outside[..], [line] if line.ends_with("-> /etc")), "{outside:?}");
}
