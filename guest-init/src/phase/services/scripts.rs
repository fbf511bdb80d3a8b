//! The programs in the metadata.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::engine::{Finding, Guest, Step};
use crate::files::{self, Owner};

/// A program that is in the metadata, and runs at each boot.
pub struct Script {
    name: &'static str,
    key: &'static str,
    /// Where it is run from, as in zones of SmartOS. Programs know each other by that name.
    path: &'static str,
}

/// Where scripts find programs by name. What the image brings comes first: a platform before 2013-10-24 (smartos-live TOOLS-292)
/// has an `mdata-get` of its own, which asks for the socket of a zone and hears nothing in the global zone.
const SEARCH_PATH: &str = "/opt/custom/bin:/usr/sbin:/usr/bin:/sbin";

/// The operator's.
pub const OPERATOR_SCRIPT: Script =
    Script { name: "operator-script", key: "sdc:operator-script", path: "/var/svc/mdata-operator-script" };

/// The owner's.
pub const USER_SCRIPT: Script =
    Script { name: "user-script", key: "user-script", path: "/var/svc/mdata-user-script" };

impl Step for Script {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self, guest: &mut Guest<'_>) -> Result<Finding> {
        let script = guest.metadata.get(self.key).context("the host does not say whether there is one")?;
        Ok(match script {
            Some(script) if is_program(&script) => {
                Finding::Needed(format!("the metadata has a program of {} bytes to run", script.len()))
            }
            // What the owner took back is not left lying about.
            _ if Path::new(self.path).exists() && guest.state.rescue.is_none() => {
                Finding::Needed("the metadata has none any more: the copy is removed".to_owned())
            }
            _ => Finding::Done,
        })
    }

    fn apply(&self, guest: &mut Guest<'_>) -> Result<()> {
        if guest.state.rescue.is_some() {
            bail!("not run in rescue mode: it counts on the pool");
        }
        let Some(script) = guest.metadata.get(self.key)?.filter(|script| is_program(script)) else {
            return fs::remove_file(self.path).with_context(|| format!("cannot remove {}", self.path));
        };
        if let Some(folder) = Path::new(self.path).parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        files::replace(Path::new(self.path), &script, Owner::root(0o700))
            .with_context(|| format!("cannot write {}", self.path))?;
        guest.log.line(&format!("runs {}", self.path));
        // Scripts ask for metadata, too.
        guest.metadata.release();
        // Its output goes where this service's does. The file is closed already, or it could not be run (ETXTBSY).
        let output = || io::stdout().as_fd().try_clone_to_owned().map(Stdio::from);
        let status = Command::new(self.path)
            .current_dir("/")
            .env("HOME", "/root")
            .env("PATH", SEARCH_PATH)
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            .status()
            .with_context(|| format!("cannot run {}", self.path))?;
        guest.log.line(&ending(status));
        if status.success() { Ok(()) } else { bail!(ending(status)) }
    }

    /// It runs at each boot: there is nothing that would be different now.
    fn verify(&self, _guest: &mut Guest<'_>) -> Result<()> {
        Ok(())
    }
}

/// Whether there is anything to run.
fn is_program(script: &[u8]) -> bool {
    !script.trim_ascii().is_empty()
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with status {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended in an unknown way".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_is_no_program() {
        assert!(!is_program(b"") && !is_program(b" \n\t\r\n"));
        assert!(is_program(b"#!/bin/bash\n"));
    }

    #[test]
    fn hazard_26_an_ending_is_told() {
        assert_eq!(ending(ExitStatus::from_raw(3 << 8)), "it ended with status 3");
        assert_eq!(ending(ExitStatus::from_raw(9)), "it was ended by signal 9");
    }
}
