//! `kiln install-base` and `kiln create-base-images`, from a seed and a repository of the tests' own to images.

mod seed;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use kiln_e2e::listing::hex;
use kiln_e2e::{Lab, zone};
use kiln_harness::imgmanifest;
use kiln_test_packages::{self as pkgsrc, Key, Package};
use kiln_zstream::fs::tree::{Kind, Tree};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

/// Two certificates of the tests' own. `openssl x509 -hash` says 6eb0e616 and 2279e789 of them.
const CERTIFICATES: &str = include_str!("certificates.pem");

/// The packages of a base image of 23.4.0 and what they need.
const ORDINARY: [&str; 24] = [
    "changepass-1.1",
    "coreutils-9.4",
    "curl-8.4.0",
    "diffutils-3.10",
    "findutils-4.9.0",
    "gawk-5.3.0",
    "git-base-2.43.0",
    "grep-3.11",
    "gsed-4.9",
    "gtar-base-1.35",
    "less-643",
    "libuv-1.47.0",
    "npm-10.2.0",
    "openssl-3.1.4",
    "patch-2.7.6",
    "perl-5.38.2",
    "pkg_alternatives-1.7",
    "pkg_install-20211115",
    "pkgin-23.8.1",
    "pkgsrc-gnupg-keys-20231103",
    "smtools-20231001",
    "sudo-1.9.15",
    "wget-1.21.4",
    "zlib-1.3",
];

fn repository() -> Vec<Package> {
    let mut packages: Vec<Package> = ORDINARY
        .iter()
        .map(|name| {
            let base = name.rsplit_once('-').unwrap().0;
            Package::new(name).file(&format!("bin/{base}"), format!("{name}\n").as_bytes(), 0o755)
        })
        .collect();
    let (first, second) = CERTIFICATES.split_at(CERTIFICATES.rfind("-----BEGIN").unwrap());
    packages.push(
        Package::new("mozilla-rootcerts-openssl-2.13")
            .file("etc/openssl/certs/mozilla-rootcert-0.pem", first.as_bytes(), 0o644)
            .file("etc/openssl/certs/mozilla-rootcert-1.pem", second.as_bytes(), 0o644),
    );
    packages.push(Package::new("mozilla-rootcerts-1.0").file(
        "share/mozilla-rootcerts/cacert.pem",
        CERTIFICATES.as_bytes(),
        0o644,
    ));
    packages.push(Package::new("nodejs-20.9.0").depends("libuv>=1.40").file("bin/node", b"node\n", 0o755));
    packages.push(
        Package::new("postfix-3.8.3")
            .file("sbin/postmap", b"postmap\n", 0o755)
            .file(
                "share/examples/postfix/main.cf",
                b"# Postfix\ninet_protocols = ipv4\nmail_owner = postfix\n",
                0o644,
            )
            .file("share/examples/postfix/aliases", b"# of the package\n", 0o644)
            .data("GROUP: maildrop")
            .data("GROUP: postfix")
            .data("USER: postfix:postfix::Postfix user:/var/spool/postfix:/usr/bin/false")
            .data("FILE: etc/postfix/main.cf c share/examples/postfix/main.cf 0644")
            .data("FILE: etc/postfix/aliases c share/examples/postfix/aliases 0644"),
    );
    packages.push(
        Package::new("rsyslog-8.2310.0")
            .depends("zlib>=1.2")
            .file("sbin/rsyslogd", b"d\n", 0o755)
            .service("rsyslog"),
    );
    packages.push(
        Package::new("zoneinit-1.7.1")
            .file("lib/svc/manifest/mdata.xml", b"<service_bundle type='manifest' name='mdata'/>\n", 0o644)
            .service("zoneinit"),
    );
    packages
}

/// What a test builds from.
struct Setting {
    lab: Lab,
}

