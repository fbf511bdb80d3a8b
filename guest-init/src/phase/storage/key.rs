//! The key: finding it, and writing to it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::disks::{self, Disk};
use crate::command::mount::{self, Access};
use crate::engine::{Finding, Guest, Step};
use crate::state;

/// Where the key is mounted.
pub const FOLDER: &str = "/usbkey";

/// How long it may take to find the key, or to mount it so that it can be written to: some programs, of which one may hang.
pub const LIMIT: Duration = Duration::from_mins(5);

/// Finds the key by what it contains, and mounts it so that it can be read.
pub struct FindKey;

impl Step for FindKey {
    fn name(&self) -> &'static str {
        "key"
    }

    fn limit(&self) -> Duration {
        LIMIT
    }

    /// Which pool is this guest's is written on the key.
    fn others_depend(&self) -> bool {
        true
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let table = mount::table()?;
        let mounted = mount::at(&table, FOLDER).and_then(|mounted| {
            let disk = mounted.special.strip_prefix("/dev/dsk/")?.strip_suffix(PARTITION)?;
            (mounted.kind == "pcfs").then(|| disk.to_owned())
        });
        match mounted {
            Some(disk) if likeness(guest.platform.stamp()) > Likeness::None => {
                guest.state.key = Some(state::Key { disk, folder: FOLDER.to_owned() });
                Ok(Finding::Done)
            }
            _ => {
                guest.state.key = None;
                let names = candidates().unwrap_or_default();
                let names = if names.is_empty() { "no disk has one".to_owned() } else { names.join(", ") };
                Ok(Finding::Needed(format!(
                    "the disk with the boot files is found among those with a FAT file system ({names}) and mounted"
                )))
            }
        }
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        let found = find(guest);
        if let Err(error) = &found {
            guest.state.storage.key_trouble = Some(format!("{error:#}"));
        }
        found
    }
}

/// The first partition of a partition table, as it ends the name of a disk.
const PARTITION: &str = "p1";

/// How much a file system looks like the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// Not at all.
    None,
    /// It is a key, of another platform perhaps.
    Key,
    /// It has the platform that runs.
    Platform,
}

/// Looks at what is mounted on [`FOLDER`].
fn likeness(stamp: &str) -> Likeness {
    let folder = Path::new(FOLDER);
    let is_folder = |path: &Path| fs::metadata(path).is_ok_and(|found| found.is_dir());
    let is_file = |name: &str| fs::metadata(folder.join(name)).is_ok_and(|found| found.is_file());
    let platforms = folder.join("os");
    if [stamp.to_ascii_lowercase(), stamp.to_owned()].iter().any(|stamp| is_folder(&platforms.join(stamp))) {
        return Likeness::Platform;
    }
    if is_folder(&platforms) && (is_file("custom.tgz") || is_file(".joyliveusb")) {
        return Likeness::Key;
    }
    Likeness::None
}

/// The names of the disks that may be the key.
fn candidates() -> Result<Vec<String>> {
    let disks = disks::all()?.into_iter().filter(|disk| disk.has_fat_first() == Ok(true));
    Ok(disks.map(|disk| disk.name).collect())
}

fn find(guest: &mut Guest<'_>) -> Result<()> {
    fs::create_dir_all(FOLDER).with_context(|| format!("cannot make {FOLDER}"))?;
    let mut candidates: Vec<Disk> = Vec::new();
    let mut looked_at = Vec::new();
    let mut last_trouble = None;
    for disk in disks::all()? {
        match disk.has_fat_first() {
            Ok(true) => candidates.push(disk),
            Ok(false) => {}
            Err(reason) => {
                let trouble = anyhow!("disk {} cannot be read: {reason}", disk.name);
                guest.log.line(&format!("it may be the key: {trouble}"));
                last_trouble = Some(trouble);
            }
        }
    }
    for disk in &candidates {
        match mount::fat(guest, &device(&disk.name), FOLDER, Access::ReadOnly) {
            Ok(()) => {}
            Err(error) => {
                guest.log.line(&format!("disk {} is not the key: {error:#}", disk.name));
                last_trouble = Some(error);
                continue;
            }
        }
        let likeness = likeness(guest.platform.stamp());
        looked_at.push((disk.name.clone(), likeness));
        if candidates.len() == 1 && likeness > Likeness::None {
            break;
        }
        mount::remove(guest, FOLDER)?;
    }
    let chosen = choose(&looked_at, last_trouble.as_ref())?;
    if candidates.len() > 1 {
        mount::fat(guest, &device(chosen), FOLDER, Access::ReadOnly)?;
    }
    Ok(())
}

