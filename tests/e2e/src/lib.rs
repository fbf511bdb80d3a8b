//! What the tests of rings 2 and 3 share: running kiln, and making platforms and images to run it on.

#![forbid(unsafe_code)]

pub mod build;
pub mod disks;
pub mod first_boot;
pub mod fuse_pool;
pub mod kernel;
pub mod listing;
pub mod metadata;
pub mod shell;
pub mod stand_in;
pub mod tarball;
pub mod template;
pub mod trees;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The stamp of the stand-in platforms.
pub const STAMP: &str = "20260101T000000Z";

/// A scratch folder with kiln in it.
pub struct Lab {
    kiln: PathBuf,
    home: TempDir,
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Said {
    /// Exit status; -1 for a signal.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// What a program said that has ended.
    pub fn from(output: &Output) -> Said {
        Said {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Lab {
    /// A new scratch folder, or `None` after a loud skip when there is no kiln to test.
    pub fn open() -> Option<Lab> {
        Some(Lab { kiln: kiln_harness::tools::kiln()?, home: kiln_harness::scratch::folder("lab") })
    }

    /// The scratch folder.
    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// A path in the scratch folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.home.path().join(name)
    }

    /// kiln, to be run in the scratch folder.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.kiln);
        command.current_dir(self.path()).env_remove("KILN_LOG");
        command
    }

    /// Runs kiln and returns what it said.
    pub fn kiln(&self, arguments: &[&str]) -> Said {
        Said::from(&self.command().args(arguments).output().expect("kiln starts"))
    }

    /// Runs kiln, which must succeed, and returns its standard output.
    ///
    /// # Panics
    /// kiln ended with another status than 0; the message shows what it said.
    pub fn kiln_ok(&self, arguments: &[&str]) -> String {
        let said = self.kiln(arguments);
        assert_eq!(said.status, 0, "kiln {arguments:?}\n{}\n{}", said.stdout, said.stderr);
        said.stdout
    }

    /// Makes `data/platform-STAMP.tgz`, a stand-in with a boot archive of so many KiB.
    pub fn platform(&self, archive_kib: u32) -> PathBuf {
        let path = self.join(format!("data/platform-{STAMP}.tgz"));
        fs::create_dir_all(self.join("data")).expect("the scratch folder is writable");
        let (size, output) = (archive_kib.to_string(), path.to_string_lossy().into_owned());
        self.kiln_ok(&["demo", "platform", "--stamp", STAMP, "--size", &size, "--output", &output]);
        path
    }

    /// Builds an image from [`Lab::platform`] with further flags and returns (image, manifest).
    pub fn retro(&self, flags: &[&str]) -> (PathBuf, PathBuf) {
        let mut arguments = vec!["retro", STAMP, "--force", "--version", "test"];
        arguments.extend(flags);
        self.kiln_ok(&arguments);
        let name = self.join(format!("output/smartos-retro-{STAMP}-test"));
        (name.with_extension("zvol.gz"), name.with_extension("manifest"))
    }

    /// The names in a folder below the scratch folder, sorted; none when there is no such folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.join(folder))
            .into_iter()
            .flatten()
            .map(|entry| entry.expect("the folder is readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}
