//! `mount` and `umount`, and the table of what is mounted.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Invocation, zfs};
use crate::engine::Guest;
use crate::files;

/// The kernel's table of mounted file systems.
const TABLE: &str = "/etc/mnttab";

/// The longest table that is read, in bytes: some thousands of zones.
const LONGEST_TABLE: u64 = 4 << 20;

const PROGRAM: &str = "/usr/sbin/mount";

/// The size of a file system in memory: what lies in it is a few small files.
const SIZE_IN_MEMORY: &str = "size=4m";

/// The type of file systems in memory.
const MEMORY: &str = "tmpfs";

/// Whether a FAT file system may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may not.
    ReadOnly,
    /// It may.
    Writable,
}

/// Mounts a FAT file system; its names are seen in small letters.
pub fn fat(guest: &mut Guest<'_>, device: &str, folder: &str, access: Access) -> Result<()> {
    let options = match access {
        Access::ReadOnly => "foldcase,ro",
        Access::Writable => "foldcase",
    };
    let invocation = Invocation::changes(PROGRAM, ["-F", "pcfs", "-o", options, device, folder]);
    change(guest, &invocation, |table| {
        let found = at(table, folder).filter(|mounted| mounted.special == device);
        found.is_some_and(|mounted| mounted.is_read_only() == (access == Access::ReadOnly))
    })
}

/// Mounts a dataset whose mount point is `legacy`.
pub fn dataset(guest: &mut Guest<'_>, dataset: &str, folder: &str) -> Result<()> {
    let invocation = Invocation::changes(PROGRAM, ["-F", "zfs", dataset, folder]);
    change(guest, &invocation, |table| at(table, folder).is_some_and(|mounted| mounted.special == dataset))
}

/// Mounts a dataset on the folder that is its mount point.
pub fn by_property(guest: &mut Guest<'_>, dataset: &str, folder: &str) -> Result<()> {
    let invocation = zfs::mount(dataset);
    change(guest, &invocation, |table| at(table, folder).is_some_and(|mounted| mounted.special == dataset))
}

/// Covers a folder, and whatever is mounted there, by an empty file system in memory.
pub fn memory(guest: &mut Guest<'_>, folder: &str) -> Result<()> {
    let invocation = Invocation::changes(PROGRAM, ["-F", MEMORY, "-O", "-o", SIZE_IN_MEMORY, "swap", folder]);
    change(guest, &invocation, |table| at(table, folder).is_some_and(Mounted::is_in_memory))
}

/// Takes the file system away that is to be seen at `folder`, if there is one.
pub fn remove(guest: &mut Guest<'_>, folder: &str) -> Result<()> {
    let count = |table: &[Mounted]| table.iter().filter(|mounted| mounted.folder == folder).count();
    let before = table().map_or(usize::MAX, |table| count(&table));
    if before == 0 {
        return Ok(());
    }
    change(guest, &Invocation::changes("/usr/sbin/umount", [folder]), |table| count(table) < before)
}

/// Runs a program that changes what is mounted. Whether it did is told by the table and not by how it ended: one that was
/// stopped after its work would otherwise leave something mounted of which nobody takes care, and one that ends well without
/// doing anything would have files written to where nobody finds them.
fn change(guest: &mut Guest<'_>, invocation: &Invocation, is_so: impl Fn(&[Mounted]) -> bool) -> Result<()> {
    let ended = guest.commands.text(invocation).map(drop);
    match (table().map(|table| is_so(&table)), ended) {
        (Ok(true), Ok(())) => Ok(()),
        (Ok(true), Err(error)) => {
            guest.log.warn(&format!("{error:#}; it has done its work all the same"));
            Ok(())
        }
        (Ok(false), Ok(())) => bail!("{invocation} ended well, and {TABLE} does not show what it did"),
        (_, Err(error)) | (Err(error), Ok(())) => Err(error),
    }
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// The device or dataset.
    pub special: String,
    /// Where it is mounted.
    pub folder: String,
    /// Its type, such as `zfs`.
    pub kind: String,
    /// Its options.
    pub options: Vec<String>,
}

impl Mounted {
    /// Whether nothing can be written to it.
    pub fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro")
    }

    /// Whether it is gone when the machine is switched off.
    pub fn is_in_memory(&self) -> bool {
        self.kind == MEMORY
    }
}

/// Everything that is mounted, in order: what was mounted later on the same folder covers what was there.
pub fn table() -> Result<Vec<Mounted>> {
    let bytes =
        files::read(Path::new(TABLE), LONGEST_TABLE).with_context(|| format!("cannot read {TABLE}"))?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// What is to be seen at `folder`, in a [`table`].
pub fn at<'a>(table: &'a [Mounted], folder: &str) -> Option<&'a Mounted> {
    table.iter().rev().find(|mounted| mounted.folder == folder)
}

/// Lines of special, folder, type, options and time, between tabs (mnttab(4)).
fn parse(text: &str) -> Vec<Mounted> {
    let line = |line: &str| {
        let mut fields = line.split('\t');
        Some(Mounted {
            special: fields.next()?.to_owned(),
            folder: fields.next()?.to_owned(),
            kind: fields.next()?.to_owned(),
            options: fields.next()?.split(',').map(str::to_owned).collect(),
        })
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_is_what_is_seen() {
        let table = parse(
            "/devices/ramdisk:a\t/\tufs\trw,intr\t1414656000\nswap\t/var\ttmpfs\txattr\t1\nzones/var\t/var\tzfs\trw\t2\n\
             /dev/dsk/c0t0d0p1\t/usbkey\tpcfs\tro,foldcase\t3\nbroken line\n",
        );
        assert_eq!(table.len(), 4);
        assert_eq!(at(&table, "/var").map(|mounted| mounted.special.as_str()), Some("zones/var"));
        assert_eq!(at(&table, "/usbkey").map(Mounted::is_read_only), Some(true));
        assert_eq!(at(&table, "/var").map(Mounted::is_in_memory), Some(false));
        assert!(table[1].is_in_memory() && !table[1].is_read_only());
        assert_eq!(at(&table, "/opt"), None);
    }
}
