//! `zfs set`, `inherit`, `rename`, `mount` and `unmount`: the functions `zfs_do_*` of zfs_main.c, and what they call in
//! usr/src/lib/libzfs/common (libzfs_dataset.c, libzfs_mount.c, libzfs_changelist.c).

use super::super::options::{Options, bytes};
use super::{does_not_exist, wrong_name};
use crate::storage::{Kind, native, split};
use crate::{Reply, World};

/// `zfs set PROPERTY=VALUE DATASET ...`: one property; since the spring of 2015 (illumos 5745, illumos-gate 30925561) there may be
/// several.
pub fn set(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let many = world.era().since("20150501");
    let split_at = arguments.iter().position(|word| !word.contains('=')).unwrap_or(arguments.len());
    let (assignments, names) = arguments.split_at(split_at);
    if assignments.is_empty() || names.is_empty() || arguments.iter().any(|word| word.starts_with('-')) {
        return Err(Reply::fail(2, "missing property=value argument\nusage:"));
    }
    if assignments.len() > 1 && !many {
        return Err(Reply::refuse("set takes one property at a time"));
    }
    for name in names {
        if world.dataset(name).is_none() {
            return Err(does_not_exist(name));
        }
        if world.stops_half_way {
            return Ok(Reply::ok());
        }
        for assignment in assignments {
            let (property, value) = assignment.split_once('=').unwrap_or((assignment, ""));
            set_one(world, name, property, value).map_err(|text| Reply::fail(1, text))?;
        }
    }
    world.show_volumes();
    Ok(Reply::ok())
}

/// Sets one property; gives what libzfs says when it cannot be.
fn set_one(world: &mut World, name: &str, property: &str, value: &str) -> Result<(), String> {
    let failed = |text: &str| format!("cannot set property for '{name}': {text}");
    if property.contains(':') {
        // zfs_prop_user: lower-case letters, digits and : + . _ -; names and values below 256 and 1024 (8192) bytes.
        if let Some(wrong) =
            property.chars().find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && !":+._-".contains(*c))
        {
            return Err(failed(&format!("invalid property '{property}' (character '{wrong}')")));
        }
        let limit = if world.era().since("20160101") { 8192 } else { 1024 };
        if property.len() >= 256 {
            return Err(failed(&format!("property name '{property}' is too long")));
        }
        if value.len() >= limit {
            return Err(failed(&format!("property value '{value}' is too long")));
        }
        if let Some(dataset) = world.dataset_mut(name) {
            dataset.set_local(property, value);
        }
        return Ok(());
    }
    let known =
        native(world.era(), property).ok_or_else(|| failed(&format!("invalid property '{property}'")))?;
    let (pool, dataset) = world.dataset(name).ok_or_else(|| failed("dataset does not exist"))?;
    if !known.applies(dataset.kind) {
        return Err(failed(&format!("'{property}' does not apply to datasets of this type")));
    }
    if world.runtime.storage.read_only.contains(&pool.guid) {
        return Err(failed("pool is read-only").replace("pool is", "read-only file system: pool is"));
    }
    let value = known.check(world.era(), value, false).map_err(|text| failed(&text))?;
    let number = bytes(&value).unwrap_or(0);
    let available = pool.available(&world.machine, world.era());
    let before = dataset.number(known.name);
    match known.name {
        "refreservation" | "reservation" if number > available + before => {
            return Err(failed("size is greater than available space"));
        }
        "quota" | "refquota" if number != 0 && number < pool.used(&world.machine, split(name).1) => {
            return Err(failed("size is less than current used or reserved space"));
        }
        "volsize" => {
            let Kind::Volume { bytes: old } = dataset.kind else { return Err(failed("not a volume")) };
            let reserved = dataset.number("refreservation");
            // A volume that keeps its space keeps it as it grows.
            let grown = if reserved >= old && reserved > 0 { reserved - old + number } else { reserved };
            if grown > available + reserved {
                return Err(failed("out of space"));
            }
            if let Some(dataset) = world.dataset_mut(name) {
                dataset.kind = Kind::Volume { bytes: number };
                if grown != reserved {
                    dataset.set_local("refreservation", &grown.to_string());
                }
            }
            return Ok(());
        }
        "mountpoint" | "canmount" => return set_mountpoint(world, name, known.name, &value),
        _ => {}
    }
    if let Some(dataset) = world.dataset_mut(name) {
        dataset.set_local(known.name, &value);
    }
    if known.name == "readonly" {
        let dir = world
            .runtime
            .storage
            .mounts
            .iter()
            .find(|mount| mount.special == name)
            .map(|mount| mount.dir.clone());
        if let Some(dir) = dir {
            world.remount(&dir, value == "on").map_err(|error| failed(error.text()))?;
        }
    }
    Ok(())
}

