use std::collections::BTreeMap;
use std::fs;
use std::io::Read;

use super::record::{Proof, Record, Trace};
use super::*;
use crate::overlay::Tree;

fn stamp(text: &str) -> Stamp {
    text.parse().unwrap()
}

/// Files of text by path.
fn files(layer: Layer) -> BTreeMap<String, String> {
    let tree = Tree::stack([layer]).unwrap();
    let mut files = BTreeMap::new();
    for (path, entry) in tree.entries() {
        if let Kind::File(contents) = &entry.kind {
            let mut bytes = Vec::new();
            contents.open().unwrap().read_to_end(&mut bytes).unwrap();
            if let Ok(text) = String::from_utf8(bytes) {
                files.insert(String::from_utf8(path.to_vec()).unwrap(), text);
            }
        }
    }
    files
}

/// Programs by path with their length, and links by path with where they lead.
fn programs_and_links(layer: Layer) -> BTreeMap<String, String> {
    let tree = Tree::stack([layer]).unwrap();
    let mut found = BTreeMap::new();
    for (path, entry) in tree.entries() {
        let path = String::from_utf8(path.to_vec()).unwrap();
        match &entry.kind {
            Kind::Symlink(target) => {
                found.insert(path, String::from_utf8(target.clone()).unwrap());
            }
            Kind::File(contents) => {
                let mut bytes = Vec::new();
                contents.open().unwrap().read_to_end(&mut bytes).unwrap();
                if bytes.starts_with(b"\x7fELF") {
                    found.insert(path, "an executable".to_owned());
                }
            }
            Kind::Directory { .. } => {}
        }
    }
    found
}

fn attributes(layer: Layer) -> Vec<String> {
    let tree = Tree::stack([layer]).unwrap();
    tree.entries()
        .filter(|(_, entry)| !matches!(entry.kind, Kind::Directory { implied: true }))
        .map(|(path, entry)| {
            let at = entry.attributes;
            format!("{:04o} {}:{} {}", at.mode, at.uid, at.gid, path.escape_ascii())
        })
        .collect()
}

#[test]
fn every_era_gets_each_file_once_and_in_its_own_words() {
    for (text, openssh, pools) in [
        ("20130506T233003Z", false, false),
        ("20140731T235959Z", false, false),
        ("20140801T000000Z", false, true),
        ("20141030T081701Z", false, true),
        ("20150814T235959Z", false, true),
        ("20150815T000000Z", true, true),
        ("20151126T062538Z", true, true),
        ("20210826T002459Z", true, true),
    ] {
        let files = files(boot_archive(&stamp(text)));
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        let mut expected = vec![
            "etc/cron.d/crontabs/root",
            "etc/inet/ntp.conf",
            "etc/issue",
            "etc/ssh/sshd_config",
            "lib/svc/manifest/site/guest-setup.xml",
            "lib/svc/manifest/site/guest-userscript.xml",
        ];
        // OpenSSH's own file stays.
        expected.retain(|path| !openssh || *path != "etc/ssh/sshd_config");
        assert_eq!(names, expected, "{text}");
        if let Some(sshd) = files.get("etc/ssh/sshd_config") {
            let says = |line: &str| sshd.lines().any(|given| given == line);
            assert!(says("PasswordAuthentication no") && says("LookupClientHostnames no"), "{text}");
        }
        let kernel = format!("joyent_{text}");
        let platform = guest_init::platform::Platform::of_kernel(&kernel).unwrap();
        assert_eq!(platform.has_openssh(), openssh, "guest-init takes {text} for the other");
        assert_eq!(files["etc/inet/ntp.conf"].contains("\nrestrict source "), pools, "{text}");
        assert_eq!(files["etc/inet/ntp.conf"].contains("\npool "), pools, "{text}");
    }
    let variants: Vec<&Piece> =
        table::PIECES.iter().filter(|piece| piece.path == "etc/inet/ntp.conf").collect();
    assert!(variants.windows(2).all(|pair| pair[0].until == pair[1].from), "there is a gap");
}

