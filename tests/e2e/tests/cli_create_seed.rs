//! `kiln create-seed` and `kiln create-smf-repo`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use kiln_e2e::tarball::{self, Member};
use kiln_e2e::{Lab, STAMP, Said, zone};
use kiln_harness::account;
use kiln_ufs::{Attributes, EditOptions, Editor, FileSystem, Node, Timestamp};
use kiln_zstream::fs::tree::{Kind, Tree};
use serde_json::Value;

const ARCHIVE_KIB: u32 = 4096;

/// Seconds of the stamp of the stand-in.
const TIME: i64 = 1_767_225_600;

/// The file system in an image.
fn tree_of(image: &Path) -> Tree {
    zone::read(&[image]).tree
}

/// Every name in an image with what is behind it. Times other than the stamp's are told.
fn listing(tree: &Tree) -> Vec<String> {
    let mut lines = Vec::new();
    let mut path: Vec<String> = Vec::new();
    for step in tree.walk() {
        path.truncate(step.depth);
        path.push(String::from_utf8(step.name.to_vec()).unwrap());
        let node = tree.node(step.node);
        let what = match &node.kind {
            Kind::Directory(_) => "/".to_owned(),
            Kind::File(contents) => format!(" {}", contents.size()),
            Kind::Symlink(target) => format!(" -> {}", String::from_utf8_lossy(target)),
            other => format!(" type {:o}", other.code()),
        };
        let at = &node.attributes;
        let time =
            if at.modified.seconds == TIME { String::new() } else { format!(" at {}", at.modified.seconds) };
        lines.push(format!("{:04o} {}:{} {}{what}{time}", at.permissions, at.uid, at.gid, path.join("/")));
    }
    lines
}

fn text(tree: &Tree, path: &str) -> String {
    String::from_utf8(zone::contents(tree, path)).unwrap()
}

/// What a seed of the stand-in platform holds.
const EXPECTED: &str = include_str!("create_seed.list");

fn refused(lab: &Lab, arguments: &[&str], status: i32, words: &[&str]) {
    let before = lab.names("");
    let said = lab.kiln(&[&["create-seed"], arguments].concat());
    assert_eq!(said.status, status, "{arguments:?}: {}", said.stderr);
    for word in words {
        assert!(said.stderr.contains(word), "{word} is missing from {}", said.stderr);
    }
    assert!(said.stderr.contains("hint: "), "{}", said.stderr);
    assert_eq!(lab.names(""), before, "something was left behind");
}

/// The stand-in platform with its boot archive changed, as `changed.tgz`.
fn changed(lab: &Lab, change: impl FnOnce(&mut Editor<Vec<u8>>)) {
    let whole = lab.platform(ARCHIVE_KIB);
    let mut members = tarball::read(&whole);
    fs::remove_file(whole).unwrap();
    let archive = tarball::boot_archive(&mut members);
    let bytes = std::mem::take(&mut archive.content);
    let length = bytes.len() as u64;
    let system = FileSystem::open(bytes, length).unwrap();
    let mut editor = system.edit(EditOptions { time: Timestamp::from_seconds(5), generation_seed: 5 });
    change(&mut editor);
    tarball::boot_archive(&mut members).content = editor.finish(5).unwrap().into_device();
    tarball::rehash(&mut members);
    tarball::write(&lab.join("changed.tgz"), &members);
}

