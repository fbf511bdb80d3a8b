//! `zpool status`: `zpool_do_status`, `status_callback`, `print_status_config` and `print_error_log` of zpool_main.c, the same
//! 2013-05 to 2022-04 for what is played here; of the reasons (`zpool_get_status` in
//! usr/src/lib/libzfs/common/libzfs_status.c) only that of a missing device.

use super::super::options::Options;
use super::{import, no_such_pool};
use crate::{Reply, World};

/// `zpool status [-vx] [POOL]`; the exit status does not depend on the pools' health.
pub fn run(world: &World, arguments: &[&str]) -> Result<Reply, Reply> {
    let options = Options::parse(arguments, "vx")?;
    let mut names: Vec<&str> = options.operands.clone();
    if names.is_empty() {
        let imported = &world.runtime.storage.imported;
        names = world
            .pools
            .iter()
            .filter(|pool| imported.contains(&pool.guid))
            .map(|pool| pool.name.as_str())
            .collect();
    }
    if names.is_empty() {
        return Ok(Reply::text("no pools available\n"));
    }
    let mut blocks = Vec::new();
    for name in names {
        let pool = world.pool(name).ok_or_else(|| no_such_pool(name))?;
        let health = import::health(world, pool.guid);
        if options.has('x') && health == "ONLINE" {
            blocks.push(format!("pool '{name}' is healthy\n"));
            continue;
        }
        let (tree, width) = import::tree(world, pool);
        let mut text = format!("  pool: {name}\n state: {health}\n");
        if health == "DEGRADED" {
            text += "status: One or more devices could not be opened.  Sufficient replicas exist for\n\tthe pool to \
                     continue functioning in a degraded state.\naction: Attach the missing device and online it using \
                     'zpool online'.\n   see: http://illumos.org/msg/ZFS-8000-2Q\n";
        }
        text += "  scan: none requested\nconfig:\n\n";
        text += &format!("\t{:width$}  {:8} {:>5} {:>5} {:>5}\n", "NAME", "STATE", "READ", "WRITE", "CKSUM");
        for (depth, name, state, _) in tree {
            let label = format!("{:depth$}{name}", "", depth = 2 * depth);
            text += &format!("\t{label:width$}  {state:8} {:>5} {:>5} {:>5}\n", 0, 0, 0);
        }
        text += "\nerrors: No known data errors\n";
        blocks.push(text);
    }
    Ok(Reply::text(blocks.join("\n")))
}