impl Setting {
    fn open() -> Option<Self> {
        let lab = Lab::open()?;
        seed::write(&lab.join("seeds/seed.zfs.gz"), |_| {});
        let sha1 = sha1_of(&lab.join("seeds/seed.zfs.gz"));
        let manifest = |uuid: &str, name: &str| {
            let file = json!([{ "sha1": sha1, "size": 1, "compression": "gzip" }]);
            json!({ "v": 2, "uuid": uuid, "name": name, "version": "1", "type": "zone-dataset", "os": "smartos", "files": file })
        };
        fs::write(lab.join("seeds/seed.json"), manifest(seed::UUID, "seed").to_string()).unwrap();
        let other = manifest("11111111-1111-4111-8111-111111111111", "other");
        fs::write(lab.join("seeds/other.json"), other.to_string()).unwrap();
        fs::write(lab.join("seeds/readme.json"), "no manifest").unwrap();

        let kit = pkgsrc::bootstrap(&[
            Package::new("pkg_install-20210410").file("sbin/pkg_admin", b"pkg_admin\n", 0o755),
            Package::new("bmake-20230723").file("bin/bmake", b"bmake\n", 0o755).file(
                "etc/pkg_install.conf",
                b"PKG_PATH=x\n",
                0o644,
            ),
        ]);
        fs::create_dir_all(lab.join("packages/bootstrap")).unwrap();
        fs::write(lab.join("packages/bootstrap/bootstrap-2023Q4-x86_64.tar.gz"), kit).unwrap();
        pkgsrc::repository(&lab.join(PLAIN), &repository(), None, Some("pkg_summary.gz"));
        Some(Self { lab })
    }

    /// Runs kiln, which must fail with that status and these words, and leave nothing behind.
    fn refused(&self, arguments: &[&str], status: i32, words: &[&str]) {
        let before = self.lab.names("");
        let said = self.lab.kiln(arguments);
        assert_eq!(said.status, status, "{arguments:?}: {}", said.stderr);
        for word in words {
            assert!(said.stderr.contains(word), "{word} is missing from {}", said.stderr);
        }
        if status == 1 {
            assert!(said.stderr.contains("hint: "), "{}", said.stderr);
        }
        assert_eq!(self.lab.names(""), before, "something was left behind");
    }
}

/// The repository without signatures, in the place that repositories have.
const PLAIN: &str = "packages/2023Q4/x86_64/All";

const IMAGES: [&str; 3] = ["minimal-64-lts", "base-64-lts", "pkgbuild-lts"];

fn sha1_of(path: &Path) -> String {
    hex(&Sha1::digest(fs::read(path).unwrap()))
}

/// The file system in an image, which is a good one.
fn tree_of(image: &Path) -> Tree {
    zone::read(&[image]).tree
}

/// Every name in an image with what is behind it, and the texts of all files that no package has.
fn listing(tree: &Tree) -> String {
    let mut lines = String::new();
    let mut texts = String::new();
    let mut path: Vec<String> = Vec::new();
    for step in tree.walk() {
        path.truncate(step.depth);
        path.push(String::from_utf8(step.name.to_vec()).unwrap());
        let path = path.join("/");
        let node = tree.node(step.node);
        let at = &node.attributes;
        let what = match &node.kind {
            Kind::Directory(_) => "/".to_owned(),
            Kind::Symlink(target) => format!(" -> {}", String::from_utf8_lossy(target)),
            Kind::File(contents) => {
                let text = text(tree, &path)
                    .unwrap_or_else(|| format!("{} bytes that are no text\n", contents.size()));
                if !of_a_package(&path) {
                    write!(texts, "\n--- {path}\n{text}").unwrap();
                }
                String::new()
            }
            other => format!(" type {:o}", other.code()),
        };
        writeln!(lines, "{:04o} {}:{} {path}{what}", at.permissions, at.uid, at.gid).unwrap();
    }
    lines + &texts
}

/// Whether a file is as its package has it, or stands in the database of packages, which other tests look at.
fn of_a_package(path: &str) -> bool {
    let below = path.strip_prefix("root/opt/local/");
    below.is_some_and(|below| !below.starts_with("etc/"))
}

