//! The start methods of the platform's own services, as far as they touch what a guest's first boot does.
//!
//! They are played at their paths like commands, after the scripts of usr/src/cmd/svc/milestone of illumos-joyent and
//! overlay/generic of smartos-live, 2013 to 2022.

mod network;
mod ssh;

#[cfg(target_env = "gnu")]
pub(crate) use ssh::stock_config as stock_sshd_config;

use std::fs;
use std::path::PathBuf;

use crate::commands::{Command, always};
use crate::services::read_manifest;
use crate::{Reply, World};

/// Ends a method for good: SMF_EXIT_ERR_CONFIG.
const CONFIG_ERROR: u8 = 96;

/// The methods.
pub const COMMANDS: &[Command] = &[
    always("/lib/svc/method/fs-root", fs_root),
    always("/lib/svc/method/fs-usr", nothing),
    always("/lib/svc/method/fs-minimal", fs_minimal),
    always("/lib/svc/method/manifest-import", manifest_import),
    always("/lib/svc/method/net-loopback", network::loopback),
    always("/lib/svc/method/net-physical", network::physical),
    always("/lib/svc/method/net-routing-setup", network::routing_setup),
    always("/lib/svc/method/identity-node", network::identity_node),
    always("/lib/svc/method/ipfilter", network::ipfilter),
    always("/lib/svc/method/sshd", ssh::start),
    always("/lib/svc/method/ntp", nothing),
    always("/lib/svc/method/svc-zones", nothing),
];

/// A method that does nothing which matters here.
fn nothing(_: &mut World, _: &[&str]) -> Reply {
    Reply::ok()
}

/// fs-root: the root is writable, /usr is mounted read-only from a compressed image in the ramdisk.
fn fs_root(world: &mut World, _: &[&str]) -> Reply {
    let device = if world.era().since("20160301") {
        "/devices/pseudo/lofi@1:disk"
    } else {
        "/devices/pseudo/lofi@0:1"
    };
    let entry = crate::storage::Mount {
        special: device.into(),
        dir: "/usr".into(),
        kind: "ufs".into(),
        options: format!("ro,intr,largefiles,xattr,onerror=panic,{}", world.device_number()),
        time: world.now(),
        source: PathBuf::new(),
    };
    let source = world.path("/usr");
    match world.mount(&source, entry, false, true) {
        Ok(()) => Reply::ok(),
        Err(error) => Reply::fail(95, format!("cannot mount /usr: {}", error.text())),
    }
}

/// fs-minimal: /var/run and /tmp become empty file systems in memory, on top of what is there.
fn fs_minimal(world: &mut World, _: &[&str]) -> Reply {
    for dir in ["/var/run", "/tmp"] {
        if let Err(error) = world.mount_memory(dir, true) {
            // svc:/system/filesystem/minimal: SMF_EXIT_ERR_FATAL when one of its mounts fails.
            return Reply::fail(95, format!("fs-minimal: cannot mount {dir}: {}", error.text()));
        }
    }
    Reply::ok()
}

/// manifest-import: those of the boot archive again, then those of /var (site last), then those of /opt/custom/smf; a broken
/// one is skipped with a warning.
fn manifest_import(world: &mut World, _: &[&str]) -> Reply {
    let mut reply = Reply::ok();
    for folder in ["/lib/svc/manifest", "/var/svc/manifest", "/opt/custom/smf"] {
        for file in manifests(&world.path(folder), if folder == "/opt/custom/smf" { 0 } else { 4 }) {
            let text = fs::read_to_string(&file).map_err(|error| error.to_string());
            match text.and_then(|text| read_manifest(&text)) {
                Ok(manifest) => world.runtime.services.import(manifest),
                Err(error) => {
                    let line = format!("svccfg: couldn't parse document {}: {error}", file.display());
                    world.console(&line);
                    reply = reply.with_stderr(line);
                }
            }
        }
    }
    reply
}

/// The manifests below a folder, the folder `site` last.
pub fn manifests(folder: &std::path::Path, depth: u32) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_by_key(|path| (path.ends_with("site"), path.clone()));
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() && depth > 0 {
            found.extend(manifests(&path, depth - 1));
        } else if path.extension().is_some_and(|extension| extension == "xml") {
            found.push(path);
        }
    }
    found
}
