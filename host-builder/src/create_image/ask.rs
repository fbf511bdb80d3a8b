//! Questions to whoever sits at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result, anyhow};

use crate::report::Hint;

/// Longest answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 16 << 10;

/// Asks for something on standard error and reads a line from standard input. `None` where one of them is no terminal: then nobody is
/// there to answer.
///
/// # Errors
/// The answer cannot be read.
pub fn line(question: &str) -> Result<Option<String>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    let mut out = io::stderr().lock();
    write!(out, "{question}: ").and_then(|()| out.flush()).context("cannot ask on standard error")?;
    let mut answer = String::new();
    let mut input = io::Read::take(io::stdin().lock(), ANSWER_LIMIT);
    input.read_line(&mut answer).context("cannot read the answer")?;
    Ok(Some(answer.trim().to_owned()))
}

/// Asks for something that cannot be empty.
///
/// # Errors
/// As misuse, with `missing` and `hint`: nobody is there to answer, or the answer is empty.
pub fn required(question: &str, missing: &str, hint: &str) -> Result<String> {
    let answer = line(question)?.filter(|answer| !answer.is_empty());
    answer.ok_or_else(|| anyhow!("{missing}")).misuse(hint)
}
