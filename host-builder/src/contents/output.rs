//! Results on standard output.

use std::io::{self, Write};

use anyhow::Result;
use serde_json::Value;

use crate::report::{Report, with_hint};

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
        Err(error) if is(io::ErrorKind::BrokenPipe, &error) => Ok(()),
        Err(error) if is(io::ErrorKind::StorageFull, &error) => {
            Err(with_hint(error, "send standard output to a place with more room"))
        }
        result => result,
    }
}

fn is(kind: io::ErrorKind, error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == kind)
}

/// Standard output, with errors that name it.
#[derive(Debug)]
pub struct Standard(io::StdoutLock<'static>);

/// Takes standard output for this thread alone.
pub fn standard() -> Standard {
    Standard(io::stdout().lock())
}

impl Write for Standard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(named)
    }
}

fn named(error: io::Error) -> io::Error {
    match error.kind() {
        // Writers go on after it by themselves, as long as they see it as it is.
        io::ErrorKind::Interrupted => error,
        kind => io::Error::new(kind, format!("cannot write to standard output: {error}")),
    }
}

/// Writes a finished text.
///
/// # Errors
/// Standard output fails in another way than by being closed.
pub fn text(text: &str) -> Result<()> {
    until_closed(|| {
        let mut out = standard();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    })
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
    use crate::report::hint_of;

    #[test]
    fn only_a_closed_pipe_is_a_good_end() {
        let fail = |kind: io::ErrorKind| until_closed(|| Err(io::Error::from(kind).into()));
        assert!(fail(io::ErrorKind::BrokenPipe).is_ok());
        assert_eq!(hint_of(&fail(io::ErrorKind::PermissionDenied).unwrap_err()), None);
        assert!(hint_of(&fail(io::ErrorKind::StorageFull).unwrap_err()).is_some());
    }
}
