//! What kiln tells its user: steps, progress, warnings, errors with a hint, and the same as JSON lines for machines.
//!
//! Results go to standard output. Everything that is said while working goes to standard error. With `--json`
//! standard output carries one JSON object a line, each with a member `event`.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Read, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

/// Whether a step had anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The step changed what it works on.
    Changed,
    /// Everything was as it should be already.
    Unchanged,
}

/// What a step brought.
#[derive(Debug)]
pub struct Outcome<T> {
    value: T,
    change: Change,
    detail: String,
}

/// The outcome of a step that changed something; `detail` says what, in a few words.
pub fn changed<T>(value: T, detail: impl Into<String>) -> Outcome<T> {
    Outcome { value, change: Change::Changed, detail: detail.into() }
}

/// The outcome of a step that found everything done; `detail` says what it found.
pub fn unchanged<T>(value: T, detail: impl Into<String>) -> Outcome<T> {
    Outcome { value, change: Change::Unchanged, detail: detail.into() }
}

/// The way that one command reports.
#[derive(Debug)]
pub struct Report {
    json: bool,
    bars: MultiProgress,
    terminal: bool,
    /// The first error of standard output that was not its reader's going away.
    lost: OnceLock<io::Error>,
}

impl Report {
    /// A report for people, or, when `json`, for machines.
    pub fn new(json: bool) -> Report {
        let terminal = std::io::stderr().is_terminal() && !json;
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Report { json, bars: MultiProgress::with_draw_target(target), terminal, lost: OnceLock::new() }
    }

    /// Whether machines read along.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Runs one named step and reports whether it changed anything.
    ///
    /// # Errors
    /// Those of the step.
    pub fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<Outcome<T>>) -> Result<T> {
        tracing::debug!(step = name, "begins");
        let Outcome { value, change, detail } = work()?;
        if self.json {
            self.event(&json!({
                "event": "step",
                "step": name,
                "changed": change == Change::Changed,
                "detail": detail,
            }));
        } else {
            let word = if change == Change::Changed { "done" } else { "kept" };
            self.say(&format!("{word}  {name:<22} {detail}"));
        }
        Ok(value)
    }

    /// Says something the user should know although the work goes on.
    pub fn warn(&self, text: &str) {
        if self.json {
            self.event(&json!({ "event": "warning", "text": text }));
        } else {
            self.say(&format!("warning: {text}"));
        }
    }

    /// Says one line to people.
    pub fn say(&self, line: &str) {
        // A reader that went away must not turn finished work into a failure.
        self.bars.suspend(|| {
            let _ = writeln!(io::stderr(), "{line}");
        });
    }

    /// Writes one line of the result to standard output.
    pub fn result(&self, line: &str) {
        self.bars.suspend(|| self.write_out(&line));
    }

    /// Writes one event for machines.
    pub fn event(&self, event: &Value) {
        self.write_out(event);
    }

    fn write_out(&self, line: &dyn fmt::Display) {
        let mut out = io::stdout();
        // All at once: while an interruption ends the program, standard output has no buffer any more but this thread
        // still runs, and of a line in pieces only the first would come out.
        let line = format!("{line}\n");
        // Work under way is not given up for a line of its report; `finish` tells in the end that lines were lost.
        if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush())
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            let _ = self.lost.set(error);
        }
    }

    /// Ends the report. A reader of standard output that went away (`kiln … | head`) is a good end.
    ///
    /// # Errors
    /// Standard output took a line in no other way.
    pub fn finish(mut self) -> Result<()> {
        match self.lost.take() {
            Some(error) => Err(error)
                .context("cannot write to standard output")
                .hint("what was made is whole, but its report is not: write it to a place with room"),
            None => Ok(()),
        }
    }

    /// Follows work of `total` bytes (0 when not known).
    pub fn progress(&self, stage: &'static str, total: u64) -> Progress<'_> {
        let bar = if self.terminal {
            let style = ProgressStyle::with_template(
                "      {msg:<22} {bar:30} {bytes:>10} of {total_bytes} ({bytes_per_sec}, {eta} left)",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = self.bars.add(ProgressBar::new(total).with_style(style));
            bar.set_message(stage);
            bar
        } else {
            ProgressBar::hidden()
        };
        Progress { report: self, stage, total, done: AtomicU64::new(0), bar }
    }
}

/// How many bytes a bar is moved by.
const BAR_STEP: u64 = 256 << 10;

/// Progress of one stage; gone from the screen when it is dropped.
#[derive(Debug)]
pub struct Progress<'a> {
    report: &'a Report,
    stage: &'static str,
    total: u64,
    done: AtomicU64,
    bar: ProgressBar,
}

