//! `zpool create`.
//!
//! zpool_do_create of zpool_main.c; what it refuses is in zpool_vdev.c and usr/src/lib/libdiskmgt/common/inuse_*.c.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use super::super::options::Options;
use crate::storage::{
    Kind, Layout, Pool, PoolState, features, known_file_system, native, read_label, write_efi, write_label,
};
use crate::{Reply, World};

/// The smallest device: SPA_MINDEVSIZE.
const SMALLEST: u64 = 64 << 20;

/// `zpool create [-fn] [-o PROPERTY=VALUE]... [-O PROPERTY=VALUE]... [-m MOUNTPOINT] POOL DISK...`. Mirrors, RAID-Z, logs,
/// caches and files as devices are not played.
pub fn run(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "fo:O:m:")?;
    let [name, disks @ ..] = options.operands.as_slice() else {
        return Err(Reply::fail(2, "missing pool name argument\nusage:"));
    };
    check_name(name)?;
    if disks.is_empty() {
        return Err(Reply::fail(2, "missing vdev specification\nusage:"));
    }
    let mut settings = Vec::new();
    for (property, value) in options.assignments('O')? {
        let checked = match native(world.era(), property) {
            None if property.contains(':') => value.to_owned(),
            None => {
                return Err(Reply::fail(1, format!("cannot create '{name}': invalid property '{property}'")));
            }
            Some(native) => native
                .check(world.era(), value, true)
                .map_err(|text| Reply::fail(1, format!("cannot create '{name}': {text}")))?,
        };
        settings.push((property, checked));
    }
    for (property, _) in options.assignments('o')? {
        if property != "cachefile" && property != "ashift" {
            return Err(Reply::refuse(format!("create -o {property} is not played")));
        }
        if property == "ashift" {
            return Err(Reply::fail(1, format!("cannot create '{name}': invalid property '{property}'")));
        }
    }
    let disks = devices(world, disks, options.has('f'))?;
    if world.pool(name).is_some() {
        return Err(Reply::fail(1, format!("cannot create '{name}': pool already exists")));
    }
    let mountpoint = options.value('m').map_or_else(|| format!("/{name}"), str::to_owned);
    if mountpoint.starts_with('/') && !is_empty(world, &mountpoint) {
        let text = format!("mountpoint '{mountpoint}' exists and is not empty");
        return Err(if options.value('m').is_none() {
            Reply::fail(1, format!("default {text}"))
                .with_stderr("use '-m' option to provide a different default")
        } else {
            Reply::fail(1, text)
        });
    }
    // zpool_label_disk comes before the kernel is asked: what fails from here on leaves EFI labels behind.
    for disk in &disks {
        write_efi(&world.disk_file(disk))
            .map_err(|_| Reply::fail(1, format!("cannot label '{disk}': I/O error")))?;
    }
    if world.stops_half_way {
        return Ok(Reply::ok());
    }
    let sizes: Vec<u64> =
        disks.iter().map(|disk| world.hardware.disk(disk).map_or(0, |disk| disk.bytes)).collect();
    if sizes.iter().any(|&size| size < SMALLEST + (9 << 20)) {
        let text = format!("cannot create '{name}': one or more devices is less than the minimum size (64M)");
        return Err(Reply::fail(1, text));
    }
    let guid = random();
    let now = world.now();
    let mut pool = Pool {
        guid,
        name: (*name).to_owned(),
        state: PoolState::Active,
        condition: crate::storage::Condition::Healthy,
        layout: Layout::Stripe,
        // Two labels and the boot block before, two labels and libefi's reserved slice behind.
        devices: sizes.iter().map(|size| (random(), (size - (13 << 20)) >> 24 << 24)).collect(),
        properties: BTreeMap::new(),
        features: features(world.era()).map(|feature| (feature.to_owned(), "enabled".to_owned())).collect(),
        datasets: BTreeMap::new(),
        folders: 0,
        hostid: world.runtime.storage.hostid,
        hostname: world.runtime.host.name.clone(),
        txg: 4,
    };
    let root = pool.add("", Kind::Filesystem, now);
    for (property, value) in settings {
        root.set_local(property, &value);
    }
    if let Some(mountpoint) = options.value('m') {
        root.set_local("mountpoint", mountpoint);
    }
    for (disk, (device, _)) in disks.iter().zip(&pool.devices) {
        let label = pool.label(*device, &format!("/dev/dsk/{disk}s0"));
        write_label(&world.disk_file(disk), &label)
            .map_err(|_| Reply::fail(1, format!("cannot create '{name}': I/O error")))?;
    }
    world.pools.push(pool);
    world.runtime.storage.imported.push(guid);
    world.show_volumes();
    world.mount_by_property(name).map_err(|text| Reply::fail(1, text))?;
    Ok(Reply::ok())
}

