//! `zpool import`: what can be imported, and importing it.
//!
//! zpool_do_import, show_import and do_import of zpool_main.c; the reasons are those of zpool_import_status in
//! usr/src/lib/libzfs/common/libzfs_status.c.

use super::super::options::Options;
use crate::storage::{Condition, Layout, Pool, PoolState};
use crate::{Reply, World};

/// A pool that was found on disks.
struct Found {
    guid: u64,
    /// ONLINE, DEGRADED, UNAVAIL or FAULTED.
    health: &'static str,
    reason: Reason,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Fine,
    OtherHost,
    InUse,
    Missing,
    Corrupted,
    NewVersion,
    NewFeatures { readable: bool },
}

/// The health of a pool as its devices allow it.
pub fn health(world: &World, guid: u64) -> &'static str {
    let Some(pool) = world.pools.iter().find(|pool| pool.guid == guid) else { return "UNAVAIL" };
    let there = world.labelled().iter().filter(|(_, label)| label.pool == guid).count();
    match pool.layout {
        _ if there >= pool.devices.len() => "ONLINE",
        Layout::Mirror if there > 0 => "DEGRADED",
        _ => "UNAVAIL",
    }
}

/// The devices of a pool in the form of a tree: depth, name, state, remark; and the width of the first column.
pub fn tree(world: &World, pool: &Pool) -> (Vec<(usize, String, &'static str, &'static str)>, usize) {
    let labels = world.labelled();
    let found = find(world, pool);
    let remark = match found.reason {
        Reason::Corrupted => "corrupted data",
        Reason::NewVersion => "newer version",
        Reason::NewFeatures { .. } => "unsupported feature(s)",
        Reason::Missing if found.health == "UNAVAIL" => "missing device",
        _ => "",
    };
    let mut rows = vec![(0, pool.name.clone(), found.health, remark)];
    let depth = match pool.layout {
        Layout::Mirror => {
            let remark = if found.health == "UNAVAIL" { "insufficient replicas" } else { "" };
            rows.push((1, "mirror-0".to_owned(), found.health, remark));
            2
        }
        Layout::Stripe => 1,
    };
    for (number, _) in &pool.devices {
        match labels.iter().find(|(_, label)| label.pool == pool.guid && label.device == *number) {
            Some((name, _)) => rows.push((depth, name.clone(), "ONLINE", "")),
            None => rows.push((depth, number.to_string(), "UNAVAIL", "cannot open")),
        }
    }
    let width = rows.iter().map(|(depth, name, _, _)| 2 * depth + name.len()).max().unwrap_or(0).max(10);
    (rows, width)
}

fn find(world: &World, pool: &Pool) -> Found {
    let by_devices = health(world, pool.guid);
    let other_host =
        pool.state == PoolState::Active && pool.hostid != 0 && pool.hostid != world.runtime.storage.hostid;
    let (health, reason) = match &pool.condition {
        _ if by_devices == "UNAVAIL" => ("UNAVAIL", Reason::Missing),
        Condition::NewVersion => ("UNAVAIL", Reason::NewVersion),
        Condition::NewFeatures { readable, .. } => ("UNAVAIL", Reason::NewFeatures { readable: *readable }),
        Condition::Corrupted => ("FAULTED", Reason::Corrupted),
        // Before multihost came in 2019-03 nobody can tell, and the pool looks like one left behind.
        Condition::InUseElsewhere if world.era().since("20190301") => ("UNAVAIL", Reason::InUse),
        _ if by_devices == "DEGRADED" => (by_devices, Reason::Missing),
        _ if other_host => (by_devices, Reason::OtherHost),
        _ => (by_devices, Reason::Fine),
    };
    Found { guid: pool.guid, health, reason }
}

/// The pools on visible disks that are not imported, in the order of discovery.
fn importable(world: &World, destroyed: bool) -> Vec<Found> {
    let mut seen = Vec::new();
    for (_, label) in world.labelled() {
        if !seen.contains(&label.pool) && !world.runtime.storage.imported.contains(&label.pool) {
            seen.push(label.pool);
        }
    }
    seen.iter()
        .filter_map(|guid| world.pools.iter().find(|pool| pool.guid == *guid))
        .filter(|pool| (pool.state == PoolState::Destroyed) == destroyed)
        .map(|pool| find(world, pool))
        .collect()
}