impl Progress<'_> {
    /// Counts what is read from `inner` as done.
    pub fn reader<R>(&self, inner: R) -> Counted<'_, R> {
        Counted { inner, progress: self }
    }

    /// Counts what is written to `inner` as done.
    pub fn writer<W>(&self, inner: W) -> Counted<'_, W> {
        Counted { inner, progress: self }
    }

    /// Counts `bytes` more as done.
    pub fn add(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        // The bar looks at the clock each time, which is not free everywhere.
        if self.report.terminal && before / BAR_STEP != (before + bytes) / BAR_STEP {
            self.bar.set_position(before + bytes);
        }
        // Machines get a line a twentieth of the way, which is enough for a bar of their own.
        let mark = |at: u64| at.saturating_mul(20).checked_div(self.total).unwrap_or(0);
        if self.report.json && mark(before) != mark(before + bytes) {
            self.report.event(&json!({
                "event": "progress",
                "stage": self.stage,
                "done": before + bytes,
                "total": self.total,
            }));
        }
    }
}

/// Shows the progress of what passes.
#[derive(Debug)]
pub struct Counted<'a, R> {
    inner: R,
    progress: &'a Progress<'a>,
}

impl<T> Counted<'_, T> {
    /// What is counted.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.progress.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.progress.add(got as u64);
        Ok(got)
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// An error with a remedy. It shows itself as the error that it carries.
struct Hinted {
    inner: anyhow::Error,
    hint: String,
    misuse: bool,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl fmt::Debug for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl Error for Hinted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.inner.source()
    }
}

/// Attaches remedies to errors.
pub trait Hint<T> {
    /// Adds what the user can do about it, one sentence without a full stop.
    ///
    /// # Errors
    /// The same error as before, with the hint.
    fn hint(self, hint: impl Into<String>) -> Result<T>;

    /// Like [`Hint::hint`], for what is wrong with how kiln was called: the program then ends with the status of a
    /// wrong command line.
    ///
    /// # Errors
    /// The same error as before, with the hint.
    fn misuse(self, hint: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> Hint<T> for std::result::Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> Result<T> {
        self.map_err(|error| with_hint(error, hint))
    }

    fn misuse(self, hint: impl Into<String>) -> Result<T> {
        self.map_err(|error| hinted(error.into(), hint.into(), true))
    }
}

/// An error with what the user can do about it.
pub fn with_hint(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> anyhow::Error {
    hinted(error.into(), hint.into(), false)
}

fn hinted(error: anyhow::Error, hint: String, misuse: bool) -> anyhow::Error {
    // Only the outermost error counts: what stands between it and a hint further in must not be lost.
    let outermost = error.chain().next().and_then(|outermost| outermost.downcast_ref::<Hinted>());
    if outermost.is_none() {
        return anyhow::Error::new(Hinted { inner: error, hint, misuse });
    }
    match error.downcast::<Hinted>() {
        // The hint that is there is nearer to the cause.
        Ok(near) => anyhow::Error::new(Hinted { misuse: misuse || near.misuse, ..near }),
        Err(inner) => anyhow::Error::new(Hinted { inner, hint, misuse }),
    }
}

/// The remedy nearest to the cause of an error, when it has one.
pub fn hint_of(error: &anyhow::Error) -> Option<&str> {
    hints(error).last().map(|hinted| hinted.hint.as_str())
}

/// Whether it is the command line that is wrong.
pub fn is_misuse(error: &anyhow::Error) -> bool {
    hints(error).any(|hinted| hinted.misuse)
}

fn hints(error: &anyhow::Error) -> impl Iterator<Item = &Hinted> {
    error.chain().filter_map(|cause| cause.downcast_ref::<Hinted>())
}

/// Says why a command failed: the chain of causes, then one line with the remedy.
pub fn fail(report: &Report, error: &anyhow::Error) {
    let hint = hint_of(error);
    if report.is_json() {
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        report.event(&json!({ "event": "error", "causes": causes, "hint": hint }));
    }
    report.say(&format!("kiln: {error:#}"));
    if let Some(hint) = hint {
        report.say(&format!("hint: {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_hint_nearest_to_the_cause_is_shown_and_no_message_twice() {
        let cause: Result<()> = Err(anyhow::anyhow!("disk on fire"));
        let error = cause.hint("pour water").context("cannot write").hint("try again").unwrap_err();
        assert_eq!(format!("{error:#}"), "cannot write: disk on fire");
        assert_eq!(hint_of(&error), Some("pour water"));
        assert!(!is_misuse(&error));
    }

    #[test]
    fn misuse_is_seen_through_contexts_and_other_hints() {
        let cause: Result<()> = Err(anyhow::anyhow!("no such colour"));
        let error = cause.misuse("take red").hint("try again").context("cannot paint").unwrap_err();
        assert_eq!(format!("{error:#}"), "cannot paint: no such colour");
        assert_eq!(hint_of(&error), Some("take red"));
        assert!(is_misuse(&error));
    }
}
