//! `zfs`: datasets.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::{Commands, Invocation};

const PROGRAM: &str = "/usr/sbin/zfs";

/// A user property of the root dataset: `1` once everything that a first boot makes is there.
pub const COMPLETE: &str = "kiln:complete";

/// The owner's wish that everything be destroyed (smartos-live, `fs-joyent`).
pub const FACTORY_RESET: &str = "smartdc:factoryreset";

/// A dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Where it is mounted: a path, `legacy`, `none`, or `-` for volumes.
    pub mountpoint: String,
    /// Its checksum.
    pub checksum: String,
    /// The property [`COMPLETE`].
    pub complete: bool,
    /// The property [`FACTORY_RESET`], its own or from above.
    pub factory_reset: bool,
}

/// Datasets by name.
pub type Datasets = BTreeMap<String, Dataset>;

/// The file systems and volumes of a pool.
pub fn list(commands: &mut dyn Commands, pool: &str) -> Result<Datasets> {
    let columns = format!("name,mountpoint,checksum,{COMPLETE},{FACTORY_RESET}");
    let invocation =
        Invocation::reads(PROGRAM, ["list", "-H", "-o", &columns, "-t", "filesystem,volume", "-r", pool]);
    let text = commands.text(&invocation)?;
    parse(&text, pool).with_context(|| format!("{invocation} wrote something else than datasets"))
}

fn parse(text: &str, pool: &str) -> Result<Datasets> {
    let mut datasets = Datasets::new();
    for line in text.lines() {
        let [name, mountpoint, checksum, complete, factory_reset] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            bail!("'{}' has not five columns", line.escape_debug());
        };
        let dataset = Dataset {
            mountpoint: mountpoint.to_owned(),
            checksum: checksum.to_owned(),
            complete: complete == "1",
            factory_reset: factory_reset == "yes",
        };
        datasets.insert(name.to_owned(), dataset);
    }
    if !datasets.contains_key(pool) {
        bail!("the pool itself is missing");
    }
    Ok(datasets)
}

/// Makes a file system with these properties (`name=value`).
pub fn create(commands: &mut dyn Commands, name: &str, properties: &[&str]) -> Result<()> {
    change(commands, with_properties(vec!["create"], properties, &[name]))
}

/// Makes a file system with these properties, and what is missing above it without.
pub fn create_with_parents(commands: &mut dyn Commands, name: &str, properties: &[&str]) -> Result<()> {
    change(commands, with_properties(vec!["create", "-p"], properties, &[name]))
}

/// Makes a volume of `bytes` bytes.
pub fn create_volume(commands: &mut dyn Commands, name: &str, bytes: u64, properties: &[&str]) -> Result<()> {
    change(commands, with_properties(vec!["create"], properties, &["-V", &bytes.to_string(), name]))
}

/// Makes a volume of `bytes` bytes that takes space only for what is written to it, apart from what its properties
/// reserve.
pub fn create_sparse_volume(
    commands: &mut dyn Commands,
    name: &str,
    bytes: u64,
    properties: &[&str],
) -> Result<()> {
    change(commands, with_properties(vec!["create", "-s"], properties, &["-V", &bytes.to_string(), name]))
}

/// Gives a dataset a property.
pub fn set(commands: &mut dyn Commands, name: &str, property: &str, value: &str) -> Result<()> {
    change(commands, vec!["set".to_owned(), format!("{property}={value}"), name.to_owned()])
}

/// Gives a dataset another name.
pub fn rename(commands: &mut dyn Commands, from: &str, to: &str) -> Result<()> {
    change(commands, ["rename", from, to].map(str::to_owned).to_vec())
}

/// What mounts a file system where its property says.
pub fn mount(name: &str) -> Invocation {
    Invocation::changes(PROGRAM, ["mount", name])
}

fn with_properties(command: Vec<&str>, properties: &[&str], rest: &[&str]) -> Vec<String> {
    let properties = properties.iter().flat_map(|property| ["-o", property]);
    command.into_iter().chain(properties).chain(rest.iter().copied()).map(str::to_owned).collect()
}

fn change(commands: &mut dyn Commands, arguments: Vec<String>) -> Result<()> {
    commands.text(&Invocation::changes(PROGRAM, arguments)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datasets_are_read() {
        let text = "zones\t/zones\ton\t1\t-\nzones/dump\t-\tnoparity\t1\t-\nzones/var\tlegacy\ton\t1\tyes\n";
        let datasets = parse(text, "zones").expect("datasets");
        assert!(datasets["zones"].complete && !datasets["zones"].factory_reset);
        assert!(datasets["zones/var"].factory_reset);
        assert_eq!(datasets["zones/dump"].checksum, "noparity");
        assert_eq!(datasets["zones/var"].mountpoint, "legacy");
    }

    #[test]
    fn a_list_without_the_pool_is_no_list() {
        for text in ["", "garbage\n", "zones\t/zones\n", "other\t/other\ton\t-\t-\n"] {
            assert!(parse(text, "zones").is_err(), "{text:?}");
        }
    }

    #[test]
    fn properties_come_before_the_name() {
        assert_eq!(
            with_properties(vec!["create", "-s"], &["a=1", "b=2"], &["-V", "7", "zones/swap"]),
            ["create", "-s", "-o", "a=1", "-o", "b=2", "-V", "7", "zones/swap"]
        );
    }
}