#[test]
fn a_seed_is_the_platforms_etc_and_var_less_what_is_the_global_zones() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let said = lab.kiln_ok(&["create-seed", "seed-1.0", "--platform", STAMP]);
    assert!(
        said.contains("install with  imgadm install -m output/seed-1.0.json -f output/seed-1.0.zfs.gz"),
        "{said}"
    );
    let tree = tree_of(&lab.join("output/seed-1.0.zfs.gz"));
    let listing = listing(&tree);
    let expected: Vec<&str> = EXPECTED.lines().collect();
    assert_eq!(listing, expected, "\n{}\n", listing.join("\n"));

    assert_eq!(
        text(&tree, "root/etc/passwd"),
        "root:x:0:0:Super-User:/root:/usr/bin/bash\ndaemon:x:1:1::/:\nadm:x:4:4:Admin:/var/adm:\n\
         nobody:x:60001:60001:NFS Anonymous Access User:/:\n"
    );
    assert_eq!(
        text(&tree, "root/etc/group"),
        "root::0:\nother::1:root\nsys::3:root,adm\nadm::4:root\nnobody::60001:\n"
    );
    assert_eq!(
        text(&tree, "root/etc/shadow"),
        "root:NP:6445::::::\ndaemon:NP:6445::::::\nnobody:*LK*:6445::::::\nadm:NP:6445::::::\n"
    );
    assert_eq!(
        text(&tree, "root/etc/user_attr"),
        "adm::::profiles=Log Management\nroot::::auths=solaris.*\n"
    );
    assert!(text(&tree, "root/etc/profile").starts_with("if [ \"`uname -p`\" = i386 ]\nthen\n"));
    assert!(text(&tree, "root/etc/rc2.d/S99final").contains("rm -f /etc/rc2.d/S99final\nreboot\n"));
    let zoneinit: Value = serde_json::from_str(&text(&tree, "root/var/zoneinit/zoneinit.json")).unwrap();
    let features = serde_json::json!({ "var_svc_provisioning": true, "reboot": true });
    assert_eq!((&zoneinit["version"], &zoneinit["features"]), (&"1.5.1".into(), &features));
    // The page tells where it was taken from.
    let repository = text_of_page(&tree);
    assert!(repository.contains("/lib/svc/seed/nonglobal.db"), "{repository}");

    let manifest: Value =
        serde_json::from_slice(&fs::read(lab.join("output/seed-1.0.json")).unwrap()).unwrap();
    assert_eq!((&manifest["name"], &manifest["version"]), (&"seed".into(), &"1.0".into()));
    assert_eq!((&manifest["type"], &manifest["os"]), (&"zone-dataset".into(), &"smartos".into()));
    assert_eq!(manifest["requirements"]["min_platform"]["7.0"], STAMP);
    assert_eq!(manifest["published_at"], "2026-01-01T00:00:00Z");
    assert_eq!(manifest["files"][0]["size"], fs::metadata(lab.join("output/seed-1.0.zfs.gz")).unwrap().len());
}

#[test]
fn any_field_of_the_manifest_can_be_given() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let manifest = |image: &str, fields: &[&str]| -> Value {
        let arguments = [&["create-seed", image, "--platform", STAMP, "--force"], fields].concat();
        lab.kiln_ok(&arguments);
        serde_json::from_slice(&fs::read(lab.join(format!("output/{image}.json"))).unwrap()).unwrap()
    };
    let plain = manifest("mine-1.0", &[]);
    let description = plain["description"].as_str().unwrap();
    assert!(description.starts_with("SmartOS as a platform brings it"), "{description}");
    assert_eq!(plain["tags"], serde_json::json!({ "role": "os", "group": "mine" }));

    let fields = [
        "version=1.10",
        "public=false",
        "description=Ours",
        "tags={\"role\": \"seed\"}",
        "requirements={\"min_platform\": {\"7.0\": \"20130101T000000Z\"}, \"min_ram\": 256}",
        "published_at=2026-02-03T04:05:06Z",
        "urn=",
    ];
    let given = manifest("mine-1.0", &fields);
    let mut expected = plain.clone();
    expected["uuid"] = given["uuid"].clone();
    expected["version"] = "1.10".into();
    expected["public"] = false.into();
    expected["description"] = "Ours".into();
    expected["tags"] = serde_json::json!({ "role": "seed" });
    expected["requirements"]["min_platform"]["7.0"] = "20130101T000000Z".into();
    expected["requirements"]["min_ram"] = 256.into();
    expected["published_at"] = "2026-02-03T04:05:06Z".into();
    expected.as_object_mut().unwrap().remove("urn");
    assert_eq!(given, expected);
    // The UUID follows from all of the manifest, and the same image has the same one again.
    assert_ne!(given["uuid"], plain["uuid"]);
    assert_eq!(manifest("mine-1.0", &[]), plain);

    fs::remove_dir_all(lab.join("output")).unwrap();
    for (field, words) in [
        ("colour=red", "colour: is no field of version 2"),
        ("requirements=5", "does not have the form"),
        ("files=[]", "what is about to be made"),
        ("origin=11111111-1111-4111-8111-111111111111", "this one stands alone"),
        ("public", "'public' is no KEY=VALUE"),
    ] {
        refused(&lab, &["mine-1.0", "--platform", STAMP, field], 2, &[words]);
    }
}

