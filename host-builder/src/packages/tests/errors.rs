//! What is refused, and in which words.

use tar::EntryType;

use super::*;

/// What is said when `packages` are offered, and the first of them is asked for in a zone with `installed`.
fn said_in(packages: &[Package], installed: &[Package]) -> String {
    let folder = kiln_harness::scratch::folder("packages-errors");
    pkgsrc::repository(folder.path(), packages, None, None);
    let error =
        Setup::unsigned(folder.path()).install(&mut zone(installed), &[packages[0].name()]).unwrap_err();
    format!("{error:#}")
}

fn said(package: Package) -> String {
    said_in(&[package], &[])
}

#[test]
fn packages_that_are_not_as_their_list_says() {
    let file = |package: Package, path: &str| package.member(path, EntryType::Regular, "", b"x", 0o644);
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    let changed = file(Package::new("a-1").line("bin/a").line(&format!("@comment MD5:{md5}")), "bin/a");
    assert_eq!(
        said(changed),
        format!(
            "cannot install a-1: bin/a: its contents have the MD5 9dd4e461268c8034f5c8564e155c67a6, and not {md5} as in the \
             packing list"
        )
    );
    assert_eq!(said(Package::new("a-1").line("bin/a")), "cannot install a-1: bin/a is not in the package");
    assert_eq!(
        said(file(Package::new("a-1"), "bin/a")),
        "cannot install a-1: bin/a is not in the packing list"
    );
    assert_eq!(
        said(file(file(Package::new("a-1").line("bin/a").line("bin/b"), "bin/b"), "bin/a")),
        "cannot install a-1: the packing list has bin/a where the package has bin/b"
    );
    let link = Package::new("a-1").line("a").line("@comment Symlink:b").member(
        "a",
        EntryType::Symlink,
        "c",
        b"",
        0o777,
    );
    assert_eq!(said(link), "cannot install a-1: a: the link leads elsewhere than the packing list says");
    let owner = Package::new("a-1").line("@owner ghost").file("bin/a", b"x", 0o755);
    assert_eq!(said(owner), "cannot install a-1: bin/a: there is no user ghost in the image");
}

#[test]
fn packages_for_somewhere_else() {
    let prefix = Package::new("a-1").prefix("/opt/tools");
    assert_eq!(said(prefix), "cannot install a-1: it is made for /opt/tools, and not for /opt/local");
    let system = Package::new("a-1").about("+BUILD_INFO", b"OPSYS=NetBSD\nMACHINE_ARCH=x86_64\n");
    assert_eq!(said(system), "cannot install a-1: it is made for the system \"NetBSD\", and not for SunOS");
    let machine = Package::new("a-1").about("+BUILD_INFO", b"OPSYS=SunOS\nMACHINE_ARCH=i386\n");
    assert_eq!(
        said_in(&[machine], &[Package::new("pkg_install-1")]),
        "cannot install a-1: it is made for i386, and others in the image for x86_64"
    );
}

#[test]
fn members_that_belong_in_no_package() {
    let member = |path: &str, kind, target: &str| {
        said(Package::new("a-1").line(path).member(path, kind, target, b"", 0o644))
    };
    for (path, kind, target, words) in [
        ("/etc/passwd", EntryType::Regular, "", "the path is absolute"),
        ("../../etc/passwd", EntryType::Regular, "", "the path climbs out of the prefix"),
        ("bin/../../x", EntryType::Regular, "", "the path climbs out of the prefix"),
        ("bin//x", EntryType::Regular, "", "the path is not usable"),
        ("dev/zero", EntryType::Char, "", "a member of type '3' does not belong into a package"),
        ("dev/pipe", EntryType::Fifo, "", "a member of type '6' does not belong into a package"),
        (
            "etc/up",
            EntryType::Symlink,
            "../../../../etc",
            "the link leads out of the zone, to ../../../../etc",
        ),
        ("etc/shadow", EntryType::Link, "../../etc/shadow", "the path climbs out of the prefix"),
        ("etc/shadow", EntryType::Link, "etc/none", "a link to what is not there before it"),
    ] {
        let said = member(path, kind, target);
        assert!(said.starts_with("cannot install a-1: "), "{said}");
        assert!(said.contains(words), "{said}");
    }
    let through =
        Package::new("a-1").link("etc/out", "../../../etc").file("etc/out/passwd", b"root::0:0::/:\n", 0o644);
    assert_eq!(
        said(through),
        "cannot install a-1: etc/out/passwd: /opt/local/etc/out/passwd leads out of the prefix, to /etc/passwd"
    );
    let twice = Package::new("a-1").file("bin/a", b"x", 0o755).file("bin/a", b"y", 0o755);
    assert!(said(twice).contains("it is there twice"));
}

#[test]
fn files_and_packages_that_exclude_each_other() {
    let installed = Package::new("b-1").file("bin/x", b"x", 0o755).conflicts("c-[0-9]*");
    assert_eq!(
        said_in(&[Package::new("a-1").file("bin/x", b"y", 0o755)], std::slice::from_ref(&installed)),
        "cannot install a-1: its file /opt/local/bin/x is there already, as one of b-1"
    );
    assert_eq!(
        said_in(&[Package::new("a-1").conflicts("b>=1")], std::slice::from_ref(&installed)),
        "a-1 cannot be installed beside b-1: it conflicts with b>=1"
    );
    assert_eq!(
        said_in(&[Package::new("c-1")], &[installed]),
        "c-1 cannot be installed beside b-1, which conflicts with c-[0-9]*"
    );
    let both = [
        Package::new("a-1").depends("b>=1").file("bin/x", b"a", 0o755),
        Package::new("b-1").file("bin/x", b"b", 0o755),
    ];
    assert_eq!(
        said_in(&both, &[]),
        "cannot install a-1: its file /opt/local/bin/x is there already, as one of b-1"
    );
}

