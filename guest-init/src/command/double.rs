//! Commands for unit tests: what is run, and what it says, is written down beforehand.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, bail};

use super::{Commands, Invocation, Output};

/// Answers to command lines, in the order in which they are expected.
pub struct Double {
    expected: VecDeque<(String, Output)>,
}

impl Double {
    /// These command lines with these answers, and no others.
    pub fn new<'a>(expected: impl IntoIterator<Item = (&'a str, Output)>) -> Self {
        Self { expected: expected.into_iter().map(|(line, output)| (line.to_owned(), output)).collect() }
    }

    /// Makes sure that nothing is left.
    pub fn finish(self) {
        let left: Vec<&String> = self.expected.iter().map(|(line, _)| line).collect();
        assert!(left.is_empty(), "were not run: {left:?}");
    }
}

impl Commands for Double {
    fn run(&mut self, invocation: &Invocation) -> Result<Output> {
        match self.expected.pop_front() {
            Some((line, output)) if line == invocation.to_string() => Ok(output),
            Some((line, _)) => bail!("'{invocation}' was run and '{line}' was expected"),
            None => bail!("'{invocation}' was run and nothing was expected"),
        }
    }

    fn end_by(&mut self, _: Duration) {}
}

/// A program that succeeds and says this.
pub fn said(stdout: &str) -> Output {
    Output { status: 0, stdout: stdout.into(), stderr: Vec::new() }
}

/// A program that fails and complains.
pub fn failed(status: i32, stderr: &str) -> Output {
    Output { status, stdout: Vec::new(), stderr: stderr.into() }
}
