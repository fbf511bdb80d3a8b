//! What to do about a clock that is off.

use std::time::Duration;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// Nothing yet: it has to be seen again.
    Wait,
    /// Run faster or slower until so many nanoseconds are made up for.
    Slew(i64),
    /// Set it so many nanoseconds on.
    Step(i64),
}

/// Up to here the first offset is made up for by running faster or slower, in nanoseconds; ntpd does the same.
const FIRST_STEP: i64 = 128_000_000;

/// Up to here later ones are.
const LARGEST_SLEW: i64 = 500_000_000;

/// How often a larger one has to be seen, one time after another, until it is believed. The machine may have stood still; or
/// the servers are wrong for a while.
const SIGHTINGS: u32 = 3;

/// Two sightings are of one offset if they differ by no more than this, in nanoseconds.
const SAME: u64 = 500_000_000;

/// An offset that is small enough to look less often, in nanoseconds.
const SMALL: i64 = 20_000_000;

/// How often to look: at first, and at least. Public servers want no more than once in 64 seconds.
const SHORTEST: Duration = Duration::from_secs(64);
const LONGEST: Duration = Duration::from_secs(1024);

/// How often to look as long as nobody has answered. The network may not be there yet.
const WITHOUT_ANSWER: Duration = Duration::from_secs(16);

/// Keeps a clock right: it is set once, and then kept by running faster or slower.
#[derive(Debug)]
pub struct Discipline {
    is_set: bool,
    /// The last large offset and how often it was seen.
    seen: Option<(i64, u32)>,
    interval: Duration,
}

impl Discipline {
    /// Of a clock that nothing is known about.
    pub fn new() -> Self {
        Self { is_set: false, seen: None, interval: WITHOUT_ANSWER }
    }

    /// What to do about this offset, in nanoseconds, that the servers agree on.
    pub fn correct(&mut self, offset: i64) -> Correction {
        let size = offset.saturating_abs();
        self.interval =
            if size <= SMALL && self.is_set { (self.interval * 2).min(LONGEST) } else { SHORTEST };
        let slew = if self.is_set { LARGEST_SLEW } else { FIRST_STEP };
        if size <= slew {
            self.is_set = true;
            self.seen = None;
            return Correction::Slew(offset);
        }
        let sightings = match self.seen {
            Some((earlier, sightings)) if earlier.abs_diff(offset) <= SAME => sightings + 1,
            _ => 1,
        };
        if self.is_set && sightings < SIGHTINGS {
            self.seen = Some((offset, sightings));
            return Correction::Wait;
        }
        self.is_set = true;
        self.seen = None;
        Correction::Step(offset)
    }

    /// Nobody answered, or the servers do not agree.
    pub fn has_no_answer(&mut self) {
        self.seen = None;
        let longest = if self.is_set { LONGEST } else { LONGEST / 4 };
        self.interval = (self.interval * 2).min(longest);
    }

    /// When to look again.
    pub fn interval(&self) -> Duration {
        self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const YEAR: i64 = 366 * 86_400 * 1000 * MS;

    #[test]
    fn it_is_set_once_and_then_kept() {
        let mut discipline = Discipline::new();
        assert_eq!(discipline.correct(-12 * YEAR), Correction::Step(-12 * YEAR));
        assert_eq!(discipline.correct(100 * MS), Correction::Slew(100 * MS));
        assert_eq!(discipline.correct(-400 * MS), Correction::Slew(-400 * MS));
    }

    #[test]
    fn a_clock_that_is_nearly_right_is_not_set() {
        let mut discipline = Discipline::new();
        assert_eq!(discipline.correct(127 * MS), Correction::Slew(127 * MS));
        let mut discipline = Discipline::new();
        assert_eq!(discipline.correct(129 * MS), Correction::Step(129 * MS));
    }

    #[test]
    fn a_jump_is_believed_when_it_stays() {
        let mut discipline = Discipline::new();
        discipline.correct(0);
        let jump = 7200 * 1000 * MS;
        assert_eq!(discipline.correct(jump), Correction::Wait);
        assert_eq!(discipline.correct(-jump), Correction::Wait, "another one");
        assert_eq!(discipline.correct(jump), Correction::Wait);
        assert_eq!(discipline.correct(jump + 100 * MS), Correction::Wait);
        discipline.has_no_answer();
        assert_eq!(discipline.correct(jump), Correction::Wait, "it is counted anew");
        assert_eq!(discipline.correct(jump), Correction::Wait);
        assert_eq!(discipline.correct(jump), Correction::Step(jump));
        assert_eq!(discipline.correct(i64::MIN), Correction::Wait);
    }

    #[test]
    fn a_good_clock_is_looked_at_less_often() {
        let mut discipline = Discipline::new();
        let mut intervals = |offset| {
            discipline.correct(offset);
            discipline.interval().as_secs()
        };
        assert_eq!(
            [9000 * MS, 0, 0, 0, 0, 0, 30 * MS, 0].map(&mut intervals),
            [64, 128, 256, 512, 1024, 1024, 64, 128]
        );
        let mut discipline = Discipline::new();
        let waits: Vec<u64> = (0..6)
            .map(|_| {
                discipline.has_no_answer();
                discipline.interval().as_secs()
            })
            .collect();
        assert_eq!(waits, [32, 64, 128, 256, 256, 256]);
    }
}