/// The readable part of the repository.
fn text_of_page(tree: &Tree) -> String {
    String::from_utf8_lossy(&zone::contents(tree, "root/etc/svc/repository.db")).into_owned()
}

/// Same inputs, same bytes: whatever the folder, the umask, the number of threads and the user.
#[test]
fn nothing_but_the_platform_shows_in_the_bytes() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let mut results = Vec::new();
    for (folder, umask, jobs, unprivileged) in
        [("one", "022", "1", false), ("two", "077", "3", false), ("three", "000", "2", true)]
    {
        let home = lab.join(folder);
        fs::create_dir_all(&home).unwrap();
        fs::copy(lab.join(format!("data/platform-{STAMP}.tgz")), home.join("p.tgz")).unwrap();
        fs::set_permissions(home.join("p.tgz"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o777)).unwrap();
        let shell = Path::new("/bin/sh");
        let mut command = if unprivileged {
            fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let Some((command, _)) = account::unprivileged(shell) else { continue };
            command
        } else {
            Command::new(shell)
        };
        // The program is where an account without privileges can reach it.
        let program = lab.command().get_program().to_owned();
        fs::copy(program, home.join("kiln")).unwrap();
        let script = format!("umask {umask}; exec ./kiln create-seed seed --platform p.tgz --jobs {jobs}");
        let run = command.args(["-c", &script]).current_dir(&home).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        results
            .push(["seed.zfs.gz", "seed.json"].map(|name| fs::read(home.join("output").join(name)).unwrap()));
    }
    assert!(results.len() > 1 && results.iter().all(|result| *result == results[0]));
    let manifest: Value = serde_json::from_slice(&results[0][1]).unwrap();
    assert_eq!((&manifest["name"], &manifest["version"]), (&"seed".into(), &STAMP.into()));
}

#[test]
fn services_go_in_as_a_profile_and_the_manifests_that_zones_do_not_see() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    fs::create_dir_all(lab.join("mine/application")).unwrap();
    let mine = "<?xml version='1.0'?>\n<!DOCTYPE service_bundle SYSTEM '/usr/share/lib/xml/dtd/service_bundle.dtd.1'>\n\
        <service_bundle type='manifest' name='web'>\n<service name='application/web' type='service' version='1'>\n\
        <instance name='blue' enabled='true'/>\n</service>\n</service_bundle>\n";
    fs::write(lab.join("mine/application/web.xml"), mine).unwrap();
    fs::write(
        lab.join("list"),
        "# services\nnetwork/ssh.xml enabled\nsystem/sac.xml\tdisabled\napplication/web.xml enabled\n",
    )
    .unwrap();
    let common = ["--platform", STAMP, "--manifest-dir", "mine"];
    let arguments = [&["create-seed", "seed-1", "--manifests", "list"][..], &common].concat();
    let said = lab.kiln(&arguments);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(
        said.stderr.contains("list: line 4: application/web has no instance 'default'"),
        "{}",
        said.stderr
    );
    let tree = tree_of(&lab.join("output/seed-1.zfs.gz"));
    let listing = listing(&tree);
    let profile = text(&tree, "root/etc/svc/profile/site.xml");
    for line in [
        "0444 0:3 root/var/svc/manifest/site/application-web.xml",
        "0444 0:3 root/var/svc/manifest/site/system-sac.xml",
        &format!("0444 0:3 root/etc/svc/profile/site.xml {}", profile.len()),
        "0777 0:0 root/var/svc/profile -> ../../etc/svc/profile",
    ] {
        assert!(listing.iter().any(|found| found.starts_with(line)), "{line} is missing: {listing:#?}");
    }
    // The list of the brand has it.
    assert!(!listing.iter().any(|line| line.contains("network-ssh.xml")));
    assert_eq!(text(&tree, "root/var/svc/manifest/site/application-web.xml"), mine);
    let ssh = "<service name='network/ssh' version='1' type='service'>\n    <instance name='default' enabled='true'/>";
    let sac = "<service name='system/sac' version='1' type='service'>\n    <instance name='default' enabled='false'/>";
    assert!(
        profile.contains(ssh) && profile.contains(sac) && !profile.contains("application/web"),
        "{profile}"
    );

    // The other command makes the same files.
    let arguments = [&["create-smf-repo", "list", "--output", "site"][..], &common].concat();
    let said = lab.kiln_ok(&arguments);
    assert!(
        said.contains(&format!(
            "network/ssh.xml enabled (platform-{STAMP}:/lib/svc/manifest/network/ssh.xml)"
        )),
        "{said}"
    );
    assert!(said.contains("application/web.xml enabled (mine/application/web.xml)"), "{said}");
    assert_eq!(lab.names("site"), ["application-web.xml", "site.xml", "system-sac.xml"]);
    assert_eq!(fs::read_to_string(lab.join("site/site.xml")).unwrap(), profile);
    assert_eq!(fs::read_to_string(lab.join("site/application-web.xml")).unwrap(), mine);
}

