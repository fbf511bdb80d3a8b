//! What is done once in a boot and cannot be looked up cheaply.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::state;

fn mark(step: &str) -> PathBuf {
    Path::new(state::FOLDER).join(format!("{step}.done"))
}

/// Whether a step was done since the machine was switched on.
pub fn is_done(step: &str) -> bool {
    mark(step).exists()
}

/// Notes that a step was done.
pub fn done(step: &str) -> Result<()> {
    let path = mark(step);
    let noted = fs::create_dir_all(state::FOLDER).and_then(|()| fs::write(&path, ""));
    noted.with_context(|| format!("cannot make {}", path.display()))
}
