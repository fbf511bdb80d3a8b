//! What the tools for zones expect to find.

use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result};

use crate::engine::{Finding, Guest, Step};

/// Folders into which the logs of vmadm and fwadm are rotated, and the logs, which have to be there for that
/// (smartos-live, `overlay/generic/lib/svc/method/smartdc-init`).
const FOLDERS: [&str; 2] = ["/var/log/vm/logs", "/var/log/fw/logs"];
const FILES: [&str; 2] = ["/var/log/vm/vmadm.log", "/var/log/fw/fwadm.log"];

/// Makes the places for the logs of vmadm and fwadm.
pub struct ToolLogs;

impl Step for ToolLogs {
    fn name(&self) -> &'static str {
        "tool-logs"
    }

    fn check(&self, _guest: &mut Guest<'_>) -> Result<Finding> {
        let folders = FOLDERS.iter().filter(|folder| !Path::new(folder).is_dir());
        let files = FILES.iter().filter(|file| !Path::new(file).exists());
        let missing: Vec<&str> = folders.chain(files).copied().collect();
        Ok(match missing.as_slice() {
            [] => Finding::Done,
            missing => Finding::Needed(format!("vmadm and fwadm want {}", missing.join(", "))),
        })
    }

    fn apply(&self, _guest: &mut Guest<'_>) -> Result<()> {
        for folder in FOLDERS {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
        }
        for file in FILES {
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(file)
                .with_context(|| format!("cannot make {file}"))?;
        }
        Ok(())
    }
}