/// The one that is the key: the one with the platform that runs, or else the only one. As long as there is a disk that could not
/// be looked at for some `trouble`, it may be the key, and another image's must not take its place: it knows another pool.
fn choose<'a>(looked_at: &'a [(String, Likeness)], trouble: Option<&anyhow::Error>) -> Result<&'a str> {
    for wanted in [Likeness::Platform, Likeness::Key] {
        if let Some(trouble) = trouble
            && wanted == Likeness::Key
        {
            bail!("the disk with the boot files cannot be read or mounted: {trouble:#}");
        }
        match looked_at.iter().filter(|(_, likeness)| *likeness == wanted).collect::<Vec<_>>()[..] {
            [] => {}
            [(disk, _)] => return Ok(disk),
            [(first, _), (second, _), ..] => {
                bail!("there are several disks with boot files, {first} and {second} among them")
            }
        }
    }
    bail!("the disk with the boot files is not there")
}

fn device(disk: &str) -> String {
    format!("/dev/dsk/{disk}{PARTITION}")
}

/// Lets `act` write to the key, in the folder that it is given. The key is made writable for it, and stays so for the
/// rest of this boot; whoever writes makes durable what was written ([`files::replace`](crate::files::replace)).
///
/// # Errors
/// In rescue mode, when there is no key, and those of `act`.
pub fn write<T>(guest: &mut Guest<'_>, act: impl FnOnce(&mut Guest<'_>, &Path) -> Result<T>) -> Result<T> {
    if let Some(reason) = &guest.state.rescue {
        bail!("nothing is written to the key in rescue mode ({reason})");
    }
    let Some(key) = guest.state.key.clone() else { bail!("there is no key to write to") };
    make_writable(guest, &key)?;
    act(guest, Path::new(&key.folder))
}

fn make_writable(guest: &mut Guest<'_>, key: &state::Key) -> Result<()> {
    let table = mount::table()?;
    let mounted = mount::at(&table, &key.folder).filter(|mounted| mounted.special == device(&key.disk));
    let mounted = mounted.with_context(|| format!("the key is not mounted on {}", key.folder))?;
    if !mounted.is_read_only() {
        return Ok(());
    }
    let device = device(&key.disk);
    mount::remove(guest, &key.folder)?;
    let writable = mount::fat(guest, &device, &key.folder, Access::Writable);
    if writable.is_err()
        && let Err(error) = mount::fat(guest, &device, &key.folder, Access::ReadOnly)
    {
        guest.log.line(&format!("the key cannot even be mounted again to be read: {error:#}"));
        guest.state.key = None;
    }
    // Those who only read can go on if it was mounted again.
    writable.context("the key cannot be made writable")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(disks: &[(&str, Likeness)]) -> Vec<(String, Likeness)> {
        disks.iter().map(|(name, likeness)| ((*name).to_owned(), *likeness)).collect()
    }

    #[test]
    fn the_key_is_found_by_content_and_not_by_order() {
        for order in [["c0t0d0", "c1t0d0"], ["c1t0d0", "c0t0d0"]] {
            let disks = seen(&[(order[0], Likeness::None), (order[1], Likeness::Platform)]);
            assert_eq!(choose(&disks, None).expect("found"), order[1]);
            let disks = seen(&[(order[0], Likeness::Key), (order[1], Likeness::Platform)]);
            assert_eq!(choose(&disks, None).expect("found"), order[1]);
        }
        assert_eq!(choose(&seen(&[("c0t0d0", Likeness::Key)]), None).expect("found"), "c0t0d0");
    }

    #[test]
    fn the_key_of_another_image_does_not_take_the_place_of_one_that_cannot_be_read() {
        let trouble = anyhow::anyhow!("mount: I/O error");
        let foreign = seen(&[("c1t0d0", Likeness::Key)]);
        let error = choose(&foreign, Some(&trouble)).expect_err("it may be the other");
        assert!(error.to_string().contains("I/O error"), "{error}");
        let own = seen(&[("c1t0d0", Likeness::Platform)]);
        assert_eq!(choose(&own, Some(&trouble)).expect("found"), "c1t0d0");
    }

    #[test]
    fn two_keys_are_none() {
        for likeness in [Likeness::Key, Likeness::Platform] {
            assert!(choose(&seen(&[("c0t0d0", likeness), ("c1t0d0", likeness)]), None).is_err());
        }
        assert!(choose(&seen(&[("c0t0d0", Likeness::None)]), None).is_err());
        assert!(choose(&[], None).is_err());
    }
}
