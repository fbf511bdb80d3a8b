//! Results on standard output.

use std::io::{self, Write as _};

use anyhow::Result;
use serde_json::Value;

use crate::report::Report;

/// The report for the work of commands whose result is what standard output is for: progress on a terminal, and no
/// events between the lines of the result.
pub fn quiet() -> Report {
    Report::new(false)
}

/// Runs work that writes to standard output, and takes a reader that went away (`kiln ls … | head`) for a good end.
///
/// # Errors
/// Every other error of the work.
pub fn until_closed(work: impl FnOnce() -> Result<()>) -> Result<()> {
    match work() {
        Err(error) if is_closed(&error) => Ok(()),
        result => result,
    }
}

fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes a finished text.
///
/// # Errors
/// Standard output fails in another way than by being closed.
pub fn text(text: &str) -> Result<()> {
    until_closed(|| Ok(io::stdout().write_all(text.as_bytes())?))
}

/// Writes one object for machines, on one line.
///
/// # Errors
/// As of [`text`].
pub fn object(object: &Value) -> Result<()> {
    text(&format!("{object}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_pipe_is_a_good_end() {
        let fail = |kind: io::ErrorKind| until_closed(|| Err(io::Error::from(kind).into()));
        assert!(fail(io::ErrorKind::BrokenPipe).is_ok());
        assert!(fail(io::ErrorKind::StorageFull).is_err());
    }
}
