//! `zpool`: usr/src/cmd/zpool/zpool_main.c of illumos-joyent, releases 2013-05 to 2022-04; later taken to be the same.

mod create;
mod import;
mod status;

use super::options::{Options, nice};
use crate::storage::PoolState;
use crate::{Reply, World};

/// `zpool SUBCOMMAND ...`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let arguments = argv.get(2..).unwrap_or_default();
    let done = match argv.get(1).copied().unwrap_or_default() {
        "list" => list(world, arguments),
        "status" => status::run(world, arguments),
        "import" => import::run(world, arguments),
        "create" => create::run(world, arguments),
        "get" => get(world, arguments),
        "set" => set(world, arguments),
        "export" => leave(world, arguments, PoolState::Exported),
        "destroy" => leave(world, arguments, PoolState::Destroyed),
        other => Err(Reply::refuse(format!("does not know, or is not played for, {other:?}"))),
    };
    done.unwrap_or_else(|reply| reply)
}

/// The message for a pool that is not imported.
fn no_such_pool(name: &str) -> Reply {
    Reply::fail(1, format!("cannot open '{name}': no such pool"))
}

/// The columns of `zpool list`: property, heading, and whether it stands on the right. `pl_print` and zpool_prop.c.
const COLUMNS: [(&str, &str, bool); 11] = [
    ("name", "NAME", false),
    ("size", "SIZE", true),
    ("allocated", "ALLOC", true),
    ("free", "FREE", true),
    ("capacity", "CAP", true),
    ("dedupratio", "DEDUP", true),
    ("health", "HEALTH", false),
    ("altroot", "ALTROOT", false),
    ("guid", "GUID", false),
    ("version", "VERSION", false),
    ("readonly", "RDONLY", false),
];

/// A property of an imported pool, as list and get show it; none when the platform does not know it.
fn property(world: &World, name: &str, property: &str, exact: bool) -> Option<(String, &'static str)> {
    let pool = world.pool(name)?;
    let size = |bytes: u64| if exact { bytes.to_string() } else { nice(bytes) };
    let used = pool.used(&world.machine, "");
    let value = match property {
        "name" => pool.name.clone(),
        "guid" => pool.guid.to_string(),
        "size" => size(pool.size()),
        "allocated" | "alloc" => size(used),
        "free" => size(pool.size().saturating_sub(used)),
        "capacity" | "cap" => {
            let percent = used * 100 / pool.size().max(1);
            if exact { percent.to_string() } else { format!("{percent}%") }
        }
        "dedupratio" => if exact { "1.00" } else { "1.00x" }.to_owned(),
        "health" => import::health(world, pool.guid).to_owned(),
        "altroot" | "version" | "comment" => "-".to_owned(),
        "readonly" => {
            let read_only = world.runtime.storage.read_only.contains(&pool.guid);
            if read_only { "on" } else { "off" }.to_owned()
        }
        other => {
            if let Some(feature) = other.strip_prefix("feature@") {
                let known = crate::storage::features(world.era()).any(|known| known == feature);
                let state = pool.features.get(feature).cloned();
                return known.then(|| (state.unwrap_or_else(|| "disabled".to_owned()), "local"));
            }
            let default = match other {
                "bootfs" | "cachefile" => "-",
                "delegation" | "listsnapshots" => {
                    if other == "delegation" {
                        "on"
                    } else {
                        "off"
                    }
                }
                "autoreplace" | "autoexpand" => "off",
                "failmode" => "wait",
                _ => return None,
            };
            match pool.properties.get(other) {
                Some(value) => return Some((value.clone(), "local")),
                None => return Some((default.to_owned(), "default")),
            }
        }
    };
    Some((value, "-"))
}

/// `zpool list [-Hpv] [-o COLUMNS] [POOL ...]`. -p is there since 2012 (illumos 1949).
fn list(world: &World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "Hpo:")?;
    let columns: Vec<&str> = options
        .value('o')
        .unwrap_or("name,size,allocated,free,capacity,dedupratio,health,altroot")
        .split(',')
        .collect();
    let names: Vec<String> = if options.operands.is_empty() {
        let imported = &world.runtime.storage.imported;
        let mut names: Vec<String> = world
            .pools
            .iter()
            .filter(|pool| imported.contains(&pool.guid))
            .map(|pool| pool.name.clone())
            .collect();
        names.sort();
        names
    } else {
        options.operands.iter().map(|&name| name.to_owned()).collect()
    };
    if names.is_empty() {
        return Ok(if options.has('H') { Reply::ok() } else { Reply::text("no pools available\n") });
    }
    let mut reply = Reply::ok();
    let mut rows: Vec<Vec<String>> = Vec::new();
    if !options.has('H') {
        let heading = |column: &&str| {
            let known = COLUMNS.iter().find(|(name, _, _)| name == column);
            known.map_or_else(|| column.to_uppercase(), |(_, heading, _)| (*heading).to_owned())
        };
        rows.push(columns.iter().map(heading).collect());
    }
    for name in &names {
        if world.pool(name).is_none() {
            reply.status = 1;
            reply = reply.with_stderr(format!("cannot open '{name}': no such pool"));
            continue;
        }
        let row: Option<Vec<String>> =
            columns.iter().map(|column| Some(property(world, name, column, options.has('p'))?.0)).collect();
        rows.push(row.ok_or_else(|| Reply::refuse(format!("does not know a column of {columns:?}")))?);
    }
    let text = if options.has('H') {
        rows.iter().map(|row| row.join("\t") + "\n").collect::<String>()
    } else {
        table(&rows, |at| COLUMNS.iter().any(|&(name, _, right)| right && name == columns[at]))
    };
    reply.stdout = text.into_bytes();
    Ok(reply)
}

