//! The files of the stand-in platform: enough of each kind that what kiln does to a platform has something to do.

use std::io::Cursor;

use anyhow::{Context, Result};
use kiln_ufs::{Attributes, EditOptions, MakeOptions, Timestamp};

use crate::create_seed::repository::{MAGIC, ORDER, PAGE};

/// Bytes of the file system that becomes `/usr.lgz`.
const USR_BYTES: u64 = 4 << 20;
/// Inode density of `/usr` in platform builds, in bytes an inode (source: smartos-live, tools/build_live).
const USR_BYTES_PER_INODE: u32 = 14_000;

/// Files of a real boot archive that an image build touches, and enough around them to look at.
pub const FILES: [(&str, u16, &str); 12] = [
    ("/etc/issue", 0o644, "kiln stand-in platform\n"),
    (
        "/etc/shadow",
        0o400,
        "root:$5$standin$AxcGSn0mPyhMSyJ2gYrjM4U2ktkaXBXGZJ6w0gJ4Xv5:6445::::::\ndaemon:NP:6445::::::\n\
         nobody:*LK*:6445::::::\nlp:NP:6445::::::\nadm:NP:6445::::::\npostgres:NP:6445::::::\n",
    ),
    (
        "/etc/passwd",
        0o644,
        "root:x:0:0:Super-User:/root:/usr/bin/bash\ndaemon:x:1:1::/:\nnobody:x:60001:60001:NFS Anonymous Access \
         User:/:\nlp:x:71:8:Line Printer Admin:/:\nadm:x:4:4:Admin:/var/adm:\npostgres:x:90:90::/:/usr/bin/pfksh\n",
    ),
    (
        "/etc/group",
        0o644,
        "root::0:\nother::1:root\nnobody::60001:\nsys::3:root,adm\nlp::8:root\nadm::4:root\npostgres::90:\n",
    ),
    ("/etc/name_to_major", 0o644, "cn 0\nrootnex 1\nufs 2\nramdisk 3\n"),
    ("/etc/release", 0o644, "kiln stand-in platform, not a SmartOS\n"),
    (
        "/etc/ssh/sshd_config",
        0o644,
        "Port 22\nHostKey /var/ssh/ssh_host_rsa_key\nHostKey /var/ssh/ssh_host_ecdsa_key\nHostKey \
         /var/ssh/ssh_host_ed25519_key\nPermitRootLogin yes\nPasswordAuthentication yes\nSubsystem sftp internal-sftp\n",
    ),
    ("/etc/inet/ntp.conf", 0o644, "server 0.smartos.pool.ntp.org\n"),
    ("/etc/cron.d/crontabs/root", 0o600, "10 3 * * * /usr/sbin/logadm\n"),
    ("/boot/solaris/bootenv.rc", 0o644, "setprop ata-dma-enabled 1\n"),
    ("/lib/svc/method/fs-joyent", 0o755, "#!/bin/sh\nexit 0\n"),
    ("/lib/svc/method/smartdc-config", 0o755, "#!/bin/sh\nexit 0\n"),
];

/// Folders of a real boot archive that stay empty here.
pub const FOLDERS: [&str; 10] =
    ["/dev", "/devices", "/kernel", "/opt", "/proc", "/root", "/sbin", "/system/usr/bin", "/tmp", "/usr/lib"];