/// changelist_prefix and _postfix of usr/src/lib/libzfs/common/libzfs_changelist.c: what a mount point's change moves is
/// unmounted before and mounted after; if it is busy nothing changes.
fn set_mountpoint(world: &mut World, name: &str, property: &str, value: &str) -> Result<(), String> {
    let was_legacy = world.property(name, "mountpoint", true).value == "legacy";
    let affected: Vec<String> = world
        .family(name)
        .into_iter()
        .filter(|dataset| {
            let shown = world.property(dataset, "mountpoint", true);
            dataset == name || shown.source == format!("inherited from {name}")
        })
        .collect();
    let is_mounted =
        |world: &World, name: &str| world.runtime.storage.mounts.iter().any(|mount| mount.special == name);
    let mounted: Vec<String> =
        affected.iter().filter(|dataset| is_mounted(world, dataset)).cloned().collect();
    if property == "mountpoint" {
        for dataset in mounted.iter().rev() {
            world.unmount_dataset(dataset)?;
        }
    }
    if let Some(dataset) = world.dataset_mut(name) {
        dataset.set_local(property, value);
    }
    let mut failed = None;
    for dataset in &affected {
        let again = mounted.contains(dataset) || (dataset == name && was_legacy);
        if property == "mountpoint"
            && again
            && !is_mounted(world, dataset)
            && let Err(text) = world.mount_by_property(dataset)
        {
            failed = Some(format!("{text}\nproperty may be set but unable to remount filesystem"));
        }
    }
    match (property, value) {
        ("canmount", "off") if is_mounted(world, name) => world.unmount_dataset(name)?,
        ("canmount", "on") if !is_mounted(world, name) => world.mount_by_property(name)?,
        _ => {}
    }
    failed.map_or(Ok(()), Err)
}

/// `zfs inherit [-rS] PROPERTY DATASET ...`; -r and -S are not played.
pub fn inherit(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "")?;
    let [property, names @ ..] = options.operands.as_slice() else {
        return Err(Reply::fail(2, "missing property argument\nusage:"));
    };
    let inherits =
        property.contains(':') || native(world.era(), property).is_some_and(|native| native.inherits);
    if !inherits {
        return Err(Reply::fail(2, format!("'{property}' property cannot be inherited")));
    }
    if *property == "mountpoint" {
        return Err(Reply::refuse("inherit mountpoint is not played"));
    }
    for name in names {
        world.dataset_mut(name).ok_or_else(|| does_not_exist(name))?.properties.remove(*property);
    }
    Ok(Reply::ok())
}

/// `zfs rename [-p] FROM TO`.
pub fn rename(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "p")?;
    let [from, to] = options.operands.as_slice() else {
        return Err(Reply::fail(2, "missing target dataset argument\nusage:"));
    };
    let fail = |text: &str| Reply::fail(1, format!("cannot rename '{from}': {text}"));
    if world.dataset(from).is_none() {
        return Err(does_not_exist(from));
    }
    if let Some(text) = wrong_name(to) {
        return Err(Reply::fail(1, format!("cannot create '{to}': {text}")));
    }
    let ((pool_name, old), (to_pool, new)) = (split(from), split(to));
    if old.is_empty() || new.is_empty() {
        return Err(fail("operation not applicable to datasets of this type"));
    }
    if pool_name != to_pool {
        return Err(Reply::fail(1, format!("cannot rename to '{to}': datasets must be within same pool")));
    }
    if world.dataset(to).is_some() {
        return Err(fail("dataset already exists"));
    }
    if format!("{new}/").starts_with(&format!("{old}/")) {
        return Err(Reply::fail(
            1,
            format!(
                "cannot rename to '{to}': New dataset name cannot be a descendant of current dataset name"
            ),
        ));
    }
    let parent = to.rsplit_once('/').map_or(pool_name, |(parent, _)| parent);
    if world.dataset(parent).is_none() {
        if options.has('p') {
            return Err(Reply::refuse("rename -p that makes parents is not played"));
        }
        return Err(fail("parent does not exist"));
    }
    if world.stops_half_way {
        return Ok(Reply::ok());
    }
    let family = world.family(from);
    // Those that zfs mounts move with the name; what was mounted by hand stays where it is under the new name
    // (zfsvfs_update_fromname of zfs_vfsops.c).
    let moves = |world: &World, dataset: &str| {
        let is_mounted = world.runtime.storage.mounts.iter().any(|mount| mount.special == dataset);
        is_mounted && world.property(dataset, "mountpoint", true).value != "legacy"
    };
    let moved: Vec<&String> = family.iter().filter(|dataset| moves(world, dataset)).collect();
    for dataset in moved.iter().rev() {
        world.unmount_dataset(dataset).map_err(|text| Reply::fail(1, text))?;
    }
    let renamed = |dataset: &str| format!("{to}{}", &dataset[from.len()..]);
    let pool = world.pool_mut(pool_name).ok_or_else(|| does_not_exist(from))?;
    for dataset in &family {
        if let Some(value) = pool.datasets.remove(split(dataset).1) {
            pool.datasets.insert(split(&renamed(dataset)).1.to_owned(), value);
        }
    }
    pool.txg += 5;
    for mount in &mut world.runtime.storage.mounts {
        if family.contains(&mount.special) {
            mount.special = renamed(&mount.special);
        }
    }
    world.write_mnttab();
    let mut reply = Reply::ok();
    for dataset in moved {
        if let Err(text) = world.mount_by_property(&renamed(dataset)) {
            reply = Reply::fail(1, text);
        }
    }
    world.show_volumes();
    Ok(reply)
}

