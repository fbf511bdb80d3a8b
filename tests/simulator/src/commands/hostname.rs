//! `hostname`: usr/src/cmd/hostname, the same 2013 to 2022.

use crate::{Reply, World};

/// `hostname` prints the name, `hostname NAME` sets it.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    match argv {
        [_] => Reply::text(format!("{}\n", world.runtime.host.name)),
        [_, name] if name.starts_with('-') => Reply::refuse(format!("does not know {name}")),
        [_, name] => {
            // sysinfo(2) SI_SET_HOSTNAME takes at most SYS_NMLN (257) bytes with the terminating zero.
            if name.len() > 256 {
                return Reply::fail(1, "hostname: error in setting name: Invalid argument");
            }
            (*name).clone_into(&mut world.runtime.host.name);
            if world.in_files() {
                // uname and gethostname of programs under the shim read it there.
                let file = world.machine.join("boot/hostname");
                if std::fs::write(file, format!("{name}\n")).is_err() {
                    return Reply::fail(1, "hostname: error in setting name: I/O error");
                }
            }
            Reply::ok()
        }
        _ => Reply::refuse("is not known with so many arguments"),
    }
}
