//! The ramdisk: folders and files that a platform's boot archive has, as far as a first boot touches them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::commands;
use crate::services::methods::stock_sshd_config;
use crate::{Era, Hardware};

const FOLDERS: &[&str] = &[
    "dev/dsk",
    "dev/rdsk",
    "dev/term",
    "dev/zvol",
    "devices",
    "etc/cron.d/crontabs",
    "etc/default",
    "etc/dfs",
    "etc/inet",
    "etc/ipf",
    "etc/ssh",
    "etc/svc/volatile",
    "lib/sdc",
    "lib/svc/manifest/site",
    "lib/svc/method",
    "lib/svc/share",
    "mnt",
    "opt/custom",
    "proc",
    "root",
    "sbin",
    "system/contract",
    "system/object",
    "system/usr/bin",
    "tmp",
    "usbkey",
    "usr/bin",
    "usr/lib",
    "usr/sbin",
    "var/adm",
    "var/crash",
    "var/cron",
    "var/db",
    "var/fw",
    "var/log",
    "var/run",
    "var/spool",
    "var/ssh",
    "var/svc/log",
    "var/svc/manifest/site",
    "var/tmp",
];

/// Commands that platforms have in /sbin as well.
const IN_SBIN: &[&str] = &["dladm", "ifconfig", "mount", "route", "routeadm", "umount", "zfs", "zpool"];

/// Fills an empty root folder; `simulator` is the static program, hard-linked under every command's name.
///
/// # Errors
/// When a file cannot be made.
pub fn fill(root: &Path, hardware: &Hardware, simulator: &Path) -> Result<()> {
    let era = &hardware.era;
    let make = || -> std::io::Result<()> {
        for folder in FOLDERS {
            fs::create_dir_all(root.join(folder))?;
        }
        fs::set_permissions(root.join("root"), fs::Permissions::from_mode(0o700))?;
        for folder in ["tmp", "var/tmp", "var/run"] {
            fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o1777))?;
        }
        symlink("./usr/bin", root.join("bin"))?;
        for (name, text) in files(era) {
            fs::write(root.join(name), text)?;
        }
        fs::set_permissions(root.join("etc/shadow"), fs::Permissions::from_mode(0o400))
    };
    make().context("cannot make the ramdisk")?;
    // Where the program is on another file system, this costs one copy instead of one for each command.
    let mut source = simulator.to_owned();
    for command in commands::all().filter(|command| era.since_or_always(command.since)) {
        let place = root.join(command.path.trim_start_matches('/'));
        link(&source, &place)?;
        let name = command.path.rsplit('/').next().unwrap_or_default();
        if IN_SBIN.contains(&name) {
            link(&place, &root.join("sbin").join(name))?;
        }
        source = place;
    }
    Ok(())
}

/// A hard link, or a copy where none can be made.
fn link(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        // The same program already: to copy it over itself would leave nothing of it.
        return Ok(());
    }
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    // By another process: see `kiln_shim::Root` for what would happen to a child that another thread starts meanwhile.
    let copied = Command::new("cp").arg("--").args([from, to]).status().context("cannot start cp")?;
    ensure!(copied.success(), "cannot make {}", to.display());
    Ok(())
}

fn files(era: &Era) -> Vec<(&'static str, String)> {
    vec![
        (
            "etc/passwd",
            "root:x:0:0:Super-User:/root:/usr/bin/bash\ndaemon:x:1:1::/:\nnobody:x:60001:60001:NFS:/:\n"
                .to_owned(),
        ),
        ("etc/shadow", "root:NP:6445::::::\ndaemon:NP:6445::::::\nnobody:*LK*:6445::::::\n".to_owned()),
        ("etc/group", "root::0:\nother::1:root\nbin::2:root,daemon\nsys::3:root,bin,adm\n".to_owned()),
        ("etc/ssh/sshd_config", stock_sshd_config(era)),
        ("etc/inet/hosts", "::1 localhost\n127.0.0.1 localhost loghost\n".to_owned()),
        ("etc/inet/ntp.conf", "driftfile /var/ntp/ntp.drift\n".to_owned()),
        ("etc/cron.d/crontabs/root", "10 3 * * * /usr/sbin/logadm\n".to_owned()),
        ("etc/vfstab", "/proc - /proc proc - no -\nswap - /tmp tmpfs - yes -\n".to_owned()),
        ("etc/mnttab", String::new()),
        ("lib/sdc/config.sh", "# read by scripts only\n".to_owned()),
        ("lib/svc/share/smf_include.sh", "# read by scripts only\n".to_owned()),
    ]
}
