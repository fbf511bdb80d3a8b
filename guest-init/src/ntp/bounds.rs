//! Which times can be.

use super::packet::{Moment, SECOND};
use crate::platform::Platform;

/// 2100 in nanoseconds since 1970. A server whose own clock starts anew tells 1970, 2000, or the year that it was made; and
/// since the protocol's seconds repeat themselves every 136 years, and years before 2020 are taken for those of the next period,
/// 1964 to 2019 look like 2100 to 2155.
const TOO_LATE: Moment = 4_102_444_800 * SECOND;

/// The times that a server may tell: none before the platform was built, which was running then, and none that a clock tells
/// that has lost its time. What the guest itself has written down of earlier boots is no bound, since its own clock may have been
/// ahead when it did.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    earliest: Moment,
}

impl Bounds {
    /// The bounds on a platform; without it, on any.
    pub fn of(platform: Option<&Platform>) -> Self {
        let seconds = platform.and_then(Platform::built).and_then(|seconds| i64::try_from(seconds).ok());
        Self { earliest: seconds.and_then(|seconds| seconds.checked_mul(SECOND)).unwrap_or(0) }
    }

    /// Whether a time can be.
    pub fn contain(self, time: Moment) -> bool {
        (self.earliest..TOO_LATE).contains(&time)
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet;
    use super::*;

    #[test]
    fn times_are_between_the_platforms_and_the_end_of_the_century() {
        let platform = Platform::of_kernel("joyent_20141030T081701Z").expect("a platform");
        let bounds = Bounds::of(Some(&platform));
        let built = 1_414_657_021;
        for (seconds, can_be) in [
            (built - 1, false),
            (built, true),
            (1_800_000_000, true),
            (4_102_444_799, true),
            (4_102_444_800, false),
        ] {
            assert_eq!(bounds.contain(seconds * SECOND), can_be, "{seconds}");
        }
        assert!(Bounds::of(None).contain(1) && !Bounds::of(None).contain(-1));
    }

    #[test]
    fn a_server_that_has_lost_its_time_is_not_believed() {
        let bounds = Bounds::of(None);
        // 1970, 2000, 2014, 2019.
        for seconds in [0, 946_684_800, 1_414_657_021, 1_577_836_799] {
            let answer = packet::answer(&packet::tests::good(7, seconds), 7).expect("an answer");
            assert!(!bounds.contain(answer.received), "{seconds}");
        }
        let answer = packet::answer(&packet::tests::good(7, 1_800_000_000), 7).expect("an answer");
        assert!(bounds.contain(answer.received));
    }
}
