//! `mount` and `umount`, and the table of what is mounted.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Commands, Invocation};
use crate::files;

/// The kernel's table of mounted file systems.
const TABLE: &str = "/etc/mnttab";

/// The longest table that is read, in bytes: some thousands of zones.
const LONGEST_TABLE: u64 = 4 << 20;

const PROGRAM: &str = "/usr/sbin/mount";

/// Whether a FAT file system may be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may not.
    ReadOnly,
    /// It may.
    Writable,
}

/// Mounts a FAT file system; its names are seen in small letters.
pub fn fat(commands: &mut dyn Commands, device: &str, folder: &str, access: Access) -> Result<()> {
    let options = match access {
        Access::ReadOnly => "foldcase,ro",
        Access::Writable => "foldcase",
    };
    commands.text(&Invocation::changes(PROGRAM, ["-F", "pcfs", "-o", options, device, folder])).map(drop)
}

/// Mounts a dataset whose mount point is `legacy`.
pub fn dataset(commands: &mut dyn Commands, dataset: &str, folder: &str) -> Result<()> {
    commands.text(&Invocation::changes(PROGRAM, ["-F", "zfs", dataset, folder])).map(drop)
}

/// Takes a file system away.
pub fn remove(commands: &mut dyn Commands, folder: &str) -> Result<()> {
    commands.text(&Invocation::changes("/usr/sbin/umount", [folder])).map(drop)
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
        assert_eq!(at(&table, "/usbkey").map(|mounted| mounted.options[0].as_str()), Some("ro"));
        assert_eq!(at(&table, "/opt"), None);
    }
}