/// Files that a zone has copies of, and what it needs of its host, with owner and group.
pub const OWNED: [(&str, u16, u32, u32, &str); 15] = [
    (
        "/etc/inittab",
        0o644,
        0,
        3,
        "smf::sysinit:/lib/svc/bin/svc.startd\t>/dev/msglog 2<>/dev/msglog </dev/console\n",
    ),
    ("/etc/nsswitch.conf", 0o644, 0, 3, "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("/etc/profile", 0o644, 0, 3, "if /bin/i386\nthen\n\tTERM=sun-color\nfi\n"),
    (
        "/etc/user_attr",
        0o644,
        0,
        3,
        "adm::::profiles=Log Management\nlp::::profiles=Printer Management\nroot::::auths=solaris.*\n\
         admin::::profiles=Primary Administrator\n",
    ),
    ("/etc/rc2.d/README", 0o644, 0, 3, "Scripts of the second run level.\n"),
    ("/etc/rc2.d/S20sysetup", 0o744, 0, 3, "#!/sbin/sh\n"),
    ("/etc/svc/profile/generic.xml", 0o444, 0, 3, GENERIC),
    ("/lib/svc/bin/svc.configd", 0o555, 0, 3, "stand-in\n"),
    ("/lib/svc/bin/svc.startd", 0o555, 0, 3, "stand-in\n"),
    ("/lib/svc/manifest/network/ssh.xml", 0o444, 0, 3, SSH),
    ("/lib/svc/manifest/system/sac.xml", 0o444, 0, 3, SAC),
    ("/sbin/init", 0o555, 0, 3, "stand-in\n"),
    ("/var/adm/wtmpx", 0o644, 4, 4, ""),
    ("/var/log/manifest", 0o644, 0, 0, "d41d8cd98f00b204e9800998ecf8427e  ./var/adm/wtmpx\n"),
    ("/var/log/syslog", 0o644, 0, 3, ""),
];

/// Repositories of services: the global zone's, and the one that zones begin with.
pub const REPOSITORIES: [&str; 2] = ["/etc/svc/repository.db", "/lib/svc/seed/nonglobal.db"];

/// Files of `/usr`.
const USR: [(&str, &str); 5] = [
    ("/bin/bash", "stand-in\n"),
    ("/lib/brand/joyent/config.xml", "<?xml version=\"1.0\"?>\n<brand name=\"joyent\"/>\n"),
    ("/lib/brand/joyent/manifests", "# Manifests of zones.\nnetwork/ssh.xml\tenabled\n"),
    ("/lib/brand/joyent/platform.xml", "<?xml version=\"1.0\"?>\n<platform name=\"joyent\"/>\n"),
    ("/sbin/svcadm", "stand-in\n"),
];

/// Where `/usr` has the repository of another brand.
const MINIMAL: &str = "/lib/brand/joyent-minimal/repository.db";

macro_rules! bundle {
    ($kind:literal, $name:literal, $inside:literal) => {
        concat!(
            "<?xml version='1.0'?>\n\
             <!DOCTYPE service_bundle SYSTEM '/usr/share/lib/xml/dtd/service_bundle.dtd.1'>\n<service_bundle type='",
            $kind,
            "' name='",
            $name,
            "'>\n",
            $inside,
            "</service_bundle>\n"
        )
    };
}

const GENERIC: &str = bundle!("profile", "generic", "");

const SSH: &str = bundle!(
    "manifest",
    "ssh",
    "<service name='network/ssh' type='service' version='1'>\n  <create_default_instance enabled='false'/>\n  \
     <exec_method type='method' name='start' exec='/lib/svc/method/sshd start' timeout_seconds='60'/>\n</service>\n"
);

const SAC: &str = bundle!(
    "manifest",
    "sac",
    "<service name='system/sac' type='service' version='1'>\n  <instance name='default' enabled='true'/>\n</service>\n"
);

/// A repository with nothing in it but what tells that it is one, and, to tell one from another, where it stands.
pub fn repository(path: &str) -> Vec<u8> {
    let mut page = [&MAGIC[..], &ORDER, path.as_bytes()].concat();
    page.resize(PAGE, 0);
    page
}

/// The file `/usr.lgz`.
///
/// # Errors
/// None, unless the file system has no room for its few files.
pub fn usr(time: i32) -> Result<Vec<u8>> {
    let seed = u64::from(time.unsigned_abs());
    let options =
        MakeOptions { bytes: USR_BYTES, bytes_per_inode: USR_BYTES_PER_INODE, time, generation_seed: seed };
    let ufs = kiln_ufs::make(Vec::new(), &options)?;
    let mut ufs = ufs.edit(EditOptions { time: Timestamp::from_seconds(time), generation_seed: seed });
    let folder = Attributes { mode: 0o755, uid: 0, gid: 2 };
    let minimal = repository(MINIMAL);
    let files =
        USR.iter().map(|(path, text)| (*path, text.as_bytes())).chain([(MINIMAL, minimal.as_slice())]);
    for (path, contents) in files {
        let (parent, _) = path.rsplit_once('/').context("a path without a slash")?;
        ufs.create_dir_all(parent.as_bytes(), &folder)?;
        ufs.create_file(path.as_bytes(), &Attributes { mode: 0o555, uid: 0, gid: 2 }, contents)?;
    }
    let plain = ufs.finish(time)?.into_device();
    let mut packed = Cursor::new(Vec::new());
    kiln_lofi::write(&plain[..], plain.len() as u64, &kiln_lofi::WriteOptions::default(), &mut packed)?;
    Ok(packed.into_inner())
}
