//! `zfs create` and `zfs destroy`: `zfs_do_create` and `zfs_do_destroy` of zfs_main.c, `zfs_create` and
//! `zvol_volsize_to_reservation` of usr/src/lib/libzfs/common/libzfs_dataset.c, and the errors of libzfs_util.c there; the same
//! 2013-05 to 2022-04 in what is played here.

use super::super::options::{Options, bytes};
use super::{does_not_exist, wrong_name};
use crate::storage::{Kind, native, split};
use crate::{Reply, World};

/// `zfs create [-p] [-o PROPERTY=VALUE]... [-s] [-b SIZE] [-V SIZE] DATASET`.
pub fn create(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "po:sb:V:")?;
    let [name] = options.operands.as_slice() else {
        return Err(Reply::fail(2, "missing dataset argument\nusage:"));
    };
    let fail = |text: &str| Reply::fail(1, format!("cannot create '{name}': {text}"));
    if let Some(text) = wrong_name(name) {
        return Err(fail(&text));
    }
    let (pool_name, rest) = split(name);
    if world.pool(pool_name).is_none() {
        return Err(fail(&format!("no such pool '{pool_name}'")));
    }
    if world.dataset(name).is_some() {
        // With -p it is no error that all of it is there.
        return if options.has('p') { Ok(Reply::ok()) } else { Err(fail("dataset already exists")) };
    }
    let mut properties = Vec::new();
    for (property, value) in options.assignments('o')? {
        properties.push((property, value));
    }
    properties.extend(options.value('b').map(|size| ("volblocksize", size)));
    let kind = match options.value('V') {
        None => Kind::Filesystem,
        Some(size) => {
            let Some(size) = bytes(size) else {
                return Err(Reply::fail(
                    2,
                    format!("bad volume size '{size}': bad numeric value '{size}'\nusage:"),
                ));
            };
            Kind::Volume { bytes: size }
        }
    };
    let mut checked = Vec::new();
    for (property, value) in properties {
        if property.contains(':') {
            checked.push((property.to_owned(), value.to_owned()));
            continue;
        }
        let known =
            native(world.era(), property).ok_or_else(|| fail(&format!("invalid property '{property}'")))?;
        if !known.applies(kind) {
            return Err(fail(&format!("'{property}' does not apply to datasets of this type")));
        }
        let value = known.check(world.era(), value, true).map_err(|text| fail(&text))?;
        checked.push((known.name.to_owned(), value));
    }
    let block = checked
        .iter()
        .find(|(property, _)| property == "volblocksize")
        .map_or(8192, |(_, value)| bytes(value).unwrap_or(8192));
    let own_reservation =
        checked.iter().find(|(property, _)| property == "refreservation").and_then(|(_, value)| bytes(value));
    let mut reserved = own_reservation.unwrap_or(0);
    if let Kind::Volume { bytes: size } = kind {
        if size == 0 {
            return Err(fail("volume size must be greater than zero").with_stderr(""));
        }
        if !block.is_power_of_two() || !(512..=131_072).contains(&block) {
            return Err(fail("volume block size must be power of 2 from 512B to 128K"));
        }
        if size % block != 0 {
            return Err(fail("volume size must be a multiple of volume block size"));
        }
        if own_reservation.is_none() && !options.has('s') {
            // zvol_volsize_to_reservation: the volume and the blocks that point to its blocks.
            reserved = size + size / block * 128 / 100 * 2;
            checked.push(("refreservation".to_owned(), reserved.to_string()));
        }
    }
    let pool = world.pool(pool_name).ok_or_else(|| does_not_exist(pool_name))?;
    if reserved > pool.available(&world.machine, world.era()) {
        return Err(fail("out of space"));
    }
    if pool.available(&world.machine, world.era()) < 64 << 10 {
        return Err(fail("out of space"));
    }
    let mut new = vec![rest.to_owned()];
    while let Some((parent, _)) = new[new.len() - 1].clone().rsplit_once('/') {
        match pool.datasets.get(parent) {
            None if options.has('p') => new.push(parent.to_owned()),
            None => return Err(fail("parent does not exist")),
            Some(above) if above.kind != Kind::Filesystem => return Err(fail("parent is not a filesystem")),
            Some(_) => break,
        }
    }
    if world.stops_half_way {
        return Ok(Reply::ok());
    }
    let now = world.now();
    let mut reply = Reply::ok();
    for part in new.iter().rev() {
        let pool = world.pool_mut(pool_name).ok_or_else(|| does_not_exist(pool_name))?;
        let is_last = part == rest;
        let dataset = pool.add(part, if is_last { kind } else { Kind::Filesystem }, now);
        if is_last {
            for (property, value) in &checked {
                dataset.set_local(property, value);
            }
        }
        if let Err(text) = world.mount_by_property(&format!("{pool_name}/{part}")) {
            reply = Reply::fail(1, text).with_stderr("filesystem successfully created, but not mounted");
        }
    }
    world.show_volumes();
    Ok(reply)
}

/// `zfs destroy [-fr] DATASET`. Snapshots and clones are not played.
pub fn destroy(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "fr")?;
    let [name] = options.operands.as_slice() else {
        return Err(Reply::fail(2, "missing dataset argument\nusage:"));
    };
    if world.dataset(name).is_none() {
        return Err(does_not_exist(name));
    }
    let (pool_name, rest) = split(name);
    if rest.is_empty() && !options.has('r') {
        return Err(Reply::fail(1, format!("cannot destroy '{name}': operation does not apply to pools"))
            .with_stderr(format!("use 'zfs destroy -r {name}' to destroy all datasets in the pool"))
            .with_stderr(format!("use 'zpool destroy {name}' to destroy the pool itself")));
    }
    if rest.is_empty() {
        return Err(Reply::refuse("destroy -r of a pool's root is not played"));
    }
    let mut family = world.family(name);
    if family.len() > 1 && !options.has('r') {
        return Err(Reply::fail(1, format!("cannot destroy '{name}': filesystem has children"))
            .with_stderr("use '-r' to destroy the following datasets:")
            .with_stderr(family[1..].join("\n")));
    }
    family.reverse();
    for dataset in &family {
        let path = format!("/dev/zvol/dsk/{dataset}");
        let storage = &world.runtime.storage;
        if storage.swap.iter().chain(&storage.dump).any(|used| *used == path) {
            return Err(Reply::fail(1, format!("cannot destroy '{dataset}': dataset is busy")));
        }
        world.unmount_dataset(dataset).map_err(|text| Reply::fail(1, text))?;
        let machine = world.machine.clone();
        let pool = world.pool_mut(pool_name).ok_or_else(|| does_not_exist(name))?;
        if let Some(gone) = pool.datasets.remove(split(dataset).1) {
            pool.txg += 5;
            // The folder is no longer reachable: if it stays, only disk space is lost.
            let _ = std::fs::remove_dir_all(pool.files(&machine, &gone));
        }
        if world.stops_half_way {
            // Datasets go one by one; the first is gone.
            return Ok(Reply::ok());
        }
    }
    world.show_volumes();
    Ok(Reply::ok())
}
