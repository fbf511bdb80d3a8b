//! What the project promises of its speed and size, and whether a measurement keeps it.

use anyhow::{Result, ensure};

/// A promise that was measured.
#[derive(Debug)]
pub struct Promise {
    /// What was promised, and what was measured.
    pub words: String,
    /// Whether it is kept.
    pub kept: bool,
}

impl Promise {
    /// That a figure is at most `limit`. Every figure of this kind is at least 1, and one of 0 means that nothing was measured,
    /// which keeps no promise.
    pub fn at_most(what: &str, figure: u64, limit: u64) -> Self {
        let words = format!("{what:<50} {figure:>7}, at most {limit:>7}");
        Self { words, kept: (1..=limit).contains(&figure) }
    }
}

/// Prints each promise.
///
/// # Errors
/// When one is not kept.
pub fn judge(promises: &[Promise]) -> Result<()> {
    for Promise { words, kept } in promises {
        println!("{words}: {}", if *kept { "holds" } else { "DOES NOT HOLD" });
    }
    let broken = promises.iter().filter(|promise| !promise.kept).count();
    ensure!(broken == 0, "promises that do not hold: {broken}");
    Ok(())
}