/// `zpool import [-DfN] [-o PROPERTY=VALUE]... [-R ROOT] [POOL|NUMBER [NEWNAME]]`.
pub fn run(world: &mut World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "DfNo:")?;
    let mut read_only = false;
    for (property, value) in options.assignments('o')? {
        match (property, value) {
            ("cachefile", _) => {}
            ("readonly", "on" | "off") => read_only = value == "on",
            _ => return Err(Reply::refuse(format!("import -o {property} is not played"))),
        }
    }
    let found = importable(world, options.has('D'));
    let (wanted, new_name) = match *options.operands.as_slice() {
        [] => return Ok(show(world, &found)),
        [wanted] => (wanted, None),
        [wanted, new_name] => (wanted, Some(new_name)),
        _ => return Err(Reply::fail(2, "too many arguments\nusage:")),
    };
    let number: Option<u64> = wanted.parse().ok();
    let name_of = |guid: u64| world.pools.iter().find(|pool| pool.guid == guid).map(|pool| pool.name.clone());
    let matching: Vec<&Found> = found
        .iter()
        .filter(|found| match number {
            Some(number) => found.guid == number,
            None => name_of(found.guid).as_deref() == Some(wanted),
        })
        .collect();
    let chosen = match matching.as_slice() {
        [chosen] => *chosen,
        [] => return Err(Reply::fail(1, format!("cannot import '{wanted}': no such pool available"))),
        _ => {
            let text = format!("cannot import '{wanted}': more than one matching pool");
            return Err(Reply::fail(1, text).with_stderr("import by numeric ID instead"));
        }
    };
    let name = new_name.map(str::to_owned).or_else(|| name_of(chosen.guid)).unwrap_or_default();
    import(world, chosen, wanted, &name, &options, read_only)
}

fn import(
    world: &mut World,
    chosen: &Found,
    wanted: &str,
    name: &str,
    options: &Options,
    read_only: bool,
) -> Result<Reply, Reply> {
    let fail = |text: &str| Err(Reply::fail(1, format!("cannot import '{wanted}': {text}")));
    let guid = chosen.guid;
    let Some(pool) = world.pools.iter().find(|pool| pool.guid == guid) else {
        return fail("no such pool available");
    };
    match chosen.reason {
        Reason::NewVersion => return fail("pool is formatted using an unsupported ZFS version"),
        Reason::NewFeatures { readable } if !readable || !read_only => {
            let Condition::NewFeatures { names, .. } = &pool.condition else { return fail("I/O error") };
            let mut text =
                "This pool uses the following feature(s) not supported by this system:\n".to_owned();
            for name in names {
                text += &format!("\t{name}\n");
            }
            if readable {
                text += "All unsupported features are only required for writing to the pool.\nThe pool can be \
                         imported using '-o readonly=on'.\n";
            }
            let text = format!("{text}cannot import '{wanted}': unsupported version or feature");
            return Err(Reply::fail(1, text));
        }
        Reason::Missing if chosen.health == "UNAVAIL" => {
            return fail("one or more devices is currently unavailable");
        }
        Reason::InUse => {
            let text = format!("cannot import '{wanted}': pool is imported on another host");
            return Err(Reply::fail(1, text)
                .with_stderr("Export the pool on the other system, then run 'zpool import'."));
        }
        Reason::OtherHost if !options.has('f') => {
            let text = format!(
                "cannot import '{wanted}': pool may be in use from other system, it was last accessed by {} (hostid: \
                 {:#x}) on Thu May  9 12:00:00 2013",
                pool.hostname, pool.hostid
            );
            return Err(Reply::fail(1, text).with_stderr("use '-f' to import anyway"));
        }
        Reason::Corrupted => {
            return fail("I/O error").map_err(|reply| {
                reply.with_stderr("\tDestroy and re-create the pool from\n\ta backup source.")
            });
        }
        _ => {}
    }
    if world.pool(name).is_some() {
        let text = format!("cannot import '{wanted}': a pool with that name already exists");
        let hint = "use the form 'zpool import <pool | id> <newpool>' to give it a new name";
        return Err(Reply::fail(1, text).with_stderr(hint));
    }
    let (hostid, hostname) = (world.runtime.storage.hostid, world.runtime.host.name.clone());
    if let Some(pool) = world.pools.iter_mut().find(|pool| pool.guid == guid).filter(|_| !read_only) {
        pool.state = PoolState::Active;
        (pool.hostid, pool.hostname) = (hostid, hostname);
        name.clone_into(&mut pool.name);
        pool.txg += 1;
    }
    world.runtime.storage.imported.push(guid);
    if read_only {
        world.runtime.storage.read_only.push(guid);
    } else {
        world.relabel(guid);
    }
    world.show_volumes();
    let mut reply = Reply::ok();
    if !options.has('N') {
        for dataset in world.family(name) {
            if let Err(text) = world.mount_by_property(&dataset) {
                // zpool_enable_datasets: the pool is imported all the same.
                reply = reply.with_stderr(text);
                reply.status = 1;
            }
        }
    }
    Ok(reply)
}

