//! The disks that programs find below `/dev/dsk` and `/dev/rdsk`: files or block devices of the host.
//!
//! The shim reads the table at each use: a line for each name, `NAME HOSTPATH`, and then, in any order, `block=BYTES` (512
//! without it) and `removable`. A name stands for one node, such as `c1t0d0p0`: what a program asks for under other names
//! of the same disk needs lines of its own.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    name: String,
    host: PathBuf,
    block_size: u32,
    removable: bool,
}

impl Disk {
    /// The disk `name`, such as `c1t0d0p0`, which is the absolute path `host`. A block device is asked for its size and
    /// block size; a plain file is a fixed disk as long as the file, with blocks of 512 bytes.
    pub fn new(name: &str, host: impl Into<PathBuf>) -> Self {
        Self { name: name.to_owned(), host: host.into(), block_size: 512, removable: false }
    }

    /// Makes the medium one that can be taken out.
    #[must_use]
    pub fn removable(mut self) -> Self {
        self.removable = true;
        self
    }

    /// Sets the block size of a plain file, in bytes.
    #[must_use]
    pub fn block_size(mut self, bytes: u32) -> Self {
        self.block_size = bytes;
        self
    }

    /// The name, the last part of the path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file or block device behind it.
    pub fn host(&self) -> &Path {
        &self.host
    }

    fn line(&self) -> Result<String> {
        let host = self.host.to_str().filter(|path| !path.contains([' ', '\n']) && path.starts_with('/'));
        let host = host.with_context(|| format!("{}: not a path for a table", self.host.display()))?;
        ensure!(
            !self.name.is_empty() && !self.name.contains([' ', '\n', '/']),
            "{}: no disk's name",
            self.name
        );
        let removable = if self.removable { " removable" } else { "" };
        Ok(format!("{} {host} block={}{removable}\n", self.name, self.block_size))
    }

    fn parse(line: &str) -> Result<Self> {
        let mut words = line.split(' ');
        let (Some(name), Some(host)) = (words.next(), words.next()) else { bail!("{line}: not a disk") };
        words.try_fold(Self::new(name, host), |disk, word| match word.strip_prefix("block=") {
            Some(bytes) => Ok(disk.block_size(bytes.parse().with_context(|| line.to_owned())?)),
            None if word == "removable" => Ok(disk.removable()),
            None => bail!("{line}: {word} is not understood"),
        })
    }
}

/// Writes the table, in one step: programs that run see the old one or the new one.
///
/// # Errors
/// When a name or path has a character that a table cannot hold, or the file cannot be written.
pub fn write(disks: &[Disk], file: &Path) -> Result<()> {
    let text = disks.iter().map(Disk::line).collect::<Result<String>>()?;
    let new = file.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, file))
        .with_context(|| format!("{}: cannot write the table of disks", file.display()))
}

/// Reads a table.
///
/// # Errors
/// When it cannot be read or a line is not understood.
pub fn read(file: &Path) -> Result<Vec<Disk>> {
    let text = fs::read_to_string(file).with_context(|| format!("{}: no table of disks", file.display()))?;
    text.lines().map(Disk::parse).collect()
}

/// Makes the names of the disks in the folder `root`, which programs see as `/`, so that they are listed: links to what would
/// be below `/devices`, as devfsadm makes them. Names of other disks are removed.
///
/// # Errors
/// When a folder or link cannot be made.
pub fn populate(root: &Path, disks: &[Disk]) -> Result<()> {
    for (folder, raw) in [("dev/dsk", ""), ("dev/rdsk", ",raw")] {
        let folder = root.join(folder);
        let made = || -> io::Result<()> {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => fs::create_dir_all(&folder)?,
            }
            for disk in disks {
                symlink(format!("../../devices/pseudo/disk@0:{}{raw}", disk.name), folder.join(&disk.name))?;
            }
            Ok(())
        };
        made().with_context(|| format!("{}: cannot make the names of disks", folder.display()))?;
    }
    Ok(())
}