#[test]
fn lists_and_manifests_that_are_wrong_are_told_with_their_lines() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    fs::create_dir(lab.join("mine")).unwrap();
    fs::write(
        lab.join("mine/bad.xml"),
        "<!DOCTYPE service_bundle>\n<service_bundle type='manifest'>\n</service_bundle>\n",
    )
    .unwrap();
    fs::write(lab.join("mine/torn.xml"), "<service_bundle>\n<service>\n").unwrap();
    let smf = |list: &str| -> Said {
        fs::write(lab.join("list"), list).unwrap();
        lab.kiln(&["create-smf-repo", "list", "--platform", STAMP, "--manifest-dir", "mine", "--output", "o"])
    };
    let said = smf("a.xml on\n\nb enabled\n");
    assert_eq!(said.status, 1);
    for words in ["for 2 reasons", "list: line 1: 'on' is neither", "list: line 3: 'b' is no relative path"] {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
    let said = smf("nowhere.xml enabled\nbad.xml enabled\ntorn.xml enabled\nnetwork/ssh.xml disabled\n");
    assert_eq!(said.status, 1);
    for words in [
        "list: line 1: there is no manifest nowhere.xml",
        "mine/bad.xml: line 2: <service_bundle> needs the attribute name",
        "mine/torn.xml: line 2: <service> is never closed",
        "hint: a manifest is looked for in each --manifest-dir",
    ] {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
    assert_eq!(lab.names(""), ["data", "list", "mine"], "something was left behind");
    assert_eq!(smf("# nothing\n").status, 0);
    assert_eq!(lab.names("o"), ["site.xml"]);
}

#[test]
fn repositories_and_bootstrap_kits_can_be_given() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    let mut page = b"** This file contains an SQLite 2.1 database **\0".to_vec();
    page.extend(0xdae3_7528_u32.to_le_bytes());
    page.extend(b"mine");
    page.resize(2048, 0);
    fs::write(lab.join("mine.db"), &page).unwrap();
    tarball::write(
        &lab.join("bootstrap.tar.gz"),
        &[
            Member::other("./opt/local/", tar::EntryType::Directory, ""),
            Member::file("./opt/local/sbin/pkg_add", b"program"),
            Member::other("./opt/local/bin", tar::EntryType::Symlink, "sbin"),
            Member::file("./etc/nsswitch.conf", b"replaced\n"),
        ],
    );
    let arguments = [
        "create-seed",
        "s-1",
        "--platform",
        STAMP,
        "--smf-repository",
        "mine.db",
        "--bootstrap",
        "bootstrap.tar.gz",
    ];
    lab.kiln_ok(&arguments);
    let tree = tree_of(&lab.join("output/s-1.zfs.gz"));
    assert!(text_of_page(&tree).contains("mine"));
    assert_eq!(text(&tree, "root/opt/local/sbin/pkg_add"), "program");
    assert_eq!(text(&tree, "root/etc/nsswitch.conf"), "replaced\n");
    assert!(listing(&tree).iter().any(|line| line.ends_with("root/opt/local/bin -> sbin at 0")));

    fs::write(lab.join("other.db"), "SQLite format 3\0").unwrap();
    let other = ["s-2", "--platform", STAMP, "--smf-repository", "other.db"];
    refused(&lab, &other, 1, &["other.db is no repository of services", "SQLite 3"]);
    let missing = ["s-2", "--platform", STAMP, "--smf-repository", "missing.db"];
    refused(&lab, &missing, 1, &["cannot read missing.db"]);
    let none = ["s-2", "--platform", STAMP, "--bootstrap", "mine.db"];
    refused(&lab, &none, 1, &["bootstrap kit mine.db", "no tar archive"]);
}