/// zpool_name_valid of usr/src/lib/libzfs/common/libzfs_pool.c.
fn check_name(name: &str) -> Result<(), Reply> {
    let fail = |text: &str| Err(Reply::fail(1, format!("cannot create '{name}': {text}")));
    if ["mirror", "raidz", "spare"].iter().any(|word| name.starts_with(word)) || name == "log" {
        return fail("name is reserved\npool name may have been omitted");
    }
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return fail("name must begin with a letter");
    }
    if let Some(wrong) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.: ".contains(*c)) {
        return fail(&format!("invalid character '{wrong}' in pool name"));
    }
    Ok(())
}

/// The disks that the arguments name, if a pool may be put on them.
fn devices(world: &World, arguments: &[&str], force: bool) -> Result<Vec<String>, Reply> {
    let mut disks: Vec<String> = Vec::new();
    let mut overridable = Vec::new();
    let mut fatal = Vec::new();
    for &argument in arguments {
        if ["mirror", "log", "cache", "spare"].contains(&argument) || argument.starts_with("raidz") {
            return Err(Reply::refuse(format!("create with {argument} is not played")));
        }
        let Some(disk) = world.visible_disk(argument) else {
            return Err(Reply::fail(1, format!("cannot open '{argument}': no such device in /dev/dsk"))
                .with_stderr("must be a full path or shorthand device name"));
        };
        if !argument.ends_with(disk) {
            return Err(Reply::refuse("create on a slice is not played"));
        }
        if world.hardware.disk(disk).is_some_and(|disk| disk.key) {
            // Nothing upstream protects an fdisk partition, so the key would be gone.
            return Err(Reply::refuse("create would destroy the key disk"));
        }
        if disks.iter().any(|other| other == disk) {
            return Err(Reply::fail(1, "invalid vdev specification")
                .with_stderr("the following errors must be manually repaired:")
                .with_stderr(format!(
                    "/dev/dsk/{disk}s0 is part of active ZFS pool. Please see zpool(1M)."
                )));
        }
        // Manual pages moved from section 1M to 8 in 2021-10 (IPD 4).
        let section = if world.era().since("20211015") { "8" } else { "1M" };
        if let Some(label) = read_label(&world.disk_file(disk)) {
            let name = &label.name;
            if world.runtime.storage.imported.contains(&label.pool) {
                fatal.push(format!(
                    "/dev/dsk/{disk}s0 is part of active ZFS pool {name}. Please see zpool({section})."
                ));
            } else if label.state != 2 {
                // A destroyed pool's disks are free.
                overridable.push(format!(
                    "/dev/dsk/{disk}s0 is part of exported or potentially active ZFS pool {name}. Please see \
                     zpool({section})."
                ));
            }
        } else if let Some(kind) = known_file_system(&world.disk_file(disk)) {
            overridable.push(format!("/dev/dsk/{disk}s2 contains a {kind} filesystem."));
        }
        disks.push(disk.to_owned());
    }
    let refuse = |header: &str, errors: &[String]| {
        Err(Reply::fail(1, "invalid vdev specification").with_stderr(header).with_stderr(errors.join("\n")))
    };
    if !fatal.is_empty() {
        return refuse("the following errors must be manually repaired:", &fatal);
    }
    if !overridable.is_empty() && !force {
        return refuse("use '-f' to override the following errors:", &overridable);
    }
    Ok(disks)
}

/// Whether the folder is missing or has nothing in it.
fn is_empty(world: &World, dir: &str) -> bool {
    std::fs::read_dir(world.path(dir)).map_or(true, |mut entries| entries.next().is_none())
}

/// A random number, as pools and devices have them. It is never 0.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without the device, the time differs enough between two calls of a test.
    if File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        bytes = now.map_or(1, |now| now.as_nanos() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes();
    }
    u64::from_le_bytes(bytes) | 1
}