#[test]
fn the_banner_names_the_platform_and_ends_in_the_prompt() {
    let issue = &files(boot_archive(&stamp("20141030T081701Z")))["etc/issue"];
    assert!(issue.contains("20141030T081701Z") && !issue.contains('@'), "{issue}");
    assert!(issue.ends_with("\noldskool ttya login:\n"), "{issue}");
    assert!(issue.is_ascii() && issue.lines().all(|line| line.len() < 80), "{issue}");
}

#[test]
fn modes_and_owners_are_those_of_the_manifests() {
    let stamp = stamp("20141030T081701Z");
    assert_eq!(
        attributes(boot_archive(&stamp)),
        [
            "0600 0:3 etc/cron.d/crontabs/root",
            "0644 0:3 etc/inet/ntp.conf",
            "0644 0:3 etc/issue",
            "0644 0:3 etc/ssh/sshd_config",
            "0444 0:3 lib/svc/manifest/site/guest-setup.xml",
            "0444 0:3 lib/svc/manifest/site/guest-userscript.xml",
            "0777 0:0 lib/svc/method/fs-joyent",
            "0555 0:2 lib/svc/method/guest-init",
            "0777 0:0 lib/svc/method/ntp",
            "0777 0:0 lib/svc/method/smartdc-config",
            "0777 0:0 lib/svc/method/smartdc-init",
            "0777 0:0 lib/svc/method/smartos-setup",
            "0777 0:0 lib/svc/method/smartos-userscript",
            "0777 0:0 system/usr/bin/smbios",
        ]
    );
    assert_eq!(
        attributes(custom(&stamp)),
        [
            "0755 0:0 bin",
            "0777 0:0 bin/zone-create",
            "0755 0:0 etc",
            "0644 0:0 etc/zone.json.tmpl",
            "0700 0:0 root",
            "0600 0:0 root/.bash_history",
            "0644 0:0 root/.bash_profile",
            "0644 0:0 root/.bashrc",
            "0644 0:0 root/.curlrc",
            "0644 0:0 root/.profile",
            "0700 0:0 root/.ssh",
            "0600 0:0 root/.ssh/authorized_keys",
            "0644 0:0 root/.vimrc",
        ]
    );
}

#[test]
fn the_zone_template_is_json_with_the_fields_of_the_original() {
    let template = &files(custom(&stamp("20141030T081701Z")))["etc/zone.json.tmpl"];
    let zone: serde_json::Value = serde_json::from_str(template).unwrap();
    let names: Vec<&str> = zone.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec![
        "alias",
        "autoboot",
        "brand",
        "cpu_cap",
        "cpu_shares",
        "delegate_dataset",
        "dns_domain",
        "fs_allowed",
        "image_uuid",
        "limit_priv",
        "max_locked_memory",
        "max_lwps",
        "max_physical_memory",
        "max_swap",
        "nics",
        "quota",
        "resolvers",
        "tmpfs",
        "uuid",
        "zfs_io_priority",
        "zfs_root_compression",
    ];
    expected.sort_unstable();
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(zone["nics"][0]["ip"], "172.16.9.3");
}

#[test]
fn guest_init_stands_where_the_platform_looks_and_mdata_where_it_lacks_one() {
    for (text, has_mdata, has_ntpd) in [
        ("20130506T233003Z", false, false),
        ("20131231T235959Z", false, false),
        ("20140101T000000Z", true, false),
        ("20151103T000000Z", true, false),
        ("20151126T062538Z", true, true),
        ("20210826T002459Z", true, true),
    ] {
        let mut expected = BTreeMap::from([
            ("lib/svc/method/guest-init", "an executable"),
            ("lib/svc/method/fs-joyent", "guest-init"),
            ("lib/svc/method/smartdc-config", "guest-init"),
            ("lib/svc/method/smartdc-init", "guest-init"),
            ("lib/svc/method/smartos-setup", "guest-init"),
            ("lib/svc/method/smartos-userscript", "guest-init"),
            ("system/usr/bin/smbios", "../../../lib/svc/method/guest-init"),
        ]);
        if !has_ntpd {
            expected.insert("lib/svc/method/ntp", "guest-init");
        }
        let text_of = |map: BTreeMap<&str, &str>| -> BTreeMap<String, String> {
            map.into_iter().map(|(path, what)| (path.to_owned(), what.to_owned())).collect()
        };
        assert_eq!(programs_and_links(boot_archive(&stamp(text))), text_of(expected), "{text}");
        let mut expected = BTreeMap::from([("bin/zone-create", "/lib/svc/method/guest-init")]);
        if !has_mdata {
            expected.insert("bin/mdata", "an executable");
            for command in ["bin/mdata-delete", "bin/mdata-get", "bin/mdata-list", "bin/mdata-put"] {
                expected.insert(command, "mdata");
            }
        }
        assert_eq!(programs_and_links(custom(&stamp(text))), text_of(expected), "{text}");
    }
}