#[test]
fn a_platform_that_no_zone_could_boot_with_is_refused_with_all_that_it_lacks() {
    let Some(lab) = Lab::open() else { return };
    let from = ["s-1", "--platform", "changed.tgz"];
    changed(&lab, |archive| {
        archive.remove_file(b"/etc/inittab").unwrap();
        archive.remove_file(b"/sbin/init").unwrap();
        archive.remove_file(b"/usr.lgz").unwrap();
    });
    let words = [
        "lacks what a zone needs to boot: /etc/inittab",
        "/sbin/init (its first program)",
        "/usr/lib/brand/joyent/platform.xml",
    ];
    refused(&lab, &from, 1, &words);
    changed(&lab, |archive| archive.remove_file(b"/lib/svc/seed/nonglobal.db").unwrap());
    // The other brand's is in /usr.
    let said = lab.kiln(&[&["create-seed"], &from[..]].concat());
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stderr.contains("joyent-minimal, which imports no manifests"), "{}", said.stderr);
    assert!(
        text_of_page(&tree_of(&lab.join("output/s-1.zfs.gz")))
            .contains("/lib/brand/joyent-minimal/repository.db")
    );
    fs::remove_dir_all(lab.join("output")).unwrap();
    changed(&lab, |archive| {
        archive.remove_file(b"/lib/svc/seed/nonglobal.db").unwrap();
        archive.remove_file(b"/usr.lgz").unwrap();
    });
    refused(&lab, &from, 1, &["has no repository of services for zones", "--smf-repository"]);
    changed(&lab, |archive| archive.remove_all(b"/var").unwrap());
    refused(&lab, &from, 1, &["the boot archive has no folder /var"]);
    changed(&lab, |archive| archive.remove_file(b"/etc/shadow").unwrap());
    refused(&lab, &from, 1, &["lacks what a zone needs to boot: /etc/shadow (their passwords)"]);
}

#[test]
fn links_pipes_and_devices_stay_what_they_are() {
    let Some(lab) = Lab::open() else { return };
    let owner = Attributes { mode: 0o640, uid: 7, gid: 70_000 };
    let from = ["s-1", "--platform", "changed.tgz"];
    changed(&lab, |archive| {
        archive.hard_link(b"/etc/nsswitch.conf", b"/etc/same").unwrap();
        archive.create_node(b"/var/pipe", Node::Fifo, &owner).unwrap();
        archive.create_node(b"/etc/device", Node::Character(13, 2), &owner).unwrap();
    });
    lab.kiln_ok(&[&["create-seed"], &from[..]].concat());
    let tree = tree_of(&lab.join("output/s-1.zfs.gz"));
    let find = |path: &str| zone::find(&tree, path);
    assert_eq!(find("root/etc/same"), find("root/etc/nsswitch.conf"));
    let Kind::CharacterDevice(device) = tree.node(find("root/etc/device")).kind else {
        panic!("it is no device")
    };
    assert_eq!((device.major, device.minor), (13, 2));
    let listing = listing(&tree);
    assert!(listing.contains(&"0640 7:70000 root/var/pipe type 1 at 5".to_owned()), "{listing:#?}");
}