fn show(world: &World, found: &[Found]) -> Reply {
    if found.is_empty() {
        return Reply::ok().with_stderr("no pools available to import");
    }
    let blocks: Vec<String> = found
        .iter()
        .filter_map(|found| {
            Some(block(world, found, world.pools.iter().find(|pool| pool.guid == found.guid)?))
        })
        .collect();
    Reply::text(blocks.join("\n"))
}

/// The text about one pool.
fn block(world: &World, found: &Found, pool: &Pool) -> String {
    let destroyed = if pool.state == PoolState::Destroyed { " (DESTROYED)" } else { "" };
    let mut text =
        format!("   pool: {}\n     id: {}\n  state: {}{destroyed}\n", pool.name, pool.guid, found.health);
    let features = match &pool.condition {
        Condition::NewFeatures { names, .. } => names.iter().map(|name| format!("\t{name}\n")).collect(),
        _ => String::new(),
    };
    text += &match found.reason {
        Reason::Fine => String::new(),
        Reason::OtherHost => " status: The pool was last accessed by another system.\n".to_owned(),
        Reason::InUse => " status: The pool is currently imported by another system.\n".to_owned(),
        Reason::Missing => " status: One or more devices are missing from the system.\n".to_owned(),
        Reason::Corrupted => " status: The pool metadata is corrupted.\n".to_owned(),
        Reason::NewVersion => " status: The pool is formatted using an incompatible version.\n".to_owned(),
        // These two lines of upstream lack the blank before the word.
        Reason::NewFeatures { readable: false } => {
            format!(
                "status: The pool uses the following feature(s) not supported on this system:\n{features}"
            )
        }
        Reason::NewFeatures { readable: true } => format!(
            "status: The pool can only be accessed in read-only mode on this system. It\n\tcannot be accessed in \
             read-write mode because it uses the following\n\tfeature(s) not supported on this system:\n{features}"
        ),
    };
    text += match (found.health, found.reason) {
        ("ONLINE", Reason::OtherHost) => {
            " action: The pool can be imported using its name or numeric identifier and\n\tthe '-f' flag.\n"
        }
        ("ONLINE", _) => " action: The pool can be imported using its name or numeric identifier.\n",
        ("DEGRADED", _) => {
            " action: The pool can be imported despite missing or damaged devices.  The\n\tfault tolerance of the \
             pool may be compromised if imported.\n"
        }
        (_, Reason::NewVersion) => {
            " action: The pool cannot be imported.  Access the pool on a system running newer\n\tsoftware, or \
             recreate the pool from backup.\n"
        }
        (_, Reason::NewFeatures { readable: false }) => {
            "action: The pool cannot be imported. Access the pool on a system that supports\n\tthe required \
             feature(s), or recreate the pool from backup.\n"
        }
        (_, Reason::NewFeatures { readable: true }) => {
            "action: The pool cannot be imported in read-write mode. Import the pool with\n\t\"-o readonly=on\", \
             access the pool on a system that supports the\n\trequired feature(s), or recreate the pool from backup.\n"
        }
        (_, Reason::Missing) => {
            " action: The pool cannot be imported. Attach the missing\n\tdevices and try again.\n"
        }
        (_, Reason::InUse) => {
            " action: The pool must be exported from the other system before it can be safely\n\timported.\n"
        }
        _ => " action: The pool cannot be imported due to damaged devices or data.\n",
    };
    if found.reason == Reason::Corrupted {
        text += "\tThe pool may be active on another system, but can be imported using\n\tthe '-f' flag.\n";
    }
    // The messages' addresses: sun.com's until 2010, then illumos.org's.
    let message = match found.reason {
        Reason::Fine | Reason::NewFeatures { .. } => None,
        Reason::OtherHost | Reason::InUse => Some("EY"),
        Reason::Missing => Some("3C"),
        Reason::Corrupted => Some("72"),
        Reason::NewVersion => Some("A5"),
    };
    if let Some(message) = message {
        text += &format!("   see: http://illumos.org/msg/ZFS-8000-{message}\n");
    }
    text += " config:\n\n";
    let (rows, width) = tree(world, pool);
    for (depth, name, state, remark) in rows {
        let label = format!("{:depth$}{name}", "", depth = 2 * depth);
        let remark = if remark.is_empty() { String::new() } else { format!("  {remark}") };
        text += &format!("\t{label:width$}  {state}{remark}\n");
    }
    text
}
