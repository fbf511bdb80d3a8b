//! How long anything is waited for: until a deadline, or until somebody interrupts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// How often what is waited for is looked at.
pub const POLL: Duration = Duration::from_millis(50);

/// The error when somebody interrupted.
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The error when time ran out.
#[derive(Debug)]
struct Late(Duration);

impl fmt::Display for Late {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "not within {} s", self.0.as_secs())
    }
}

impl std::error::Error for Late {}

/// Whether somebody has interrupted.
#[derive(Debug, Clone, Default)]
pub struct Patience(Arc<AtomicBool>);

impl Patience {
    /// Patience that the signals which ask a program to end do end. From then on they do nothing else.
    pub fn until_signal() -> Result<Self> {
        let patience = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
            signal_hook::flag::register(signal, Arc::clone(&patience.0)).context("cannot catch signals")?;
        }
        Ok(patience)
    }

    /// A wait that begins now and is over after `limit`.
    pub fn wait(&self, limit: Duration) -> Wait {
        Wait { patience: self.clone(), begin: Instant::now(), limit }
    }
}

/// A wait with a deadline.
#[derive(Debug, Clone)]
pub struct Wait {
    patience: Patience,
    begin: Instant,
    limit: Duration,
}

impl Wait {
    /// Looks whether the wait is over.
    ///
    /// # Errors
    /// When it is: [`Interrupted`], or that time ran out.
    pub fn check(&self) -> Result<()> {
        if self.patience.0.load(Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        if self.begin.elapsed() >= self.limit {
            return Err(Late(self.limit).into());
        }
        Ok(())
    }

    /// Sleeps for a while, of which at most [`POLL`] after the wait is over.
    ///
    /// # Errors
    /// When the wait is over.
    pub fn pause(&self, length: Duration) -> Result<()> {
        let begin = Instant::now();
        loop {
            self.check()?;
            let left = length.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(POLL));
        }
    }

    /// A wait for a part of this one: over after `limit`, and no later than this one.
    pub fn at_most(&self, limit: Duration) -> Wait {
        let limit = limit.min(self.limit.saturating_sub(self.begin.elapsed()));
        Wait { patience: self.patience.clone(), begin: Instant::now(), limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_by_its_deadline_or_by_interruption() {
        let patience = Patience::default();
        let over = patience.wait(Duration::from_secs(0)).check().unwrap_err();
        assert_eq!(over.to_string(), "not within 0 s");
        let wait = patience.wait(Duration::from_hours(1));
        wait.pause(Duration::ZERO).unwrap();
        assert!(wait.at_most(Duration::ZERO).check().is_err(), "a part ends by itself");
        patience.0.store(true, Ordering::Relaxed);
        let interrupted = wait.pause(Duration::from_hours(1)).unwrap_err();
        assert!(interrupted.is::<Interrupted>());
        assert!(wait.at_most(Duration::from_hours(1)).check().unwrap_err().is::<Interrupted>());
    }
}
