//! illumos' commands, a module each.
//!
//! A command is a function from the state and the arguments (the command's name first) to a [`Reply`]. Whatever arguments it
//! accepts and texts it prints follow an upstream source that a comment names; everything else it refuses with
//! [`Reply::refuse`].

pub mod devfsadm;
pub mod dladm;
pub mod dumpadm;
pub mod host;
pub mod hostname;
pub mod ifconfig;
pub mod ipf;
pub mod ipfstat;
pub mod ipnat;
pub mod mdata;
pub mod mount;
pub mod ndd;
pub mod netstat;
pub mod options;
pub mod ping;
pub mod route;
pub mod routeadm;
pub mod svcadm;
pub mod svccfg;
pub mod swap;
pub mod vmadm;
pub mod zfs;
pub mod zpool;

use crate::services::methods;
use crate::{Reply, World, network};

/// A command.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Where it lies in the root.
    pub path: &'static str,
    /// Since which date platforms have it, as `20160301`; empty for always.
    pub since: &'static str,
    /// What it does. The arguments begin with the name under which it was called.
    pub run: fn(&mut World, &[&str]) -> Reply,
}

/// A command that every platform has.
pub const fn always(path: &'static str, run: fn(&mut World, &[&str]) -> Reply) -> Command {
    Command { path, since: "", run }
}

/// The commands of this folder that are not the network's.
const COMMANDS: &[Command] = &[
    always("/usr/bin/hostname", hostname::run),
    always("/usr/sbin/zpool", zpool::run),
    always("/usr/sbin/zfs", zfs::run),
    always("/usr/sbin/mount", mount::mount),
    always("/usr/sbin/umount", mount::umount),
    always("/usr/sbin/swap", swap::run),
    always("/usr/sbin/dumpadm", dumpadm::run),
    always("/usr/sbin/devfsadm", devfsadm::run),
    always("/usr/bin/sync", devfsadm::sync),
    always("/usr/sbin/svcadm", svcadm::run),
    always("/usr/sbin/svccfg", svccfg::svccfg),
    always("/usr/bin/svcprop", svccfg::svcprop),
    always("/usr/bin/bootparams", host::bootparams),
    always("/usr/sbin/smbios", host::smbios),
    always("/usr/bin/sysinfo", host::sysinfo),
    always("/usr/bin/uname", host::uname),
    always("/usr/sbin/mdata-get", mdata::get),
    always("/usr/sbin/vmadm", vmadm::vmadm),
    always("/usr/sbin/imgadm", vmadm::imgadm),
];

/// All commands.
pub fn all() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().chain(network::COMMANDS).chain(methods::COMMANDS)
}

/// The command with the name.
pub fn by_name(name: &str) -> Option<&'static Command> {
    all().find(|command| command.path.rsplit('/').next() == Some(name))
}

/// Calls a command as a method of the platform does.
pub fn call(world: &mut World, argv: &[&str]) -> Reply {
    match argv.first().and_then(|name| by_name(name)) {
        Some(command) => (command.run)(world, argv),
        None => Reply::refuse(format!("needs {argv:?}, which is not played")),
    }
}
