//! `devfsadm` and `sync`.

use super::options::Options;
use crate::{Reply, World};

/// `devfsadm [-c CLASS] [-C] [-I] [-P]`: makes the names in /dev; usr/src/cmd/devfsadm/devfsadm.c, the same 2013 to 2022.
/// It returns when they are there.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    match Options::parse(argv.get(1..).unwrap_or_default(), "c:CIP") {
        Ok(options) if options.operands.is_empty() => {
            if options.value('c').is_none_or(|class| class == "disk") {
                world.find_disks();
            }
            Reply::ok()
        }
        Ok(options) => Reply::fail(1, format!("devfsadm: invalid argument {}", options.operands[0])),
        Err(reply) => reply,
    }
}

/// `sync`. What commands write is safe when they end; the files of the caller are the affair of whoever plays power cuts.
pub fn sync(_: &mut World, argv: &[&str]) -> Reply {
    if argv.len() == 1 { Reply::ok() } else { Reply::refuse("takes no arguments") }
}
