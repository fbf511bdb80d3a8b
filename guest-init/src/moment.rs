//! Points in time, written down.

/// Seconds since 1970 as `2014-10-30T08:17:01Z`.
pub fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// The date of a day, counted from 1 January 1970. Years are counted from March, so that the leap day is the last of its
/// year, and in periods of 400, after which the calendar repeats itself.
fn civil(days: u64) -> (u64, u64, u64) {
    const PERIOD: u64 = 146_097;
    // From 1 March 0000.
    let days = days + 719_468;
    let (period, day) = (days / PERIOD, days % PERIOD);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (period * 400 + year + u64::from(month <= 2), month, of_month)
}

/// Seconds since 1970 of a stamp such as `20141030T081701Z`; `None` if there is no such day since then.
pub fn of_stamp(stamp: &str) -> Option<u64> {
    let number = |from: usize, to: usize| stamp.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years are counted from March here as well.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::{of_stamp, utc};

    #[test]
    fn stamps_are_read_as_they_are_written() {
        for seconds in [0, 951_782_399, 951_782_400, 951_868_800, 1_414_657_021, 4_107_542_400, 5_000_000_001]
        {
            let stamp = utc(seconds).replace(['-', ':'], "");
            assert_eq!(of_stamp(&stamp), Some(seconds), "{stamp}");
        }
        for bad in [
            "",
            "20141330T081701Z",
            "20140030T081701Z",
            "20141000T081701Z",
            "19691231T235959Z",
            "2014103\u{e9}T08",
        ] {
            assert_eq!(of_stamp(bad), None, "{bad}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_414_657_021, "2014-10-30T08:17:01Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