#[test]
fn an_index_that_does_not_tell_the_truth() {
    let folder = kiln_harness::scratch::folder("packages-index");
    let install = |index: &[Package], name: &str| {
        let text: String = index.iter().map(Package::summary).collect();
        std::fs::write(folder.path().join("pkg_summary.txt"), text).unwrap();
        let error =
            Setup::unsigned(folder.path()).install(&mut zone(&[Package::new("old-1")]), &[name]).unwrap_err();
        format!("{error:#}")
    };
    let packages = [Package::new("a-1").depends("b>=1"), Package::new("c-1").conflicts("old-[0-9]*")];
    pkgsrc::repository(folder.path(), &packages, None, None);
    assert_eq!(
        install(&[Package::new("a-1")], "a"),
        "cannot install a-1: it needs b>=1, of which the index of the repository does not know"
    );
    assert_eq!(
        install(&[Package::new("c-1")], "c"),
        "cannot install c-1: it conflicts with old-[0-9]*, and old-1 is installed"
    );
    assert!(install(&[Package::new("d-1")], "d").contains("d-1.tgz"));
    std::fs::copy(folder.path().join("c-1.tgz"), folder.path().join("d-1.tgz")).unwrap();
    assert_eq!(install(&[Package::new("d-1")], "d"), "cannot install d-1: the package is that of c-1");
}

#[test]
fn accounts_that_are_others() {
    let group = Package::new("a-1").data("GROUP: web:81");
    assert_eq!(
        said(group),
        "cannot install a-1: +INSTALL: the group web is to have the number 81, and has 80 in the image"
    );
    let taken = Package::new("a-1").data("GROUP: other:80");
    assert_eq!(
        said(taken),
        "cannot install a-1: +INSTALL: the group other is to have the number 80, which web has in the image"
    );
    let user = Package::new("a-1").data("USER: me:nowhere");
    assert_eq!(
        said(user),
        "cannot install a-1: +INSTALL: the user me is to be of the group nowhere, which is not there"
    );
    let injected = Package::new("a-1").data("USER: me:web:::/home:/bin/sh:0:0");
    assert_eq!(
        said(injected),
        "cannot install a-1: +INSTALL: the user me has a colon in its description, home or shell"
    );
    assert!(said(Package::new("a-1").data("GROUP: a b")).contains("no name of a user or group"));
    assert!(said(Package::new("a-1").data("FILE: ../../etc/passwd c x")).contains("no path of a package"));
    assert!(said(Package::new("a-1").data("DIR: etc m 99999")).contains("no mode in octal digits"));
}

#[test]
fn images_that_take_no_packages() {
    let folder = kiln_harness::scratch::folder("packages-images");
    pkgsrc::repository(folder.path(), &[Package::new("a-1")], None, None);
    let setup = Setup::unsigned(folder.path());
    let mut empty = Tree::new(attributes(0o755, 0, 0, TIME));
    let said = |error: anyhow::Error| error.to_string();
    assert_eq!(
        said(setup.install(&mut empty, &["a"]).unwrap_err()),
        "the image has no folder root, which is the zone's /"
    );
    let mut tree = zone(&[]);
    let root = tree.find([&b"root"[..]]).unwrap();
    Area::new(&mut tree, root).remove(b"/opt/local/.pkgdb");
    assert_eq!(
        said(setup.install(&mut tree, &["a"]).unwrap_err()),
        "there is no database of packages in /opt/local of the image"
    );
    let mut tree = zone(&[Package::new("b-1").about("+CONTENTS", b"@name c-1\n@cwd /opt/local\n")]);
    let error = setup.install(&mut tree, &["a"]).unwrap_err();
    assert_eq!(format!("{error:#}"), "the installed package b-1: its packing list is that of c-1");
}

#[test]
fn files_that_are_no_packages() {
    let folder = kiln_harness::scratch::folder("packages-none");
    let put = |bytes: &[u8]| {
        std::fs::write(folder.path().join("a-1.tgz"), bytes).unwrap();
        format!("{:#}", Setup::unsigned(folder.path()).install(&mut zone(&[]), &["a"]).unwrap_err())
    };
    assert!(put(b"").contains("a file of 0 bytes is no package"));
    assert!(put(b"words that are no package").contains("the archive ends inside a member"));
    let whole = Package::new("a-1").file("bin/a", &[b'x'; 5000], 0o755).archive();
    std::fs::write(folder.path().join("pkg_summary.txt"), Package::new("a-1").summary()).unwrap();
    assert!(put(&whole[..whole.len() - 9]).starts_with("cannot install a-1: "));
    std::fs::remove_file(folder.path().join("pkg_summary.txt")).unwrap();
    std::fs::remove_file(folder.path().join("a-1.tgz")).unwrap();
    let error = Setup::unsigned(folder.path()).install(&mut zone(&[]), &["a"]).unwrap_err();
    assert!(error.to_string().starts_with("there are no packages in"));
}
