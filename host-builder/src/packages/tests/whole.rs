//! Whole installations, compared with what is to be there.

use super::*;

/// A package with something of everything that scripts do in data.
fn mail() -> Package {
    Package::new("mail-2.1nb3")
        .depends("libmail>=2<3")
        .file("bin/mail", b"#!/bin/sh\n", 0o755)
        .line("@mode 2755")
        .line("@owner adm")
        .line("@group sys")
        .file("bin/send", b"send", 0o755)
        .line("@mode")
        .line("@owner")
        .line("@group")
        .link("bin/mailx", "mail")
        .hard_link("bin/mail2", "bin/mail")
        .file("share/examples/mail/mail.cf", b"# settings\n", 0o644)
        .line("@exec echo %D %f")
        .line("@pkgdir share/mail/tables")
        .data("GROUP: mail")
        .data("GROUP: maildrop:204")
        .data("GROUP: web")
        .data("USER: mail:mail::Mail system")
        .data("USER: drop:maildrop:205")
        .data("DIR: /var/spool/mail m 0770 mail maildrop")
        .data("DIR: etc/mail fm")
        .data("DIR: share/other o")
        .data("FILE: etc/mail/mail.cf c share/examples/mail/mail.cf 0640 root mail")
        .data("FILE: etc/mail/empty c /dev/null 0600")
        .data("FILE: etc/rc.d/mail cr share/examples/mail/mail.cf 0755")
        .data("FILE: etc/mail/absent c share/examples/absent 0644")
        .data("PERMS: bin/mail 4711 root mail")
        .data("SHELL: bin/mail")
}

#[test]
fn files_accounts_and_database_are_as_pkg_add_leaves_them() {
    let folder = kiln_harness::scratch::folder("packages-whole");
    let library = Package::new("libmail-2.9").file("lib/libmail.so.2", b"ELF", 0o755);
    let old = Package::new("libmail-1.9").file("lib/libmail.so.1", b"ELF", 0o755);
    pkgsrc::repository(folder.path(), &[mail(), library, old], None, Some("pkg_summary.gz"));
    let mut tree = zone(&[Package::new("pkg_install-20240101").file("sbin/pkg_admin", b"ELF", 0o755)]);
    let (installed, first_boot) = Setup::unsigned(folder.path()).install(&mut tree, &["mail"]).unwrap();

    let names: Vec<_> =
        installed.packages.iter().map(|package| (&*package.name, package.automatic)).collect();
    assert_eq!(names, [("libmail-2.9", true), ("mail-2.1nb3", false)]);
    assert_eq!(installed.groups, ["mail", "maildrop"]);
    assert_eq!(installed.users, ["drop", "mail"]);
    assert_eq!(installed.notes, [""; 0]);

    assert_eq!(
        text(&mut tree, "/etc/passwd").unwrap(),
        "root:x:0:0::/root:/bin/sh\nadm:x:4:4::/var/adm:\nweb:x:120:80::/:\nnobody:x:60001:60001::/:\n\
         drop:x:205:204:mail drop user:/nonexistent:/usr/bin/false\n\
         mail:x:206:100:Mail system:/nonexistent:/usr/bin/false\n"
    );
    assert_eq!(
        text(&mut tree, "/etc/group").unwrap(),
        "root::0:\nsys::3:\nadm::4:\nweb::80:\nmail::100:\nmaildrop::204:\n"
    );
    assert_eq!(
        text(&mut tree, "/etc/shadow").unwrap(),
        "root:*LK*:::::::\ndrop:*LK*:::::::\nmail:*LK*:::::::\n"
    );
    assert_eq!(text(&mut tree, "/etc/shells").unwrap(), "/bin/sh\n/opt/local/bin/mail\n");
    assert_eq!(
        listing(&tree, "/var"),
        "/var 755 0:0 /\n/var/db 755 0:0 /\n/var/spool 755 0:0 /\n/var/spool/mail 770 206:204 /\n"
    );
    assert_eq!(
        listing(&tree, "/opt/local/"),
        format!(
            r##"/opt/local/.pkgdb 755 0:0 /
{}/opt/local/.pkgdb.refcount 755 0:0 /
{}/opt/local/bin 755 0:0 /
/opt/local/bin/mail 4711 0:100 "#!/bin/sh\n"
/opt/local/bin/mail2 4711 0:100 = /opt/local/bin/mail
/opt/local/bin/mailx 777 0:0 -> mail
/opt/local/bin/send 2755 4:3 "send"
/opt/local/etc 755 0:0 /
/opt/local/etc/mail 755 0:0 /
/opt/local/etc/mail/empty 600 0:0 ""
/opt/local/etc/mail/mail.cf 640 0:100 "# settings\n"
/opt/local/lib 755 0:0 /
/opt/local/lib/libmail.so.2 755 0:0 "ELF"
/opt/local/sbin 755 0:0 /
/opt/local/sbin/pkg_admin 755 0:0 "ELF"
/opt/local/share 755 0:0 /
/opt/local/share/examples 755 0:0 /
/opt/local/share/examples/mail 755 0:0 /
/opt/local/share/examples/mail/mail.cf 644 0:0 "# settings\n"
/opt/local/share/mail 755 0:0 /
/opt/local/share/mail/tables 755 0:0 /
"##,
            listing(&tree, "/opt/local/.pkgdb/"),
            listing(&tree, "/opt/local/.pkgdb.refcount/")
        )
    );
    let commands: Vec<_> = first_boot.entries().iter().map(|entry| entry.commands[0].join(" ")).collect();
    assert_eq!(
        commands,
        ["/bin/sh -c echo /opt/local mail.cf", "/opt/local/sbin/pkg_admin -K /opt/local/.pkgdb rebuild"]
    );
}

