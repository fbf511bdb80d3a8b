//! A stand-in for a seed: the files of a bare zone that base images are made from, as far as a build looks at them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use flate2::write::GzEncoder;
use kiln_zstream::fs::tree::{Attributes, Kind, NodeId, Time, Tree};
use kiln_zstream::fs::{FileSystemOptions, Version};

/// The UUID of the seed of branches after 2016Q3.
pub const UUID: &str = "88a04a6c-d413-11e6-8341-ff5fa45bf3e9";

/// When the seed was made, seconds since 1970.
const MADE: i64 = 1_414_657_021;

/// What is at a path: a file with mode and owner, or a link.
pub enum Thing {
    File(u16, u32, u32, &'static str),
    Link(&'static str),
}

use Thing::{File as F, Link};

fn things() -> BTreeMap<&'static str, Thing> {
    BTreeMap::from([
        ("bin", Link("./usr/bin")),
        ("etc/default/cron", F(0o644, 0, 3, "CRONLOG=YES\n")),
        ("etc/default/init", F(0o644, 0, 3, "TZ=UTC\nLANG=en_US.UTF-8\nCMASK=022\n")),
        (
            "etc/default/su",
            F(0o444, 0, 3, "# what su does\n#PATH=/usr/bin:\n#SUPATH=/usr/sbin:/usr/bin\nSYSLOG=YES\n"),
        ),
        (
            "etc/group",
            F(
                0o644,
                0,
                3,
                "root::0:\nother::1:root\nbin::2:root\nsys::3:root\nadm::4:root\nmail::6:root\nstaff::10:\n",
            ),
        ),
        ("etc/hosts", Link("./inet/hosts")),
        ("etc/inet/hosts", F(0o444, 0, 3, "10.0.0.1 builder\n")),
        ("etc/inittab", F(0o644, 0, 3, "smf::sysinit:/lib/svc/bin/svc.startd\n")),
        ("etc/issue", F(0o644, 0, 3, "Solaris\n")),
        (
            "etc/logadm.conf",
            F(0o644, 0, 3, "/var/log/syslog -C 8\n/var/adm/messages -C 4\n/var/cron/log -c -s 512k\n"),
        ),
        ("etc/mail/mailx.rc", F(0o644, 0, 2, "set append")),
        ("etc/motd", F(0o644, 0, 3, "SunOS 5.11\n")),
        (
            "etc/passwd",
            F(
                0o644,
                0,
                3,
                "root:x:0:0:Super-User:/root:/usr/bin/bash\ndaemon:x:1:1::/:\nadm:x:4:4:Admin:/var/adm:\n",
            ),
        ),
        ("etc/rc2.d/S99final", F(0o755, 0, 0, "#!/bin/sh\nreboot\n")),
        (
            "etc/shadow",
            F(0o400, 0, 3, "root:$5$salt$hash:6445::::::\ndaemon:NP:6445::::::\nadm:NP:6445::::::\n"),
        ),
        ("etc/skel/.profile", F(0o644, 0, 3, "stty istrip\n")),
        ("etc/skel/local.login", F(0o644, 0, 3, "# csh\n")),
        ("etc/ssh/ssh_host_rsa_key", F(0o600, 0, 0, "secret\n")),
        (
            "etc/ssh/sshd_config",
            F(
                0o644,
                0,
                3,
                "Port 22\nPasswordAuthentication yes\nPermitRootLogin yes\nMatch User nobody\n  PermitRootLogin no\n",
            ),
        ),
        ("etc/svc/repository.db", F(0o600, 0, 3, "** This file contains an SQLite 2.1 database **\0")),
        (
            "etc/syslog.conf",
            F(0o644, 0, 3, "mail.info\t/var/log/postfix.log\nauth.info\t/var/log/auth.log\n"),
        ),
        ("root/.bash_history", F(0o600, 0, 0, "ls\n")),
        ("var/adm/messages", F(0o644, 0, 0, "booted\n")),
        ("var/log/syslog", F(0o644, 0, 3, "logged\n")),
        ("var/spool/cron/crontabs/root", F(0o600, 0, 3, "10 3 * * * /usr/sbin/logadm\n")),
        ("var/zoneinit/zoneinit.json", F(0o644, 0, 0, "{ \"version\": \"1.5.1\" }\n")),
    ])
}

/// Writes a seed, its files changed by `change`.
pub fn write(image: &Path, change: impl FnOnce(&mut BTreeMap<&'static str, Thing>)) {
    let mut things = things();
    change(&mut things);
    let mut tree = Tree::new(attributes(0o755, 0, 0));
    let top = tree.root();
    let root = folder(&mut tree, top, "root");
    for (path, thing) in things {
        let mut names: Vec<&str> = path.split('/').collect();
        let name = names.pop().unwrap().as_bytes();
        let directory = names.into_iter().fold(root, |at, name| folder(&mut tree, at, name));
        let (attributes, kind) = match thing {
            F(mode, uid, gid, text) => {
                (attributes(mode, uid, gid), Kind::File(Arc::new(text.as_bytes().to_vec())))
            }
            Link(target) => (attributes(0o777, 0, 0), Kind::Symlink(target.into())),
        };
        tree.add(directory, name, attributes, kind).unwrap();
    }
    fs::create_dir_all(image.parent().unwrap()).unwrap();
    let output = GzEncoder::new(File::create(image).unwrap(), flate2::Compression::fast());
    let options = FileSystemOptions {
        to_name: "zones/seed@final".into(),
        to_guid: 7,
        creation_time: MADE as u64,
        version: Version::Five,
    };
    let (output, _) = kiln_zstream::fs::write(output, &tree, &options).unwrap();
    output.finish().unwrap();
}

fn attributes(permissions: u16, uid: u32, gid: u32) -> Attributes {
    let time = Time { seconds: MADE, nanoseconds: 0 };
    Attributes { permissions, uid, gid, accessed: time, modified: time, changed: time, created: time }
}

/// The folder of that name, made if it is not there.
fn folder(tree: &mut Tree, directory: NodeId, name: &str) -> NodeId {
    let found = tree.entries(directory).find(|(known, _)| *known == name.as_bytes()).map(|(_, node)| node);
    found.unwrap_or_else(|| {
        tree.add(directory, name.as_bytes(), attributes(0o755, 0, 3), Kind::Directory(BTreeMap::new()))
            .unwrap()
    })
}
