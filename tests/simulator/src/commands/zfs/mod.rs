//! `zfs`: usr/src/cmd/zfs/zfs_main.c of illumos-joyent, releases 2013-05 to 2022-04; later taken to be the same.

mod change;
mod create;
mod show;

use crate::{Reply, World};

/// `zfs SUBCOMMAND ...`.
pub fn run(world: &mut World, argv: &[&str]) -> Reply {
    let arguments = argv.get(2..).unwrap_or_default();
    let done = match argv.get(1).copied().unwrap_or_default() {
        "list" => show::list(world, arguments),
        "get" => show::get(world, arguments),
        "create" => create::create(world, arguments),
        "destroy" => create::destroy(world, arguments),
        "set" => change::set(world, arguments),
        "inherit" => change::inherit(world, arguments),
        "rename" => change::rename(world, arguments),
        "mount" => change::mount(world, arguments),
        "unmount" | "umount" => change::unmount(world, arguments),
        other => Err(Reply::refuse(format!("does not know, or is not played for, {other:?}"))),
    };
    done.unwrap_or_else(|reply| reply)
}

/// The message for a dataset that is missing, or whose pool is.
fn does_not_exist(name: &str) -> Reply {
    Reply::fail(1, format!("cannot open '{name}': dataset does not exist"))
}

/// zfs_validate_name of libzfs_dataset.c with the texts of namecheck: what is wrong with a dataset's name.
fn wrong_name(name: &str) -> Option<String> {
    if name.len() > 255 {
        return Some("name is too long".into());
    }
    if name.starts_with('/') {
        return Some("leading slash in name".into());
    }
    if name.ends_with('/') {
        return Some("trailing slash in name".into());
    }
    if name.split('/').any(str::is_empty) {
        return Some("empty component in name".into());
    }
    if name.contains('@') {
        return Some("snapshot delimiter '@' in filesystem name".into());
    }
    let wrong = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.: /%".contains(*c))?;
    Some(format!("invalid character '{wrong}' in name"))
}