/// What a file says, if it is text.
fn text(tree: &Tree, path: &str) -> Option<String> {
    String::from_utf8(zone::contents(tree, path)).ok().filter(|text| !text.contains('\0'))
}

/// Compares with a file of the repository.
fn expect(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli_base_images").join(name);
    let expected = fs::read_to_string(&path).unwrap_or_default();
    if found != expected {
        let difference = expected.lines().zip(found.lines()).find(|(expected, found)| expected != found);
        panic!("the image is not as {name} says: expected and found\n{difference:#?}");
    }
}

#[test]
fn the_images_of_a_release() {
    let Some(setting) = Setting::open() else { return };
    let lab = &setting.lab;
    let overlay = lab.join("mine");
    fs::create_dir_all(overlay.join("etc/rc2.d")).unwrap();
    fs::create_dir_all(overlay.join("root")).unwrap();
    fs::create_dir_all(overlay.join("sysconfdir")).unwrap();
    fs::write(overlay.join("etc/mine"), "@IMAGE_NAME@ of @IMAGE_BRANCH@, me@example.org\n").unwrap();
    fs::write(overlay.join("etc/rc2.d/S50mine"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(overlay.join("etc/rc2.d/S50mine"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(overlay.join("root/.mine"), b"\xff@NO_TEXT@").unwrap();
    fs::write(overlay.join("sysconfdir/mine.conf"), "@IMAGE_SYSCONFDIR@\n").unwrap();

    let words = |output: &str| {
        let words = ["create-base-images", "-b", "2023Q4", "-r", "23.4.0", "-s", "lts", "--seeds", "seeds"];
        let more = [
            "--packages",
            PLAIN,
            "--allow-unsigned",
            "--overlay",
            "mine",
            "--output",
            output,
            "eula=https://example.org/eula",
        ];
        [&words[..], &more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let said = lab.kiln(&words("one").iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.status, 0, "{}", said.stderr);

    let mut files = Vec::new();
    for image in IMAGES {
        for ending in ["-report.json", ".json", ".zfs.gz"] {
            files.push(format!("{image}-23.4.0{ending}"));
        }
    }
    files.sort();
    assert_eq!(lab.names("one"), files);

    let mut manifests = Vec::new();
    for image in IMAGES {
        let stem = format!("one/{image}-23.4.0");
        let tree = tree_of(&lab.join(format!("{stem}.zfs.gz")));
        expect(&format!("{image}.list"), &listing(&tree));
        let manifest: Value =
            serde_json::from_slice(&fs::read(lab.join(format!("{stem}.json"))).unwrap()).unwrap();
        assert_eq!(manifest["files"][0]["sha1"], sha1_of(&lab.join(format!("{stem}.zfs.gz"))));
        assert_eq!((&manifest["name"], &manifest["version"]), (&json!(image), &json!("23.4.0")));
        assert_eq!(manifest["requirements"]["min_platform"]["7.0"], "20210826T002459Z");
        assert_eq!(manifest["eula"], "https://example.org/eula");
        manifests.push(json!(["minimal", null, manifest]));

        let report: Value =
            serde_json::from_slice(&fs::read(lab.join(format!("{stem}-report.json"))).unwrap()).unwrap();
        assert_eq!(report["uuid"], manifest["uuid"]);
        assert_eq!(report["git_branch"], "release/2023Q4");
        assert_eq!(report["bootstrap"], "bootstrap-2023Q4-x86_64.tar.gz");
        expect(&format!("{image}.first-boot"), &(first_boot(&report).join("\n") + "\n"));
        for entry in report["first_boot"].as_array().unwrap() {
            let why = entry["why"].as_str().unwrap();
            assert!(said.stdout.contains(why), "{why} is missing from {}", said.stdout);
        }
        let packages: Vec<&str> = report["installed"]["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| package["name"].as_str().unwrap())
            .collect();
        assert_eq!(packages.contains(&"nodejs-20.9.0"), image != "minimal-64-lts");
        assert_eq!(packages.contains(&"git-base-2.43.0"), image == "pkgbuild-lts");
        assert!(!packages.contains(&"npm-10.2.0") && !packages.contains(&"openssl-3.1.4"));
    }
    if let Some(judge) = imgmanifest::judge() {
        let verdicts = imgmanifest::verdicts(judge, &Value::from(manifests).to_string());
        assert_eq!(verdicts, "[[],[],[]]");
    }

    // The same bytes with other threads, another umask and other modes of the checkout.
    for entry in ["mine/etc/mine", "mine/sysconfdir/mine.conf"] {
        fs::set_permissions(lab.join(entry), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let program = lab.command().get_program().to_owned();
    let output = Command::new("sh")
        .args(["-c", "umask 077 && exec \"$@\"", "sh"])
        .arg(program)
        .args(words("two"))
        .args(["--jobs", "1"])
        .current_dir(lab.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in &files {
        let both = ["one", "two"].map(|folder| fs::read(lab.join(folder).join(file)).unwrap());
        assert!(both[0] == both[1], "{file} has other bytes");
    }

    // What is there is replaced only when asked for.
    fs::remove_file(lab.join("two/pkgbuild-lts-23.4.0.json")).unwrap();
    let said = lab.kiln(&words("two").iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.status, 1, "{}", said.stderr);
    assert!(said.stderr.contains("exists already") && said.stderr.contains("--force"), "{}", said.stderr);
    assert!(!lab.join("two/pkgbuild-lts-23.4.0.json").exists());
}

/// The commands of the first boot in their order.
fn first_boot(report: &Value) -> Vec<String> {
    let entries = report["first_boot"].as_array().unwrap().iter();
    let commands = entries.flat_map(|entry| entry["commands"].as_array().unwrap());
    commands
        .map(|command| {
            let words = command.as_array().unwrap().iter().map(|word| word.as_str().unwrap());
            words.collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// Flags of one image.
fn install<'a>(name: &'a str, release: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let words = ["install-base", "-c", "2023Q4-x86_64", "-n", name, "-r", release];
    [&words[..], more].concat()
}

#[test]
fn signed_packages_and_an_older_release() {
    let Some(setting) = Setting::open() else { return };
    let lab = &setting.lab;
    let (key, other) = (Key::new(1), Key::new(2));
    fs::write(lab.join("keys.gpg"), key.public()).unwrap();
    fs::write(lab.join("other.gpg"), other.armored()).unwrap();
    pkgsrc::repository(&lab.join("signed"), &repository(), Some(&key), Some("pkg_summary.gz"));
    let kit = lab.join("packages/bootstrap/bootstrap-2023Q4-x86_64.tar.gz");
    fs::copy(kit, lab.join("signed/bootstrap-2023Q4-x86_64-20240101.tar.gz")).unwrap();

    let sources = ["--seed", "seeds/seed.zfs.gz", "--packages", "signed", "-d", "20240101"];
    let signed = |keyring| [&sources[..], &["--keyring", keyring, "--json"]].concat();
    let said = lab.kiln(&install("minimal-64", "22.3.0", &signed("keys.gpg")));
    assert_eq!(said.status, 0, "{}", said.stderr);
    let events: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = events.iter().find(|event| event["event"] == "summary").unwrap();
    let report: Value =
        serde_json::from_slice(&fs::read(lab.join("output/minimal-64-22.3.0-report.json")).unwrap()).unwrap();
    assert_eq!(summary["build"], report);
    assert_eq!(report["git_branch"], "joyent/release/2023Q4");
    let requested = "mozilla-rootcerts openssl pkg_alternatives pkg_install pkgin pkgsrc-gnupg-keys changepass smtools zoneinit";
    assert_eq!(report["requested"], json!(requested.split(' ').collect::<Vec<_>>()));
    for package in report["installed"]["packages"].as_array().unwrap() {
        assert_eq!(package["signer"]["user"], "Packages 1 <packages@example.org>", "{package}");
    }
    // The certificates of mozilla-rootcerts are unpacked here.
    let tree = tree_of(&lab.join("output/minimal-64-22.3.0.zfs.gz"));
    let certs = tree.find([&b"root"[..], b"opt", b"local", b"etc", b"openssl", b"certs"]).unwrap();
    let found: BTreeMap<String, Option<String>> = tree
        .entries(certs)
        .map(|(name, node)| {
            let target = match &tree.node(node).kind {
                Kind::Symlink(target) => Some(String::from_utf8(target.clone()).unwrap()),
                _ => None,
            };
            (String::from_utf8(name.to_vec()).unwrap(), target)
        })
        .collect();
    let link = |name: &str| Some(name.to_owned());
    assert_eq!(
        found,
        BTreeMap::from([
            ("2279e789.0".to_owned(), link("mozilla-rootcert-1.pem")),
            ("6eb0e616.0".to_owned(), link("mozilla-rootcert-0.pem")),
            ("mozilla-rootcert-0.pem".to_owned(), None),
            ("mozilla-rootcert-1.pem".to_owned(), None),
        ])
    );
    assert_eq!(text(&tree, "root/etc/ssl/certs/ca-certificates.crt").unwrap(), CERTIFICATES);

    setting.refused(&install("base-64", "22.3.0", &signed("other.gpg")), 1, &["is not in the keyring"]);
    let untrusted = [&sources[..], &["--output", "none"]].concat();
    setting.refused(&install("base-64", "22.3.0", &untrusted), 2, &["--keyring", "--allow-unsigned"]);
    let unsigned =
        ["--seed", "seeds/seed.zfs.gz", "--packages", PLAIN, "--keyring", "keys.gpg", "--output", "none"];
    setting.refused(&install("base-64", "23.4.0", &unsigned), 1, &["cannot install", "--allow-unsigned"]);
    // One byte in the middle of a package.
    let path = lab.join("signed/zoneinit-1.7.1.tgz");
    let mut damaged = fs::read(&path).unwrap();
    let middle = damaged.len() - 200;
    damaged[middle] ^= 1;
    fs::write(&path, damaged).unwrap();
    let again = [&signed("keys.gpg")[..], &["--output", "none"]].concat();
    setting.refused(&install("minimal-64", "22.3.0", &again), 1, &["cannot install zoneinit-1.7.1"]);
}

#[test]
fn what_cannot_be_is_told() {
    let Some(setting) = Setting::open() else { return };
    let lab = &setting.lab;
    let all = ["--seed", "seeds/seed.zfs.gz", "--packages", PLAIN, "--allow-unsigned", "--output", "none"];
    let with = |more: &[&'static str]| install("minimal-64", "23.4.0", &[&all[..], more].concat());

    let config = |config: &'static str| {
        let words = ["install-base", "-c", config, "-n", "base-64", "-r", "23.4.0"];
        [&words[..], &all].concat()
    };
    for wrong in ["2023Q5-x86_64", "2023Q4", "trunk-sparc", "2023Q4-x86_64-lts"] {
        setting.refused(&config(wrong), 2, &[wrong, "YYYYQn or trunk"]);
    }
    for (name, release, words) in [
        ("base-64", "23.4", "three numbers"),
        ("base-64", "23.4.x", "three numbers"),
        ("ubuntu", "23.4.0", "begins with minimal-, base- or pkgbuild"),
    ] {
        setting.refused(&install(name, release, &all), 2, &[words]);
    }

    // Fields of manifests.
    for (field, words) in [
        ("name=web", "the field name follows from"),
        ("origin=11111111-1111-4111-8111-111111111111", "this one stands alone"),
        ("colour=red", "colour: is no field of version 2"),
    ] {
        setting.refused(&with(&[field]), 2, &[words]);
    }

    // Seeds.
    seed::write(&lab.join("bare.zfs.gz"), |files| {
        files.remove("etc/passwd");
        files.remove("etc/svc/repository.db");
    });
    let seed = |seed: &'static str| {
        let all = ["--seed", seed, "--packages", PLAIN, "--allow-unsigned", "--output", "none"];
        install("minimal-64", "23.4.0", &all)
    };
    let lacks =
        ["bare.zfs.gz is a seed without what a zone needs to boot", "/etc/passwd", "/etc/svc/repository.db"];
    setting.refused(&seed("bare.zfs.gz"), 1, &lacks);
    setting.refused(&seed("seeds/seed.json"), 1, &["seeds/seed.json is no ZFS stream"]);
    setting.refused(&seed("none.zfs.gz"), 1, &["none.zfs.gz"]);

    // Packages.
    let without = |gone: &str| {
        let packages: Vec<Package> =
            repository().into_iter().filter(|package| !package.name().starts_with(gone)).collect();
        pkgsrc::repository(&lab.join(format!("no-{gone}")), &packages, None, Some("pkg_summary.gz"));
    };
    without("libuv");
    without("smtools");
    let kit = "packages/bootstrap/bootstrap-2023Q4-x86_64.tar.gz";
    let from = |folder: &'static str| {
        let all =
            ["--seed", "seeds/seed.zfs.gz", "--packages", folder, "--allow-unsigned", "--output", "none"];
        install("base-64", "23.4.0", &[&all[..], &["--bootstrap", kit]].concat())
    };
    setting.refused(&from("no-libuv"), 1, &["libuv>=1.40", "nodejs-20.9.0"]);
    setting.refused(&from("no-smtools"), 1, &["smtools"]);
    pkgsrc::repository(&lab.join("gone"), &repository(), None, Some("pkg_summary.gz"));
    fs::remove_file(lab.join("gone/gawk-5.3.0.tgz")).unwrap();
    setting.refused(
        &from("gone"),
        1,
        &["cannot install gawk-5.3.0", "gone/gawk-5.3.0.tgz", "the repository lists it"],
    );
    let kits = ["there is no bootstrap kit bootstrap-2023Q4-x86_64-19990101.tar.gz", "--bootstrap"];
    setting.refused(&with(&["-d", "19990101"]), 1, &kits);
    setting.refused(&with(&["--bootstrap", "seeds/seed.json"]), 1, &["seeds/seed.json"]);

    // Overlays.
    fs::create_dir_all(lab.join("wrong/etc")).unwrap();
    fs::write(lab.join("wrong/etc/motd"), "one\n\ntwo @IMAGE_COLOUR@\n").unwrap();
    setting.refused(
        &with(&["--overlay", "wrong"]),
        1,
        &["etc/motd:3: @IMAGE_COLOUR@ is not known", "IMAGE_NAME"],
    );
    fs::create_dir_all(lab.join("strange/usr")).unwrap();
    setting.refused(&with(&["--overlay", "strange"]), 1, &["strange/usr is none of the folders"]);

    // Folders of seeds.
    let choose = |branch: &'static str| {
        let words =
            ["create-base-images", "-b", branch, "-r", "23.4.0", "--seeds", "seeds", "--packages", PLAIN];
        [&words[..], &["--allow-unsigned", "--output", "none", "--bootstrap", kit]].concat()
    };
    let shared = [&choose("2016Q4")[..], &["uuid=11111111-1111-4111-8111-111111111111"]].concat();
    setting.refused(&shared, 2, &["3 images cannot have one UUID"]);
    setting.refused(&choose("2016Q3"), 1, &["d135c918-0558-11e5-bccb-9bb2e57508ee"]);
    setting.refused(&choose("16Q3"), 2, &["16Q3"]);
    fs::write(lab.join("seeds/seed.zfs.gz"), "something else").unwrap();
    setting.refused(&choose("trunk"), 1, &["is not the image of its manifest"]);
    fs::remove_file(lab.join("seeds/seed.zfs.gz")).unwrap();
    setting.refused(&choose("2023Q4"), 1, &["there is no image beside seeds/seed.json"]);
}