/// `zfs mount` lists, `zfs mount [-O] DATASET` and `zfs mount -a` mount.
pub fn mount(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "aO")?;
    match options.operands.as_slice() {
        [] if options.has('a') => {
            let names: Vec<String> = {
                let imported = &world.runtime.storage.imported;
                let pools = world.pools.iter().filter(|pool| imported.contains(&pool.guid));
                pools.flat_map(|pool| world.family(&pool.name)).collect()
            };
            let mut reply = Reply::ok();
            for name in names {
                if !world.runtime.storage.mounts.iter().any(|mount| mount.special == name)
                    && let Err(text) = world.mount_by_property(&name)
                {
                    reply = Reply { status: 1, ..reply }.with_stderr(text);
                }
            }
            Ok(reply)
        }
        [] => {
            let mounts = world.runtime.storage.mounts.iter().filter(|mount| mount.kind == "zfs");
            Ok(Reply::text(
                mounts.map(|mount| format!("{:<30}  {}\n", mount.special, mount.dir)).collect::<String>(),
            ))
        }
        [name] => {
            let (_, dataset) = world.dataset(name).ok_or_else(|| does_not_exist(name))?;
            if dataset.kind != Kind::Filesystem {
                return Err(Reply::fail(
                    1,
                    format!("cannot open '{name}': operation not applicable to datasets of this type"),
                ));
            }
            let dir = world.property(name, "mountpoint", true).value;
            if dir == "legacy" {
                return Err(Reply::fail(1, format!("cannot mount '{name}': legacy mountpoint"))
                    .with_stderr("use mount(1M) to mount this filesystem"));
            }
            if dir == "none" {
                return Err(Reply::fail(1, format!("cannot mount '{name}': no mountpoint set")));
            }
            if world.runtime.storage.mounts.iter().any(|mount| mount.special == *name) {
                return Err(Reply::fail(1, format!("cannot mount '{name}': filesystem already mounted")));
            }
            if world.property(name, "canmount", true).value == "off" {
                return Err(Reply::fail(
                    1,
                    format!("cannot mount '{name}': 'canmount' property is set to 'off'"),
                ));
            }
            if options.has('O') {
                return match world.mount_dataset(name, &dir, true, false) {
                    Ok(()) => Ok(Reply::ok()),
                    Err(error) => Err(Reply::fail(1, format!("cannot mount '{name}': {}", error.text()))),
                };
            }
            world.mount_by_property(name).map_err(|text| Reply::fail(1, text))?;
            Ok(Reply::ok())
        }
        _ => Err(Reply::fail(2, "too many arguments\nusage:")),
    }
}

/// `zfs unmount DATASET|MOUNTPOINT`; by force only in that -f is accepted where nothing is busy.
pub fn unmount(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "f")?;
    let [name] = options.operands.as_slice() else { return Err(Reply::refuse("unmount wants one dataset")) };
    let mount = world
        .runtime
        .storage
        .mounts
        .iter()
        .rev()
        .find(|mount| mount.kind == "zfs" && (mount.special == *name || mount.dir == *name))
        .cloned();
    let Some(mount) = mount else {
        return Err(match world.dataset(name) {
            None => does_not_exist(name),
            Some(_) => Reply::fail(1, format!("cannot unmount '{name}': not currently mounted")),
        });
    };
    if world.property(&mount.special, "mountpoint", true).value == "legacy" {
        return Err(Reply::fail(1, format!("cannot unmount '{}': legacy mountpoint", mount.special))
            .with_stderr("use umount(1M) to unmount this filesystem"));
    }
    world.unmount_dataset(&mount.special).map_err(|text| Reply::fail(1, text))?;
    Ok(Reply::ok())
}