#[test]
fn a_usr_that_is_damaged_is_told_before_anything_is_written() {
    let Some(lab) = Lab::open() else { return };
    let from = ["s-1", "--platform", "changed.tgz"];
    let file = Attributes { mode: 0o755, uid: 0, gid: 0 };
    for (change, words) in [
        ((|usr| usr[0] = b'x') as fn(&mut Vec<u8>), "this is no file compressed for lofi"),
        (|usr| usr.truncate(300), "the file is cut off"),
        (|usr| usr[24] = 1, "the header is damaged"),
        // The first segment, which has the superblock.
        (
            |usr| {
                let base = 36 + 8 * 33;
                usr[base + 60] ^= 0xff;
            },
            "a segment is damaged",
        ),
    ] {
        changed(&lab, |archive| {
            let mut usr = Vec::new();
            std::io::Read::read_to_end(&mut archive.file(b"/usr.lgz").unwrap(), &mut usr).unwrap();
            change(&mut usr);
            archive.put_file(b"/usr.lgz", &file, &usr[..]).unwrap();
        });
        refused(&lab, &from, 1, &["cannot read /usr.lgz of the boot archive", words]);
    }
}

#[test]
fn what_is_no_platform_and_command_lines_that_are_wrong() {
    let Some(lab) = Lab::open() else { return };
    lab.platform(ARCHIVE_KIB);
    fs::write(lab.join("text"), "text").unwrap();
    refused(&lab, &["s-1", "--platform", "text"], 1, &["cannot use the platform text", "not gzip"]);
    refused(&lab, &["s-1", "--platform", "missing"], 1, &["cannot use the platform missing"]);
    refused(&lab, &["s-1", "--platform", "20200101T000000Z"], 1, &["there is no platform 20200101T000000Z"]);
    refused(&lab, &["a/b", "--platform", STAMP], 2, &["'a/b' is no name for an image"]);
    refused(&lab, &["s-1 0", "--platform", STAMP], 2, &["the manifest would be refused: version"]);
    for arguments in
        [&["create-seed", "s-1"][..], &["create-seed", "s-1", "--platform", "x", "--smartos-live", "y"]]
    {
        let said = lab.kiln(arguments);
        assert_eq!(said.status, 2, "{}", said.stderr);
    }
    lab.kiln_ok(&["create-seed", "s-1", "--platform", STAMP]);
    let said = lab.kiln(&["create-seed", "s-1", "--platform", STAMP]);
    assert!(said.status == 1 && said.stderr.contains("output/s-1.zfs.gz exists already"), "{}", said.stderr);
    lab.kiln_ok(&["create-seed", "s-1", "--platform", STAMP, "--force"]);
}

