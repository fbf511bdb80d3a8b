//! What several servers say together.

/// What one server says, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How far its clock is ahead of ours, in nanoseconds.
    pub offset: i64,
    /// How far that may be off, in nanoseconds: half of the way there and back, and what the server itself may be off.
    pub error: i64,
}

/// No sample is trusted more than this, in nanoseconds.
const LEAST_ERROR: i64 = 10_000_000;

impl Sample {
    fn error(self) -> i64 {
        self.error.max(LEAST_ERROR)
    }

    fn contains(self, offset: i64) -> bool {
        offset.abs_diff(self.offset) <= self.error() as u64
    }
}

/// What servers agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// How far their clocks are ahead of ours, in nanoseconds.
    pub offset: i64,
    /// How many of them say so.
    pub voices: usize,
}

/// The offset that more than half of the samples agree on, if there is one: that of the best sample among them. One sample
/// alone agrees with itself; what that is worth is for others to say.
pub fn agree(samples: &[Sample]) -> Option<Agreement> {
    // Most samples contain one of the ends of their intervals, if they have anything in common (RFC 5905 section 11.2.1).
    let ends = samples.iter().flat_map(|sample| {
        [sample.offset.saturating_sub(sample.error()), sample.offset.saturating_add(sample.error())]
    });
    let agreeing = |offset: i64| samples.iter().filter(move |sample| sample.contains(offset));
    let best = ends.max_by_key(|&end| agreeing(end).count())?;
    let voices = agreeing(best).count();
    if voices * 2 <= samples.len() {
        return None;
    }
    agreeing(best).min_by_key(|sample| sample.error).map(|sample| Agreement { offset: sample.offset, voices })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn agreed(samples: &[(i64, i64)]) -> Option<(i64, usize)> {
        let samples: Vec<Sample> = samples
            .iter()
            .map(|&(offset, error)| Sample { offset: offset * MS, error: error * MS })
            .collect();
        agree(&samples).map(|agreement| (agreement.offset / MS, agreement.voices))
    }

    #[test]
    fn most_decide() {
        assert_eq!(agreed(&[]), None);
        assert_eq!(agreed(&[(7000, 20)]), Some((7000, 1)));
        assert_eq!(agreed(&[(100, 20), (110, 15)]), Some((110, 2)), "the better one");
        assert_eq!(agreed(&[(100, 20), (9000, 15)]), None, "nobody knows which");
        assert_eq!(agreed(&[(100, 20), (9000, 15), (105, 30)]), Some((100, 2)));
        assert_eq!(agreed(&[(9000, 1), (100, 20), (9001, 1), (105, 30)]), None);
        assert_eq!(agreed(&[(-500, 400), (-100, 50), (-90, 50), (9000, 1)]), Some((-100, 3)));
    }

    #[test]
    fn no_number_is_too_large() {
        let far = |offset| Sample { offset, error: i64::MAX };
        assert!(agree(&[far(i64::MIN), far(i64::MAX), far(0)]).is_some());
    }
}
