//! What to do about a clock that is off.

use std::time::Duration;

use super::agreement::Agreement;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// Nothing yet: it has to be seen again.
    Wait,
    /// Run faster or slower until so many nanoseconds are made up for.
    Slew(i64),
    /// Set it so many nanoseconds on.
    Step(i64),
    /// Nothing: one server alone says something that is too far from what it was.
    Refuse,
}

/// Up to here the first offset is made up for by running faster or slower, in nanoseconds; ntpd does the same.
const FIRST_STEP: i64 = 128_000_000;

/// Up to here later ones are.
const LARGEST_SLEW: i64 = 500_000_000;

/// How often a larger one has to be seen, one time after another, until it is believed. The machine may have stood still; or
/// the servers are wrong for a while.
const SIGHTINGS: u32 = 3;

/// From here on, in nanoseconds, one server alone is not believed any more once the clock has been right; ntpd gives up there.
const LARGEST_OF_ONE: i64 = 1_000_000_000_000;

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

    /// What to do about this offset, in nanoseconds, that so many servers agree on.
    pub fn correct(&mut self, Agreement { offset, voices }: Agreement) -> Correction {
        let size = offset.saturating_abs();
        self.interval =
            if size <= SMALL && self.is_set { (self.interval * 2).min(LONGEST) } else { SHORTEST };
        let slew = if self.is_set { LARGEST_SLEW } else { FIRST_STEP };
        if size <= slew {
            self.is_set = true;
            self.seen = None;
            return Correction::Slew(offset);
        }
        if self.is_set && size > LARGEST_OF_ONE && voices < 2 {
            self.seen = None;
            return Correction::Refuse;
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

    /// What two servers agree on.
    fn two(offset: i64) -> Agreement {
        Agreement { offset, voices: 2 }
    }

    #[test]
    fn it_is_set_once_and_then_kept() {
        let mut discipline = Discipline::new();
        assert_eq!(discipline.correct(two(-12 * YEAR)), Correction::Step(-12 * YEAR));
        assert_eq!(discipline.correct(two(100 * MS)), Correction::Slew(100 * MS));
        assert_eq!(discipline.correct(two(-400 * MS)), Correction::Slew(-400 * MS));
    }

    #[test]
    fn a_clock_that_is_nearly_right_is_not_set() {
        let mut discipline = Discipline::new();
        assert_eq!(discipline.correct(two(127 * MS)), Correction::Slew(127 * MS));
        let mut discipline = Discipline::new();
        assert_eq!(discipline.correct(two(129 * MS)), Correction::Step(129 * MS));
    }

    #[test]
    fn a_jump_is_believed_when_it_stays() {
        let mut discipline = Discipline::new();
        discipline.correct(two(0));
        let jump = 7200 * 1000 * MS;
        assert_eq!(discipline.correct(two(jump)), Correction::Wait);
        assert_eq!(discipline.correct(two(-jump)), Correction::Wait, "another one");
        assert_eq!(discipline.correct(two(jump)), Correction::Wait);
        assert_eq!(discipline.correct(two(jump + 100 * MS)), Correction::Wait);
        discipline.has_no_answer();
        assert_eq!(discipline.correct(two(jump)), Correction::Wait, "it is counted anew");
        assert_eq!(discipline.correct(two(jump)), Correction::Wait);
        assert_eq!(discipline.correct(two(jump)), Correction::Step(jump));
        assert_eq!(discipline.correct(two(i64::MIN)), Correction::Wait);
    }

    #[test]
    fn one_server_alone_moves_a_clock_that_was_right_only_so_far() {
        let one = |offset| Agreement { offset, voices: 1 };
        let mut discipline = Discipline::new();
        assert_eq!(
            discipline.correct(one(-12 * YEAR)),
            Correction::Step(-12 * YEAR),
            "it knows nothing better"
        );
        let far = 1001 * 1000 * MS;
        for offset in [far, far, far, far, -far, YEAR, i64::MIN] {
            assert_eq!(discipline.correct(one(offset)), Correction::Refuse);
            assert_eq!(discipline.interval().as_secs(), 64);
        }
        let near = 999 * 1000 * MS;
        assert_eq!(
            [near; 3].map(|offset| discipline.correct(one(offset)))[1..],
            [Correction::Wait, Correction::Step(near)]
        );
        assert_eq!([far; 3].map(|offset| discipline.correct(two(offset)))[2], Correction::Step(far));
    }

    #[test]
    fn a_good_clock_is_looked_at_less_often() {
        let mut discipline = Discipline::new();
        let mut intervals = |offset| {
            discipline.correct(two(offset));
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