/// A small build tree of smartos-live.
fn build_tree(lab: &Lab) {
    let write = |path: &str, bytes: &[u8]| {
        let path = lab.join("live").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let mut page = b"** This file contains an SQLite 2.1 database **\0".to_vec();
    page.extend(0xdae3_7528_u32.to_le_bytes());
    page.resize(1024, 0);
    write("proto/buildstamp", format!("{STAMP}\n").as_bytes());
    write("proto/etc/passwd", b"root:x:0:0::/root:/bin/sh\nlp:x:71:8::/:\nnetadm:x:16:65::/:\n");
    write("proto/etc/group", b"root::0:\nsys::3:\nlp::8:\nnetadm::65:\n");
    write("proto/etc/shadow", b"root::6445::::::\nlp:NP:6445::::::\n");
    write("proto/etc/inittab", b"x\n");
    write("proto/etc/issue", b"x\n");
    write("proto/etc/resolv.conf", b"");
    write("proto/etc/extra", b"");
    write("proto/etc/lp/printers", b"");
    write("proto/var/adm/log", b"");
    write("proto/lib/svc/seed/nonglobal.db", &page);
    write("overlay/generic/etc/inittab", b"overlaid\n");
    write(
        "manifest.gen",
        b"d etc 0755 root sys\nf etc/passwd 0644 root sys\nf etc/group 0644 root sys\nf etc/shadow 0400 root sys\n\
          f etc/inittab 0640 root sys\nf etc/resolv.conf 0644 netadm netadm\nd etc/lp 0775 lp lp\n\
          f etc/lp/printers 0444 lp lp\ns etc/link=passwd\nd var 0755 root sys\nd var/adm 0775 root sys\n\
          f var/adm/log 0600 root root\nd root 0700 root root\nf usr/bin/ls 0555 root bin\n",
    );
    symlink("passwd", lab.join("live/proto/etc/link")).unwrap();
}

#[test]
fn a_build_tree_makes_a_seed_too() {
    let Some(lab) = Lab::open() else { return };
    build_tree(&lab);
    let said = lab.kiln(&["create-seed", "seed-2", "--smartos-live", "live"]);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stderr.contains("manifest.gen says nothing of"), "{}", said.stderr);
    let tree = tree_of(&lab.join("output/seed-2.zfs.gz"));
    let listing = listing(&tree);
    let etc: Vec<&str> =
        listing.iter().filter(|line| line.contains(" root/etc/")).map(String::as_str).collect();
    let last = text(&tree, "root/etc/rc2.d/S99final").len();
    assert_eq!(
        etc,
        [
            "0755 0:3 root/etc/",
            "0644 0:0 root/etc/extra 0",
            "0644 0:3 root/etc/group 29",
            "0640 0:3 root/etc/inittab 9",
            "0777 0:0 root/etc/link -> passwd",
            // Its owner is deleted, and the number stays.
            "0775 71:8 root/etc/lp/",
            "0444 71:8 root/etc/lp/printers 0",
            "0644 0:3 root/etc/passwd 45",
            "0755 0:0 root/etc/rc2.d/",
            &format!("0755 0:0 root/etc/rc2.d/S99final {last}"),
            "0644 16:65 root/etc/resolv.conf 0",
            "0400 0:3 root/etc/shadow 19",
            "0755 0:0 root/etc/svc/",
            "0600 0:3 root/etc/svc/repository.db 1024",
        ]
    );
    for line in
        ["0700 0:0 root/root/", "1777 0:0 root/tmp/", "0600 0:0 root/var/adm/log 0", "0755 0:0 root/var/ssh/"]
    {
        assert!(listing.iter().any(|found| found == line), "{line}: {listing:#?}");
    }
    assert_eq!(text(&tree, "root/etc/shadow"), "root:NP:6445::::::\n");

    // As trees are today.
    fs::remove_dir_all(lab.join("live/overlay")).unwrap();
    let said = lab.kiln(&["create-seed", "seed-3", "--smartos-live", "live"]);
    assert_eq!(said.status, 0, "{}", said.stderr);
    assert!(said.stderr.contains("live has no overlay/generic/etc, as trees since 2019"), "{}", said.stderr);
    assert_eq!(text(&tree_of(&lab.join("output/seed-3.zfs.gz")), "root/etc/inittab"), "x\n");
}

#[test]
fn a_build_tree_that_is_not_finished_is_told_all_that_is_missing() {
    let Some(lab) = Lab::open() else { return };
    fs::create_dir(lab.join("live")).unwrap();
    let from = ["s-1", "--smartos-live", "live"];
    let words = ["there is no proto/etc, no proto/var, no manifest.gen", "--platform FILE"];
    refused(&lab, &from, 1, &words);
    build_tree(&lab);
    fs::write(lab.join("live/manifest.gen"), "f etc/passwd 0644 root wheel\nd etc 0755 nobody sys\n")
        .unwrap();
    let words = [
        "live/manifest.gen names owners that the image does not have",
        "line 2: there is no user nobody; line 1: there is no group wheel",
    ];
    refused(&lab, &from, 1, &words);
    fs::write(lab.join("live/manifest.gen"), "f etc/passwd 0x44 root sys\n").unwrap();
    refused(&lab, &from, 1, &["live/manifest.gen: line 1: the mode is not octal"]);
}