/// Rows in columns as wide as they must be, two blanks between.
pub fn table(rows: &[Vec<String>], right: impl Fn(usize) -> bool) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            let pad = " ".repeat(width(at) - cell.len());
            let last = at + 1 == columns;
            text += &match (right(at), last) {
                (true, _) => format!("{pad}{cell}"),
                (false, true) => cell.clone(),
                (false, false) => format!("{cell}{pad}"),
            };
            text += if last { "\n" } else { "  " };
        }
    }
    text
}

/// `zpool get PROPERTY[,...] [POOL]`; -H, -p and -o came after 2013 (illumos 3829 and later).
fn get(world: &World, arguments: &[&str]) -> Result<Reply, Reply> {
    let known = if world.era().since("20131201") { "Hpo:" } else { "" };
    let options = Options::parse(arguments, known)?;
    let [properties, names @ ..] = options.operands.as_slice() else {
        return Err(Reply::refuse("get wants properties"));
    };
    if names.is_empty() {
        return Err(Reply::refuse("get is played with pools only"));
    }
    let columns: Vec<&str> = options.value('o').unwrap_or("name,property,value,source").split(',').collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    if !options.has('H') {
        rows.push(columns.iter().map(|column| column.to_uppercase()).collect());
    }
    for name in names {
        if world.pool(name).is_none() {
            return Err(no_such_pool(name));
        }
        for wanted in properties.split(',') {
            let (value, source) = property(world, name, wanted, options.has('p')).ok_or_else(|| {
                Reply::fail(2, format!("bad property list: invalid property '{wanted}'\nusage:"))
            })?;
            let cell = |column: &&str| match *column {
                "name" => (*name).to_owned(),
                "property" => wanted.to_owned(),
                "value" => value.clone(),
                _ => source.to_owned(),
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }
    Ok(Reply::text(if options.has('H') {
        rows.iter().map(|row| row.join("\t") + "\n").collect::<String>()
    } else {
        table(&rows, |_| false)
    }))
}

/// `zpool set PROPERTY=VALUE POOL`.
fn set(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let [assignment, name] = arguments else {
        return Err(Reply::refuse("set wants one property and a pool"));
    };
    let (property, value) =
        assignment.split_once('=').ok_or_else(|| Reply::refuse("set wants property=value"))?;
    let known_feature = property
        .strip_prefix("feature@")
        .map(|feature| crate::storage::features(world.era()).any(|known| known == feature));
    let pool = world.pool_mut(name).ok_or_else(|| no_such_pool(name))?;
    match (property, known_feature) {
        (_, Some(true)) if value == "enabled" => {
            let feature = property.trim_start_matches("feature@").to_owned();
            pool.features.entry(feature).or_insert_with(|| "enabled".to_owned());
        }
        (_, Some(true)) => {
            return Err(Reply::fail(
                1,
                format!(
                    "cannot set property for '{name}': property '{property}' can only be set to 'enabled'"
                ),
            ));
        }
        (_, Some(false)) => {
            return Err(Reply::fail(
                1,
                format!("cannot set property for '{name}': invalid feature '{property}'"),
            ));
        }
        ("autoexpand" | "autoreplace" | "delegation" | "listsnapshots", _)
            if matches!(value, "on" | "off") =>
        {
            pool.properties.insert(property.to_owned(), value.to_owned());
        }
        ("failmode", _) if matches!(value, "wait" | "continue" | "panic") => {
            pool.properties.insert(property.to_owned(), value.to_owned());
        }
        ("cachefile", _) => {
            pool.properties.insert(property.to_owned(), value.to_owned());
        }
        ("bootfs" | "comment", _) => return Err(Reply::refuse(format!("set {property} is not played"))),
        _ => {
            return Err(Reply::fail(
                1,
                format!("cannot set property for '{name}': invalid property '{property}'"),
            ));
        }
    }
    Ok(Reply::ok())
}

/// `zpool export [-f] POOL` and `zpool destroy [-f] POOL`.
fn leave(world: &mut World, arguments: &[&str], state: PoolState) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "f")?;
    let [name] = options.operands.as_slice() else { return Err(Reply::refuse("wants one pool")) };
    let guid = world.pool(name).ok_or_else(|| no_such_pool(name))?.guid;
    let verb = if state == PoolState::Exported { "export" } else { "destroy" };
    let mut below = world.family(name);
    below.reverse();
    let prefix = format!("/dev/zvol/dsk/{name}/");
    let storage = &world.runtime.storage;
    if storage.swap.iter().chain(&storage.dump).any(|path| path.starts_with(&prefix)) {
        return Err(Reply::fail(1, format!("cannot {verb} '{name}': pool is busy")));
    }
    for dataset in below {
        world.unmount_dataset(&dataset).map_err(|text| {
            Reply::fail(1, text).with_stderr(format!("could not {verb} '{name}': could not unmount datasets"))
        })?;
    }
    let hostid = world.runtime.storage.hostid;
    // spa_export_common: labels are written if the pool can be written to.
    if !world.runtime.storage.read_only.contains(&guid) {
        let pool = world.pool_mut(name).ok_or_else(|| no_such_pool(name))?;
        pool.state = state;
        pool.hostid = hostid;
        pool.txg += 1;
        world.relabel(guid);
    }
    world.runtime.storage.imported.retain(|&imported| imported != guid);
    world.runtime.storage.read_only.retain(|&imported| imported != guid);
    world.show_volumes();
    Ok(Reply::ok())
}
