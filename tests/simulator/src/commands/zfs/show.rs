//! `zfs list` and `zfs get`: `zfs_do_list` and `zfs_do_get` of zfs_main.c, and zfs_iter.c beside it, for what is chosen and in
//! which order; the same 2013-05 to 2022-04 in what is played here.

use super::super::options::Options;
use super::super::zpool::table;
use super::does_not_exist;
use crate::storage::{Kind, applying, native};
use crate::{Reply, World};

/// Whether the platform knows the property: its own, or any with a colon.
fn is_known(world: &World, property: &str) -> bool {
    property == "name" || property.contains(':') || native(world.era(), property).is_some()
}

/// The datasets that are meant: the operands, or all; with -r and those below them.
fn chosen(world: &World, operands: &[&str], recurse: bool, failed: &mut Reply) -> Vec<String> {
    let mut names = Vec::new();
    if operands.is_empty() {
        let imported = &world.runtime.storage.imported;
        let mut pools: Vec<&str> = world
            .pools
            .iter()
            .filter(|pool| imported.contains(&pool.guid))
            .map(|pool| pool.name.as_str())
            .collect();
        pools.sort_unstable();
        return pools.into_iter().flat_map(|pool| world.family(pool)).collect();
    }
    for name in operands {
        if world.dataset(name).is_none() {
            failed.status = 1;
            failed.stderr.extend_from_slice(&does_not_exist(name).stderr);
        } else if recurse {
            names.extend(world.family(name));
        } else {
            names.push((*name).to_owned());
        }
    }
    names
}

/// `zfs list [-Hpr] [-d DEPTH] [-o PROPERTY,...] [-t TYPE,...] [DATASET ...]`; -p since 2014-03.
pub fn list(world: &World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options =
        Options::parse(arguments, if world.era().since("20140301") { "Hprd:o:t:" } else { "Hrd:o:t:" })?;
    let columns: Vec<&str> =
        options.value('o').unwrap_or("name,used,available,referenced,mountpoint").split(',').collect();
    if let Some(wrong) = columns.iter().find(|column| !is_known(world, column)) {
        return Err(Reply::fail(2, format!("bad property list: invalid property '{wrong}'\nusage:")));
    }
    let mut kinds = (true, true);
    if let Some(types) = options.value('t') {
        kinds = (false, false);
        for kind in types.split(',') {
            match kind {
                "filesystem" => kinds.0 = true,
                "volume" => kinds.1 = true,
                "snapshot" => {}
                "all" => kinds = (true, true),
                _ => return Err(Reply::fail(2, format!("invalid type '{kind}'\nusage:"))),
            }
        }
    }
    let mut reply = Reply::ok();
    let depth: Option<usize> = match options.value('d') {
        Some(depth) => {
            Some(depth.parse().map_err(|_| Reply::fail(2, format!("{depth} is not an integer\nusage:")))?)
        }
        None => None,
    };
    let names = chosen(world, &options.operands, options.has('r') || depth.is_some(), &mut reply);
    let slashes = |name: &str| name.matches('/').count();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for name in &names {
        let Some((_, dataset)) = world.dataset(name) else { continue };
        let shown = if dataset.kind == Kind::Filesystem { kinds.0 } else { kinds.1 };
        let near = depth.is_none_or(|depth| {
            options.operands.iter().any(|top| name.starts_with(top) && slashes(name) <= slashes(top) + depth)
        });
        if shown && near {
            let cell = |column: &&str| match *column {
                "name" => name.clone(),
                other => world.property(name, other, options.has('p')).value,
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }
    if rows.is_empty() {
        if reply.status == 0 {
            reply = reply.with_stderr("no datasets available");
        }
        return Ok(reply);
    }
    reply.stdout = if options.has('H') {
        rows.iter().map(|row| row.join("\t") + "\n").collect::<String>()
    } else {
        let heading = |column: &&str| match *column {
            "available" => "AVAIL".to_owned(),
            "referenced" => "REFER".to_owned(),
            other => other.to_uppercase(),
        };
        rows.insert(0, columns.iter().map(heading).collect());
        let right = ["used", "available", "avail", "referenced", "refer", "volsize", "quota"];
        table(&rows, |at| right.contains(&columns[at]))
    }
    .into_bytes();
    Ok(reply)
}

/// `zfs get [-Hpr] [-o FIELD,...] [-s SOURCE,...] PROPERTY,...|all [DATASET ...]`.
pub fn get(world: &World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "Hpro:s:d:")?;
    if options.value('d').is_some() {
        return Err(Reply::refuse("get -d is not played"));
    }
    let [properties, operands @ ..] = options.operands.as_slice() else {
        return Err(Reply::fail(2, "missing property argument\nusage:"));
    };
    let fields: Vec<&str> = options.value('o').unwrap_or("name,property,value,source").split(',').collect();
    if let Some(wrong) =
        fields.iter().find(|field| !["name", "property", "value", "source", "received"].contains(field))
    {
        return Err(Reply::fail(2, format!("invalid column name '{wrong}'\nusage:")));
    }
    let sources: Option<Vec<&str>> = options.value('s').map(|sources| sources.split(',').collect());
    let known_sources = ["local", "default", "inherited", "received", "temporary", "none"];
    if let Some(wrong) = sources.iter().flatten().find(|source| !known_sources.contains(source)) {
        return Err(Reply::fail(2, format!("invalid source '{wrong}'\nusage:")));
    }
    if *properties != "all"
        && let Some(wrong) = properties.split(',').find(|property| !is_known(world, property))
    {
        return Err(Reply::fail(2, format!("bad property list: invalid property '{wrong}'\nusage:")));
    }
    let mut reply = Reply::ok();
    let names = chosen(world, operands, options.has('r'), &mut reply);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for name in &names {
        let Some((_, dataset)) = world.dataset(name) else { continue };
        let wanted: Vec<String> = if *properties == "all" {
            let own = applying(world.era(), dataset.kind).map(|native| native.name.to_owned());
            own.chain(dataset.properties.keys().filter(|key| key.contains(':')).cloned()).collect()
        } else {
            properties.split(',').map(str::to_owned).collect()
        };
        for property in wanted {
            let shown = world.property(name, &property, options.has('p'));
            if sources.as_ref().is_some_and(|sources| !sources.contains(&shown.source_word())) {
                continue;
            }
            let cell = |field: &&str| match *field {
                "name" => name.clone(),
                "property" => {
                    native(world.era(), &property).map_or(property.clone(), |native| native.name.to_owned())
                }
                "value" => shown.value.clone(),
                "received" if shown.source == "received" => shown.value.clone(),
                "received" => "-".to_owned(),
                _ => shown.source.clone(),
            };
            rows.push(fields.iter().map(cell).collect());
        }
    }
    reply.stdout = if options.has('H') {
        rows.iter().map(|row| row.join("\t") + "\n").collect::<String>()
    } else {
        rows.insert(0, fields.iter().map(|field| field.to_uppercase()).collect());
        table(&rows, |_| false)
    }
    .into_bytes();
    Ok(reply)
}
