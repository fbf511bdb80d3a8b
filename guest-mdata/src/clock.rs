//! Time, as an argument: a clock to ask, and the moment when waiting ends.

use std::time::{Duration, Instant};

/// A clock that never goes back. Its origin means nothing, so moments are only good for comparison with each other.
pub trait Clock {
    /// The time since the clock's origin.
    fn now(&self) -> Duration;

    /// Waits for so long.
    fn sleep(&self, time: Duration);
}

/// The system's monotonic clock.
#[derive(Debug)]
pub struct Monotonic {
    origin: Instant,
}

impl Monotonic {
    /// A clock whose origin is now.
    pub fn starting_now() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The moment when an operation gives up. Whoever waits has to name one, if only to say that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Duration>);

impl Deadline {
    /// None: wait for ever, as the original commands do.
    pub const NEVER: Self = Self(None);

    /// This moment of the clock in use.
    pub fn at(moment: Duration) -> Self {
        Self(Some(moment))
    }

    /// So long from now.
    pub fn after(time: Duration, clock: &dyn Clock) -> Self {
        Self(clock.now().checked_add(time))
    }

    /// Whether it has passed.
    pub fn is_over(self, now: Duration) -> bool {
        self.0.is_some_and(|moment| moment <= now)
    }

    /// The earlier of this and another moment.
    pub fn min(self, moment: Duration) -> Duration {
        self.0.map_or(moment, |own| own.min(moment))
    }
}
