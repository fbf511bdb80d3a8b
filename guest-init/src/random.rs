//! Bytes that nobody can guess.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};

/// The kernel's generator.
const SOURCE: &str = "/dev/urandom";

/// Bytes from the kernel's generator.
///
/// # Errors
/// When it cannot be read.
pub fn bytes<const COUNT: usize>() -> Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    File::open(SOURCE)
        .and_then(|mut source| source.read_exact(&mut bytes))
        .with_context(|| format!("cannot read {SOURCE}"))?;
    Ok(bytes)
}
