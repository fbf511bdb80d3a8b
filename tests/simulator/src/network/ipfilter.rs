//! The methods of `network/ipfilter`: usr/src/cmd/ipf/svc/ipfilter. The joyent additions of 2013-12 and 2016 (files of
//! `/var/fw`) are those of guest platforms' illumos-joyent.

use std::fs;
use std::os::unix::fs::symlink;

use super::physical::{Log, Played, call};
use crate::World;

/// SMF's status for a configuration that cannot work: the service goes to maintenance.
const ERR_CONFIG: u8 = 96;

const FILTER: &str = "/etc/ipf/ipf.conf";
const FILTER6: &str = "/etc/ipf/ipf6.conf";
const TRANSLATION: &str = "/etc/ipf/ipnat.conf";

/// A method of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `start`, and `reload` (what `svcadm refresh` calls), which does the same.
    Start,
    /// `stop`.
    Stop,
}

/// Plays a method.
pub fn play(world: &mut World, method: Method) -> Played {
    let mut log = Log::default();
    let status = match method {
        Method::Stop => {
            call(world, &mut log, &["ipf", "-D"]);
            0
        }
        Method::Start => configure(world, &mut log),
    };
    Played { status, log: log.text, seconds: 0 }
}

fn exists(world: &World, file: &str) -> bool {
    world.path(file).is_file()
}

/// The files of `/var/fw` go over those of `/etc/ipf`, which get the ending `.orig`.
fn link_files(world: &World) {
    let files: &[(&str, &str, &str)] = &[
        ("/var/fw/ipf.conf", FILTER, "20131201"),
        ("/var/fw/ipnat.conf", TRANSLATION, "20131201"),
        ("/var/fw/ipf6.conf", FILTER6, "20160101"),
    ];
    for (from, to, since) in files {
        let place = world.path(to);
        if !world.era().since(since) || !exists(world, from) || place.is_symlink() {
            continue;
        }
        // A file that is missing, or a folder that cannot be written, changes nothing in what follows.
        let _ = fs::rename(&place, world.path(&format!("{to}.orig")));
        let _ = symlink(from, &place);
    }
}

fn configure(world: &mut World, log: &mut Log) -> u8 {
    link_files(world);
    if !exists(world, FILTER) && !exists(world, TRANSLATION) {
        return 0;
    }
    call(world, log, &["ipf", "-E"]);
    call(world, log, &["ipf", "-IFa"]);
    call(world, log, &["ipf", "-6IFa"]);
    let mut good = true;
    for (file, option) in [(FILTER, "-I"), (FILTER6, "-6I")] {
        if exists(world, file) && call(world, log, &["ipf", option, "-f", file]).status != 0 {
            log.line(&format!("load of {file} into alternate set failed"));
            good = false;
        }
    }
    if !good {
        log.line("Not switching config due to load error.");
        return ERR_CONFIG;
    }
    call(world, log, &["ipf", "-s", "-y"]);
    call(world, log, &["ipnat", "-CF"]);
    if exists(world, TRANSLATION) {
        if call(world, log, &["ipnat", "-f", TRANSLATION]).status != 0 {
            log.line(&format!("load of {TRANSLATION} failed"));
            return ERR_CONFIG;
        }
        call(world, log, &["ipf", "-y"]);
    }
    0
}
