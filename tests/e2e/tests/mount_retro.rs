//! The edited and grown boot archive is mounted by a real kernel: the UFS driver of Linux reads the tree that kiln wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use kiln_e2e::listing::{self, Entry, Listing, SEEN_BY_LINUX};
use kiln_e2e::{Lab, STAMP};
use kiln_harness::guest::Guest;

const ARCHIVE_KIB: u32 = 8192;

/// The time of everything in the archive, that of [`STAMP`].
const TIME: &str = "2026-01-01T00:00:00Z";

/// Takes the file `place` out of an image or tarball.
fn extract(lab: &Lab, place: &str, to: &Path) {
    let said = lab.command().args(["cat", place]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    fs::write(to, said.stdout).unwrap();
}

/// Lays the pieces that kiln brings along for [`STAMP`] into a listing, from the folder that they are kept in.
fn lay_own_pieces(listing: &mut Listing) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../overlays/boot_archive");
    for (path, source, mode) in [
        ("/etc/cron.d/crontabs/root", "etc/cron.d/crontabs/root", "0600"),
        ("/etc/inet/ntp.conf", "etc/inet/ntp.conf.pool", "0644"),
        ("/etc/issue", "etc/issue", "0644"),
    ] {
        let content = fs::read_to_string(folder.join(source)).unwrap().replace("@STAMP@", STAMP);
        listing.insert(path.into(), Entry::file(mode, content.as_bytes(), TIME).owned_by(0, 3));
    }
}

/// Lays what the guest runs into a listing: the program is that of the image, whose digest `kiln verify` proves.
fn lay_guest_programs(lab: &Lab, archive: &Path, listing: &mut Listing) {
    for folder in [
        "/lib/guest-init",
        "/lib/svc/manifest",
        "/lib/svc/manifest/site",
        "/system",
        "/system/usr",
        "/system/usr/bin",
    ] {
        listing.entry(folder.into()).or_insert_with(|| Entry::directory("0755", TIME));
    }
    for (path, mode, group) in
        [("/lib/svc/method/guest-init", "0555", 2), ("/lib/guest-init/image.json", "0644", 0)]
    {
        let content = lab.join("piece");
        extract(lab, &format!("{}:{path}", archive.display()), &content);
        let content = fs::read(content).unwrap();
        listing.insert(path.into(), Entry::file(mode, &content, TIME).owned_by(0, group));
    }
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../smf");
    for name in ["guest-setup.xml", "guest-userscript.xml"] {
        let content = fs::read(manifests.join(name)).unwrap();
        let path = format!("/lib/svc/manifest/site/{name}");
        listing.insert(path, Entry::file("0444", &content, TIME).owned_by(0, 3));
    }
    // The overlay has a fs-joyent of its own.
    for name in ["smartdc-config", "smartdc-init", "smartos-setup", "smartos-userscript"] {
        listing.insert(format!("/lib/svc/method/{name}"), Entry::symlink("guest-init", TIME));
    }
    let smbios = Entry::symlink("../../../lib/svc/method/guest-init", TIME);
    listing.insert("/system/usr/bin/smbios".into(), smbios);
}

/// Locks root's password in a listing, and changes nothing else in the file that it is in.
fn lock_root(listing: &mut Listing, shadow: &str) {
    let rest = shadow.strip_prefix("root:").and_then(|fields| fields.split_once(':'));
    let (_, rest) = rest.expect("root comes first");
    listing.insert("/etc/shadow".into(), Entry::file("0400", format!("root:NP:{rest}").as_bytes(), TIME));
}

/// Makes the overlay `mine` in the lab, and lays it into a listing.
fn lay_overlay(lab: &Lab, listing: &mut Listing) {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    // One file of each size class: a tail of every length, indirect and double-indirect blocks.
    for (name, size) in
        [("0", 0), ("a", 1), ("b", 1025), ("c", 2049), ("d", 3073), ("e", 49_153), ("f", 9 << 20)]
    {
        files.insert(format!("/deep/er/{name}"), (0..size).map(|n: usize| (n * 7 % 251) as u8).collect());
    }
    files.insert("/deep/a name with blanks, and ümläute".into(), b"text\n".to_vec());
    // The platform has these two: one grows, the other shrinks.
    files.insert("/etc/release".into(), vec![b'r'; 5000]);
    files.insert("/lib/svc/method/fs-joyent".into(), b"#!\n".to_vec());
    for (path, content) in &files {
        let host = lab.join(format!("mine{path}"));
        fs::create_dir_all(host.parent().unwrap()).unwrap();
        fs::write(host, content).unwrap();
        listing.insert(path.clone(), Entry::file("0644", content, TIME));
    }
    let mtree = "./deep mode=0700\n./deep/er/a mode=4711 uid=70000 gid=80000\n";
    fs::write(lab.join("mine.mtree"), mtree).unwrap();
    let a = Entry::file("4711", &files["/deep/er/a"], TIME).owned_by(70_000, 80_000);
    listing.insert("/deep/er/a".into(), a);
    listing.insert("/deep".into(), Entry::directory("0700", TIME));
    listing.insert("/deep/er".into(), Entry::directory("0755", TIME));
    std::os::unix::fs::symlink("../deep/er/a", lab.join("mine/link")).unwrap();
    listing.insert("/link".into(), Entry::symlink("../deep/er/a", TIME));
}

/// Entry by entry, the archive of the image is that of the platform with the changes that kiln promises, to kiln and to
/// the kernel.
#[test]
fn linux_reads_the_promised_tree_and_nothing_else() {
    let Some(lab) = Lab::open() else { return };
    let Some(guest) = Guest::find() else { return };
    let platform = lab.platform(ARCHIVE_KIB);
    let before = lab.join("before");
    extract(&lab, &format!("{}:/platform-{STAMP}/i86pc/amd64/boot_archive", platform.display()), &before);
    let shipped = listing::seen_by_kiln(&lab, &before);

    let mut promised = shipped.clone();
    lay_own_pieces(&mut promised);
    lock_root(&mut promised, &lab.kiln_ok(&["cat", &format!("{}:/etc/shadow", before.display())]));
    lay_overlay(&lab, &mut promised);

    let (image, _) = lab.retro(&["--overlay", "mine", "--size", "auto"]);
    let after = lab.join("after");
    extract(&lab, &format!("{}:/os/{STAMP}/platform/i86pc/amd64/boot_archive", image.display()), &after);
    lay_guest_programs(&lab, &after, &mut promised);
    let bytes = fs::metadata(&after).unwrap().len();
    assert!(bytes > u64::from(ARCHIVE_KIB) << 10, "the archive did not have to grow");
    let ours = listing::seen_by_kiln(&lab, &after);
    listing::assert_same("what is promised and what kiln reads", &promised, &ours);

    let guest = guest.file("before", before).file("after", after).deadline(Duration::from_mins(5));
    let script = format!("list() {{ {SEEN_BY_LINUX} }}\nlist before\necho ---\nlist after\n");
    let seen = guest.run(&script).unwrap().succeeded();
    let (before, after) = seen.split_once("---\n").unwrap();
    let before = listing::parse(before);
    listing::assert_same("what kiln and Linux read in the platform's archive", &shipped, &before);
    listing::assert_same("what is promised and what Linux reads", &promised, &listing::parse(after));
}