#[test]
fn the_database_has_what_pkg_info_and_pkg_delete_read() {
    let folder = kiln_harness::scratch::folder("packages-database");
    let library = Package::new("libmail-2.9").file("lib/libmail.so.2", b"ELF", 0o755);
    pkgsrc::repository(folder.path(), &[mail(), library], None, None);
    let mut tree = zone(&[]);
    Setup::unsigned(folder.path()).install(&mut tree, &["mail"]).unwrap();
    let names = |below: &str| {
        let lines = listing(&tree, below);
        let shown = lines.lines().map(|line| {
            let (path, rest) = line.split_once(' ').unwrap();
            (path.strip_prefix(below).unwrap().to_owned(), rest.split(' ').next().unwrap().to_owned())
        });
        shown.collect::<Vec<_>>()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    assert_eq!(
        names("/opt/local/.pkgdb/mail-2.1nb3/"),
        pairs(&[
            ("+BUILD_INFO", "444"),
            ("+BUILD_VERSION", "444"),
            ("+COMMENT", "444"),
            ("+CONTENTS", "644"),
            ("+DESC", "444"),
            ("+DIRS", "755"),
            ("+FILES", "755"),
            ("+FONTS", "755"),
            ("+INSTALL", "555"),
            ("+PERMS", "755"),
            ("+SHELL", "755"),
            ("+SIZE_ALL", "444"),
            ("+SIZE_PKG", "444"),
            ("+USERGROUP", "755"),
        ])
    );
    assert_eq!(listing(&tree, "/opt/local/.pkgdb/pkgdb.byfile.db"), "");
    assert_eq!(
        listing(&tree, "/opt/local/.pkgdb.refcount/")
            .lines()
            .filter(|line| !line.ends_with('/'))
            .collect::<Vec<_>>(),
        [
            r#"/opt/local/.pkgdb.refcount/dirs/opt/local/etc/mail/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/dirs/var/spool/mail/+PERMISSIONS 644 0:0 "mail maildrop 0770\n""#,
            r#"/opt/local/.pkgdb.refcount/dirs/var/spool/mail/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/files/opt/local/etc/mail/absent/+PERMISSIONS 644 0:0 "0644  \n""#,
            r#"/opt/local/.pkgdb.refcount/files/opt/local/etc/mail/absent/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/files/opt/local/etc/mail/empty/+PERMISSIONS 644 0:0 "0600  \n""#,
            r#"/opt/local/.pkgdb.refcount/files/opt/local/etc/mail/empty/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/files/opt/local/etc/mail/mail.cf/+PERMISSIONS 644 0:0 "0640 root mail\n""#,
            r#"/opt/local/.pkgdb.refcount/files/opt/local/etc/mail/mail.cf/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/files/opt/local/etc/rc.d/mail/+PERMISSIONS 644 0:0 "0755  \n""#,
            r#"/opt/local/.pkgdb.refcount/files/opt/local/etc/rc.d/mail/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/groups/mail/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/groups/maildrop/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/groups/web/+PREEXISTING 644 0:0 "mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/groups/web/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/users/drop/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
            r#"/opt/local/.pkgdb.refcount/users/mail/mail-2.1nb3 644 0:0 "/opt/local/.pkgdb/mail-2.1nb3\n""#,
        ]
    );
    assert_eq!(text(&mut tree, "/opt/local/.pkgdb/libmail-2.9/+INSTALLED_INFO").unwrap(), "automatic=yes\n");
    assert_eq!(text(&mut tree, "/opt/local/.pkgdb/libmail-2.9/+REQUIRED_BY").unwrap(), "mail-2.1nb3\n");
    let helper = text(&mut tree, "/opt/local/.pkgdb/mail-2.1nb3/+DIRS").unwrap();
    assert!(helper.starts_with("#!/sbin/sh\n# The helper +DIRS.\n"), "{helper}");
    assert!(
        helper.ends_with(
            "exit 0\n# DIR: /var/spool/mail m 0770 mail maildrop\n# DIR: etc/mail fm\n# DIR: share/other o\n"
        ),
        "{helper}"
    );
}

#[test]
fn what_needs_the_system_waits_in_the_order_of_the_packages() {
    let folder = kiln_harness::scratch::folder("packages-queue");
    let base = Package::new("base-1").line("@exec first %D").service("based");
    let top = Package::new("top-1")
        .depends("base-[0-9]*")
        .code("case ${STAGE} in\nPOST-INSTALL)\n\tnewaliases\n\t;;\nesac\n");
    let fonts = Package::new("zfonts-1").data("FONTS: share/fonts ttf");
    let plain = Package::new("plain-1").data("DIR: etc/plain m");
    pkgsrc::repository(folder.path(), &[base, top, fonts, plain], None, None);
    let mut tree = zone(&[]);
    let setup = Setup::unsigned(folder.path());
    let (_, first_boot) = setup.install(&mut tree, &["top", "zfonts", "plain"]).unwrap();
    assert_eq!(
        serde_json::to_value(&first_boot).unwrap(),
        serde_json::json!([
            {
                "why": "base-1: a command of its packing list (@exec)",
                "folder": "/opt/local",
                "commands": [["/bin/sh", "-c", "first /opt/local"]],
            },
            {
                "why": "base-1: its services",
                "commands": [["/usr/sbin/svccfg", "import", "/opt/local/lib/svc/manifest/based.xml"]],
            },
            {
                "why": "top-1: its script +INSTALL; its author wrote: newaliases",
                "folder": "/opt/local/.pkgdb/top-1",
                "environment": {
                    "PKG_METADATA_DIR": "/opt/local/.pkgdb/top-1",
                    "PKG_PREFIX": "/opt/local",
                    "PKG_REFCOUNT_DBDIR": "/opt/local/.pkgdb.refcount",
                },
                "commands": [["/opt/local/.pkgdb/top-1/+INSTALL", "top-1", "POST-INSTALL"]],
            },
            {
                "why": "zfonts-1: its script +INSTALL; what its helper +FONTS does needs the system itself",
                "folder": "/opt/local/.pkgdb/zfonts-1",
                "environment": {
                    "PKG_METADATA_DIR": "/opt/local/.pkgdb/zfonts-1",
                    "PKG_PREFIX": "/opt/local",
                    "PKG_REFCOUNT_DBDIR": "/opt/local/.pkgdb.refcount",
                },
                "commands": [["/opt/local/.pkgdb/zfonts-1/+INSTALL", "zfonts-1", "POST-INSTALL"]],
            },
            {
                "why": "the list of which package each file is of (pkgdb.byfile.db)",
                "commands": [["/opt/local/sbin/pkg_admin", "-K", "/opt/local/.pkgdb", "rebuild"]],
            },
        ])
    );
}

#[test]
fn another_version_takes_the_place_of_the_first() {
    let folder = kiln_harness::scratch::folder("packages-upgrade");
    let version = |number: u32| {
        let only = format!("share/tool/only-{number}");
        Package::new(&format!("tool-{number}"))
            .file("bin/tool", format!("tool {number}").as_bytes(), 0o755)
            .file(&only, b"x", 0o644)
            .file("share/tool/changed", b"as it was", 0o644)
            .file("share/examples/tool.conf", b"settings", 0o644)
            .data("FILE: etc/tool.conf c share/examples/tool.conf 0644")
            .data(&format!("DIR: var/tool-{number} m"))
    };
    let user = Package::new("user-1").depends("tool>=1");
    pkgsrc::repository(folder.path(), &[version(2)], None, None);
    let mut tree = zone(&[]);
    let first = kiln_harness::scratch::folder("packages-upgrade-first");
    pkgsrc::repository(first.path(), &[version(1), user], None, None);
    Setup::unsigned(first.path()).install(&mut tree, &["user"]).unwrap();
    let root = tree.find([&b"root"[..]]).unwrap();
    let mut area = Area::new(&mut tree, root);
    let any = attributes(0o644, 0, 0, TIME);
    area.write(b"/opt/local/share/tool/changed", any, b"changed".to_vec()).unwrap();
    area.write(b"/opt/local/etc/other", any, b"not a package's".to_vec()).unwrap();

    let (installed, _) = Setup::unsigned(folder.path()).install(&mut tree, &["tool"]).unwrap();
    assert_eq!(installed.packages[0].replaces.as_deref(), Some("tool-1"));
    assert_eq!(installed.notes, ["/opt/local/share/tool/changed of tool-1 was changed since, and stays"]);
    let files: Vec<_> = listing(&tree, "/opt/local/").lines().map(ToOwned::to_owned).collect();
    let files: Vec<_> = files.iter().filter(|line| !line.contains(".pkgdb")).map(String::as_str).collect();
    assert_eq!(
        files,
        [
            "/opt/local/bin 755 0:0 /",
            r#"/opt/local/bin/tool 755 0:0 "tool 2""#,
            "/opt/local/etc 755 0:0 /",
            r#"/opt/local/etc/other 644 0:0 "not a package's""#,
            r#"/opt/local/etc/tool.conf 644 0:0 "settings""#,
            "/opt/local/share 755 0:0 /",
            "/opt/local/share/examples 755 0:0 /",
            r#"/opt/local/share/examples/tool.conf 644 0:0 "settings""#,
            "/opt/local/share/tool 755 0:0 /",
            r#"/opt/local/share/tool/changed 644 0:0 "as it was""#,
            r#"/opt/local/share/tool/only-2 644 0:0 "x""#,
            "/opt/local/var 755 0:0 /",
            "/opt/local/var/tool-2 755 0:0 /",
        ]
    );
    assert_eq!(listing(&tree, "/opt/local/.pkgdb/tool-1"), "");
    assert!(!listing(&tree, "/opt/local/.pkgdb.refcount").contains("tool-1"));
    // Who needs it, and that only others asked for it, is inherited; that it was asked for now is noted.
    assert_eq!(text(&mut tree, "/opt/local/.pkgdb/tool-2/+REQUIRED_BY").unwrap(), "user-1\n");
    assert_eq!(text(&mut tree, "/opt/local/.pkgdb/tool-2/+INSTALLED_INFO"), None);
}

#[test]
fn what_is_there_is_kept_and_asked_for_from_now_on() {
    let folder = kiln_harness::scratch::folder("packages-kept");
    let packages = [Package::new("a-1").depends("b>=1"), Package::new("b-1").file("bin/b", b"b", 0o755)];
    pkgsrc::repository(folder.path(), &packages, None, None);
    let mut tree = zone(&[]);
    let setup = Setup::unsigned(folder.path());
    setup.install(&mut tree, &["a"]).unwrap();
    let info = "/opt/local/.pkgdb/b-1/+INSTALLED_INFO";
    assert!(text(&mut tree, info).is_some());
    let (installed, first_boot) = setup.install(&mut tree, &["b"]).unwrap();
    assert_eq!((installed.packages.len(), installed.kept), (0, vec!["b-1".to_owned()]));
    assert_eq!(first_boot.entries(), []);
    assert_eq!(text(&mut tree, info), None);
    assert_eq!(text(&mut tree, "/opt/local/bin/b").unwrap(), "b");
    assert_eq!(text(&mut tree, "/opt/local/.pkgdb/b-1/+REQUIRED_BY").unwrap(), "a-1\n");
}

#[test]
fn older_branches_and_settings_have_their_database_elsewhere() {
    let folder = kiln_harness::scratch::folder("packages-places");
    pkgsrc::repository(folder.path(), &[Package::new("a-1")], None, None);
    for (file, contents, place) in [
        ("/opt/local/pkg/old-1/+CONTENTS", "@name old-1\n@cwd /opt/local\n", "/opt/local/pkg/a-1/+CONTENTS"),
        ("/opt/local/etc/pkg_install.conf", "GPG=gpg\nPKG_DBDIR=/var/db/pkg\n", "/var/db/pkg/a-1/+CONTENTS"),
    ] {
        let mut tree = zone(&[]);
        let root = tree.find([&b"root"[..]]).unwrap();
        let mut area = Area::new(&mut tree, root);
        area.remove(b"/opt/local/.pkgdb");
        let any = attributes(0o644, 0, 0, TIME);
        area.write(file.as_bytes(), any, contents.as_bytes().to_vec()).unwrap();
        Setup::unsigned(folder.path()).install(&mut tree, &["a"]).unwrap();
        assert!(text(&mut tree, place).is_some(), "{place}");
    }
}

#[test]
fn the_same_packages_give_the_same_tree() {
    let folder = kiln_harness::scratch::folder("packages-same");
    let library = Package::new("libmail-2.9").file("lib/libmail.so.2", b"ELF", 0o755);
    pkgsrc::repository(folder.path(), &[mail(), library], None, None);
    let made = || {
        let mut tree = zone(&[]);
        Setup::unsigned(folder.path()).install(&mut tree, &["mail"]).unwrap();
        let all =
            tree.walk().map(|step| (step.name.to_vec(), tree.node(step.node).attributes)).collect::<Vec<_>>();
        (all, listing(&tree, "/"))
    };
    assert_eq!(made(), made());
}