fn recorded(stamp: &Stamp, layers: impl IntoIterator<Item = Layer>) -> BTreeMap<String, Trace> {
    let tree = Tree::stack([boot_archive(stamp)].into_iter().chain(layers)).unwrap();
    Record::new(stamp, Proof { sha256: "0".repeat(64), bytes: 1 }, &tree).unwrap().pieces
}

#[test]
fn the_record_names_every_piece_of_the_boot_archive() {
    for text in ["20130506T233003Z", "20141030T081701Z", "20210826T002459Z"] {
        let stamp = stamp(text);
        let tree = Tree::stack([boot_archive(&stamp)]).unwrap();
        let brought: Vec<String> = tree
            .entries()
            .filter(|(_, entry)| !matches!(entry.kind, Kind::Directory { .. }))
            .map(|(path, _)| String::from_utf8(path.to_vec()).unwrap())
            .collect();
        let recorded = recorded(&stamp, []);
        assert_eq!(recorded.keys().collect::<Vec<_>>(), brought.iter().collect::<Vec<_>>(), "{text}");
        assert_eq!(recorded["lib/svc/method/fs-joyent"], Trace::Link { link: "guest-init".to_owned() });
        let issue = &files(boot_archive(&stamp))["etc/issue"];
        let proof = Proof::of(issue.as_bytes()).unwrap();
        assert_eq!(recorded["etc/issue"], Trace::File(proof), "as it is in the image, with the stamp");
        // guest-init reads no more than 64 KiB of it.
        let record = Record { kiln: String::new(), stamp: String::new(), custom: None, pieces: recorded };
        assert!(record.to_json().len() < 16 << 10);
    }
}

/// Those are what the guest gets, and how guest-init knows whose `sshd_config` it has.
#[test]
fn the_record_names_what_owners_put_in_the_place_of_pieces() {
    let stamp = stamp("20210826T002459Z");
    let mut own = Layer::new("own", Ownership::default());
    for path in ["etc/issue", "etc/ssh/sshd_config", "etc/motd"] {
        own.add(path.as_bytes(), Kind::File(Contents::Bytes(Cow::Borrowed(b"mine\n"))));
    }
    let mine = Trace::File(Proof::of(&b"mine\n"[..]).unwrap());
    let recorded = recorded(&stamp, [own]);
    assert_eq!((&recorded["etc/issue"], &recorded["etc/ssh/sshd_config"]), (&mine, &mine));
    assert!(!recorded.contains_key("etc/motd"), "which could be thousands");
}

/// An old platform has an `mdata-get` too, and it does not work.
#[test]
fn login_shells_find_our_mdata_before_the_platforms() {
    for stamp in ["20130506T233003Z", "20210826T002459Z"].map(stamp) {
        let profile = &files(custom(&stamp))["root/.profile"];
        let path = profile.lines().find_map(|line| line.strip_prefix("PATH=")).unwrap();
        let folders: Vec<&str> = path.split(':').collect();
        assert_eq!(folders[0], "/opt/custom/bin", "{path}");
        assert!(folders.contains(&"/usr/sbin") && folders.contains(&"/usr/bin"), "{path}");
    }
}

/// A file in `overlays` or `smf` that no row names would look as if it did something.
#[test]
fn every_file_that_is_brought_along_is_in_the_table() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = 0;
    let mut folders = ["overlays/boot_archive", "overlays/custom", "smf"].map(|name| top.join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let is_it = |piece: &Piece| matches!(piece.matter, Matter::Text(given) if given == text);
            assert!(table::PIECES.iter().any(is_it), "{} is in no row", path.display());
            found += 1;
        }
    }
    let texts = table::PIECES.iter().filter(|piece| matches!(piece.matter, Matter::Text(_))).count();
    assert_eq!(found, texts);
}
