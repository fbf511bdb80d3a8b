//! `zfs`: datasets.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use super::{Commands, Invocation};

const PROGRAM: &str = "/usr/sbin/zfs";

/// A user property of the root dataset: the journal of the first boot, which the storage phase keeps.
pub const STEP: &str = "kiln:step";

/// The owner's wish that everything be destroyed (smartos-live, `fs-joyent`).
pub const FACTORY_RESET: &str = "smartdc:factoryreset";

/// A dataset.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Where it is mounted: a path, `legacy`, `none`, or `-` for volumes.
    pub mountpoint: String,
    /// Its checksum.
    pub checksum: String,
    /// The property [`STEP`], its own or from above; `-` where nobody has set it.
    pub step: String,
    /// The property [`FACTORY_RESET`], its own or from above.
    pub factory_reset: bool,
}

impl Dataset {
    /// One that was made a moment ago, with a mount point.
    pub fn new(mountpoint: &str) -> Self {
        Self { mountpoint: mountpoint.to_owned(), checksum: "on".to_owned(), ..Self::default() }
    }
}

/// Datasets by name.
pub type Datasets = BTreeMap<String, Dataset>;

/// The file systems and volumes of a pool.
pub fn list(commands: &mut dyn Commands, pool: &str) -> Result<Datasets> {
    let columns = format!("name,mountpoint,checksum,{STEP},{FACTORY_RESET}");
    let invocation =
        Invocation::reads(PROGRAM, ["list", "-H", "-o", &columns, "-t", "filesystem,volume", "-r", pool]);
    let text = commands.text(&invocation)?;
    parse(&text, pool).with_context(|| format!("{invocation} wrote something else than datasets"))
}

fn parse(text: &str, pool: &str) -> Result<Datasets> {
    let mut datasets = Datasets::new();
    for line in text.lines() {
        let [name, mountpoint, checksum, step, factory_reset] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            bail!("'{}' has not five columns", line.escape_debug());
        };
        let dataset = Dataset {
            mountpoint: mountpoint.to_owned(),
            checksum: checksum.to_owned(),
            step: step.to_owned(),
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
        let text =
            "zones\t/zones\ton\tvar\t-\nzones/dump\t-\tnoparity\tvar\t-\nzones/var\tlegacy\ton\tvar\tyes\n";
        let datasets = parse(text, "zones").expect("datasets");
        assert_eq!((datasets["zones"].step.as_str(), datasets["zones"].factory_reset), ("var", false));
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
